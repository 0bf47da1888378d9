"""A line of contents: its title, what leads to the number of the page, and that number.

Leaders are dots, by themselves or in runs, or a blank; engines read rows of dots as "...... 0. eee". What they lead to
counts as numbers of pages when it is one of up to four digits, of a small or capital Roman numeral, of a chapter and a
page ("A-3"), or several of them ("4, 27", "8–12"). A price or a share, which has a comma or point within or a sign
beside it, is none, nor is a blank to fill in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from densessl.documents.parsing.layout.text import counted
from densessl.documents.parsing.model import Word

DOTS = ".·…․‥"
SEVERAL = {"…": 3, "‥": 2}  # dots that one character shows
PITCH = 0.15  # of the space from one dot to the next, by which a dot may be off its place
APART = 1.5  # ems between a number of a page and the next column
BLANK = 0.8  # ems between a title and a number without dots, at least
NEAR = 1.0  # ems between two numbers of an entry, at most
# A Roman numeral before a dash is a page by itself rather than a chapter, so that "I-I-I" is read in one way only.
_PAGE = r"(?:(?![IVXLC]{1,3}[-\u2013])[A-Z]{1,3}[-\u2013.])?(?:\d{1,4}|[ivxlc]{1,7}|[IVXLC]{1,7})"
_PAGES = re.compile(rf"{_PAGE}(?:[-\u2013,;]{_PAGE})*(?:[-\u2013,;]|ff?\.?)?")
_VALUE = re.compile(r"(?:([A-Z]{1,3})[-\u2013.])?(\d+|[ivxlc]+)", re.IGNORECASE)
_GLUED = re.compile(rf"(.*?)([{DOTS}]*(?:[{DOTS}]{{3}}|…))(.*)")
_DOTS = re.compile(rf"[{DOTS}]{{2}}|…|^[{DOTS}]+$")
_READ = f"{DOTS}ceonst0123456789,:;_*-"  # what engines read rows of dots as
_MISREAD = re.compile(rf"[{_READ}]+")
_LEADER = re.compile(rf"[{DOTS}]{{2}}|…|^[{DOTS}]")
_DOT = re.compile(rf"[{DOTS}]$")


@dataclass
class Row:
    """words: of the title, from left to right, without leaders. dots: that follow it, none where a blank does. pages:
    the numbers, none where there are none."""

    words: list[Word]
    dots: int
    pages: list[Word]

    @property
    def said(self) -> str:
        """The numbers of pages as one reads them."""
        return " ".join(word.text for word in self.pages)

    @property
    def value(self) -> tuple[int, str, int]:
        """What the first page's number counts; Roman ones are before all others, those of chapters behind them."""
        found = _VALUE.match(self.pages[0].text)
        chapter, number = found.groups()
        if chapter and number:
            return 1, chapter, counted(number.lower()) or 0
        text = found.group()
        return (0, "", int(text)) if text.isdecimal() else (-1, "", counted(text.lower()) or 0)


def are_pages(words: Sequence[Word]) -> bool:
    """Whether all of these are numbers that pages can have."""
    return all(_PAGES.fullmatch(word.text) for word in words)


def parted(words: Sequence[Word]) -> list[Word]:
    """Words of a line; in parts those in which dots lead from a title or to a number without a blank, with the places
    that the parts must have."""
    found, words = [], _seen(words)
    for word, behind in zip(words, [*words[1:], None], strict=True):
        glued = "..." in word.text or "…" in word.text or "···" in word.text
        parts = _GLUED.fullmatch(word.text) if glued else None
        ends = behind is None or not behind.text.strip(DOTS) or _PAGES.fullmatch(behind.text)
        led = parts and (_PAGES.fullmatch(parts[3]) if parts[3] else parts[1] and ends)
        found += _cut(word, parts.groups()) if led else [word]
    return found


def _seen(words: Sequence[Word]) -> Sequence[Word]:
    """Words of a line; if an engine has read them, with what it takes leaders for as dots, from the first ones on up to
    the last word."""
    last = len(words) - 1
    if last < 2 or words[0].confidence is None:
        return words
    first = last
    while first and _MISREAD.fullmatch(words[first - 1].text):
        first -= 1
    first = max(0, first - 1)  # dots may touch the title
    while first < last and not _DOTS.search(words[first].text):
        first += 1
    seen = [replace(word, text=3 * DOTS[0]) if first < place < last else word for place, word in enumerate(words)]
    if first < last:
        text = words[first].text
        found = _LEADER.search(text, len(text.rstrip(_READ)))
        seen[first] = replace(words[first], text=text[: found.start()] + 3 * DOTS[0]) if found else words[first]
    return seen


def _cut(word: Word, texts: Sequence[str]) -> list[Word]:
    x0, y0, x1, y1 = word.bbox
    wide, ends = (x1 - x0) / len(word.text), [0, *accumulate(map(len, texts))]
    return [
        replace(word, text=text, bbox=(x0 + wide * start, y0, x0 + wide * end, y1))
        for text, (start, end) in zip(texts, pairwise(ends), strict=True)
        if text
    ]


def rows_of(words: Sequence[Word], size: float) -> list[Row]:
    """What the words of a line, from left to right, make up: entries that dots lead through, and what is left.

    size: of the letters, in points.
    """
    words = parted(words)
    rows, start, place = [], 0, 0
    while place < len(words):
        end = place
        while end < len(words) and not words[end].text.strip(DOTS):
            end += 1
        stop = _after_pages(words, end, size) if end > place else end
        if stop > end:
            rows.append(Row(_title(words[start:place], words[place:end]), _dots(words[place:end]), words[end:stop]))
            start = place = stop
        else:
            place = max(end, place + 1)
    return [*rows, Row(words[start:], 0, [])] if start < len(words) else rows


def at_the_edge(words: Sequence[Word], edge: float, size: float) -> Row | None:
    """The title and the numbers of pages that end at an edge (x), with a blank or some dots between; None without."""
    words = parted(words)
    if not words or abs(words[-1].bbox[2] - edge) > 0.6 * size:
        return None
    for first in range(max(1, len(words) - 6), len(words)):
        if _after_pages(words, first, size) != len(words):
            continue
        title = list(words[:first])
        while title and not title[-1].text.strip(DOTS):
            title.pop()
        dots = _dots(words[len(title) : first])
        if dots or title and words[first].bbox[0] - title[-1].bbox[2] >= BLANK * size:
            return Row(title, dots, list(words[first:]))
    return None


def _after_pages(words: Sequence[Word], first: int, size: float) -> int:
    """Where the numbers of pages end that begin with this word, unless something stands close behind them."""
    place = first
    while place < len(words) and _PAGES.fullmatch(words[place].text):
        place += 1
        if place == len(words) or words[place - 1].text[-1] not in ",;-\u2013":
            break
        if words[place].bbox[0] - words[place - 1].bbox[2] > NEAR * size:
            break
    close = place < len(words) and words[place].bbox[0] - words[place - 1].bbox[2] < APART * size
    return first if close else place


def _dots(words: Sequence[Word]) -> int:
    return sum(SEVERAL.get(letter, 1) for word in words for letter in word.text)


def _title(words: Sequence[Word], leaders: Sequence[Word]) -> list[Word]:
    """Without the dot that is the first of the leaders, though it touches the title: it is in step with them."""
    title = list(words)
    if len(leaders) < 2 or not title or not _DOT.search(title[-1].text) or len(title[-1].text) < 2:
        return title
    first, second = leaders[0].bbox, leaders[1].bbox
    if len(leaders[0].text) > 1:
        return title
    step, last = second[0] - first[0], title[-1]
    if abs(first[2] - last.bbox[2] - step) <= PITCH * step:
        title[-1] = replace(last, text=last.text[:-1])
    return title
