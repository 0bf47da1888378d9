"""What a detector found on a page, and which of its regions each word is of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from densessl.documents.matching import ious, shares
from densessl.documents.parsing.layout.lines import em, gap
from densessl.documents.parsing.layout.text import is_marker
from densessl.documents.parsing.model import Box, Line, Word

SAME = 0.7  # IoU of two regions that are one
INSIDE = 0.8  # of a region's area that is in another one
SURER = 0.2  # by which texts must be surer than a table or figure around them, that they have its words
NEAR = 1.2  # ems between a word that no region has and one of a table or figure beside it
AROUND = 0.15  # of a table's words that are texts' in it, if it is rather a part of the page
FREE = 0.6  # of a gutter's width, which lies between words of two columns: either may be a little ragged
HOLDERS = ("table", "figure")
DRAWN = (*HOLDERS, "formula", "other")  # more than its words is to be seen of them, so their boxes stay as large
APART = ("caption", "footnote", "page_header", "page_footer")  # in a figure's box only because that is too large
# The names of DocLayNet and PubLayNet, and what others call the same, in small letters without what is no letter.
NAMES = {
    "title": "title",
    "sectionheader": "heading",
    "heading": "heading",
    "text": "text",
    "paragraph": "text",
    "plaintext": "text",
    "listitem": "list_item",
    "list": "list_item",
    "table": "table",
    "picture": "figure",
    "figure": "figure",
    "image": "figure",
    "caption": "caption",
    "footnote": "footnote",
    "formula": "formula",
    "equation": "formula",
    "pageheader": "page_header",
    "pagefooter": "page_footer",
}


@dataclass(frozen=True)
class Region:
    """bbox: in points. label: the detector's name of its class. score: its probability. second: the second-best label
    with the probability of that. drawing: whether it turned out to be a figure, whatever the detector calls it. turn:
    quarters clockwise by which it is turned, as of `Word`."""

    bbox: Box
    label: str
    score: float
    second: tuple[str, float] | None = None
    drawing: bool = False
    turn: int = 0

    @property
    def type(self) -> str:
        """Of `model.TYPES`."""
        return "figure" if self.drawing else type_of(self.label)


def type_of(label: str) -> str:
    """What a detector's class is, whatever the case and the hyphens of its name; "other" when it is not known."""
    return NAMES.get(re.sub(r"[\W_]", "", label.lower()), "other")


def settled(regions: Sequence[Region], words: Sequence[Word]) -> list[Region]:
    """Regions without doubles, best first. Of texts within a table or a figure and what is around them one remains: the
    texts, where they have half of its words or more and are surer by `SURER` in the mean, else what is around. A table
    with others in it goes where it is rather a part of the page, as `_several` says; else those do."""
    kept: list[Region] = []
    for region in sorted(regions, key=lambda each: -each.score):
        same = ious(_boxes([region]), _boxes(kept))[0] >= SAME
        if not same.any():
            kept.append(region)
            continue
        double = int(same.argmax())
        if kept[double].second is None and kept[double].label != region.label:
            kept[double] = replace(kept[double], second=(region.label, region.score))
    holds, inside_of = held(kept, words), _inside(kept)
    gone: set[int] = set()
    for holder, region in enumerate(kept):
        if region.type not in HOLDERS:
            continue
        parts = [each for each in np.flatnonzero(inside_of[:, holder]) if each != holder]
        inner = [each for each in parts if _is_part(kept[each], region, holds[each])]
        inside = holds[inner] & holds[holder] if inner else np.zeros((0, len(words)), bool)
        counts = inside.sum(1)
        texts = [place for place, each in enumerate(inner) if kept[each].type not in HOLDERS and counts[place]]
        if texts and inside[texts].any(0).sum() >= 0.5 * holds[holder].sum():
            mean = np.average([kept[inner[place]].score for place in texts], weights=counts[texts])
            if mean >= region.score + SURER:
                gone.add(holder)
                continue
        if _several(region, [kept[each] for each in inner], counts / max(1, holds[holder].sum())):
            gone.add(holder)
            continue
        gone.update(inner)
    return [region for place, region in enumerate(kept) if place not in gone]


def _several(holder: Region, inner: Sequence[Region], has: np.ndarray) -> bool:
    """Whether what was taken for a table is several, or one with text around it: by two tables in it that are as sure,
    or by one and texts, which the parts of a table seldom are taken for. has: of its words, the share of each."""
    tables = [each for each in inner if each.type == "table"]
    if holder.type != "table" or not tables:
        return False
    apart = all(a is b or gap(a.bbox, b.bbox, 0) >= 0 or gap(a.bbox, b.bbox, 1) >= 0 for a in tables for b in tables)
    if len(tables) > 1 and apart and np.mean([each.score for each in tables]) >= holder.score - SURER:
        return True
    texts = [(each.score, share) for each, share in zip(inner, has, strict=True) if each.type not in HOLDERS and share]
    scores, shares_of = np.array(texts).reshape(-1, 2).T
    return shares_of.sum() >= AROUND and np.average(scores, weights=shares_of) >= holder.score - 2 * SURER


def held(regions: Sequence[Region], words: Sequence[Word]) -> np.ndarray:
    """(regions, words) bool, whether the word's centre is in the region."""
    boxes = _boxes(regions)
    x, y = (_boxes(words)[:, :2] + _boxes(words)[:, 2:]).T / 2
    inside = (x >= boxes[:, :1]) & (x <= boxes[:, 2:3])
    return inside & (y >= boxes[:, 1:2]) & (y <= boxes[:, 3:])


def owners(
    regions: Sequence[Region],
    words: Sequence[Word],
    lines: Sequence[Line],
    between: Sequence[tuple[float, float]] = (),
) -> list[int]:
    """The place of the region that each word is of, -1 for none.

    Of regions that have the word's centre, one within another has it, else the one whose upper and lower edges are
    farther away. The words of a line that two texts share, one above the other, are all of the one that has most of it.
    A word beside others of its line is theirs even when the region does not reach so far. lines: of these very words.
    between: the gutters of the page, over which no word is another's.
    """
    holds, inside = held(regions, words), _inside(regions)
    first = holds.argmax(0) if len(regions) else np.zeros(len(words), int)
    owner = np.where(holds.any(0), first, -1).tolist()
    for place in np.flatnonzero(holds.sum(0) > 1):
        owner[place] = _best(np.flatnonzero(holds[:, place]), regions, inside, words[place])
    place_of = {id(word): place for place, word in enumerate(words)}
    for line in lines:
        places = [place_of[id(word)] for word in line.words]
        _agree(places, owner, regions, inside, words)
        _reach(places, owner, regions, words, em(line), between)
    return owner


def _agree(
    places: list[int], owner: list[int], regions: Sequence[Region], inside: np.ndarray, words: Sequence[Word]
) -> None:
    shares_of: Counter[int] = Counter()
    for place in places:
        if owner[place] >= 0:
            shares_of[owner[place]] += len(words[place].text)
    if len(shares_of) < 2:
        return
    most = max(shares_of, key=shares_of.__getitem__)
    for other in shares_of:
        a, b = regions[other], regions[most]
        if other == most or not {a.type, b.type}.isdisjoint(HOLDERS) or inside[other, most] or inside[most, other]:
            continue
        if _stacked(a.bbox, b.bbox):
            for place in places:
                if owner[place] == other:
                    owner[place] = most


def _reach(
    places: list[int],
    owner: list[int],
    regions: Sequence[Region],
    words: Sequence[Word],
    size: float,
    between: Sequence[tuple[float, float]],
) -> None:
    """From left to right, then back, what no region has goes to its neighbour's, and the marker of an item to that."""
    for way in (places, places[::-1]):
        for before, place in zip(way, way[1:], strict=False):
            if owner[place] >= 0 or owner[before] < 0:
                continue
            a, b = sorted((words[before].bbox, words[place].bbox))
            if parted(a, b, between):
                continue
            marker = words[place].bbox is a and is_marker(words[place].text)
            if b[0] - a[2] <= NEAR * size or (marker and regions[owner[before]].type not in HOLDERS):
                owner[place] = owner[before]


def parted(a: Box, b: Box, between: Sequence[tuple[float, float]]) -> bool:
    """Whether one of these gutters lies between two words, of which a stands left of b."""
    return any(min(b[0], right) - max(a[2], left) >= FREE * (right - left) for left, right in between)


def _best(candidates: np.ndarray, regions: Sequence[Region], inside: np.ndarray, word: Word) -> int:
    best = int(candidates[0])
    middle = (word.bbox[1] + word.bbox[3]) / 2
    for other in map(int, candidates[1:]):
        if inside[best, other]:
            continue
        if inside[other, best] or _depth(regions[other].bbox, middle) > _depth(regions[best].bbox, middle):
            best = other
    return best


def _is_part(region: Region, holder: Region, words: np.ndarray) -> bool:
    """Whether a region within a table or figure is but a part of it. words: (n,) bool, those that it has."""
    if region.type in HOLDERS:
        return holder.type == "table" and (region.type == "table" or bool(words.any()))
    return region.type not in APART


def _inside(regions: Sequence[Region]) -> np.ndarray:
    """(n, n) bool, whether one region lies in another."""
    return shares(_boxes(regions), _boxes(regions)) >= INSIDE


def _stacked(a: Box, b: Box) -> bool:
    return min(a[2], b[2]) - max(a[0], b[0]) > 0.5 * min(a[2] - a[0], b[2] - b[0])


def _depth(box: Box, middle: float) -> float:
    return min(middle - box[1], box[3] - middle)


def _boxes(things: Sequence[Region | Word]) -> np.ndarray:
    return np.array([each.bbox for each in things], float).reshape(-1, 4)
