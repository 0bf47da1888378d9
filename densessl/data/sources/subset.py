"""Some images of a source, with labels of one's own choosing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator, Philox

from densessl.data.sources.base import Source, checked, digest

if TYPE_CHECKING:
    from densessl.data.pages.pdf import Text


class Subset(Source):
    """The images of `source` at `indices`, in that order.

    labels: a class for each of them, in place of the source's. classes: their names.
    """

    def __init__(
        self,
        source: Source,
        indices: Sequence[int],
        labels: Sequence[int] | None = None,
        classes: list[str] | None = None,
    ) -> None:
        self.source, self.indices = source, np.asarray(indices, np.int64)
        self.notes, self.broken = source.notes, source.broken
        self.labels = None if labels is None else np.asarray(labels, np.int64)
        self.classes = source.classes if labels is None else classes

    def __len__(self) -> int:
        return len(self.indices)

    def read_bytes(self, index: int) -> bytes:
        return self.source.read_bytes(self._place(index))

    def read(self, index: int) -> np.ndarray:
        return self.source.read(self._place(index))

    def size(self, index: int) -> tuple[int, int]:
        return self.source.size(self._place(index))

    def name(self, index: int) -> str:
        return self.source.name(self._place(index))

    def path(self, index: int) -> str | None:
        return self.source.path(self._place(index))

    def document(self, index: int) -> str:
        return self.source.document(self._place(index))

    def dpi(self, index: int) -> float | None:
        return self.source.dpi(self._place(index))

    def points(self, index: int) -> tuple[float, float] | None:
        return self.source.points(self._place(index))

    def page(self, index: int) -> int:
        return self.source.page(self._place(index))

    def state(self, index: int) -> str:
        return self.source.state(self._place(index))

    def text(self, index: int) -> Text | None:
        return self.source.text(self._place(index))

    def label(self, index: int) -> int | None:
        place = self._place(index)
        return self.source.label(place) if self.labels is None else int(self.labels[index])

    def fingerprint(self) -> str:
        return digest([self.source.fingerprint(), *self.indices.tolist()])

    def _place(self, index: int) -> int:
        return int(self.indices[checked(index, len(self))])


def limited(source: Source, limit: int | None, seed: int) -> Source:
    """At most `limit` images of the source, in its order, drawn by the seed; all where there are no more, or for None.

    With the same seed fewer images are part of more.
    """
    return source if limit is None or limit >= len(source) else Subset(source, drawn(len(source), limit, seed))


def drawn(size: int, count: int, seed: int) -> np.ndarray:
    """(count,) int64: sorted places below `size`; with the same seed fewer are part of more."""
    return np.sort(Generator(Philox(key=seed & (2**64 - 1))).permutation(size)[:count])
