"""Pictures of the figures of a page, cut out of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from densessl.documents.parsing.model import Page
from densessl.documents.parsing.views import View
from densessl.files import write_image

FLAT = 2_000  # colours up to which a picture is drawn rather than photographed
MARGIN = 2.0  # points around a figure: letters reach a little beyond their boxes
LEAST = 4  # pixels of a side


def write_figures(page: Page, picture: np.ndarray, folder: Path) -> None:
    """Write FOLDER/ID.png or, of photographs, ID.jpg for each figure, upright however it stands on the page, and set
    its `figure` to FOLDER's name and that.

    picture: of the page, (H, W, 3) uint8 RGB.
    """
    scale = page.dpi / 72
    for block in page.blocks:
        if block.type != "figure":
            continue
        x0, y0, x1, y1 = block.bbox
        x0, y0, x1, y1 = (round(each * scale) for each in (x0 - MARGIN, y0 - MARGIN, x1 + MARGIN, y1 + MARGIN))
        cut = picture[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
        if min(cut.shape[:2]) < LEAST:
            continue
        cut = View(block.turn).picture(cut)
        drawn = _colours(cut) <= FLAT
        name = f"{block.id}.{'png' if drawn else 'jpg'}"
        write_image(folder / name, cut, [] if drawn else [cv2.IMWRITE_JPEG_QUALITY, 92])
        block.figure = f"{folder.name}/{name}"


def _colours(picture: np.ndarray) -> int:
    """How many there are."""
    values = picture.astype(np.int32)
    return len(np.unique(values[..., 0] << 16 | values[..., 1] << 8 | values[..., 2]))
