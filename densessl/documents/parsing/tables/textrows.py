"""Rows of a table from its words, where no lines are drawn between them.

Lines of one column are one cell where the first could not have held the next one's first word, they stand closer than
rows do, and nothing beside them says otherwise: two numbers, one below the other, are two cells, and so is all that
stands on the same two lines. Cells that share a height make up a row; one beside two rows of others spans both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from densessl.documents.parsing.tables.phrases import Phrase

DIVIDED = re.compile(r"[^\W\d_]{2}[-\u00ad\u2010]$")  # a line that ends within a word
CLOSE = 1.13  # of the smallest distance: lines that are farther apart are no lines of one cell
LOOSE = 0.04  # of all distances are larger where rows are farther apart than lines of one cell
BESIDE = 0.35  # of the lower one's height that two cells of a row share


@dataclass
class Placed:
    """A phrase and where it is: columns first to last."""

    phrase: Phrase
    first: int
    last: int


@dataclass
class Parts:
    """Phrases that belong together, and the box around them."""

    parts: list[Placed]

    @property
    def left(self) -> float:
        return min(each.phrase.bbox[0] for each in self.parts)

    @property
    def top(self) -> float:
        return min(each.phrase.bbox[1] for each in self.parts)

    @property
    def right(self) -> float:
        return max(each.phrase.bbox[2] for each in self.parts)

    @property
    def bottom(self) -> float:
        return max(each.phrase.bbox[3] for each in self.parts)


@dataclass
class Block(Parts):
    """Those that make up a cell, or a part of one."""

    low: int = 0
    high: int = 0  # rows, the last included

    @property
    def first(self) -> int:
        return min(each.first for each in self.parts)

    @property
    def last(self) -> int:
        return max(each.last for each in self.parts)

    @property
    def number(self) -> bool:
        return all(each.phrase.number for each in self.parts)


@dataclass
class Facts:
    """What the whole table tells. widths: of each column's widest phrase, seconds: of its second widest. pitch: the
    smallest distance between lines of one column. loose: whether there are others that are clearly larger, so that the
    smallest ones say something. space: of a blank."""

    widths: list[float]
    seconds: list[float]
    pitch: float
    loose: bool
    space: float


@dataclass
class Rows:
    """blocks, each with its rows. tops, bottoms: of what stands in each row."""

    blocks: list[Block] = field(default_factory=list)
    tops: list[float] = field(default_factory=list)
    bottoms: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.tops)


def facts_of(bands: Sequence[Sequence[Placed]], columns: int, high: float) -> Facts:
    """bands: what stands between two lines. A distance over a line says nothing, since one leaves room around it."""
    widths, seconds = [0.0] * columns, [0.0] * columns
    for column, own in _by_column(each for band in bands for each in band).items():
        seconds[column], widths[column] = sorted([0.0, *(each.phrase.width for each in own)])[-2:]
    found = [_distances(band, high) for band in bands]
    distances = np.concatenate(found) if found else np.zeros(0)
    if len(distances) < 2:
        return Facts(widths, seconds, float(distances[0]) if len(distances) else 1.25 * high, False, 0.28 * high)
    pitch = float(np.percentile(distances, 4))
    loose = float(np.mean(distances > 1.05 * CLOSE * pitch)) > LOOSE
    return Facts(widths, seconds, pitch, loose, 0.28 * high)


def _distances(placed: Sequence[Placed], high: float) -> np.ndarray:
    """Between the lines of each column; one over lines of other columns is that to the next cell but one."""
    lines = np.sort([each.phrase.middle for each in placed])
    found = [np.zeros(0)]
    for own in _by_column(placed).values():
        middles = np.sort([each.phrase.middle for each in own])
        apart = np.diff(middles)
        between = np.searchsorted(lines, middles[1:] - 0.45 * high) - np.searchsorted(lines, middles[:-1] + 0.45 * high)
        found.append(apart[(between <= 0) & (apart > 0.6 * high)])
    return np.concatenate(found)


def rows_of(placed: Sequence[Placed], facts: Facts) -> Rows:
    """The rows that these phrases stand in, no line lying between them."""
    if not placed:
        return Rows()
    blocks = _blocks(placed, facts)
    rows = _seeded(blocks)
    rows = _merged_where_spanned(rows, facts)
    return _continued(rows, facts)


def several(rows: Rows) -> bool:
    """Whether these are more rows than one beyond doubt: two next ones have numbers in a column they share."""
    numbers: list[set[int]] = [set() for _ in range(rows.count)]
    for block in rows.blocks:
        if block.number and block.low == block.high and block.first > 0:
            numbers[block.low].add(block.first)
    return any(one & other for one, other in pairwise(numbers))


def doubtful(rows: Rows) -> bool:
    """Whether it is one row only because all its cells have the same lines, which rows of their own have too."""
    lines = {tuple(each.phrase.line for each in block.parts) for block in rows.blocks}
    return rows.count == 1 and len(rows.blocks) > 1 and len(lines) == 1 and len(lines.pop()) > 1


def as_one_row(placed: Sequence[Placed]) -> Rows:
    """All of it in one row."""
    if not placed:
        return Rows()
    groups: dict[tuple[int, int], list[Placed]] = {}
    for each in placed:
        groups.setdefault((each.first, each.last), []).append(each)
    blocks = [Block(parts) for parts in groups.values()]
    return Rows(blocks, [min(each.top for each in blocks)], [max(each.bottom for each in blocks)])


def _by_column(placed: Iterable[Placed]) -> dict[int, list[Placed]]:
    found: dict[int, list[Placed]] = {}
    for each in placed:
        if each.first == each.last:
            found.setdefault(each.first, []).append(each)
    return found


def could_wrap(above: Phrase, below: Phrase, width: float, space: float) -> bool:
    """Whether a line may have ended where it did only because the next word had no room, or ends within a word."""
    if (DIVIDED.search(above.text) and below.text[:1].islower()) or above.text.endswith((" ±", " ×")):
        return True
    return above.width + space + below.first > 0.97 * width and not (above.number and below.number)


def _blocks(placed: Sequence[Placed], facts: Facts) -> list[Block]:
    """Cells by tight lines; spanning phrases are cells of their own."""
    by_column = _by_column(placed)
    pairs: dict[tuple[int, int], list[tuple[Placed, Placed, bool]]] = {}
    for column, own in by_column.items():
        own.sort(key=lambda each: (each.phrase.middle, each.phrase.bbox[0]))
        for above, below in zip(own[:-1], own[1:], strict=True):
            distance = below.phrase.middle - above.phrase.middle
            tight = facts.loose and distance <= CLOSE * facts.pitch
            wraps = could_wrap(above.phrase, below.phrase, facts.widths[column], facts.space)
            same = above.phrase.line == below.phrase.line
            key = above.phrase.line, below.phrase.line
            pairs.setdefault(key, []).append((above, below, same or (tight and wraps)))
    joined = set()
    for lines, found in pairs.items():
        # What stands on the same two lines is of two rows together, or of one.
        if lines[0] == lines[1] or all(fits for _, _, fits in found):
            joined |= {(id(above), id(below)) for above, below, fits in found if fits}
    blocks: list[Block] = []
    for own in by_column.values():
        for number, each in enumerate(own):
            if number and (id(own[number - 1]), id(each)) in joined:
                blocks[-1].parts.append(each)
            else:
                blocks.append(Block([each]))
    return blocks + [Block([each]) for each in placed if each.first != each.last]


def _seeded(blocks: list[Block]) -> Rows:
    """Rows from the column with most cells, then what the others add to them."""
    counts: dict[int, int] = {}
    for block in blocks:
        counts[block.first] = counts.get(block.first, 0) + 1
    order = sorted(blocks, key=lambda each: (-counts[each.first], each.first, each.top))
    seeds: list[list[float]] = []
    for block in order:
        upper, lower = block.top, block.bottom
        over = [
            number
            for number, (top, bottom) in enumerate(seeds)
            if top < lower and upper < bottom
            if min(bottom, lower) - max(top, upper) >= BESIDE * min(bottom - top, lower - upper)
        ]
        over = over or _between(seeds, block)
        if not over:
            seeds.append([block.top, block.bottom])
            seeds.sort(key=lambda each: each[0] + each[1])
        elif len(over) == 1:
            seed = seeds[over[0]]
            seed[0], seed[1] = min(seed[0], block.top), max(seed[1], block.bottom)
    tops = np.array([top for top, _ in seeds])
    bottoms = np.array([bottom for _, bottom in seeds])
    for block in blocks:
        tall = block.bottom - block.top
        shared = np.minimum(bottoms, block.bottom) - np.maximum(tops, block.top)
        over = np.flatnonzero(shared >= BESIDE * np.minimum(bottoms - tops, tall) - 1e-6)
        if not len(over):
            over = np.array(_between(list(zip(tops, bottoms, strict=True)), block) or [int(shared.argmax())])
        block.low, block.high = int(over[0]), int(over[-1])
    return Rows(blocks, tops.tolist(), bottoms.tolist())


def _between(rows: Sequence[Sequence[float]], block: Block) -> list[int]:
    """The two rows that a block stands in the middle of, without room for a row of its own."""
    middle, tall = (block.top + block.bottom) / 2, block.bottom - block.top
    below = next((number for number, (top, bottom) in enumerate(rows) if (top + bottom) / 2 > middle), 0)
    if not below or rows[below][0] - rows[below - 1][1] > 0.9 * tall:
        return []
    up, down = middle - rows[below - 1][1], rows[below][0] - middle
    return [below - 1, below] if abs(up - down) < 0.3 * tall else []


def _merged_where_spanned(rows: Rows, facts: Facts) -> Rows:
    """Two rows are one where most columns have one cell beside both, as numbers have beside a label of two lines,
    or where all that stands in both may be broken lines."""
    spanning = [0] * rows.count
    apart: list[set[int]] = [set() for _ in range(rows.count)]
    here: list[set[int]] = [set() for _ in range(rows.count)]
    for block in rows.blocks:
        here[block.low].add(block.first)
        for row in range(block.low, block.high):
            spanning[row] += 1
    for row in range(rows.count - 1):
        apart[row] = here[row] & here[row + 1]
    ends, starts = _ends(rows), _starts(rows)
    merge = []
    for row in range(rows.count - 1):
        many = spanning[row] > len(apart[row])
        merge.append(many or (spanning[row] > 0 and _wraps(ends[row], starts[row + 1], facts)))
    return _joined(rows, merge)


def _ends(rows: Rows) -> list[dict[int, Phrase]]:
    """Of each row, the last phrase of the cells that end in it, by column."""
    found: list[dict[int, Phrase]] = [{} for _ in range(rows.count)]
    for block in rows.blocks:
        if block.first == block.last:
            found[block.high][block.first] = block.parts[-1].phrase
    return found


def _starts(rows: Rows) -> list[dict[int, Phrase]]:
    """Of each row, the first phrase of the cells that begin in it, by column."""
    found: list[dict[int, Phrase]] = [{} for _ in range(rows.count)]
    for block in rows.blocks:
        if block.first == block.last:
            found[block.low][block.first] = block.parts[0].phrase
    return found


def _wraps(above: dict[int, Phrase], below: dict[int, Phrase], facts: Facts) -> bool:
    """Whether all that stands in both rows may be broken lines."""
    for column in above.keys() & below.keys():
        near = below[column].middle - above[column].middle <= 1.25 * facts.pitch
        if not near or not could_wrap(above[column], below[column], facts.widths[column], facts.space):
            return False
    return True


def _joined(rows: Rows, merge: Sequence[bool]) -> Rows:
    """merge: whether each row is one with the next."""
    if not any(merge):
        return rows
    new = np.concatenate([[0], np.cumsum(~np.asarray(merge, bool))]).astype(int)
    count = int(new[-1]) + 1
    tops, bottoms = [np.inf] * count, [-np.inf] * count
    for row in range(rows.count):
        tops[new[row]] = min(tops[new[row]], rows.tops[row])
        bottoms[new[row]] = max(bottoms[new[row]], rows.bottoms[row])
    for block in rows.blocks:
        block.low, block.high = int(new[block.low]), int(new[block.high])
    return Rows(rows.blocks, tops, bottoms)


def _continued(rows: Rows, facts: Facts) -> Rows:
    """Rows that only go on with what the one before, or the one after, has in the same columns."""
    own: list[list[Block]] = [[] for _ in range(rows.count)]
    for block in rows.blocks:
        for row in range(block.low, block.high + 1):
            own[row].append(block)
    merge = [False] * (rows.count - 1)
    for row in range(rows.count - 1):
        merge[row] = _goes_on(own[row], own[row + 1], facts)
    return _joined(rows, merge)


def _outdented(above: Phrase, below: Phrase) -> bool:
    """Whether a line begins farther left than the one before, and is not centred below it."""
    left, right = above.bbox[0] - below.bbox[0], below.bbox[2] - above.bbox[2]
    return left > 0.4 * above.height and abs(left - right) > 0.6 * above.height


def _goes_on(above: list[Block], below: list[Block], facts: Facts) -> bool:
    if not above or not below or any(each.first != each.last for each in (*above, *below)):
        return False
    if any(block in above for block in below):
        return False
    upper = {each.first: each.parts[-1].phrase for each in above}
    lower = {each.first: each.parts[0].phrase for each in below}
    fewer, more = sorted((upper, lower), key=len)
    if len(fewer) == len(more) or not set(fewer) <= set(more) or 2 * len(fewer) > len(more):
        return False
    if any(each.number for each in fewer.values()):
        return False
    if len(lower) > len(upper) and (set(upper) != {min(lower)} or lower[min(lower)].text[:1].isupper()):
        return False  # rather a heading of what follows
    for column in fewer:
        distance = lower[column].middle - upper[column].middle
        if distance > CLOSE * 1.05 * facts.pitch or upper[column].bold != lower[column].bold:
            return False
        if not could_wrap(upper[column], lower[column], facts.widths[column], facts.space):
            return False
        if column == 0 and _outdented(upper[column], lower[column]):
            return False
        # The one widest line of a column had as much room as it wanted, and a capital may begin something new.
        if lower[column].text[:1].isupper() and upper[column].width > 1.03 * facts.seconds[column]:
            return False
    return True
