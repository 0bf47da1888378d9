"""The weighted F1 of ICDAR 2019 cTDaR, table detection (track A), as its official measuring tool has it.

F1 at IoU .6, .7, .8 and .9, weighted by the IoU: wF1 = (.6 F.6 + .7 F.7 + .8 F.8 + .9 F.9) / 3. On a page each marked
table, in the order of its file, takes the first detection left that overlaps it enough, not the best one. Counts are
summed over all pages. Coordinates are cut to whole numbers; a marked table is its polygon, a detection its box. There
is no score in the files that are handed in: detections below one are left out beforehand, .7 in DiT's code.

The tool (https://github.com/cndplab-founder/ctdar_measurement_tool, 738456d) counts the tables of pages for which
nothing was handed in, as it should, but on the way loses every other of these pages, the first, the third and so on. So
there are two readings: `published` is what the tool prints, `fixed` what it was meant to. They differ only where pages
are without detections. Which pages are the first depends on how the file system lists the folder; here it is by name.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from densessl.documents.average_precision import check_detections
from densessl.documents.detections import Detections
from densessl.documents.pages import LabelledPages
from densessl.errors import UserError

THRESHOLDS = (0.6, 0.7, 0.8, 0.9)
READINGS = ("published", "fixed")
SCORE = 0.7  # of DiT's code


@dataclass(frozen=True)
class WeightedF1:
    """weighted: in [0, 1], as are precision, recall and f1, one for each of `THRESHOLDS`. correct: tables found at
    each. found: detections that count. tables: marked tables that count. reading, score: how it was measured."""

    weighted: float
    f1: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    correct: tuple[int, ...]
    found: int
    tables: int
    reading: str
    score: float

    def record(self) -> dict:
        """All figures for a JSON file."""
        return {**asdict(self), "thresholds": THRESHOLDS}


def weighted_f1(
    pages: LabelledPages,
    detections: Detections,
    reading: str = "fixed",
    *,
    score: float = SCORE,
    table: str = "table",
) -> WeightedF1:
    """How well tables were found on the pages on which tables are labelled.

    reading: `published` or `fixed`. score: what a detection must have to count. table: the class. A figure that would
    divide by nothing is 0. Raises `UserError` for another reading or class, or detections of other pages.
    """
    if reading not in READINGS:
        raise UserError(f"There is no reading {reading!r} of the weighted F1: take {' or '.join(READINGS)}.")
    check_detections(pages, detections)
    kind = pages.class_index(table)
    detections = detections[(detections.classes == kind) & (detections.scores >= score)]
    correct, tables, found, missing = np.zeros(len(THRESHOLDS), np.int64), 0, 0, []
    for index in np.flatnonzero(pages.labelled[:, kind]).tolist():
        marked, boxes = marked_tables(pages, index, kind), whole_boxes(detections.on(index))
        if not boxes:
            missing.append((_stem(pages.source.name(index)), len(marked)))
            continue
        overlaps = np.array([[overlap(polygon, box) for box in boxes] for polygon in marked]).reshape(-1, len(boxes))
        correct += [first_come(overlaps >= threshold) for threshold in THRESHOLDS]
        tables, found = tables + len(marked), found + len(boxes)
    counted = sorted(missing)[1::2] if reading == "published" else missing
    tables += sum(count for _, count in counted)
    precision, recall = (tuple(_share(each, of) for each in correct.tolist()) for of in (found, tables))
    f1 = tuple(_share(2 * p * r, p + r) for p, r in zip(precision, recall, strict=True))
    weighted = sum(threshold * each for threshold, each in zip(THRESHOLDS, f1, strict=True)) / sum(THRESHOLDS)
    return WeightedF1(weighted, f1, precision, recall, tuple(correct.tolist()), found, tables, reading, score)


def marked_tables(pages: LabelledPages, index: int, kind: int) -> list[np.ndarray]:
    """The polygons (P, 2) of a page's tables in whole pixels, in the order of its file; a box where there is none."""
    objects = pages.on(index)
    objects = objects[objects.classes == kind]
    polygons = []
    for place, (x0, y0, x1, y1) in enumerate(objects.boxes.tolist()):
        shape = objects.shapes[place] if objects.shapes is not None else None
        whole = isinstance(shape, list) and len(shape) == 1
        polygons.append(np.trunc(shape[0] if whole else [[x0, y0], [x0, y1], [x1, y1], [x1, y0]]))
    return polygons


def whole_boxes(detections: Detections) -> list[tuple[int, int, int, int]]:
    """Boxes in whole pixels, cut as `int` does, by falling score."""
    return [tuple(map(int, box)) for box in detections.boxes.tolist()]


def first_come(fits: np.ndarray) -> int:
    """How many tables get a detection, each in turn the first left that fits. fits: (tables, boxes) bool."""
    left = np.ones(fits.shape[1], bool)
    count = 0
    for row in fits:
        free = np.flatnonzero(row & left)
        if len(free):
            left[free[0]] = False
            count += 1
    return count


def overlap(polygon: np.ndarray, box: Sequence[float]) -> float:
    """The IoU of a polygon (P, 2) whose sides do not cross each other, and a box x0, y0, x1, y1; 0 without any area."""
    x0, y0, x1, y1 = box
    shared = area(clipped(polygon, x0, y0, x1, y1)) if x1 > x0 and y1 > y0 else 0.0
    union = area(polygon) + max(0, x1 - x0) * max(0, y1 - y0) - shared
    return shared / union if union else 0.0


def area(polygon: np.ndarray) -> float:
    """Of a polygon (P, 2), by the shoelace formula."""
    if len(polygon) < 3:
        return 0.0
    x, y = np.asarray(polygon, np.float64).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def clipped(polygon: np.ndarray, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """The part of a polygon within a box, side by side (Sutherland and Hodgman, 1974).

    Of a polygon that the box takes apart, the parts hang together by lines, which have no area.
    """
    for axis, limit, sign in ((0, x0, 1), (0, x1, -1), (1, y0, 1), (1, y1, -1)):
        kept: list[np.ndarray] = []
        for here, there in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            inside, next_inside = ((sign * (each[axis] - limit)) >= 0 for each in (here, there))
            if inside:
                kept.append(here)
            if inside != next_inside:
                kept.append(here + (there - here) * ((limit - here[axis]) / (there[axis] - here[axis])))
        polygon = np.array(kept).reshape(-1, 2)
        if not len(polygon):
            break
    return polygon


def _stem(name: str) -> str:
    return os.path.splitext(os.path.basename(name))[0]


def _share(part: float, of: float) -> float:
    return part / of if of and not math.isnan(of) else 0.0
