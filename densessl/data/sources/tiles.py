"""Pictures cut into squares, each of which counts as an image: for pictures that show many things at once."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import PurePosixPath

import numpy as np
from numpy.random import Generator

from densessl.data.images import UnreadableImage, encode
from densessl.data.sources.base import Source, checked, digest
from densessl.data.sources.recent import Recent

RECENT = 256 << 20  # bytes of decoded pictures that a process keeps, so that not every tile decodes its picture anew


class Tiled(Source):
    """Squares of `side` pixels of each picture, half over each other; the last of a row or column lies at the edge.

    A picture that is narrower than a square gives its full width (or height), and one that cannot be read gives one
    tile, which raises when it is read. A tile is named `x/y@LEFT,TOP.jpg` and has the label of its picture.
    """

    def __init__(self, source: Source, side: int) -> None:
        self.source, self.side = source, side
        self._recent = Recent(source.read, RECENT)
        self.notes, self.broken, self.classes = source.notes, source.broken, source.classes
        sizes = [_size(source, index) for index in range(len(source))]
        self._grids = np.array([(len(_starts(h, side)), len(_starts(w, side))) for h, w in sizes], np.int32)
        self._sizes = np.array(sizes, np.int32)
        self._ends = np.cumsum(self._grids.prod(axis=1), dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def read(self, index: int) -> np.ndarray:
        picture, top, left = self._place(index)
        image = self._recent(picture)
        return image[top : top + self.side, left : left + self.side].copy()

    def read_bytes(self, index: int) -> bytes:
        return encode(self.read(index))

    def name(self, index: int) -> str:
        picture, top, left = self._place(index)
        name = PurePosixPath(self.source.name(picture))
        return str(name.with_name(f"{name.stem}@{left},{top}{name.suffix}"))

    def document(self, index: int) -> str:
        return self.source.document(self._place(index)[0])

    def after(self, index: int) -> int:
        return int(self._ends[self.source.after(self._place(index)[0]) - 1])

    def label(self, index: int) -> int | None:
        return self.source.label(self._place(index)[0])

    def order(self, rng: Generator) -> np.ndarray:
        """(N,) all tiles, shuffled within groups of pictures that a process can keep, and the pictures before that.

        Shuffled as a whole, nearly every tile of many pictures would decode its picture anew. Where all pictures can be
        kept there is one group.
        """
        bytes_each = 3 * self._sizes.astype(np.int64).prod(axis=1)
        groups = -(-int(bytes_each.sum()) // RECENT)
        mixed = rng.permutation(len(self))
        if groups <= 1:
            return mixed
        pictures = rng.permutation(len(bytes_each))
        before = np.cumsum(bytes_each[pictures]) - bytes_each[pictures]
        group = np.empty(len(pictures), np.int64)
        group[pictures] = before * groups // int(bytes_each.sum())  # alike in bytes, the last too
        return np.lexsort((mixed, np.repeat(group, self._grids.prod(axis=1))))

    def fingerprint(self) -> str:
        return digest([self.source.fingerprint(), self.side])

    def _place(self, index: int) -> tuple[int, int, int]:
        """The picture that the tile is of, and its top and left in pixels."""
        index = checked(index, len(self))
        picture = bisect_right(self._ends, index)
        row, column = divmod(index - int(self._ends[picture - 1] if picture else 0), int(self._grids[picture, 1]))
        height, width = self._sizes[picture]
        return picture, _starts(int(height), self.side)[row], _starts(int(width), self.side)[column]


def tiled(source: Source, side: int | None) -> Source:
    """The source, cut into tiles of `side` pixels unless that is None."""
    return source if side is None else Tiled(source, side)


def _size(source: Source, index: int) -> tuple[int, int]:
    """(height, width) of the upright picture; one pixel, which is one tile, where it cannot be told."""
    try:
        return source.size(index)
    except UnreadableImage:
        return 1, 1


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin along a side of `length` pixels: every half tile, and as the last the one at the edge."""
    if length <= side:
        return [0]
    return [*range(0, length - side, max(1, side // 2)), length - side]
