"""Four corners and the centre of each image, cut when they are read: nothing is written, nothing is encoded anew.

STEGO trains on such crops of half the height and width, stored as JPEG; image i gives the crops 5 i to 5 i + 4.
"""

from __future__ import annotations

import os

import numpy as np

from densessl.data.images import encode
from densessl.data.sources.base import Source, checked, digest
from densessl.data.sources.recent import Recent
from densessl.errors import UserError
from densessl.segmentation.sets.base import LabelledImages

CROPS = 5


def crop(image: np.ndarray, which: int, ratio: float = 0.5) -> np.ndarray:
    """A crop of an array (H, W, ...): top left, top right, bottom left, bottom right, centre for `which` = 0 to 4."""
    height, width = image.shape[:2]
    h, w = max(1, int(height * ratio)), max(1, int(width * ratio))
    if which == 4:
        top, left = round((height - h) / 2), round((width - w) / 2)
    else:
        top, left = which // 2 * (height - h), which % 2 * (width - w)
    return np.ascontiguousarray(image[top : top + h, left : left + w])


class FiveCropSource(Source):
    """The five crops of each image of a source. ratio: of their sides to the image's."""

    def __init__(self, source: Source, ratio: float = 0.5) -> None:
        if not 0 < ratio <= 1:
            raise UserError(
                f"The ratio {ratio} of a crop to its image is not possible: give one above 0, of at most 1."
            )
        self.source, self.ratio = source, ratio
        self.classes, self.notes = source.classes, source.notes
        self._read = Recent(source.read)

    def __len__(self) -> int:
        return CROPS * len(self.source)

    def read(self, index: int) -> np.ndarray:
        image, which = divmod(checked(index, len(self)), CROPS)
        return crop(self._read(image), which, self.ratio)

    def read_bytes(self, index: int) -> bytes:
        return encode(self.read(index))

    def name(self, index: int) -> str:
        image, which = divmod(checked(index, len(self)), CROPS)
        stem, suffix = os.path.splitext(self.source.name(image))
        return f"{stem}-crop{which}{suffix}"

    def label(self, index: int) -> int | None:
        return self.source.label(checked(index, len(self)) // CROPS)

    def fingerprint(self) -> str:
        return digest(["five crops", self.ratio, self.source.fingerprint()])


class FiveCrops(LabelledImages):
    """The five crops of each image of a set, with theirs of its label map."""

    crops = CROPS

    def __init__(self, of: LabelledImages, ratio: float = 0.5) -> None:
        self.of, self.ratio, self.colours = of, ratio, of.colours
        self.name, self.source = f"{of.name}-fivecrop", FiveCropSource(of.source, ratio)
        self._labels = Recent(of.labels)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.of.classes

    def labels(self, index: int) -> np.ndarray:
        image, which = divmod(checked(index, len(self)), CROPS)
        return crop(self._labels(image), which, self.ratio)

    def fingerprint(self) -> str:
        return digest(["five crops", self.ratio, self.of.fingerprint()])
