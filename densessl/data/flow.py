"""Optical flow between two frames, the same whatever the number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np

FLOW_SIDE = 256  # px of the short side at which flow is computed; larger frames are shrunk
LEAST = 32  # px of a side, below which OpenCV's inverse search may read outside of the frame and crash


def small_grey(image: np.ndarray, side: int = FLOW_SIDE) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (h, w) uint8, whose short side is at most `side`."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = side / min(grey.shape)
    if scale >= 1:
        return grey
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def flow(a: np.ndarray, b: np.ndarray, algorithm: str = "dis") -> np.ndarray:
    """(h, w, 2) float32, in pixels: what lies at (x, y) in `a` lies at (x + u, y + v) in `b`; both are (h, w) uint8.

    algorithm: "dis" (dense inverse search, arXiv 1603.03590), "dis-medium" (slower, finer) or "farneback".
    """
    height, width = a.shape
    missing = 0, max(0, LEAST - height), 0, max(0, LEAST - width)
    if any(missing):
        a, b = (cv2.copyMakeBorder(each, *missing, cv2.BORDER_REPLICATE) for each in (a, b))
    return _flow(a, b, algorithm)[:height, :width]


def _flow(a: np.ndarray, b: np.ndarray, algorithm: str) -> np.ndarray:
    with _one_thread():
        if algorithm == "farneback":
            return cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 15, 3, 5, 1.2, 0)
        preset = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM if algorithm == "dis-medium" else cv2.DISOPTICAL_FLOW_PRESET_FAST
        return cv2.DISOpticalFlow_create(preset).calc(a, b, None)


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV's flow comes out otherwise with other counts of threads, and a run must repeat wherever it goes on."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
