"""Where things are in pixels, and the words of what has only a text; for the formats of text recognition.

hOCR, ALTO and PAGE describe the picture of a page: their unit is the pixel, at the page's `dpi`, and their origin its
left upper corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from densessl.documents.parsing.layout.lines import union
from densessl.documents.parsing.model import Block, Box, Cell, Line, Page, Table, Word

POINTS = 72  # of an inch
NEARLY = 1e-3  # pixels; less is what rounding left, and no reason to take in another pixel


def pixels(page: Page) -> tuple[int, int]:
    """Width and height of the page's picture."""
    return max(1, round(page.width * page.dpi / POINTS)), max(1, round(page.height * page.dpi / POINTS))


def place(box: Box, page: Page) -> tuple[int, int, int, int]:
    """The pixels (x0, y0, x1, y1) that have all of the box, within the page."""
    scale, (width, height) = page.dpi / POINTS, pixels(page)
    x0, y0 = (math.floor(each * scale + NEARLY) for each in box[:2])
    x1, y1 = (math.ceil(each * scale - NEARLY) for each in box[2:])
    left, top = min(max(x0, 0), width), min(max(y0, 0), height)
    return left, top, min(max(x1, left), width), min(max(y1, top), height)


def rotation(turn: int) -> int | None:
    """Degrees counterclockwise, -90 to 180, by which what is turned so is; None of what is upright."""
    return {1: -90, 2: 180, 3: 90}.get(turn)


def shown_lines(block: Block) -> list[Line]:
    """Its lines; those of a block that has none but a text are made of that, and all have the block's place."""
    return block.lines or spelled(block.text, block.bbox)


def spelled(text: str, box: Box) -> list[Line]:
    """The text as lines of words, all of which have this place, since their own is unknown."""
    words = [[Word(word, box) for word in line.split()] for line in text.splitlines()]
    return [Line(line, box) for line in words if line]


def lines_by_cell(block: Block, table: Table) -> list[list[Line]]:
    """For each cell of the block's table its lines: the words whose middle it has, or its text where it has none."""
    shares: list[list[Line]] = [[] for _ in table.cells]
    for line in block.lines:
        owners = [_owner(word, table.cells) for word in line.words]
        for cell in dict.fromkeys(owner for owner in owners if owner is not None):
            words = [word for word, owner in zip(line.words, owners, strict=True) if owner == cell]
            shares[cell].append(Line(words, union(word.bbox for word in words)))
    pairs = zip(shares, table.cells, strict=True)
    return [lines or spelled(cell.text, cell.bbox) for lines, cell in pairs]


def _owner(word: Word, cells: Sequence[Cell]) -> int | None:
    """The cell that has the middle of a word, else the nearest; None where there are no cells."""
    x, y = (word.bbox[0] + word.bbox[2]) / 2, (word.bbox[1] + word.bbox[3]) / 2

    def away(cell: Cell) -> float:
        x0, y0, x1, y1 = cell.bbox
        return max(x0 - x, x - x1, 0.0) + max(y0 - y, y - y1, 0.0)

    return min(range(len(cells)), key=lambda number: away(cells[number]), default=None)
