"""`densessl detect eval`: how well a detector finds what is marked on pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from densessl import config as configs
from densessl.data.images import UnreadableImage
from densessl.documents.average_precision import MOST, average_precision
from densessl.documents.detection.config import resolve
from densessl.documents.detection.detector import Detector, load_detector
from densessl.documents.detection.objects import Found
from densessl.documents.detection.sets import limited_pages, open_sets
from densessl.documents.detection.sets import training_pages as split_pages
from densessl.documents.detections import Detections
from densessl.documents.matching import counts
from densessl.documents.pages import LabelledPages
from densessl.documents.pictures import worst_pages
from densessl.documents.weighted_f1 import READINGS, weighted_f1
from densessl.environment import environment
from densessl.errors import UserError
from densessl.files import claimed, write_image, write_text
from densessl.hardware import Hardware
from densessl.progress import Progress, Report, silent

RECORD = "evaluation.json"


def evaluate(recipe: str | Path, overrides: Sequence[str] = ()) -> str:
    """Judge the detector of a run by the pages of its `val`, else by those that `val_share` kept apart; the figures as
    text. They are written to evaluation.json in the run's folder, pages with most mistakes to pictures/mistakes.jpg.

    recipe, overrides: those of the run; its folder will do. Raises `UserError` where there is no detector or no page.
    """
    config = resolve(recipe, overrides)
    folder = Path(config.out).expanduser()
    detector = load_detector(folder)
    if not (config.val or config.val_share):
        raise UserError(f"{recipe} names no pages to judge by: give val=SET, such as val=coco:FOLDER.")
    if config.val:
        pages = open_sets(config.val, config.val_split, config, detector.classes, Progress(), judging=True)
    else:
        _, pages = split_pages(config, Progress())
        pages = pages.in_classes(detector.classes)
    if "limit" in configs.parse_overrides(overrides):
        pages = limited_pages(pages, config)
    with claimed(folder):
        return report_of(judge(detector, pages, config.devices, folder, Progress()))


def judge(
    detector: Detector, pages: LabelledPages, devices: str, folder: Path | None = None, report: Report = silent
) -> dict[str, Any]:
    """The figures of a detector on these pages; where there is a folder, evaluation.json and a picture go there."""
    found, most = detect(detector, pages, devices, report), max(MOST, detector.config.most)
    record: dict[str, Any] = {
        "pages": len(pages),
        "data": pages.name,
        "boxes": average_precision(pages, found, most=most).record(),
    }
    if detector.config.masks:
        record["masks"] = average_precision(pages, found, masks=True, most=most).record()
    known = [each.lower() for each in pages.classes]
    if "table" in known:
        readings = {each: weighted_f1(pages, found, each, table="table").record() for each in READINGS}
        record["tables"] = readings
    half = counts(pages, found)
    record["at_half"] = {"precision": half.precision, "recall": half.recall, "f1": half.f1}
    if folder is not None:
        write_text(folder / RECORD, json.dumps({**record, "environment": environment()}, indent=1) + "\n")
        picture = worst_pages(pages, found)
        if picture is not None:
            write_image(folder / "pictures" / "mistakes.jpg", picture)
    return record


def detect(detector: Detector, pages: LabelledPages, devices: str = "auto", report: Report = silent) -> Detections:
    """What a detector finds on the pages of a set; the detector comes back on the CPU, in evaluation.

    A page that cannot be read has nothing on it: what is marked there is missed.
    """
    detector.to(device_of(devices)).eval()
    page, boxes, classes, scores, shapes = [], [], [], [], []
    for index in range(len(pages)):
        report("Detecting", index, len(pages), "")
        try:
            image = pages.read(index)
        except UnreadableImage:
            continue
        found = detector.find(image)
        page += [index] * len(found.boxes)
        boxes += found.boxes.tolist()
        classes += found.classes.tolist()
        scores += found.scores.tolist()
        shapes += run_lengths(found, image.shape[:2]) if found.masks is not None else [None] * len(found.boxes)
    report("Detecting", len(pages), len(pages), "")
    detector.cpu()
    return Detections.sorted(len(pages), page, boxes, classes, scores, shapes if detector.config.masks else None)


def run_lengths(found: Found, size: tuple[int, int]) -> list[dict]:
    """The masks of what was found on a page (H, W) as COCO's run lengths, one by one, so that memory is that of one."""
    from pycocotools import mask

    return [
        mask.encode(np.asfortranarray(whole_mask(found, place, size).astype(np.uint8)))
        for place in range(len(found.boxes))
    ]


def whole_mask(found: Found, place: int, size: tuple[int, int]) -> np.ndarray:
    """A mask on its page: (H, W) bool, true at pixels whose centres lie where the mask is 0.5 or more.

    As detectron2 pastes masks; torchvision's way rounds boxes to pixels, by which lines of text lose a sixth.
    """
    page, box = np.zeros(size, bool), found.boxes[place].float().cpu()
    x0, y0, x1, y1 = box.tolist()
    left, top = max(0, floor(x0)), max(0, floor(y0))
    right, bottom = min(size[1], ceil(x1)), min(size[0], ceil(y1))
    if right <= left or bottom <= top:
        return page
    x = (torch.arange(left, right) + 0.5 - x0) / max(x1 - x0, 1e-6) * 2 - 1
    y = (torch.arange(top, bottom) + 0.5 - y0) / max(y1 - y0, 1e-6) * 2 - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
    inside = F.grid_sample(found.masks[place].float().cpu()[None, None], grid, align_corners=False)[0, 0]
    page[top:bottom, left:right] = inside.numpy() >= 0.5
    return page


def device_of(devices: str) -> str:
    """The torch device of the one process that detects."""
    return "cuda" if Hardware.of(devices).accelerator == "gpu" else "cpu"


def report_of(record: dict[str, Any]) -> str:
    """The figures in lines, in percent."""

    def percent(value: float | None) -> str:
        return "   -" if value is None else f"{100 * value:4.1f}"

    lines = []
    for what in ("boxes", "masks"):
        if what not in record:
            continue
        figures = record[what]
        lines.append(f"AP of {what} on {record['pages']} pages: {percent(figures['overall']['ap'])} %")
        lines += [
            f"  {name}: AP {percent(each['ap'])}, AP50 {percent(each['ap50'])}, AP75 {percent(each['ap75'])}"
            for name, each in figures["classes"].items()
        ]
    for reading, each in record.get("tables", {}).items():
        lines.append(f"Weighted F1 of tables, {reading}: {percent(each['weighted'])} %")
    half = record["at_half"]
    parts = ", ".join(f"{name} {percent(half[name])}" for name in ("precision", "recall", "f1"))
    return "\n".join([*lines, f"At IoU and score 0.5: {parts}"])
