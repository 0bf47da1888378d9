"""The pictures that STEGO's official code learns from and judges: squares of one size.

The short side of image and label map becomes `size`, each output pixel a copy of one input pixel (Pillow's NEAREST, of
images too), and the square in the middle is cut out; what lies beside it is never seen (official code, `data.py`).
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from densessl.data.images import encode
from densessl.data.sources.base import Source, digest
from densessl.segmentation.sets.base import LabelledImages


def centre_square(values: np.ndarray, size: int) -> np.ndarray:
    """(H, W) int16 or (H, W, 3) uint8 -> (size, size, ...) of the same type."""
    height, width = values.shape[:2]
    # As torchvision has it: the long side is cut to a whole number.
    shape = (size, int(size * width / height)) if height <= width else (int(size * height / width), size)
    image = Image.fromarray(values if values.ndim == 3 else values.astype(np.int32))
    resized = np.asarray(image.resize(shape[::-1], Image.Resampling.NEAREST)).astype(values.dtype)
    top, left = round((shape[0] - size) / 2), round((shape[1] - size) / 2)
    return np.ascontiguousarray(resized[top : top + size, left : left + size])


class CentreSource(Source):
    """The central squares of a source's images, mirrored left to right or not."""

    def __init__(self, source: Source, size: int, mirrored: bool = False) -> None:
        self.source, self.size, self.mirrored = source, size, mirrored
        self.classes, self.notes = source.classes, source.notes

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> np.ndarray:
        square = centre_square(self.source.read(index), self.size)
        return np.ascontiguousarray(square[:, ::-1]) if self.mirrored else square

    def read_bytes(self, index: int) -> bytes:
        return encode(self.read(index))

    def name(self, index: int) -> str:
        return self.source.name(index)

    def label(self, index: int) -> int | None:
        return self.source.label(index)

    def fingerprint(self) -> str:
        return digest(["centre squares", self.size, self.mirrored, self.source.fingerprint()])


class CentreSquares(LabelledImages):
    """The central squares of a set's images, with those of its label maps."""

    def __init__(self, of: LabelledImages, size: int) -> None:
        self.of, self.size, self.colours, self.crops = of, size, of.colours, of.crops
        self.name, self.source = f"{of.name}-{size}", CentreSource(of.source, size)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.of.classes

    def labels(self, index: int) -> np.ndarray:
        return centre_square(self.of.labels(index), self.size)

    def fingerprint(self) -> str:
        return digest(["centre squares", self.size, self.of.fingerprint()])
