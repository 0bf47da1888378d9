"""How a scene is put together, what a camera makes of it, and the folder that scenes are written to."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from densessl.data.synthetic.canvas import CLASSES, Canvas, Dice, Light, draw_light, ridge
from densessl.data.synthetic.landscape import paint_meadow, paint_mountains, paint_sand, paint_sky, paint_water
from densessl.data.synthetic.objects import paint_grove, paint_house, paint_lane, paint_street, paint_tree
from densessl.files import output_folder, write_image, write_text

FINER = 2  # pixels of the canvas per pixel of the picture, each way


def scene(seed: int, size: tuple[int, int] = (128, 160)) -> tuple[np.ndarray, np.ndarray]:
    """The picture of this seed, uint8 RGB (H, W, 3), and the class of each pixel, uint8 (H, W), indices of `CLASSES`.

    size: (H, W) in pixels, 32 or more each; another size shows another picture. A pixel's class is the one that
    covers most of it. The same seed and size give the same scene; numbers that differ in the last bit between versions
    of numpy or OpenCV can change a pixel by a grey level.
    """
    if min(size) < 32:
        raise ValueError(f"A scene of {size[0]} x {size[1]} pixels is too small: 32 pixels are the least.")
    dice = Dice(seed)
    canvas = Canvas(size[0] * FINER, size[1] * FINER)
    light = draw_light(dice)
    compose = dice.pick((_lake, _coast, _village, _village, _street, _street, _desert, _woods))
    compose(canvas, light, dice)
    image = cv2.resize(canvas.image, size[::-1], interpolation=cv2.INTER_AREA)
    return _develop(image, dice), _reduce(canvas.labels)


def write_scenes(folder: str | Path, count: int, seed: int = 0, size: tuple[int, int] = (128, 160)) -> list[str]:
    """Write `images/NAME.png`, `labels/NAME.png` (indices of `CLASSES`) and `classes.json` into `folder`.

    Scene i is that of seed `seed + i`. Files that stand already are written anew. Returns the names.
    """
    folder = output_folder(folder)
    names = [f"scene-{seed + i:05d}" for i in range(count)]
    for i, name in enumerate(names):
        image, labels = scene(seed + i, size)
        write_image(folder / "images" / f"{name}.png", image)
        write_image(folder / "labels" / f"{name}.png", labels)
    write_text(folder / "classes.json", json.dumps(list(CLASSES)))
    return names


def _lake(canvas: Canvas, light: Light, dice: Dice) -> None:
    """Mountains or wooded hills over water, a shore in front."""
    height, width, unit = canvas.height, canvas.width, canvas.unit
    horizon = height * dice(0.36, 0.56)
    paint_sky(canvas, light, dice, horizon)
    if dice.chance(0.75):
        paint_mountains(canvas, light, dice, horizon)
    bank = horizon + unit * (0.03 * ridge(dice, width, 2) - 0.04)
    paint_meadow(canvas, light, dice, bank, 0.9)
    paint_grove(canvas, light, dice, bank, (-0.05, 1.05), unit * dice(0.1, 0.2), dice.whole(3, 16))
    if dice.chance(0.4):
        wide = unit * dice(0.12, 0.25)
        paint_house(canvas, light, dice, width * dice(0.1, 0.7), horizon + unit * 0.03, wide, wide * dice(0.5, 0.9))
    paint_water(canvas, light, dice, horizon + unit * 0.03)
    if dice.chance(0.8):
        front = height * dice(0.78, 0.92) + unit * 0.07 * ridge(dice, width, 1.5)
        (paint_sand if dice.chance(0.35) else _near_meadow)(canvas, light, dice, front)
        _frame(canvas, light, dice)


def _coast(canvas: Canvas, light: Light, dice: Dice) -> None:
    """The sea, a beach in front, at times a headland with houses."""
    height, width, unit = canvas.height, canvas.width, canvas.unit
    horizon = height * dice(0.32, 0.55)
    paint_sky(canvas, light, dice, horizon)
    if dice.chance(0.4):
        paint_mountains(canvas, light, dice, horizon)
    if dice.chance(0.5):
        _headland(canvas, light, dice, horizon)
    paint_water(canvas, light, dice, horizon)
    slope = np.linspace(-1, 1, width, dtype=np.float32) * dice(-0.14, 0.14) * height
    beach = height * dice(0.6, 0.8) + slope + unit * 0.04 * ridge(dice, width, 2)
    paint_sand(canvas, light, dice, beach)
    if dice.chance(0.5):
        paint_grove(canvas, light, dice, beach, _side(dice), unit * dice(0.3, 0.55), dice.whole(1, 4))


def _headland(canvas: Canvas, light: Light, dice: Dice, horizon: float) -> None:
    """A grassy tongue of land that comes in from one side, with a house or trees."""
    width, unit, side = canvas.width, canvas.unit, dice.pick((-1, 1))
    inland = np.linspace(-1, 1, width, dtype=np.float32) * side - dice(-0.5, 0.3)
    rise = unit * dice(0.1, 0.22) * np.sqrt(np.clip(inland, 0, 1)) + unit * 0.015 * ridge(dice, width, 5)
    top = np.where(inland > 0, horizon - rise, canvas.height).astype(np.float32)
    paint_meadow(canvas, light, dice, top, 0.6)
    x = width * (0.5 + side * dice(0.3, 0.42))
    if dice.chance(0.7):
        wide = unit * dice(0.15, 0.26)
        paint_house(canvas, light, dice, x - wide / 2, float(top[int(x)]) + unit * 0.05, wide, wide * dice(0.6, 1.0))
    if dice.chance(0.6):
        span = (0.75, 1.0) if side > 0 else (0.0, 0.25)
        paint_grove(canvas, light, dice, top, span, unit * dice(0.12, 0.22), dice.whole(1, 4))


def _village(canvas: Canvas, light: Light, dice: Dice) -> None:
    """Houses and trees on hills, a lane that leads to them."""
    height, width, unit = canvas.height, canvas.width, canvas.unit
    horizon = height * dice(0.36, 0.52)
    paint_sky(canvas, light, dice, horizon)
    if dice.chance(0.4):
        paint_mountains(canvas, light, dice, horizon)
    hill = horizon + unit * 0.1 * ridge(dice, width, 1.8)
    paint_meadow(canvas, light, dice, hill, 0.8)
    paint_grove(canvas, light, dice, hill, (0.0, 1.0), unit * dice(0.12, 0.2), dice.whole(2, 9))
    near = horizon + unit * (dice(0.12, 0.22) + 0.07 * ridge(dice, width, 1.4))
    _near_meadow(canvas, light, dice, near)
    if dice.chance(0.75):
        paint_lane(canvas, light, dice, near)
    for place in sorted(dice() for _ in range(dice.whole(1, 4))):
        wide, x = unit * dice(0.2, 0.42), width * (place * 0.9 - 0.03)
        foot = float(near[int(np.clip(x, 0, width - 1))]) + unit * dice(0.04, 0.12)
        paint_house(canvas, light, dice, x, foot, wide, wide * dice(0.55, 1.0))
    paint_grove(canvas, light, dice, near + unit * 0.1, _side(dice), unit * dice(0.25, 0.4), dice.whole(1, 5))
    if dice.chance(0.3):
        _frame(canvas, light, dice)


def _street(canvas: Canvas, light: Light, dice: Dice) -> None:
    """A row of town houses along a street, with trees before them."""
    height, width, unit = canvas.height, canvas.width, canvas.unit
    foot = height * dice(0.62, 0.8)
    paint_sky(canvas, light, dice, foot)
    if dice.chance(0.3):
        paint_mountains(canvas, light, dice, foot - unit * 0.25)
        _near_meadow(canvas, light, dice, np.full(width, foot - unit * 0.2, np.float32))
    x, tall = width * dice(-0.2, 0.1), unit * dice(0.3, 0.55)
    while x < width:
        wide = unit * dice(0.25, 0.5)
        if dice.chance(0.85):
            paint_house(canvas, light, dice, x, foot, wide, tall * dice(0.7, 1.3), flat=dice.chance(0.5))
        x += wide * (1 if dice.chance(0.7) else dice(1.1, 1.5))
    verge = np.full(width, foot - unit * 0.01, np.float32)
    _near_meadow(canvas, light, dice, verge)
    for across, scale in dice.rows(dice.whole(0, 4), 2):
        size = unit * (0.28 + 0.25 * scale)
        kind = dice.pick(("leafy", "leafy", "poplar", "bush"))
        paint_tree(canvas, light, dice, width * across, foot + unit * 0.03, size, kind)
    paint_street(canvas, light, dice, foot + unit * dice(0.02, 0.07))


def _desert(canvas: Canvas, light: Light, dice: Dice) -> None:
    """Dunes behind dunes, at times with mountains, a road or an oasis."""
    height, width, unit = canvas.height, canvas.width, canvas.unit
    horizon = height * dice(0.35, 0.55)
    paint_sky(canvas, light, dice, horizon)
    if dice.chance(0.6):
        paint_mountains(canvas, light, dice, horizon + unit * 0.03)
    far = horizon + unit * 0.06 * ridge(dice, width, 2, 2)
    paint_sand(canvas, light, dice, far)
    if dice.chance(0.5):
        paint_grove(canvas, light, dice, far + unit * 0.05, _side(dice), unit * dice(0.15, 0.3), dice.whole(2, 6))
    near = horizon + unit * (dice(0.12, 0.25) + 0.12 * ridge(dice, width, 1.3, 2))
    paint_sand(canvas, light, dice, near)
    if dice.chance(0.5):
        paint_lane(canvas, light, dice, near)
    if dice.chance(0.35):
        wide, x = unit * dice(0.2, 0.35), width * dice(0.05, 0.7)
        foot = float(near[int(x)]) + unit * 0.1
        paint_house(canvas, light, dice, x, foot, wide, wide * dice(0.5, 0.9), flat=True)


def _woods(canvas: Canvas, light: Light, dice: Dice) -> None:
    """Rows of trees behind a meadow, at times with a pond or a lane."""
    height, width, unit = canvas.height, canvas.width, canvas.unit
    horizon = height * dice(0.4, 0.55)
    paint_sky(canvas, light, dice, horizon)
    if dice.chance(0.5):
        paint_mountains(canvas, light, dice, horizon)
    back = horizon + unit * 0.06 * ridge(dice, width, 2)
    paint_meadow(canvas, light, dice, back, 0.7)
    paint_grove(canvas, light, dice, back, (-0.05, 1.05), unit * dice(0.2, 0.3), dice.whole(10, 18))
    if dice.chance(0.4):
        paint_water(canvas, light, dice, horizon + unit * dice(0.08, 0.14))
    near = horizon + unit * (dice(0.2, 0.3) + 0.06 * ridge(dice, width, 1.5))
    _near_meadow(canvas, light, dice, near)
    if dice.chance(0.4):
        paint_lane(canvas, light, dice, near)
    paint_grove(canvas, light, dice, near + unit * 0.08, _side(dice), unit * dice(0.4, 0.6), dice.whole(2, 5))


def _near_meadow(canvas: Canvas, light: Light, dice: Dice, top: np.ndarray) -> None:
    paint_meadow(canvas, light, dice, top, dice(0.0, 0.35))


def _frame(canvas: Canvas, light: Light, dice: Dice) -> None:
    """A large tree close to the eye, at the left or the right."""
    if dice.chance(0.5):
        x = canvas.width * dice.pick((dice(-0.03, 0.15), dice(0.85, 1.03)))
        kind = dice.pick(("leafy", "leafy", "fir"))
        paint_tree(canvas, light, dice, x, canvas.height * dice(0.92, 1.1), canvas.unit * dice(0.6, 0.95), kind)


def _side(dice: Dice) -> tuple[float, float]:
    """A stretch of the width: the left, the right or all of it."""
    return dice.pick(((-0.05, 0.35), (0.65, 1.05), (0.0, 1.0)))


def _develop(image: np.ndarray, dice: Dice) -> np.ndarray:
    """What a camera adds: a cast, contrast, a darker rim, grain. float32 (H, W, 3) in [0, 1] -> uint8."""
    height, width = image.shape[:2]
    cast = np.array([dice(0.88, 1.1), dice(0.93, 1.06), dice(0.86, 1.12)], dtype=np.float32)
    grey = image.mean(axis=2, keepdims=True)
    image = (grey + (image - grey) * np.float32(dice(0.7, 1.15))) * cast
    image = (image - np.float32(0.5)) * np.float32(dice(0.85, 1.1)) + np.float32(dice(0.44, 0.54))
    rows, columns = np.linspace(-1, 1, height) ** 2, np.linspace(-1, 1, width) ** 2
    rim = 1 - np.float32(dice(0, 0.12)) * (rows[:, None] + columns[None]).astype(np.float32)
    grain = dice.grid(height, width)[..., None] * np.float32(dice(0.005, 0.03))
    return (np.clip(image * rim[..., None] + grain, 0, 1) * 255 + 0.5).astype(np.uint8)


def _reduce(labels: np.ndarray) -> np.ndarray:
    """The class that covers most of each pixel; the first of them where two cover as much."""
    a, b, c, d = labels[::2, ::2], labels[::2, 1::2], labels[1::2, ::2], labels[1::2, 1::2]
    # With four places, a class that is seen twice is never outnumbered.
    twice_a, twice_b = (a == b) | (a == c) | (a == d), (b == c) | (b == d)
    return np.where(twice_a | ~(twice_b | (c == d)), a, np.where(twice_b, b, c))
