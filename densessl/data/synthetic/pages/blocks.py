"""What a column of text is made of: paragraphs, headings, items of lists, captions, footnotes, formulas.

A block knows its height at a width, draws itself at a place, and may be cut in two at a height.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from densessl.data.synthetic.canvas import Dice
from densessl.data.synthetic.pages.page import DECORATION, Colour, Page, Stroke, Words, box, line
from densessl.data.synthetic.pages.text import Line, Style, Token, break_lines, set_lines
from densessl.data.synthetic.pages.words import Writer


@dataclass
class Block(ABC):
    """before, after: free points above and below. keep: whether what follows must begin in the same column."""

    before: float = 0.0
    after: float = 0.0
    keep: bool = False
    floats: bool = False  # may wait for the next column while the text goes on

    @abstractmethod
    def height(self, room: float) -> float:
        """Points that it takes at this width."""

    @abstractmethod
    def place(self, page: Page, x: float, y: float, room: float) -> None:
        """Draw it with its top left corner at (x, y), in points, at this width."""

    def split(self, room: float, height: float) -> tuple[Block, Block] | None:
        return None


@dataclass
class Paragraph(Block):
    """Words as an element of one kind.

    first: indent of the first line; left: of all. label: what stands to the left of the first line, as a bullet does.
    band, edge: colours behind the text and of a bar at its left. group: the list that it is an item of.
    """

    kind: str = "Text"
    tokens: Sequence[Token] = ()
    style: Style | None = None
    first: float = 0.0
    left: float = 0.0
    right: float = 0.0
    label: str = ""
    group: int | None = None
    band: Colour | None = None
    edge: Colour | None = None
    pad: float = 0.0
    rule: Colour | None = None
    hyphens: bool = True
    _lines: tuple[float, list[Line]] | None = None

    def lines(self, room: float) -> list[Line]:
        inner = room - self.left - self.right - 2 * self.pad
        if self._lines is None or abs(self._lines[0] - inner) > 1e-6:
            self._lines = inner, break_lines(self.tokens, self.style, inner, self.first, self.hyphens)
        return self._lines[1]

    def height(self, room: float) -> float:
        return len(self.lines(room)) * self.style.leading + 2 * self.pad + (3 if self.rule else 0)

    def place(self, page: Page, x: float, y: float, room: float) -> None:
        lines, tall = self.lines(room), self.height(room)
        if self.band is not None:
            page.decorate(box(x, y, room, tall, self.band))
        if self.edge is not None:
            page.decorate(box(x, y, 2.5, tall, self.edge))
        start = x + self.left + self.pad
        inner = room - self.left - self.right - 2 * self.pad
        strokes: list[Stroke] = list(set_lines(lines, self.style, start, y + self.pad, inner))
        if self.label:
            wide = self.style.measure(self.label) + 0.45 * self.style.size
            strokes.insert(0, self.style.at(start - max(wide, 0.9 * self.style.size), strokes[0].y, self.label))
        text = " ".join(line.text for line in lines)
        page.add(self.kind, strokes, f"{self.label} {text}".strip(), group=self.group)
        if self.rule:
            page.decorate(line(x, y + tall - 1, x + room, y + tall - 1, self.rule, 0.7))

    def split(self, room: float, height: float) -> tuple[Block, Block] | None:
        lines = self.lines(room)
        fit = int((height - 2 * self.pad) / self.style.leading)
        if fit < 2 or len(lines) - fit < 2 or self.kind in ("Section-header", "Title", "Caption"):
            return None
        inner = self._lines[0]
        lines[fit - 1].last = False
        head = replace(self, after=0.0, _lines=(inner, lines[:fit]))
        tail = replace(self, before=0.0, first=0.0, label="", _lines=(inner, lines[fit:]))
        return head, tail


@dataclass
class Stack(Block):
    """Blocks that stay together, such as a table and its caption; `spaces` points between them."""

    blocks: Sequence[Block] = ()
    spaces: float = 4.0

    def height(self, room: float) -> float:
        return sum(each.height(room) for each in self.blocks) + self.spaces * (len(self.blocks) - 1)

    def place(self, page: Page, x: float, y: float, room: float) -> None:
        for each in self.blocks:
            each.place(page, x, y, room)
            y += each.height(room) + self.spaces


@dataclass
class Rule(Block):
    """A line across the column, which belongs to nothing."""

    pen: Colour = (0.0, 0.0, 0.0)
    thick: float = 0.6
    share: float = 1.0

    def height(self, room: float) -> float:
        return 3.0

    def place(self, page: Page, x: float, y: float, room: float) -> None:
        page.add(DECORATION, [line(x, y + 1.5, x + room * self.share, y + 1.5, self.pen, self.thick)])


@dataclass
class Formula(Block):
    """A displayed formula in the middle of the column, at times with its number at the right margin."""

    parts: list[tuple[str, object]] = field(default_factory=list)
    number: str = ""
    size: float = 10.0
    colour: Colour = (0.0, 0.0, 0.0)

    def height(self, room: float) -> float:
        tall = any(kind in ("fraction", "sum") for kind, _ in self.parts)
        return self.size * (2.9 if tall else 1.7)

    def place(self, page: Page, x: float, y: float, room: float) -> None:
        middle = y + self.height(room) / 2
        strokes, wide = self._draw(0.0, middle)
        shift = x + max(0.0, (room - wide) / 2)
        moved = [_moved(stroke, shift) for stroke in strokes]
        if self.number:
            right = x + room - _width(self.number, "STIXGeneral", self.size)
            if right > shift + wide + 4:
                moved.append(Words(right, middle + 0.3 * self.size, self.number, "STIXGeneral", self.size, self.colour))
        text = " ".join("/".join(part) if kind == "fraction" else str(part) for kind, part in self.parts)
        page.add("Formula", moved, text)

    def _draw(self, x: float, middle: float) -> tuple[list[Stroke], float]:
        strokes: list[Stroke] = []
        size, base = self.size, middle + 0.3 * self.size
        for kind, part in self.parts:
            if kind == "fraction":
                over, under = (_width(each, "STIXGeneralItalic", size) for each in part)
                wide = max(over, under) + 4
                for each, own, y in ((part[0], over, middle - 0.45 * size), (part[1], under, middle + 1.05 * size)):
                    strokes.append(Words(x + (wide - own) / 2, y, each, "STIXGeneralItalic", size, self.colour))
                strokes.append(line(x, middle, x + wide, middle, self.colour, 0.6))
                x += wide + 2
            elif kind == "sum":
                strokes.append(Words(x, middle + 0.6 * size, part, "STIXGeneral", 1.7 * size, self.colour))
                wide = _width(part, "STIXGeneral", 1.7 * size)
                for each, y in (("n", middle - 1.05 * size), ("i=1", middle + 1.45 * size)):
                    own = _width(each, "STIXGeneralItalic", 0.65 * size)
                    strokes.append(Words(x + (wide - own) / 2, y, each, "STIXGeneralItalic", 0.65 * size, self.colour))
                x += wide + 3
            else:
                small = {"sup": (0.68, -0.38), "sub": (0.68, 0.22)}.get(kind, (1.0, 0.0))
                font = "STIXGeneral" if kind == "upright" else "STIXGeneralItalic"
                strokes.append(Words(x, base + small[1] * size, part, font, small[0] * size, self.colour))
                x += _width(part, font, small[0] * size) + 1
        return strokes, x


def _width(text: str, font: str, size: float) -> float:
    from densessl.data.synthetic.pages.fonts import width

    return width(text, font) * size


def _moved(stroke: Stroke, shift: float) -> Stroke:
    if isinstance(stroke, Words):
        return replace(stroke, x=stroke.x + shift)
    return replace(stroke, points=tuple((x + shift, y) for x, y in stroke.points))


def formula(dice: Dice, size: float, colour: Colour, number: str = "") -> Formula:
    """A formula of a few terms that means nothing."""
    letters = "x y z u v w f g h p q t s r a b c k m n α β γ λ μ σ θ ω φ ρ"
    parts: list[tuple[str, object]] = [("term", dice.pick(letters))]
    if dice.chance(0.6):
        parts.append(("sub", dice.pick("i j k t n 0 1")))
    if dice.chance(0.3):
        parts.append(("upright", f"({dice.pick(letters)})"))
    parts.append(("upright", dice.pick((" = ", " = ", " ≤ ", " ≈ ", " → "))))
    for place in range(dice.whole(1, 4)):
        if place:
            parts.append(("upright", dice.pick((" + ", " − ", " · "))))
        kind = dice()
        if kind < 0.25:
            pair = [dice.pick(letters) + dice.pick(("", " − 1", " + " + dice.pick(letters), "²")) for _ in range(2)]
            parts.append(("fraction", tuple(pair)))
            continue
        if kind < 0.42:
            parts.append(("sum", dice.pick("∑ ∫ ∏ ∑")))
        parts.append(("term", dice.pick(letters)))
        if dice.chance(0.5):
            parts.append((dice.pick(("sup", "sub")), dice.pick(["2", "i", "j", "n", "T", "k", "−1"])))
        if dice.chance(0.25):
            parts.append(("upright", f"({dice.pick(letters)}, {dice.pick(letters)})"))
    return Formula(before=3, after=3, parts=parts, number=number, size=size, colour=colour)


def emphasised(tokens: list[str], dice: Dice) -> list[Token]:
    """Some words in bold or italics, as authors have them."""
    marked: list[Token] = list(tokens)
    if dice.chance(0.25) and len(tokens) > 8:
        for _ in range(dice.whole(1, 3)):
            place, count, mark = dice.whole(0, len(tokens) - 4), dice.whole(1, 4), dice.pick(("b", "i", "i"))
            for each in range(place, place + count):
                marked[each] = (tokens[each], mark)
    return marked


def paragraph_words(writer: Writer, low: int = 2, high: int = 7) -> list[Token]:
    return emphasised(writer.sentences(writer.dice.whole(low, high)), writer.dice)
