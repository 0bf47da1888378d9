"""PAGE of 2019-07-15 (https://github.com/PRImA-Research-Lab/PAGE-XML): a folder with a file for each page.

The schema has one page a file, so that a document is `NAME.page/p0001.xml` and so on, each whole or not at all. Points
are pixels at the page's resolution, from its left upper corner. What PAGE has no type for stands in `custom`, as
"densessl {type:list_item; score:0.98;}". A table's cells are text regions with the role of a cell; words in a figure or
a formula are text regions within it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from densessl import __version__
from densessl.documents.parsing.model import Block, Box, Cell, Line, Page, Word
from densessl.documents.parsing.writers.base import Writer, flat, register
from densessl.documents.parsing.writers.markup import DECLARATION, element, start
from densessl.documents.parsing.writers.places import lines_by_cell, pixels, place, rotation, shown_lines
from densessl.files import output_folder, write_text

NAMESPACE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
_KINDS = {
    "title": "heading",
    "heading": "heading",
    "caption": "caption",
    "footnote": "footnote",
    "page_header": "header",
    "page_footer": "footer",
    "other": "other",
}


@register
class PageWriter(Writer):
    """The folder has the pages that were written and no older ones; a block that raises leaves none of its own."""

    name, suffix = "page", ".page"

    @contextmanager
    def written(self) -> Iterator[Callable[[Page], None]]:
        self.begin()
        try:
            yield self.page
            self.end()
        except BaseException:
            self._remove(lambda path: path.name in self._done)
            raise

    def begin(self) -> None:
        self._folder, self._done = output_folder(self.path), set()

    def page(self, page: Page) -> None:
        name = f"p{page.number:04d}.xml"
        text = "\n".join(self._lines(page))
        write_text(self._folder / name, f"{DECLARATION}{text}\n")
        self._done.add(name)

    def end(self) -> None:
        self._remove(lambda path: path.name not in self._done)

    def _remove(self, which: Callable[[Path], bool]) -> None:
        for path in self._folder.iterdir():
            if re.fullmatch(r"p\d{4,}\.xml", path.name) and which(path):
                path.unlink(missing_ok=True)

    def _lines(self, page: Page) -> Iterator[str]:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+00:00")
        yield start("PcGts", {"xmlns": NAMESPACE})
        yield f"<Metadata><Creator>densessl {__version__}</Creator><Created>{now}</Created>"
        yield f"<LastChange>{now}</LastChange>"
        comments = [page.error, *page.notes] if page.error else page.notes
        if comments:
            yield element("Comments", "\n".join(comments))
        yield start("MetadataItem", {"type": "processingStep", "name": "words", "value": page.source}, empty=True)
        yield "</Metadata>"
        width, height = pixels(page)
        name = flat(self.document.name) + (f"#page={page.number}" if self.document.pages > 1 else "")
        attributes = {"imageFilename": name, "imageWidth": width, "imageHeight": height}
        attributes |= {"imageXResolution": f"{page.dpi:g}", "imageYResolution": f"{page.dpi:g}"}
        yield start("Page", {**attributes, "imageResolutionUnit": "PPI"})
        if page.blocks:
            yield f"<ReadingOrder>{start('OrderedGroup', {'id': f'order{page.number}'})}"
            for index, block in enumerate(page.blocks):
                yield start("RegionRefIndexed", {"index": index, "regionRef": block.id}, empty=True)
            yield "</OrderedGroup></ReadingOrder>"
        for block in page.blocks:
            yield from _region(block, page)
        yield "</Page>\n</PcGts>"


def _region(block: Block, page: Page) -> Iterator[str]:
    told = {"id": block.id, "custom": _custom(block), "orientation": rotation(block.turn)}
    if block.table is not None:
        numbers = {"rows": block.table.rows, "columns": block.table.columns}
        yield start("TableRegion", {**told, **numbers, "lineSeparators": str(block.table.ruled).lower()})
        yield _coords(block.bbox, page, block.score)
        for number, lines in enumerate(lines_by_cell(block, block.table)):
            cell = block.table.cells[number]
            yield from _text({"id": f"{block.id}c{number}"}, cell.bbox, lines, page, cell=cell)
        yield "</TableRegion>"
        return
    lines = shown_lines(block)
    nested = {"figure": "ImageRegion", "formula": "MathsRegion", "table": "TableRegion"}.get(block.type)
    if nested is None and block.type == "other" and not lines:
        nested = "UnknownRegion"
        del told["orientation"]  # which these cannot have
    if nested is None:
        kind = _KINDS.get(block.type, "paragraph")
        if kind in ("header", "footer") and flat(block.text).isdecimal():
            kind = "page-number"
        yield from _text({**told, "type": kind}, block.bbox, lines, page, block.score)
        return
    yield start(nested, told)
    yield _coords(block.bbox, page, block.score)
    if lines:
        yield from _text({"id": f"{block.id}t"}, block.bbox, lines, page)
    yield f"</{nested}>"


def _text(
    attributes: dict[str, Any],
    box: Box,
    lines: Sequence[Line],
    page: Page,
    score: float | None = None,
    cell: Cell | None = None,
) -> Iterator[str]:
    turned = rotation(lines[0].turn) if lines else None
    yield start("TextRegion", {"orientation": turned, **attributes})
    yield _coords(box, page, score)
    if cell is not None:
        role = {"rowIndex": cell.row, "columnIndex": cell.column, "rowSpan": cell.rows, "colSpan": cell.columns}
        role["header"] = str(cell.header).lower()
        yield f"<Roles>{start('TableCellRole', role, empty=True)}</Roles>"
    for number, line in enumerate(lines):
        line_id = f"{attributes['id']}l{number}"
        yield start("TextLine", {"id": line_id})
        yield _coords(line.bbox, page)
        for index, word in enumerate(line.words):
            yield from _word(word, f"{line_id}w{index}", page)
        yield _equivalent(line.text)
        yield "</TextLine>"
    yield _equivalent("\n".join(line.text for line in lines))
    yield "</TextRegion>"


def _word(word: Word, name: str, page: Page) -> Iterator[str]:
    yield start("Word", {"id": name})
    yield _coords(word.bbox, page)
    yield _equivalent(word.text, word.confidence)
    style = {"fontSize": None if word.size is None else f"{word.size:g}"}
    style |= {"bold": "true" if word.bold else None, "italic": "true" if word.italic else None}
    if any(style.values()):
        yield start("TextStyle", style, empty=True)
    yield "</Word>"


def _equivalent(text: str, confidence: float | None = None) -> str:
    conf = None if confidence is None else f"{min(max(confidence, 0.0), 1.0):.4g}"
    return f"{start('TextEquiv', {'conf': conf})}{element('Unicode', text)}</TextEquiv>"


def _coords(box: Box, page: Page, score: float | None = None) -> str:
    x0, y0, x1, y1 = place(box, page)
    conf = None if score is None else f"{min(max(score, 0.0), 1.0):.4g}"
    points = f"{x0},{y0} {x1},{y0} {x1},{y1} {x0},{y1}"
    return start("Coords", {"points": points, "conf": conf}, empty=True)


def _custom(block: Block) -> str:
    known = {"type": block.type, "level": block.level, "label": block.label, "marker": block.marker, "of": block.of}
    known |= {"figure": block.figure, "joined": block.joined}
    if block.second is not None:
        known["second"] = f"{block.second[0]} {block.second[1]:.4g}"
    # ; and } end a value in this notation.
    told = (f"{key}:{re.sub('[;{}]', ' ', flat(str(value)))};" for key, value in known.items() if value is not None)
    return f"densessl {{{' '.join(told)}}}"
