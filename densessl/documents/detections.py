"""What a detector found on pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from densessl.documents.pages import Shape


@dataclass(frozen=True)
class Detections:
    """Objects with scores, one a row: by page, and on a page by falling score.

    pages: how many there are, with and without detections. page: (M,) its number. boxes: (M, 4) float64 x0, y0, x1, y1
    in pixels. classes: (M,) indices of the page set's classes. scores: (M,) in [0, 1]. shapes: masks, where there are.
    """

    pages: int
    page: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    shapes: tuple[Shape | None, ...] | None = None

    @classmethod
    def sorted(
        cls,
        pages: int,
        page: Sequence[int] | np.ndarray,
        boxes: Sequence | np.ndarray,
        classes: Sequence[int] | np.ndarray,
        scores: Sequence[float] | np.ndarray,
        shapes: Sequence[Shape | None] | None = None,
    ) -> Detections:
        """From rows in any order; those of a page that have the same score stay in it."""
        page, scores = np.asarray(page, np.int32).reshape(-1), np.asarray(scores, np.float64).reshape(-1)
        order = np.lexsort((-scores, page))
        return cls(
            pages,
            page[order],
            np.asarray(boxes, np.float64).reshape(-1, 4)[order],
            np.asarray(classes, np.int16).reshape(-1)[order],
            scores[order],
            None if shapes is None else tuple(shapes[row] for row in order.tolist()),
        )

    def __len__(self) -> int:
        return len(self.page)

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.searchsorted(self.page, np.arange(self.pages + 1))

    def on(self, index: int) -> Detections:
        """Those of a page."""
        return self[slice(self._starts[index], self._starts[index + 1])]

    def __getitem__(self, rows: slice | np.ndarray) -> Detections:
        shapes = self.shapes
        if shapes is not None:
            shapes = tuple(shapes[row] for row in np.arange(len(self))[rows].tolist())
        fields = (self.page, self.boxes, self.classes, self.scores)
        return Detections(self.pages, *(each[rows] for each in fields), shapes)
