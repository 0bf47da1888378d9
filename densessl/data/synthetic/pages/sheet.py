"""One page on which things are put from the top down, and what letters, forms and invoices have in common."""

from __future__ import annotations

from densessl.data.synthetic.canvas import Dice
from densessl.data.synthetic.pages.author import Author
from densessl.data.synthetic.pages.blocks import Block, Paragraph
from densessl.data.synthetic.pages.figures import logo
from densessl.data.synthetic.pages.looks import ACCENTS, draw_look
from densessl.data.synthetic.pages.page import Page, colour, line
from densessl.data.synthetic.pages.text import fitted
from densessl.data.synthetic.pages.words import Writer


class Sheet:
    """One page and where on it the next thing goes."""

    def __init__(self, author: Author) -> None:
        self.author, self.look = author, author.look
        self.page = Page(*author.look.sheet)
        self.x, self.y, self.room = author.look.margins[0], author.look.margins[1], author.look.width

    def put(self, block: Block, x: float | None = None, room: float | None = None, gap: float = 0.0) -> None:
        room = self.room if room is None else room
        block.place(self.page, self.x if x is None else x, self.y, room)
        self.y += block.height(room) + gap

    def left(self) -> float:
        return self.look.foot - self.y

    def line(
        self, text: str, x: float, room: float, factor: float = 1.0, gap: float = 0.0, kind="Text", **more
    ) -> None:
        style = self.author.style(factor, **({"align": "left"} | more))
        self.put(Paragraph(kind=kind, tokens=text.split(), style=style), x, room, gap)

    def lines(self, texts: list[str], x: float, room: float, factor: float = 1.0, gap: float = 0.0, **more) -> None:
        """Lines that are one element, as an address is."""
        style = self.author.style(factor, **({"align": "left"} | more))
        strokes, y = [], self.y + 0.9 * style.size
        for text in texts:
            text = fitted(text, style, room)
            shift = room - style.measure(text) if style.align == "right" else 0.0
            strokes.append(style.at(x + shift, y, text))
            y += style.leading
        self.page.add("Text", strokes, " ".join(texts))
        self.y += style.leading * len(texts) + gap


def address(writer: Writer, dice: Dice) -> list[str]:
    street = f"{writer.content().capitalize()} {dice.whole(1, 180)}"
    town = f"{dice.whole(10, 99)}-{dice.whole(100, 999)} {writer.content().capitalize()}"
    return [writer.heading(1, 3), writer.person(), street, town][0 if dice.chance(0.6) else 1 :]


def single(dice: Dice, writer: Writer, sheets: str, faces: str, size: tuple[float, float]) -> Author:
    return Author(draw_look(dice, writer.code, sheets, (1,), faces, size), writer, dice)


def mark(sheet: Sheet, size: float, x: float | None = None) -> None:
    """The sender's logo, a Picture."""
    author, dice = sheet.author, sheet.author.dice
    shade = colour(dice.pick(ACCENTS))
    name = author.writer.heading(1, 2)
    place = dice.pick((sheet.x, sheet.x, sheet.x + sheet.room - 150)) if x is None else x
    strokes, _ = logo(
        dice, place, sheet.y, size, shade, author.head_style(1.0, align="left"), fitted(name, author.style(2), 130)
    )
    sheet.page.add("Picture", strokes)
    sheet.y += size * 1.3


def small_foot(sheet: Sheet) -> None:
    """The sender's particulars in small letters at the foot."""
    author, page = sheet.author, sheet.page
    writer, dice, look = author.writer, author.dice, author.look
    style = author.style(0.72, align="centre")
    y = look.foot + 16
    if dice.chance(0.5):
        page.decorate(line(sheet.x, y - 12, sheet.x + sheet.room, y - 12, look.accent, 0.6))
    strokes = []
    for _ in range(dice.whole(1, 3)):
        telephone = f"{dice.whole(10, 99)} {dice.whole(100, 999)} {dice.whole(100, 999)}"
        words = f"{writer.heading(2, 3)} · {telephone} · {writer.content()}.eu"
        text = fitted(words, style, sheet.room)
        strokes.append(style.at(sheet.x + (sheet.room - style.measure(text)) / 2, y, text))
        y += style.leading
    page.add("Page-footer", strokes, " ".join(each.text for each in strokes))
