"""In which order the parts of a page are read.

Running headers come first, running footers last and footnotes at the foot before them; notes in the margin follow the
block that they stand beside. What remains is cut recursively, after Nagy and Seth's XY-cut (1984), but white space is
no cut by itself, since the gaps of two columns often meet: the page is first cut into strips, at every height that no
block crosses, and strips are put together again as long as one gutter runs through all of them. A strip that has a
title or a figure across the columns stands alone for that; all else is read column by column. Strips part as well where
a column begins anew after it had ended, as under a heading that stands over two columns, and where the blocks of a
narrow column begin at the heights of those beside them, as terms and what they mean do, which are read row by row.
Blocks that neither a strip nor a gutter divides are read above and below the widest of them. More blocks than a page
has, as of drawings that were taken for text, are read row by row.
"""

from __future__ import annotations

from bisect import bisect, bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter
from statistics import median
from typing import NamedTuple

import numpy as np

from densessl.documents.parsing.layout.lines import gap
from densessl.documents.parsing.model import Box

GUTTER = 4.0  # points that two columns are apart
SLACK = 0.1  # of a block's height or width, and no more than `MOST`, that it may reach into its neighbour
MOST = 4.0  # points
WIDE = 0.5  # of the page's width, which blocks have that notes may stand beside
NARROW = 0.5  # of the width of such blocks, which a note has at most
LEVEL = 8.0  # points by which the tops of what stands in one row may differ
OVER, BESIDE = 0.5, 0.25  # of the height of all blocks: most that may reach over a gutter, least on each side of it
LEAST = 0.3  # of the width of all of them, which a column has at least that is of running text
EVEN = 3.0  # points by which those of columns may that begin below one heading
CROWDED = 600  # blocks, above which they are read row by row
DEEP = 100  # cuts within each other, and what is left then row by row
FLOWING = ("text", "list_item", "other", "code")


class _Page:
    """Blocks of a page and what they take of it, (from, to) in points, less what they may reach into neighbours."""

    def __init__(self, boxes: Sequence[Box], types: Sequence[str]):
        self.boxes, self.types = boxes, types
        self.across = [_shrunk(box, 0) for box in boxes]
        self.down = [_shrunk(box, 1) for box in boxes]


class _Column(NamedTuple):
    """Blocks that no gutter parts."""

    blocks: list[int]
    left: float  # in points, less what blocks may reach into neighbours
    right: float
    start: float  # in points, all of the blocks
    end: float
    text: float  # the width of the widest block of running text, below 0 without any

    @property
    def width(self) -> float:
        return self.end - self.start


def reading_order(boxes: Sequence[Box], types: Sequence[str], width: float) -> list[int]:
    """The places of a page's blocks in the order in which they are read.

    boxes: in points. types: of `model.TYPES`. width: of the page, in points.
    """
    everything = range(len(boxes))
    headers = [each for each in everything if types[each] == "page_header"]
    footers = [each for each in everything if types[each] == "page_footer"]
    body = [each for each in everything if types[each] not in ("page_header", "page_footer")]
    page = _Page(boxes, types)
    feet = _feet(body, boxes, types) if len(body) <= CROWDED else set()
    body = [each for each in body if each not in feet]
    notes = _notes(body, page, width) if len(body) <= CROWDED else set()
    order = _cut([each for each in body if each not in notes], page)
    for note in sorted(notes, key=lambda each: boxes[each][1]):
        order.insert(_behind(note, order, boxes, notes), note)
    return _rows(headers, page) + order + _cut(sorted(feet), page) + _rows(footers, page)


def by_columns(boxes: Sequence[Box]) -> list[int]:
    """The places of boxes, such as those of lines, in reading order when all are of one kind."""
    return _cut(list(range(len(boxes))), _Page(boxes, ["text"] * len(boxes)))


def gutters(boxes: Sequence[Box]) -> list[tuple[float, float]]:
    """Between the columns that most of a page's blocks stand in, (left, right) in points."""
    return _gutters(list(range(len(boxes))), _Page(boxes, ["text"] * len(boxes)))


def tau(order: Sequence[int]) -> float:
    """Kendall's tau of places that are to rise: 1 in order, -1 the other way round; 1 of fewer than two."""
    pairs = [(a < b) - (a > b) for place, a in enumerate(order) for b in order[place + 1 :]]
    return sum(pairs) / len(pairs) if pairs else 1.0


def _feet(body: list[int], boxes: Sequence[Box], types: Sequence[str]) -> set[int]:
    """Footnotes without other blocks below them; one under a table stays there."""
    rest = [boxes[each] for each in body if types[each] != "footnote"]
    return {
        each
        for each in body
        if types[each] == "footnote"
        and not any(gap(boxes[each], other, 0) < 0 and other[1] >= boxes[each][3] - MOST for other in rest)
    }


def _notes(body: list[int], page: _Page, width: float) -> set[int]:
    """Narrow blocks outside of what wide blocks take, where most of the page's blocks are wide."""
    boxes, types = page.boxes, page.types
    wide = [each for each in body if boxes[each][2] - boxes[each][0] >= WIDE * width]
    area = sum(_area(boxes[each]) for each in body if types[each] in FLOWING)
    if sum(_area(boxes[each]) for each in wide if types[each] in FLOWING) < 0.5 * area or not area:
        return set()
    left = median(boxes[each][0] for each in wide)
    right = median(boxes[each][2] for each in wide)
    most = NARROW * (right - left)
    narrow = [each for each in body if boxes[each][2] - boxes[each][0] <= most and types[each] != "heading"]
    before = [each for each in narrow if boxes[each][2] <= left + MOST]
    if before and _are_rows([_column(before, page), _column(wide, page)], boxes):
        before = []
    return {*before, *(each for each in narrow if boxes[each][0] >= right - MOST)}


def _behind(note: int, order: list[int], boxes: Sequence[Box], notes: set[int]) -> int:
    """Where to put a note: behind the last block that begins no lower than its first line, and notes there."""
    top = boxes[note][1] + LEVEL
    above = [place for place, each in enumerate(order) if each not in notes and boxes[each][1] <= top]
    beside = [place for place in above if boxes[order[place]][3] >= boxes[note][1]]
    place = max(beside or above, default=-1) + 1
    while place < len(order) and order[place] in notes:
        place += 1
    return place


def _cut(blocks: list[int], page: _Page, depth: int = 0) -> list[int]:
    if len(blocks) < 2:
        return list(blocks)
    if len(blocks) > CROWDED or depth > DEEP:
        return _downwards(blocks, page)
    order: list[int] = []
    for group in _groups(_strips(blocks, page), page):
        columns = _columns(group, page)
        if len(columns) > 1:
            strips = _strips(group, page)
            # What has nothing beside it, as a table in the middle of a page has below a short line, is no column.
            beside = any(len(_columns(strip, page)) > 1 for strip in strips)
            for part in columns if beside else strips:
                order += _cut(part, page, depth + 1)
        elif len(group) < len(blocks):
            order += _cut(group, page, depth + 1)
        else:
            order += _around_widest(group, page, depth + 1)
    return order


def _around_widest(blocks: list[int], page: _Page, depth: int) -> list[int]:
    """What no white space divides, above, the widest, and below."""
    boxes = page.boxes
    widest = max(blocks, key=lambda each: (boxes[each][2] - boxes[each][0], -each))
    here = _middle(boxes[widest]), boxes[widest][0]
    above, below = [], []
    for each in blocks:
        if each != widest:
            (above if (_middle(boxes[each]), boxes[each][0]) < here else below).append(each)
    return _cut(above, page, depth) + [widest] + _cut(below, page, depth)


def _downwards(blocks: list[int], page: _Page) -> list[int]:
    """Column by column where gutters run from top to bottom, each row by row; a row is what has its middle beside the
    highest block of it."""
    order: list[int] = []
    for column in _columns(blocks, page):
        rows: list[list[int]] = []
        for block in sorted(column, key=lambda each: _middle(page.boxes[each])):
            if rows and _middle(page.boxes[block]) < page.boxes[rows[-1][0]][3]:
                rows[-1].append(block)
            else:
                rows.append([block])
        order += [each for row in rows for each in sorted(row, key=lambda block: page.boxes[block][0])]
    return order


def _strips(blocks: list[int], page: _Page) -> list[list[int]]:
    """Blocks from top to bottom, parted at every height that none of them crosses."""
    strips: list[list[int]] = []
    end = float("-inf")
    for block in sorted(blocks, key=lambda each: (page.down[each][0], page.boxes[each][0])):
        top, bottom = page.down[block]
        if strips and top < end:
            strips[-1].append(block)
        else:
            strips.append([block])
        end = max(end, bottom)
    return strips


def _columns(blocks: Sequence[int], page: _Page) -> list[list[int]]:
    """Blocks from left to right, parted where a gutter runs from top to bottom."""
    columns: list[list[int]] = []
    end = float("-inf")
    for block in sorted(blocks, key=lambda each: page.across[each][0]):
        left, right = page.across[block]
        if columns and left < end + GUTTER:
            columns[-1].append(block)
        else:
            columns.append([block])
        end = max(end, right)
    return columns


def _column(blocks: list[int], page: _Page) -> _Column:
    boxes = [page.boxes[each] for each in blocks]
    flowing = [box[2] - box[0] for each, box in zip(blocks, boxes, strict=True) if page.types[each] in FLOWING]
    left, right = min(page.across[each][0] for each in blocks), max(page.across[each][1] for each in blocks)
    start, end = min(box[0] for box in boxes), max(box[2] for box in boxes)
    return _Column(blocks, left, right, start, end, max(flowing, default=-1.0))


def _together(columns: Iterable[_Column]) -> list[_Column]:
    """Columns of any blocks as those of all of them, from left to right."""
    found: list[_Column] = []
    for column in sorted(columns, key=attrgetter("left")):
        if not found or column.left >= found[-1].right + GUTTER:
            found.append(column)
            continue
        blocks, left, right, start, end, text = found[-1]
        blocks, right = blocks + column.blocks, max(right, column.right)
        start, end, text = min(start, column.start), max(end, column.end), max(text, column.text)
        found[-1] = _Column(blocks, left, right, start, end, text)
    return found


def _groups(strips: list[list[int]], page: _Page) -> list[list[int]]:
    """Strips put together as long as a gutter runs through them and no column begins anew."""
    groups: list[list[list[int]]] = []
    columns: list[_Column] = []  # of the last group
    gutters = _gutters([block for strip in strips for block in strip], page)
    for strip in strips:
        own = [_column(blocks, page) for blocks in _columns(strip, page)]
        both = _together([*columns, *own])
        if not groups or not _goes_on(columns, own, both, gutters, page):
            groups.append([strip])
            columns = own
            continue
        lone = _begins_anew([*groups[-1], strip], both, page)
        if lone is None:
            groups[-1].append(strip)
            columns = both
        else:  # what stood alone before the column began again is of what follows
            before, after = groups[-1][:lone], groups[-1][lone:]
            groups[-1:] = [*([before] if before else []), *([one] for one in after), [strip]]
            columns = own
    return [[block for strip in group for block in strip] for group in groups]


def _goes_on(
    columns: list[_Column],
    own: list[_Column],
    both: list[_Column],
    gutters: list[tuple[float, float]],
    page: _Page,
) -> bool:
    """Whether a gutter, one of these if there are any, runs through a group and the strip below it, and parts columns
    that are no rows. columns: of the group. own: of the strip. both: of the two together."""
    if len(both) < 2:
        return False
    if gutters:
        ends = [right for _, right in gutters]
        fine = False
        for before, behind in zip(both, both[1:], strict=False):
            first = bisect(ends, before.right)
            fine = fine or first < len(ends) and gutters[first][0] < behind.left
    else:  # none of theirs may end here
        fine = max(len(columns), len(own)) <= len(both)
    return fine and not _are_rows(both, page.boxes)


def _gutters(blocks: list[int], page: _Page) -> list[tuple[float, float]]:
    """The gutters of most of these blocks, as (left, right): those that few reach over and that have many on each side,
    in points of height. Of neighbours the one that fewest reach over, since one column may be ragged."""
    blocks = sorted(blocks, key=lambda each: (page.boxes[each][1], page.boxes[each][3]))
    heights = np.array([(page.boxes[each][1], page.boxes[each][3]) for each in blocks], float).reshape(-1, 2)
    lefts, rights = np.array([page.across[each] for each in blocks], float).reshape(-1, 2).T
    edges = sorted({edge for block in blocks for edge in page.across[block]})
    whole = _covered(heights)
    least = BESIDE * whole
    # What stands before an edge grows from left to right, and what stands behind it shrinks.
    first = bisect_left(edges, least, key=lambda edge: _covered(heights[rights <= edge]))
    last = bisect_right(edges, -least, key=lambda edge: -_covered(heights[lefts >= edge]))
    edges = edges[first:last]
    runs: list[list[tuple[float, float, float]]] = []  # (points that are reached over, left, right), side by side
    for left, right in zip(edges, edges[1:], strict=False):
        reached = _covered(heights[(lefts <= left) & (rights >= right)])
        if reached > OVER * whole:
            continue
        if runs and runs[-1][-1][2] == left:
            runs[-1].append((reached, left, right))
        else:
            runs.append([(reached, left, right)])
    wide = [[each for each in run if each[2] - each[1] >= GUTTER] for run in runs]
    return [min(run)[1:] for run in wide if run]


def _covered(heights: np.ndarray) -> float:
    """Points of height that blocks take, those beside each other once. heights: (n, 2), (top, bottom), sorted."""
    if not len(heights):
        return 0.0
    tops, bottoms = heights.T
    ends = np.maximum.accumulate(bottoms)
    tops = np.concatenate([tops[:1], np.maximum(tops[1:], ends[:-1])])
    return float(np.maximum(bottoms - tops, 0).cumsum()[-1])


def _are_rows(columns: list[_Column], boxes: Sequence[Box]) -> bool:
    """Whether the blocks of a narrow first column begin where those of the second do, two at least."""
    if len(columns) != 2 or len(columns[0].blocks) < 2:
        return False
    first, second = columns
    if first.width > 0.4 * second.width:
        return False
    tops = sorted(boxes[each][1] for each in second.blocks)
    level = 0
    for each in first.blocks:
        top = boxes[each][1]
        place = bisect(tops, top)
        level += any(abs(top - other) <= LEVEL for other in tops[max(0, place - 1) : place + 1])
    return level >= 0.8 * len(first.blocks)


def _begins_anew(group: list[list[int]], columns: list[_Column], page: _Page) -> int | None:
    """Where in a group, strips from top to bottom, columns begin anew: a heading that stands alone in the first one
    between blocks that end at one height and such that begin at one, or strips of one side each that take turns and
    are no columns of text. None when they go on. columns: of all of its strips."""
    boxes, lefts = page.boxes, [column.left for column in columns]

    def side(block: int) -> int:
        return bisect(lefts, page.across[block][0]) - 1

    own = {side(block) for block in group[-1]}
    if own == {0} and not any(side(block) == 0 for block in group[-2]) and not _fills(columns):
        return len(group) - 2
    tops: dict[int, float] = {}
    for block in group[-1]:
        tops[side(block)] = min(boxes[block][1], tops.get(side(block), boxes[block][1]))
    if len(tops) < 2 or max(tops.values()) - min(tops.values()) > EVEN:
        return None
    first = len(group) - 1
    while first and all(side(block) == 0 and page.types[block] == "heading" for block in group[first - 1]):
        first -= 1
    if first == len(group) - 1:
        return None
    ends: dict[int, float] = {}
    for block in (block for strip in group[:first] for block in strip):
        ends[side(block)] = max(boxes[block][3], ends.get(side(block), boxes[block][3]))
    return first if max(ends.values(), default=0.0) - min(ends.values(), default=0.0) <= EVEN else None


def _fills(columns: list[_Column]) -> bool:
    """Whether there is text as wide as its column, one that is wide enough to be of running text."""
    around = max(column.end for column in columns) - min(column.start for column in columns)
    return any(column.width >= LEAST * around and column.text >= 0.8 * column.width for column in columns)


def _rows(blocks: list[int], page: _Page) -> list[int]:
    """From top to bottom, in a row from left to right."""
    return [each for strip in _strips(blocks, page) for each in sorted(strip, key=lambda block: page.boxes[block][0])]


def _shrunk(box: Box, axis: int) -> tuple[float, float]:
    """Where a block begins and ends, less what it may reach into its neighbour."""
    slack = min(SLACK * (box[axis + 2] - box[axis]), MOST) / 2
    return box[axis] + slack, box[axis + 2] - slack


def _middle(box: Box) -> float:
    return (box[1] + box[3]) / 2


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
