"""The data sets by name, and from what the user typed to one of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from densessl.config import nearest
from densessl.errors import UserError
from densessl.progress import Report, silent
from densessl.segmentation.sets.ade20k import open_ade20k
from densessl.segmentation.sets.base import LabelledImages, Options
from densessl.segmentation.sets.camvid import open_camvid
from densessl.segmentation.sets.cityscapes import open_cityscapes
from densessl.segmentation.sets.cocostuff import open_cocostuff
from densessl.segmentation.sets.facade import open_labelmefacade
from densessl.segmentation.sets.folder import open_folder
from densessl.segmentation.sets.potsdam import open_potsdam
from densessl.segmentation.sets.voc import open_voc

SETS: dict[str, Callable[[str, str, Options], LabelledImages]] = {
    "ade20k": open_ade20k,
    "camvid": open_camvid,
    "cityscapes19": partial(open_cityscapes, classes=19),
    "cityscapes27": partial(open_cityscapes, classes=27),
    "cocostuff15": partial(open_cocostuff, classes=15),
    "cocostuff27": partial(open_cocostuff, classes=27),
    "cocostuff3": partial(open_cocostuff, classes=3),
    "folder": open_folder,
    "labelmefacade": open_labelmefacade,
    "potsdam3": open_potsdam,
    "voc": open_voc,
}


def open_labelled(
    spec: str,
    split: str = "val",
    *,
    classes: Sequence[str] | int | None = None,
    ignore: Sequence[int] | int | None = None,
    cache: str | Path | None = None,
    progress: Report = silent,
) -> LabelledImages:
    """Open a data set of images with label maps.

    spec: NAME:FOLDER, such as cocostuff27:data/coco; the names are the keys of `SETS`. split: train, val or what else
        the set has. classes: names of the classes of `folder`, in the order of ids, or their number; by default those
        of its classes.txt or, without one, the values that its maps hold. ignore: the value of its maps that is no
        class, or several of them, by default 255.
    cache: a folder that keeps COCO-Stuff's list where it must be made from the maps. progress: told of that.

    Raises `UserError` where there is no such set or split, the folder is not laid out as the set is published, or an
    image has no label map.
    """
    name, colon, root = spec.partition(":")
    if not colon or not root:
        raise UserError(f"{spec!r} is no data set with labels: give NAME:FOLDER, with one of {', '.join(SETS)}.")
    if name not in SETS:
        raise UserError(f"There is no data set {name!r}{nearest(name, SETS)} Known here: {', '.join(SETS)}.")
    if name != "folder" and (classes is not None or ignore is not None):
        raise UserError(f"The classes of {name} and what it ignores are known: leave classes and ignore out.")
    return SETS[name](os.path.expanduser(root), split, Options(classes, ignore, cache, progress))
