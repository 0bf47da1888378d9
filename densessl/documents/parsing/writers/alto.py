"""ALTO 4.4 (https://www.loc.gov/standards/alto/): all pages of a document in one file.

The unit is the pixel, from the left upper corner of a page. What ALTO has no place for on a page, the pixels an inch
and where the words are from, is a `Processing` that the page refers to. A block's type is a `LayoutTag`. A table is a
`ComposedBlock` with a `TextBlock` for each cell, a figure with words in it one with an `Illustration`. The halves of a
word that a line's end divides are marked as such where the block's text has it in one piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from densessl import __version__
from densessl.documents.parsing.model import TYPES, Block, Box, Line, Page, Word
from densessl.documents.parsing.writers.base import Writer, clean, flat, register
from densessl.documents.parsing.writers.markup import DECLARATION, element, start
from densessl.documents.parsing.writers.places import lines_by_cell, pixels, place, rotation, shown_lines

NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"
SCHEMA = "http://www.loc.gov/standards/alto/v4/alto-4-4.xsd"
HYPHENS = "-\N{SOFT HYPHEN}\N{HYPHEN}"


@register
class AltoWriter(Writer):
    name, suffix = "alto", ".alto.xml"

    def begin(self) -> None:
        self._order, self._layout = self.spool(), self.spool()
        self._sizes: set[float] = set()
        self._ways: dict[tuple[float, str], str] = {}  # ids of how pages were looked at

    def page(self, page: Page) -> None:
        width, height = pixels(page)
        way = self._ways.setdefault((round(page.dpi, 3), page.source), f"way{len(self._ways) + 1}")
        attributes = {"ID": f"page{page.number}", "PHYSICAL_IMG_NR": page.number, "WIDTH": width, "HEIGHT": height}
        if page.error is not None:
            attributes |= {"QUALITY": "Missing", "QUALITY_DETAIL": page.error}
        self._write(start("Page", {**attributes, "PROCESSINGREFS": way}))
        self._write(start("PrintSpace", {"HPOS": 0, "VPOS": 0, "WIDTH": width, "HEIGHT": height}))
        for block in page.blocks:
            self._block(block, page)
        self._write("</PrintSpace>\n</Page>")
        if page.blocks:
            self._order.write(start("OrderedGroup", {"ID": f"order{page.number}"}) + "\n")
            for block in page.blocks:
                self._order.write(start("ElementRef", {"ID": f"order_{block.id}", "REF": block.id}, empty=True) + "\n")
            self._order.write("</OrderedGroup>\n")

    def end(self) -> None:
        self.file.write(f'{DECLARATION}<alto xmlns="{NAMESPACE}" SCHEMAVERSION="4.4"')
        self.file.write(' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"')
        self.file.write(f' xsi:schemaLocation="{NAMESPACE} {SCHEMA}">\n')
        self.file.writelines(f"{line}\n" for line in self._head())
        if self._order.tell():
            self.file.write("<ReadingOrder>\n")
            self.pour(self._order)
            self.file.write("</ReadingOrder>\n")
        self.file.write("<Layout>\n")
        self.pour(self._layout)
        self.file.write("</Layout>\n</alto>\n")

    def _head(self) -> Iterator[str]:
        yield "<Description>\n<MeasurementUnit>pixel</MeasurementUnit>"
        name = element("fileName", flat(self.document.name))
        yield f"<sourceImageInformation>{name}</sourceImageInformation>"
        for (dpi, source), way in self._ways.items():
            yield f"{start('Processing', {'ID': way})}<processingCategory>contentGeneration</processingCategory>"
            yield element("processingStepSettings", f"dpi={dpi:g} words={source}")
            yield "<processingSoftware><softwareName>densessl</softwareName>"
            yield f"<softwareVersion>{__version__}</softwareVersion></processingSoftware></Processing>"
        yield "</Description>"
        if self._sizes:
            yield "<Styles>"
            for size in sorted(self._sizes):
                yield start("TextStyle", {"ID": _style(size), "FONTSIZE": f"{size:g}"}, empty=True)
            yield "</Styles>"
        yield "<Tags>"
        for kind in TYPES:
            yield start("LayoutTag", {"ID": f"type_{kind}", "LABEL": kind}, empty=True)
        yield "</Tags>"

    def _block(self, block: Block, page: Page) -> None:
        placed = {"ID": block.id, **_place(block.bbox, page), "TAGREFS": f"type_{block.type}"}
        placed["ROTATION"] = rotation(block.turn)
        if block.table is not None:
            self._write(start("ComposedBlock", {**placed, "TYPE": "table"}))
            for number, lines in enumerate(lines_by_cell(block, block.table)):
                cell = {"ID": f"{block.id}c{number}", **_place(block.table.cells[number].bbox, page)}
                self._text(cell, lines, "", page)
            self._write("</ComposedBlock>")
        elif block.type == "figure":
            lines = shown_lines(block)
            if not lines:
                self._write(start("Illustration", {**placed, "FILEID": block.figure}, empty=True))
                return
            self._write(start("ComposedBlock", {**placed, "TYPE": "figure"}))
            picture = {"ID": f"{block.id}i", **_place(block.bbox, page), "FILEID": block.figure}
            self._write(start("Illustration", picture, empty=True))
            self._text({"ID": f"{block.id}t", **_place(block.bbox, page)}, lines, block.text, page)
            self._write("</ComposedBlock>")
        else:
            self._text(placed, shown_lines(block), block.text, page)

    def _text(self, attributes: dict[str, Any], lines: Sequence[Line], text: str, page: Page) -> None:
        """text: that of the block, in which divided words are whole."""
        lines = [line for line in lines if line.words]
        turned = rotation(lines[0].turn) if lines else None
        self._write(start("TextBlock", {"ROTATION": turned, **attributes}))
        whole = None  # the word whose second half begins the line
        for number, line in enumerate(lines):
            onward = lines[number + 1].words[0] if number + 1 < len(lines) else None
            divided = _joined(line.words[-1], onward, text)
            placed = {"ID": f"{attributes['ID']}l{number}", **_place(line.bbox, page)}
            self._write(start("TextLine", placed))
            for place_in_line, word in enumerate(line.words):
                if place_in_line:
                    self._write(start("SP", _gap(line.words[place_in_line - 1], word, page), empty=True))
                last = place_in_line == len(line.words) - 1
                self._word(word, page, divided if last else None, whole if not place_in_line else None)
            if divided is not None:
                self._write(start("HYP", {"CONTENT": line.words[-1].text[-1]}, empty=True))
            self._write("</TextLine>")
            whole = divided
        self._write("</TextBlock>")

    def _word(self, word: Word, page: Page, first_of: str | None, second_of: str | None) -> None:
        """first_of, second_of: the whole word that this is a half of."""
        attributes = {**_place(word.bbox, page), "CONTENT": word.text}
        if word.size is not None:
            size = max(0.5, round(2 * word.size) / 2)
            self._sizes.add(size)
            attributes["STYLEREFS"] = _style(size)
        styles = [name for name, is_so in (("bold", word.bold), ("italics", word.italic)) if is_so]
        attributes["STYLE"] = " ".join(styles) or None
        if first_of is not None:
            attributes |= {"CONTENT": word.text[:-1], "SUBS_TYPE": "HypPart1", "SUBS_CONTENT": first_of}
        elif second_of is not None:
            attributes |= {"SUBS_TYPE": "HypPart2", "SUBS_CONTENT": second_of}
        if word.confidence is not None:
            attributes["WC"] = f"{min(max(word.confidence, 0.0), 1.0):.4g}"
        self._write(start("String", attributes, empty=True))

    def _write(self, text: str) -> None:
        self._layout.write(f"{text}\n")


def _joined(last: Word, onward: Word | None, text: str) -> str | None:
    """The word that a line's last and the next line's first are halves of, if the text has it whole."""
    if onward is None or len(last.text) < 2 or last.text[-1] not in HYPHENS:
        return None
    whole = last.text[:-1] + onward.text
    return whole if whole in clean(text).split() else None


def _gap(before: Word, after: Word, page: Page) -> dict[str, int]:
    x0, x1 = sorted((place(before.bbox, page)[2], place(after.bbox, page)[0]))
    return {"HPOS": x0, "VPOS": place(after.bbox, page)[1], "WIDTH": x1 - x0}


def _place(box: Box, page: Page) -> dict[str, int]:
    x0, y0, x1, y1 = place(box, page)
    return {"HPOS": x0, "VPOS": y0, "WIDTH": x1 - x0, "HEIGHT": y1 - y0}


def _style(size: float) -> str:
    return f"size{size:g}"
