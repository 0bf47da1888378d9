"""Pictures of detections: a page with what was found on it, and pages as a detector learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw

from densessl.documents.pictures import lettering, outlined, scaled, write_name

if TYPE_CHECKING:
    from densessl.documents.detection.examples import PageDataset

# Told apart by those who do not tell red from green too (Okabe and Ito, 2008); darkened for white pages.
COLOURS = (
    (0, 94, 184),
    (205, 62, 0),
    (0, 133, 96),
    (150, 50, 120),
    (176, 118, 0),
    (40, 130, 180),
    (110, 110, 20),
    (90, 60, 160),
    (150, 30, 50),
    (0, 110, 120),
    (90, 90, 90),
)
LONG = 1280  # pixels of the long side of an overlay
TINT = 0.12  # share of the colour within a mask
LEARNED, CELL = 8, 480  # pages in the picture of what is learned, and pixels of the side of each


def overlay(
    page: np.ndarray,
    boxes: np.ndarray,
    classes: Sequence[int],
    texts: Sequence[str],
    masks: np.ndarray | None = None,
    long: int = LONG,
) -> np.ndarray:
    """A page (H, W, 3) uint8 RGB with named boxes in a colour for each class, at a long side of `long` px.

    boxes: (n, 4) in pixels of the page. texts: of each. masks: (n, H, W) bool.
    """
    image, scale = scaled(page, long)
    colours = [COLOURS[each % len(COLOURS)] for each in classes]
    for mask, colour in zip(() if masks is None else masks, colours, strict=False):
        inside = cv2.resize(mask.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
        image[inside] = (image[inside] * (1 - TINT) + np.array(colour) * TINT).round()
    ink = cv2.integral(255 - cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    canvas = Image.fromarray(image)
    draw, line = ImageDraw.Draw(canvas), max(2, round(long / 500))
    large, taken = lettering(max(11, round(long / 100))), []
    for box, colour in zip(boxes * scale, colours, strict=True):
        outlined(draw, box, colour, line)
    for box, colour, text in zip(boxes * scale, colours, texts, strict=True):
        write_name(draw, box, text, colour, large, taken, ink)
    return np.asarray(canvas)


def learned_picture(dataset: PageDataset) -> np.ndarray:
    """Some pages as the first epoch shows them, with what is marked there; (H, W, 3) uint8 RGB."""
    shown = min(LEARNED, len(dataset))
    cells = []
    for place in range(shown):
        item = dataset[0, place * len(dataset) // shown]
        if "failed" in item:
            continue
        boxes, classes = item["target"]["boxes"].numpy(), item["target"]["classes"].tolist()
        masks = item["target"]["masks"].numpy() > 0 if "masks" in item["target"] else None
        texts = [dataset.pages.classes[each] for each in classes]
        drawn = overlay(item["page"], boxes, classes, texts, masks, max(CELL, max(item["page"].shape[:2])))
        cell = np.full((CELL, CELL, 3), 225, np.uint8)
        part, _ = scaled(drawn, CELL)
        cell[: part.shape[0], : part.shape[1]] = part
        cells.append(cell)
    if not cells:
        return np.full((CELL, CELL, 3), 225, np.uint8)
    columns = min(4, len(cells))
    cells += [np.full_like(cells[0], 225)] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)])
