"""What one looks at to name segments: a page of places per segment, and a legend of the classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from densessl.data.resize import resize
from densessl.files import write_image
from densessl.segmentation.outputs.names import Classes
from densessl.segmentation.outputs.overlay import Colour
from densessl.segmentation.outputs.tally import Region, Tally

PAPER, INK, FAINT = (250, 248, 244), (38, 40, 46), (120, 122, 128)
MARGIN, GAP, HEAD, COLUMNS = 28, 8, 64, 4  # pixels: around, between crops, of the title; crops in a row
CROP = (300, 240)  # width and height of a place
AROUND = 0.25  # of a region's sides, shown on each side of it
LEAST = 0.35  # of the picture's shorter side, that a crop shows at least
ROW, LEGEND_ROWS, LEGEND_WIDTH = 40, 24, 460  # pixels of a line; lines in a column; pixels of a column
LEGEND_COLUMNS = 6  # beyond which columns grow longer
SHOWN = 240  # classes of a legend, which is then 2760 x 1732 pixels


def draw_sheet(
    path: Path, segment: int, tally: Tally, read: Callable[[int], tuple[np.ndarray, np.ndarray] | None]
) -> None:
    """Write the page of a segment: the places where most of it lies together, all else dimmed.

    read: the picture (H, W, 3) uint8 and its segments (H, W) by number, or None where the picture is gone.
    """
    classes = tally.classes
    colour = classes.class_colours[int(classes.table()[segment])]  # as overlays show it
    places = [
        crop(*found, segment, region, colour)
        for region in tally.regions(segment)
        if (found := read(region.picture)) is not None
    ]
    rows = -(-len(places) // COLUMNS)
    width = 2 * MARGIN + COLUMNS * (CROP[0] + GAP) - GAP
    sheet = Image.new("RGB", (width, MARGIN + HEAD + max(1, rows) * (CROP[1] + GAP) - GAP + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.rounded_rectangle((MARGIN, MARGIN, MARGIN + 36, MARGIN + 36), 6, fill=colour)
    name = f"segment {segment}" + (f": {classes.names[segment]}" if classes.names[segment] else "")
    pen.text((MARGIN + 50, MARGIN + 18), name, INK, _font(26), anchor="lm")
    pictures = f"{tally.images[segment]} {'picture' if tally.images[segment] == 1 else 'pictures'}"
    facts = f"{tally.shares[segment]:.1%} of all pixels, in {pictures}"
    pen.text((width - MARGIN, MARGIN + 18), facts, FAINT, _font(20), anchor="rm")
    if classes.given:
        pen.text(
            (MARGIN + 50, MARGIN + 47), _shortened(_class_of(classes, segment), 1100, 17), FAINT, _font(17), anchor="lm"
        )
    if not places:
        pen.text((MARGIN, MARGIN + HEAD + 20), "No picture holds any of it.", FAINT, _font(20))
    for i, place in enumerate(places):
        left, top = MARGIN + i % COLUMNS * (CROP[0] + GAP), MARGIN + HEAD + i // COLUMNS * (CROP[1] + GAP)
        sheet.paste(Image.fromarray(place), (left, top))
    write_image(path, np.asarray(sheet))


def crop(image: np.ndarray, labels: np.ndarray, segment: int, region: Region, colour: Colour) -> np.ndarray:
    """uint8 of the size CROP: the picture around the region, what is not of the segment greyed and lightened."""
    high, wide = labels.shape
    left, top, right, bottom = _window(region.box, wide, high)
    image, inside = image[top:bottom, left:right], (labels[top:bottom, left:right] == segment).astype(np.float32)
    scale = min(CROP[0] / (right - left), CROP[1] / (bottom - top))
    size = [max(1, round(scale * side)) for side in image.shape[:2]]
    image = resize(image, *size).astype(np.float32)
    inside = np.clip(resize(np.ascontiguousarray(inside), *size), 0, 1)
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    dimmed = 0.35 * grey + 0.65 * np.array(PAPER, dtype=np.float32)
    shown = dimmed + (image - dimmed) * inside[..., None]
    solid = (inside > 0.5).astype(np.uint8)
    line = cv2.morphologyEx(solid, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).astype(np.float32)
    line = cv2.GaussianBlur(line, (0, 0), 0.6)[..., None]
    shown += (np.array(colour, dtype=np.float32) - shown) * line
    page = np.empty((CROP[1], CROP[0], 3), dtype=np.uint8)
    page[:] = PAPER
    y, x = (CROP[1] - size[0]) // 2, (CROP[0] - size[1]) // 2
    page[y : y + size[0], x : x + size[1]] = shown.round().clip(0, 255).astype(np.uint8)
    return page


def _window(box: tuple[float, float, float, float], wide: int, high: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels: the box and what lies around it, of the crop's aspect where there is room."""
    width, height = (box[2] - box[0]) * wide * (1 + 2 * AROUND), (box[3] - box[1]) * high * (1 + 2 * AROUND)
    height = max(height, LEAST * min(wide, high), width * CROP[1] / CROP[0])
    width = max(width, height * CROP[0] / CROP[1])
    width, height = (max(1, min(side, round(length))) for side, length in ((wide, width), (high, height)))
    left = round((box[0] + box[2]) / 2 * wide - width / 2)
    top = round((box[1] + box[3]) / 2 * high - height / 2)
    left, top = min(max(0, left), wide - width), min(max(0, top), high - height)
    return left, top, left + width, top + height


def draw_legend(path: Path, tally: Tally) -> None:
    """Write a swatch, index, name, segments and share of each class, in columns; of very many the largest."""
    classes: Classes = tally.classes
    shown = sorted(np.argsort(-tally.class_shares, kind="stable")[:SHOWN].tolist())
    rows = max(LEGEND_ROWS, -(-len(shown) // LEGEND_COLUMNS))
    columns, rows = -(-len(shown) // rows), min(len(shown), rows)
    sheet = Image.new("RGB", (columns * LEGEND_WIDTH, 2 * MARGIN + (rows + 1) * ROW), PAPER)
    pen = ImageDraw.Draw(sheet)
    head = "Values in classes/, with their segments" if classes.given else "Values in labels/"
    pen.text((MARGIN, MARGIN + ROW // 2 - 4), head, FAINT, _font(18), anchor="lm")
    if columns > 1 and len(shown) < len(classes.members):
        left_out = f"The {len(shown)} largest of {len(classes.members)}; segments.json has all."
        pen.text((MARGIN + LEGEND_WIDTH, MARGIN + ROW // 2 - 4), left_out, FAINT, _font(18), anchor="lm")
    for place, index in enumerate(shown):
        left, top = place // rows * LEGEND_WIDTH + MARGIN, MARGIN + (1 + place % rows) * ROW
        middle = top + ROW // 2
        pen.rounded_rectangle((left, top + 5, left + 44, top + ROW - 5), 5, fill=classes.class_colours[index])
        pen.text((left + 96, middle), str(index), FAINT, _font(20), anchor="rm")
        _write_name(pen, (left + 112, middle), classes, index, LEGEND_WIDTH - 2 * MARGIN - 190)
        share = f"{tally.class_shares[index]:.1%}"
        pen.text((left + LEGEND_WIDTH - 2 * MARGIN, middle), share, FAINT, _font(18), anchor="rm")
    write_image(path, np.asarray(sheet))


def _write_name(pen: ImageDraw.ImageDraw, place: tuple[int, int], classes: Classes, index: int, width: int) -> None:
    """The name of a class and, where the user gave it, the segments that it holds below."""
    members, (left, middle) = classes.members[index], place
    named = classes.names[members[0]] is not None
    name = _shortened(classes.class_names[index], width)
    pen.text((left, middle - 7 if named else middle), name, INK, _font(18 if named else 20), anchor="lm")
    if named:
        pen.text((left, middle + 11), _shortened(_segments(members), width, 13), FAINT, _font(13), anchor="lm")


def _class_of(classes: Classes, segment: int) -> str:
    """Which class a segment is in, and what else is."""
    index = int(classes.table()[segment])
    return f"Class {index}, {classes.class_names[index]}, holds {_segments(classes.members[index])}."


def _segments(members: Sequence[int]) -> str:
    *others, last = map(str, members)
    return f"segments {', '.join(others)} and {last}" if others else f"segment {last}"


def _shortened(text: str, width: int, size: int = 20) -> str:
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has Greek, Cyrillic and Arabic too."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
