"""Words that an engine passed over on a page, or of which it is not sure, shown to it again line by line.

Tesseract divides a page into columns before it reads. Doing so it loses numbers in tables, letters on coloured ground
and parts of words beside rules, while it reads each of them well when it stands by itself. So what is ink in regions of
text, and has no word, is cut out and put on a sheet of its own, dark on white, one piece below the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median
from threading import Event

import cv2
import numpy as np

from densessl.documents.parsing.layout.lines import holds
from densessl.documents.parsing.model import Box, Word
from densessl.documents.parsing.ocr import Engine, enlarged

SURE = 0.7  # confidence of a word of a table from which on it is not read again
BELIEVED, LEAST = 0.6, 0.4  # confidence of a new word that replaces others, and that is taken where there was none
# In ems, of the usual size of letters on the page.
AROUND = 2.5  # of the window whose median is the ground on which letters stand
HIGH, WIDE, LOW = 2.5, 6.0, 0.08  # ink that is higher or wider is a rule or a picture, that is lower a speck
TALL = 0.4  # of a piece at least one letter, which leaves out rules of dots, and dashes
SPARE, BESIDE = 0.12, 0.25  # around a word that is its own, and beside it, where what stands is cut off from it
APART = 0.9  # between pieces that are read each by itself
MARGIN = 0.6  # around a piece on the sheet
CONTRAST, FAINT = 0.3, 40  # of the largest difference from the ground, and of 255, that make ink
BARS = "|¦"  # for which an engine takes rules
MOST = 600  # pieces of a page; more are noise, of which nothing is read


@dataclass(frozen=True)
class Piece:
    """Ink that is read by itself. box: where it is, in pixels. shown: it (h, w) uint8, dark on white."""

    box: Box
    shown: np.ndarray


def read_again(
    engine: Engine,
    picture: np.ndarray,
    dpi: float,
    words: Sequence[Word],
    tables: Sequence[Box],
    texts: Sequence[Box],
    stop: Event | None = None,
) -> list[Word]:
    """The words of a page, in points, with those that were overlooked.

    picture: (H, W, 3) uint8 RGB, of so many pixels an inch. words: that `engine` has read there. tables, texts: regions
    in points; in both of them ink without a word is read, in tables unsure words too, and what is a rule goes. Raises
    as `Engine.read`.
    """
    # A bar in a table is the rule between two of its cells.
    words = [word for word in words if word.text.strip(BARS) or not any(holds(table, word.bbox) for table in tables)]
    if not (tables or texts) or not words:
        return words
    picture, dpi = enlarged(picture, dpi)
    scale = dpi / 72
    em = median(word.size for word in words) * scale
    page = Page(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), [_times(each, scale) for each in (*tables, *texts)], em)
    places = [_times(word.bbox, scale) for word in words]
    held = [_times(each, scale) for each in tables]
    unsure = {
        number
        for number, (word, place) in enumerate(zip(words, places, strict=True))
        if _is_unsure(word) and any(holds(table, place) for table in held)
    }
    cut = page.cut([place for number, place in enumerate(places) if number not in unsure])
    unsure |= {number for number, place in enumerate(places) if number not in unsure and cut(place)}
    pieces = page.pieces(page.free([place for number, place in enumerate(places) if number not in unsure]))
    if len(pieces) > MOST:
        return words
    found = [replace(word, bbox=_times(word.bbox, 72 / dpi)) for word in _read(engine, pieces, em, dpi, stop)]
    return _chosen(words, unsure, found)


class Page:
    """The ink in some regions, in pixels, of a picture (H, W) uint8. em: pixels of the usual letters."""

    def __init__(self, grey: np.ndarray, regions: Sequence[Box], em: float) -> None:
        height, width = grey.shape
        inside = np.zeros((height, width), bool)
        for region in regions:
            inside[_slices(region, 0)] = True
        self._em, self._grey = em, grey
        self._ground = cv2.medianBlur(grey, min(int(AROUND * em) | 1, 255))
        away = cv2.absdiff(grey, self._ground)
        away[~inside] = 0
        ink = away > max(CONTRAST * int(away.max()), FAINT)
        _, self._labels, self._about, self._middles = cv2.connectedComponentsWithStats(ink.astype(np.uint8))
        self._tall = self._about[:, cv2.CC_STAT_HEIGHT] >= TALL * em

    def free(self, taken: Sequence[Box]) -> np.ndarray:
        """Whether each part of the ink is of a letter, and of no word of these."""
        own = np.zeros(self._labels.shape, bool)
        for place in taken:
            own[_slices(place, SPARE * self._em)] = True
        across, down = self._middles.astype(int).T
        _, _, wide, high, _ = self._about.T
        letters = (high <= HIGH * self._em) & (wide <= WIDE * self._em) & (high >= LOW * self._em)
        letters[0] = False  # the ground
        return letters & ~own[np.clip(down, 0, own.shape[0] - 1), np.clip(across, 0, own.shape[1] - 1)]

    def cut(self, taken: Sequence[Box]) -> Callable[[Box], bool]:
        """What says of a word whether it ends where letters go on that are of none of these words."""
        free = (self.free(taken) & self._tall)[self._labels]

        def ends(place: Box) -> bool:
            left, top, right, bottom = place
            return bool(free[_slices((left - BESIDE * self._em, top, right + BESIDE * self._em, bottom), 0)].any())

        return ends

    def pieces(self, free: np.ndarray) -> list[Piece]:
        """The free ink, in pieces that have a letter."""
        ink, tall = free[self._labels], (free & self._tall)[self._labels]
        reach = np.ones((max(1, int(0.3 * self._em)), max(1, int(APART * self._em))), np.uint8)
        count, labels, about, _ = cv2.connectedComponentsWithStats(cv2.dilate(ink.astype(np.uint8), reach))
        found = []
        for number, (x, y, wide, high, _) in enumerate(about[:count]):
            own = labels[y : y + high, x : x + wide] == number
            part = ink[y : y + high, x : x + wide] & own
            if number == 0 or not (tall[y : y + high, x : x + wide] & own).any():
                continue
            rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
            box = (x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1)
            if box[3] - box[1] <= HIGH * self._em:
                found.append(Piece(tuple(map(float, box)), self._shown(box)))
        return sorted(found, key=lambda piece: (piece.box[1], piece.box[0]))

    def _shown(self, box: tuple[int, int, int, int]) -> np.ndarray:
        left, top, right, bottom = box
        away = cv2.absdiff(self._grey[top:bottom, left:right], self._ground[top:bottom, left:right])
        return 255 - cv2.convertScaleAbs(away, alpha=255 / max(int(away.max()), FAINT))


def _read(engine: Engine, pieces: Sequence[Piece], em: float, dpi: float, stop: Event | None) -> Iterator[Word]:
    """The words of pieces, in pixels of the page."""
    margin = round(MARGIN * em)
    while pieces:
        tops, height = [], margin
        for piece in pieces:
            below = height + piece.shown.shape[0] + 2 * margin
            if tops and below > engine.longest:
                break
            tops.append(height)
            height = below
        sheet = np.full((height, max(each.shown.shape[1] for each in pieces) + 4 * margin), 255, np.uint8)
        for piece, top in zip(pieces, tops, strict=False):
            high, wide = piece.shown.shape
            sheet[top : top + high, 2 * margin : 2 * margin + wide] = piece.shown
        for word in engine.read(cv2.cvtColor(sheet, cv2.COLOR_GRAY2RGB), dpi, stop, sheet=True):
            left, above, right, below = _times(word.bbox, dpi / 72)
            number = int(np.searchsorted(tops, (above + below) / 2 + margin, side="right")) - 1
            if number >= 0 and word.text.strip(BARS):
                x, y = pieces[number].box[0] - 2 * margin, pieces[number].box[1] - tops[number]
                yield replace(word, bbox=(left + x, above + y, right + x, below + y))
        pieces = pieces[len(tops) :]


def _chosen(words: Sequence[Word], unsure: set[int], found: Sequence[Word]) -> list[Word]:
    """The words, of which new ones replace unsure ones where they are surer or sure enough."""
    kept, dropped, instead = [], set(), set()
    for number, word in enumerate(words):
        if number in unsure:
            there = [place for place, other in enumerate(found) if _meet(word.bbox, other.bbox)]
            sure = mean(found[place].confidence or 0.0 for place in there) if there else 0.0
            if there and sure >= min(word.confidence or 0.0, BELIEVED):
                instead |= set(there)
                continue
            dropped |= set(there)
        kept.append(word)
    return kept + [
        word
        for place, word in enumerate(found)
        if place not in dropped and (place in instead or (word.confidence or 0.0) >= LEAST)
    ]


def _is_unsure(word: Word) -> bool:
    """Whether it is to be read again; a bar beside letters is the rule that they stand at."""
    return (word.confidence or 0.0) < SURE or any(each in word.text for each in BARS)


def _meet(one: Box, other: Box) -> bool:
    """Whether two words stand on the same line at the same place."""
    high = min(one[3], other[3]) - max(one[1], other[1])
    beside = min(one[2], other[2]) > max(one[0], other[0])
    return beside and high > 0.4 * min(one[3] - one[1], other[3] - other[1])


def _times(box: Box, scale: float) -> Box:
    return tuple(side * scale for side in box)


def _slices(box: Box, spare: float) -> tuple[slice, slice]:
    left, top, right, bottom = box
    return (
        slice(max(int(top - spare), 0), max(int(bottom + spare), 0)),
        slice(max(int(left - spare), 0), max(int(right + spare), 0)),
    )
