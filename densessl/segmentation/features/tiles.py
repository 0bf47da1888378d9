"""Pictures at their own size, seen through tiles that lie over each other, whose feature maps become one.

A tile is what the backbone sees at a time, so that memory follows the tile and not the picture: the joined map is made
from top to bottom, a row of tiles at a time. Of each tile what lies near its border counts nothing, since there the
backbone lacks what is beyond; from there its weight rises smoothly, and the weights of all tiles at a place sum to 1.
Where the picture itself ends a tile counts up to the border. A backbone that sees no further than the part that counts
nothing has the very map that it would have of the whole picture.

How far tiles lie over each other was chosen on a photograph of 683 x 512 px and tiles of 256. Beside the map of the
whole picture: the mean and the largest difference of a place, in mean lengths, and how much steeper than there the
steepest column is, by the backbone in the box; the last by an untrained ViT-Ti/16 too; and tiles to a large picture.

    overlap   mean    largest   steepest   ViT    pixels seen
    1/4       .0025   .038      1.012      1.15   1.8
    3/8       .0004   .006      1.004      1.11   2.6
    1/2       .0001   .001      1.001      1.09   4.0
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from densessl.data.resize import fit, resize
from densessl.errors import RunStopped, UserError
from densessl.segmentation.features.window import windowed_bands

OVERLAP = 0.375  # of a tile that lies over the next one
BLIND = 0.25  # of what lies over each other that counts nothing, at either tile's border
VERSION = f"rows left out or shown twice to fit, overlap {OVERLAP}, blind {BLIND}"
Run = Callable[[Sequence[np.ndarray]], Tensor]  # (n, C, h, w) of n uint8 pictures of one size


@dataclass(frozen=True)
class TileFrame:
    """At what size a picture is cut into tiles.

    tile: side of a tile in pixels. image_size: the short side of the picture, as large as that is; None for its own
    size. stride: of the backbone. fixed: whether a backbone takes whole tiles alone; a smaller picture is then mirrored
    at its right and lower border up to that size, and what the map shows of it is left out.
    """

    tile: int
    image_size: int | None
    stride: int
    fixed: bool = False
    version: str = VERSION

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) in pixels at which a picture of this size is cut: multiples of the stride."""
        return fit(height, width, self.image_size or min(height, width), self.stride, math.inf)

    def show(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) at that size.

        At its own size no pixel is blurred to make it fit: of rows and columns up to half a stride, at equal distances,
        are left out or shown twice.
        """
        size = self.size(*image.shape[:2])
        if self.image_size is not None:
            return resize(image, *size)
        for axis, (old, new) in enumerate(zip(image.shape[:2], size, strict=True)):
            if old != new:
                image = image.take(((np.arange(new) + 0.5) * old / new).astype(np.int64), axis)
        return image

    def cuts(self, height: int, width: int) -> bool:
        """Whether a picture that is shown at this size is other than one tile."""
        return max(height, width) > self.tile or (self.fixed and min(height, width) < self.tile)

    def of_tiles(self) -> TileFrame:
        """What shows a tile as it is."""
        return replace(self, image_size=None)


def tile_frame(tile: int, image_size: int | None, stride: int, fixed: tuple[int, int] | None) -> TileFrame:
    """Raises `UserError` for a tile that a backbone of this stride, or of one size alone, cannot see."""
    if fixed and fixed != (tile, tile):
        raise UserError(
            f"tile={tile}, but the backbone takes pictures of {fixed[0]} x {fixed[1]} pixels alone: "
            + (f"give tile={fixed[0]}." if fixed[0] == fixed[1] else "leave tile out, tiles are squares.")
        )
    if tile < 2 * stride or tile % stride:
        near = max(2, round(tile / stride)) * stride
        raise UserError(
            f"tile={tile} is no multiple of the {stride} pixels of the backbone's stride, at least {2 * stride}: "
            f"give tile={near}, or 256 as a good size."
            if stride <= 128 and 256 % stride == 0
            else f"tile={tile} is no multiple of the backbone's stride of {stride} pixels: give tile={near}."
        )
    return TileFrame(tile, image_size, stride, bool(fixed))


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side, so that neighbours share `overlap` or a little more; all in strides."""
    if length <= tile:
        return [0]
    count = 1 + math.ceil((length - tile) / (tile - overlap))
    return [round(number * (length - tile) / (count - 1)) for number in range(count)]


def weights(begin: Sequence[int], tile: int, length: int, overlap: int) -> Tensor:
    """(n, tile) float32: what each of n tiles counts at each of its places along a side of `length`; all in cells.

    At every place of the side they sum to 1.
    """
    place = torch.arange(tile, dtype=torch.float64) + 0.5
    found = torch.ones(len(begin), tile, dtype=torch.float64)
    for number, first in enumerate(begin):
        if first > 0:
            found[number] *= _rise(place / overlap)
        if first + tile < length:
            found[number] *= _rise((tile - place) / overlap)
    total = torch.zeros(length, dtype=torch.float64)
    for number, first in enumerate(begin):
        total[first : first + tile] += found[number]
    return torch.stack([each / total[first : first + tile] for each, first in zip(found, begin, strict=True)]).float()


def _rise(share: Tensor) -> Tensor:
    """From 0 to 1 across what lies over each other, flat at both ends; the two of a pair sum to 1."""
    t = ((share - BLIND) / (1 - 2 * BLIND)).clamp(0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class Side:
    """The tiles along a side of a picture: where they begin, in pixels and in cells of the map, and what they count."""

    pixels: list[int]
    cells: list[int]
    weights: Tensor
    length: int

    @classmethod
    def of(cls, length: int, tile: int, stride: int, cells: int) -> Side:
        """length, tile: in pixels, multiples of the stride. cells: of the map to a stride."""
        length, tile = length // stride, min(tile, length) // stride
        overlap = max(1, round(OVERLAP * tile))
        begin = starts(length, tile, overlap)
        counted = weights([each * cells for each in begin], tile * cells, length * cells, overlap * cells)
        return cls([each * stride for each in begin], [each * cells for each in begin], counted, length * cells)


@dataclass
class Bands:
    """The joined map of a picture from top to bottom, made while it is iterated over: (C, rows, w) float32 each.

    cells: of the map to a stride of the backbone. image: uint8 (H, W, 3) as it is. name: for `RunStopped`, where a
    backbone gives NaN or infinity. batch_size: tiles that run at a time. window: see
    `densessl.segmentation.features.window`; it takes its means of the joined map, across the borders of tiles.
    """

    run: Run
    frame: TileFrame
    cells: int
    image: np.ndarray
    name: str
    batch_size: int = 1
    window: int = 1

    def __iter__(self) -> Iterator[Tensor]:
        return windowed_bands(self._plain(), self.window)

    def _plain(self) -> Iterator[Tensor]:
        frame, shown = self.frame, self.frame.show(self.image)
        height, width = shown.shape[:2]
        if frame.fixed:
            below, right = max(0, frame.tile - height), max(0, frame.tile - width)
            shown = cv2.copyMakeBorder(shown, 0, below, 0, right, cv2.BORDER_REFLECT)
        rows, columns = (Side.of(each, frame.tile, frame.stride, self.cells) for each in shown.shape[:2])
        left, width = (side // frame.stride * self.cells for side in (height, width))
        for band in self._bands(shown, rows, columns):
            if left > 0:
                yield band[:, :left, :width]
            left -= band.shape[1]

    def joined(self) -> Tensor:
        """The whole map (C, h, w)."""
        return torch.cat(list(self), dim=1)

    def _bands(self, shown: np.ndarray, rows: Side, columns: Side) -> Iterator[Tensor]:
        begun = None  # rows of the map to which the next tiles add
        for number, top in enumerate(rows.pixels):
            strip = self._strip(shown, top, columns) * rows.weights[number][:, None]
            if begun is not None:
                strip[:, : begun.shape[1]] += begun
            following = rows.cells[number + 1] if number + 1 < len(rows.cells) else rows.length
            done = following - rows.cells[number]
            yield strip[:, :done]
            begun = strip[:, done:]

    def _strip(self, shown: np.ndarray, top: int, columns: Side) -> Tensor:
        """(C, rows, w): the tiles that begin at this height, side by side."""
        strip, size = None, columns.weights.shape[1]
        for start in range(0, len(columns.pixels), self.batch_size):
            numbers = range(start, min(start + self.batch_size, len(columns.pixels)))
            maps = self._maps(shown, [(top, columns.pixels[number]) for number in numbers])
            for number, map_ in zip(numbers, maps, strict=True):
                if strip is None:
                    strip = map_.new_zeros(*map_.shape[:2], columns.length)
                begin = columns.cells[number]
                strip[:, :, begin : begin + size] += map_ * columns.weights[number]
        return strip

    def _maps(self, shown: np.ndarray, corners: Sequence[tuple[int, int]]) -> Tensor:
        tile = self.frame.tile
        maps = self.run([shown[top : top + tile, left : left + tile] for top, left in corners])
        if not bool(torch.isfinite(maps).all()):
            raise RunStopped(f"The backbone gives NaN or infinity for {self.name}: try precision=32 or another one.")
        return maps
