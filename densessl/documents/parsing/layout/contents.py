"""Tables of contents, lists of figures and indices: which lines of a page are their entries.

Lines in which dots lead to the number of a page tell where entries are, if their numbers rise from one to the next, or
their titles follow the alphabet. Beside them others are entries too that end with a number at the same edge. Where no
dots are at all, it takes the name of such a list above them, or sections that are numbered, that numbers at one edge
are those of pages. An entry can have several lines: the number is on the last one. Lists of prices, forms and
statements have such dots too; what they lead to does not rise, or is no number of a page (`leaders`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from densessl.documents.parsing.layout.leaders import DOTS, Row, are_pages, at_the_edge, rows_of
from densessl.documents.parsing.layout.lines import boxed, em, overlap, union
from densessl.documents.parsing.layout.paragraphs import LEADING, SIZES
from densessl.documents.parsing.layout.text import joined, number_of
from densessl.documents.parsing.model import Box, Line, Word

LED = " … "  # what stands for the leaders, or the blank, in an entry's text
FEWEST = 3  # entries of a page
MANY = 6  # of them that need neither numbers nor a name above them
DOTTED = 3  # dots that lead to a number for sure
RISING = 0.8  # of the steps from one entry to the next, that go up, or on in the alphabet
ALONE = 4  # entries without dots, at least
FILLED = 0.6  # of the lines between the first and the last of those, that they are
ASIDE = 0.3  # of them that may have more than a title before the number: others are rows of a table
CROWDED = 1_000_000  # pairs of numbers and lines of a page, above which nobody asks which are on one height
MARGIN = 4.0  # ems that entries may begin to the left of the others in their column
NEAR = 3.5  # ems between the outermost entry with dots, and one without
EVEN = 0.7  # ems by which edges may differ that are one
LONGEST = 4  # lines of an entry
WRAPPED = 0.6  # of the width up to the numbers, that a line has at least whose title goes on for want of room
NAMES = re.compile(
    r"(table\s+of\s+|short\s+|brief\s+)?contents|list\s+of\s+\w+|(\w+\s+){0,3}(index|indices|indexes)|inhalt(s\w*)?|\w*verzeichnis|"
    r"table\s+des\s+\w+|sommaire|sommario|sum[aá]rio|[ií]ndice(\s+\w+){0,3}|inhoud(sopgave)?|содержание|оглавление|"
    r"spis\s+\w+|obsah|tartalom\w*|innehåll\w*|indhold\w*|innhold\w*|sisällys\w*|目\s*[次录錄]|차례|목차",
    re.IGNORECASE,
)


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


@dataclass
class _Band:
    """What stands on one height in a column, from left to right. row: if it is an entry, or the last line of one."""

    lines: list[Line]
    row: Row | None = None

    def __post_init__(self) -> None:
        self.lines.sort(key=lambda line: line.bbox[0])
        self.box, self.size = boxed(self.lines), max(map(em, self.lines))
        self.words = [word for line in self.lines for word in line.words]

    @property
    def title(self) -> Line:
        words = self.row.words if self.row else self.words
        return Line(words, union(word.bbox for word in words))

    @property
    def numbered(self) -> bool:
        """Whether it begins with the number of a section."""
        return len(self.title.words) > 1 and number_of(self.title.text) is not None


@dataclass
class _Column:
    """left, right: of its entries. edge: where most numbers of pages end. top, bottom: between which entries are sure.
    rising: whether the numbers rise, rather than that the titles follow the alphabet."""

    left: float
    right: float
    edge: float = 0.0
    top: float = 0.0
    bottom: float = 0.0
    rising: bool = True
    bands: list[_Band] = field(default_factory=list)  # from top to bottom


# An entry of one line, the box around it, and the size of its letters.
_Found = tuple[Row, Box, float]


def entries(lines: Sequence[Line], running: Callable[[Line], bool] = lambda line: False) -> list[Entry]:
    """The entries of a page, column by column.

    lines: of the page, as `lines_of` has them. running: whether a line is known to be a header or footer.
    """
    columns = _dotted(lines) or _plain(lines, running)
    found: list[Entry] = []
    for number, column in enumerate(columns):
        own = _within(column, columns[number - 1] if number else None, lines)
        column.bands = [_read(band, column) for band in _bands(own)]
        _admit(column, running)
        found += _whole(column)
    _with_marks(found, lines)
    return found


def _dotted(lines: Sequence[Line]) -> list[_Column]:
    """The columns in which dots lead to numbers of pages, from left to right."""
    led = [line for line in lines if sum(letter in DOTS for word in line.words for letter in word.text) >= DOTTED]
    found: list[_Found] = []
    for line in led if len(led) >= FEWEST else []:
        size = em(line)
        rows = rows_of(line.words, size)
        if any(are_pages(row.words) for row in rows if not row.pages):
            continue  # of a table with several columns of numbers
        for row in rows:
            if row.words and row.dots >= DOTTED:
                found.append((row, union(word.bbox for word in (*row.words, *row.pages)), size))
    if len(found) < FEWEST or not _evident([row for row, _, _ in found], lines):
        return []
    columns = _columns(found)
    own = [[each for each in found if column.left <= each[1][0] < column.right] for column in columns]
    for each in own:
        each.sort(key=lambda row: row[1][1])
    rise, follow = _share(_rises, own), _share(_follows, own)
    if max(rise, follow) < RISING or len({row.value for row, _, _ in found}) == 1:
        return []
    for column, each in zip(columns, own, strict=True):
        size = median(size for _, _, size in each)
        column.edge, column.rising = _usual([box[2] for _, box, _ in each], size / 2), rise >= RISING
        column.top, column.bottom = each[0][1][1], each[-1][1][3]
    return columns


def _columns(found: Sequence[_Found]) -> list[_Column]:
    columns: list[_Column] = []
    for _, box, _ in sorted(found, key=lambda each: each[1]):
        if columns and box[0] < columns[-1].right:
            columns[-1].right = max(columns[-1].right, box[2])
        else:
            columns.append(_Column(box[0], box[2]))
    return columns


def _evident(rows: Sequence[Row], lines: Sequence[Line]) -> bool:
    """Whether so many rows are enough."""
    return len(rows) >= MANY or 2 * sum(_section(row.words) is not None for row in rows) >= len(rows) or _named(lines)


def _section(words: Sequence[Word]) -> str | None:
    """The number of the section with which a title begins."""
    return number_of(" ".join(word.text for word in words)) if len(words) > 1 else None


def _named(lines: Sequence[Line]) -> bool:
    """Whether one of these lines says that contents, or their like, follow."""
    return any(NAMES.fullmatch(line.text.strip(" .:")) for line in lines if len(line.words) <= 5)


def _rises(above: _Found, below: _Found) -> bool:
    return above[0].value <= below[0].value


def _follows(above: _Found, below: _Found) -> bool | None:
    """Whether two titles follow the alphabet; None where one is of another level, or has no letters."""
    if abs(above[1][0] - below[1][0]) > EVEN * below[2]:
        return None
    first, second = (
        "".join(letter for word in row.words for letter in word.text.casefold() if letter.isalnum())
        for row, _, _ in (above, below)
    )
    return first <= second if first and second else None


def _share(fine: Callable[[_Found, _Found], bool | None], columns: Sequence[Sequence[_Found]]) -> float:
    """Of the steps from one entry to the next, those that are fine."""
    told = [fine(*pair) for own in columns for pair in pairwise(own)]
    told = [each for each in told if each is not None]
    return sum(told) / len(told) if told else 0.0


def _usual(places: Sequence[float], reach: float) -> float:
    """The place that most others are within reach of."""
    return max(places, key=lambda place: sum(abs(place - other) <= reach for other in places))


def _plain(lines: Sequence[Line], running: Callable[[Line], bool]) -> list[_Column]:
    """The column whose entries have no dots, if there is one: numbers that rise, at one edge, with titles beside."""
    numbers = [line for line in lines if len(line.words) == 1 and are_pages(line.words) and not running(line)]
    if len(numbers) < ALONE or len(numbers) * len(lines) > CROWDED:
        return []
    size = median(map(em, numbers))
    edge = _usual([line.bbox[2] for line in numbers], size / 2)
    numbers = sorted((each for each in numbers if abs(each.bbox[2] - edge) <= size / 2), key=lambda each: each.bbox[1])
    beside = [_before(number, lines) for number in numbers]
    found = [
        (Row([word for line in own for word in line.words], 0, number.words), boxed([*own, number]), em(number))
        for number, own in zip(numbers, beside, strict=True)
        if own
    ]
    if len(found) < max(ALONE, 0.9 * len(numbers)) or _share(_rises, [found]) < 1:
        return []
    values = [row.value for row, _, _ in found]
    several = sum(len([line for line in own if any(map(str.isalpha, line.text))]) > 1 for own in beside)
    if values[0] == values[-1] or several > ASIDE * len(found):
        return []
    column = _Column(min(box[0] for _, box, _ in found), edge, edge, found[0][1][1], found[-1][1][3])
    between = [line for line in _within(column, None, lines) if column.top <= line.bbox[1] <= column.bottom]
    above = [line for line in lines if line.bbox[3] <= column.top]
    sections = [_section(row.words) or "" for row, _, _ in found]
    told = _named(above) or 2 * sum(map(bool, sections)) >= len(found) and any("." in each for each in sections)
    return [column] if told and len(found) >= FILLED * len(_bands(between)) else []


def _before(number: Line, lines: Sequence[Line]) -> list[Line]:
    """What stands to the left of a number on its height."""
    return [line for line in lines if line.bbox[2] <= number.bbox[0] and overlap(line.bbox, number.bbox) > 0.5]


def _within(column: _Column, before: _Column | None, lines: Sequence[Line]) -> list[Line]:
    """What a column has of the lines of a page, without marks. before: the column to its left."""
    found = []
    for line in lines:
        size = em(line)
        left = max(column.left - MARGIN * size, before.right if before else column.left - MARGIN * size)
        words = [word for word in line.words if left <= (word.bbox[0] + word.bbox[2]) / 2 <= column.right + size]
        if len(words) < len(line.words) and words:
            at = line.words.index(words[0]), line.words.index(words[-1]) + 1
            cut = [
                pair for pair in (line.words[at[0] - 1 : at[0] + 1], line.words[at[1] - 1 : at[1] + 1]) if len(pair) > 1
            ]
            if any(right.bbox[0] - left.bbox[2] < size for left, right in cut):
                continue  # it runs through
        if words and not _is_mark(line):
            found.append(Line(words, union(word.bbox for word in words)))
    return found


def _is_mark(line: Line) -> bool:
    """Whether it is no more than an accent, say, that is drawn by itself."""
    return len(line.text) <= 2 and all(unicodedata.category(letter) in ("Mn", "Sk") for letter in line.text)


def _bands(lines: Sequence[Line]) -> list[_Band]:
    """From top to bottom."""
    bands: list[list[Line]] = []
    for line in sorted(lines, key=lambda each: each.bbox[1] + each.bbox[3]):
        if bands and overlap(bands[-1][0].bbox, line.bbox) > 0.5:
            bands[-1].append(line)
        else:
            bands.append([line])
    return [_Band(band) for band in bands]


def _read(band: _Band, column: _Column) -> _Band:
    """The band, with its row."""
    rows = rows_of(band.words, band.size)
    row = rows[0] if len(rows) == 1 and rows[0].dots > 1 else at_the_edge(band.words, column.edge, band.size)
    band.row = row if row is not None and row.words else None
    return band


def _admit(column: _Column, running: Callable[[Line], bool]) -> None:
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


def _fits(place: int, kept: set[int], column: _Column, running: Callable[[Line], bool]) -> bool:
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


def _whole(column: _Column) -> list[Entry]:
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


def _goes_on(pair: Sequence[_Band], following: _Band | None, limit: float) -> bool:
    """Whether a title goes on from one band to the next: it is indented there, or had no room. following: what
    stands below, which is not to be a sibling that is indented as well. limit: x that no title reaches over."""
    above, below = pair
    if (
        above.row is not None
        or below.numbered
        or _named(above.lines)
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


def _bold(band: _Band) -> bool:
    words = band.title.words
    return 2 * sum(len(word.text) for word in words if word.bold) > sum(len(word.text) for word in words)


def _with_marks(found: Sequence[Entry], lines: Sequence[Line]) -> None:
    """Accents that are drawn by themselves stand in the entry whose line they are over."""
    for mark in filter(_is_mark, lines) if found else ():
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
