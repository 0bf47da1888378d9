"""ICDAR 2019 cTDaR (track A): tables on modern pages, cTDaR_t1*, and on archival ones, cTDaR_t0*.

Only tables are marked: whatever else is on these pages is unknown. A table is a polygon, which is kept beside its box
since the competition measures by it. The supplement marks cells and their neighbours too; `read_tables` reads them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from densessl.data.sources import files, splits
from densessl.data.sources.layout import Layout, stem
from densessl.documents.pages import LabelledPages
from densessl.documents.problems import Problems
from densessl.documents.sets.draft import Draft, Options
from densessl.documents.sets.xml import read_xml
from densessl.documents.splits import by_size
from densessl.errors import UserError

HOW = (
    "clone https://github.com/cndplab-founder/ICDAR2019_cTDaR, which holds training/TRACKA/ground_truth, test/TRACKA "
    "and test_ground_truth/TRACKA; folders images and annotations, or images/SPLIT and annotations/SPLIT, will do too"
)
CLASSES = ("table",)
PARTS = {"modern": "cTDaR_t1", "archival": "cTDaR_t0"}
TRAIN = (("training/TRACKA/ground_truth",) * 2, ("TRACKA/ground_truth",) * 2, ("images", "annotations"))
TEST = (("test/TRACKA", "test_ground_truth/TRACKA"), ("test/TRACKA", "test_ground_truth"))


@dataclass(frozen=True)
class Cell:
    """name: its id. polygon: (P, 2) pixels. neighbours: by id the side they are on, L, R, T or B; the supplement's.

    place: first and last row, first and last column, from 0; of track B, else None.
    """

    name: str
    polygon: np.ndarray
    neighbours: dict[str, str]
    place: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class MarkedTable:
    """polygon: (P, 2) pixels, as it stands in the file. cells: where they are marked."""

    polygon: np.ndarray
    cells: tuple[Cell, ...] = ()


def read_tables(path: str | Path) -> list[MarkedTable]:
    """The tables of an XML file of cTDaR, in its order; raises `UserError` where it cannot be read."""
    problems = Problems(str(path))
    root = read_xml(str(path), problems)
    problems.check()
    tables = [MarkedTable(_points(each), tuple(map(_cell, each.iter("cell")))) for each in root.iter("table")]
    broken = sum(each is None for table in tables for each in (table.polygon, *(cell.polygon for cell in table.cells)))
    if broken:
        raise UserError(f"{path} has {broken} Coords that are no x,y pairs: fetch it anew.")
    return tables


def open_ctdar(root: str, split: str | None, options: Options, *, parts: Sequence[str]) -> LabelledPages:
    """root: a clone, or a folder with images and annotations. parts: modern, archival or both."""
    layout = Layout(root, "cTDaR", HOW)
    (split,) = splits.choose(["train", "test"], split, layout.title)
    images, annotations = _folders(layout, split)
    starts = tuple(PARTS[part] for part in parts)
    names = [name for name in files.walk(images) if files.is_image(name) and os.path.basename(name).startswith(starts)]
    if not names:
        raise UserError(f"There are no images {' or '.join(f'{each}*' for each in starts)} in {images}; {HOW}.")
    draft = Draft(Problems(layout.root), "table")
    for name in names:
        page = draft.add_page(name)
        found = read_xml(os.path.join(annotations, f"{stem(name)}.xml"), draft.problems)
        for place, table in enumerate([] if found is None else found.iter("table")):
            polygon = _points(table)
            box = None if polygon is None else (*polygon.min(axis=0), *polygon.max(axis=0))
            draft.add(page, box, 0, place, shape=None if polygon is None else [polygon])
    title = "ctdar" if len(parts) > 1 else f"ctdar-{parts[0]}"
    # Its pages are those of some twenty documents, shuffled.
    return by_size(draft.finish(title, str(options.images or images), CLASSES, options, shapes=True))


open_modern = partial(open_ctdar, parts=("modern",))
open_archival = partial(open_ctdar, parts=("archival",))
open_both = partial(open_ctdar, parts=("archival", "modern"))


def _folders(layout: Layout, split: str) -> tuple[str, str]:
    """Where images and XML files of a split lie."""
    choices = ((f"images/{split}", f"annotations/{split}"), *(TRAIN if split == "train" else TEST))
    for images, labels in choices:
        if all(os.path.isdir(os.path.join(layout.root, each)) for each in (images, labels)):
            return os.path.join(layout.root, images), os.path.join(layout.root, labels)
    return layout.folder(choices[1][0]), layout.folder(choices[1][1])


def _points(element: Element) -> np.ndarray | None:
    """The polygon of an element's own Coords, (P, 2) float64; None where it has none of three points or more."""
    coords = element.find("Coords")
    try:
        pairs = [each.split(",") for each in coords.get("points").split()]
        polygon = np.array([[float(x), float(y)] for x, y in pairs])
    except (AttributeError, ValueError):
        return None
    return polygon if len(polygon) >= 3 and np.isfinite(polygon).all() else None


def _cell(element: Element) -> Cell:
    pairs = (each.partition(":") for each in element.get("neighbors", "").split())
    corners = [element.get(name) for name in ("start-row", "end-row", "start-col", "end-col")]
    place = tuple(map(int, corners)) if all(each is not None for each in corners) else None
    return Cell(element.get("id", ""), _points(element), {name: side for name, _, side in pairs}, place)
