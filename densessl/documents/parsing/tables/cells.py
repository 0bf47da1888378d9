"""The cells that a grid makes with the words in it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from densessl.documents.parsing.model import Cell, Table
from densessl.documents.parsing.tables.grid import Grid
from densessl.documents.parsing.tables.headers import mark_headers
from densessl.documents.parsing.tables.phrases import Phrase
from densessl.documents.parsing.tables.spans import rectangles
from densessl.documents.parsing.tables.textrows import DIVIDED, Block

DRAWN = 0.45  # of a cell's side: a border that is drawn less is open


def cells_of(grid: Grid) -> Table:
    """The cells of a grid: its places, joined where no line is between them or something stands in both."""
    rows, columns = len(grid.edges) - 1, len(grid.sides) - 1
    right, down = np.zeros((rows, columns), bool), np.zeros((rows, columns), bool)
    _open(grid, right, down)
    for block in grid.blocks:
        right[block.low : block.high + 1, block.first : block.last] = True
        down[block.low : block.high, block.first : block.last + 1] = True
    if not grid.upright:
        _group_headings(grid, right)
    owner, bounds = rectangles(right, down)
    parts: list[list[Phrase]] = [[] for _ in bounds]
    for block in grid.blocks:
        parts[owner[block.low, block.first]] += [each.phrase for each in block.parts]
    cells = []
    for own, (low, first, high, last) in zip(parts, bounds, strict=True):
        own.sort(key=lambda each: (each.line, each.bbox[0]))
        place = (grid.sides[first], grid.edges[low], grid.sides[last + 1], grid.edges[high + 1])
        text = _text(own)
        cells.append(Cell(low, first, place, text, high - low + 1, last - first + 1))
    table = Table(rows, columns, cells, ruled=grid.upright or (rows == columns == 1 and bool(grid.rules.upright)))
    mark_headers(table, parts, grid.head, grid.sure, grid.each)
    return table


def _text(phrases: Sequence[Phrase]) -> str:
    """In one piece; a word that a line's end divides joined again."""
    text = ""
    for number, phrase in enumerate(phrases):
        broken = number and phrase.line != phrases[number - 1].line and DIVIDED.search(text)
        joined = broken and phrase.text[:1].islower()
        text = text[:-1] + phrase.text if joined else f"{text} {phrase.text}".strip()
    return text


def _open(grid: Grid, right: np.ndarray, down: np.ndarray) -> None:
    """Borders that are not drawn, where lines tell columns or rows."""
    rows, columns = right.shape
    if grid.upright:
        for column, side in enumerate(grid.sides[1:-1]):
            rule = min(grid.rules.upright, key=lambda rule: abs(rule.at - side))
            for row in range(rows):
                right[row, column] = rule.covers(grid.edges[row], grid.edges[row + 1]) < DRAWN
    for row, edge in enumerate(grid.edges[1:-1]):
        rules = [rule for rule in grid.rules.across if abs(rule.at - edge) < 1e-6]
        if not rules:
            continue
        drawn = [rules[0].covers(*pair) >= DRAWN for pair in pairwise(grid.sides)]
        if grid.upright and grid.each:
            down[row] = ~np.array(drawn)
        elif grid.each and any(drawn):
            filled = {
                (at, block.first) for block in grid.blocks for at in (row, row + 1) if block.low <= at <= block.high
            }
            for column in range(columns):
                one = ((row, column) in filled) != ((row + 1, column) in filled)
                down[row, column] = not drawn[column] and one


def _group_headings(grid: Grid, right: np.ndarray) -> None:
    """A row with one phrase alone, no number, is a heading of those below, and spans all columns."""
    rows, columns = right.shape
    if columns < 2:
        return
    own: list[list[Block]] = [[] for _ in range(rows)]
    for block in grid.blocks:
        for row in range(block.low, block.high + 1):
            own[row].append(block)
    for row in range(rows):
        if len(own[row]) != 1 or own[row][0].low != own[row][0].high or row == rows - 1:
            continue
        block = own[row][0]
        box = block.parts[0].phrase.bbox
        middle, off = (grid.sides[0] + grid.sides[-1]) / 2, (box[0] + box[2]) / 2
        centred = abs(off - middle) < 0.05 * (grid.sides[-1] - grid.sides[0])
        if (block.first == 0 or centred) and not block.number and len(own[row + 1]) > 1:
            right[row, : columns - 1] = True
