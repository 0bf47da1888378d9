"""Figures and what belongs to them: charts, photographs, panels of several, logos and signatures."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from densessl.data.synthetic.canvas import Dice
from densessl.data.synthetic.pages.blocks import Block
from densessl.data.synthetic.pages.charts import draw_chart
from densessl.data.synthetic.pages.page import BLACK, WHITE, Colour, Disc, Page, Raster, Shape, Stroke, box
from densessl.data.synthetic.pages.pictures import draw_source
from densessl.data.synthetic.pages.text import Style
from densessl.data.synthetic.pages.words import Writer


@dataclass
class Figure(Block):
    """One Picture: a chart, a photograph, or a panel of `parts` of them. tall: points; share: of the column's width."""

    content: str = "chart"  # chart or photo
    parts: int = 1
    tall: float = 150.0
    share: float = 1.0
    style: Style | None = None
    writer: Writer | None = None
    dice: Dice | None = None
    letters: bool = False

    def height(self, room: float) -> float:
        return self.tall

    def place(self, page: Page, x: float, y: float, room: float) -> None:
        wide = room * self.share
        left, strokes = x + (room - wide) / 2, []
        columns = self.parts if self.parts < 4 or wide > 420 else 2
        rows = math.ceil(self.parts / columns)
        gap = 8.0
        each = (wide - gap * (columns - 1)) / columns, (self.tall - gap * (rows - 1)) / rows
        for part in range(self.parts):
            place = left + (part % columns) * (each[0] + gap), y + (part // columns) * (each[1] + gap)
            strokes += self._part(*place, *each, part)
        page.add("Picture", strokes)

    def _part(self, x: float, y: float, wide: float, tall: float, part: int) -> list[Stroke]:
        strokes: list[Stroke] = []
        if self.letters:
            tall -= 1.5 * self.style.size
            strokes.append(self.style.at(x + wide / 2, y + tall + 1.3 * self.style.size, f"({'abcdefgh'[part]})"))
        if self.content == "photo":
            return [Raster(x, y, wide, tall, draw_source(self.dice, wide / tall)), *strokes]
        return draw_chart(x, y, wide, tall, self.style, self.writer, self.dice) + strokes


def signature(dice: Dice, x: float, y: float, wide: float, pen: Colour) -> list[Stroke]:
    """A line that runs like handwriting."""
    loops, points = dice(6, 12), []
    heights = [dice(0.2, 1) for _ in range(30)]
    for step in range(81):
        t = step / 80
        high = heights[int(t * 29)] * (1.2 - t)
        points.append(
            (x + wide * t + 4 * math.sin(loops * 6.28 * t), y - 9 * high * math.sin(loops * 6.28 * t + heights[3] * 3))
        )
    return [Shape(tuple(points), None, pen, dice(0.7, 1.4), closed=False)]


def logo(
    dice: Dice, x: float, y: float, size: float, shade: Colour, style: Style, name: str
) -> tuple[list[Stroke], float]:
    """A mark and a name beside it -> strokes and the width they take."""
    kind, strokes = dice.whole(0, 4), []
    middle = y + size / 2
    if kind == 0:
        strokes += [Disc(x + size / 2, middle, size / 2, shade), Disc(x + size * 0.62, middle, size * 0.28, WHITE)]
    elif kind == 1:
        strokes += [
            box(x + size * 0.34 * i, y + size * (0.6 - 0.3 * i), size * 0.26, size * (0.4 + 0.3 * i), shade)
            for i in range(3)
        ]
    elif kind == 2:
        strokes += [
            Shape(((x, y + size), (x + size / 2, y), (x + size, y + size)), shade),
            Shape(((x + size * 0.3, y + size), (x + size * 0.6, y + size * 0.45), (x + size * 0.8, y + size)), WHITE),
        ]
    elif kind == 3:
        strokes += [box(x, y, size, size, shade)]
        letter = replace(style, size=size * 0.75, colour=WHITE, bold=True)
        strokes.append(letter.at(x + (size - letter.measure(name[0])) / 2, y + size * 0.78, name[0]))
    else:
        strokes += [Disc(x + size / 2, middle, size * (0.5 - 0.14 * i), None, shade, size * 0.07) for i in range(3)]
    if dice.chance(0.3):
        return strokes, size
    text = replace(style, size=size * 0.5, bold=True, colour=shade if dice.chance(0.5) else BLACK)
    strokes.append(text.at(x + size * 1.25, y + size * 0.68, name))
    return strokes, size * 1.25 + text.measure(name)


def barcode(dice: Dice, x: float, y: float, wide: float, tall: float) -> list[Stroke]:
    strokes, place = [], x
    while place < x + wide - 3:
        thick = dice.pick((0.8, 0.8, 1.6, 2.4))
        strokes.append(box(place, y, thick, tall, BLACK))
        place += thick + dice.pick((0.8, 1.6, 2.4))
    return strokes


def square_code(dice: Dice, x: float, y: float, size: float) -> list[Stroke]:
    """A code of black and white squares with three larger ones in its corners."""
    count = 21
    cell = size / count
    strokes: list[Stroke] = []
    for row, values in enumerate(dice.rows(count, count)):
        start = None
        for column in range(count + 1):
            corner = (row < 8 and (column < 8 or column > 12)) or (row > 12 and column < 8)
            dark = column < count and values[column] < 0.5 and not corner
            if dark and start is None:
                start = column
            elif not dark and start is not None:
                strokes.append(box(x + start * cell, y + row * cell, (column - start) * cell, cell, BLACK))
                start = None
    for row, column in ((0, 0), (0, 14), (14, 0)):
        left, top = x + column * cell, y + row * cell
        strokes += [
            box(left, top, 7 * cell, 7 * cell, BLACK),
            box(left + cell, top + cell, 5 * cell, 5 * cell, WHITE),
            box(left + 2 * cell, top + 2 * cell, 3 * cell, 3 * cell, BLACK),
        ]
    return strokes
