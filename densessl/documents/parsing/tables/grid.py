"""The grid of a table: its columns and rows, and what stands where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from densessl.documents.parsing.model import Box, Word
from densessl.documents.parsing.tables.gaps import columns_of
from densessl.documents.parsing.tables.phrases import Phrase, phrases_of, usual_height
from densessl.documents.parsing.tables.rules import Rule, Rules
from densessl.documents.parsing.tables.spans import FIT, drawn_over, extents_of, place, span_headers
from densessl.documents.parsing.tables.textrows import (
    Block,
    Placed,
    Rows,
    as_one_row,
    doubtful,
    facts_of,
    rows_of,
    several,
)
from densessl.documents.parsing.tables.tiers import columns_below, tiers, trim
from densessl.documents.parsing.tables.zone import header_end

EACH = 0.55  # of the rows that the words make up have a line below: then lines alone tell rows
NAMES = 6  # lines at the top may have the names of columns
OFF = 0.3  # of a line's height: how far a name may be from where its column's other texts are
MIXED = 0.15  # of the bands between lines may hold several rows beyond doubt


@dataclass
class Grid:
    """sides: x of the columns' borders, edges: y of the rows', both with the outer ones. blocks: what stands where.

    upright: whether lines tell the columns. each: whether lines tell the rows. head: rows of the header, or those above
    the first line. sure: whether it is known where the header ends.
    """

    sides: list[float]
    edges: list[float]
    blocks: list[Block]
    rules: Rules
    upright: bool
    each: bool
    head: int
    sure: bool = False

    @classmethod
    def of(cls, words: Sequence[Word], boxes: np.ndarray, bbox: Box, rules: Rules) -> Grid:
        """words, with their boxes (n, 4), and rules: of the table, level."""
        high = usual_height(boxes)
        uprights = [rule for rule in rules.upright if rule.length >= max(1.3 * high, 0.1 * (bbox[3] - bbox[1]))]
        phrases = phrases_of(words, boxes, uprights)
        left, right, inner = _outer([rule.at for rule in uprights], phrases, (0, 2), bbox)
        cuts, upright = _cuts(phrases, left, right, inner)
        extents = extents_of(place(phrases, cuts, high), len(cuts) + 1)
        phrases = [part for phrase in phrases for part in _split(phrase, phrases, cuts, extents, words, boxes, high)]
        placed = place(phrases, cuts, high)
        across = [rule for rule in rules.across if _plausible(rule, rules.fills, right - left, high)]
        across = [rule for rule in across if not _struck(rule, phrases)]
        lines = _borders(across, rules.fills, phrases, right - left)
        sides, rules = [left, *cuts, right], Rules(across, uprights, rules.fills)
        end, header, rest = _header_of(placed, sides, rules, lines, upright, high)
        if end is not None and not upright and any(each.phrase.middle < end for each in placed):
            lines = _ended(lines, end, high, header)
        top, bottom, between = _outer(lines, phrases, (1, 3), bbox)
        bands = _bands(rest, [top, *between, bottom], uprights, high)
        made, each = _rows(bands, len(cuts) + 1, high, bool(uprights), header is not None)
        if header is not None:
            bands, made = _with_header(bands, made, header, top, end)
        edges, blocks = _stacked(bands, made, top)
        head = _above(edges, end) if end is not None else _head(bands, made, rules, left, right)
        return cls(sides, edges, blocks, rules, upright, each, head, end is not None)


def _outer(
    places: Sequence[float], phrases: Sequence[Phrase], sides: tuple[int, int], bbox: Box
) -> tuple[float, float, list[float]]:
    """The outer borders along an axis, and what lies between them."""
    low, high = bbox[sides[0]], bbox[sides[1]]
    # Words may reach over a border a little.
    first = min((each.bbox[sides[0]] for each in phrases), default=low + 4) + 2
    last = max((each.bbox[sides[1]] for each in phrases), default=high - 4) - 2
    before = [each for each in places if each <= first]
    after = [each for each in places if each >= last]
    inner = [each for each in places if first < each < last]
    if sides == (1, 3):  # a grid may have rows without words, which `_bands` looks at
        inner = [*before[1:], *inner, *after[:-1]]
        return min([low, *before]), max([high, *after]), sorted(inner) if not before else sorted({*inner, before[0]})
    return (before[-1] if before else low), (after[0] if after else high), inner


def _cuts(phrases: Sequence[Phrase], left: float, right: float, inner: Sequence[float]) -> tuple[list[float], bool]:
    """Where columns part, and whether lines tell it."""
    if not inner:
        return columns_of(phrases, left, right), False
    ends = [left, *inner, right]
    found, count = [], 0
    for low, high in pairwise(ends):
        own = [each for each in phrases if low <= (each.bbox[0] + each.bbox[2]) / 2 < high]
        cuts = columns_of(own, low, high)
        count += len(cuts) + 1
        found += cuts
    if count >= 2 * (len(ends) - 1):
        return sorted([*found, *inner]), False
    return list(inner), True


def _split(
    phrase: Phrase,
    phrases: Sequence[Phrase],
    cuts: Sequence[float],
    extents: Sequence[tuple[float, float]],
    words: Sequence[Word],
    boxes: np.ndarray,
    high: float,
) -> list[Phrase]:
    """Parts of a phrase that runs over a border between columns at a blank, if others stand on its line.

    extents: (left, right) of what stands in each column alone.
    """
    own = boxes[phrase.words]
    if not any(phrase.bbox[0] < cut < phrase.bbox[2] for cut in cuts):
        return [phrase]
    beside = [each for each in phrases if each.line == phrase.line and each is not phrase] if len(own) > 1 else []
    if not beside:
        return [phrase]
    named = phrase.line < NAMES and _full([each.bbox for each in (*beside, phrase)], cuts)
    groups: list[list[int]] = [[phrase.words[0]]]
    for number in range(1, len(own)):
        before, after = own[number - 1, 2], own[number, 0]
        crossing = [cut for cut in cuts if before - 0.2 * high <= cut <= after + 0.2 * high]
        if crossing and (named or _aligned(own[number], phrases, phrase, high)):
            groups.append([])
        groups[-1].append(phrase.words[number])
    if len(groups) == 1 or phrase.line < NAMES and _centred(phrase, [boxes[each] for each in groups], extents, cuts):
        return [phrase]
    parts = []
    for group in groups:
        part = boxes[group]
        bbox = (*part[:, :2].min(axis=0).tolist(), *part[:, 2:].max(axis=0).tolist())
        text = " ".join(words[each].text for each in group)
        bold = all(words[each].bold for each in group)
        parts.append(Phrase(group, bbox, phrase.line, text, float(part[0, 2] - part[0, 0]), bold))
    return parts


def _centred(
    phrase: Phrase, parts: Sequence[np.ndarray], extents: Sequence[tuple[float, float]], cuts: Sequence[float]
) -> bool:
    """Whether a phrase stands over the middle of several columns as the name of their group does, and its parts do not
    stand over what these have: neither their left ends, nor their right ones, nor their middles."""
    own = [int(np.searchsorted(cuts, (part[0, 0] + part[-1, 2]) / 2)) for part in parts]
    low, high = extents[own[0]][0], extents[own[-1]][1]
    left, _, right, _ = phrase.bbox
    if not low < high or abs((low + high) - (left + right)) / 2 > FIT * (high - low) / 2:
        return False

    def off(part: np.ndarray, column: int) -> float:
        x0, x1 = extents[column]
        apart = part[0, 0] - x0, part[-1, 2] - x1, (part[0, 0] + part[-1, 2] - x0 - x1) / 2
        return min(map(abs, apart))

    return max(off(part, column) for part, column in zip(parts, own, strict=True)) > OFF * phrase.height


def _full(boxes: Sequence[Box], cuts: Sequence[float]) -> bool:
    """Whether a line has something in nearly all columns, as that of their names has."""
    sides = [-np.inf, *cuts, np.inf]
    filled = sum(any(min(box[2], high) - max(box[0], low) > 3 for box in boxes) for low, high in pairwise(sides))
    return len(cuts) > 1 and filled >= len(cuts) and len(boxes) >= len(cuts) / 2


def _aligned(word: np.ndarray, phrases: Sequence[Phrase], phrase: Phrase, high: float) -> bool:
    """Whether phrases of other lines begin where this word does, or end where it does."""
    others = [each.bbox for each in phrases if each.line != phrase.line]
    starts = sum(abs(box[0] - word[0]) < 0.12 * high for box in others)
    ends = sum(abs(box[2] - phrase.bbox[2]) < 0.12 * high and box[0] >= word[0] - high for box in others)
    return max(starts, ends) >= 2


def _plausible(rule: Rule, fills: Sequence[float], width: float, high: float) -> bool:
    """Whether a line is long enough; bits of one at the edge of a background are what letters and the edge make up."""
    if rule.length < 0.6 * width and any(abs(rule.at - y) < 2.8 for y in fills):
        return False
    return max(end - start for start, end in rule.parts) >= 2 * high


def _struck(rule: Rule, phrases: Sequence[Phrase]) -> bool:
    """Whether a line runs through words, or under one phrase alone: a stroke of letters, or an underlining."""
    through = 0.0
    for phrase in phrases:
        x0, y0, x1, y1 = phrase.bbox
        third = 0.25 * (y1 - y0)
        if y0 + third < rule.at < y1 - third:
            through += rule.covers(x0, x1) * (x1 - x0)
        elif y1 - third <= rule.at <= y1 + third and x0 - 2 <= rule.low and rule.high <= x1 + 2:
            return True
    return through > 0.3 * rule.length


def _borders(across: Sequence[Rule], fills: Sequence[float], phrases: Sequence[Phrase], width: float) -> list[float]:
    """y of all lines and edges of backgrounds."""
    found = [rule.at for rule in across]
    for y in fills:
        crossed = sum(
            each.width for each in phrases if each.bbox[1] + 0.3 * each.height < y < each.bbox[3] - 0.3 * each.height
        )
        if crossed <= 0.3 * width and all(abs(y - other) > 3.5 for other in found):
            found.append(y)
    return sorted(found)


@dataclass
class _Band:
    """What stands between two lines. over: what begins here and reaches into the next one."""

    top: float
    bottom: float
    placed: list[Placed]
    over: list[Placed]


def _bands(placed: Sequence[Placed], edges: Sequence[float], uprights: Sequence[Rule], high: float) -> list[_Band]:
    """Of those without words, only such that are drawn as rows of a grid are kept; the others go to the next."""
    tops = list(edges[:-1])
    inside: list[list[Placed]] = [[] for _ in tops]
    over: list[list[Placed]] = [[] for _ in tops]
    for each in placed:
        _, y0, _, y1 = each.phrase.bbox
        band = min(max(int(np.searchsorted(edges, each.phrase.middle)) - 1, 0), len(tops) - 1)
        above = band > 0 and edges[band] - y0 > 0.3 * (y1 - y0)
        below = band + 1 < len(tops) and y1 - edges[band + 1] > 0.3 * (y1 - y0)
        if above or below:
            over[band - 1 if above else band].append(each)
        else:
            inside[band].append(each)
    bands: list[_Band] = []
    for number, (top, bottom) in enumerate(pairwise(edges)):
        drawn = sum(rule.covers(top, bottom) > 0.6 for rule in uprights) >= 2 and bottom - top > 0.6 * high
        if inside[number] or over[number] or drawn or (number and over[number - 1] and len(inside) > number + 1):
            bands.append(_Band(top, bottom, inside[number], over[number]))
        elif bands and number + 1 == len(tops):
            bands[-1].bottom = bands[-1].bottom if bottom - top > high else bottom
    return bands or [_Band(edges[0], edges[-1], list(placed), [])]


def _rows(bands: Sequence[_Band], columns: int, high: float, uprights: bool, headed: bool) -> tuple[list[Rows], bool]:
    """The rows in each band, and whether each band is one. headed: whether the header is in none of them."""
    whole = facts_of([[each for band in bands for each in band.placed]], columns, high)
    made = [rows_of(band.placed, whole) for band in bands]
    counted = [rows.count for rows in made if rows.count]
    least = 2 if uprights or headed else 3
    sure = sum(map(several, made)) <= MIXED * len(counted) and 2 * sum(map(doubtful, made)) <= len(counted)
    if sure and len(counted) >= least and len(counted) >= EACH * sum(counted):
        # Only upright lines, or a line below them, part the rows of a header; without, cells that span do.
        head = next(number for number, rows in enumerate(made) if rows.count)
        spanned = not uprights and not headed and any(each.first != each.last for each in bands[head].placed)
        ones = [as_one_row(band.placed) for band in bands]
        ones[head] = _header(bands[head].placed, made[head]) if spanned and made[head].count > 1 else ones[head]
        return ones, True
    facts = facts_of([band.placed for band in bands], columns, high)
    made = [rows_of(band.placed, facts) for band in bands]
    if not headed and len(bands) > 1 and bands[0].placed and 1 < made[0].count <= 4:
        made[0] = _header(bands[0].placed, made[0])
    return made, False


def _header_of(
    placed: Sequence[Placed], sides: Sequence[float], rules: Rules, lines: Sequence[float], upright: bool, high: float
) -> tuple[float | None, Rows | None, list[Placed]]:
    """Where the header ends, if that is known; its rows, if they are two; and what else the table has."""
    width, cuts = sides[-1] - sides[0], sides[1:-1]
    # Lines below names of groups do not lie over the first column.
    partial = {rule.at for rule in rules.across if min(rule.covers(*sides[:2]), rule.covers(sides[0], sides[-1])) < 0.6}
    fills = [y for y in rules.fills if any(abs(y - line) < 3.5 for line in lines)]
    borders = [y for y in lines if y not in partial or any(abs(y - fill) < 3.5 for fill in fills)]
    end = header_end(placed, borders, fills)
    if upright:
        return end, None, list(placed)
    braces = [rule for rule in rules.across if rule.at in partial]
    end = _below_braces(placed, sides, braces, borders) if end is None and len(sides) > 3 else end
    if end is not None:
        own = [each for each in placed if each.phrase.middle < end]
        rest = [each for each in placed if each.phrase.middle >= end]
        within = [y for y in borders if any(each.phrase.middle < y for each in own) and y < end - 0.5 * high]
        columns = columns_below(rest, sides, high)
        header = tiers(own, columns, braces, within) if own and rest else None
        if header is not None:
            return end, header, rest
        trim(own, columns)
    braces = [rule for rule in rules.across if rule.length < 0.9 * width]
    span_headers(placed, len(cuts) + 1, braces, cuts)
    return end, None, list(placed)


def _below_braces(
    placed: Sequence[Placed], sides: Sequence[float], braces: Sequence[Rule], borders: Sequence[float]
) -> float | None:
    """y of the first line over the width with words above, where lines below names of groups are between these."""
    middles = sorted(each.phrase.middle for each in placed)
    border = next((y for y in sorted(borders) if middles and y > middles[0]), None)
    if border is None or border > middles[-1]:
        return None
    low, high = middles[0], max(middle for middle in middles if middle < border)
    columns = list(pairwise(sides))
    over = (
        list(drawn_over(sum(part) / 2, rule, columns)) for rule in braces for part in rule.parts if low < rule.at < high
    )
    return border if any(over) else None


def _ended(lines: Sequence[float], end: float, high: float, header: Rows | None) -> list[float]:
    """The borders of rows, one where the header ends among them; what is drawn between its rows is none of the rest."""
    kept = [y for y in lines if header is None or y >= end - 0.5 * high or y <= header.tops[0] + 0.5 * high]
    return kept if any(abs(y - end) < 0.5 * high for y in kept) else sorted([*kept, end])


def _with_header(
    bands: Sequence[_Band], made: Sequence[Rows], header: Rows, top: float, end: float
) -> tuple[list[_Band], list[Rows]]:
    """The bands below the header, it above them."""
    low = next((number for number, band in enumerate(bands) if band.bottom > end + 1), len(bands))
    return [_Band(top, end, [], []), *bands[low:]], [header, *made[low:]]


def _above(edges: Sequence[float], end: float) -> int:
    """How many rows end above a height."""
    return sum(edge <= end + 2 for edge in edges[1:])


def _header(placed: Sequence[Placed], rows: Rows) -> Rows:
    """Rows of a header are one but for those that hold cells spanning columns: lines are broken at will there."""
    last = max(
        (block.high for block in rows.blocks if block.first != block.last and block.high < rows.count - 1), default=-1
    )
    if last < 0:
        return as_one_row(placed)
    keep = [block for block in rows.blocks if block.high <= last or block.low <= last]
    rest = as_one_row([part for block in rows.blocks if block.low > last for part in block.parts])
    for block in keep:
        block.high = min(block.high, last + 1)
    for block in rest.blocks:
        block.low = block.high = last + 1
    return Rows([*keep, *rest.blocks], [*rows.tops[: last + 1], *rest.tops], [*rows.bottoms[: last + 1], *rest.bottoms])


def _stacked(bands: Sequence[_Band], made: Sequence[Rows], top: float) -> tuple[list[float], list[Block]]:
    """Edges of all rows, and all blocks with their rows."""
    edges, blocks, start = [bands[0].top], [], 0
    starts = []
    for band, rows in zip(bands, made, strict=True):
        count = max(1, rows.count)
        starts.append(start)
        for block in rows.blocks:
            block.low, block.high = block.low + start, block.high + start
            blocks.append(block)
        for row in range(count - 1):
            edges.append((rows.bottoms[row] + rows.tops[row + 1]) / 2)
        edges.append(band.bottom)
        start += count
    for number, band in enumerate(bands):
        groups: dict[tuple[int, int], list[Placed]] = {}
        for each in band.over:
            groups.setdefault((each.first, each.last), []).append(each)
        for parts in groups.values():
            low = starts[number] + max(1, made[number].count) - 1
            blocks.append(Block(parts, low, min(low + 1, start - 1)))
    if edges[0] - top < 3:
        edges[0] = min(edges[0], top)
    return np.maximum.accumulate(edges).tolist(), blocks


def _head(bands: Sequence[_Band], made: Sequence[Rows], rules: Rules, left: float, right: float) -> int:
    """How many rows are above the first line that runs over most of the width; 0 where there is none."""
    count = 0
    for band, rows in zip(bands[:-1], made, strict=False):
        count += max(1, rows.count)
        lines = [rule for rule in rules.across if abs(rule.at - band.bottom) < 1e-6]
        if not lines or lines[0].covers(left, right) > 0.6:
            return count
    return 0
