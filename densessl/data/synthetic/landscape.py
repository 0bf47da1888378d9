"""The ground and the sky of a generated scene, back to front: sky, mountains, meadows, water and sand."""

from __future__ import annotations

import cv2
import numpy as np

from densessl.data.synthetic.canvas import (
    DEEPS,
    FLOWERS,
    GRASS,
    MEADOW,
    MOUNTAIN,
    ROCKS,
    SAND,
    SANDS,
    SKY,
    WATER,
    Canvas,
    Dice,
    Light,
    gradient,
    mix,
    noise,
    ridge,
    tones,
)


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
