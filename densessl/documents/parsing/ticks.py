"""Boxes to be ticked, which a form has drawn before what they are for: words of their own, "☐" and "☒"."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from densessl.documents.parsing.layout.text import BOXES
from densessl.documents.parsing.model import Word

DARK = 150  # of 255: what is darker is ink
SIZES = (0.5, 1.6)  # ems of a side
SQUARE = 1.25  # times as long as the other side, at most
LEAST, LARGEST = 6, 0.05  # pixels of a side; of the page's longest
RIM = 0.15  # of a side, where the outline is
OUTER = -1  # in OpenCV's hierarchy: of a contour around a component, rather than around a hole in one
SOLID = 0.9  # of the box around it, that its outline encloses: a circle has less
DRAWN = 0.9  # of each side
FILLED = 0.05, 0.75  # of what is inside: ink of a tick; of a bullet or a colour there is more
NEAR = 2.0  # ems to what it is for
MOST = 500  # of a page; more are a pattern
LEVEL = 0.3  # ems that its middle may lie above or below that


def ticks(picture: np.ndarray, words: Sequence[Word], scale: float) -> list[Word]:
    """Those that are drawn before words of a text layer, by what they are for.

    picture: of the page, (H, W, 3) uint8 RGB. words: of the page, in points. scale: pixels a point.
    """
    boxes = np.array([word.bbox for word in words], float).reshape(-1, 4)
    sizes = np.array([word.size or word.bbox[3] - word.bbox[1] for word in words], float)
    found: list[Word] = []
    squares = _squares(picture, boxes * scale)
    for box, inside in squares if len(squares) <= MOST else ():
        x0, y0, x1, y1 = (each / scale for each in box)
        side, middle = max(x1 - x0, y1 - y0), (y0 + y1) / 2
        fits = (side >= SIZES[0] * sizes) & (side <= SIZES[1] * sizes)
        fits &= (boxes[:, 0] >= x1 - 0.1 * sizes) & (boxes[:, 0] - x1 <= NEAR * sizes)
        fits &= (boxes[:, 1] - LEVEL * sizes <= middle) & (middle <= boxes[:, 3] + LEVEL * sizes)
        if fits.any():
            sign = BOXES[-1] if inside >= FILLED[0] else BOXES[0]
            size = float(sizes[np.flatnonzero(fits)[boxes[fits, 0].argmin()]])
            found.append(Word(sign, (x0, y0, x1, y1), size))
    return found


def _squares(picture: np.ndarray, words: np.ndarray) -> list[tuple[tuple[int, int, int, int], float]]:
    """Outlines of squares outside of words, (x0, y0, x1, y1) in pixels, with how much of the inside is ink.

    words: (n, 4) in pixels.
    """
    ink = cv2.threshold(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), DARK, 1, cv2.THRESH_BINARY_INV)[1]
    for x0, y0, x1, y1 in np.maximum(words, 0).round().astype(int).tolist():
        ink[y0:y1, x0:x1] = 0
    outlines, about = cv2.findContours(ink, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for outline, (_, _, _, around) in zip(outlines, about[0] if about is not None else (), strict=True):
        x, y, w, h = cv2.boundingRect(outline) if around == OUTER else (0, 0, 0, 0)
        if min(w, h) < LEAST or max(w, h) > min(SQUARE * min(w, h), LARGEST * max(picture.shape[:2])):
            continue
        if cv2.contourArea(outline) < SOLID * (w - 1) * (h - 1):
            continue
        own, rim = ink[y : y + h, x : x + w], max(2, round(RIM * min(w, h)))
        sides = (own[:rim].any(0), own[-rim:].any(0), own[:, :rim].any(1), own[:, -rim:].any(1))
        inner = own[rim + 1 : h - rim - 1, rim + 1 : w - rim - 1]
        if inner.size and min(side.mean() for side in sides) >= DRAWN and inner.mean() <= FILLED[1]:
            found.append(((x, y, x + w, y + h), float(inner.mean())))
    return found
