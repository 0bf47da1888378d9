"""Cells that span: headers over several columns, headings of groups of rows, and what becomes of open borders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from densessl.documents.parsing.tables.phrases import Phrase
from densessl.documents.parsing.tables.rules import Rule
from densessl.documents.parsing.tables.textrows import Placed

FIT = 0.16  # of a span's width: how far from its middle a header that spans may stand
SLACK = 2.0  # points that a line may end too soon


def place(phrases: Sequence[Phrase], cuts: Sequence[float], high: float) -> list[Placed]:
    """Phrases and the columns that they lie over: from more than a third of a line's height on."""
    return [Placed(phrase, *_range(phrase.bbox[0], phrase.bbox[2], cuts, 0.35 * high)) for phrase in phrases]


def _range(low: float, high: float, cuts: Sequence[float], slack: float) -> tuple[int, int]:
    middle = (low + high) / 2
    first = int(np.searchsorted(cuts, min(low + slack, middle)))
    last = int(np.searchsorted(cuts, max(high - slack, middle)))
    return first, last


def span_headers(placed: Sequence[Placed], columns: int, braces: Sequence[Rule], cuts: Sequence[float]) -> None:
    """Widen the phrases of the first line to the columns that they stand over the middle of.

    A line below them, drawn over several columns but not all, says which. Else they share all columns but the first
    among them, where the line below fills these, so that each stands near the middle of its own.
    """
    if columns < 3 or not placed:
        return
    extents = extents_of(placed, columns)
    beyond = [each for each in placed if each.first > 0]
    if not beyond:
        return
    start = min(each.phrase.line for each in beyond)
    upper = sorted((each for each in beyond if each.phrase.line == start), key=lambda each: each.phrase.bbox[0])
    if _by_braces(upper, braces, extents):
        return
    below = [each for each in beyond if each.phrase.line > start]
    if not below:
        return
    after = min(each.phrase.line for each in below)
    lower = [each for each in below if each.phrase.line == after]
    filled = sorted({each.first for each in lower if each.first == each.last})
    if len(filled) < columns - 1 or 2 * len(upper) > columns or any(each.phrase.number for each in upper):
        return
    left = [each for each in placed if each.last == 0 and each.phrase.line <= after]
    if sum(each.phrase.line in (start, after) for each in left) > 1:
        return
    ranges = _shared(upper, columns, extents)
    if ranges is not None and any(high > low for low, high in ranges):
        for each, (low, high) in zip(upper, ranges, strict=True):
            each.first, each.last = low, high


def extents_of(placed: Sequence[Placed], columns: int) -> list[tuple[float, float]]:
    """(left, right) of what stands in each column alone; (inf, -inf) of one without."""
    found = [(np.inf, -np.inf)] * columns
    for each in placed:
        if each.first == each.last:
            low, high = found[each.first]
            found[each.first] = min(low, each.phrase.bbox[0]), max(high, each.phrase.bbox[2])
    return found


def _by_braces(upper: Sequence[Placed], braces: Sequence[Rule], extents: Sequence[tuple[float, float]]) -> bool:
    done = False
    for each in upper:
        left, _, right, bottom = each.phrase.bbox
        high = each.phrase.height
        for rule in braces:
            if not bottom - 0.3 * high <= rule.at <= bottom + 0.9 * high:
                continue
            for under in drawn_over((left + right) / 2, rule, extents):
                each.first, each.last = under
                done = True
    return done


def drawn_over(middle: float, rule: Rule, extents: Sequence[tuple[float, float]]) -> Iterator[tuple[int, int]]:
    """The first and last column of each part of a line that runs below this x, if it is drawn over several."""
    for low, end in rule.parts:
        if not low - SLACK <= middle <= end + SLACK:
            continue
        under = [
            column for column, (x0, x1) in enumerate(extents) if x1 > x0 and low - SLACK <= (x0 + x1) / 2 <= end + SLACK
        ]
        if len(under) > 1:
            yield under[0], under[-1]


def _shared(
    upper: Sequence[Placed], columns: int, extents: Sequence[tuple[float, float]]
) -> list[tuple[int, int]] | None:
    """Columns 1 to the last, in as many stretches as there are phrases; None where they do not fit."""

    def misfit(each: Placed, low: int, high: int) -> float:
        x0, x1 = extents[low][0], extents[high][1]
        left, _, right, _ = each.phrase.bbox
        if low == high:
            return 0.0 if min(x1, right) > max(x0, left) else np.inf
        return abs((x0 + x1) / 2 - (left + right) / 2) / max(x1 - x0, 1e-6)

    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]
    for each in upper:
        reached: dict[int, tuple[float, int]] = {}
        for end, (cost, _) in best[-1].items():
            for high in range(end + 1, columns):
                fit = misfit(each, end + 1, high)
                if fit <= FIT and cost + fit < reached.get(high, (np.inf, 0))[0]:
                    reached[high] = cost + fit, end
        best.append(reached)
    if columns - 1 not in best[-1]:
        return None
    ends = [columns - 1]
    for reached in reversed(best[1:]):
        ends.append(reached[ends[-1]][1])
    ends.reverse()
    return [(low + 1, high) for low, high in pairwise(ends)]


def rectangles(right: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """Places that are one cell. right, down: (rows, columns) bool, whether a place is open to the next one.

    Returns the number of each place's cell, (rows, columns), and each cell's first and last row and column.
    """
    rows, columns = right.shape
    owner = np.arange(rows * columns).reshape(rows, columns)
    parent = list(range(rows * columns))

    def root(each: int) -> int:
        while parent[each] != each:
            parent[each] = parent[parent[each]]
            each = parent[each]
        return each

    for row, column in np.argwhere(right[:, :-1]).tolist():
        parent[root(int(owner[row, column]))] = root(int(owner[row, column + 1]))
    for row, column in np.argwhere(down[:-1]).tolist():
        parent[root(int(owner[row, column]))] = root(int(owner[row + 1, column]))
    while True:
        bounds: dict[int, list[int]] = {}
        for row in range(rows):
            for column in range(columns):
                box = bounds.setdefault(root(row * columns + column), [row, column, row, column])
                box[0], box[1] = min(box[0], row), min(box[1], column)
                box[2], box[3] = max(box[2], row), max(box[3], column)
        changed = False
        for each, (top, left, bottom, end) in bounds.items():
            if top == bottom and left == end:
                continue
            for row in range(top, bottom + 1):
                for column in range(left, end + 1):
                    other = root(row * columns + column)
                    if other != root(each):
                        parent[other] = root(each)
                        changed = True
        if not changed:
            break
    cells = [tuple(box) for box in sorted(bounds.values())]
    for number, (top, left, bottom, end) in enumerate(cells):
        owner[top : bottom + 1, left : end + 1] = number
    return owner, cells
