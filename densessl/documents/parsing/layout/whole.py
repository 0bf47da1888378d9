"""What only the whole document tells: levels of headings and of contents, and running headers and footers.

Two passes over a document's pages, of which none is kept: `look` at each in order, then `settle` each. What is kept
between them are counts by size and number of headings, and short strings of what stands at the edges of pages, no more
than `STRINGS`.

Levels. A title is 1. A numbered heading has the level of its number, "1.2" 3. One without a number has that of numbered
ones of its size, else one below the smallest of those that are larger, else it goes by the rank of its size. Of titles,
only those are titles that are nearly as large as the largest and have no number; PubLayNet calls all headings so.
An entry of contents has a level by its indentation among those before it, on other pages too.

Headers and footers. What stands at the same height on three pages that follow each other, or every other page, with the
same text when its digits are left aside, is a header or a footer, as is a lone number that rises with the pages.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import median

from densessl.documents.parsing.layout.contents import Levels
from densessl.documents.parsing.layout.lines import em
from densessl.documents.parsing.layout.text import counted, number_of
from densessl.documents.parsing.model import FURNITURE, Block, Page
from densessl.documents.parsing.views import View

EDGE = 0.15  # of the page's height, in which running headers and footers are looked for
OUTERMOST = 4  # blocks from the edge among which they are
LINES = 2  # that they have at most
BAND = 0.02  # of the page's height by which their places may differ
REPEATS = 3  # pages with it
EVERY = 2  # pages from one to the next: left and right pages differ
LETTERS = 80  # of a text that are kept
STRINGS = 20_000  # places and texts that are kept; those seen once long ago go first
CLASS = 0.6  # points by which headings of one class may differ in size
NEARLY = 0.9  # of the size of the largest title, that all others have
DEEPEST = 6
BODY = ("text", "heading", "list_item", "other", "footnote")


@dataclass
class _Run:
    """How often something was seen at the edge of pages. longest: on pages that follow each other so closely."""

    last: int
    length: int = 1
    longest: int = 1

    def seen(self, page: int) -> None:
        if page == self.last:
            return
        self.length = self.length + 1 if page - self.last <= EVERY else 1
        self.longest, self.last = max(self.longest, self.length), page


class Whole:
    """`look` at the pages of a document in order, and then `settle` them."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str, int], _Run] = {}
        self._depths: dict[float, Counter[int]] = defaultdict(Counter)  # size of headings -> depths of their numbers
        self._titles: dict[float, Counter[int]] = defaultdict(Counter)  # the same of what the detector calls titles
        self._first: int | None = None  # the first page
        self._levels: dict[float, int] | None = None
        self._entries = Levels()  # of contents

    def look(self, page: Page) -> None:
        """The first pass."""
        self._levels = None
        self._first = page.number if self._first is None else self._first
        for side, block in _edges(page):
            for key in _keys(side, block, page):
                if key in self._runs:
                    self._runs[key].seen(page.number)
                else:
                    self._runs[key] = _Run(page.number)
        if len(self._runs) > STRINGS:
            self._forget(page.number)
        for block in page.blocks:
            if block.type in ("title", "heading"):
                kept = self._titles if block.type == "title" else self._depths
                kept[_size(block)][_depth(block)] += 1

    def settle(self, page: Page) -> Page:
        """The second pass: the same page with levels of headings, headers and footers named and in their places,
        changed in place. Ids stay what they were."""
        running = [(side, block) for side, block in _edges(page) if self._repeated(side, block, page)]
        for side, block in running:
            if block.marker:
                block.text = f"{block.marker} {block.text}"
            block.type, block.marker = side, None
        if running:
            kinds = [block.type for block in page.blocks]
            middle = [block for block in page.blocks if block.type not in FURNITURE]
            before, after = ([page.blocks[at] for at, kind in enumerate(kinds) if kind == side] for side in FURNITURE)
            page.blocks = [*before, *middle, *after]
        for block in page.blocks:
            if block.type in ("title", "heading"):
                block.type = "title" if self._is_title(block, page.number) else "heading"
                block.level = 1 if block.type == "title" else self._level(block)
            if is_entry(block):
                block.level = self._entries.of(View(block.turn).box(block.bbox), em(block.lines[0]), page.number)
            elif block.type not in FURNITURE:
                self._entries.end()
        return page

    def _repeated(self, side: str, block: Block, page: Page) -> bool:
        if block.type in FURNITURE:
            return False
        if (
            block.type in ("title", "heading")
            and _size(block) > 1.2 * self._usual_heading()
            and (block.score or 0) >= 0.5
        ):
            return False  # slides may share their titles
        return any(key in self._runs and self._runs[key].longest >= REPEATS for key in _keys(side, block, page))

    def _usual_heading(self) -> float:
        sizes = sorted(size for size, depths in self._depths.items() for _ in range(sum(depths.values())))
        return median(sizes) if sizes else 0.0

    def _forget(self, page: int) -> None:
        """Leave out what was seen too seldom and can be seen no more."""
        self._runs = {key: run for key, run in self._runs.items() if run.longest >= REPEATS or page - run.last <= EVERY}

    def _is_title(self, block: Block, page: int) -> bool:
        """Where there is no title, the one heading of the first page that is larger than all others is it."""
        size, depth = _size(block), _depth(block)
        if block.type == "title":
            return self._stays(size, depth)
        lone = sum(self._depths[size].values()) == 1 and len(self._depths) > 1 and size == max(self._depths)
        return not self._titles and page == self._first and not depth and lone

    def _stays(self, size: float, depth: int) -> bool:
        """Whether what the detector calls a title is one."""
        if size < NEARLY * max(self._titles, default=0.0):
            return False
        kinds = (*self._depths.values(), *self._titles.values())
        return not depth or sum(sum(each.values()) - each[0] for each in kinds) < 2

    def _headings(self) -> dict[float, Counter[int]]:
        """Size of headings -> depths of their numbers, with titles that are none."""
        found = {size: Counter(depths) for size, depths in self._depths.items()}
        for size, depths in self._titles.items():
            for depth, count in depths.items():
                if not self._stays(size, depth):
                    found.setdefault(size, Counter())[depth] += count
        if not self._titles and len(found) > 1 and sum(found[max(found)].values()) == 1:
            del found[max(found)]  # the title
        return found

    def _level(self, block: Block) -> int:
        depth = _depth(block)
        if depth:
            return min(depth + 1, DEEPEST)
        if self._levels is None:
            self._levels = self._by_size()
        return self._levels.get(_size(block), 2)

    def _by_size(self) -> dict[float, int]:
        """The level of headings without a number, of each size."""
        headings = self._headings()
        classes = _classes(headings)
        numbered: list[int | None] = []
        for sizes in classes:
            depths: Counter[int] = sum((headings[size] for size in sizes), Counter())
            del depths[0]
            numbered.append(min(depths, key=lambda depth: (-depths[depth], depth)) + 1 if depths else None)
        levels, above = {}, 1
        for place, sizes in enumerate(classes):
            own = numbered[place]
            if own is None:
                below = min((each for each in numbered[place + 1 :] if each), default=DEEPEST + 1)
                own = max(2, min(above + 1, below - 1 if above < below - 1 else below))
            above = max(above, own)
            levels.update(dict.fromkeys(sizes, min(own, DEEPEST)))
        return levels


def is_entry(block: Block) -> bool:
    """Whether it is of a table of contents, or the like: other items have no level."""
    return block.type == "list_item" and block.level is not None


def _classes(sizes) -> list[list[float]]:
    """Sizes, the largest first, those together that differ little."""
    classes: list[list[float]] = []
    for size in sorted(sizes, reverse=True):
        if classes and classes[-1][0] - size <= CLASS:
            classes[-1].append(size)
        else:
            classes.append([size])
    return classes


def _edges(page: Page) -> list[tuple[str, Block]]:
    """The blocks at the upper and at the lower edge of a page that may be its header or footer, with which of them."""
    low = [
        block
        for block in page.blocks
        if len(block.lines) <= LINES and block.text and block.type in (*BODY, *FURNITURE, "title")
        if not is_entry(block)
    ]
    places = [(*_place(block, page), block) for block in low]
    above = sorted((each for each in places if each[1] <= EDGE), key=lambda each: each[0])
    below = sorted((each for each in places if each[0] >= 1 - EDGE), key=lambda each: -each[1])
    found = [("page_header", each) for *_, each in above[:OUTERMOST]]
    return found + [("page_footer", each) for *_, each in below[:OUTERMOST]]


def _place(block: Block, page: Page) -> tuple[float, float]:
    """The upper and the lower edge of a block, as shares of the page's height where the block is upright."""
    view = View(block.turn, page.width, page.height)
    _, top, _, bottom = view.box(block.bbox)
    height = max(view.size[1], 1)
    return top / height, bottom / height


def _keys(side: str, block: Block, page: Page) -> list[tuple[str, str, int]]:
    """Under what a block at the edge is counted. Places are in bands; a block counts in the nearer neighbour too."""
    text = _pattern(block, page.number)
    place = sum(_place(block, page)) / 2 / BAND
    band = int(place)
    return [(side, text, band), (side, text, band + (1 if place - band > 0.5 else -1))]


def _pattern(block: Block, page: int) -> str:
    """A text without its digits; a page number as what it is ahead of the page."""
    text = " ".join([block.marker or "", block.text]).strip().lower()
    number = re.fullmatch(r"\W*(?:(?:page|seite|p\.|s\.|стр\.)\s*)?(\d{1,4}|[ivxlc]{1,7})\W*", text)
    if number and (value := counted(number.group(1))) is not None:
        return f"#{value - page:+d}"
    return re.sub(r"\d+", "#", text)[:LETTERS]


def _size(block: Block) -> float:
    """Of a heading's letters, to half a point."""
    return round(2 * median(em(line) for line in block.lines)) / 2 if block.lines else 0.0


def _depth(block: Block) -> int:
    """How many parts the number of a heading has, 0 of one without."""
    number = number_of(block.text)
    return number.count(".") + 1 if number and number != block.text.strip() else 0
