"""A page as it lies when what stands on its side, or upside down, is upright: picture, places and contents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from densessl.documents.parsing.model import Block, Box, Line, Table, Word


@dataclass(frozen=True)
class View:
    """A page turned so that what runs in this direction on it lies from left to right.

    turn: quarters clockwise from rightwards, as of `Word`. width, height: of the page before, in points.
    """

    turn: int
    width: float = 0.0
    height: float = 0.0

    @property
    def size(self) -> tuple[float, float]:
        """(width, height) of the page as it lies then."""
        return (self.height, self.width) if self.turn % 2 else (self.width, self.height)

    @property
    def back(self) -> View:
        """What makes of the page as it lies then the one before."""
        return View(-self.turn % 4, *self.size)

    def picture(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3), of any number of pixels a point."""
        return np.ascontiguousarray(np.rot90(picture, self.turn)) if self.turn else picture

    def box(self, box: Box) -> Box:
        x0, y0, x1, y1 = box
        if self.turn == 1:
            return y0, self.width - x1, y1, self.width - x0
        if self.turn == 2:
            return self.width - x1, self.height - y1, self.width - x0, self.height - y0
        if self.turn == 3:
            return self.height - y1, x0, self.height - y0, x1
        return box

    def of(self, turn: int) -> int:
        """The turn of what had this one before."""
        return (turn - self.turn) % 4

    def words(self, words: Iterable[Word]) -> list[Word]:
        if not self.turn:
            return list(words)
        return [replace(word, bbox=self.box(word.bbox), turn=self.of(word.turn)) for word in words]

    def lines(self, lines: Iterable[Line]) -> list[Line]:
        if not self.turn:
            return list(lines)
        return [Line(self.words(line.words), self.box(line.bbox)) for line in lines]

    def table(self, table: Table) -> Table:
        if not self.turn:
            return table
        return replace(table, cells=[replace(cell, bbox=self.box(cell.bbox)) for cell in table.cells])

    def block(self, block: Block) -> Block:
        if not self.turn:
            return block
        table = block.table and self.table(block.table)
        turned = {"bbox": self.box(block.bbox), "lines": self.lines(block.lines), "turn": self.of(block.turn)}
        return replace(block, table=table, **turned)
