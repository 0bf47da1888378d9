"""Tables that go on over the end of a page, put together; only for those who ask for it.

A table at the top of a page goes on with the one at the end of the page before where both have as many columns, at the
same places within the page's width, and nothing but page headers, footers and footnotes is between them: a caption or
a heading begins something new. A header that is repeated is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from densessl.documents.parsing.model import FURNITURE, Block, Page, Table
from densessl.documents.parsing.views import View

PASSED = (*FURNITURE, "footnote")  # what may be between two parts of a table
OFF = 0.025  # of the page's width: how far the borders of columns may be apart


def goes_on(before: Page, after: Page) -> tuple[Block, Block] | None:
    """The last table of a page and the first of the next, if they are parts of one; None otherwise."""
    if after.number != before.number + 1:
        return None
    last, first = _edge(reversed(before.blocks)), _edge(after.blocks)
    if last is None or first is None or last.turn != first.turn:
        return None
    views = [View(last.turn, page.width, page.height) for page in (before, after)]
    tables = [view.table(block.table) for view, block in zip(views, (last, first), strict=True)]
    if not _alike(*tables, *(view.size[0] for view in views)):
        return None
    # A caption above its table may stand after it in reading order, and one below the first part ends it.
    named = {block.of for block in (*before.blocks, *after.blocks) if block.type == "caption"}
    return None if first.id in named else (last, first)


def linked(pages: Iterable[Page]) -> Iterator[tuple[Page, Page]]:
    """Each page as it is, and as it reads when parts of tables are put together: `joined` is set on a part, whose rows
    are no header any more, and the header that it repeats is left out."""
    before, head = None, None
    for page in pages:
        parts = goes_on(before, page) if before is not None else None
        before = together = page
        if parts is not None:
            last, first = parts
            head = head if last.joined else last.table
            part = replace(first, joined=last.id)
            before = _with(page, first, part)
            together = _with(page, first, replace(part, table=without(first.table, repeated(head, first.table))))
        yield page, together


def _with(page: Page, block: Block, other: Block) -> Page:
    return replace(page, blocks=[other if each is block else each for each in page.blocks])


def without(table: Table, rows: int) -> Table:
    """The table without its first rows, and with no header."""
    cells = [replace(cell, row=cell.row - rows, header=False) for cell in table.cells if cell.row >= rows]
    return replace(table, rows=table.rows - rows, cells=cells)


def repeated(whole: Table, part: Table) -> int:
    """How many rows at the top of a part say what the whole's header says; those of no header say nothing."""
    count = max((cell.row + cell.rows for cell in whole.cells if cell.header), default=0)
    count = count or 1
    if count >= part.rows or not any(cell.text for cell in whole.cells if cell.row < count):
        return 0
    return count if _top(whole, count) == _top(part, count) else 0


def _top(table: Table, count: int) -> list[tuple[int, int, int, int, str]]:
    """The cells of the first rows, without the blanks of their texts."""
    return sorted(
        (cell.row, cell.column, cell.rows, cell.columns, "".join(cell.text.split()).casefold())
        for cell in table.cells
        if cell.row < count
    )


def _edge(blocks: Sequence[Block]) -> Block | None:
    """The table that comes first, if nothing else does."""
    block: Block | None = next((each for each in blocks if each.type not in PASSED), None)
    return block if block is not None and block.type == "table" and block.table is not None else None


def _alike(one: Table, other: Table, width: float, other_width: float) -> bool:
    if one.columns != other.columns:
        return False
    if repeated(one, other):
        return True
    ours, theirs = _sides(one), _sides(other)
    # Borders in gaps lie where words happen to end: their outer ones and most inner ones must agree.
    apart = [abs(ours[each] / width - theirs[each] / other_width) for each in ours.keys() & theirs.keys()]
    slack = OFF if one.ruled and other.ruled else 2 * OFF
    return bool(apart) and sum(each <= slack for each in apart) >= 0.8 * len(apart)


def _sides(table: Table) -> dict[int, float]:
    """x of the left border of each column, and of the last one's right border, by number."""
    found: dict[int, float] = {}
    for cell in table.cells:
        found.setdefault(cell.column, cell.bbox[0])
        found.setdefault(cell.column + cell.columns, cell.bbox[2])
    return found
