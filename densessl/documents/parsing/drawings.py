"""Which tables of a detector are drawings: boxes with arrows between them, circuits, plots.

A table has lines from one edge to another, across and upright, and words. A drawing has lines that lie aslant or are
bent, or that end anywhere; one is believed where the cells that were found say nothing for the most part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import cv2
import numpy as np

from densessl.documents.parsing.model import Box, Table, Word

DARK = 150  # of 255: what is darker is ink
LINE = 1.5  # ems that a line is long, at least
BENT = 1.2  # ems that what is no line and no word reaches, at least
ASLANT = 0.15  # of its longer side, that its other one has at least: lines of a scan that is turned a little have less
THIN = 0.35  # of the box around it, that it inks at most: more is a sign or an area
WIDE = 0.5  # ems that a line is wide, at most
FREE = 0.4  # ems around its end without any line across, where it ends anywhere
WHOLE = 0.8  # of the height, from which on a line is one of columns
LOOSE = 2  # lines that end anywhere, at least, and half of all that are upright
SAYING = 0.7  # of the cells have words, from which on drawings stand in a table
FULL = 0.15  # of the box, which words of a drawing take at most: more is text that has something drawn in it
USUAL = 9.0  # points of letters where there are none
LEAST = 8  # pixels of a side below which nothing is to be seen


def is_drawing(picture: np.ndarray, box: Box, words: Sequence[Word], scale: float, table: Callable[[], Table]) -> bool:
    """Whether the picture shows a drawing where the detector sees a table.

    picture: of the page, (H, W, 3) uint8 RGB. box: in points. words: in it. scale: pixels a point. table: reads its
    cells, which is done only where something is drawn.
    """
    if _area([word.bbox for word in words]) > FULL * _area([box]):
        return False
    size = scale * median([word.size or word.bbox[3] - word.bbox[1] for word in words] or [USUAL])
    ink = ink_of(picture, box, words, scale)
    if min(ink.shape) < LEAST:
        return False
    across, upright = (straight(ink, max(3, round(LINE * size)), axis) for axis in (0, 1))
    if not _bent(ink, across | upright, size) and not _loose(across, upright, size):
        return False
    cells = table().cells
    saying = sum(bool(cell.text.strip()) for cell in cells)
    return len(cells) < 2 or saying < SAYING * len(cells)


def _area(boxes: Sequence[Box]) -> float:
    return sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes)


def ink_of(picture: np.ndarray, box: Box, words: Sequence[Word], scale: float) -> np.ndarray:
    """(h, w) uint8, 1 where there is ink that is of no word."""
    x0, y0, x1, y1 = (round(scale * each) for each in box)
    x0, y0 = max(x0, 0), max(y0, 0)
    ink = (picture[y0 : max(y0, y1), x0 : max(x0, x1)].min(-1, initial=255) < DARK).astype(np.uint8)
    for word in words:
        left, top, right, bottom = (scale * each for each in word.bbox)
        rows = slice(max(int(top - y0) - 1, 0), max(int(bottom - y0) + 2, 0))
        ink[rows, max(int(left - x0) - 1, 0) : max(int(right - x0) + 2, 0)] = 0
    return ink


def straight(ink: np.ndarray, length: int, axis: int) -> np.ndarray:
    """What lies in a straight run of so many pixels, across (0) or upright (1)."""
    kernel = np.ones((1, length) if axis == 0 else (length, 1), np.uint8)
    return cv2.morphologyEx(ink, cv2.MORPH_OPEN, kernel)


def _bent(ink: np.ndarray, lines: np.ndarray, size: float) -> bool:
    """Whether anything thin is left without the lines that is larger than letters are."""
    rest = ink & (1 - cv2.dilate(lines, np.ones((3, 3), np.uint8)))
    count, _, found, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    for _, _, width, height, area in found[1:count]:
        longer, shorter = max(width, height), min(width, height)
        if longer >= BENT * size and shorter > ASLANT * longer and area <= THIN * width * height:
            return True
    return False


def _loose(across: np.ndarray, upright: np.ndarray, size: float) -> bool:
    """Whether `LOOSE` upright lines, and half of them, have an end that meets no line across."""
    count, _, found, _ = cv2.connectedComponentsWithStats(upright, connectivity=8)
    lines = [each for each in found[1:count].tolist() if each[2] <= WIDE * size]
    height, reach = len(upright), max(2, round(FREE * size))
    loose = 0
    for x, y, width, length, _ in lines:
        same = [each for each in lines if abs(each[0] - x) <= 2]
        top, bottom = min(each[1] for each in same), max(each[1] + each[3] for each in same)
        if bottom - top >= WHOLE * height:
            continue
        columns = slice(max(x - reach, 0), x + width + reach)
        ends = [end for end in (y, y + length) if reach < end < height - reach]
        loose += any(not across[end - reach : end + reach, columns].any() for end in ends)
    return loose >= LOOSE and 2 * loose >= len(lines)
