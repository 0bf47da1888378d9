"""The sets of pages by name, and from what the user typed to one of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from densessl.config import nearest
from densessl.data.sources.files import Files
from densessl.documents.pages import LabelledPages
from densessl.documents.sets import coco, ctdar, funsd, voc
from densessl.documents.sets.draft import Options
from densessl.documents.sets.rvlcdip import open_rvlcdip
from densessl.errors import UserError
from densessl.progress import Report, silent

Opened = TypeVar("Opened")

PAGE_SETS: dict[str, Callable[[str, str | None, Options], LabelledPages]] = {
    "coco": coco.open_coco,
    "ctdar": ctdar.open_both,
    "ctdar-archival": ctdar.open_archival,
    "ctdar-modern": ctdar.open_modern,
    "doclaynet": coco.open_doclaynet,
    "funsd": funsd.open_words,
    "funsd-entities": funsd.open_entities,
    "publaynet": coco.open_publaynet,
    "pubtables": voc.open_pubtables_detection,
    "pubtables-structure": voc.open_pubtables_structure,
    "voc": voc.open_own_voc,
    "voc07": partial(voc.open_voc, year=2007),
    "voc12": partial(voc.open_voc, year=2012),
}
KIND_SETS: dict[str, Callable[[str, str | None, Options], Files]] = {"rvlcdip": open_rvlcdip}


def open_pages(
    spec: str,
    split: str | None = None,
    *,
    images: str | Path | None = None,
    masks: bool = False,
    partial: bool = False,
    headers: bool = True,
    progress: Report = silent,
) -> LabelledPages:
    """Open a set of pages with objects.

    spec: NAME:FOLDER, such as publaynet:data/publaynet, or a COCO file; the names are the keys of `PAGE_SETS`. split:
        train, val or what else the set has; by default train where there is one. images: the folder of the images,
        where it is not where it is looked for. masks: keep shapes too; an object without one has its box for one.
    partial: leave out pages whose images are not there or cannot be read. headers: look into each image for its size,
        which takes about 0.1 ms each; without, what the files state is believed. progress: told of what takes long.

    What is wrong with the files is found here: what can be mended is, and told of in `notes`; with the rest,
    `UserError` tells all of it at once. It is raised also where there is no such set or split, or the folder is not
    laid out as the set is published.
    """
    options = Options(images, masks, partial, headers, progress)
    if spec.lower().endswith(".json"):
        path = os.path.expanduser(spec.removeprefix("coco:"))
        if not os.path.isfile(path):
            raise UserError(f"There is no COCO file {path}: give the path of one, or NAME:FOLDER.")
        if split is not None:
            raise UserError(f"{path} is one file, so there is no split={split}: leave it out, or give that split's.")
        return coco.open_coco(path, None, options)
    return _open(spec, split, options, PAGE_SETS)


def open_kinds(
    spec: str, split: str | None = None, *, images: str | Path | None = None, partial: bool = False
) -> Files:
    """Open a set of pages that are each of one kind, such as rvlcdip:data/rvl-cdip: a source with labels and classes.

    Arguments and errors are those of `open_pages`.
    """
    return _open(spec, split, Options(images=images, partial=partial), KIND_SETS)


def _open(
    spec: str, split: str | None, options: Options, sets: dict[str, Callable[[str, str | None, Options], Opened]]
) -> Opened:
    name, colon, root = spec.partition(":")
    if not colon or not root:
        like = f" It looks like coco:{spec}." if os.path.isfile(os.path.join(spec, "annotations.json")) else ""
        raise UserError(f"{spec!r} is no set of pages: give NAME:FOLDER, with one of {', '.join(sets)}.{like}")
    if name not in sets:
        raise UserError(f"There is no set of pages {name!r}{nearest(name, sets)} Known here: {', '.join(sets)}.")
    return sets[name](os.path.expanduser(root), split, options)
