"""Pages with their hits, misses and false alarms drawn on them, and a sheet of the worst pages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from densessl.documents.detections import Detections
from densessl.documents.matching import IOU, SCORE, Match, match, worst
from densessl.documents.pages import LabelledPages

# Those who do not tell red from green tell these three apart too (Okabe and Ito, 2008); darkened for white pages.
HIT, MISS, FALSE = (0, 133, 96), (0, 94, 184), (205, 62, 0)
MARKED = (120, 196, 172)  # where a hit is marked
LONG = 1280  # pixels of the long side of a picture
TINT = 0.13  # share of the colour within a miss or a false alarm
DASH = 9  # pixels


def page_picture(
    pages: LabelledPages,
    detections: Detections,
    index: int,
    *,
    iou: float = IOU,
    score: float = SCORE,
    long: int = LONG,
    name_hits: bool = True,
) -> np.ndarray:
    """The page with what was found, missed and wrongly found, below a legend: (H, W, 3) uint8 RGB.

    A hit is drawn where it was detected, with a fine line where it is marked; a miss (dashed) where it is marked.
    Detections that `match` puts aside are not drawn. iou, score: what a hit must have. long: pixels of the page's long
    side. name_hits: write class and score of hits, too, not only of what went wrong.
    """
    found = match(pages, detections, index, iou=iou, score=score)
    image, scale = scaled(pages.read(index), long)
    ink = cv2.integral(255 - cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    drawn = [(box * scale, *rest) for box, *rest in _drawn(pages, detections, index, found)]
    canvas = Image.fromarray(_tinted(image, drawn))
    draw, line = ImageDraw.Draw(canvas), max(2, round(long / 500))
    for box in pages.on(index).boxes[found.hits[:, 1]] * scale:
        outlined(draw, box, MARKED, 1)
    for box, colour, _ in drawn:
        (_dashed if colour == MISS else outlined)(draw, box, colour, line)
    # What went wrong is named first, so that its names get the better places.
    large, taken = max(13, round(long / 85)), []
    for box, colour, text in sorted(drawn, key=lambda each: each[1] == HIT):
        if colour != HIT or name_hits:
            write_name(draw, box, text, colour, lettering(round(large * (0.8 if colour == HIT else 1))), taken, ink)
    letters = lettering(large)
    return np.vstack([_legend(found, canvas.width, letters, pages.source.name(index)), np.asarray(canvas)])


def worst_pages(
    pages: LabelledPages,
    detections: Detections,
    *,
    most: int = 12,
    columns: int = 4,
    wide: int = 480,
    iou: float = IOU,
    score: float = SCORE,
) -> np.ndarray | None:
    """A sheet of the pages with most misses and false alarms, the worst first; uint8 RGB, None where nothing is wrong.

    columns: pages side by side, each `wide` pixels.
    """
    chosen = worst(pages, detections, most, iou=iou, score=score)
    if not chosen:
        return None
    cells = []
    for index in chosen:
        picture = page_picture(pages, detections, index, iou=iou, score=score, long=2 * wide, name_hits=False)
        cells.append(_fitted(picture, wide))
    columns = min(columns, len(cells))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    return np.vstack([_row(row, columns, wide) for row in rows])


def _drawn(
    pages: LabelledPages, detections: Detections, index: int, found: Match
) -> list[tuple[np.ndarray, tuple[int, int, int], str]]:
    """Box in pixels of the page, colour and name of all that is to be drawn."""
    objects, boxes = pages.on(index), detections.on(index)

    def named(place: int) -> str:
        return f"{pages.classes[boxes.classes[place]]} {boxes.scores[place]:.2f}"

    hits = [(boxes.boxes[place], HIT, named(place)) for place in found.hits[:, 0]]
    misses = [(objects.boxes[place], MISS, pages.classes[objects.classes[place]]) for place in found.misses]
    return [*hits, *misses, *((boxes.boxes[place], FALSE, named(place)) for place in found.false_alarms)]


def scaled(image: np.ndarray, long: int) -> tuple[np.ndarray, float]:
    scale = long / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), scale


def _tinted(image: np.ndarray, drawn: Sequence[tuple[np.ndarray, tuple[int, int, int], str]]) -> np.ndarray:
    """The page with what went wrong in its colour."""
    tinted = image.copy()
    for box, colour, _ in drawn:
        if colour != HIT:
            x0, y0, x1, y1 = (max(0, round(each)) for each in box.tolist())
            part = tinted[y0:y1, x0:x1].astype(np.float32)
            tinted[y0:y1, x0:x1] = (part * (1 - TINT) + np.array(colour, np.float32) * TINT).round()
    return tinted


def outlined(draw: ImageDraw.ImageDraw, box: Sequence[float], colour: tuple[int, int, int], line: int) -> None:
    draw.rectangle([round(each) for each in box], outline=colour, width=line)


def _dashed(draw: ImageDraw.ImageDraw, box: Sequence[float], colour: tuple[int, int, int], line: int) -> None:
    x0, y0, x1, y1 = box
    for start, end, fixed, level in ((x0, x1, y0, 1), (x0, x1, y1, 1), (y0, y1, x0, 0), (y0, y1, x1, 0)):
        for begin in np.arange(start, end, 2 * DASH):
            stop = min(end, begin + DASH)
            draw.line([(begin, fixed), (stop, fixed)] if level else [(fixed, begin), (fixed, stop)], colour, line)


def write_name(
    draw: ImageDraw.ImageDraw,
    box: Sequence[float],
    text: str,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont,
    taken: list[tuple[float, float, float, float]],
    ink: np.ndarray,
) -> None:
    """Write a name in white on its colour beside its box, where there is no other name and least ink of the page.

    taken: where names are, to which this one is added. ink: (H + 1, W + 1), sums of darkness from the upper left.
    """
    x0, y0, x1, y1 = box
    wide, high = round(draw.textlength(text, font)) + 6, sum(font.getmetrics()) + 1
    bottom, right = ink.shape[0] - 1 - high, ink.shape[1] - 1 - wide
    corners = [(x0, y0 - high), (x0 - wide, y0), (x1 - wide, y0 - high), (x1, y0), (x0, y1), (x1 - wide, y1), (x0, y0)]
    tabs = []
    for x, y in corners:
        left, top = round(min(max(0, x), max(0, right))), round(min(max(0, y), max(0, bottom)))
        tabs.append((left, top, left + wide, top + high))

    def cost(tab: tuple[int, int, int, int]) -> tuple[bool, float]:
        left, top, end, foot = tab[0], tab[1], min(tab[2], ink.shape[1] - 1), min(tab[3], ink.shape[0] - 1)
        darkness = int(ink[foot, end]) - int(ink[top, end]) - int(ink[foot, left]) + int(ink[top, left])
        return any(_touch(tab, other) for other in taken), darkness

    tab = min(tabs, key=cost)
    taken.append(tab)
    draw.rectangle(tab, fill=colour)
    draw.text((tab[0] + 3, tab[1]), text, "white", font)


def _touch(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _legend(found: Match, wide: int, font: ImageFont.FreeTypeFont, name: str) -> np.ndarray:
    """What the colours mean, with how many there are of each, and the page's name where it fits."""
    high = sum(font.getmetrics()) + 14
    entries = ((HIT, "found", len(found.hits)), (MISS, "missed", len(found.misses)))
    entries += ((FALSE, "false alarm", len(found.false_alarms)),)
    strip = Image.new("RGB", (wide, high), "white")
    draw, x = ImageDraw.Draw(strip), 8.0
    for colour, meaning, count in entries:
        box = [round(x), 8, round(x) + high - 16, high - 8]
        draw.rectangle(box, fill=tuple(round(255 - (255 - each) * 3 * TINT) for each in colour))
        (_dashed if colour == MISS else outlined)(draw, box, colour, 2)
        text = f"{count} {meaning}{'s' if colour == FALSE and count != 1 else ''}"
        draw.text((box[2] + 6, 6), text, "black", font)
        x = box[2] + 6 + draw.textlength(text, font) + 20
    title = os.path.basename(name)
    if x + draw.textlength(title, font) + 8 <= wide:
        draw.text((wide - draw.textlength(title, font) - 8, 6), title, (90, 90, 90), font)
    return np.asarray(strip)


def _fitted(picture: np.ndarray, wide: int) -> np.ndarray:
    scale = wide / picture.shape[1]
    return cv2.resize(picture, (wide, max(1, round(picture.shape[0] * scale))), interpolation=cv2.INTER_AREA)


def _row(cells: Sequence[np.ndarray], columns: int, wide: int) -> np.ndarray:
    """Cells side by side on grey, as high as the highest, with a gap around each."""
    gap = 8
    high = max(cell.shape[0] for cell in cells)
    row = np.full((high + 2 * gap, columns * (wide + gap) + gap, 3), 225, np.uint8)
    for place, cell in enumerate(cells):
        left = gap + place * (wide + gap)
        row[gap : gap + cell.shape[0], left : left + wide] = cell
    return row


@lru_cache(maxsize=8)
def lettering(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which Matplotlib brings: class names have letters of all kinds."""
    from matplotlib import get_data_path

    return ImageFont.truetype(os.path.join(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
