"""Where the header of a table ends, told before its rows are known.

Three things tell it: the first line or edge of a background that runs over the width, where not every row has one;
words above numbers, as a column of numbers has no number above its first but years; and what is near: a line that
stands alone is a heading of the rows below unless it goes on with what is above it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from densessl.documents.parsing.layout.text import counted
from densessl.documents.parsing.tables.textrows import Placed

MOST = 12  # lines of words in a header
NUMBERS = 0.6  # of what stands in a column of numbers are numbers
RULED = 0.4  # of all lines of words have a border below: then no border tells where the header ends
NONE = ("n/a", "n.a.", "na", "nil")  # in the place of a number
YEAR = re.compile(r"[(\[]?((19|20)\d\d)(\s*[-–/]\s*\d{2,4})?[)\]]?\**$")


def header_end(placed: Sequence[Placed], borders: Sequence[float], fills: Sequence[float]) -> float | None:
    """y where the header ends: 0 above all words where there is none, None where nothing tells.

    borders: y of the lines and edges of backgrounds that run over most of the width. fills: of the latter.
    """
    lines = _lines(placed)
    if len(lines) < 2:
        return None
    first = _first_of_body(lines)
    if first == 0:
        return _top(lines[0]) - 1.0
    if first == 1 and len(lines[0]) == 1 and (lines[0][0].first == 0 or not _beside(lines[0][0], lines[1:2])):
        return None  # the name of a column, or the first line of the first row's label
    middles = [_middle(line) for line in lines]
    below = [y for y in borders if middles[0] < y < middles[-1]]
    many = len(below) > RULED * sum(len(line) > 1 for line in lines)
    if first is None:
        told = min((y for y in fills if y > middles[0]) if many else below, default=None) or _bold_end(lines)
    elif many:
        told = _row_of(lines, first, below)
    else:
        told = min([*below, _between(lines, _without_headings(lines, first))])
    count = sum(middle < told for middle in middles) if told is not None else 0
    return told if 0 < count <= min(MOST, max(2, 0.7 * len(lines))) else None


def _bold_end(lines: Sequence[Sequence[Placed]]) -> float | None:
    """y below the first lines where these alone are all bold; a text alone at the left is a heading of what follows."""
    bold = [all(each.phrase.bold for each in line) for line in lines]
    count = next((number for number, each in enumerate(bold) if not each), 0)
    if any(bold[count:]):
        return None
    while count and len(lines[count - 1]) == 1 and lines[count - 1][0].first == 0:
        count -= 1
    return _between(lines, count) if count else None


def _lines(placed: Sequence[Placed]) -> list[list[Placed]]:
    found: dict[int, list[Placed]] = {}
    for each in placed:
        found.setdefault(each.phrase.line, []).append(each)
    return [found[number] for number in sorted(found)]


def _top(line: Sequence[Placed]) -> float:
    return min(each.phrase.bbox[1] for each in line)


def _bottom(line: Sequence[Placed]) -> float:
    return max(each.phrase.bbox[3] for each in line)


def _middle(line: Sequence[Placed]) -> float:
    return sum(each.phrase.middle for each in line) / len(line)


def _first_of_body(lines: Sequence[Sequence[Placed]]) -> int | None:
    """The first line that has numbers where columns of numbers are; None where there is no such column."""
    own: dict[int, list[str]] = {}
    for line in lines[max(1, int(0.4 * len(lines))) :]:
        for each in line:
            if each.first == each.last and each.first > 0:
                own.setdefault(each.first, []).append(each.phrase.text if _number(each) else "")
    columns = {at for at, texts in own.items() if len(texts) > 1 and sum(map(bool, texts)) >= NUMBERS * len(texts)}
    years = {at for at in columns if sum(bool(YEAR.match(text)) for text in own[at]) >= NUMBERS * len(own[at])}
    for number, line in enumerate(lines):
        there = [each for each in line if each.first == each.last and each.first in columns]
        numbers = [each for each in there if _number(each)]
        plain = [each.phrase.text for each in numbers if each.first not in years]
        if numbers and 2 * len(numbers) >= len(there) and not (plain and _names(plain)):
            return number
    return None


def _number(each: Placed) -> bool:
    return each.phrase.number or each.phrase.text.casefold() in NONE


def _names(numbers: Sequence[str]) -> bool:
    """Whether numbers name columns: years, or 1, 2, 3."""
    if any(YEAR.match(text) for text in numbers):
        return all(YEAR.match(text) for text in numbers)
    plain = [text.strip("()[]. ") for text in numbers]
    values = [counted(text) for text in plain if text.isdecimal()]
    return len(values) > 2 and values[0] in (0, 1, 2) and values == list(range(values[0], values[0] + len(plain)))


def _without_headings(lines: Sequence[Sequence[Placed]], first: int) -> int:
    """The first line that is of no header any more, before `first`: lines of the row below, which may begin above its
    numbers, and headings over it are nearer to what is below than to what is above."""
    while first > 1 and _of_below(lines, first - 1):
        first -= 1
    return first


def _of_below(lines: Sequence[Sequence[Placed]], number: int) -> bool:
    own, told = lines[number], False
    left, right = min(each.phrase.bbox[0] for each in own), max(each.phrase.bbox[2] for each in own)
    over = [other for line in lines[:number] for other in line if left < _centre(other) < right]  # two columns, maybe
    for each in own:
        near = [*_beside(each, lines[:number]), *(over if len(own) > 1 else ())]
        above = [each.phrase.middle - other.phrase.middle for other in near]
        below = [other.phrase.middle - each.phrase.middle for other in _beside(each, lines[number + 1 :])]
        if len(own) == 1:  # a heading stands as far from both
            below.append(_middle(lines[number + 1]) - each.phrase.middle)
            return not above or min(above) >= 0.9 * min(below)
        if not below or (above and min(above) < 1.1 * min(below)):
            return False
        told = told or bool(above)
    return told


def _centre(each: Placed) -> float:
    return (each.phrase.bbox[0] + each.phrase.bbox[2]) / 2


def _beside(each: Placed, lines: Sequence[Sequence[Placed]]) -> list[Placed]:
    """What is above or below."""
    left, _, right, _ = each.phrase.bbox
    return [other for line in lines for other in line if other.phrase.bbox[0] < right and other.phrase.bbox[2] > left]


def _between(lines: Sequence[Sequence[Placed]], first: int) -> float:
    """y between a line and the one before."""
    return (_bottom(lines[first - 1]) + _top(lines[first])) / 2


def _row_of(lines: Sequence[Sequence[Placed]], first: int, borders: Sequence[float]) -> float | None:
    """The border above the row that a line is in, or above the headings over it."""
    above = [y for y in borders if y < _middle(lines[first])]
    while len(above) > 1 and all(len(line) == 1 for line in lines if above[-2] < _middle(line) < above[-1]):
        above.pop()
    return above[-1] if above else None
