"""Listings of programs: lines in letters of a fixed pitch, which have to stay what they are.

A line is typed when its words are of such a font, but for signs and the number of a line. Typed lines below each other
make up a listing; words of one height that stand far apart, such as a comment behind its statement, are one row of it
unless the gutter of two columns is between them. What is typed and no listing: terms with something else beside them,
headings, lines that fill their place in a paragraph, addresses, and the text of a page that is all typed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from densessl.documents.parsing.layout.lines import boxed, em, gap, in_rows, overlap, union
from densessl.documents.parsing.layout.missed import LARGER
from densessl.documents.parsing.layout.text import is_marker
from densessl.documents.parsing.model import Box, Line, Word

LEGIBLE = 2.0  # points that letters have at least which somebody is to read
COLUMNS = 400  # of a listing, at most: farther to the right words follow each other
TYPED = 0.6  # of a line's letters, that are of a fixed pitch at least
ALL_TYPED = 0.85  # of a page's letters: above that it is its text that is typed
SIGNS = frozenset("{}()[]<>=:;#$\\&|*/_@^~+%")
SIGNED = 0.06  # of the letters of programs are such signs, at least; of prose some 0.01
PROMPTS = ("$", ">", ">>", ">>>", "#", "%", "...")
APART = 2.5  # ems between two rows of a listing, at most, which leaves room for an empty one
ASIDE = 12.0  # ems that a row may stand to the left or right of those above it
BLANK = 2  # empty rows that are kept between two
SIZE = 1.06  # by which factor the letters of its rows differ at most
CLOSE = 0.45  # ems of space between lines of a paragraph, at most
CROWDED = 1_000_000  # pairs of typed and other lines of a page, above which nobody asks which are beside which
EVEN = 1.0  # ems by which edges may differ that are one
GUTTER = 8.0  # ems to the left of a column in which lines of the column before it end
WIDE = 12.0  # ems that lines of running text have at least
NUMBER = 6.0  # ems between the number of a row and the row
BESIDE = 0.5  # of a listing's rows that may have something else beside them


@dataclass
class _Run:
    """Rows below each other."""

    rows: list[Line]
    box: Box  # around them
    size: float  # of the last one, in points


def listings(
    lines: Sequence[Line], body: float, heads: Callable[[Line], bool] = lambda line: False
) -> list[list[Line]]:
    """The rows of each listing of a page, from top to bottom; words of a row stand from left to right.

    lines: of the page, as `lines_of` has them. body: the page's `body_size`. heads: whether a line is known to be a
    heading, header or footer, should it stand alone.
    """
    typed, numbers, prose = [], [], []
    for line in lines:
        kind = typed if is_typed(line) and em(line) <= LARGER * body else numbers if line.text.isdecimal() else prose
        kind.append(line)
    if not typed or len(typed) * max(len(prose), len(numbers)) > CROWDED:
        return []
    whole = _share(word for line in lines for word in line.words) > ALL_TYPED
    found = []
    for run in _runs(_rows(typed, prose), prose):
        signed = looks_like_code(run)
        if whole and not signed or _are_terms(run, prose):
            continue
        if len(run) == 1 and heads(run[0]) or len(run) <= 2 and (_is_address(run) or _is_of_paragraph(run, prose)):
            continue
        found.append([_numbered(row, numbers) for row in run])
    return found


def is_typed(line: Line) -> bool:
    """Whether a line is of letters of a fixed pitch, but for words without letters, and no list's marker begins it."""
    if em(line) < LEGIBLE or _share(line.words) < TYPED or is_marker(line.words[0].text) and not line.words[0].pitch:
        return False
    others = [word.text for word in line.words if not word.pitch]
    return not any(letter.isalpha() for text in others for letter in text)


def looks_like_code(rows: Sequence[Line]) -> bool:
    """Whether there are as many signs in it as programs have, or what a shell asks with."""
    letters = "".join(word.text for row in rows for word in row.words)
    asked = sum(row.words[0].text in PROMPTS and len(row.words) > 1 for row in rows)
    return sum(letter in SIGNS for letter in letters) >= SIGNED * len(letters) or 2 * asked >= len(rows)


def written(rows: Sequence[Line]) -> str:
    """The text of a listing: words in the columns that they stand in, empty rows where there is room for them, numbers
    of rows left out."""
    rows = [Line(row.words[_is_numbered(row) :], row.bbox) for row in rows]
    pitch = median(word.pitch for row in rows for word in row.words if word.pitch for _ in word.text)
    left = min(_start(word, pitch) for row in rows for word in row.words)
    texts = []
    for row in rows:
        text, end = "", left
        for word in row.words:
            column = min(round((_start(word, pitch) - left) / pitch), COLUMNS)
            close = bool(text) and word.bbox[0] - end < 0.35 * pitch
            text = text if close else text.ljust(max(column, len(text) + bool(text)))
            text, end = text + word.text, word.bbox[2]
        texts.append(text)
    steps = [_middle(below) - _middle(above) for above, below in zip(rows, rows[1:], strict=False)]
    usual = max(min(steps, default=0.0), median(em(row) for row in rows))
    whole = texts[:1]
    for step, text in zip(steps, texts[1:], strict=True):
        whole += [""] * min(BLANK, max(0, round(step / usual) - 1)) + [text]
    return "\n".join(whole)


def _numbered(row: Line, numbers: Sequence[Line]) -> Line:
    """The row with the number that stands before it by itself."""
    size = em(row)
    for each in numbers:
        before = 0 <= row.bbox[0] - each.bbox[2] <= NUMBER * size
        if before and overlap(row.bbox, each.bbox) > 0.5 and em(each) <= size:
            return _together(each, row)
    return row


def _is_numbered(row: Line) -> bool:
    """Whether it begins with a number in other letters than what follows."""
    return len(row.words) > 1 and not row.words[0].pitch and row.words[0].text.isdecimal()


def _share(words) -> float:
    """Of their letters, those of a fixed pitch."""
    letters = [(len(word.text), bool(word.pitch)) for word in words]
    return sum(count for count, fixed in letters if fixed) / max(1, sum(count for count, _ in letters))


def _start(word: Word, pitch: float) -> float:
    """Where the first letter's place begins; ink begins at a place of its own in it, so the middle is more sure."""
    middle = (word.bbox[0] + word.bbox[2]) / 2
    return middle - len(word.text) * pitch / 2 if word.pitch else word.bbox[0]


def _rows(typed: Sequence[Line], prose: Sequence[Line]) -> list[Line]:
    """Typed lines, those beside each other together, unless they are of two columns."""
    rows: list[Line] = []
    for line in in_rows(typed):
        if (
            rows
            and overlap(rows[-1].bbox, line.bbox) > 0.5
            and not _is_column(rows[-1].bbox, line.bbox, em(line), prose)
        ):
            rows[-1] = _together(rows[-1], line)
        else:
            rows.append(line)
    return rows


def _together(row: Line, line: Line) -> Line:
    return Line([*row.words, *line.words], union([row.bbox, line.bbox]))


def _is_column(box: Box, right: Box, size: float, prose: Sequence[Line]) -> bool:
    """Whether running text begins between a box and one to its right, so that this is of a column of its own."""
    begins = [each for each in prose if box[2] < each.bbox[0] <= right[0] + EVEN * size and _is_wide(each)]
    return len(begins) >= 2 or _ending_before(right[0], size, prose) >= 2


def _ending_before(left: float, size: float, prose: Sequence[Line]) -> int:
    """How many lines of running text end where the gutter to what begins at `left` would be, unless more cross it."""
    ends = [each.bbox[2] for each in prose if left - GUTTER * size <= each.bbox[2] < left and _is_wide(each)]
    edge = max(ends, default=left)
    crossing = [each for each in prose if each.bbox[0] < edge < each.bbox[2]]
    return len(ends) if len(ends) > len(crossing) else 0


def _is_wide(line: Line) -> bool:
    return line.bbox[2] - line.bbox[0] >= WIDE * em(line)


def _runs(rows: Sequence[Line], prose: Sequence[Line]) -> list[list[Line]]:
    """Rows below each other, with nothing else between them."""
    runs: list[_Run] = []
    open_: list[_Run] = []  # those that are near enough still
    reach = APART * max(map(em, rows))
    for row in sorted(rows, key=_middle):
        size = em(row)
        open_ = [run for run in open_ if row.bbox[1] - run.rows[-1].bbox[3] <= reach]
        fitting = [run for run in open_ if _follows(run, row, size, prose)]
        if fitting:
            run = max(fitting, key=lambda run: _middle(run.rows[-1]))
            run.rows.append(row)
            run.box, run.size = union([run.box, row.bbox]), size
        else:
            runs.append(_Run([row], row.bbox, size))
            open_.append(runs[-1])
    return [run.rows for run in runs]


def _follows(run: _Run, row: Line, size: float, prose: Sequence[Line]) -> bool:
    last, around = run.rows[-1], run.box
    if max(size, run.size) > SIZE * min(size, run.size) or row.bbox[1] - last.bbox[3] > APART * size:
        return False
    if gap(around, row.bbox, 0) > ASIDE * size or overlap(last.bbox, row.bbox) > 0.5:
        return False
    first, second = sorted((around, row.bbox))
    if second[0] > first[2] and _is_column(first, second, size, prose):
        return False
    between = [each.bbox for each in prose if _middle(last) < _middle(each) < _middle(row)]
    return all(
        box[0] >= max(row.bbox[2], last.bbox[2]) or box[2] <= around[0] and _is_column(box, around, size, prose)
        for box in between
    )


def _are_terms(run: Sequence[Line], prose: Sequence[Line]) -> bool:
    """Whether most rows have other words beside them in their column: terms with what they mean, which begins at one
    place, or cells. What a drawing beside a listing says begins anywhere."""
    before, starts = 0, []
    least = BESIDE * len(run) - sum(map(_is_wide, run))
    for row in run:
        level = [each for each in prose if overlap(row.bbox, each.bbox) > 0.5]
        size, left, right = em(row), row.bbox[0], row.bbox[2]
        behind = min((each.bbox[0] for each in level if each.bbox[0] >= right - size), default=None)
        starts += [behind] if behind is not None and not _is_gutter(behind, size, least, prose) else []
        before += any(each.bbox[2] <= left + size for each in level) and not _is_gutter(left, size, least, prose)
    reach = EVEN * em(run[0]) / 2
    places = np.array(starts, float)
    beside = max((np.count_nonzero(np.abs(places - start) <= reach) for start in starts), default=0)
    return max(before, beside) > BESIDE * len(run)


def _is_gutter(left: float, size: float, least: float, prose: Sequence[Line]) -> bool:
    """Whether the column before what begins at `left` has as much running text as it would have beside one that is a
    column too. least: lines of it."""
    return _ending_before(left, size, prose) >= max(2, least)


def _is_address(run: Sequence[Line]) -> bool:
    """Whether it is no more than a web or mail address, which the end of a line may divide."""
    text = "".join(word.text for row in run for word in row.words)
    return sum(len(row.words) for row in run) <= 2 and ("@" in text or "://" in text)


def _is_of_paragraph(run: Sequence[Line], prose: Sequence[Line]) -> bool:
    """Whether a paragraph comes to lines that happen to be all typed: it goes on to them, or from them, from one edge
    to the other without more space than within it."""
    box, size = boxed(run), em(run[0])
    for each in prose:
        even = abs(each.bbox[0] - box[0]) <= EVEN * size
        above = -size / 2 <= box[1] - each.bbox[3] <= CLOSE * size
        below = -size / 2 <= each.bbox[1] - box[3] <= CLOSE * size
        if even and above and each.bbox[2] >= box[2] - 2 * size:
            return True
        if even and below and _is_wide(run[-1]) and box[2] >= each.bbox[2] - 2 * size:
            return True
    return False


def _middle(line: Line) -> float:
    return (line.bbox[1] + line.bbox[3]) / 2
