"""COCO's average precision and recall, by pycocotools, of boxes and of masks.

IoU thresholds .50 to .95 in steps of .05, precision at 101 points of recall, of all sizes of objects
(https://cocodataset.org/#detection-eval). Two things are not in pycocotools: a detection of a class that is not
labelled on its page is left out, since nobody knows whether it is right; and objects that are `ignored`, such as VOC's
difficult ones, are neither found nor missed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass

import numpy as np

from densessl.documents.detections import Detections
from densessl.documents.pages import LabelledPages, Objects, Shape
from densessl.errors import UserError

MOST = 100  # detections of a page that count, the best of each class


@dataclass(frozen=True)
class Figures:
    """Shares in [0, 1], NaN where there is no object to find. ap: the mean over IoU thresholds, ap50 and ap75 at one;
    ar: the recall that the best `most` detections of each class and page reach, a mean over thresholds."""

    ap: float
    ap50: float
    ap75: float
    ar: float


@dataclass(frozen=True)
class AveragePrecision:
    """overall: means over the classes that have objects. classes: by name. most: detections of a page that count."""

    overall: Figures
    classes: dict[str, Figures]
    most: int

    def record(self) -> dict:
        """All figures for a JSON file, None for those that there are not."""
        found = {"overall": self.overall, **self.classes}
        plain = {name: _plain(asdict(figures)) for name, figures in found.items()}
        return {"overall": plain.pop("overall"), "classes": plain, "most": self.most}


def average_precision(
    pages: LabelledPages, detections: Detections, *, masks: bool = False, most: int = MOST
) -> AveragePrecision:
    """How well objects were found. masks: compare them, not boxes; most: such as 1000 where a page has many words.

    Raises `UserError` where detections are of other pages or classes, or masks are asked for that there are not.
    """
    check_detections(pages, detections)
    if masks and (pages.objects.shapes is None or detections.shapes is None):
        whose = "the pages" if pages.objects.shapes is None else "the detections"
        raise UserError(
            f"Masks cannot be compared, since {whose} have none: open the set with masks, or compare boxes."
        )
    detections = known(pages, detections)
    truth, found = _truth(pages, masks), _found(pages, detections, masks)
    evaluator = _evaluated(truth, found, "segm" if masks else "bbox", most, pages)
    precision = np.where(evaluator["precision"] < 0, np.nan, evaluator["precision"])[..., 0, -1]  # (T, R, K)
    recall = np.where(evaluator["recall"] < 0, np.nan, evaluator["recall"])[..., 0, -1]  # (T, K)
    by_class = {
        name: _figures(precision[:, :, place : place + 1], recall[:, place : place + 1])
        for place, name in enumerate(pages.classes)
    }
    return AveragePrecision(_figures(precision, recall), by_class, most)


def check_detections(pages: LabelledPages, detections: Detections) -> None:
    """Raise `UserError` where detections are of another number of pages, or of classes that the pages do not have."""
    if detections.pages != len(pages):
        raise UserError(f"The detections are of {detections.pages} pages and {pages.name} has {len(pages)}.")
    if len(detections) and not 0 <= detections.classes.min() <= detections.classes.max() < len(pages.classes):
        raise UserError(f"The detections have classes beyond the {len(pages.classes)} of {pages.name}.")
    if not (np.isfinite(detections.boxes).all() and np.isfinite(detections.scores).all()):
        raise UserError("The detections hold boxes or scores that are no finite numbers: mend the detector.")


def known(pages: LabelledPages, detections: Detections) -> Detections:
    """The detections of classes that are labelled on their page."""
    return detections[pages.labelled[detections.page, detections.classes]]


def _figures(precision: np.ndarray, recall: np.ndarray) -> Figures:
    """precision: (T, R, K); recall: (T, K)."""
    return Figures(_mean(precision), _mean(precision[0]), _mean(precision[5]), _mean(recall))


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else math.nan


def _plain(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in figures.items()}


def _evaluated(truth: list, found: list, kind: str, most: int, pages: LabelledPages) -> dict[str, np.ndarray]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    class Evaluator(COCOeval):
        def _prepare(self) -> None:
            super()._prepare()  # sets `ignore` to iscrowd
            for objects in self._gts.values():
                for each in objects:
                    each["ignore"] = each["iscrowd"] or each["ignored"]

    sizes = enumerate(pages.sizes.tolist())
    images = [{"id": index, "width": width, "height": height} for index, (width, height) in sizes]
    categories = [{"id": kind} for kind in range(len(pages.classes))]
    sides = []
    with redirect_stdout(io.StringIO()):
        for annotations in (truth, found):
            side = COCO()
            side.dataset = {"images": images, "categories": categories, "annotations": annotations}
            side.createIndex()
            sides.append(side)
        evaluator = Evaluator(*sides, kind)
        evaluator.params.maxDets = [most]
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval


def _truth(pages: LabelledPages, masks: bool) -> list[dict]:
    entries = _entries(pages, pages.objects, masks)
    flags = zip(pages.objects.crowd.tolist(), pages.objects.ignored.tolist(), strict=True)
    return [
        {**entry, "iscrowd": int(crowd), "ignored": int(ignored)}
        for entry, (crowd, ignored) in zip(entries, flags, strict=True)
    ]


def _found(pages: LabelledPages, detections: Detections, masks: bool) -> list[dict]:
    entries = _entries(pages, detections, masks)
    return [
        {**entry, "score": score, "iscrowd": 0}
        for entry, score in zip(entries, detections.scores.tolist(), strict=True)
    ]


def _entries(pages: LabelledPages, rows: Objects | Detections, masks: bool) -> list[dict]:
    boxes = rows.boxes.copy()
    boxes[:, 2:] -= boxes[:, :2]
    shapes = rows.shapes if masks else (None,) * len(rows)
    places = zip(rows.page.tolist(), rows.classes.tolist(), boxes.tolist(), shapes, strict=True)
    return [
        {
            "id": number,
            "image_id": page,
            "category_id": kind,
            "bbox": box,
            "area": box[2] * box[3],
            **({"segmentation": run_lengths(shape, box, pages.sizes[page])} if masks else {}),
        }
        for number, (page, kind, box, shape) in enumerate(places, start=1)
    ]


def run_lengths(shape: Shape | None, box: Sequence[float], size: Sequence[int]) -> dict:
    """A mask as COCO's run lengths. box: x, y, width, height, for an object without a shape. size: width and height."""
    from pycocotools import mask

    if isinstance(shape, dict):
        return shape
    width, height = map(int, size)
    if shape is None:
        x, y, wide, high = box
        shape = [np.array([[x, y], [x + wide, y], [x + wide, y + high], [x, y + high]])]
    flat = [np.asarray(polygon, np.float64).reshape(-1).tolist() for polygon in shape]
    return mask.merge(mask.frPyObjects(flat, height, width))
