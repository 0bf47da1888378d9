"""Charts drawn as vectors: lines, bars, points, sectors, histograms, grids of colours, and boxes with arrows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from densessl.data.synthetic.canvas import Dice
from densessl.data.synthetic.pages.page import BLACK, WHITE, Colour, Disc, Shape, Stroke, Words, box, colour, line, tint
from densessl.data.synthetic.pages.text import Style, fitted
from densessl.data.synthetic.pages.words import Writer

PALETTES = (
    "4472c4 ed7d31 a5a5a5 ffc000 5b9bd5 70ad47",
    "1f77b4 ff7f0e 2ca02c d62728 9467bd 8c564b",
    "264653 2a9d8f e9c46a f4a261 e76f51 6d597a",
    "000000 555555 888888 aaaaaa 333333 cccccc",
    "003f5c 58508d bc5090 ff6361 ffa600 7a5195",
    "0072b2 d55e00 009e73 cc79a7 e69f00 56b4e9",
    "08306b 2171b5 6baed6 9ecae1 c6dbef 4292c6",
)
KINDS = "lines lines bars bars across stacked points points pie pie ring histogram heat curves flow"


@dataclass
class Area:
    """The rectangle that a chart has, its fonts and colours."""

    x: float
    y: float
    width: float
    height: float
    style: Style
    colours: list[Colour]
    writer: Writer
    dice: Dice

    def text(self, x: float, y: float, text: str, align: str = "left", angle: float = 0.0) -> Words:
        wide = self.style.measure(text)
        start = x - wide / 2 if align == "centre" else x - wide if align == "right" else x
        words = self.style.at(start, y, text)
        return replace(words, angle=angle) if angle else words


def draw_chart(
    x: float, y: float, width: float, height: float, style: Style, writer: Writer, dice: Dice
) -> list[Stroke]:
    """The strokes of a chart of some kind within the rectangle."""
    colours = [colour(code) for code in dice.pick(PALETTES).split()]
    area = Area(x, y, width, height, style, colours, writer, dice)
    strokes: list[Stroke] = []
    if dice.chance(0.12):
        strokes.append(box(x, y, width, height, tint(colours[0], 0.06) if dice.chance(0.5) else None, (0.6,) * 3))
        area = Area(x + 6, y + 6, width - 12, height - 12, style, colours, writer, dice)
    if dice.chance(0.35):
        title = fitted(writer.phrase(2, 6), style, area.width - 4)
        strokes.append(area.text(area.x + area.width / 2, area.y + style.size, title, "centre"))
        drop = 1.8 * style.size
        area = Area(area.x, area.y + drop, area.width, area.height - drop, style, colours, writer, dice)
    return strokes + _DRAW[dice.pick(KINDS)](area)


def _frame(area: Area, top: float, ticks: list[str], whole: bool = True) -> tuple[list[Stroke], tuple[float, ...]]:
    """Axes with numbers and `ticks` below -> strokes, and the plot's rectangle (x, y, width, height)."""
    dice, size = area.dice, area.style.size
    steps = dice.whole(3, 6)
    numbers = [_number(top * step / steps, area) for step in range(steps + 1)]
    left = area.x + max(area.style.measure(each) for each in numbers) + 5
    titled, x_title = dice.chance(0.4), dice.chance(0.4)
    if titled:
        left += 1.4 * size
    bottom = area.y + area.height - 1.7 * size - (1.3 * size if x_title else 0)
    plot = left, area.y + 0.5 * size, area.x + area.width - left - 2, bottom - area.y - 0.5 * size
    axis = dice.pick((BLACK, (0.4, 0.4, 0.4)))
    strokes: list[Stroke] = []
    grid, boxed = dice.chance(0.5), dice.chance(0.35)
    for step, text in enumerate(numbers):
        y = bottom - plot[3] * step / steps
        if grid and step:
            strokes.append(line(left, y, left + plot[2], y, (0.82,) * 3, 0.4))
        else:
            strokes.append(line(left - 2, y, left, y, axis, 0.5))
        strokes.append(area.text(left - 4, y + 0.35 * size, text, "right"))
    each = plot[2] / max(1, len(ticks))
    skip = 1 + int(max((area.style.measure(text) for text in ticks), default=0.0) / max(each, 1e-6))
    for place, text in enumerate(ticks):
        if place % skip == 0 and text:
            strokes.append(area.text(left + each * (place + 0.5), bottom + 1.25 * size, text, "centre"))
    if titled:
        text = fitted(area.writer.phrase(1, 3), area.style, plot[3])
        middle = plot[1] + (plot[3] + area.style.measure(text)) / 2
        strokes.append(area.text(area.x + size, middle, text, angle=90))
    if x_title:
        text = fitted(area.writer.phrase(1, 3), area.style, plot[2])
        strokes.append(area.text(left + plot[2] / 2, area.y + area.height - 0.2 * size, text, "centre"))
    if boxed:
        strokes.append(box(left, plot[1], plot[2], plot[3], None, axis, 0.6))
    else:
        strokes += [line(left, bottom, left + plot[2], bottom, axis, 0.6), line(left, plot[1], left, bottom, axis, 0.6)]
    return strokes, plot


def _number(value: float, area: Area) -> str:
    text = f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.1f}"
    return text.replace(".", area.writer.language.comma)


def _legend(area: Area, plot: tuple[float, ...], count: int) -> list[Stroke]:
    """Names of the series on a ground of white, in a corner of the plot."""
    names = [fitted(area.writer.phrase(1, 2), area.style, 0.35 * plot[2]) for _ in range(count)]
    wide, size = max(map(area.style.measure, names)) + 18, area.style.size
    x = plot[0] + (plot[2] - wide - 3 if area.dice.chance(0.6) else 3)
    pen = (0.6,) * 3 if area.dice.chance(0.5) else None
    strokes: list[Stroke] = [box(x, plot[1] + 2, wide, 1.35 * size * count + 3, WHITE, pen, 0.4)]
    for place, name in enumerate(names):
        y = plot[1] + 4 + 1.35 * size * place
        strokes.append(box(x + 3, y + 0.2 * size, 9, 0.6 * size, area.colours[place % 6]))
        strokes.append(area.text(x + 15, y + 0.85 * size, name))
    return strokes


def _ticks(area: Area, count: int) -> list[str]:
    kind = area.dice()
    if kind < 0.45:
        first = area.dice.whole(1990, 2024 - count)
        return [str(first + place) for place in range(count)]
    if kind < 0.75:
        return [str((place + 1) * area.dice.pick((1, 1))) for place in range(count)]
    return [area.writer.phrase(1, 1)[:9] for _ in range(count)]


def _walk(dice: Dice, count: int, low: float = 0.1, high: float = 0.95) -> list[float]:
    values, now, drift = [], dice(low, high), dice(-0.03, 0.05)
    for _ in range(count):
        values.append(min(max(now, 0.03), 0.97))
        now += drift + dice(-0.12, 0.12)
    return values


def _top(area: Area) -> float:
    return area.dice.pick((1, 5, 10, 50, 60, 80, 100, 100, 120, 250, 500, 1000, 2000))


def _lines(area: Area) -> list[Stroke]:
    dice, count, series = area.dice, area.dice.whole(5, 16), area.dice.whole(1, 4)
    strokes, (x, y, width, height) = _frame(area, _top(area), _ticks(area, count))
    marks, labelled = dice.chance(0.55), series < 3 and count < 11 and dice.chance(0.35)
    for place in range(series):
        shade, dash = area.colours[place], (3, 2) if dice.chance(0.2) else ()
        points = [
            (x + width * (step + 0.5) / count, y + height * (1 - share))
            for step, share in enumerate(_walk(dice, count))
        ]
        strokes.append(Shape(tuple(points), None, shade, dice(0.8, 1.8), False, dash))
        if marks:
            strokes += [Disc(px, py, 1.8, shade) for px, py in points]
        if labelled:
            strokes += [area.text(px, py - 3, area.writer.number(2, 1), "centre") for px, py in points]
    return strokes + (_legend(area, (x, y, width, height), series) if dice.chance(0.6) else [])


def _curves(area: Area) -> list[Stroke]:
    """Smooth functions."""
    dice = area.dice
    strokes, (x, y, width, height) = _frame(area, _top(area), [str(step) for step in range(dice.whole(5, 9))])
    series = dice.whole(1, 4)
    for place in range(series):
        wave, phase, fall = dice(1, 9), dice(0, 6), dice(0.3, 3)
        shares = [0.5 + 0.42 * math.sin(wave * t / 40 + phase) * math.exp(-fall * t / 40) for t in range(41)]
        points = tuple((x + width * t / 40, y + height * (1 - share)) for t, share in enumerate(shares))
        dash = ((4, 2), (1, 2), (5, 2, 1, 2))[place - 1] if place and dice.chance(0.5) else ()
        strokes.append(Shape(points, None, area.colours[place], 1.1, False, dash))
    return strokes + (_legend(area, (x, y, width, height), series) if dice.chance(0.5) else [])


def _bars(area: Area, stacked: bool = False) -> list[Stroke]:
    dice, count, series = area.dice, area.dice.whole(3, 12), area.dice.whole(1, 3)
    strokes, (x, y, width, height) = _frame(area, _top(area), _ticks(area, count))
    each, fill = width / count, dice(0.5, 0.85)
    labelled, outlined = series == 1 and dice.chance(0.5), dice.chance(0.2)
    for step in range(count):
        floor = y + height
        for place in range(series):
            share = dice(0.08, 0.9) / (series if stacked else 1)
            wide = each * fill / (1 if stacked else series)
            left = x + each * (step + (1 - fill) / 2) + (0 if stacked else wide * place)
            pen = BLACK if outlined else None
            strokes.append(box(left, floor - height * share, wide, height * share, area.colours[place], pen))
            if labelled:
                strokes.append(
                    area.text(left + wide / 2, floor - height * share - 2, area.writer.number(2, 1), "centre")
                )
            floor -= height * share if stacked else 0
    return strokes + (_legend(area, (x, y, width, height), series) if series > 1 else [])


def _across(area: Area) -> list[Stroke]:
    """Horizontal bars with a name and a number each, without axes."""
    dice, count = area.dice, area.dice.whole(4, 14)
    names = [fitted(area.writer.phrase(1, 4), area.style, 0.42 * area.width) for _ in range(count)]
    left = area.x + max(map(area.style.measure, names)) + 5
    room, each = area.x + area.width - left - 30, area.height / count
    strokes: list[Stroke] = [line(left, area.y, left, area.y + area.height, (0.5,) * 3, 0.5)]
    size, share, sorted_ = area.style.size, 1.0, dice.chance(0.6)
    for place, name in enumerate(names):
        share = share * dice(0.75, 1) if sorted_ else dice(0.05, 1)
        y = area.y + each * place
        strokes.append(area.text(left - 4, y + each / 2 + 0.35 * size, name, "right"))
        strokes.append(box(left, y + 0.15 * each, room * share, 0.7 * each, area.colours[0]))
        number = area.writer.number(2, 1)
        strokes.append(area.text(left + room * share + 3, y + each / 2 + 0.35 * size, number))
    return strokes


def _points(area: Area) -> list[Stroke]:
    dice, groups = area.dice, area.dice.whole(1, 3)
    strokes, (x, y, width, height) = _frame(area, _top(area), [str(10 * step) for step in range(dice.whole(5, 8))])
    hollow = dice.chance(0.3)
    for place in range(groups):
        slope, base, spread = dice(-0.7, 0.8), dice(0.3, 0.6), dice(0.03, 0.2)
        for across, off, more in dice.rows(dice.whole(15, 70), 3):
            share = min(max(base + slope * (across - 0.5) + spread * (off + more - 1) * 2, 0.02), 0.98)
            shade = area.colours[place]
            centre = x + width * across, y + height * (1 - share)
            strokes.append(Disc(*centre, 1.6, None if hollow else shade, shade if hollow else None, 0.6))
        if dice.chance(0.4):
            ends = [min(max(base + slope * side, 0.0), 1.0) for side in (-0.5, 0.5)]
            strokes.append(line(x, y + height * (1 - ends[0]), x + width, y + height * (1 - ends[1]), BLACK, 0.9))
    return strokes


def _pie(area: Area, hole: float = 0.0) -> list[Stroke]:
    dice, count = area.dice, area.dice.whole(3, 6)
    radius = min(area.height / 2 - 2, area.width * 0.27)
    x, y = area.x + radius + 4 + (0.06 * area.width), area.y + area.height / 2
    parts = [dice(0.3, 1.5) for _ in range(count)]
    strokes, start, size = [], dice(0, 360), area.style.size
    legend = x + radius + 12
    for place, part in enumerate(parts):
        sweep = 360 * part / sum(parts)
        strokes.append(Disc(x, y, radius, area.colours[place], WHITE, 0.7, start, sweep))
        middle = math.radians(start + sweep / 2)
        if hole == 0 and sweep > 30:
            share = _number(100 * part / sum(parts), area) + "%"
            dark = sum(area.colours[place]) < 1.5
            words = area.text(
                x + 0.65 * radius * math.cos(middle), y - 0.65 * radius * math.sin(middle), share, "centre"
            )
            strokes.append(replace(words, colour=WHITE if dark else BLACK))
        start += sweep
        top = y - 0.75 * size * count + 1.5 * size * place
        strokes.append(box(legend, top, 0.8 * size, 0.8 * size, area.colours[place]))
        name = fitted(area.writer.phrase(1, 3), area.style, area.x + area.width - legend - 1.2 * size)
        strokes.append(area.text(legend + 1.2 * size, top + 0.75 * size, name))
    if hole:
        strokes.append(Disc(x, y, radius * hole, WHITE))
    return strokes


def _histogram(area: Area) -> list[Stroke]:
    dice, count = area.dice, area.dice.whole(14, 34)
    strokes, (x, y, width, height) = _frame(area, _top(area), [str(step) for step in range(dice.whole(4, 9))])
    middle, spread = dice(0.25, 0.75), dice(0.08, 0.25)
    for step in range(count):
        share = math.exp(-(((step + 0.5) / count - middle) ** 2) / (2 * spread**2)) * dice(0.7, 0.95)
        strokes.append(
            box(
                x + width * step / count,
                y + height * (1 - share),
                width / count,
                height * share,
                area.colours[0],
                BLACK,
                0.3,
            )
        )
    return strokes


def _heat(area: Area) -> list[Stroke]:
    """A matrix of shades, names at its left, numbers in it where they fit."""
    dice, count = area.dice, area.dice.whole(4, 9)
    names = [fitted(area.writer.phrase(1, 1), area.style, 0.3 * area.width) for _ in range(count)]
    left = area.x + max(map(area.style.measure, names)) + 4
    size = min(area.x + area.width - left, area.height * dice(1, 2)) / count
    tall, strokes, small = area.height / count, [], area.style.size
    numbers = size > area.style.measure("0.00") + 2
    for row, name in enumerate(names):
        strokes.append(area.text(left - 3, area.y + tall * (row + 0.5) + 0.35 * small, name, "right"))
        for column in range(count):
            share = 1.0 if row == column else dice(0.05, 0.85)
            place = left + size * column, area.y + tall * row
            strokes.append(
                box(*place, size, tall, tint(area.colours[0], share), WHITE if dice.chance(0.5) else None, 0.4)
            )
            if numbers:
                words = area.text(place[0] + size / 2, place[1] + tall / 2 + 0.35 * small, f"{share:.2f}", "centre")
                strokes.append(replace(words, colour=WHITE if share > 0.6 else BLACK))
    return strokes


def _flow(area: Area) -> list[Stroke]:
    """Boxes with words, in rows, with arrows between them."""
    dice, rows, columns = area.dice, area.dice.whole(1, 3), area.dice.whole(2, 4)
    wide, tall = area.width / columns, area.height / rows
    wide_box, tall_box = wide * dice(0.62, 0.78), min(tall * dice(0.45, 0.7), 46)
    filled, strokes, size = dice.chance(0.6), [], area.style.size
    for row in range(rows):
        for column in range(columns):
            x, y = area.x + wide * column + 1, area.y + tall * (row + 0.5) - tall_box / 2
            fill = tint(area.colours[(row + column) % 6], 0.3) if filled else None
            strokes.append(box(x, y, wide_box, tall_box, fill, BLACK, 0.7))
            text = fitted(area.writer.phrase(1, 3), area.style, wide_box - 4)
            if area.style.measure(text) < wide_box - 2:
                strokes.append(area.text(x + wide_box / 2, y + tall_box / 2 + 0.35 * size, text, "centre"))
            if column < columns - 1:
                end = area.x + wide * (column + 1)
                strokes += _arrow(x + wide_box, y + tall_box / 2, end, y + tall_box / 2)
            elif row < rows - 1:
                strokes += _arrow(x + wide_box / 2, y + tall_box, x + wide_box / 2, y + tall)
    return strokes


def _arrow(x0: float, y0: float, x1: float, y1: float) -> list[Stroke]:
    along = math.hypot(x1 - x0, y1 - y0) or 1.0
    dx, dy = (x1 - x0) / along, (y1 - y0) / along
    head = ((x1, y1), (x1 - 5 * dx - 2 * dy, y1 - 5 * dy + 2 * dx), (x1 - 5 * dx + 2 * dy, y1 - 5 * dy - 2 * dx))
    return [line(x0, y0, x1 - 4 * dx, y1 - 4 * dy, BLACK, 0.8), Shape(head, BLACK)]


_DRAW = {
    "lines": _lines,
    "curves": _curves,
    "bars": _bars,
    "stacked": lambda area: _bars(area, stacked=True),
    "across": _across,
    "points": _points,
    "pie": _pie,
    "ring": lambda area: _pie(area, area.dice(0.45, 0.65)),
    "histogram": _histogram,
    "heat": _heat,
    "flow": _flow,
}
