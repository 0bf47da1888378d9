"""Squares of pictures to learn from, where pictures are seen through tiles.

The map of a whole picture at its own size may take a gigabyte, and learning would read it again and again. Each square
counts as a picture instead, as each of the five crops does in STEGO's paper: what one picture costs is bounded, and a
single slide of 10,000 pixels is many pictures to compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch

from densessl.data.images import UnreadableImage, encode
from densessl.data.sources import Source
from densessl.data.sources.base import checked, digest
from densessl.data.sources.recent import Recent
from densessl.segmentation.features.tiles import TileFrame, starts

SQUARES = 1024  # in all, where the pictures have so many; one of each at least


class Squares(Source):
    """Squares of one tile each, of some pictures of a source: all that cover a picture, or as many drawn by the seed.

    A picture that is smaller than a tile is one square. Each has the name of its picture. One that cannot be read has a
    square too, which raises when it is read.
    """

    def __init__(self, source: Source, tiles: TileFrame, indices: Sequence[int], seed: int) -> None:
        self.source, self.tiles = source, tiles
        self.notes, self.classes = source.notes, source.classes
        generator = torch.Generator().manual_seed(seed)
        share, chosen = max(1, SQUARES // max(1, len(indices))), []
        for index in indices:
            corners = self._corners(_size(source, index))
            drawn = sorted(torch.randperm(len(corners), generator=generator)[:share].tolist())
            chosen += [(index, *corners[number]) for number in drawn]
        self._chosen = np.array(chosen, np.int64).reshape(-1, 5)
        self._shown = Recent(self._show)  # all squares of a picture follow each other

    def __len__(self) -> int:
        return len(self._chosen)

    def read(self, index: int) -> np.ndarray:
        picture, top, left, height, width = map(int, self._chosen[checked(index, len(self))])
        shown = self._shown(picture)
        if top + height > shown.shape[0] or left + width > shown.shape[1]:
            raise UnreadableImage("it is smaller than its header says")
        return np.ascontiguousarray(shown[top : top + height, left : left + width])

    def read_bytes(self, index: int) -> bytes:
        return encode(self.read(index))

    def name(self, index: int) -> str:
        return self.source.name(int(self._chosen[checked(index, len(self)), 0]))

    def label(self, index: int) -> None:
        return None

    def fingerprint(self) -> str:
        return digest([self.source.fingerprint(), self.tiles, self._chosen.tolist()])

    def _show(self, picture: int) -> np.ndarray:
        return self.tiles.show(self.source.read(picture))

    def _corners(self, size: tuple[int, int] | None) -> list[tuple[int, int, int, int]]:
        """(top, left, height, width) in pixels of the squares that cover a picture, hardly over each other."""
        if size is None:
            return [(0, 0, 1, 1)]
        stride, tile = self.tiles.stride, self.tiles.tile
        shown = self.tiles.size(*size)
        begin = [[each * stride for each in starts(side // stride, tile // stride, 0)] for side in shown]
        height, width = (min(tile, side) for side in shown)
        return [(top, left, height, width) for top, left in product(*begin)]


def _size(source: Source, index: int) -> tuple[int, int] | None:
    """(height, width) of a picture, None where it cannot be told."""
    try:
        return source.size(index)
    except UnreadableImage:
        return None
