"""Tables of contents, lists of figures and indices: the entries of a page.

Beside lines in which dots lead to the number of a page (`columns`) others are entries too, that end with a number at
the same edge and between those of their neighbours. An entry can have several lines: the number is on the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from densessl.documents.parsing.layout.columns import (
    DOTTED,
    EVEN,
    Band,
    Column,
    bands_of,
    columns_of,
    is_mark,
    named,
    within,
)
from densessl.documents.parsing.layout.leaders import at_the_edge, rows_of
from densessl.documents.parsing.layout.lines import boxed, em, union
from densessl.documents.parsing.layout.paragraphs import LEADING, SIZES
from densessl.documents.parsing.layout.text import joined
from densessl.documents.parsing.model import Box, Line

LED = " … "  # what stands for the leaders, or the blank, in an entry's text
NEAR = 3.5  # ems between the outermost entry with dots, and one without
LONGEST = 4  # lines of an entry
WRAPPED = 0.6  # of the width up to the numbers, that a line has at least whose title goes on for want of room


@dataclass
class Entry:
    """lines: all that stands there. title: of them its words without leaders and number. pages: the numbers."""

    lines: list[Line]
    title: list[Line]
    pages: str

    @property
    def bbox(self) -> Box:
        return boxed(self.lines)

    def text(self, known: set[str]) -> str:
        """known: words of the page, as `text.vocabulary` has them."""
        return f"{joined(self.title, known)}{LED}{self.pages}"


class Levels:
    """Tells of one entry after another its level by its indentation, from 1."""

    def __init__(self) -> None:
        self._open: list[float] = []  # where entries begin, by level
        self._before: Box | None = None
        self._page = 0

    def of(self, bbox: Box, size: float, page: int) -> int:
        """bbox: of the entry. size: of its letters, in points. page: its number."""
        before = self._before
        if before is not None and (page != self._page or bbox[1] < before[1]):
            # Another column, or page, which may have its margins elsewhere, but has its numbers at the right one.
            self._open = [left + bbox[2] - before[2] for left in self._open]
        while self._open and bbox[0] < self._open[-1] + EVEN * size:
            self._open.pop()
        self._open.append(bbox[0])
        self._before, self._page = bbox, page
        return len(self._open)

    def end(self) -> None:
        """What follows is another list."""
        self._open, self._before = [], None


def entries(lines: Sequence[Line], running: Callable[[Line], bool] = lambda line: False) -> list[Entry]:
    """The entries of a page, column by column.

    lines: of the page, as `lines_of` has them. running: whether a line is known to be a header or footer.
    """
    columns = columns_of(lines, running)
    found: list[Entry] = []
    for before, column, behind in zip([None, *columns], columns, [*columns[1:], None], strict=False):
        own = within(column, lines, before, behind)
        column.bands = [_read(band, column) for band in bands_of(own)]
        _admit(column, running)
        found += _whole(column)
    _with_marks(found, lines)
    return found


def _read(band: Band, column: Column) -> Band:
    """The band, with its row."""
    rows = rows_of(band.words, band.size)
    row = rows[0] if len(rows) == 1 and rows[0].dots > 1 else at_the_edge(band.words, column.edge, band.size)
    band.row = row if row is not None and row.words else None
    return band


def _admit(column: Column, running: Callable[[Line], bool]) -> None:
    """Leave out rows that end with a number, but do not go with the entries that are sure."""
    bands = column.bands
    told = [each for each in enumerate(bands) if each[1].row and column.top <= each[1].box[1] <= column.bottom]
    sure = [place for place, band in told if band.row.dots >= DOTTED] or [place for place, _ in told]
    if not sure:
        return
    kept = set(sure)
    for way in (range(sure[0] + 1, len(bands)), range(sure[0] - 1, -1, -1)):
        last = sure[0]
        for place in way:
            band = bands[place]
            far = max(bands[last].box[1] - band.box[3], band.box[1] - bands[last].box[3]) > NEAR * band.size
            if place in kept:
                last = place
            elif band.row and not (far and not sure[0] < place < sure[-1]) and _fits(place, kept, column, running):
                kept.add(place)
                last = place
    for place, band in enumerate(bands):
        band.row = band.row if place in kept else None


def _fits(place: int, kept: set[int], column: Column, running: Callable[[Line], bool]) -> bool:
    """Whether a row without sure dots goes with those beside it: its number is between theirs."""
    band = column.bands[place]
    if not any(map(str.isalnum, band.title.text)):
        return False
    if not column.rising:
        return band.row.dots > 1
    value = band.row.value
    before = max((each for each in kept if each < place), default=None)
    behind = min((each for each in kept if each > place), default=None)
    low, high = (column.bands[each].row.value if each is not None else None for each in (before, behind))
    if low is None and any(map(running, band.lines)):  # the number of this page is less than those that it has
        return False
    alike = any(other is not None and other[0] == value[0] for other in (low, high))
    return alike and (low is None or low <= value) and (high is None or value <= high)


def _whole(column: Column) -> list[Entry]:
    """Each row with the lines before it that its title begins with."""
    found = []
    limit = max((band.title.bbox[2] for band in column.bands if band.row), default=0.0)
    limit = max(limit, column.left + WRAPPED * (column.edge - column.left))
    for place, band in enumerate(column.bands):
        if band.row is None:
            continue
        first = place
        following = column.bands[place + 1] if place + 1 < len(column.bands) else None
        while first and place - first < LONGEST - 1 and _goes_on(column.bands[first - 1 : first + 1], following, limit):
            first -= 1
        own = column.bands[first : place + 1]
        lines = [Line(each.words, each.box) for each in own]
        found.append(Entry(lines, [each.title for each in own], band.row.said))
    return found


def _goes_on(pair: Sequence[Band], following: Band | None, limit: float) -> bool:
    """Whether a title goes on from one band to the next: it is indented there, or had no room. following: what
    stands below, which is not to be a sibling that is indented as well. limit: x that no title reaches over."""
    above, below = pair
    if (
        above.row is not None
        or below.numbered
        or named(above.lines)
        or below.box[1] - above.box[3] > LEADING * below.size
    ):
        return False
    if max(above.size, below.size) > SIZES * min(above.size, below.size) or _bold(above) != _bold(below):
        return False
    left, size = below.box[0], below.size
    if above.box[0] > left + EVEN * size or not any(map(str.isalpha, above.title.text)):
        return False
    first = below.title.words[0].bbox
    if above.box[2] + first[2] - first[0] >= limit:
        return True
    sibling = following is not None and not following.numbered and abs(following.box[0] - left) <= EVEN * size
    return above.box[0] < left - EVEN * size / 2 and not sibling


def _bold(band: Band) -> bool:
    words = band.title.words
    return 2 * sum(len(word.text) for word in words if word.bold) > sum(len(word.text) for word in words)


def _with_marks(found: Sequence[Entry], lines: Sequence[Line]) -> None:
    """Accents that are drawn by themselves stand in the entry whose line they are over."""
    for mark in filter(is_mark, lines) if found else ():
        x, y = (mark.bbox[0] + mark.bbox[2]) / 2, (mark.bbox[1] + mark.bbox[3]) / 2
        for entry in found:
            left, top, right, bottom = entry.bbox
            reach = 0.4 * em(entry.lines[0])
            if not (left <= x <= right and top - reach <= y <= bottom):
                continue
            nearest = min(range(len(entry.lines)), key=lambda each: abs(entry.lines[each].bbox[3] - reach - y))
            for kept in (entry.lines, entry.title):
                words = sorted([*kept[nearest].words, *mark.words], key=lambda word: word.bbox[0])
                kept[nearest] = Line(words, union(word.bbox for word in words))
            break
