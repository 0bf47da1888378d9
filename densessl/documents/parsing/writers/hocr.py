"""hOCR 1.2 (http://kba.github.io/hocr-spec/1.2/), as XHTML that is well-formed XML.

Boxes are in pixels at the page's `scan_res`, from its left upper corner. A block is an ocr_carea with one paragraph,
heading or caption; furniture, tables, figures and formulas are the floats that hOCR has for them, footnotes text
floats. Its headings go four levels deep, and deeper ones are of the fourth. Words of a figure are kept in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from densessl import __version__
from densessl.documents.parsing.model import Block, Box, Line, Page, Word
from densessl.documents.parsing.writers.base import Writer, clean, flat, register
from densessl.documents.parsing.writers.markup import DECLARATION, content, element, start
from densessl.documents.parsing.writers.places import lines_by_cell, pixels, place, rotation, shown_lines

_HEADINGS = (("h1", "ocr_chapter"), ("h2", "ocr_section"), ("h3", "ocr_subsection"), ("h4", "ocr_subsubsection"))
_FLOATS = {
    "table": "ocr_table",
    "figure": "ocr_image",
    "formula": "ocr_math",
    "footnote": "ocr_textfloat",
    "page_header": "ocr_header",
    "page_footer": "ocr_footer",
}
_PARTS = ("ocr_page", "ocr_carea", "ocr_par", "ocr_line", "ocrx_word", "ocr_title", "ocr_caption", "ocr_pageno")
CAPABILITIES = (*_PARTS, *(kind for _, kind in _HEADINGS), *_FLOATS.values(), "ocrp_wconf", "ocrp_font")


@register
class HocrWriter(Writer):
    name, suffix = "hocr", ".hocr"

    def begin(self) -> None:
        self.file.write(f'{DECLARATION}<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml">\n<head>\n')
        self.file.write('<meta http-equiv="Content-Type" content="text/html; charset=utf-8"/>\n')
        self.file.write(element("title", flat(self.document.name)) + "\n")
        known = {
            "ocr-system": f"densessl {__version__}",
            "ocr-capabilities": " ".join(CAPABILITIES),
            "ocr-number-of-pages": self.document.pages,
            "ocr-langs": "unknown",
            "ocr-scripts": "unknown",
        }
        for name, value in known.items():
            self.file.write(start("meta", {"name": name, "content": value}, empty=True) + "\n")
        self.file.write("</head>\n<body>\n")

    def page(self, page: Page) -> None:
        # Quoted as in a URL: the property ends at a quotation mark, and readers divide properties at semicolons.
        name = quote(clean(self.document.name), safe="/ !#$&'()*+,:=?@[]~")
        width, height = pixels(page)
        told = f'image "{name}"; bbox 0 0 {width} {height}; ppageno {page.number - 1}'
        told += f"; scan_res {round(page.dpi)} {round(page.dpi)}"
        attributes = {"class": "ocr_page", "id": f"page_{page.number}", "title": told}
        self._write(start("div", {**attributes, "data-words": page.source, "data-error": page.error}))
        for block in page.blocks:
            self._block(block, page)
        self._write("</div>")

    def end(self) -> None:
        self.file.write("</body>\n</html>\n")

    def _block(self, block: Block, page: Page) -> None:
        kind = _FLOATS.get(block.type, "ocr_carea")
        if block.type in ("page_header", "page_footer") and flat(block.text).isdecimal():
            kind = "ocr_pageno"
        attributes = {"class": kind, "id": block.id, "title": _box(block.bbox, page)}
        score = None if block.score is None else f"{block.score:.4g}"
        self._write(start("div", {**attributes, "data-label": block.label, "data-score": score}))
        if block.table is not None:
            for cell, lines in zip(block.table.cells, lines_by_cell(block, block.table), strict=True):
                self._paragraph("p", "ocr_par", cell.bbox, lines, page)
        elif lines := shown_lines(block):
            self._paragraph(*_paragraph_of(block), block.bbox, lines, page)
        self._write("</div>")

    def _paragraph(self, tag: str, kind: str, box: Box, lines: Sequence[Line], page: Page) -> None:
        if not lines:
            return
        self._write(start(tag, {"class": kind, "title": _box(box, page)}))
        for line in lines:
            told = _box(line.bbox, page) + (f"; textangle {rotation(line.turn)}" if line.turn else "")
            self._write(start("span", {"class": "ocr_line", "title": told}))
            self._write("\n".join(_word(word, page) for word in line.words))
            self._write("</span>")
        self._write(f"</{tag}>")

    def _write(self, text: str) -> None:
        self.file.write(f"{text}\n")


def _paragraph_of(block: Block) -> tuple[str, str]:
    """Its element and its class."""
    if block.type == "title":
        return "h1", "ocr_title"
    if block.type == "heading":
        return _HEADINGS[min(block.level or 2, len(_HEADINGS)) - 1]
    return "p", "ocr_caption" if block.type == "caption" else "ocr_par"


def _word(word: Word, page: Page) -> str:
    told = _box(word.bbox, page)
    if word.confidence is not None:
        told += f"; x_wconf {round(100 * word.confidence)}"
    if word.size is not None:
        told += f"; x_fsize {max(1, round(word.size))}"
    opening, closing = start("span", {"class": "ocrx_word", "title": told}), "</span>"
    for is_so, tag in ((word.bold, "strong"), (word.italic, "em")):
        if is_so:
            opening, closing = f"{opening}<{tag}>", f"</{tag}>{closing}"
    return opening + content(word.text) + closing


def _box(box: Box, page: Page) -> str:
    return "bbox {} {} {} {}".format(*place(box, page))
