"""What a parsed document consists of.

Places are (x0, y0, x1, y1) in points, 1/72 inch, from the left upper corner of the page as it is shown (rotated as it
says, cut to its crop box), y downwards. Of a picture that does not say how many pixels an inch has, a pixel is a point.
Blocks, lines and words stand in reading order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Box = tuple[float, float, float, float]

# What a block can be. A detector's class that is none of them is "other", and kept as the block's label.
TYPES = (
    "title",
    "heading",
    "text",
    "list_item",
    "table",
    "figure",
    "caption",
    "footnote",
    "formula",
    "page_header",
    "page_footer",
    "other",
    "code",
)
FURNITURE = ("page_header", "page_footer")  # what a page has beside what it says
TEXT_LAYER = "pdf"  # where words are from, unless an engine read them or nothing did
NO_TEXT = "none"


@dataclass(frozen=True)
class Word:
    """size: of the letters, in points, where it is known. confidence: 0 to 1 of an engine's; None of a text layer.
    pitch: points from one letter to the next, where the font has all as wide; None else, and of an engine's. turn:
    quarters clockwise from rightwards in which it runs; of an engine's that of the page.
    """

    text: str
    bbox: Box
    size: float | None = None
    bold: bool = False
    italic: bool = False
    confidence: float | None = None
    pitch: float | None = None
    turn: int = 0


@dataclass
class Line:
    words: list[Word]
    bbox: Box

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def turn(self) -> int:
        """That of its words."""
        return self.words[0].turn if self.words else 0


@dataclass
class Cell:
    """row, column: of its left upper corner, from 0. rows, columns: how many it spans."""

    row: int
    column: int
    bbox: Box
    text: str = ""
    rows: int = 1
    columns: int = 1
    header: bool = False


@dataclass
class Table:
    """rows, columns: how many there are. cells: row by row, each once; places without a cell are empty.

    ruled: whether its cells were told by lines that are drawn, rather than by the gaps between words.
    """

    rows: int
    columns: int
    cells: list[Cell]
    ruled: bool = False

    def grid(self) -> list[list[str]]:
        """The texts, row by row; that of a cell that spans stands in its first place, and "" in the others."""
        grid = [[""] * self.columns for _ in range(self.rows)]
        for cell in self.cells:
            grid[cell.row][cell.column] = cell.text
        return grid


@dataclass
class Block:
    """Something that a page consists of.

    id: of its document, such as "p3b7". type: one of `TYPES`. label: what the detector calls it, None of a block that
    the detector had missed, and that lines of words outside all others make up. score: the detector's probability.
    second: its second-best label with the probability of that. text: in one piece, words that a line's end divides
    joined again; of a table its cells, a tabulator between columns; of code its lines with their indentation; of a list
    item that is an entry of contents or of an index its title, " … " and the numbers of pages. level: of a heading,
    from 1 (that of a title), and of such an entry, by its indentation, from 1; no other item has one. marker: of a list
    item, such as "•" or "2.", "☐" or "☒" of a box to be ticked, which a PDF may have drawn; it is no part of the text.
    of: of a caption or a footnote, the id of the block that it belongs to. figure: of a figure, the file with its
    picture, beside the document's. joined: of a table, the id of the one before that it goes on with. turn: quarters
    clockwise by which it is turned on the page as it is shown: 3 of what is read from bottom to top.
    """

    id: str
    type: str
    bbox: Box
    label: str | None = None
    score: float | None = None
    second: tuple[str, float] | None = None
    text: str = ""
    lines: list[Line] = field(default_factory=list)
    level: int | None = None
    marker: str | None = None
    of: str | None = None
    figure: str | None = None
    table: Table | None = None
    joined: str | None = None
    turn: int = 0


@dataclass
class Page:
    """number: in its document, from 1. width, height: in points. dpi: pixels an inch of the picture that was looked at.

    source: where the words are from, "pdf" for the text layer, the engine that read them such as "tesseract 5.3.0", or
    "none". notes: sentences on what could not be done. error: why the page could not be read; it has no blocks then.
    """

    number: int
    width: float
    height: float
    dpi: float
    blocks: list[Block] = field(default_factory=list)
    source: str = NO_TEXT
    notes: list[str] = field(default_factory=list)
    error: str | None = None


@dataclass
class Document:
    """What is known of a document before its pages, which come one by one.

    name: of its file, below the folder that was given. pages: how many it has. made_by: version, detector and settings.
    """

    name: str
    pages: int
    made_by: Mapping[str, Any] = field(default_factory=dict)


def to_dict(page: Page) -> dict[str, Any]:
    """The page as JSON has it: what is None, False or empty is left out but `blocks`, and so is a turn of 0. Numbers of
    1 and more have two decimals, smaller ones four."""
    return {"blocks": [], **_plain(asdict(page))}


def from_dict(record: Mapping[str, Any]) -> Page:
    """The page that `to_dict` made this of."""
    return Page(**{**record, "blocks": [_block(each) for each in record.get("blocks", ())]})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if not _nothing(each) and (each or key != "turn")}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return round(value, 2 if abs(value) >= 1 else 4) if isinstance(value, float) else value


def _nothing(value: Any) -> bool:
    """Not 0, which says something."""
    return value is None or value is False or (isinstance(value, str | list | tuple | dict) and not value)


def _block(record: Mapping[str, Any]) -> Block:
    fields = {**record, "bbox": tuple(record["bbox"])}
    if "second" in record:
        fields["second"] = tuple(record["second"])
    if "table" in record:
        table = record["table"]
        cells = [Cell(**{**each, "bbox": tuple(each["bbox"])}) for each in table.get("cells", ())]
        fields["table"] = Table(**{**table, "cells": cells})
    fields["lines"] = [
        Line([Word(**{**word, "bbox": tuple(word["bbox"])}) for word in line.get("words", ())], tuple(line["bbox"]))
        for line in record.get("lines", ())
    ]
    return Block(**fields)
