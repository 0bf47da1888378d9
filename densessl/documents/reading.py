"""Detections from a COCO file, such as `densessl detect predict` writes, for the pages of a set."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from densessl.documents import problems as kinds
from densessl.documents.detections import Detections
from densessl.documents.pages import LabelledPages
from densessl.documents.problems import Kind, Problems
from densessl.documents.sets.coco import corners
from densessl.documents.sets.masks import filled_runs, near_page, polygons
from densessl.errors import UserError

NO_SCORE = Kind("detections without a score in [0, 1]", "write it into each of them")
UNKNOWN_PAGE = Kind("detections on pages that are not in the set", "detect on the pages of the set alone")
UNKNOWN_CLASS = Kind("detections of classes that the set does not have", "name the categories as the set's classes")


def read_detections(path: str | Path, pages: LabelledPages, *, masks: bool = False) -> Detections:
    """The detections of a COCO file with images, categories and annotations that have a score in [0, 1].

    Pages are told by file_name as the set has it, or by its last part where only one page is called so; classes by
    name, in any case of letters. masks: read segmentations too. Raises `UserError` with all that is wrong.
    """
    try:
        content = json.loads(Path(path).read_bytes())
        files = {entry["id"]: str(entry["file_name"]) for entry in content["images"]}
        names = {entry["id"]: str(entry["name"]).lower() for entry in content["categories"]}
        hash(tuple((row["image_id"], row["category_id"]) for row in content["annotations"]))  # lists are no ids
        rows = [
            (row["image_id"], row["category_id"], row["bbox"], row.get("score"), row.get("segmentation"))
            for row in content["annotations"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read as detections: {error!r}; it needs images, categories and annotations as COCO has "
            "them."
        ) from None
    known, classes = _by_name(pages), {name.lower(): number for number, name in enumerate(pages.classes)}
    problems, found = Problems(str(path)), []
    for place, (image, category, box, score, shape) in enumerate(rows):
        name = str(files.get(image, f"image {image}"))
        page = known.get(name, known.get(os.path.basename(name)))
        kind = classes.get(names.get(category, ""))
        if page is None:
            problems.add(UNKNOWN_PAGE, name)
        elif kind is None:
            problems.add(UNKNOWN_CLASS, names.get(category, f"category {category}"))
        elif not isinstance(score, int | float) or not 0 <= score <= 1:
            problems.add(NO_SCORE, f"annotation in place {place}")
        elif corners(box) is None:
            problems.add(kinds.NOT_NUMBERS, f"annotation in place {place}")
        else:
            mask = _mask(shape, pages.sizes[page].tolist()) if masks else None
            if isinstance(mask, Kind):
                problems.add(mask, f"annotation in place {place}")
            found.append((page, corners(box), kind, score, mask))
    problems.check()
    page, boxes, kind, scores, shapes = zip(*found, strict=True) if found else ((),) * 5
    return Detections.sorted(len(pages), page, boxes, kind, scores, shapes if masks else None)


def _by_name(pages: LabelledPages) -> dict[str, int]:
    """Pages by name, and by the last part of a name that no other page has."""
    names = [pages.source.name(index) for index in range(len(pages))]
    last = [os.path.basename(name) for name in names]
    parts, counts = np.unique(last, return_counts=True)
    single = set(parts[counts == 1].tolist())
    return {part: place for place, part in enumerate(last) if part in single} | {
        name: place for place, name in enumerate(names)
    }


def _mask(given: object, size: list[int]) -> list[np.ndarray] | dict | Kind:
    """The mask, or what is wrong with it."""
    if not isinstance(given, list):
        return filled_runs(given, tuple(size)) or kinds.BROKEN_MASK
    shape = polygons(given)
    return (near_page(shape, size) or kinds.MASK_OUTSIDE) if shape else kinds.BROKEN_MASK
