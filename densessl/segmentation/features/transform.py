"""How a picture of any size becomes the input of a backbone, for learning and for predicting alike.

The short side becomes `image_size` and the long side follows, up to four times that; a longer picture is made
smaller as a whole. Each side is then rounded to the nearest multiple of the backbone's stride, which changes the
aspect by half a stride at most. A backbone that takes a single size is shown every picture at that size, whatever its
aspect. Nothing is cropped or padded, so that the map covers the picture exactly. (The official code crops a square
from the centre, and never sees the rest.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from densessl.data.dataset import worker_init
from densessl.data.images import UnreadableImage
from densessl.data.resize import fit, resize

LONGEST = 4
VERSION = f"short side, area where a side shrinks, linear where it grows, longest {LONGEST}, whole picture"


@dataclass(frozen=True)
class Frame:
    """The sizes at which a backbone is shown pictures.

    image_size: of the short side in pixels. stride: of the backbone. fixed: the (height, width) of a backbone that
    takes no other; every picture then has that size, and the other two say nothing.
    """

    image_size: int
    stride: int
    fixed: tuple[int, int] | None = None

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) in pixels at which a picture of this size is shown."""
        return self.fixed or fit(height, width, self.image_size, self.stride, LONGEST)

    def show(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3), all of it, at that size."""
        return resize(image, *self.size(*image.shape[:2]))


@dataclass
class Picture:
    """A picture of a source; `image` is None and `reason` is set if it cannot be read.

    image: uint8 (H, W, 3) RGB, as it is or as a backbone is shown it.
    """

    index: int
    image: np.ndarray | None = None
    reason: str = ""


class _Pictures(Dataset):
    def __init__(self, source, indices: Sequence[int], frame: Frame | None) -> None:
        self.source, self.indices, self.frame = source, indices, frame

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Picture:
        index = self.indices[position]
        try:
            image = self.source.read(index)
        except UnreadableImage as error:
            return Picture(index, reason=str(error))
        return Picture(index, image if self.frame is None else self.frame.show(image))


def pictures(source, indices: Sequence[int], frame: Frame | None, workers: int = 0) -> DataLoader:
    """Read these pictures of a source, in order, in `workers` processes (0: in this one); with a frame, resized."""
    data = _Pictures(source, indices, frame)
    # A generator of its own: a loader draws a seed whenever it begins, from the caller's numbers without one.
    generator = torch.Generator().manual_seed(0)
    count = min(workers, len(indices))
    return DataLoader(data, batch_size=None, num_workers=count, worker_init_fn=worker_init, generator=generator)
