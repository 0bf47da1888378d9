"""Which listings and entries of contents are blocks of their own, and what they leave of the regions that have them.

Texts and lists give up the words of both. A table or a figure gives up a listing where it has hardly anything else, or
where the listing stands on one side of it: what is left on the other side, such as what the listing draws, is a figure.
One that consists of entries for the better part is no table or figure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from densessl.documents.parsing.layout.contents import Entry, entries
from densessl.documents.parsing.layout.lines import boxed, em, gap, holds, union
from densessl.documents.parsing.layout.listings import listings, looks_like_code
from densessl.documents.parsing.layout.regions import HOLDERS, Region
from densessl.documents.parsing.model import FURNITURE, Box, Line, Word

NOBODY, CODE, ENTRY = -1, -2, -3  # in the place of the region that has a word: none, a listing, an entry of contents
NOTHING: Box = (0.0, 0.0, 0.0, 0.0)
NEARLY = 0.9  # of the letters of a table or figure: where a listing has so many, it is the listing
PART = 0.4  # of them, where the rest is on another side
FILLED = 0.6  # of a figure's height and width that a listing takes which is all of it
LISTED = 0.6  # of the letters of a table or figure: where entries of contents have so many, it is none
ROWS = 3  # of a listing that is on one side, at least
ASIDE = 1.0  # ems between it and the rest, at least
LEAST = 2.0  # ems that the rest is wide and high, at least


def listed(
    regions: Sequence[Region], words: Sequence[Word], lines: Sequence[Line], owner: np.ndarray
) -> tuple[list[tuple[Entry, Region | None]], set[int]]:
    """The entries of contents, with the region that has most of each, and the places of regions that are nothing else.

    owner: as of `claimed`; says `ENTRY` of the words of entries afterwards.
    """
    place_of = {id(word): place for place, word in enumerate(words)}

    def of(lines: Sequence[Line]) -> np.ndarray:
        return np.array([place_of[id(word)] for line in lines for word in line.words])

    def running(line: Line) -> bool:
        return any(each != NOBODY and regions[each].type in FURNITURE for each in owner[of([line])])

    found = [(entry, of(entry.lines)) for entry in entries(lines, running)]
    if not found:
        return [], set()
    letters, first, gone = np.array([len(word.text) for word in words], int), owner.copy(), set()
    for place, region in enumerate(regions):
        own = first == place
        inner = [places[own[places]] for _, places in found]
        share = sum(letters[each].sum() for each in inner) / max(1, letters[own].sum())
        if share == 1 or share >= LISTED and region.type in HOLDERS:
            gone.add(place)
            owner[own] = NOBODY
        elif region.type in HOLDERS:
            found = [each for each, had in zip(found, inner, strict=True) if not len(had)]
    for _, places in found:
        owner[places] = ENTRY
    return [(entry, _most_of(places, first, regions, words)) for entry, places in found], gone


def unlisted(lines: Sequence[Line], words: Sequence[Word], owner: np.ndarray) -> list[Line]:
    """What entries of contents leave of lines. owner: as `listed` leaves it."""
    taken = {id(words[place]) for place in np.flatnonzero(owner == ENTRY)}
    if not taken:
        return list(lines)
    left = ([word for word in line.words if id(word) not in taken] for line in lines)
    return [Line(own, union(word.bbox for word in own)) for own in left if own]


def _most_of(
    places: Sequence[int], owner: np.ndarray, regions: Sequence[Region], words: Sequence[Word]
) -> Region | None:
    """The region that has most letters of these words."""
    counts = Counter(each for place in places if (each := int(owner[place])) >= 0 for _ in words[place].text)
    return regions[max(counts, key=counts.__getitem__)] if counts else None


def claimed(
    regions: list[Region], words: Sequence[Word], lines: Sequence[Line], owner: np.ndarray, body: float
) -> tuple[list[tuple[list[Line], Region | None]], set[int]]:
    """The rows of each listing, with the region that has most of it, and the places of regions that are nothing else.

    owner: (words,) the place of the region that has each word or `NOBODY`; says `CODE` of the words of listings
    afterwards, and `NOBODY` of those that a region gives up. regions: those that a listing takes a side of become
    smaller in place, and figures. body: the page's `body_size`.
    """
    place_of = {id(word): place for place, word in enumerate(words)}
    letters = np.array([len(word.text) for word in words], int)

    def heads(row: Line) -> bool:
        kinds = {regions[each].type for each in owner[[place_of[id(word)] for word in row.words]] if each >= 0}
        prominent = em(row) > body or all(word.bold for word in row.words)
        return bool(kinds & {"title", "heading"}) and prominent or not kinds.isdisjoint(FURNITURE)

    groups = [
        (rows, np.array([place_of[id(word)] for row in rows for word in row.words]))
        for rows in listings(lines, body, heads)
    ]
    first, gone = owner.copy(), set()
    for place, region in enumerate(regions):
        own = first == place
        inner = [(rows, places) for rows, places in groups if own[places].any()]
        if region.type not in HOLDERS or not inner:
            continue
        code = np.zeros(len(words), bool)
        code[np.concatenate([places for _, places in inner])] = True
        others = np.flatnonzero(own & ~code)
        share = letters[own & code].sum() / letters[own].sum()
        left = _left([rows for rows, _ in inner], region, [words[each] for each in others], share)
        if left is None:
            groups = [each for each in groups if not own[each[1]].any()]
        elif left == NOTHING:
            gone.add(place)
            owner[others] = NOBODY
        else:
            regions[place] = replace(region, bbox=left, drawing=True)
            owner[[each for each in others if not holds(left, words[each].bbox)]] = NOBODY
    found = []
    for rows, places in groups:
        owner[places] = CODE
        found.append((rows, _most_of(places, first, regions, words)))
    return found, gone


def _left(inner: Sequence[list[Line]], region: Region, others: Sequence[Word], share: float) -> Box | None:
    """What these listings leave of the table or figure that they are in, maybe `NOTHING`; None where they are but a
    part of it. share: of its letters, theirs. others: its words that they do not have."""
    rows, whole = [row for each in inner for row in each], region.bbox
    if not looks_like_code(rows):
        return None
    box, size = boxed(rows), em(rows[0])
    filled = all(box[axis + 2] - box[axis] >= FILLED * (whole[axis + 2] - whole[axis]) for axis in (0, 1))
    if share >= NEARLY and filled:
        return NOTHING
    rest = _rest(box, whole, others, size) if share >= PART and len(rows) >= ROWS else None
    return NOTHING if rest is None and share >= NEARLY and region.type == "table" else rest


def _rest(box: Box, whole: Box, others: Sequence[Word], size: float) -> Box | None:
    """The largest part of a box on one side of a listing, which all other words are in, or beside with the listing."""
    x0, y0, x1, y1 = whole
    space = ASIDE * size
    parts = [
        (box[2] + space, y0, x1, y1),
        (x0, y0, box[0] - space, y1),
        (x0, box[3] + space, x1, y1),
        (x0, y0, x1, box[1] - space),
    ]
    fine = [
        part
        for part, axis in zip(parts, (0, 0, 1, 1), strict=True)
        if min(part[2] - part[0], part[3] - part[1]) >= LEAST * size
        and all(_within(part, word, axis) or axis == 0 and gap(part, word.bbox, axis) >= 0 for word in others)
        and any(_within(part, word, axis) for word in others)
    ]
    return max(fine, key=lambda part: (part[2] - part[0]) * (part[3] - part[1]), default=None)


def _within(part: Box, word: Word, axis: int) -> bool:
    return part[axis] <= word.bbox[axis] and word.bbox[axis + 2] <= part[axis + 2]
