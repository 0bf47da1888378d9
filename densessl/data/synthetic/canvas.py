"""What generated scenes are made of: classes, colours, random numbers, the light of a day, and a canvas.

Everything is painted back to front on a canvas of twice the size, colours and classes by the same strokes, so that
the label map is exact and the picture smooth once both are made smaller. Lengths are in units of the canvas's short
side. Hues are drawn freely within each class, texture and shape follow the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator, Philox

CLASSES = ("sky", "mountain", "meadow", "tree", "house", "road", "water", "sand")
SKY, MOUNTAIN, MEADOW, TREE, HOUSE, ROAD, WATER, SAND = range(len(CLASSES))

# Walls and roofs share one list, and it holds the hues of skies, meadows and sands too.
PAINTS = (
    "e8d8b9 d9b779 c96f4a a9452f 8c3b34 f3eee3 dfe3e0 9fb8b5 6f97a8 4f7390 39506b 5b5f63 8a8781 b7a99a 7f9a6b 4f7a5a "
    "c9a5a0 d98f78 e3b04b 6b4a3a 3f3a3d bcd0d9 a3b08a e6c9b5"
)
LEAVES = {
    "spring": "7fa650 9cbf5e 6d9a4e e7b3c0 f0d3d8 b5cc74",
    "summer": "4f8a48 3f7a4a 6b9a45 2f6b4f 5d8f5a 7f9a3f",
    "autumn": "d9772b c4522d e3a53a a83c32 8a7a3a b5892f",
    "winter": "3f5f55 4a6a66 7d8a8c dfe6ea 5a5f5c 93a3a0",
}
GRASS = {
    "spring": "8fbf5a a5cc6a 7fb56a b9cf70",
    "summer": "7da84f 94ad55 c2b860 6f9a5a d4bf6a",
    "autumn": "c9a24b b58a4a a59a55 d1b26b 9a8a50",
    "winter": "e6ebf0 d3dde6 c6ccc8 b4ab8f",
}
SANDS = "ead6ac dcc08c e9cfae cfa985 d9a07a c9b9a0 8f857c f2e6cc"
ROCKS = "7d8797 8f8a92 6c7688 a08d83 8a7a78 5f6d80 a8a3a0 96705f"
ASPHALTS = "6d6f76 5a5d66 83807f 9a918a 4b4e57 a99a8a 8b7468"
FLOWERS = "f2efe6 e8b93c d9574a b07fc4 e58fb0 6f8fd0"
DEEPS = "2f6f8f 3a8f9a 2a5a80 4a9aa8 5f8a8a 3f6a78 7aa7b0"


class Dice:
    """Random numbers from one stream of floats in [0, 1), the part of numpy that does not change between versions."""

    def __init__(self, seed: int, stream: int = 0) -> None:
        self.rng = Generator(Philox(key=[seed & (2**64 - 1), stream]))

    def __call__(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(self.rng.random())

    def chance(self, probability: float) -> bool:
        return self() < probability

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self() * (high - low + 1))

    def pick(self, options: Sequence | str):
        """One of a sequence, or one word of a string."""
        options = options.split() if isinstance(options, str) else options
        return options[int(self() * len(options))]

    def rows(self, count: int, width: int) -> list[list[float]]:
        return self.rng.random((count, width)).tolist()

    def grid(self, height: int, width: int) -> np.ndarray:
        """(height, width) float32 in [-1, 1)."""
        return (self.rng.random((height, width)) * 2 - 1).astype(np.float32)


def colour(code: str) -> np.ndarray:
    """`"rrggbb"` -> (3,) float32 in [0, 1]."""
    return np.array([int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)], dtype=np.float32)


def mix(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    return a + (b - a) * np.float32(share)


def tones(*stops: np.ndarray, steps: int = 8) -> list[list[float]]:
    """`steps` colours from the first stop over the others to the last: a flat palette to pick strokes from."""
    places = np.linspace(0, len(stops) - 1, steps)
    table = np.stack([np.interp(places, range(len(stops)), [stop[i] for stop in stops]) for i in range(3)], axis=1)
    return np.clip(table, 0, 1).tolist()


@dataclass
class Light:
    """The light of one scene.

    top, low: colours of the sky overhead and at the horizon. tint: what everything on the ground is multiplied by.
    side: -1 when the sun stands to the left, 1 to the right. texture: strength of all textures, 1 for the usual.
    """

    top: np.ndarray
    low: np.ndarray
    tint: np.ndarray
    side: int
    season: str
    night: bool
    sun: np.ndarray
    texture: float

    def lit(self, code: str | np.ndarray, dice: Dice, spread: float = 0.05) -> np.ndarray:
        """A colour as it looks in this light, a little off each time."""
        base = colour(code) if isinstance(code, str) else code
        shift = np.array([dice(-spread, spread), dice(-spread, spread), dice(-spread, spread)], dtype=np.float32)
        return np.clip((base + shift) * self.tint, 0, 1)


# Overhead, horizon, tint of the ground, sun.
DAYS = {
    "noon": ("4f93d1 cfe6f2 ffffff fff8e0", "3f7fc0 b5d8ee fffaf0 fffbe8", "6fb3d9 e6f0e6 fffdf5 fffbe8"),
    "grey": ("a3adb8 dde0e2 e3e6ea f2f2f2", "8d98a6 c9ccd0 d3d8de eeeeee", "b9b4b3 e8e2da e6e0dc f6f2ea"),
    "morning": ("8fb7d9 f7dcc4 fff0e0 fff3c9", "a5bfe0 f9d3cf ffeae6 fff0d8", "7fc0c4 fbe9b8 fff4d8 fffbe0"),
    "evening": ("4a5a94 f7a35c ffcfa8 ffe3a0", "6b4a86 f0866b f5bda6 ffd79a", "35558a f9c784 ffd9b0 fff0b8"),
    "dusk": ("2b3563 b5739a 9f8fb5 ffd9c0", "233a5e e08f7f b39aa6 ffd0a0", "3a2f5f 8f6fb0 9a8cc0 f0d0e0"),
    "night": ("0f1a38 2f4a75 5a6c96 f3f0d8", "14132f 3d3566 6a6296 f6efd9", "0d2233 2a5a66 587f8c eef5e0"),
}


def draw_light(dice: Dice) -> Light:
    time = dice.pick(("noon", "noon", "noon", "grey", "morning", "morning", "evening", "evening", "dusk", "night"))
    top, low, tint, sun = (colour(code) for code in dice.pick(DAYS[time]).split())
    side = 1 if dice.chance(0.5) else -1
    season = dice.pick(("spring", "summer", "summer", "autumn", "winter"))
    return Light(top, low, tint, side, season, time == "night", sun, dice(0.6, 1.25))


class Canvas:
    """A picture and its classes, painted by the same strokes.

    image: float32 (h, w, 3) in [0, 1]. labels: uint8 (h, w). unit: the short side in pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width, self.unit = height, width, min(height, width)
        self.image = np.zeros((height, width, 3), dtype=np.float32)
        self.labels = np.zeros((height, width), dtype=np.uint8)
        self.lamps: list[tuple[np.ndarray, np.ndarray]] = []

    def polygon(self, points: Sequence[tuple[float, float]], shade: Sequence[float], label: int | None) -> None:
        """Fill the polygon of (x, y) in pixels; a label of None leaves the classes as they are."""
        corners = [np.round(np.array(points) * 16).astype(np.int32)]
        cv2.fillPoly(self.image, corners, [float(part) for part in shade], shift=4)
        if label is not None:
            cv2.fillPoly(self.labels, corners, label, shift=4)

    def disc(self, x: float, y: float, radius: float, shade: Sequence[float], label: int | None) -> None:
        centre, size = (round(x * 16), round(y * 16)), max(8, round(radius * 16))
        cv2.circle(self.image, centre, size, shade, -1, shift=4)
        if label is not None:
            cv2.circle(self.labels, centre, size, label, -1, shift=4)

    def below(self, ridge: np.ndarray, fill: np.ndarray, label: int, top: int | None = None) -> None:
        """Cover what lies below a ridge.

        ridge: (w,) its height in pixels from the top. fill: float32 (rows, w, 3), for the rows from `top` on, or for
        the lowest ones.
        """
        top = self.height - len(fill) if top is None else top
        end = top + len(fill)
        inside = np.arange(top, end, dtype=np.float32)[:, None] >= ridge[None]
        np.copyto(self.image[top:end], fill, where=inside[..., None])
        self.labels[top:end][inside] = label


def noise(dice: Dice, height: int, width: int, rows: float, columns: float, octaves: int = 2) -> np.ndarray:
    """(height, width) float32 about in [-1, 1]: smooth noise of so many cells, each octave twice as fine."""
    total = np.zeros((height, width), dtype=np.float32)
    for octave in range(octaves):
        cells = [max(2, round(each * 2**octave) + 1) for each in (rows, columns)]
        grid = dice.grid(*cells)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * (0.65 * 0.55**octave)
    return total


def ridge(dice: Dice, width: int, waves: float, rough: int = 1) -> np.ndarray:
    """(width,) a skyline about in [-1, 1]."""
    return noise(dice, 2, width, 1, waves, rough)[0]


def gradient(height: int, width: int, top: np.ndarray, low: np.ndarray) -> np.ndarray:
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return np.ascontiguousarray(np.broadcast_to(top + (low - top) * share, (height, width, 3)))
