"""Small data sets, written as their publishers lay them out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from tests.trees import Folder


class Tree(Folder):
    def image(self, name: str, height: int = 4, width: int = 6, seed: int = 0, **save) -> np.ndarray:
        values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(values).save(self.path(name), **save)
        return values

    def map(self, name: str, values, palette: bool = False) -> None:
        """A label map as a PNG: of bytes, of 16 bits, or of colours of 8 or 16 bits."""
        values = np.asarray(values)
        if values.ndim == 3 and values.dtype == np.uint16:  # which Pillow does not write
            cv2.imwrite(str(self.path(name)), np.concatenate((values[:, :, 2::-1], values[:, :, 3:]), axis=2))
            return
        picture = Image.fromarray(values)
        if palette:
            picture = picture.convert("L")
            picture.putpalette([255 - index // 3 for index in range(768)])
        picture.save(self.path(name))

    def text(self, name: str, *lines: str) -> None:
        self.path(name).write_text("\n".join(lines) + "\n")

    def mat(self, name: str, **variables) -> None:
        savemat(self.path(name), variables)


@pytest.fixture
def tree(tmp_path) -> Tree:
    return Tree(tmp_path / "data")
