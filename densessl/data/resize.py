"""How whole images are made larger or smaller, for networks and for pictures of what they see."""

from __future__ import annotations

import cv2
import numpy as np


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, C) -> (height, width, C): by area along a side that shrinks, linearly along one that grows.

    An image that has the size already is returned as it is.
    """
    before = image.shape[:2]
    # OpenCV's INTER_AREA averages only where neither side grows, and its INTER_LINEAR skips pixels where one shrinks.
    smaller = min(height, before[0]), min(width, before[1])
    if smaller != before:
        image = cv2.resize(image, smaller[::-1], interpolation=cv2.INTER_AREA)
    if (height, width) != smaller:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def within(image: np.ndarray, side: int) -> np.ndarray:
    """(H, W, C) with a longest side of `side` pixels at most, in its proportions; a smaller one is left as it is."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    return image if scale >= 1 else resize(image, max(1, round(height * scale)), max(1, round(width * scale)))


def fit(height: int, width: int, image_size: int, stride: int, longest: float) -> tuple[int, int]:
    """The (height, width) in pixels at which a network of this stride is shown a whole image of this size.

    The short side becomes `image_size` and the long one follows; where that would exceed `longest` times `image_size`,
    the image is made smaller as a whole. Each side is then the nearest multiple of the stride.
    """
    scale = min(image_size / min(height, width), longest * image_size / max(height, width))
    return tuple(max(1, round(side * scale / stride)) * stride for side in (height, width))


def middle(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The part of this size around the middle, a view of the image."""
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]
