"""Squares of pictures to learn from, where pictures are seen through tiles.

The map of a whole picture at its own size may take a gigabyte, and learning would read it again and again. Each square
counts as a picture instead, as each of the five crops does in STEGO's paper: what one picture costs is bounded, and a
single slide of 10,000 pixels is many pictures to compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import PurePosixPath

import cv2
import numpy as np
import torch

from densessl.data.images import UnreadableImage, frame
from densessl.data.sources import Source
from densessl.data.sources.base import checked, digest
from densessl.segmentation.films import Items
from densessl.segmentation.tiles import TileFrame, starts

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
        sizes, share, chosen = _Sizes(source), max(1, SQUARES // max(1, len(indices))), []
        for index in indices:
            corners = self._corners(sizes(index))
            drawn = sorted(torch.randperm(len(corners), generator=generator)[:share].tolist())
            chosen += [(index, *corners[number]) for number in drawn]
        self._chosen = np.array(chosen, np.int64).reshape(-1, 5)
        self._kept: tuple[int, np.ndarray] | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_kept": None}

    def __len__(self) -> int:
        return len(self._chosen)

    def read(self, index: int) -> np.ndarray:
        picture, top, left, height, width = map(int, self._chosen[checked(index, len(self))])
        kept = self._kept
        if kept is None or kept[0] != picture:  # all squares of a picture follow each other
            kept = self._kept = (picture, self.tiles.show(self.source.read(picture)))
        shown = kept[1]
        if top + height > shown.shape[0] or left + width > shown.shape[1]:
            raise UnreadableImage("it is smaller than its header says")
        return np.ascontiguousarray(shown[top : top + height, left : left + width])

    def read_bytes(self, index: int) -> bytes:
        return cv2.imencode(".png", self.read(index)[:, :, ::-1])[1].tobytes()

    def name(self, index: int) -> str:
        return self.source.name(int(self._chosen[checked(index, len(self)), 0]))

    def label(self, index: int) -> None:
        return None

    def fingerprint(self) -> str:
        return digest([self.source.fingerprint(), self.tiles, self._chosen.tolist()])

    def _corners(self, size: tuple[int, int] | None) -> list[tuple[int, int, int, int]]:
        """(top, left, height, width) in pixels of the squares that cover a picture, hardly over each other."""
        if size is None:
            return [(0, 0, 1, 1)]
        stride, tile = self.tiles.stride, self.tiles.tile
        shown = self.tiles.size(*size)
        begin = [[each * stride for each in starts(side // stride, tile // stride, 0)] for side in shown]
        height, width = (min(tile, side) for side in shown)
        return [(top, left, height, width) for top, left in product(*begin)]


class _Sizes:
    """The (height, width) of upright pictures, by their headers; None where it cannot be told."""

    def __init__(self, source: Source) -> None:
        self.source, self.films = source, {}

    def __call__(self, index: int) -> tuple[int, int] | None:
        try:
            if isinstance(self.source, Items) and index >= self.source.pictures:
                return self._of_film(index)
            height, width, orientation = frame(self.source.read_bytes(index))
        except UnreadableImage:
            return None
        return (width, height) if orientation >= 5 else (height, width)

    def _of_film(self, index: int) -> tuple[int, int]:
        film = PurePosixPath(self.source.name(index)).parent
        if film not in self.films:
            self.films[film] = self.source.read(index).shape[:2]
        return self.films[film]
