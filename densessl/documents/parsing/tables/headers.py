"""Which rows of a table are headers of its columns."""

from __future__ import annotations

from collections.abc import Sequence

from densessl.documents.parsing.model import Cell, Table
from densessl.documents.parsing.tables.phrases import Phrase, is_number

MOST = 4  # rows of a header


def mark_headers(table: Table, parts: Sequence[Sequence[Phrase]], head: int, sure: bool, each: bool) -> None:
    """Set `Cell.header`. parts: of each cell. head: rows above the first line, or 0; sure: whether it is known that
    these are the header. each: all rows have lines."""
    if table.rows < 2 or not any(cell.text for cell in table.cells):
        return
    bold = {
        id(cell): bool(own) and all(phrase.bold for phrase in own) for cell, own in zip(table.cells, parts, strict=True)
    }
    rows: list[list[Cell]] = [[] for _ in range(table.rows)]
    for cell in table.cells:
        for row in range(cell.row, cell.row + cell.rows):
            rows[row].append(cell)
    if sure and head == 0:
        return
    told = (sure or not each) and 0 < head <= min(MOST, table.rows - 1)
    count = _within(rows, head, bold, table) if told else _by_looks(table, rows, bold)
    for row in rows[:count]:
        for cell in row:
            cell.header = cell.row < count


def _by_looks(table: Table, rows: list[list[Cell]], bold: dict[int, bool]) -> int:
    first = [cell for cell in rows[0] if cell.text]
    if not first:
        return 1 if len(rows) > 2 else 0
    weights = [_bold(row, bold) for row in rows]
    rest = [weight for row, weight in zip(rows[1:], weights[1:], strict=True) if any(cell.text for cell in row)]
    heavy = weights[0] and not (rest and sum(rest) > 0.6 * len(rest))
    if not heavy and any(weights[1:]) is False and _like_body(first, rows):
        return 0
    count = 1
    # Below cells that span columns stand the columns' own headers.
    while count < min(MOST, table.rows - 1):
        before = rows[count - 1]
        whole = any(cell.columns == table.columns for cell in before)
        spans = any(cell.columns > 1 for cell in before) and not whole
        down = any(cell.row + cell.rows > count for cell in before if cell.text and cell.column == 0)
        full = sum(bool(cell.text) for cell in rows[count]) > table.columns / 2
        if _has_units(rows[count], count):
            count += 1
            continue
        if not ((spans and full) or (spans and down) or (heavy and weights[count] and full)):
            break
        count += 1
    return count


def _within(rows: list[list[Cell]], head: int, bold: dict[int, bool], table: Table) -> int:
    """How many of the rows above the first line are headers: up to a heading of a group, or a row that is lighter."""
    heavy = _bold(rows[0], bold)
    for count in range(1, head):
        whole = any(cell.columns == table.columns > 1 for cell in rows[count])
        texts = any(cell.text and cell.row == count for cell in rows[count])
        if whole or (heavy and texts and not _bold(rows[count], bold)):
            return count
    return head


def _has_units(row: list[Cell], number: int) -> bool:
    """Whether all that begins in a row stands in brackets, as the units of what is named above it do."""
    own = [cell.text.strip() for cell in row if cell.row == number and cell.text]
    return bool(own) and all(text[0] + text[-1] in ("()", "[]") and not is_number(text) for text in own)


def _bold(row: list[Cell], bold: dict[int, bool]) -> bool:
    texts = [cell for cell in row if cell.text]
    return bool(texts) and all(bold[id(cell)] for cell in texts)


def _like_body(first: list[Cell], rows: list[list[Cell]]) -> bool:
    """Whether the first row has numbers where the others have, and they are no years."""
    numbers = [cell for cell in first if is_number(cell.text) and cell.column > 0]
    if not numbers or 2 * len(numbers) < len(first) - 1:
        return False
    return not all(cell.text.strip().isdigit() and len(cell.text.strip()) == 4 for cell in numbers)
