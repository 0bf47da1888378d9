"""Whose each pixel is: read from a second drawing of the page in which each element has a colour of its own.

Both drawings are of the same strokes at the same places and are smoothed alike, so that what has ink in one has ink in
the other. An element's colour is (r, g, 0) on white: how dark the blue is tells how much of the pixel is covered, with
which red and green tell the element even where an edge covers a part. Decorations, which lie below, are
(255, 255, 254), so that they hide nothing. What is too faint to tell, or mixed of two elements, is given to its nearest
neighbour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from densessl.data.synthetic.pages.page import DECORATION, Colour, Element, Page, extent

NOBODY = 0
DECORATED = np.uint16(65535)  # the owner of decorations
_UNDER = (1.0, 1.0, 254 / 255)
_UNCOVER = np.float32(255) / np.maximum(255 - np.arange(256), 1).astype(np.float32)  # by blue: one over cover
_SHIFTS = ((0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))


class Palette:
    """A colour for each element of a page, as far from each other as can be.

    The element of number n (from 1, decorations not counted) has red and green `240 * (n % levels, n // levels) /
    (levels - 1)`.
    """

    def __init__(self, page: Page) -> None:
        self.elements = [element for element in page.elements if element.kind != DECORATION]
        self.levels = max(2, math.ceil(math.sqrt(len(self.elements) + 1)))
        self.step = 240 // (self.levels - 1)
        self.page = page
        self.numbers = {id(element): number for number, element in enumerate(self.elements, 1)}
        if self.step < 8:
            raise ValueError(f"A page of {len(self.elements)} elements has more than there are colours for.")

    def __call__(self, element: Element) -> Colour:
        if element.kind == DECORATION:
            return _UNDER
        low, high = self.numbers[id(element)] % self.levels, self.numbers[id(element)] // self.levels
        return low * self.step / 255, high * self.step / 255, 0.0

    def read(self, image: np.ndarray) -> np.ndarray:
        """The coloured page, uint8 RGB (H, W, 3) -> owners, uint16 (H, W): numbers from 1, `NOBODY`, `DECORATED`."""
        height, width = image.shape[:2]
        red, green, blue = cv2.split(image)
        owners = np.zeros((height + 2, width + 2), dtype=np.uint16)
        owners[1:-1, 1:-1][blue == 254] = DECORATED
        found = np.flatnonzero(blue < 254)
        shades = np.stack([red.ravel()[found], green.ravel()[found]]).astype(np.float32)
        # Undo the mixing with white; what is left of white divided by little cover is a large error.
        uncover = _UNCOVER[blue.ravel()[found]]
        levels = (255 - (255 - shades) * uncover) / np.float32(self.step)
        nearest = np.rint(levels)
        sure = (np.abs(levels - nearest) < 0.3).all(0) & (uncover < 0.18 * self.step)
        numbers = (nearest[0] + self.levels * nearest[1]).astype(np.int32)
        sure &= (nearest >= 0).all(0) & (nearest[0] < self.levels)
        sure &= (numbers >= 1) & (numbers <= len(self.elements))
        sure[sure] = self._near(found[sure], numbers[sure], width, height)
        places = found + 2 * (found // width) + width + 3
        flat = owners.ravel()
        flat[places[sure]] = numbers[sure]
        shifts = [row * (width + 2) + column for row, column in _SHIFTS]
        lone = _alone(flat, places[sure], shifts)
        unsure = np.concatenate([places[~sure], lone])
        flat[lone] = NOBODY
        _spread(flat, unsure, shifts)
        return owners[1:-1, 1:-1]

    def _near(self, found: np.ndarray, numbers: np.ndarray, width: int, height: int) -> np.ndarray:
        """Which of the pixels lie where the element's strokes are: not so mixtures that look like one far away."""
        scale = np.array([width / self.page.width, height / self.page.height] * 2)
        frames = np.zeros((len(self.elements) + 1, 4))
        for number, element in enumerate(self.elements, 1):
            extents = np.array([extent(stroke) for stroke in element.strokes])
            frames[number] = *extents[:, :2].min(axis=0), *extents[:, 2:].max(axis=0)
        left, top, right, bottom = (frames * scale + [-2, -2, 2, 2]).astype(np.int32).T
        rows, columns = np.divmod(found.astype(np.int32), width)
        across = (columns >= left[numbers]) & (columns <= right[numbers])
        return across & (rows >= top[numbers]) & (rows <= bottom[numbers])


def _alone(flat: np.ndarray, places: np.ndarray, shifts: Sequence[int]) -> np.ndarray:
    """Places without a neighbour of their own number, but with one of another: mixtures that look like a third."""
    own = flat[places]
    for shift in shifts:
        apart = flat[places + shift] != own
        places, own = places[apart], own[apart]
    other = np.zeros(len(places), dtype=bool)
    for shift in shifts:
        beside = flat[places + shift]
        other |= (beside != NOBODY) & (beside != DECORATED)
    return places[other]


def _spread(flat: np.ndarray, places: np.ndarray, shifts: Sequence[int]) -> None:
    """Give places the number of a neighbour, from the sure ones outwards; lone ones that of the nearest."""
    while len(places):
        found = np.zeros(len(places), dtype=flat.dtype)
        for shift in shifts:
            beside = flat[places + shift]
            take = (found == NOBODY) & (beside != NOBODY) & (beside != DECORATED)
            found[take] = beside[take]
        if not found.any():
            break
        flat[places[found != NOBODY]] = found[found != NOBODY]
        places = places[found == NOBODY]
    width = shifts[3]
    owned = np.flatnonzero((flat != NOBODY) & (flat != DECORATED)) if len(places) else places
    for place in places if len(owned) else ():
        distance = (owned // width - place // width) ** 2 + (owned % width - place % width) ** 2
        flat[place] = flat[owned[distance.argmin()]]


def strays(image: np.ndarray, owners: np.ndarray) -> int:
    """How many pixels of the page, uint8 RGB (H, W, 3), have ink and no owner: 0 where it is labelled whole."""
    unowned = (owners == NOBODY).astype(np.uint8)
    white = cv2.inRange(image, (255, 255, 255), (255, 255, 255))
    return int(cv2.countNonZero(cv2.bitwise_and(unowned, cv2.bitwise_not(white))))


def boxes(owners: np.ndarray, count: int) -> np.ndarray:
    """The tight box of each element, int64 (count, 4): x, y and one past the last x and y; all 0 of one without ink."""
    rows, columns = np.nonzero((owners != NOBODY) & (owners != DECORATED))
    # Pixels come row by row, so that the first and last of an element tell its rows.
    numbers = owners[rows, columns].astype(np.int64) - 1
    found = np.zeros((count, 4), dtype=np.int64)
    first, last = np.full(count, -1), np.full(count, -1)
    first[numbers[::-1]], last[numbers] = rows[::-1], rows
    left, right = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    np.minimum.at(left, numbers, columns)
    np.maximum.at(right, numbers, columns)
    there = last >= 0
    found[there] = np.stack([left, first, right + 1, last + 1], axis=1)[there]
    return found
