"""What generated scenes are made of: a canvas, the light of a day, and a painter for each class.

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


def paint_sky(canvas: Canvas, light: Light, dice: Dice, horizon: float) -> None:
    """A gradient down to the horizon (in pixels), a sun or moon, clouds, and stars at night."""
    height, width, unit = canvas.height, canvas.width, canvas.unit
    end = min(height, int(horizon) + 2)
    canvas.image[:end] = gradient(end, width, light.top, light.low)
    canvas.image[end:] = light.low
    canvas.labels[:] = SKY
    if light.night:
        for x, y, size in dice.rows(dice.whole(15, 50), 3):
            shade = mix(light.top, light.sun, 0.3 + 0.7 * size).tolist()
            canvas.disc(x * width, y * end, unit * (0.002 + 0.003 * size), shade, None)
    if dice.chance(0.6):
        _sun(canvas, light, dice, end)
    if dice.chance(0.35):
        _veil(canvas, light, dice, end)
    if dice.chance(0.7):
        for _ in range(dice.whole(1, 4)):
            _cloud(canvas, light, dice, end)


def _sun(canvas: Canvas, light: Light, dice: Dice, end: int) -> None:
    x = canvas.width * (0.5 + light.side * dice(0.05, 0.4))
    y, radius = end * dice(0.2, 0.85), canvas.unit * dice(0.03, 0.075)
    rows, columns = np.ogrid[:end, : canvas.width]
    distance = (rows - y) ** 2 + (columns - x) ** 2
    glow = np.exp(-distance / np.float32((5 * radius) ** 2)).astype(np.float32)[..., None] * np.float32(0.6)
    canvas.image[:end] += (light.sun - canvas.image[:end]) * glow
    canvas.disc(x, y, radius, light.sun.tolist(), None)


def _veil(canvas: Canvas, light: Light, dice: Dice, end: int) -> None:
    """High streaks of cloud."""
    cover = noise(dice, end, canvas.width, dice(4, 7), dice(1, 2.5), 3)
    cover = np.clip(cover * 1.4 - 0.1, 0, 1)[..., None] * np.float32(dice(0.3, 0.75))
    canvas.image[:end] += (mix(light.low, light.sun, 0.6) - canvas.image[:end]) * cover


def _cloud(canvas: Canvas, light: Light, dice: Dice, end: int) -> None:
    """A heap of discs on a flat base, softer and darker below."""
    span = canvas.unit * dice(0.12, 0.34)
    x, y = canvas.width * dice(-0.05, 1.05), end * dice(0.12, 0.8)
    mask = np.zeros((end, canvas.width), dtype=np.uint8)
    for across, size in dice.rows(9, 2):
        radius = span * (0.1 + 0.2 * size) * (1 - abs(across - 0.5))
        cv2.circle(
            mask, (int(x + (across - 0.5) * 2 * span * 0.8), int(y - radius * 0.4)), max(1, int(radius)), 255, -1
        )
    mask[int(max(0, y)) :] = 0
    soft = cv2.blur(mask, (max(1, int(span * 0.06)) | 1,) * 2).astype(np.float32)[..., None] * np.float32(
        dice(0.7, 0.95) / 255
    )
    bright = mix(light.low, light.sun, 0.75)
    shade = np.clip((np.arange(end, dtype=np.float32) - (y - 0.4 * span)) / (0.4 * span), 0, 1)[:, None, None]
    canvas.image[:end] += (bright + (mix(light.top, bright, 0.6) - bright) * shade - canvas.image[:end]) * soft


def paint_mountains(canvas: Canvas, light: Light, dice: Dice, horizon: float) -> None:
    """One to three ranges with lit and shaded faces, the farther the hazier, some with snow."""
    ranges = dice.whole(1, 3)
    snow = dice.chance(0.5)
    code, rise = dice.pick(ROCKS), dice(0.16, 0.36)
    for nearness in range(1, ranges + 1):
        share = nearness / ranges
        line = _peaks(canvas, dice, dice(2, 4) + nearness)
        top = horizon - canvas.unit * rise * (1.25 - 0.75 * share) * line
        haze = 0.55 * (1 - share) + 0.1
        _range(canvas, light, dice, top, horizon, light.lit(code, dice), haze, snow and nearness <= 2)


def _peaks(canvas: Canvas, dice: Dice, waves: float) -> np.ndarray:
    """(w,) a jagged skyline between 0.2 and 1.2: straight lines between peaks and saddles."""
    count = round(waves * 2) + 2
    places = np.linspace(-0.1, 1.1, count) + np.array([dice(-0.03, 0.03) for _ in range(count)])
    offset = dice.whole(0, 1)
    heights = [dice(0.7, 1.1) if (i + offset) % 2 else dice(0.25, 0.6) for i in range(count)]
    line = np.interp(np.linspace(0, 1, canvas.width), places, heights).astype(np.float32)
    return line + 0.07 * ridge(dice, canvas.width, 18, 2)


def _range(
    canvas: Canvas,
    light: Light,
    dice: Dice,
    top: np.ndarray,
    horizon: float,
    rock: np.ndarray,
    haze: float,
    snow: bool,
) -> None:
    first = max(0, int(top.min()) - 1)
    # What lies farther below the horizon is painted over by the ground.
    last = min(canvas.height, int(horizon + 0.15 * canvas.unit))
    rows, width = last - first, canvas.width
    depth = np.arange(first, last, dtype=np.float32)[:, None] - top[None]
    slope = cv2.blur(np.gradient(top)[None].astype(np.float32), (9, 1))
    # Faces run down and aside from the ridge: the slope is read at a place that moves with the depth.
    columns = np.arange(width, dtype=np.float32)[None] + 0.35 * depth + 7 * noise(dice, rows, width, 14, 18, 2)
    face = cv2.remap(slope, np.mod(columns, width).astype(np.float32), np.zeros_like(columns), cv2.INTER_LINEAR)
    crags = noise(dice, rows, width, rows / canvas.unit * 26, 16, 2)
    shade = np.clip(face * (0.9 * light.side) + crags * (0.5 * light.texture), -1, 1)[..., None]
    dark, bright = mix(rock, light.top * light.tint, 0.45) * np.float32(0.8), mix(rock, light.sun * light.tint, 0.4)
    body = np.where(shade < 0, rock + (rock - dark) * shade, rock + (bright - rock) * shade)
    if snow:
        limit = canvas.unit * dice(0.04, 0.1) * (1 + 1.2 * crags + 0.6 * np.sign(face))
        white = light.lit("f4f7fb", dice, 0.01)
        body = np.where((depth < limit)[..., None], white * (0.9 + 0.14 * np.sign(shade)), body)
    fade = np.clip((np.arange(first, last) - top.mean()) / max(1.0, horizon - top.mean()), 0, 1)
    fade = (haze + 0.3 * fade.astype(np.float32) * (1 - haze))[:, None, None]
    fill = np.clip(body + (light.low - body) * fade, 0, 1).astype(np.float32)
    canvas.below(top, fill, MOUNTAIN, first)


def paint_meadow(canvas: Canvas, light: Light, dice: Dice, top: np.ndarray, distance: float) -> None:
    """Grass below a skyline, blade by blade, with flowers at times.

    top: (w,) in pixels. distance: 0 near (long blades) to 1 far (hazy, fine).
    """
    first = int(np.clip(top.min() - 1, 0, canvas.height - 2))
    rows, unit = canvas.height - first, canvas.unit
    base = light.lit(dice.pick(GRASS[light.season]), dice)
    far = mix(base, light.low, 0.15 + 0.4 * distance)
    fill = gradient(rows, canvas.width, far, base * np.float32(0.88))
    patches = noise(dice, rows, canvas.width, 5, 4, 1)[..., None]
    fill *= 1 + np.float32(0.12) * patches
    flowers = None
    if dice.chance(0.3):
        flowers = light.lit(dice.pick(FLOWERS), dice).tolist()
    spread = np.float32(0.38 * light.texture)
    palettes = [
        tones(mix(base * (1 - spread), far, share), mix(base * (1 + spread), far, share))
        for share in (0.6, 0.4, 0.2, 0)
    ]
    for x, y, size, tone in dice.rows(round(700 * min(1.0, rows / unit + 0.2)), 4):
        y = y**0.8
        length = unit * (0.012 + 0.035 * y * (1 - 0.7 * distance)) * (0.6 + 0.8 * size)
        foot = (round(x * canvas.width), round(y * rows))
        tip = (round(x * canvas.width + (tone - 0.4) * length * 0.5), round(foot[1] - length))
        cv2.line(fill, foot, tip, palettes[int(y * 4)][int(tone * 8)], max(1, round(unit * 0.006 * (0.4 + y))))
        if flowers is not None and size > 0.72:
            cv2.circle(fill, tip, max(1, round(unit * 0.008 * (0.5 + y))), flowers, -1)
    canvas.below(top, fill, MEADOW)


def paint_water(canvas: Canvas, light: Light, dice: Dice, shore: float) -> None:
    """Water from the row `shore` (pixels) down: what stands above it mirrored, and waves that grow nearer."""
    first = int(np.clip(round(shore), 1, canvas.height - 2))
    rows, width, unit = canvas.height - first, canvas.width, canvas.unit
    deep = light.lit(dice.pick(DEEPS), dice)
    sky = gradient(rows, width, light.low, mix(light.top, deep, 0.5))
    fill = mix(sky, deep, dice(0.25, 0.65))
    mirrored = canvas.image[max(0, first - rows) : first][::-1]
    depth = len(mirrored)
    sway = noise(dice, depth, width, depth / unit * 60, 3, 1) * unit * 0.03
    columns = np.clip(np.arange(width, dtype=np.float32)[None] + sway, 0, width - 1).astype(np.float32)
    lines = np.broadcast_to(np.arange(depth, dtype=np.float32)[:, None], columns.shape)
    mirrored = cv2.remap(np.ascontiguousarray(mirrored), columns, np.ascontiguousarray(lines), cv2.INTER_LINEAR)
    share = (dice(0.3, 0.75) * np.linspace(1, 0.3, depth, dtype=np.float32))[:, None, None]
    fill[:depth] += (mirrored - fill[:depth]) * share
    bright, dark = mix(light.sun * light.tint, light.low, 0.4), deep * np.float32(0.75)
    for x, y, size, tone in dice.rows(260, 4):
        y = y**1.4
        length, thick = unit * (0.02 + 0.1 * y) * (0.4 + size), unit * (0.002 + 0.009 * y)
        place = (round(x * width), round(y * rows))
        here = fill[min(rows - 1, place[1]), min(width - 1, place[0])]
        shade = mix(here, bright if tone > 0.45 else dark, 0.2 + 0.35 * light.texture * size)
        cv2.ellipse(fill, place, (round(length), max(1, round(thick))), 0, 0, 360, shade.tolist(), -1)
    canvas.below(np.full(width, first, np.float32), fill, WATER)


def paint_sand(canvas: Canvas, light: Light, dice: Dice, top: np.ndarray) -> None:
    """Dunes or a beach below a skyline: bent ripples and grains."""
    first = int(np.clip(top.min() - 1, 0, canvas.height - 2))
    rows, width, unit = canvas.height - first, canvas.width, canvas.unit
    base = light.lit(dice.pick(SANDS), dice, 0.03)
    bend = noise(dice, rows, width, 2.5, 2, 2)
    # Ripples stand closer the farther they are.
    place = np.linspace(0.05, 1, rows, dtype=np.float32)[:, None] ** 0.6 * (rows / unit) * dice(70, 110) + bend * 9
    ripple = np.sin(place) * np.linspace(0.4, 1, rows, dtype=np.float32)[:, None]
    shade = 1 + 0.07 * light.texture * ripple + 0.09 * bend
    fill = mix(gradient(rows, width, mix(base, light.low, 0.25), base), base, 0.4) * shade[..., None]

    spread = np.float32(0.35 * light.texture)
    palette = tones(base * (1 - spread), base * (1 + spread))
    for x, y, size, tone in dice.rows(320, 4):
        radius = max(1, round(unit * (0.002 + 0.006 * y * size)))
        cv2.circle(fill, (round(x * width), round(y * rows)), radius, palette[int(tone * 8)], -1)
    canvas.below(top, fill, SAND)
