"""Pictures at their own size with their features, one after another: kept ones, those of the cache, and the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from densessl.data.sources import Source
from densessl.segmentation.features import transform
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.features.kept import Blocks, BlockWriter, Features, table_of
from densessl.segmentation.features.tiles import Bands


@dataclass
class Read:
    """A picture (H, W, 3) uint8 with its tokens (h * w, C), or `reason` where it cannot be read.

    bands: its map in the place of tokens, where it is seen through tiles.
    """

    index: int
    image: np.ndarray | None = None
    shape: tuple[int, int] = (0, 0)
    tokens: Tensor | None = None
    reason: str = ""
    bands: Bands | None = None

    @classmethod
    def of(cls, index: int, image: np.ndarray, name: str, extractor: Extractor) -> Read:
        """With what a backbone makes of the picture of this name."""
        if extractor.tiled:
            return cls(index, image, bands=extractor.bands(image, name))
        map_ = extractor([extractor.frame.show(image)])[0]
        return cls(index, image, tuple(map_.shape[1:]), torch.from_numpy(table_of(map_, name)))


@dataclass
class Reader:
    """What tokens are read from and, where neither has them, computed with.

    kept: features, which are used if they are at hand. blocks: of the cache, those of all pictures together. writing:
    whether a part of them that is computed here is kept in the cache; one of which some masks are there already is not
    computed for its sake.
    """

    source: Source
    extractor: Extractor
    kept: Features
    blocks: Sequence[Blocks] = ()
    workers: int = 0
    writing: bool = True

    def __call__(self, wanted: Sequence[int], unreadable: Mapping[str, str]) -> Iterator[Read]:
        """Read these pictures, part by part of the blocks.

        unreadable: reasons by name of those that are known not to be readable, which are not asked for.
        """
        at_hand = {index: row for row, index in enumerate(self.kept.indices)} if self.kept.at_hand else {}
        parts = list(self._parts([index for index in wanted if index not in at_hand]))
        first = [index for index in wanted if index in at_hand]
        order = first + [index for *_, some in parts for index in some]
        loader = iter(transform.pictures(self.source, order, None, self.workers))
        for picture in islice(loader, len(first)):
            yield self._found(picture, self.kept, at_hand[picture.index])
        for blocks, number, some in parts:
            yield from self._part(blocks, number, islice(loader, len(some)), set(some), unreadable)

    def _parts(self, wanted: Sequence[int]) -> Iterator[tuple[Blocks | None, int, list[int]]]:
        """The pictures that are wanted of each part that has some."""
        left = set(wanted)
        for blocks in self.blocks:
            for number, part in enumerate(blocks.parts):
                if some := [index for index in part if index in left]:
                    left.difference_update(some)
                    yield blocks, number, some
        if left:
            yield None, 0, [index for index in wanted if index in left]

    def _part(
        self,
        blocks: Blocks | None,
        number: int,
        pictures: Iterator[transform.Picture],
        wanted: set[int],
        unreadable: Mapping[str, str],
    ) -> Iterator[Read]:
        found = blocks and blocks.read(number)
        rows = {index: row for row, index in enumerate(found.indices)} if found else {}
        lost = [self.source.name(i) for i in blocks.parts[number] if i not in wanted] if blocks and not found else []
        keeping = blocks and not found and self.writing and all(name in unreadable for name in lost)
        with blocks.write(number) if keeping else nullcontext() as writer:
            for picture in pictures:
                if picture.index in rows:
                    yield self._found(picture, found, rows[picture.index])
                else:
                    yield self._computed(picture, writer)
            if writer:
                for name in lost:
                    writer.skip(name, unreadable[name])
                writer.settle()

    def _found(self, picture: transform.Picture, features: Features, row: int) -> Read:
        if picture.image is None:
            return Read(picture.index, reason=picture.reason)
        return Read(picture.index, picture.image, features.shapes[row], features.tokens(row))

    def _computed(self, picture: transform.Picture, writer: BlockWriter | None) -> Read:
        name = self.source.name(picture.index)
        if picture.image is None:
            if writer:
                writer.skip(name, picture.reason)
            return Read(picture.index, reason=picture.reason)
        read = Read.of(picture.index, picture.image, name, self.extractor)
        if writer:
            writer.add(read.index, read.shape, read.tokens.numpy())
        return read
