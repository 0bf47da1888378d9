"""The contact sheet of `densessl demo`: scenes beside their truth and segments, photographs beside theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from densessl.data.images import read_image
from densessl.data.synthetic import CLASSES
from densessl.files import write_image

COLOURS = ("a9d3ea", "8f88a8", "b9cf6f", "3f7f5a", "d9694f", "55585f", "3f7fb5", "ecd3a0")  # by class
PAPER, INK, FAINT = (250, 248, 244), (38, 40, 46), (120, 122, 128)
MARGIN, GAP, BLOCK = 48, 8, 28  # pixels: around, between pictures, between groups of them
SCENE, PHOTOGRAPH = (192, 156), (188, 141)  # width and height of a picture
SCENE_ROWS, SCENE_COLUMNS, PHOTOGRAPH_COLUMNS = 6, 2, 4
SHOWN = {"pretrained": "pretrained here", "box": "in the box"}  # whose segments of scenes are drawn


def draw_sheet(out: Path, assignments: Mapping[str, np.ndarray], photographs: Path, headline: str) -> Path:
    """Write `demo.png` into `out` from the scenes and segments that lie there; returns its path.

    assignments: by the names of `SHOWN`, (clusters,) class of each segment, so that both are drawn in one colour.
    headline: the line below the title.
    """
    scenes = [_scene(out, name, assignments) for name in _shown(out / "scenes" / "validation" / "images")]
    pairs = [_photograph(out, path) for path in sorted(photographs.glob("*.jpg"))]
    pairs = pairs[: len(pairs) // PHOTOGRAPH_COLUMNS * PHOTOGRAPH_COLUMNS]
    width = 2 * MARGIN + SCENE_COLUMNS * _wide() + (SCENE_COLUMNS - 1) * BLOCK
    rows = len(pairs) // PHOTOGRAPH_COLUMNS
    top = MARGIN + 150
    middle = top + -(-len(scenes) // SCENE_COLUMNS) * (SCENE[1] + GAP) + 96
    sheet = Image.new("RGB", (width, middle + rows * (PHOTOGRAPH[1] + GAP) + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN - 10), "densessl demo", INK, _font(44))
    pen.text((MARGIN, MARGIN + 48), headline, FAINT, _font(22))
    _legend(pen, width)
    _place(sheet, scenes, SCENE_COLUMNS, SCENE, top)
    for column in range(SCENE_COLUMNS):
        left = MARGIN + column * (_wide() + BLOCK)
        for i, title in enumerate(("picture", "truth", *SHOWN.values())):
            pen.text((left + i * (SCENE[0] + GAP), top - 30), title, FAINT, _font(19))
    text = "Photographs and their segments, each colour found without a label by the backbone that the package brings"
    pen.text((MARGIN, middle - 60), text, FAINT, _font(22))
    _place(sheet, pairs, PHOTOGRAPH_COLUMNS, PHOTOGRAPH, middle)
    write_image(out / "demo.png", np.asarray(sheet), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return out / "demo.png"


def _shown(folder: Path) -> list[str]:
    """Names of scenes spread evenly over the folder."""
    names = sorted(path.stem for path in folder.glob("*.png"))
    places = np.linspace(0, len(names) - 1, min(len(names), SCENE_ROWS * SCENE_COLUMNS)).round().astype(int)
    return [names[place] for place in places]


def _wide() -> int:
    """Pixels of a scene, its truth and its segments side by side."""
    count = 2 + len(SHOWN)
    return count * SCENE[0] + (count - 1) * GAP


def _scene(out: Path, name: str, assignments: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    image = read_image(out / "scenes" / "validation" / "images" / f"{name}.png")
    truth = cv2.imread(str(out / "scenes" / "validation" / "labels" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
    shown = [image, _coloured(truth)]
    for title, assignment in assignments.items():
        found = cv2.imread(str(out / "segments" / title / "labels" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        shown.append(_coloured(np.maximum(assignment, 0)[found]))
    return shown


def _coloured(labels: np.ndarray) -> np.ndarray:
    """uint8 (2 H, 2 W, 3): twice the size, with edges that are smooth once it is made smaller."""
    table = np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in COLOURS], dtype=np.uint8)
    large = np.repeat(np.repeat(labels, 4, axis=0), 4, axis=1).astype(np.uint8)
    return cv2.resize(table[cv2.medianBlur(large, 7)], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def _photograph(out: Path, path: Path) -> list[np.ndarray]:
    return [read_image(path), read_image(out / "segments" / "photographs" / "overlays" / f"{path.stem}.jpg")]


def _legend(pen: ImageDraw.ImageDraw, width: int) -> None:
    """A dot and a name per class, at the right."""
    font = _font(20)
    left = width - MARGIN - sum(34 + pen.textlength(name, font) + 22 for name in CLASSES) + 22
    for name, code in zip(CLASSES, COLOURS, strict=True):
        pen.ellipse((left, MARGIN + 8, left + 22, MARGIN + 30), fill=f"#{code}")
        pen.text((left + 32, MARGIN + 6), name, INK, font)
        left += 34 + pen.textlength(name, font) + 22


def _place(
    sheet: Image.Image, groups: Sequence[list[np.ndarray]], columns: int, size: tuple[int, int], top: int
) -> None:
    """Put groups of pictures side by side, as many groups in a row as there are columns, across the sheet's width."""
    many = len(groups[0]) if groups else 0
    wide = many * size[0] + (many - 1) * GAP
    between = (sheet.width - 2 * MARGIN - columns * wide) // max(1, columns - 1)
    for i, group in enumerate(groups):
        left, y = MARGIN + i % columns * (wide + between), top + i // columns * (size[1] + GAP)
        for j, picture in enumerate(group):
            sheet.paste(_cut(picture, size), (left + j * (size[0] + GAP), y))


def _cut(picture: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The largest part of the picture, around its middle, that has the aspect of `size`, at that size."""
    height, width = picture.shape[:2]
    scale = min(width / size[0], height / size[1])
    wide, high = min(width, round(size[0] * scale)), min(height, round(size[1] * scale))
    x, y = (width - wide) // 2, (height - high) // 2
    return Image.fromarray(picture[y : y + high, x : x + wide]).resize(size, Image.Resampling.LANCZOS)


def _font(size: int) -> ImageFont.ImageFont:
    """The one that Pillow brings."""
    return ImageFont.load_default(size)
