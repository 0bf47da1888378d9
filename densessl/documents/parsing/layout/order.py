"""In which order the parts of a page are read.

Running headers come first, running footers last and footnotes at the foot before them; notes in the margin follow the
block that they stand beside. What remains is cut recursively, after Nagy and Seth's XY-cut (1984), but white space is
no cut by itself, since the gaps of two columns often meet: the page is first cut into strips, at every height that no
block crosses, and strips are put together again as long as one gutter runs through all of them. A strip that has a
title or a figure across the columns stands alone for that; all else is read column by column. Strips part as well where
a column begins anew after it had ended, as under a heading that stands over two columns, and where the blocks of a
narrow column begin at the heights of those beside them, as terms and what they mean do, which are read row by row.
Blocks that neither a strip nor a gutter divides are read above and below the widest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

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
FLOWING = ("text", "list_item", "other", "code")


def reading_order(boxes: Sequence[Box], types: Sequence[str], width: float) -> list[int]:
    """The places of a page's blocks in the order in which they are read.

    boxes: in points. types: of `model.TYPES`. width: of the page, in points.
    """
    everything = range(len(boxes))
    headers = [each for each in everything if types[each] == "page_header"]
    footers = [each for each in everything if types[each] == "page_footer"]
    body = [each for each in everything if types[each] not in ("page_header", "page_footer")]
    feet = _feet(body, boxes, types)
    body = [each for each in body if each not in feet]
    notes = _notes(body, boxes, types, width)
    order = _cut([each for each in body if each not in notes], boxes, types)
    for note in sorted(notes, key=lambda each: boxes[each][1]):
        order.insert(_behind(note, order, boxes, notes), note)
    return _rows(headers, boxes) + order + _cut(sorted(feet), boxes, types) + _rows(footers, boxes)


def by_columns(boxes: Sequence[Box]) -> list[int]:
    """The places of boxes, such as those of lines, in reading order when all are of one kind."""
    return _cut(list(range(len(boxes))), boxes, ["text"] * len(boxes))


def gutters(boxes: Sequence[Box]) -> list[tuple[float, float]]:
    """Between the columns that most of a page's blocks stand in, (left, right) in points."""
    return _gutters(list(range(len(boxes))), boxes)


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
        and not any(_beside(boxes[each], other, 0) > 0 and other[1] >= boxes[each][3] - MOST for other in rest)
    }


def _notes(body: list[int], boxes: Sequence[Box], types: Sequence[str], width: float) -> set[int]:
    """Narrow blocks outside of what wide blocks take, where most of the page's blocks are wide."""
    wide = [each for each in body if boxes[each][2] - boxes[each][0] >= WIDE * width]
    area = sum(_area(boxes[each]) for each in body if types[each] in FLOWING)
    if sum(_area(boxes[each]) for each in wide if types[each] in FLOWING) < 0.5 * area or not area:
        return set()
    left = median(boxes[each][0] for each in wide)
    right = median(boxes[each][2] for each in wide)
    narrow = [each for each in body if _width([each], boxes) <= NARROW * (right - left) and types[each] != "heading"]
    before = [each for each in narrow if boxes[each][2] <= left + MOST]
    if _are_rows([before, wide], boxes):
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


def _cut(blocks: list[int], boxes: Sequence[Box], types: Sequence[str]) -> list[int]:
    if len(blocks) < 2:
        return list(blocks)
    order: list[int] = []
    for group in _groups(_strips(blocks, boxes), boxes, types):
        columns = _columns(group, boxes)
        if len(columns) > 1:
            for column in columns:
                order += _cut(column, boxes, types)
        elif len(group) < len(blocks):
            order += _cut(group, boxes, types)
        else:
            order += _around_widest(group, boxes, types)
    return order


def _around_widest(blocks: list[int], boxes: Sequence[Box], types: Sequence[str]) -> list[int]:
    """What no white space divides, above, the widest, and below."""
    widest = max(blocks, key=lambda each: (boxes[each][2] - boxes[each][0], -each))
    middle = _middle(boxes[widest])
    rest = [each for each in blocks if each != widest]
    above = [each for each in rest if (_middle(boxes[each]), boxes[each][0]) < (middle, boxes[widest][0])]
    below = [each for each in rest if each not in set(above)]
    return _cut(above, boxes, types) + [widest] + _cut(below, boxes, types)


def _strips(blocks: list[int], boxes: Sequence[Box]) -> list[list[int]]:
    """Blocks from top to bottom, parted at every height that none of them crosses."""
    strips: list[list[int]] = []
    end = float("-inf")
    for block in sorted(blocks, key=lambda each: (_shrunk(boxes[each], 1)[0], boxes[each][0])):
        top, bottom = _shrunk(boxes[block], 1)
        if strips and top < end:
            strips[-1].append(block)
        else:
            strips.append([block])
        end = max(end, bottom)
    return strips


def _columns(blocks: Sequence[int], boxes: Sequence[Box]) -> list[list[int]]:
    """Blocks from left to right, parted where a gutter runs from top to bottom."""
    columns: list[list[int]] = []
    end = float("-inf")
    for block in sorted(blocks, key=lambda each: _shrunk(boxes[each], 0)[0]):
        left, right = _shrunk(boxes[block], 0)
        if columns and left < end + GUTTER:
            columns[-1].append(block)
        else:
            columns.append([block])
        end = max(end, right)
    return columns


def _groups(strips: list[list[int]], boxes: Sequence[Box], types: Sequence[str]) -> list[list[int]]:
    """Strips put together as long as a gutter runs through them and no column begins anew."""
    groups: list[list[list[int]]] = []
    gutters = _gutters([block for strip in strips for block in strip], boxes)
    for strip in strips:
        if not groups or not _goes_on(groups[-1], strip, boxes, gutters):
            groups.append([strip])
            continue
        lone = _begins_anew([*groups[-1], strip], boxes, types)
        if lone is None:
            groups[-1].append(strip)
        else:  # what stood alone before the column began again is of what follows
            before, after = groups[-1][:lone], groups[-1][lone:]
            groups[-1:] = [*([before] if before else []), *([one] for one in after), [strip]]
    return [[block for strip in group for block in strip] for group in groups]


def _goes_on(
    group: list[list[int]], strip: list[int], boxes: Sequence[Box], gutters: list[tuple[float, float]]
) -> bool:
    """Whether a gutter, one of these if there are any, runs through a group and the strip below it, and parts columns
    that are no rows."""
    columns = _columns([block for each in [*group, strip] for block in each], boxes)
    if len(columns) < 2:
        return False
    if gutters:
        sides = [[edge for block in column for edge in _shrunk(boxes[block], 0)] for column in columns]
        between = [(max(left), min(right)) for left, right in zip(sides, sides[1:], strict=False)]
        fine = any(a < d and c < b for a, b in between for c, d in gutters)
    else:  # none of theirs may end here
        fine = all(len(_columns(each, boxes)) <= len(columns) for each in (sum(group, []), strip))
    return fine and not _are_rows(columns, boxes)


def _gutters(blocks: list[int], boxes: Sequence[Box]) -> list[tuple[float, float]]:
    """The gutters of most of these blocks, as (left, right): those that few reach over and that have many on each side,
    in points of height. Of neighbours the one that fewest reach over, since one column may be ragged."""
    edges = sorted({edge for block in blocks for edge in _shrunk(boxes[block], 0)})
    whole = _covered(blocks, boxes)
    runs: list[list[tuple[float, float, float]]] = []  # (points that are reached over, left, right), side by side
    for left, right in zip(edges, edges[1:], strict=False):
        over = [each for each in blocks if _shrunk(boxes[each], 0)[0] <= left and _shrunk(boxes[each], 0)[1] >= right]
        reached = _covered(over, boxes)
        if reached > OVER * whole:
            continue
        before = [each for each in blocks if _shrunk(boxes[each], 0)[1] <= left]
        behind = [each for each in blocks if _shrunk(boxes[each], 0)[0] >= right]
        if min(_covered(before, boxes), _covered(behind, boxes)) < BESIDE * whole:
            continue
        if runs and runs[-1][-1][2] == left:
            runs[-1].append((reached, left, right))
        else:
            runs.append([(reached, left, right)])
    wide = [[each for each in run if each[2] - each[1] >= GUTTER] for run in runs]
    return [min(run)[1:] for run in wide if run]


def _covered(blocks: list[int], boxes: Sequence[Box]) -> float:
    """Points of height that blocks take, those beside each other once."""
    covered, end = 0.0, float("-inf")
    for top, bottom in sorted((boxes[block][1], boxes[block][3]) for block in blocks):
        covered += max(0.0, bottom - max(top, end))
        end = max(end, bottom)
    return covered


def _are_rows(columns: list[list[int]], boxes: Sequence[Box]) -> bool:
    """Whether the blocks of a narrow first column begin where those of the second do, two at least."""
    if len(columns) != 2 or len(columns[0]) < 2:
        return False
    first, second = columns
    if _width(first, boxes) > 0.4 * _width(second, boxes):
        return False
    level = sum(any(abs(boxes[a][1] - boxes[b][1]) <= LEVEL for b in second) for a in first)
    return level >= 0.8 * len(first)


def _begins_anew(group: list[list[int]], boxes: Sequence[Box], types: Sequence[str]) -> int | None:
    """Where in a group, strips from top to bottom, columns begin anew: a heading that stands alone in the first one
    between blocks that end at one height and such that begin at one, or strips of one side each that take turns and
    are no columns of text. None when they go on."""
    columns = [set(column) for column in _columns([block for strip in group for block in strip], boxes)]
    sides = [[number for number, column in enumerate(columns) if column.intersection(strip)] for strip in group]
    if sides[-1] == [0] and 0 not in sides[-2] and not any(_fills(strip, columns, boxes, types) for strip in group):
        return len(group) - 2
    first = len(group) - 1
    while first and sides[first - 1] == [0] and all(types[block] == "heading" for block in group[first - 1]):
        first -= 1
    if first == len(group) - 1 or len(columns) < 2:
        return None
    above = [column.intersection(block for strip in group[:first] for block in strip) for column in columns]
    below = [column.intersection(group[-1]) for column in columns]
    ends = [max(boxes[block][3] for block in blocks) for blocks in above if blocks]
    tops = [min(boxes[block][1] for block in blocks) for blocks in below if blocks]
    even = len(tops) > 1 and max(tops) - min(tops) <= EVEN
    return first if even and max(ends, default=0.0) - min(ends, default=0.0) <= EVEN else None


def _fills(strip: list[int], columns: list[set[int]], boxes: Sequence[Box], types: Sequence[str]) -> bool:
    """Whether a strip has text as wide as its column, one that is wide enough to be of running text."""
    around = _width([block for column in columns for block in column], boxes)
    for column in columns:
        if _width(column, boxes) < LEAST * around:
            continue
        blocks = [block for block in strip if block in column]
        if any(types[each] in FLOWING and _width([each], boxes) >= 0.8 * _width(column, boxes) for each in blocks):
            return True
    return False


def _rows(blocks: list[int], boxes: Sequence[Box]) -> list[int]:
    """From top to bottom, in a row from left to right."""
    return [each for strip in _strips(blocks, boxes) for each in sorted(strip, key=lambda block: boxes[block][0])]


def _shrunk(box: Box, axis: int) -> tuple[float, float]:
    """Where a block begins and ends, less what it may reach into its neighbour."""
    slack = min(SLACK * (box[axis + 2] - box[axis]), MOST) / 2
    return box[axis] + slack, box[axis + 2] - slack


def _beside(a: Box, b: Box, axis: int) -> float:
    """Points along the axis that two boxes share."""
    return min(a[axis + 2], b[axis + 2]) - max(a[axis], b[axis])


def _middle(box: Box) -> float:
    return (box[1] + box[3]) / 2


def _width(blocks, boxes: Sequence[Box]) -> float:
    return max(boxes[each][2] for each in blocks) - min(boxes[each][0] for each in blocks)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
