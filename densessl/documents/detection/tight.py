"""Boxes that end where the ink of a page does, as those who mark pages draw them.

A network sees a page at half its size or less and is off by some pixels. What it means is nearly always plain on the
page itself: between lines of text and around tables there is paper.
"""

from __future__ import annotations

import cv2
import numpy as np

SHARE, LEAST = 0.08, 0.009  # a side moves by this share of the box at most, or this share of the page's longest side
PAPER, INK = 90, 50  # percentile of the brightness that is paper, and how much darker ink is


def tightened(page: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The boxes (n, 4) of a page (H, W, 3) uint8 RGB with sides where ink begins, in whole pixels.

    A side that lies on paper moves inwards to the first ink, and one that cuts through ink outwards to the next paper;
    where neither is near it stays.
    """
    grey = cv2.cvtColor(page, cv2.COLOR_RGB2GRAY)
    ink = grey < np.percentile(grey, PAPER) - INK
    least = LEAST * max(ink.shape)
    return np.array([_tightened(ink, box, least) for box in boxes], np.float32).reshape(-1, 4)


def _tightened(ink: np.ndarray, box: np.ndarray, least: float) -> tuple[float, float, float, float]:
    height, width = ink.shape
    x0, y0, x1, y1 = (int(round(float(value))) for value in box)
    x0, x1 = (min(max(x, 0), width) for x in (x0, x1))
    y0, y1 = (min(max(y, 0), height) for y in (y0, y1))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return tuple(box)
    down, across = (int(max(least, SHARE * side)) for side in (y1 - y0, x1 - x0))
    top = _side(ink[:, x0:x1].T, y0, 1, down)
    bottom = _side(ink[:, x0:x1].T, y1 - 1, -1, down) + 1
    left = _side(ink[top:bottom], x0, 1, across)
    right = _side(ink[top:bottom], x1 - 1, -1, across) + 1
    return (left, top, right, bottom) if right > left and bottom > top else tuple(box)


def _side(ink: np.ndarray, at: int, inwards: int, most: int) -> int:
    """Where a side at column `at` of ink (h, w) belongs: at most so many columns away; inwards is 1 or -1."""
    first, last = max(0, at - most), min(ink.shape[1] - 1, at + most)
    inked = ink[:, first : last + 1].any(axis=0)
    inked, at = (inked, at - first) if inwards == 1 else (inked[::-1], last - at)
    if inked[at]:
        paper = np.flatnonzero(~inked[:at])
        # At the edge of the page ink may end without paper.
        edge = 0 if inwards == 1 and first == 0 or inwards == -1 and last == ink.shape[1] - 1 else at
        found = int(paper[-1]) + 1 if len(paper) else edge
    else:
        within = np.flatnonzero(inked[at:])
        found = at + int(within[0]) if len(within) else at
    return first + found if inwards == 1 else last - found
