"""Where on a page entries of contents stand: the columns that have them, and which lines are theirs.

Lines in which dots lead to the number of a page tell it, if their numbers rise from one to the next, or their titles
follow the alphabet. Where no dots are at all, it takes the name of such a list above them, or sections that are
numbered, that numbers at one edge are those of pages. Lists of prices, forms and statements have such dots too; what
they lead to does not rise, or is no number of a page (`leaders`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from densessl.documents.parsing.layout.leaders import DOTS, Row, are_pages, rows_of
from densessl.documents.parsing.layout.lines import banded, boxed, em, overlap, union
from densessl.documents.parsing.layout.text import number_of
from densessl.documents.parsing.model import Box, Line, Word

MOST = 2000  # lines of a page that may have contents
FEWEST = 3  # entries of a page
MANY = 6  # of them that need neither numbers nor a name above them
DOTTED = 3  # dots that lead to a number for sure
RISING = 0.8  # of the steps from one entry to the next, that go up, or on in the alphabet
ALONE = 4  # entries without dots, at least
FILLED = 0.6  # of the lines between the first and the last of those, that they are
ASIDE = 0.3  # of them that may have more than a title before the number: others are rows of a table
MARGIN = 4.0  # ems that entries may begin to the left of the others in their column
EVEN = 0.7  # ems by which edges may differ that are one
NAMES = re.compile(
    r"(table\s+of\s+|short\s+|brief\s+)?contents|list\s+of\s+\w+|(\w+\s+){0,3}(index|indices|indexes)|inhalt(s\w*)?|\w*verzeichnis|"
    r"table\s+des\s+\w+|sommaire|sommario|sum[aá]rio|[ií]ndice(\s+\w+){0,3}|inhoud(sopgave)?|содержание|оглавление|"
    r"spis\s+\w+|obsah|tartalom\w*|innehåll\w*|indhold\w*|innhold\w*|sisällys\w*|目\s*[次录錄]|차례|목차",
    re.IGNORECASE,
)


@dataclass
class Band:
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
class Column:
    """left, right: of its entries. edge: where most numbers of pages end. top, bottom: between which entries are sure.
    rising: whether the numbers rise, rather than that the titles follow the alphabet."""

    left: float
    right: float
    edge: float = 0.0
    top: float = 0.0
    bottom: float = 0.0
    rising: bool = True
    bands: list[Band] = field(default_factory=list)  # from top to bottom


# An entry of one line, the box around it, and the size of its letters.
_Found = tuple[Row, Box, float]


def columns_of(lines: Sequence[Line], running: Callable[[Line], bool]) -> list[Column]:
    """The columns of a page that have entries, from left to right, their bands left out.

    running: whether a line is known to be a header or footer.
    """
    return _dotted(lines) or _plain(lines, running) if len(lines) <= MOST else []


def _dotted(lines: Sequence[Line]) -> list[Column]:
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
    stays = len({row.value for row, _, _ in found}) == 1 and not any(
        "." in (_section(row.words) or "") for row, _, _ in found
    )
    if max(rise, follow) < RISING or stays:
        return []
    for column, each in zip(columns, own, strict=True):
        size = median(size for _, _, size in each)
        column.edge, column.rising = _usual([box[2] for _, box, _ in each], size / 2), rise >= RISING
        column.top, column.bottom = each[0][1][1], each[-1][1][3]
    return columns


def _columns(found: Sequence[_Found]) -> list[Column]:
    columns: list[Column] = []
    for _, box, _ in sorted(found, key=lambda each: each[1]):
        if columns and box[0] < columns[-1].right:
            columns[-1].right = max(columns[-1].right, box[2])
        else:
            columns.append(Column(box[0], box[2]))
    return columns


def _evident(rows: Sequence[Row], lines: Sequence[Line]) -> bool:
    """Whether so many rows are enough."""
    return len(rows) >= MANY or 2 * sum(_section(row.words) is not None for row in rows) >= len(rows) or named(lines)


def _section(words: Sequence[Word]) -> str | None:
    """The number of the section with which a title begins."""
    return number_of(" ".join(word.text for word in words)) if len(words) > 1 else None


def named(lines: Sequence[Line]) -> bool:
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


def _plain(lines: Sequence[Line], running: Callable[[Line], bool]) -> list[Column]:
    """The column whose entries have no dots, if there is one: numbers that rise, at one edge, with titles beside."""
    numbers = [line for line in lines if len(line.words) == 1 and are_pages(line.words) and not running(line)]
    if len(numbers) < ALONE:
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
    column = Column(min(box[0] for _, box, _ in found), edge, edge, found[0][1][1], found[-1][1][3])
    between = [line for line in within(column, lines) if column.top <= line.bbox[1] <= column.bottom]
    above = [line for line in lines if line.bbox[3] <= column.top]
    sections = [_section(row.words) or "" for row, _, _ in found]
    told = named(above) or 2 * sum(map(bool, sections)) >= len(found) and any("." in each for each in sections)
    return [column] if told and len(found) >= FILLED * len(bands_of(between)) else []


def _before(number: Line, lines: Sequence[Line]) -> list[Line]:
    """What stands to the left of a number on its height."""
    return [line for line in lines if line.bbox[2] <= number.bbox[0] and overlap(line.bbox, number.bbox) > 0.5]


def within(
    column: Column, lines: Sequence[Line], before: Column | None = None, behind: Column | None = None
) -> list[Line]:
    """What a column has of the lines of a page, without marks. before, behind: the columns to its left and right, with
    which it shares no word."""
    found = []
    for line in lines:
        size = em(line)
        left, right = _begins(column, before, size), column.right + size
        right = min(right, _begins(behind, column, size)) if behind else right
        words = [word for word in line.words if left <= (word.bbox[0] + word.bbox[2]) / 2 < right]
        if len(words) < len(line.words) and words:
            at = line.words.index(words[0]), line.words.index(words[-1]) + 1
            cut = [
                pair for pair in (line.words[at[0] - 1 : at[0] + 1], line.words[at[1] - 1 : at[1] + 1]) if len(pair) > 1
            ]
            if any(right.bbox[0] - left.bbox[2] < size for left, right in cut):
                continue  # it runs through
        if words and not is_mark(line):
            found.append(Line(words, union(word.bbox for word in words)))
    return found


def _begins(column: Column, before: Column | None, size: float) -> float:
    """Where (x) words are a column's that are so large, in points. before: the column to its left."""
    left = column.left - MARGIN * size
    return max(left, before.right) if before else left


def is_mark(line: Line) -> bool:
    """Whether it is no more than an accent, say, that is drawn by itself."""
    return len(line.text) <= 2 and all(unicodedata.category(letter) in ("Mn", "Sk") for letter in line.text)


def bands_of(lines: Sequence[Line]) -> list[Band]:
    """From top to bottom."""
    return [Band(band) for band in banded(lines)]
