"""Which lines make up a paragraph or an item of a list."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import median, median_low

from densessl.documents.parsing.layout.lines import LEADERS, em
from densessl.documents.parsing.layout.text import DASHLIKE, HYPHENS, counted, marker_of, number_of
from densessl.documents.parsing.model import Line

LEADING = 0.9  # ems of space between two lines of a paragraph, at most
PITCH, SPACED = 1.6, 1.25  # times as far from one line to the next as usual: a new paragraph; one where one has ended
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
    """Lines of one column, from top to bottom, parted where more space than usual lies between them, less where a short
    line ends a sentence, where an indented line follows one that ends a sentence, before and behind bold or larger
    lines of their own, and behind each line of a table of contents."""
    if len(lines) < 2:
        return [list(lines)]
    pitches = [below.bbox[3] - above.bbox[3] for above, below in zip(lines, lines[1:], strict=False)]
    usual = median_low(pitches)  # of two, the mean is neither
    size = median(em(line) for line in lines)
    right = max(line.bbox[2] for line in lines) - SHORT * size
    left = _flush(lines, size, right)
    parts = [[lines[0]]]
    for above, line, pitch in zip(lines, lines[1:], pitches, strict=False):
        indent = line.bbox[0] - left if left is not None else 0.0
        sentence = above.text.rstrip().endswith(tuple(ENDS))
        short = above.bbox[2] < right
        ended = sentence and (short or left is None or above.bbox[0] - left <= 0.3 * size)
        indented = ended and INDENT[0] * size <= indent <= INDENT[1] * size
        least = (SPACED if sentence and short and letters(line) >= HEADING else PITCH) * max(usual, size)
        far = len(lines) > 2 and pitch > least and (line.bbox[1] - above.bbox[1] > least or pitch > PITCH * usual)
        headed = _stands_alone(above, line, ended, right, pitch > SPACED * usual)
        if indented or far or headed or _is_of_contents(above):
            parts.append([])
        parts[-1].append(line)
    return parts


def _flush(lines: Sequence[Line], size: float, right: float) -> float | None:
    """The left edge of the lines that are not indented; None where it cannot be told. It is the leftmost, where each
    line that is not there may begin a paragraph, else the usual one. right: where a line ends that is not short."""
    edges = [line.bbox[0] for line in lines]
    left = min(edges)
    firsts = [place for place, edge in enumerate(edges) if edge - left > 0.3 * size]
    above = [lines[place - 1] for place in firsts if place]
    if all(line.text.rstrip().endswith(tuple(ENDS)) and (0 in firsts or line.bbox[2] < right) for line in above):
        return left
    usual = median(edges)
    return usual if sum(abs(edge - usual) <= 0.3 * size for edge in edges) >= 0.5 * len(lines) else None


def _stands_alone(above: Line, line: Line, ended: bool, right: float, spaced: bool) -> bool:
    """Whether a heading is one of two lines. It is larger than the other; or it is all bold, the other is not, and a
    paragraph ends between them: the bold one is short when it is the upper one, and when it is the lower one, the text
    above has ended too. Or it is the upper one, short, no sentence, and in italics or numbered as sections of sections
    are, with a line below that could have begun on it or is `spaced` from it. right: where a line ends that is not
    short."""
    smaller, larger = sorted((above, line), key=em)
    if em(larger) > SIZES * em(smaller) and letters(larger) >= HEADING and letters(smaller) >= RUNNING:
        return True
    if is_bold(above) == is_bold(line):
        first = line.words[0]
        room = spaced or right + SHORT * em(above) - above.bbox[2] > first.bbox[2] - first.bbox[0] + em(above) / 2
        told = is_numbered(above) and not _is_of_contents(line) or is_italic(above) and not is_italic(line)
        return told and room and above.text.rstrip()[-1:].isalnum() and not first.text[:1].islower()
    return above.bbox[2] < right if is_bold(above) else ended and line.bbox[2] < right


def letters(line: Line) -> int:
    return sum(letter.isalpha() for word in line.words for letter in word.text)


def is_bold(line: Line) -> bool:
    """Whether all of its words are."""
    return all(word.bold for word in line.words)


def is_italic(line: Line) -> bool:
    """Whether all of its words are, and it has some that say something."""
    return letters(line) >= HEADING and all(word.italic for word in line.words)


def is_numbered(line: Line) -> bool:
    """Whether a number of two parts or more begins it, a word with a capital follows, and it is not of contents."""
    number = number_of(line.text)
    if not number or "." not in number or len(line.words) < 2 or _is_of_contents(line):
        return False
    return letters(line) >= HEADING and line.words[1].text[:1].isupper()


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


def next_item(item: Line, line: Line) -> bool:
    """Whether a line below an item or a text begins an item: with a bullet, or with what the item is marked with."""
    marker, first = marker_of(line.text), marker_of(item.text)
    return bool(marker) and (is_bullet(marker) or bool(first) and _kind(first) == _kind(marker))


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
        ended = place == 0 or lines[place - 1].text.rstrip().endswith(tuple(ENDS))
        return alike and (listed or ended or left <= leftmost + reach)
    before = lines[place - 1].text.rstrip() if place else ""
    if before.endswith(tuple(HYPHENS)):  # it is the rest of a word
        return False
    if listed and before.endswith(tuple(ENDS)) and lines[place].text[len(marker) :].lstrip()[:1].isupper():
        return True
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
    return not any(letter.isalnum() for letter in marker) and marker not in DASHLIKE
