"""What stands or lies on the ground of a generated scene: trees, houses and roads."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np

from densessl.data.synthetic.canvas import (
    ASPHALTS,
    HOUSE,
    LEAVES,
    PAINTS,
    ROAD,
    TREE,
    Canvas,
    Dice,
    Light,
    colour,
    mix,
    tones,
)


def paint_tree(canvas: Canvas, light: Light, dice: Dice, x: float, foot: float, size: float, kind: str) -> None:
    """A tree of `size` pixels whose trunk stands at (x, foot). kind: "leafy", "fir", "poplar" or "bush"."""
    leaf = light.lit(dice.pick(LEAVES[light.season]), dice, 0.04)
    if kind != "bush":
        trunk = light.lit(dice.pick(("5b4636", "6b5545", "4a3f3a", "8a7a6b")), dice)
        half = size * (0.035 if kind == "leafy" else 0.025)
        corners = [(x - half, foot), (x - half * 0.6, foot - size * 0.6), (x + half * 0.6, foot - size * 0.6)]
        canvas.polygon([*corners, (x + half, foot)], trunk, TREE)
    if kind == "fir":
        _fir(canvas, light, dice, x, foot, size, leaf)
    else:
        _crown(canvas, light, dice, x, foot, size, leaf, kind)


def _crown(
    canvas: Canvas, light: Light, dice: Dice, x: float, foot: float, size: float, leaf: np.ndarray, kind: str
) -> None:
    """Discs for the mass of the crown, then small ones for its leaves, brighter towards the sun."""
    wide, high, rise = {"leafy": (0.3, 0.28, 0.66), "poplar": (0.11, 0.42, 0.52), "bush": (0.4, 0.2, 0.22)}[kind]
    middle = foot - size * rise
    dark, bright = leaf * np.float32(0.62), mix(leaf, light.sun * light.tint, 0.35)
    radius = size * (0.17 if kind != "poplar" else 0.1)
    discs = []
    for turn, out in dice.rows(9 if kind != "poplar" else 12, 2):
        place = (cos(2 * pi * turn) * wide * out**0.5 * size, sin(2 * pi * turn) * high * out**0.5 * size)
        discs.append((x + place[0], middle + place[1], radius * (0.7 + 0.5 * out)))
    base = mix(dark, leaf, 0.45)
    canvas.disc(x, middle, radius * 1.15, base.tolist(), TREE)
    for across, down, reach in discs:
        canvas.disc(across, down, reach, base.tolist(), TREE)
    strength = min(1.0, 1.1 * light.texture)
    palette = tones(mix(leaf, dark, strength), leaf, mix(leaf, bright, strength), steps=9)
    for pick, turn, out, tone in dice.rows(int(20 + min(130, size * 0.9)), 4):
        across, down, reach = discs[int(pick * len(discs))]
        across, down = across + cos(2 * pi * turn) * reach * out**0.5, down + sin(2 * pi * turn) * reach * out**0.5
        sunny = ((across - x) * light.side / wide - (down - middle) / high) / size * 0.5 + (tone - 0.5) * 1.3
        shade = palette[min(8, max(0, round(4 + 4 * sunny)))]
        canvas.disc(across, down, size * (0.02 + 0.022 * tone), shade, TREE)


def _fir(canvas: Canvas, light: Light, dice: Dice, x: float, foot: float, size: float, leaf: np.ndarray) -> None:
    """Tiers of drooping branches, the side away from the sun darker."""
    tiers, width = dice.whole(4, 6), size * dice(0.2, 0.28)
    leaf = mix(leaf, colour("3a5f50") * light.tint, 0.5)
    dark, bright = leaf * np.float32(0.62), mix(leaf, light.sun * light.tint, 0.25)
    shadow, sun = tones(dark, leaf), tones(dark, bright)
    for tier in range(tiers):
        share = tier / tiers
        low = foot - size * (0.1 + 0.72 * share)
        tip, half = low - size * (0.3 - 0.08 * share), width * (1 - 0.78 * share)
        teeth = max(3, round(9 * (1 - share)))
        for side, shade in ((-1, leaf if light.side < 0 else dark), (1, leaf if light.side > 0 else dark)):
            edge = [
                (x + side * half * i / teeth, low + size * (0.03 * (i % 2) - 0.02 * i / teeth))
                for i in range(teeth + 1)
            ]
            canvas.polygon([(x, tip), *edge[::-1]], shade, TREE)
        for across, down, tone in dice.rows(9, 3):
            across = (across * 2 - 1) * half * 0.8 * down
            place = tip + (low - tip) * (0.15 + 0.75 * down)
            reach = size * 0.03
            needle = [
                (x + across, place),
                (x + across - reach * 0.6, place + reach),
                (x + across + reach * 0.6, place + reach),
            ]
            canvas.polygon(needle, (sun if across * light.side > 0 else shadow)[int(tone * 8)], TREE)


def paint_grove(
    canvas: Canvas, light: Light, dice: Dice, line: np.ndarray, span: tuple[float, float], size: float, count: int
) -> None:
    """A row of trees of one or two kinds along a skyline, `span` in shares of the width, far ones first."""
    kinds = [dice.pick(("leafy", "leafy", "fir", "poplar", "bush")) for _ in range(2)]
    places = dice.rows(count, 3)
    for across, down, scale in sorted(places, key=lambda row: row[1]):
        x = canvas.width * (span[0] + (span[1] - span[0]) * across)
        foot = line[int(np.clip(x, 0, canvas.width - 1))] + canvas.unit * 0.05 * down
        paint_tree(canvas, light, dice, x, foot, size * (0.65 + 0.6 * scale), kinds[int(scale * 7) % 2])


def paint_house(
    canvas: Canvas, light: Light, dice: Dice, x: float, foot: float, width: float, height: float, flat: bool = False
) -> None:
    """A house whose front wall stands from x to x + width with its foot at `foot`, all in pixels.

    flat: a block of flats without a pitched roof; otherwise a gable, hip or shed roof of tiles.
    """
    wall = light.lit(dice.pick(PAINTS), dice)
    top = foot - height
    sunny = 1.06 if light.side > 0 else 0.9
    canvas.polygon(_box(x, top, x + width, foot), np.clip(wall * np.float32(sunny), 0, 1), HOUSE)
    _courses(canvas, light, dice, wall, x, top, width, height)
    _windows(canvas, light, dice, wall, x, top, width, height)
    if flat:
        lintel = height * 0.035
        canvas.polygon(
            _box(x - lintel * 0.5, top - lintel, x + width + lintel * 0.5, top), wall * np.float32(0.7), HOUSE
        )
        return
    _roof(canvas, light, dice, x, top, width, min(width * dice(0.35, 0.7), height * 0.9))


def _box(left: float, top: float, right: float, low: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, low), (left, low)]


def _courses(
    canvas: Canvas, light: Light, dice: Dice, wall: np.ndarray, x: float, top: float, width: float, height: float
) -> None:
    """Bricks, planks or plaster lines on a wall."""
    kind = dice.pick(("brick", "brick", "plank", "board", "plaster"))
    step = canvas.unit * dice(0.018, 0.03)
    tone = 1 - 0.2 * light.texture if wall.mean() > 0.3 else 1 + 0.4 * light.texture
    line = np.clip(wall * np.float32(tone), 0, 1)
    thin = max(1.0, canvas.unit * 0.004)
    if kind in ("brick", "plank"):
        for row in range(1, int(height / step)):
            y = top + row * step
            canvas.polygon(_box(x, y, x + width, y + thin), line, None)
            if kind == "brick":
                for column in range(int(width / (2 * step)) + 1):
                    left = x + (2 * column + row % 2) * step
                    if left + thin < x + width:
                        canvas.polygon(_box(left, y, left + thin, min(y + step, top + height)), line, None)
    elif kind == "board":
        for column in range(1, int(width / step)):
            left = x + column * step
            canvas.polygon(_box(left, top, left + thin, top + height), line, None)
    else:
        for across, down, size in dice.rows(18, 3):
            left, y = x + across * width * 0.85, top + down * height * 0.95
            canvas.polygon(_box(left, y, left + step * (0.4 + size), y + thin), line, None)


def _windows(
    canvas: Canvas, light: Light, dice: Dice, wall: np.ndarray, x: float, top: float, width: float, height: float
) -> None:
    """Rows of windows with frames and crosses, some lit when it is dark, and a door."""
    storey = canvas.unit * dice(0.13, 0.18)
    storeys, columns = max(1, round(height / storey)), max(1, round(width / (storey * dice(0.75, 1.1))))
    across, down = width / columns, height / storeys
    frame = light.lit(dice.pick(("f6f3ea", "f6f3ea", "3f3f44", "c9b79a")), dice, 0.02)
    dark = light.tint.mean() < 0.75
    glass = light.lit(dice.pick(("2f4658", "46606f", "6f8fa3", "3a3f48")), dice)
    door = dice.whole(0, columns - 1) if dice.chance(0.7) else -1
    wide, high = across * dice(0.42, 0.6), down * dice(0.42, 0.58)
    rim = max(1.0, canvas.unit * 0.007)
    for row in range(storeys):
        for column in range(columns):
            middle, y = x + (column + 0.5) * across, top + (row + 0.5) * down
            pane = glass if not (dark and dice.chance(0.45)) else colour("f8d27a")
            low = y + high / 2
            if row == storeys - 1 and column == door:
                low, pane = top + height, light.lit(dice.pick(PAINTS), dice)
            left, right, up = middle - wide / 2, middle + wide / 2, y - high / 2
            canvas.polygon(_box(left - rim, up - rim, right + rim, min(low + rim, top + height)), frame, None)
            canvas.polygon(_box(left, up, right, low), pane, None)
            if low < top + height:
                canvas.polygon(_box(middle - rim / 2, up, middle + rim / 2, low), frame, None)
                canvas.polygon(_box(left, y - rim / 2, right, y + rim / 2), frame, None)


def _roof(canvas: Canvas, light: Light, dice: Dice, x: float, top: float, width: float, height: float) -> None:
    """A pitched roof in rows of tiles, and at times a chimney."""
    tile = light.lit("eef2f6" if light.season == "winter" and dice.chance(0.4) else dice.pick(PAINTS), dice)
    eaves = width * 0.07
    inset = dice.pick((0.5, 0.5, 0.22, 0.3))
    if dice.chance(0.5):
        left = x + width * dice(0.2, 0.7)
        chimney = _box(left, top - height * 1.12, left + width * 0.1, top)
        canvas.polygon(chimney, light.lit(dice.pick(("8c4a3b", "a89a8f", "6b5b55")), dice), HOUSE)
    rows = max(3, int(height / (canvas.unit * dice(0.016, 0.026))))
    for row in range(rows):
        # From the ridge down, each row over the one before it, light and dark by turns.
        parts = [row / rows, (row + 1) / rows]
        edges = [(eaves + width * inset) * (1 - part) - eaves for part in parts]
        y = [top - height * (1 - part) for part in parts]
        tone = np.float32(1 + 0.16 * light.texture * (0.5 if row % 2 else -0.5) + 0.05 * dice(-1, 1))
        corners = [
            (x + edges[0], y[0]),
            (x + width - edges[0], y[0]),
            (x + width - edges[1], y[1]),
            (x + edges[1], y[1]),
        ]
        canvas.polygon(corners, np.clip(tile * tone, 0, 1), HOUSE)


def paint_street(canvas: Canvas, light: Light, dice: Dice, top: float) -> None:
    """A street across the picture, from the row `top` down: kerb, asphalt, a dashed line, cracks and stains."""
    unit, width = canvas.unit, canvas.width
    tone = light.lit(dice.pick(ASPHALTS), dice, 0.03)
    low = min(canvas.height + 2.0, top + unit * dice(0.16, 0.4))
    canvas.polygon(_box(0, top, width, low), tone, ROAD)
    _specks(canvas, light, dice, tone, top, low)
    kerb = light.lit("c9c5bd", dice)
    canvas.polygon(_box(0, top, width, top + unit * 0.012), kerb, ROAD)
    if low < canvas.height:
        canvas.polygon(_box(0, low, width, low + unit * 0.014), kerb, ROAD)
    middle, paint = (top + low) / 2, light.lit(dice.pick(("f4f1e8", "f4f1e8", "e9b93f")), dice, 0.02)
    start, step = dice(-0.2, 0) * unit, unit * dice(0.14, 0.22)
    for dash in range(int(width / step) + 2):
        left = start + dash * step
        canvas.polygon(_box(left, middle, left + step * 0.55, middle + unit * 0.014), paint, None)


def paint_lane(canvas: Canvas, light: Light, dice: Dice, top: np.ndarray) -> None:
    """A road that winds from the bottom to a skyline, narrower the farther, with edge and centre lines."""
    height, unit = canvas.height, canvas.unit
    goal, start, swing = dice(0.2, 0.8) * canvas.width, dice(0.1, 0.9) * canvas.width, dice(-0.25, 0.25) * canvas.width
    end = float(top[int(np.clip(goal, 0, canvas.width - 1))]) + 1
    share = np.linspace(0, 1, 24)
    y = height + 2 - (height + 2 - end) * share
    centre = start + (goal - start) * share + swing * np.sin(share * 2.6 * pi) * (1 - share)
    half = unit * dice(0.16, 0.3) * (1 - share) ** 1.5 + unit * 0.008
    tone = light.lit(dice.pick(ASPHALTS), dice, 0.03)
    before = canvas.labels.copy()
    canvas.polygon([*zip(centre - half, y, strict=True), *zip((centre + half)[::-1], y[::-1], strict=True)], tone, ROAD)
    inside = (canvas.labels == ROAD) & (before != ROAD)
    _specks(canvas, light, dice, tone, end, height, inside)
    paint = light.lit(dice.pick(("f4f1e8", "f4f1e8", "e9b93f")), dice, 0.02)
    for side, wide in ((-0.9, 0.05), (0.9, 0.05), (0.0, 0.035)):
        for i in range(len(y) - 1):
            if side == 0 and i % 2:
                continue
            near, far = slice(i, i + 1), slice(i + 1, i + 2)
            left, right = side - wide, side + wide
            corners = [
                (float((centre + half * edge)[at][0]), float(y[at][0]))
                for edge, at in ((left, near), (right, near), (right, far), (left, far))
            ]
            canvas.polygon(corners, paint, None)


def _specks(
    canvas: Canvas, light: Light, dice: Dice, tone: np.ndarray, top: float, low: float, inside: np.ndarray | None = None
) -> None:
    """Fine grain on asphalt."""
    first, last = max(0, int(np.ceil(top))), min(canvas.height, int(low))
    if last <= first:
        return
    grain = dice.grid(last - first, canvas.width)[..., None] * np.float32(0.05 * light.texture)
    if inside is not None:
        grain = grain * inside[first:last, :, None]
    canvas.image[first:last] += grain
