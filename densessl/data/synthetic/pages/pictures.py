"""Pictures in generated pages: the photographs that the package ships, generated scenes, and textures.

A picture is named by a tuple, so that a page is plain data and the same picture is encoded once a process.
"""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from densessl.data.synthetic.canvas import Dice, noise
from densessl.data.synthetic.scenes import scene

SCENES, TEXTURES, SIDE = 24, 24, 420  # pictures of each kind, and longest side in pixels


@lru_cache
def photographs() -> tuple[Path, ...]:
    return tuple(sorted((Path(__file__).parents[3] / "photographs").glob("*.jpg")))


def draw_source(dice: Dice, aspect: float) -> tuple:
    """A picture whose width is `aspect` times its height: `(kind, number, aspect, grey, zoom)`."""
    kind = dice.pick(("photo",) * 7 + ("scene", "scene", "texture", "plate"))
    count = {"photo": len(photographs()), "scene": SCENES}.get(kind, TEXTURES)
    return kind, dice.whole(0, count - 1), round(aspect * 4) / 4 or 0.25, dice.chance(0.3), dice.chance(0.4)


@lru_cache(maxsize=160)
def encoded(source: tuple) -> bytes:
    """The picture as JPEG."""
    kind, number, aspect, grey, zoom = source
    image = _MAKERS[kind](number)
    image = _cropped(image, aspect, zoom)
    image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY if grey else cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def raster(source: tuple) -> io.BytesIO:
    """What reportlab reads the picture from."""
    return io.BytesIO(encoded(source))


def _cropped(image: np.ndarray, aspect: float, zoom: bool) -> np.ndarray:
    height, width = image.shape[:2]
    share = 0.6 if zoom else 1.0
    rows, columns = int(min(height, width / aspect) * share), int(min(width, height * aspect) * share)
    top, left = (height - rows) // 2, (width - columns) // 2
    image = image[top : top + max(rows, 8), left : left + max(columns, 8)]
    factor = SIDE / max(image.shape[:2])
    size = tuple(max(8, round(side * factor)) for side in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)


@lru_cache(maxsize=32)
def _photo(number: int) -> np.ndarray:
    path = photographs()[number]
    image = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR)
    factor = min(1.0, 1.6 * SIDE / max(image.shape[:2]))
    return cv2.cvtColor(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def _scene(number: int) -> np.ndarray:
    return scene(7000 + number, size=(240, 320))[0]


def _texture(number: int) -> np.ndarray:
    """Clouds of two colours, as maps of heat, micrographs and stains look."""
    dice = Dice(8000 + number)
    rough = noise(dice, 260, 340, dice(3, 20), dice(3, 20), 4)
    share = np.clip((rough - rough.min()) / np.ptp(rough), 0, 1)
    if dice.chance(0.4):
        share = np.clip(np.abs(np.sin(share * dice(6, 20))), 0, 1)
    if dice.chance(0.3):
        return np.repeat((share * 255).astype(np.uint8)[..., None], 3, axis=2)
    maps = (cv2.COLORMAP_JET, cv2.COLORMAP_VIRIDIS, cv2.COLORMAP_HOT, cv2.COLORMAP_BONE, cv2.COLORMAP_PINK)
    painted = cv2.applyColorMap((share * 255).astype(np.uint8), dice.pick(maps))
    return cv2.cvtColor(painted, cv2.COLOR_BGR2RGB)


def _plate(number: int) -> np.ndarray:
    """Dark spots and bands on a light ground, as gels and cells look, or light ones on a dark ground."""
    dice = Dice(9000 + number)
    image = np.full((260, 340), dice(0.75, 0.95), dtype=np.float32)
    for x, y, size, depth in dice.rows(dice.whole(12, 60), 4):
        centre = int(x * 340), int(y * 260)
        axes = (4 + int(size * 22), 3 + int(depth * 12)) if number % 2 else (3 + int(size * 12),) * 2
        cv2.ellipse(image, centre, axes, 180 * x if number % 2 == 0 else 0, 0, 360, 0.15 + 0.5 * depth, -1)
    image = cv2.GaussianBlur(image, (0, 0), 2.2) + dice.grid(260, 340) * 0.04
    image = 1 - image if number % 3 == 0 else image
    stain = np.array([dice(0.7, 1), dice(0.6, 1), dice(0.7, 1)], dtype=np.float32) if number % 3 else np.ones(3)
    return (np.clip(image[..., None] * stain, 0, 1) * 255).astype(np.uint8)


_MAKERS = {"photo": _photo, "scene": _scene, "texture": _texture, "plate": _plate}
