"""Whose each pixel is: read from a second drawing of the page in which each element has a colour of its own.

Both drawings are of the same strokes at the same places and are smoothed alike, so that what has ink in one has ink in
the other. An element's colour is (r, g, 0) on white: how dark the blue is tells how much of the pixel is covered, with
which red and green tell the element even where an edge covers a part. Decorations, which lie below, are (255, 255, 254),
so that they hide nothing. What is too faint to tell, or mixed of two elements, is given to its nearest neighbour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from densessl.data.synthetic.pages.page import DECORATION, Colour, Element, Page

NOBODY = 0
DECORATED = np.uint16(65535)  # the owner of decorations
_UNDER = (1.0, 1.0, 254 / 255)
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
        owners = np.zeros((height + 2, width + 2), dtype=np.uint16)
        owners[1:-1, 1:-1][image[..., 2] == 254] = DECORATED
        rows, columns = np.nonzero(image[..., 2] < 254)
        pixels = image[rows, columns].astype(np.float32)
        cover = (255 - pixels[:, 2]) / 255
        # Undo the mixing with white; what is left of white divided by little cover is a large error.
        shades = 255 - (255 - pixels[:, :2]) / cover[:, None]
        levels = np.rint(shades / self.step)
        sure = (np.abs(shades - levels * self.step) < 0.3 * self.step).all(1) & (2.5 / cover < 0.45 * self.step)
        numbers = (levels[:, 0] + self.levels * levels[:, 1]).astype(np.int64)
        sure &= (levels >= 0).all(1) & (levels < self.levels).all(1)
        sure &= (numbers >= 1) & (numbers <= len(self.elements))
        places = (rows + 1) * (width + 2) + columns + 1
        flat = owners.ravel()
        flat[places[sure]] = numbers[sure]
        shifts = [row * (width + 2) + column for row, column in _SHIFTS]
        sure &= ~_alone(flat, places, shifts, sure, cover)
        flat[places[~sure]] = NOBODY
        _spread(flat, places[~sure], shifts)
        return owners[1:-1, 1:-1]


def _alone(
    flat: np.ndarray, places: np.ndarray, shifts: Sequence[int], sure: np.ndarray, cover: np.ndarray
) -> np.ndarray:
    """Pixels without a neighbour of their own number, but with one of another: mixtures that look like a third."""
    own = flat[places]
    same, other = np.zeros(len(places), dtype=bool), np.zeros(len(places), dtype=bool)
    for shift in shifts:
        beside = flat[places + shift]
        same |= beside == own
        other |= (beside != own) & (beside != NOBODY) & (beside != DECORATED)
    return sure & ~same & other


def _spread(flat: np.ndarray, places: np.ndarray, shifts: Sequence[int]) -> None:
    """Give pixels the number of a neighbour, from the sure ones outwards."""
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


def strays(image: np.ndarray, owners: np.ndarray) -> int:
    """How many pixels of the page as it looks, uint8 RGB (H, W, 3), have ink and no owner: 0 for a page labelled whole."""
    return int((image.min(axis=2) < 255)[owners == NOBODY].sum())


def boxes(owners: np.ndarray, count: int) -> np.ndarray:
    """The tight box of each element, int64 (count, 4): x, y and one past the last x and y; all 0 of one without ink."""
    rows, columns = np.nonzero((owners != NOBODY) & (owners != DECORATED))
    numbers = owners[rows, columns].astype(np.int64) - 1
    found = np.zeros((count, 4), dtype=np.int64)
    for place, values, first in ((0, columns, True), (1, rows, True), (2, columns, False), (3, rows, False)):
        edge = np.full(count, np.iinfo(np.int64).max if first else -1)
        (np.minimum if first else np.maximum).at(edge, numbers, values)
        found[:, place] = edge if first else edge + 1
    found[found[:, 2] == 0] = 0
    return found
