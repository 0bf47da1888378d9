"""Potsdam-3: aerial images of Potsdam, in the layout of IIC and STEGO.

38 tiles of 6000 x 6000 pixels are halved and cut into 8550 patches of 200 x 200: imgs/ID.mat with `img`, RGB and
infrared, and for 24 of the tiles gt/ID.mat with `gt`: 0 road, 1 building, 2 low vegetation, 3 tree, 4 car, 5 clutter,
which are the three classes in pairs. labelled_train.txt and labelled_test.txt list IDs that have labels; the 855 of the
latter are `val`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable

import numpy as np

from densessl.data.images import UnreadableImage, encode
from densessl.data.sources import splits
from densessl.data.sources.files import Files
from densessl.data.sources.layout import Layout
from densessl.segmentation.sets.base import IGNORED, LabelledFiles, Options, Table
from densessl.segmentation.sets.layout import listed, maps_of

HOW = (
    "ask for the Potsdam tiles at https://www.isprs.org/education/benchmarks/UrbanSemLab and cut them as "
    "potsdam_prepare.py of https://github.com/xu-ji/IIC does, or take the potsdam.zip that "
    "https://github.com/mhamilton723/STEGO fetches; the folder then holds imgs, gt, labelled_train.txt and "
    "labelled_test.txt"
)
LISTS = {"train": "labelled_train.txt", "val": "labelled_test.txt"}
CLASSES = ("roads and cars", "buildings and clutter", "vegetation and trees")
CODING = {0: 0, 4: 0, 1: 1, 5: 1, 2: 2, 3: 2, 255: IGNORED}


class Patches(Files):
    """The images of .mat files; infrared, their fourth channel, is left out."""

    def read(self, index: int) -> np.ndarray:
        values = decode_image(super().read_bytes(index))
        return np.ascontiguousarray(values[:, :, :3])

    def read_bytes(self, index: int) -> bytes:
        return encode(self.read(index))

    def size(self, index: int) -> tuple[int, int]:
        return self.read(index).shape[:2]


def open_potsdam(root: str, split: str, options: Options) -> LabelledFiles:
    """root: the folder that holds imgs and gt, or one that holds it as `potsdam`."""
    layout = Layout(root, "Potsdam-3", HOW).below("potsdam")
    (split,) = splits.choose(list(LISTS), split, layout.title)
    names = [f"{each}.mat" for each in layout.lines(LISTS[split])]
    found = listed(layout.folder("imgs"), names)
    maps = maps_of(found, layout.folder("gt"), is_map=is_mat)
    return LabelledFiles("potsdam3", CLASSES, Patches(found.root, names), maps, Table(CODING), decode=decode_map)


def is_mat(name: str) -> bool:
    return os.path.splitext(name)[1].lower() == ".mat"


def decode_image(data: bytes) -> np.ndarray:
    """(H, W, C) uint8, at least three channels; raises `UnreadableImage`."""
    return _variable(data, "img", lambda values: values.ndim == 3 and values.shape[2] >= 3 and values.dtype == np.uint8)


def decode_map(data: bytes) -> np.ndarray:
    """(H, W) of whole numbers; raises `UnreadableImage`."""
    return _variable(data, "gt", lambda values: values.ndim == 2)


def _variable(data: bytes, name: str, fits: Callable[[np.ndarray], bool]) -> np.ndarray:
    from scipy.io import loadmat

    try:
        values = loadmat(io.BytesIO(data), variable_names=[name]).get(name)
    except Exception:  # readers raise whatever the broken bytes lead them to
        raise UnreadableImage("it is no MATLAB file of version 5, or damaged") from None
    if values is None or not fits(values):
        raise UnreadableImage(f"its variable {name!r} is missing or of another shape than Potsdam's")
    return values
