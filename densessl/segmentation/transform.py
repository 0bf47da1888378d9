"""How a picture of any size becomes the input of a backbone, for learning and for predicting alike.

The short side becomes `image_size` and the long side follows, up to four times that; a longer picture is made
smaller as a whole. Each side is then rounded to the nearest multiple of the backbone's stride, which changes the
aspect by half a stride at most. Nothing is cropped or padded, so that the map covers the picture exactly. (The
official code crops a square from the centre, and never sees the rest.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from densessl.data.images import UnreadableImage

LONGEST = 4
VERSION = f"short side, area or linear, longest {LONGEST}, whole picture"


def fit(height: int, width: int, image_size: int, stride: int) -> tuple[int, int]:
    """The (height, width) in pixels at which a picture of this size is shown to the backbone."""
    scale = min(image_size / min(height, width), LONGEST * image_size / max(height, width))
    return tuple(max(1, round(side * scale / stride)) * stride for side in (height, width))


def resize(image: np.ndarray, image_size: int, stride: int) -> np.ndarray:
    """uint8 (H, W, 3) at the size of `fit`, by area where it shrinks and linearly where it grows."""
    height, width = fit(*image.shape[:2], image_size, stride)
    if (height, width) == image.shape[:2]:
        return image
    shrinks = height < image.shape[0] and width < image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


@dataclass
class Picture:
    """A picture of a source, ready for the backbone; `image` and `original` are None and `reason` is set if unreadable.

    image: uint8 (h, w, 3), resized. original: uint8 (H, W, 3), only where asked for.
    """

    index: int
    image: np.ndarray | None = None
    original: np.ndarray | None = None
    reason: str = ""


class _Pictures(Dataset):
    def __init__(self, source, indices: Sequence[int], image_size: int, stride: int, originals: bool) -> None:
        self.source, self.indices, self.originals = source, indices, originals
        self.image_size, self.stride = image_size, stride

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Picture:
        index = self.indices[position]
        try:
            original = self.source.read(index)
        except UnreadableImage as error:
            return Picture(index, reason=str(error))
        image = resize(original, self.image_size, self.stride)
        return Picture(index, image, original if self.originals else None)


def pictures(
    source, indices: Sequence[int], image_size: int, stride: int, workers: int = 0, originals: bool = False
) -> DataLoader:
    """Read and resize these pictures of a source, in order, in `workers` processes (0: in this one)."""
    data = _Pictures(source, indices, image_size, stride, originals)
    # A generator of its own: a loader draws a seed whenever it begins, from the caller's numbers without one.
    generator = torch.Generator().manual_seed(0)
    count = min(workers, len(indices))
    return DataLoader(data, batch_size=None, num_workers=count, worker_init_fn=_one_thread, generator=generator)


def _one_thread(_: int) -> None:
    # 0 rather than 1: in a forked worker 1 waits for ever for the threads that the parent had.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
