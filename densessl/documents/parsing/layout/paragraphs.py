"""Which lines make up a paragraph or an item of a list."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from densessl.documents.parsing.layout.lines import LEADERS, em
from densessl.documents.parsing.layout.text import HYPHENS, counted, marker_of
from densessl.documents.parsing.model import Line

LEADING = 0.9  # ems of space between two lines of a paragraph, at most
PITCH = 1.6  # times as far from one line to the next as usual: a new paragraph
SIZES = 1.15  # the sizes of a paragraph's lines differ by this factor at most
INDENT = (0.7, 5.0)  # ems by which a paragraph's first line may be indented
SHORT = 2.0  # ems that a line lacks which is the last of a paragraph
HEADING, RUNNING = 4, 12  # letters that a heading and a line of text have at least: pieces of formulas have less
ALIGNED = 0.7  # ems by which the markers of a list may differ in place
ENDS = '.!?:;…。！？"”»)'


def grouped(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines from anywhere on a page as paragraphs: each line goes on with the one right above it that is as large, as
    bold and as closely above as lines of a paragraph are. From top to bottom."""
    groups: list[list[Line]] = []
    open_: list[list[Line]] = []  # those that are near enough still
    reach = LEADING * max(map(em, lines), default=0.0)
    for line in sorted(lines, key=lambda each: (each.bbox[1], each.bbox[0])):
        open_ = [group for group in open_ if line.bbox[1] - group[-1].bbox[3] <= reach]
        fitting = [group for group in open_ if _goes_on(group[-1], line)]
        if fitting:
            max(fitting, key=lambda group: group[-1].bbox[3]).append(line)
        else:
            groups.append([line])
            open_.append(groups[-1])
    return [part for group in groups for part in paragraphs(group)]


def paragraphs(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines of one column, from top to bottom, parted where more space than usual lies between them, where an indented
    line follows one that ends a sentence, before and behind bold or larger lines of their own, and behind each line of
    a table of contents."""
    if len(lines) < 2:
        return [list(lines)]
    pitches = [below.bbox[3] - above.bbox[3] for above, below in zip(lines, lines[1:], strict=False)]
    usual = median(pitches)
    size = median(em(line) for line in lines)
    left = median(line.bbox[0] for line in lines)
    right = max(line.bbox[2] for line in lines)
    flush = sum(abs(line.bbox[0] - left) <= 0.3 * size for line in lines) >= 0.5 * len(lines)
    parts = [[lines[0]]]
    for above, line, pitch in zip(lines, lines[1:], pitches, strict=False):
        indent = line.bbox[0] - left
        ended = above.text.rstrip().endswith(tuple(ENDS)) and (
            above.bbox[2] < right - SHORT * size or above.bbox[0] - left <= 0.3 * size
        )
        indented = flush and ended and INDENT[0] * size <= indent <= INDENT[1] * size
        far = len(lines) > 2 and pitch > PITCH * max(usual, size) and pitch > 0
        headed = _stands_alone(above, line, ended, right - SHORT * size)
        if indented or far or headed or _is_of_contents(above):
            parts.append([])
        parts[-1].append(line)
    return parts


def _stands_alone(above: Line, line: Line, ended: bool, right: float) -> bool:
    """Whether a heading is one of two lines. It is larger than the other; or it is all bold, the other is not, and a
    paragraph ends between them: the bold one is short when it is the upper one, and when it is the lower one, the text
    above has ended too."""
    smaller, larger = sorted((above, line), key=em)
    if em(larger) > SIZES * em(smaller) and letters(larger) >= HEADING and letters(smaller) >= RUNNING:
        return True
    if is_bold(above) == is_bold(line):
        return False
    return above.bbox[2] < right if is_bold(above) else ended and line.bbox[2] < right


def letters(line: Line) -> int:
    return sum(letter.isalpha() for word in line.words for letter in word.text)


def is_bold(line: Line) -> bool:
    """Whether all of its words are."""
    return all(word.bold for word in line.words)


def _is_of_contents(line: Line) -> bool:
    """Whether dots lead to the number that the line ends with."""
    *_, dots, number = ["", "", *(word.text for word in line.words)]
    return number.isalnum() and counted(number) is not None and bool(dots) and not dots.strip(LEADERS)


def items(lines: Sequence[Line], listed: bool) -> list[tuple[str | None, list[Line]]]:
    """Lines parted before each marker that counts on, or is a bullet, with the markers.

    listed: the lines are known to be of a list, so that one marker is enough; in a text it takes two of one kind, or a
    round bullet, since a line of text can begin with what looks like one.
    """
    found = [marker_of(line.text) for line in lines]
    starts = _starts(found, lines, listed) if any(found) else []
    kinds = Counter(_kind(found[place]) for place in starts)
    if not listed:
        starts = [each for each in starts if kinds[_kind(found[each])] > 1 or is_bullet(found[each])]
    if not starts:
        return [(None, list(lines))]
    ends = [*starts[1:], len(lines)]
    parts = [(found[start], list(lines[start:end])) for start, end in zip(starts, ends, strict=True)]
    return ([(None, list(lines[: starts[0]]))] if starts[0] else []) + parts


def _goes_on(above: Line, line: Line) -> bool:
    size, before = em(line), em(above)
    if max(size, before) > SIZES * min(size, before) or _mostly_bold(above) != _mostly_bold(line):
        return False
    gap = line.bbox[1] - above.bbox[3]
    if gap > LEADING * size or line.bbox[3] <= above.bbox[3] + 0.3 * size:
        return False
    shared = min(line.bbox[2], above.bbox[2]) - max(line.bbox[0], above.bbox[0])
    return shared > 0.5 * min(line.bbox[2] - line.bbox[0], above.bbox[2] - above.bbox[0])


def _mostly_bold(line: Line) -> bool:
    letters = sum(len(word.text) for word in line.words)
    return 2 * sum(len(word.text) for word in line.words if word.bold) > letters


def _starts(found: Sequence[str | None], lines: Sequence[Line], listed: bool) -> list[int]:
    """The lines, of which `found` has the markers, whose marker an item begins with."""
    marked = [place for place, marker in enumerate(found) if marker]
    places: dict[tuple[str, int | None], list[float]] = defaultdict(list)  # the left edges of each kind and value
    for place in marked:
        for value in _values(found[place]) or [None]:
            places[_kind(found[place]), value].append(lines[place].bbox[0])
    for edges in places.values():
        edges.sort()
    leftmost = min(line.bbox[0] for line in lines)
    return [place for place in marked if _begins(place, found[place], lines, listed, places, leftmost)]


def _begins(
    place: int,
    marker: str,
    lines: Sequence[Line],
    listed: bool,
    places: Mapping[tuple[str, int | None], list[float]],
    leftmost: float,
) -> bool:
    """Whether an item begins with this marker of a line. places: the left edges of all markers, sorted, by what they
    are and count. leftmost: the left edge of all lines."""
    if place == 0 and listed or is_bullet(marker):
        return True
    reach, left, kind, values = ALIGNED * em(lines[place]), lines[place].bbox[0], _kind(marker), _values(marker)
    if not values:  # a dash, which a line of text may begin with
        own = places[kind, None]
        at = bisect_left(own, left)
        alike = any(abs(edge - left) <= reach for edge in [*own[max(0, at - 1) : at], *own[at + 1 : at + 2]])
        return alike and (listed or left <= leftmost + reach)
    if place > 0 and lines[place - 1].text.rstrip().endswith(tuple(HYPHENS)):  # it is the rest of a word
        return False
    for value in values:
        for edges in (places.get((kind, value - 1), []), places.get((kind, value + 1), [])):
            at = bisect_left(edges, left)
            if any(abs(edge - left) <= reach for edge in edges[max(0, at - 1) : at + 1]):
                return True
    return False


def _kind(marker: str) -> str:
    """What the markers of one list have in common: "(1)" of "(7)", the bullet itself."""
    if not _values(marker):
        return marker
    inner = marker.strip("()[].")
    of = "1" if inner.isdigit() else "a" if inner.islower() else "A"
    return marker.replace(inner, of)


def _values(marker: str) -> set[int]:
    """What a marker counts, two numbers of a letter that is a Roman one too; nothing of a bullet."""
    inner = marker.strip("()[].")
    values = {counted(inner), ord(inner.lower()) - 96 if len(inner) == 1 and inner.isalpha() else None}
    return {value for value in values if value is not None}


def is_bullet(marker: str) -> bool:
    """Whether a marker is a round or a square one, say, and nothing that text could begin with."""
    return not any(letter.isalnum() for letter in marker) and marker not in "*·–—-"
