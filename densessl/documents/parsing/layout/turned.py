"""Which parts of a page run in another direction than the rest of it, and where these are read.

Each part is looked at in the view of the page in which it is upright: a landscape table with its caption, say, among
upright text. What stands in a table or figure is of its part whatever its own direction, and so is what runs along the
side of a figure, which is the name of an axis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from densessl.documents.matching import shares
from densessl.documents.parsing.layout.lines import em, gap, holds, lines_of, union
from densessl.documents.parsing.layout.missed import EDGE
from densessl.documents.parsing.layout.order import reading_order
from densessl.documents.parsing.layout.regions import DRAWN, Region, held
from densessl.documents.parsing.model import FURNITURE, Box, Line, Word
from densessl.documents.parsing.views import View

MOSTLY = 2 / 3  # of a page's letters run in one direction, if the page is said to
MANY = 100  # letters in another direction, from which on the page is looked at from there too
COVERED = 0.5  # of a region, that one seen from there has
AXIS = 4.0  # ems between a figure and what its axes say


def prevailing(words: Sequence[Word]) -> int:
    """The turn of a page by its words: that of two thirds of the letters, else 0."""
    letters = _letters(words)
    turn = max(letters, key=letters.__getitem__, default=0)
    return turn if letters[turn] >= MOSTLY * letters.total() else 0


def others(regions: Sequence[Region], words: Sequence[Word]) -> list[int]:
    """The turns in which many words run that are not just written into something upright, such as the names of columns.

    regions: of the page as it lies.
    """
    if not any(word.turn for word in words):
        return []
    within = held(regions, words)
    upright = [not _main([words[each] for each in np.flatnonzero(inner)]) for inner in within]
    free = ~within[upright].any(0)
    letters = _letters([word for word, each in zip(words, free, strict=True) if each])
    return sorted(turn for turn, count in letters.items() if turn and count >= MANY)


def joined_views(seen: Sequence[Region], there: Sequence[Region], turn: int, words: Sequence[Word]) -> list[Region]:
    """Regions of the page as it lies and of its view of this turn, with places on the former: of what has words mostly
    of that turn those of the view remain, but for figures that are seen from both sides."""
    own = [replace(each, turn=turn) for each in there if _of(each, words) == turn]
    if not own:
        return list(seen)
    share = shares(np.array([each.bbox for each in seen], float).reshape(-1, 4), np.array([each.bbox for each in own]))
    plain = np.array([each.type != "figure" for each in own])
    kept, doubled = [], np.zeros(len(own), bool)
    for region, covered in zip(seen, share >= COVERED, strict=True):
        if region.type == "figure" and not (covered & plain).any():
            doubled |= covered & ~plain
        elif covered.any() and _of(region, words) == turn:
            continue
        kept.append(region)
    return kept + [each for each, double in zip(own, doubled, strict=True) if not double]


def facing(regions: Sequence[Region], words: Sequence[Word]) -> list[Region]:
    """Regions with the turn of their words. Figures keep theirs: their axes are named in any direction."""
    if not any(word.turn for word in words):
        return list(regions)
    return [each if each.type == "figure" else replace(each, turn=_of(each, words)) for each in regions]


def parts(
    regions: Sequence[Region], words: Sequence[Word], width: float, height: float
) -> list[tuple[View, list[Region], list[Word]]]:
    """The views of a page that something is upright in, with the regions and words of each, places as they are there.

    Each region and word is in one of them. The page as it lies is the first.
    """
    turns = {0, *(region.turn for region in regions), *(word.turn for word in words)}
    if turns == {0}:
        return [(View(0, width, height), list(regions), list(words))]
    of = _parts_of(regions, words, width, height)
    found = []
    for turn in sorted(turns):
        view = View(turn, width, height)
        own = [
            replace(each, bbox=view.box(each.bbox), turn=view.of(each.turn)) for each in regions if each.turn == turn
        ]
        inner = [word for word, each in zip(words, of, strict=True) if each == turn]
        if not turn or own or inner:
            found.append((view, own, view.words(inner)))
    return found


def ordered(groups: Sequence[tuple[View, Sequence[Box], Sequence[str]]]) -> list[tuple[int, int]]:
    """What a page consists of in reading order, each by the number of its view and its place in that.

    groups: of each view the boxes, as they lie in it, and their types. What is turned is read in its own order, all of
    it at one place, unless anything else stands between.
    """
    units: list[list[tuple[int, int]]] = []
    boxes: list[Box] = []
    types: list[str] = []
    shown = [[view.back.box(each) for each in own] for view, own, _ in groups]
    for number, (view, own, kinds) in enumerate(groups):
        rest = [box for other, each in enumerate(shown) if other != number for box in each]
        alone = [[each] for each in range(len(own))]
        if view.turn:
            body = [each for each in reading_order(own, kinds, view.size[0]) if kinds[each] not in FURNITURE]
            if len(body) > 1 and not _between(rest, [shown[number][each] for each in body]):
                alone = [body, *(unit for unit in alone if kinds[unit[0]] in FURNITURE)]
        for unit in alone:
            units.append([(number, each) for each in unit])
            boxes.append(union(shown[number][each] for each in unit))
            types.append(kinds[unit[0]] if len(unit) == 1 else "figure")
    return [each for place in reading_order(boxes, types, groups[0][0].width) for each in units[place]]


def _letters(words: Sequence[Word]) -> Counter[int]:
    found: Counter[int] = Counter()
    for word in words:
        found[word.turn] += len(word.text)
    return found


def _main(words: Sequence[Word]) -> int:
    """The turn of most letters."""
    letters = _letters(words)
    return max(letters, key=lambda turn: (letters[turn], -turn), default=0)


def _of(region: Region, words: Sequence[Word]) -> int:
    return _main([word for word in words if holds(region.bbox, word.bbox)])


def _parts_of(regions: Sequence[Region], words: Sequence[Word], width: float, height: float) -> list[int]:
    """The turn of the view that each word is of."""
    turns = [word.turn for word in words]
    within = held(regions, words)
    facing = np.array([[region.turn == turn for turn in turns] for region in regions], bool).reshape(within.shape)
    free = ~(within & facing).any(0)
    drawn = [place for place, region in enumerate(regions) if region.type in DRAWN]
    drawn.sort(key=lambda place: _area(regions[place].bbox))
    for word in np.flatnonzero(free):
        around = next((place for place in drawn if within[place, word]), None)
        if around is not None:
            turns[word], free[word] = regions[around].turn, False
    figures = [region for region in regions if region.type == "figure"]
    place_of = {id(word): place for place, word in enumerate(words)}
    for line in lines_of([word for word, each in zip(words, free, strict=True) if each]) if figures else []:
        figure = next((each for each in figures if _is_axis(line, each, width, height)), None)
        if figure is not None:
            for word in line.words:
                turns[place_of[id(word)]] = figure.turn
    return turns


def _is_axis(line: Line, figure: Region, width: float, height: float) -> bool:
    """Whether a line runs along a side of a figure that stands, up or down, and not where headers of pages do."""
    if (line.turn - figure.turn) % 2 == 0:
        return False
    view = View(line.turn, width, height)
    box, other = view.box(line.bbox), view.box(figure.bbox)
    inner = EDGE * view.size[1] <= box[1] and box[3] <= (1 - EDGE) * view.size[1]
    return inner and other[0] <= box[0] and box[2] <= other[2] and gap(box, other, 1) <= AXIS * em(line)


def _between(boxes: Sequence[Box], parts: Sequence[Box]) -> bool:
    """Whether the middle of any of these boxes lies within what is around the parts."""
    around = union(parts)
    return any(holds(around, box) for box in boxes)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
