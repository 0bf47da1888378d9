"""Masks laid over pictures, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

import cv2
import numpy as np

Colour = tuple[int, int, int]  # red, green, blue from 0 to 255


@cache
def palette(classes: int) -> tuple[Colour, ...]:
    """(K) colours (r, g, b) from 0 to 255: calm, and each as far from those before it as can be.

    A class keeps its colour whatever K is. Colours are picked one by one from a grid in CIELAB without its greys,
    extremes and glaring tones; beyond some 200 they repeat.
    """
    grid = [
        (lightness, a, b)
        for lightness, a, b in product(range(44, 85, 8), range(-56, 65, 8), range(-56, 65, 8))
        if 26 <= (a * a + b * b) ** 0.5 <= 56
    ]
    lab = np.array(grid, dtype=np.float32)
    rgb = cv2.cvtColor(lab[None], cv2.COLOR_LAB2RGB)[0]
    # Colours outside of sRGB come back changed.
    true = np.abs(cv2.cvtColor(rgb[None], cv2.COLOR_RGB2LAB)[0] - lab).max(axis=1) < 1.5
    lab, rgb = lab[true], rgb[true]
    first = int(np.abs(lab - np.array([60, -8, -40])).sum(axis=1).argmin())
    chosen = [first]
    distance = np.linalg.norm((lab - lab[first]) * (1.3, 1, 1), axis=1)
    while len(chosen) < min(classes, len(lab)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm((lab - lab[chosen[-1]]) * (1.3, 1, 1), axis=1))
    colours = [tuple(int(round(255 * float(value))) for value in rgb[i]) for i in chosen]
    return tuple(colours[i % len(colours)] for i in range(classes))


def overlay(image: np.ndarray, labels: np.ndarray, colours: Sequence[Colour], strength: float = 0.5) -> np.ndarray:
    """The picture, tinted by segment, with a fine light line around each: uint8 (H, W, 3).

    image: uint8 RGB (H, W, 3). labels: (H, W), indices of `colours`. strength: share of the segment's colour.
    """
    tints = np.array(colours, dtype=np.uint8)[labels]
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    # Half of the picture's own colour gives way to grey, so that the tints stay alike from picture to picture.
    calm = cv2.addWeighted(image, 0.5, grey, 0.5, 0)
    tinted = cv2.addWeighted(calm, 1 - strength, tints, strength, 0)
    lines = _lines(labels)
    white = np.full_like(tinted, 255)
    share = lines[..., None].astype(np.float32) * (0.85 / 255)
    return (tinted * (1 - share) + white * share).round().astype(np.uint8)


def _lines(labels: np.ndarray) -> np.ndarray:
    """Where segments meet, 0 to 255, as wide as a 400th of the short side, softened by half a pixel."""
    edge = np.zeros(labels.shape, dtype=np.uint8)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    edge *= 255
    width = max(1, round(min(labels.shape) / 400))
    if width > 1:
        edge = cv2.dilate(edge, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    return cv2.GaussianBlur(edge, (0, 0), 0.5)
