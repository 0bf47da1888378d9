"""Blocks poured into the columns of pages, with headers, footers and footnotes around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from densessl.data.synthetic.pages.author import Author
from densessl.data.synthetic.pages.blocks import Block, Paragraph
from densessl.data.synthetic.pages.page import BLACK, DECORATION, WHITE, Page, box, line
from densessl.data.synthetic.pages.text import Style, fitted

ROOM = 30.0  # points; a column with less left is full


@dataclass
class Frame:
    """A column: its left side, top, bottom and width in points."""

    x: float
    top: float
    bottom: float
    width: float


class Pour:
    """Takes blocks from a source that never ends and fills columns with them."""

    def __init__(self, source: Iterator[Block]) -> None:
        self.source, self.next, self.waiting = source, None, []
        self.frames = 0

    def fill(self, page: Page, frame: Frame) -> None:
        """Fill one column. A block that does not fit is cut, waits as a float does, or begins the next column."""
        y, begun = frame.top, False
        self.frames += 1
        turn_over = 0
        while frame.bottom - y > ROOM:
            block = self._take(begun, frame, y)
            if begun:
                y += block.before
            tall = block.height(frame.width)
            follow = 2.5 * block.style.leading if block.keep and isinstance(block, Paragraph) else 0.0
            if y + tall + follow <= frame.bottom:
                self._set(block, page, frame, y)
                y += tall + block.after
                begun = True
                continue
            parts = block.split(frame.width, frame.bottom - y)
            if parts is not None:
                self._set(parts[0], page, frame, y)
                self.next = parts[1]
                return
            if not begun:
                # Taller than an empty column: it would never fit.
                turn_over += 1
                if turn_over > 20:
                    return
                continue
            if block.floats and len(self.waiting) < 2:
                self.waiting.append(block)
                continue
            self.next = block
            return

    def _take(self, begun: bool, frame: Frame, y: float) -> Block:
        if self.waiting and not begun:
            return self.waiting.pop(0)
        if self.next is not None:
            block, self.next = self.next, None
            return block
        return next(self.source)

    def _set(self, block: Block, page: Page, frame: Frame, y: float) -> None:
        first = len(page.elements)
        block.place(page, frame.x, y, frame.width)
        for element in page.elements[first:]:
            if element.group is not None:
                # A list that goes on in the next column is another one there.
                element.group = element.group * 1000 + self.frames


def columns(author: Author, top: float, bottom: float) -> list[Frame]:
    look = author.look
    step = look.column + look.gap
    return [Frame(look.margins[0] + step * place, top, bottom, look.column) for place in range(look.columns)]


def pour(
    author: Author,
    source: Iterator[Block],
    pages: int,
    first: Callable[[Page], float] | None = None,
    notes: float = 0.0,
    wide: float = 0.0,
    ends: bool = False,
) -> list[Page]:
    """Pages of running text.

    first: draws what stands above the columns of the first page and returns where they begin. notes, wide: chance of
    footnotes in a column, and of a float over all columns of a page. ends: whether the last page may be left in part.
    """
    stream, look, dice = Pour(source), author.look, author.dice
    running = Running(author)
    done = []
    for number in range(pages):
        page = Page(*look.sheet)
        running.header(page, number)
        top, bottom = look.margins[1], look.foot
        if first is not None and number == 0:
            top = first(page)
        elif look.columns > 1 and dice.chance(wide):
            top = _wide(author, page, top)
        if ends and number == pages - 1 and dice.chance(0.5):
            bottom = top + (bottom - top) * dice(0.35, 0.9)
        if bottom - top > 80:
            frames = columns(author, top, bottom)
            for frame in frames:
                under = _notes(author, frame) if dice.chance(notes) and bottom == look.foot else []
                stream.fill(page, frame)
                y = frame.bottom + 6
                for each in under:
                    each.place(page, frame.x, y, frame.width)
                    y += each.height(frame.width) + each.after
            if look.columns > 1 and running.ruled:
                page.decorate(
                    *(
                        line(each.x - look.gap / 2, top, each.x - look.gap / 2, bottom, BLACK, 0.4)
                        for each in frames[1:]
                    )
                )
        running.footer(page, number)
        done.append(page)
    return done


def _wide(author: Author, page: Page, top: float) -> float:
    """A figure or table over all columns, at the top."""
    look, dice = author.look, author.dice
    if dice.chance(0.55):
        block: Block = author.figure(look.width, dice.pick((1, 2, 2, 3, 4)))
    else:
        block = author.captioned_table(dice.whole(4, 16), dice.whole(5, 9))
    tall = block.height(look.width)
    if top + tall > look.foot - 120:
        return top
    block.place(page, look.margins[0], top, look.width)
    return top + tall + look.line


def _notes(author: Author, frame: Frame) -> list[Block]:
    """Footnotes for the foot of a column, which is made shorter by them, with a line above."""
    dice, notes, tall = author.dice, [], 0.0
    for _ in range(dice.pick((1, 1, 2, 3, 5))):
        note = author.note()
        high = note.height(frame.width) + note.after
        if tall + high > 0.3 * (frame.bottom - frame.top):
            break
        notes.append(note)
        tall += high
    if notes:
        frame.bottom -= tall + 8
        notes[0] = _Ruled(note=notes[0], share=dice.pick((0.0, 0.3, 0.35, 1.0)))
    return notes


@dataclass
class _Ruled(Block):
    """A note below a short line."""

    note: Paragraph | None = None
    share: float = 0.3

    def height(self, room: float) -> float:
        self.after = self.note.after
        return self.note.height(room)

    def place(self, page: Page, x: float, y: float, room: float) -> None:
        if self.share:
            page.add(DECORATION, [line(x, y - 3, x + room * self.share, y - 3, BLACK, 0.5)])
        self.note.place(page, x, y, room)


class Running:
    """The headers and footers of a document, which repeat and count."""

    def __init__(self, author: Author) -> None:
        dice, writer = author.dice, author.writer
        self.author, self.kind = author, author.look.running
        size = author.look.size * dice(0.72, 0.92)
        family = author.look.head if dice.chance(0.4) else author.look.body
        shade = (0.4,) * 3 if dice.chance(0.3) else author.look.ink
        self.style = Style(family, size, 1.2 * size, shade, italic=dice.chance(0.25) and not family.plain)
        self.left, self.right = writer.heading(2, 6), writer.heading(1, 4)
        if dice.chance(0.25):
            self.left = self.left.upper()
        self.first = dice.whole(1, 240)
        self.place = dice.pick(("foot", "foot", "foot outer", "head", "head", "foot text"))
        self.form = dice.pick(("{}", "{}", "{}", "– {} –", "{word} {}", "{} / {last}", "[{}]"))
        self.ruled = author.look.columns > 1 and dice.chance(0.12)
        self.line_below = dice.chance(0.3)
        self.two = dice.chance(0.5)
        self.gap = dice(12, 26)

    def number(self, page: int) -> str:
        word = self.author.writer.label["page"]
        return self.form.format(self.first + page, word=word, last=self.first + 60)

    def header(self, page: Page, number: int) -> None:
        """A line of text above the columns; on its band, over its rule, or none."""
        look, author = self.author.look, self.author
        if self.kind == "none" or (number == 0 and author.dice.chance(0.4)):
            return
        left, right = look.margins[0], page.width - look.margins[2]
        y = max(20.0, look.margins[1] - self.gap)
        style = self.style
        if self.kind == "band":
            shade = look.accent if look.coloured else (0.85,) * 3
            page.decorate(
                box(
                    0 if self.two else left,
                    y - 1.4 * style.size,
                    page.width if self.two else right - left,
                    2 * style.size,
                    shade,
                )
            )
            style = Style(style.family, style.size, style.leading, WHITE if sum(shade) < 1.8 else BLACK)
        if self.kind == "tab":
            wide, tall = 16.0, page.height * 0.13
            top = page.height * (0.1 + 0.15 * ((self.first + number) // 4 % 5))
            shade = look.accent if look.coloured else (0.55,) * 3
            page.decorate(box(page.width - wide, top, wide, tall, shade))
            text = fitted(self.right, Style(style.family, 7, 8, WHITE), tall - 8)
            if len(text) * 3.6 < tall:
                words = Style(style.family, 7, 8, WHITE).at(page.width - 5.5, top + tall - 5, text)
                page.add("Page-header", [replace(words, angle=90.0)], text)
        odd = (self.first + number) % 2 == 1
        texts = [self.left, self.right] if self.two else [self.left, ""]
        if self.place == "head":
            texts[1 if odd or not self.two else 0] = self.number(number)
        if not odd and self.kind != "band":
            texts.reverse()
        if self.kind == "rule":
            page.decorate(line(left, y + 4, right, y + 4, look.accent, 0.6))
        for text, align in zip(texts, ("left", "right"), strict=True):
            if text:
                text = fitted(text, style, (right - left) * 0.48)
                x = left + 2 if align == "left" else right - 2 - style.measure(text)
                page.add("Page-header", [style.at(x, y, text)], text)

    def footer(self, page: Page, number: int) -> None:
        look, dice = self.author.look, self.author.dice
        if self.place == "head" and not dice.chance(0.15):
            return
        left, right = look.margins[0], page.width - look.margins[2]
        y = min(page.height - 18, look.foot + self.gap + 8)
        text = self.number(number)
        odd = (self.first + number) % 2 == 1
        if self.line_below:
            page.decorate(line(left, y - 1.5 * self.style.size, right, y - 1.5 * self.style.size, look.accent, 0.5))
        wide = self.style.measure(text)
        if self.place == "foot":
            page.add("Page-footer", [self.style.at((left + right - wide) / 2, y, text)], text)
            return
        x = right - wide if odd else left
        page.add("Page-footer", [self.style.at(x, y, text)], text)
        if self.place == "foot text":
            words = fitted(self.left, self.style, (right - left) * 0.6)
            other = left if odd else right - self.style.measure(words)
            page.add("Page-footer", [self.style.at(other, y, words)], words)
