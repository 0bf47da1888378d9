"""Words that the detector has no region for: where they belong, or what they are by themselves.

Types follow from size and place alone, and are guesses: the blocks have no label and no score.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from statistics import median

import numpy as np

from densessl.documents.parsing.layout.lines import boxed, em, gap, in_rows
from densessl.documents.parsing.layout.paragraphs import LEADING, SIZES, items, next_item
from densessl.documents.parsing.layout.text import counted, number_of
from densessl.documents.parsing.model import Box, Line, Word

EDGE = 0.09  # of the page's height, in which running headers and footers stand
SHORT = 0.75  # of a text's width: a line that is no longer ends its paragraph
LARGER, SMALLER = 1.12, 0.92  # of the size of most of the page: headings, footnotes
SCATTERED = 12  # letters of a piece of a formula or of what a drawing says, at most
WORD = 5  # letters of most of them, at most: headings of a table of contents are more
CLOSE = 1.5  # ems between such pieces
CROWDED = 500  # small pieces of a page, above which nobody asks which are close to which
FORMULA = 6  # times as high as its letters, at most
SIGN = re.compile("[=+\u2212\u00d7<>\u2264\u2265\u2211\u222b\u221a\u03b1-\u03c9\U0001d400-\U0001d7ff]")
NUMBERED = 5  # lines that are numbered in the margin, at least
CAPTION = re.compile(
    r"(fig(ure|\.)?|table|abb(ildung|\.)?|tab(elle|leau|ela|ella|la|\.)?|figur[ae]?|рис(\.|унок)?|таблица|εικόνα|σχήμα|πίνακας|"
    r"rys(\.|unek)?|tabela|scheme|chart|plate|listing)\s*[\dIVXA-Z]+([.\-]\d+)*(\s*[.:–—|]|\s*$)",
    re.IGNORECASE,
)
NUMBER = re.compile(r"\W*(\d{1,4}|[ivxlc]{1,7})\W*", re.IGNORECASE)
NOTE = re.compile(r"(\d{1,3}|[*†‡§¶]+)\s*\S")


def body_size(words: Sequence[Word]) -> float:
    """The size of most of a page's letters, in points; 0 without words. Heights where sizes are not known."""
    sizes: Counter[float] = Counter()
    for word in words:
        sizes[round(2 * (word.size or word.bbox[3] - word.bbox[1])) / 2] += len(word.text)
    return max(sizes, key=lambda size: (sizes[size], size), default=0.0)


def continued(text: Sequence[Line], group: Sequence[Line]) -> bool:
    """Whether a group of one or two lines is what the detector has cut off a text, lines from top to bottom: directly
    above or below it, as large, at its left edge, and neither a paragraph ends nor an item begins between them."""
    if len(group) > 2 or not text:
        return False
    upper, lower = sorted((text, group), key=lambda lines: lines[0].bbox[1])
    size, own = median(em(line) for line in text), median(em(line) for line in group)
    if max(size, own) > SIZES * min(size, own):
        return False
    box, added = boxed(text), boxed(group)
    if added[0] < box[0] - 1.5 * size or added[2] > box[2] + size:
        return False
    if added[1] >= text[-1].bbox[1] + size / 2:
        full = text[-1].bbox[2] - text[-1].bbox[0] > SHORT * (box[2] - box[0])
        fits = added[1] - box[3] <= LEADING * size and abs(group[0].bbox[0] - box[0]) <= size / 2
    else:
        full = group[-1].bbox[2] - group[-1].bbox[0] > SHORT * (box[2] - box[0])
        fits = -size / 2 <= box[1] - added[3] <= LEADING * size and text[0].bbox[0] - box[0] <= size / 2
    # What the words say is asked last: it takes longest.
    return fits and full and len(items(group, listed=False)) == 1 and not next_item(upper[0], lower[0])


def clusters(groups: Sequence[list[Line]], body: float) -> tuple[list[tuple[str, list[Line]]], list[list[Line]]]:
    """What lies scattered in small pieces close to each other, three or more, with its type, and the other groups.

    It is a formula when it has a sign that formulas have and is no higher than `FORMULA` lines, else "other": of a
    drawing that was not found, or the numbers of lines in the margin. body: the page's `body_size`.
    """
    small = [sum(len(word.text) for line in group for word in line.words) <= SCATTERED for group in groups]
    boxes = [boxed(group) for group in groups]
    reach = [CLOSE * max(em(line) for line in group) for group in groups]
    found, taken = [], set()
    tiny = [place for place, group in enumerate(groups) if em(group[0]) <= SMALLER * body]
    numbers = _line_numbers(tiny, groups)
    if numbers:
        found.append(("other", [line for place in numbers for line in groups[place]]))
        taken.update(numbers)
    left = [place for place, each in enumerate(small) if each and place not in taken]
    if len(left) > CROWDED:  # a map, or a drawing that says much
        found.append(("other", in_rows([line for place in left for line in groups[place]])))
        taken.update(left)
        left = []
    while left:
        cluster = [left.pop(0)]
        for at in cluster:  # it grows meanwhile
            near = [each for each in left if _apart(boxes[at], boxes[each]) <= max(reach[at], reach[each])]
            cluster += near
            left = [each for each in left if each not in near]
        letters = [len(line.text) for place in cluster for line in groups[place]]
        if len(cluster) >= 3 and median(letters) <= WORD:
            lines = in_rows([line for place in cluster for line in groups[place]])
            box = boxed(lines)
            low = box[3] - box[1] <= FORMULA * median(em(line) for line in lines)
            found.append(("formula" if low and any(SIGN.search(line.text) for line in lines) else "other", lines))
            taken.update(cluster)
    return found, [group for place, group in enumerate(groups) if place not in taken]


def _line_numbers(places: list[int], groups: Sequence[list[Line]]) -> list[int]:
    """Of groups of a word in each line, those that count the lines of a page, from top to bottom."""
    counting = [place for place in places if all(len(line.words) == 1 and _counts(line.text) for line in groups[place])]
    ends = [[line.bbox[2] for line in groups[place]] for place in counting]
    ends = np.array([(min(each), max(each)) for each in ends], float).reshape(-1, 2)
    said = {place: [int(line.text) for line in groups[place]] for place in counting}
    best: list[int] = []
    for first in counting:
        edge, size = groups[first][0].bbox[2], em(groups[first][0])
        column = [counting[each] for each in np.flatnonzero((np.abs(ends - edge) <= size / 2).all(1))]
        if not len(best) < len(column) <= CROWDED:
            continue
        values = [value for place in column for value in said[place]]
        if len(values) < NUMBERED:
            continue
        step = values[1] - values[0]
        if step > 0 and all(below - above == step for above, below in zip(values, values[1:], strict=False)):
            best = column
    return best


def _counts(text: str) -> bool:
    return text.isdecimal() and counted(text) is not None


def _apart(a: Box, b: Box) -> float:
    return max(gap(a, b, 0), gap(a, b, 1))


def guessed(group: Sequence[Line], body: float, height: float, outermost: bool) -> str:
    """The type of lines outside of all regions. body: the page's `body_size`. height: of the page, in points.
    outermost: nothing but such lines is above them, or nothing below."""
    box = boxed(group)
    size = median(em(line) for line in group)
    text = group[0].text
    if box[3] - box[1] > 4 * (box[2] - box[0]) and len(group[0].words) > 1:
        return "other"  # on its side
    if outermost and NUMBER.fullmatch(text) and not 2 * EDGE * height < box[3] < (1 - 2 * EDGE) * height:
        return "page_header" if box[3] < height / 2 else "page_footer"
    if outermost and len(group) <= 2 and size <= LARGER * body:
        if box[3] <= EDGE * height:
            return "page_header"
        if box[1] >= (1 - EDGE) * height:
            return "page_footer"
    marker, _ = items(group, listed=False)[0]
    if marker:
        return "list_item"
    if CAPTION.match(text):
        return "caption"
    short = len(group) <= 3 and not text.rstrip().endswith((",", ";"))
    bold = all(word.bold for line in group for word in line.words)
    numbered = number_of(text) is not None and len(group[0].words) > 1
    if (
        short
        and any(letter.isalpha() for letter in text)
        and (
            size >= LARGER * body
            or bold
            and len(group) <= 2
            and (numbered or not group[-1].text.rstrip().endswith("."))
        )
    ):
        return "heading"
    if size <= SMALLER * body and box[1] > 0.6 * height and NOTE.match(text):
        return "footnote"
    return "text"
