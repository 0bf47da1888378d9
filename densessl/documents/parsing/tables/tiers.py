"""Headers of several rows: names of groups over the names of their columns, or over names of smaller groups.

A name that stands over the middle of several columns, or over a line that is drawn below it, spans these. What stands
in a column that has no such name over it spans all rows, wherever it stands: in the lowest one, or between them. What
is below the names of the uppermost row is taken apart in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from densessl.documents.parsing.tables.rules import Rule
from densessl.documents.parsing.tables.spans import FIT, drawn_over, extents_of
from densessl.documents.parsing.tables.textrows import Block, Parts, Placed, Rows, could_wrap

PASSED = 0.15  # what it costs to leave a column without a name of a group, in the same unit
WIDTH = 12  # columns that a name of a group may be believed to span without a line below it


@dataclass
class _Name(Parts):
    """Those that stand one below the other, and the columns they name."""

    first: int = 0
    last: int = 0
    drawn: bool = False


@dataclass
class Columns:
    """extents: (low, high) of what stands in each column below the header. sides: x of their borders, the outer ones
    too. high: of a line of words."""

    extents: Sequence[tuple[float, float]]
    sides: Sequence[float]
    high: float

    @property
    def count(self) -> int:
        return len(self.extents)

    def at(self, low: float, high: float) -> int:
        return int(np.searchsorted(self.sides[1:-1], (low + high) / 2))

    def of(self, each: Placed) -> int:
        return self.at(each.phrase.bbox[0], each.phrase.bbox[2])

    def widened(self, placed: Sequence[Placed]) -> Columns:
        """With what else stands in them."""
        extents = list(self.extents)
        for each in placed:
            low, high = extents[self.of(each)]
            extents[self.of(each)] = min(low, each.phrase.bbox[0]), max(high, each.phrase.bbox[2])
        return Columns(extents, self.sides, self.high)


def columns_below(placed: Sequence[Placed], sides: Sequence[float], high: float) -> Columns:
    """By what stands in them; one without anything is as wide as its borders let it be."""
    found = extents_of(placed, len(sides) - 1)
    extents = [own if own[0] < own[1] else pair for own, pair in zip(found, pairwise(sides), strict=True)]
    return Columns(extents, sides, high)


def tiers(placed: Sequence[Placed], columns: Columns, across: Sequence[Rule], borders: Sequence[float]) -> Rows | None:
    """The rows of a header, two or more; None where it has one.

    placed: what stands in it. across: lines that are drawn, but over the whole width. borders: y of those that are.
    """
    if columns.count < 3 or len(borders) > 1:
        return None
    beyond = [each for each in placed if each.last > 0]
    best: tuple[float, float, list[_Name]] | None = None
    for y in borders or _braces(beyond, columns, across) or _gaps(beyond):
        names = _named(beyond, y, columns, across)
        if names is not None and (best is None or names[0] < best[0]):
            best = names[0], y, names[1]
    if best is None:
        return None
    _, y, names = best
    below = [
        each for each in _parted(beyond, y)[1] if any(name.first <= columns.of(each) <= name.last for name in names)
    ]
    lower = tiers(below, columns, [rule for rule in across if rule.at > y + 0.3 * columns.high], [])
    return _rows(placed, y, names, columns, lower)


def _braces(placed: Sequence[Placed], columns: Columns, across: Sequence[Rule]) -> list[float]:
    """y of lines between words that are drawn over several columns."""
    low, high = (op(each.phrase.middle for each in placed) for op in (min, max)) if placed else (0.0, 0.0)
    middles = [(x0 + x1) / 2 for x0, x1 in columns.extents]
    return [
        rule.at
        for rule in across
        if low < rule.at < high
        if any(sum(x0 - 2 <= middle <= x1 + 2 for middle in middles) > 1 for x0, x1 in rule.parts)
    ]


def trim(placed: Sequence[Placed], columns: Columns) -> None:
    """What is only too long for its column does not span: it lies over the better part of that one alone."""
    for each in placed:
        left, _, right, _ = each.phrase.bbox
        own = columns.extents[each.first : each.last + 1]
        shares = [(min(right, high) - max(left, low)) / (high - low) for low, high in own]
        if each.last > each.first and sum(share > 0.6 for share in shares) < 2:
            each.first = each.last = columns.of(each)


def _gaps(placed: Sequence[Placed]) -> list[float]:
    """y between the end of some phrase and the beginning of the next lower one."""
    tops = sorted(each.phrase.bbox[1] for each in placed)
    found = []
    for end in sorted({each.phrase.bbox[3] for each in placed}):
        after = next((top for top in tops if top > end - 0.1 * (end - tops[0])), None)
        if after is not None:
            found.append((end + after) / 2)
    return found


def _parted(placed: Sequence[Placed], y: float) -> tuple[list[Placed], list[Placed], list[Placed]]:
    """What is above, below and across a height."""
    above, below, over = [], [], []
    for each in placed:
        _, top, _, bottom = each.phrase.bbox
        slack = 0.2 * (bottom - top)
        (above if bottom - slack <= y else below if top + slack >= y else over).append(each)
    return above, below, over


def _named(
    beyond: Sequence[Placed], y: float, columns: Columns, across: Sequence[Rule]
) -> tuple[float, list[_Name]] | None:
    """Names of groups above a height, and what they cost: how badly they fit; None where they do not."""
    above, below, over = _parted(beyond, y)
    names = _stacks(above)
    if not names or not below:
        return None
    columns = columns.widened(below)
    filled = {columns.of(each) for each in below}
    taken = {columns.of(each) for each in over}
    for name in names:
        _by_line(name, names, columns, across, y)
    cost = _assign(names, columns, filled, taken)
    if cost is None:
        return None
    spanning = [name for name in names if name.last > name.first]
    if not spanning or all(_broken(name, below, columns) for name in spanning):
        return None
    room = min(each.phrase.bbox[1] for each in below) - max(name.bottom for name in names)
    return cost - 0.3 * float(np.clip(room / columns.high, 0, 1)) - 0.5 * any(name.drawn for name in names), names


def _stacks(placed: Sequence[Placed]) -> list[_Name]:
    """Phrases that stand one below the other, from left to right."""
    names: list[_Name] = []
    for each in sorted(placed, key=lambda each: each.phrase.bbox[0]):
        if names and each.phrase.bbox[0] < names[-1].right and each.phrase.line not in _lines(names[-1]):
            names[-1].parts.append(each)
        else:
            names.append(_Name([each]))
    return names


def _lines(name: _Name) -> set[int]:
    return {each.phrase.line for each in name.parts}


def _by_line(name: _Name, names: Sequence[_Name], columns: Columns, across: Sequence[Rule], y: float) -> None:
    """The columns over which a line is drawn below a name, and below no other one."""
    for rule in across:
        if not name.bottom - 0.3 * columns.high <= rule.at <= max(y, name.bottom + 0.9 * columns.high):
            continue
        for first, last in drawn_over((name.left + name.right) / 2, rule, columns.extents):
            low, high = columns.sides[first], columns.sides[last + 1]
            if sum(low <= (each.left + each.right) / 2 <= high for each in names) == 1:
                name.first, name.last, name.drawn = first, last, True


def _assign(names: Sequence[_Name], columns: Columns, filled: set[int], taken: set[int]) -> float | None:
    """Give each name its columns, those that fit best together; how badly they do, or None where they cannot."""
    states: list[dict[int, tuple[float, int, int]]] = [{1 if 0 not in filled else 0: (0.0, 0, 0)}]
    for name in names:
        reached: dict[int, tuple[float, int, int]] = {}
        for start, (cost, _, _) in states[-1].items():
            for first in [name.first] if name.drawn else range(start, columns.count):
                passed = first - start
                if passed < 0 or passed > columns.count / 2:
                    continue
                for last in [name.last] if name.drawn else range(first, min(columns.count, first + WIDTH)):
                    fit = cost + PASSED * passed + _misfit(name, first, last, columns, filled, taken)
                    if fit < reached.get(last + 1, (np.inf,))[0]:
                        reached[last + 1] = fit, first, start
        states.append(reached)
    ends = {end: cost + PASSED * (columns.count - end) for end, (cost, _, _) in states[-1].items()}
    if not ends or not np.isfinite(min(ends.values())):
        return None
    end = best = min(ends, key=ends.get)
    for name, reached in zip(reversed(names), reversed(states[1:]), strict=True):
        _, first, start = reached[end]
        name.first, name.last, end = first, end - 1, start
    return ends[best] / len(names)


def _misfit(name: _Name, first: int, last: int, columns: Columns, filled: set[int], taken: set[int]) -> float:
    """How far from the middle of these columns a name stands, as a share of their width; infinite for too far."""
    own = range(first, last + 1)
    if any(each in taken for each in own):
        return np.inf
    low, high = columns.extents[first][0], columns.extents[last][1]
    if first == last:
        if columns.at(name.left, name.right) != first and not (high > name.left and low < name.right):
            return np.inf
        off = min(abs(low - name.left), abs(high - name.right), abs(low + high - name.left - name.right) / 2)
        return off / max(high - low, name.right - name.left)
    if not all(each in filled for each in own):
        return np.inf
    if name.drawn:
        return 0.0
    if name.right - name.left > 1.15 * (high - low) or high <= low:
        return np.inf
    middle, (start, end) = (name.left + name.right) / 2, (columns.sides[first], columns.sides[last + 1])
    off = min(abs((low + high) / 2 - middle) / (high - low), abs((start + end) / 2 - middle) / (end - start))
    return off if off <= FIT else np.inf


def _broken(name: _Name, below: Sequence[Placed], columns: Columns) -> bool:
    """Whether a name may as well be the first lines of what stands below it in one column."""
    if name.drawn:
        return False
    under = [each for each in below if each.phrase.bbox[0] < name.right and each.phrase.bbox[2] > name.left]
    if len({columns.of(each) for each in under}) != 1:
        return False
    ends = max(name.parts, key=lambda each: each.phrase.bbox[3]).phrase
    begins = min(under, key=lambda each: each.phrase.bbox[1]).phrase
    near = begins.bbox[1] - ends.bbox[3] < 0.4 * columns.high
    low, high = columns.extents[columns.at(begins.bbox[0], begins.bbox[2])]
    width = max(high - low, begins.width, name.right - name.left)
    return near and could_wrap(ends, begins, width, 0.28 * columns.high)


def _rows(placed: Sequence[Placed], y: float, names: Sequence[_Name], columns: Columns, lower: Rows | None) -> Rows:
    """Blocks of all rows: names of groups, what is below them, and what is beside them, which spans all. lower: the
    rows below the names, if they are several."""
    upper = {id(each) for name in names for each in name.parts}
    upper |= {id(each) for block in lower.blocks for each in block.parts} if lower else set()
    named = {column for name in names for column in range(name.first, name.last + 1)}
    last = lower.count if lower else 1
    filled = {column for block in lower.blocks for column in range(block.first, block.last + 1)} if lower else set()
    blocks, beside, below = [], {}, {}
    for each in placed:
        if id(each) in upper:
            continue
        column = columns.of(each)
        (below if column in named and not lower else beside).setdefault(column, []).append(each)
        each.first = each.last = column
    for name in names:
        for each in name.parts:
            each.first, each.last = name.first, name.last
        alone = name.first == name.last and name.first not in below and name.first not in filled
        blocks.append(Block(name.parts, 0, last if alone else 0))
    blocks += [Block(parts, 1, 1) for parts in below.values()]
    blocks += [Block(parts, 0, last) for parts in beside.values()]
    for block in blocks:
        block.parts.sort(key=lambda each: (each.phrase.line, each.phrase.bbox[0]))
    top, bottom = min(each.phrase.bbox[1] for each in placed), max(each.phrase.bbox[3] for each in placed)
    if lower is None:
        return Rows(blocks, [top, y], [y, bottom])
    for block in lower.blocks:
        block.low, block.high = block.low + 1, block.high + 1
    return Rows([*blocks, *lower.blocks], [top, y, *lower.tops[1:]], [y, *lower.bottoms[:-1], bottom])
