"""What Markdown and HTML share: a document as it is read, from its first block to its last.

Headers and footers are left out unless they are asked for, captions stand with what they belong to, list items are
nested by their indentation, and the rows of a table that goes on from the one before are appended to that.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from densessl.documents.parsing.layout.text import BOXES
from densessl.documents.parsing.model import FURNITURE, Block, Page, Table
from densessl.documents.parsing.views import View
from densessl.documents.parsing.writers.base import Writer, flat

INDENTED, ALIGNED = 8.0, 4.0  # points to the right that a deeper item has at least, and an equal one at most
_NUMBER = re.compile(r"\(?(\d{1,9})([.)]?)")
_VALUE = re.compile(r"[-+\u2212(]?[$€£¥]?\s?\d[\d.,'\s]*\s?[%)€$£¥]?")


@dataclass(frozen=True)
class Marker:
    """What stands before a list item.

    text: "" for a bullet, which says nothing; a box to be ticked does. kind: what the markers of one list have in
    common. number: None unless it is one.
    """

    text: str
    kind: str
    number: int | None = None
    delimiter: str = ""


def list_marker(block: Block) -> Marker:
    text = flat(block.marker or "")
    kind = re.sub(r"[^\W\d]+", "a", re.sub(r"\d+", "0", text))
    number = _NUMBER.fullmatch(text)
    if number:
        return Marker(text, kind, int(number[1]), number[2] or ".")
    bullet = text == "o" or len(text) == 1 and not text.isalnum() and text not in BOXES
    return Marker("" if bullet else text, kind)


class Nesting:
    """Tells of one list item after another how deep it lies, from 0."""

    def __init__(self) -> None:
        self._open: list[tuple[float, str]] = []  # where the items begin and the kind of marker, by depth
        self._below = 0.0, 0  # upper edge and page of the item before
        self._levels: list[int] = []  # of entries of contents, by depth

    def depth(self, block: Block, page: int) -> int:
        if block.level is not None:  # an entry of contents, which says itself how deep it lies
            return self._at(block.level)
        self._levels = []
        (x, y, *_), kind = View(block.turn).box(block.bbox), list_marker(block).kind
        # An item further up, or on another page, is in another column, whose indentation is its own.
        onward = (y, page) >= self._below and page == self._below[1]
        self._below = y, page
        if not onward:
            self._move_to(x, kind)
        while self._open and x < self._open[-1][0] - ALIGNED and onward:
            self._open.pop()
        if self._open and onward and x <= self._open[-1][0] + INDENTED:
            self._open[-1] = self._open[-1][0], kind
        else:
            self._open.append((x, kind))
        return len(self._open) - 1

    def end(self) -> None:
        self._open, self._levels = [], []

    def _at(self, level: int) -> int:
        self._open = []
        while self._levels and self._levels[-1] >= level:
            self._levels.pop()
        self._levels.append(level)
        return len(self._levels) - 1

    def _move_to(self, x: float, kind: str) -> None:
        """Keep what an item of this kind lies in, moved as far as it is from the last one of its kind."""
        for depth in reversed(range(len(self._open))):
            began, other = self._open[depth]
            if other == kind:
                self._open = [(each + x - began, of) for each, of in self._open[:depth]]
                return
        self._open = []


class Flow(Writer):
    """Calls the methods below for what is to be seen, in its order."""

    @abstractmethod
    def page_break(self, number: int) -> None:
        """Before each page, when that is asked for."""

    @abstractmethod
    def failed(self, number: int, error: str) -> None:
        """A page that could not be read, in place of its blocks."""

    @abstractmethod
    def item(self, block: Block, depth: int) -> None:
        """A list item; its depth is at most one more than that of the item before."""

    @abstractmethod
    def end_list(self) -> None:
        """What comes now is no list item."""

    @abstractmethod
    def table(self, block: Block, table: Table, captions: Sequence[Block]) -> None:
        """A table, whose end is left open."""

    @abstractmethod
    def rows(self, table: Table) -> None:
        """Rows without their heads, for the table that is open."""

    @abstractmethod
    def end_table(self) -> None:
        """The table that is open ends."""

    @abstractmethod
    def figure(self, block: Block, captions: Sequence[Block]) -> None: ...

    @abstractmethod
    def text(self, block: Block) -> None:
        """Any other block, or a caption of nothing on this page."""

    def begin(self) -> None:
        self._nesting = Nesting()
        self._breaks: list[int] = []  # of pages that have begun since what was written last
        self._table: Block | None = None  # that is open

    def page(self, page: Page) -> None:
        if self.options.page_breaks:
            self._breaks.append(page.number)
        if page.error is not None:
            self._interrupt()
            self.failed(page.number, page.error)
        owners = {block.id for block in page.blocks if block.type in ("figure", "table")}
        for block in page.blocks:
            captions = [other for other in page.blocks if block.id in owners and _is_caption(other, block.id)]
            belongs = block.of in owners and _is_caption(block, block.of)
            if not belongs and (self.options.furniture or block.type not in FURNITURE):
                self._block(block, captions, page.number)

    def end(self) -> None:
        self._interrupt()

    def _block(self, block: Block, captions: Sequence[Block], page: int) -> None:
        if block.table is not None and self._goes_on(block) and not captions:
            self.rows(block.table)
            self._table = block
        elif block.type == "list_item":
            self._interrupt(of_list=False)
            self.item(block, self._nesting.depth(block, page))
        else:
            self._interrupt()
            if block.table is not None:
                self.table(block, block.table, captions)
                self._table = block
            elif block.type == "figure":
                self.figure(block, captions)
            else:
                self.text(block)
                for caption in captions:  # of a table whose cells are unknown
                    self.text(caption)

    def _goes_on(self, block: Block) -> bool:
        before = self._table
        if before is None or before.table is None or block.table is None or block.joined != before.id:
            return False
        return before.table.columns == block.table.columns

    def _interrupt(self, of_list: bool = True) -> None:
        """End the table that is open, and the list, and tell of pages that have begun since."""
        if self._table is not None:
            self.end_table()
            self._table = None
        if of_list or self._breaks:
            self.end_list()
            self._nesting.end()
        for number in self._breaks:
            self.page_break(number)
        self._breaks = []


def _is_caption(block: Block, of: str | None) -> bool:
    return block.type == "caption" and block.of == of


def heads(table: Table) -> int:
    """How many rows from the top have header cells alone, none of which reaches further down."""
    count = 0
    for row in range(table.rows):
        cells = [cell for cell in table.cells if cell.row == row]
        if not cells or not all(cell.header for cell in cells):
            break
        count = row + 1
    while any(cell.row < count < cell.row + cell.rows for cell in table.cells):
        count -= 1
    return count


def numeric(table: Table) -> list[bool]:
    """Of each column, whether most of what stands below the heads are numbers."""
    below = table.grid()[max(1, heads(table)) :]
    columns = ([flat(row[column]) for row in below if flat(row[column])] for column in range(table.columns))
    return [2 * sum(bool(_VALUE.fullmatch(text)) for text in texts) > len(texts) for texts in columns]
