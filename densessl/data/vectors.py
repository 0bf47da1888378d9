"""A vector per image of a source: how images are shown to a network that is being judged, and how it is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from densessl.data.dataset import ImageSource, worker_init
from densessl.data.images import UnreadableImage
from densessl.data.resize import middle, resize

SMALL = 64  # px of a side up to which nothing is cut off

Encoder = Callable[[Tensor], Tensor]


def prepare(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 (H, W, 3) -> (size, size, 3): the short side resized to size * 256 / 224, then the square in the middle.

    Up to `SMALL` px the short side becomes `size` itself, so that an image of that size stays as it is. By area where
    it shrinks, linearly where it grows.
    """
    height, width = image.shape[:2]
    short = size if size <= SMALL else round(size * 256 / 224)
    if min(height, width) != short:
        scale = short / min(height, width)
        image = resize(image, *(max(short, round(side * scale)) for side in (height, width)))
    return np.ascontiguousarray(middle(image, size, size))


def preparation(size: int) -> str:
    """What `prepare` does, for a record."""
    if size <= SMALL:
        return f"short side {size} px (as it is where it has that), centre {size} x {size}"
    return f"short side {round(size * 256 / 224)} px, centre {size} x {size}"


@dataclass
class Vectors:
    """z: (N, D) float32 on the CPU; indices: (N,) of the images in the source; unreadable: (index, reason)."""

    z: Tensor
    indices: Tensor
    unreadable: list[tuple[int, str]] = field(default_factory=list)


def vectors(
    source: ImageSource,
    indices: Sequence[int],
    encode: Encoder,
    size: int,
    batch_size: int = 256,
    workers: int = 0,
    device: str = "cpu",
    advance: Callable[[int], None] = lambda done: None,
) -> Vectors:
    """The vectors of these images, in their order; those that cannot be read are left out.

    encode: uint8 (B, 3, size, size) on `device` -> (B, D); it says itself in which mode and precision.
    advance: called with the number of images done.
    """
    loader = DataLoader(
        _Prepared(source, indices, size),
        batch_size=batch_size,
        num_workers=min(workers, len(indices)),
        collate_fn=_collate,
        worker_init_fn=worker_init,
        pin_memory=device != "cpu",
    )
    found, kept, unreadable, done = [], [], [], 0
    with torch.inference_mode():
        for images, readable, failed in loader:
            if len(readable):
                found.append(encode(images.to(device, non_blocking=True)).float().cpu())
                kept.append(readable)
            unreadable += failed
            done += len(readable) + len(failed)
            advance(done)
    if not found:
        return Vectors(torch.empty(0, 0), torch.empty(0, dtype=torch.int64), unreadable)
    return Vectors(torch.cat(found), torch.cat(kept), unreadable)


class _Prepared(Dataset):
    def __init__(self, source: ImageSource, indices: Sequence[int], size: int) -> None:
        self.source, self.size = source, size
        self.indices = np.asarray(indices, np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[int, np.ndarray | None, str]:
        index = int(self.indices[position])
        try:
            return index, prepare(self.source.read(index), self.size), ""
        except UnreadableImage as error:
            return index, None, str(error)


def _collate(items: Sequence[tuple[int, np.ndarray | None, str]]) -> tuple[Tensor, Tensor, list[tuple[int, str]]]:
    """-> images (B, 3, s, s) in channels_last, their indices (B,), and (index, reason) of those that failed."""
    good = [(index, image) for index, image, _ in items if image is not None]
    failed = [(index, reason) for index, image, reason in items if image is None]
    if not good:
        return torch.empty(0, dtype=torch.uint8), torch.empty(0, dtype=torch.int64), failed
    images = torch.from_numpy(np.stack([image for _, image in good])).permute(0, 3, 1, 2)
    return images, torch.tensor([index for index, _ in good]), failed
