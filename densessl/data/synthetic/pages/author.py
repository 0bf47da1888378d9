"""Blocks of running text in the look of a document: paragraphs, headings, lists, floats, notes."""

from __future__ import annotations

from collections.abc import Sequence

from densessl.data.synthetic.canvas import Dice
from densessl.data.synthetic.pages.blocks import Block, Formula, Paragraph, Stack, formula, paragraph_words
from densessl.data.synthetic.pages.cells import draw_rows
from densessl.data.synthetic.pages.figures import Figure
from densessl.data.synthetic.pages.looks import Look, pale
from densessl.data.synthetic.pages.page import BLACK
from densessl.data.synthetic.pages.tables import Table
from densessl.data.synthetic.pages.text import Style, Token
from densessl.data.synthetic.pages.words import Writer


class Author:
    """One document's look, language and counters."""

    def __init__(self, look: Look, writer: Writer, dice: Dice) -> None:
        self.look, self.writer, self.dice = look, writer, dice
        self.sections, self.lists = [0, 0, 0], 0
        self.count = {"table": 0, "figure": 0, "formula": 0, "note": 0, "reference": 0}
        self.list_style = dice.pick(("bullet", "bullet", "1.", "1)", "(a)", "a)"))
        self.caption_size = dice(0.85, 1.0)
        self.small = dice(0.78, 0.9)
        self.banded = pale(look, dice)
        self.figure_share = dice(0.7, 1.0)
        self.photos = dice.pick((0.15, 0.4, 0.8))

    def style(self, factor: float = 1.0, **more: object) -> Style:
        size = self.look.size * factor
        settings = {"colour": self.look.ink, "align": "justify" if self.look.justify else "left"} | more
        return Style(self.look.body, size, size * self.look.leading, **settings)

    def head_style(self, factor: float, **more: object) -> Style:
        look = self.look
        size = look.size / look.body.scale * look.head.scale * factor
        settings = {
            "colour": look.accent if look.coloured else look.ink,
            "bold": look.heading == "bold",
            "italic": look.heading == "italic",
            "align": "centre" if look.centred else "left",
        }
        return Style(look.head, size, size * 1.2, **(settings | more))

    def heading(self, level: int = 0) -> Paragraph:
        """A heading of level 0 to 2, numbered where the look has it so."""
        look, dice = self.look, self.dice
        self.sections[level] += 1
        self.sections[level + 1 :] = [0] * (2 - level)
        text = self.writer.heading(1, 7 if level else 5)
        if look.case == "upper" and level == 0:
            text = text.upper()
        if look.numbered:
            number = ".".join(str(max(1, each)) for each in self.sections[: level + 1])
            text = f"{number}{'.' if level == 0 and dice.chance(0.5) else ''} {text}"
        factor = 1 + (look.grow - 1) * (1.0, 0.55, 0.15)[level]
        style = self.head_style(factor, **({"italic": True} if level == 2 and not look.head.plain else {}))
        rule = look.accent if look.rule and level == 0 else None
        space = look.line * (0.9, 0.7, 0.5)[level]
        return Paragraph(
            space, 0.35 * look.line, True, False, "Section-header", text.split(), style, rule=rule, hyphens=False
        )

    def paragraph(
        self, low: int = 2, high: int = 7, tokens: Sequence[Token] | None = None, **more: object
    ) -> Paragraph:
        words = paragraph_words(self.writer, low, high) if tokens is None else tokens
        settings = {"first": self.look.indent, "style": self.style()} | more
        return Paragraph(after=self.look.between, tokens=words, **settings)

    def note(self) -> Paragraph:
        self.count["note"] += 1
        style = self.style(self.small)
        words = self.writer.sentences(self.dice.whole(1, 2))
        if self.dice.chance(0.5):
            return Paragraph(kind="Footnote", tokens=[str(self.count["note"]), *words], style=style, after=1.0)
        return Paragraph(kind="Footnote", tokens=words, style=style, after=1.0, left=9.0, label=str(self.count["note"]))

    def callout(self) -> Paragraph:
        """A paragraph on a coloured ground or beside a bar."""
        edge = self.look.accent if self.dice.chance(0.5) else None
        band = self.banded if edge is None or self.dice.chance(0.5) else None
        style = self.style(self.dice(0.95, 1.1), italic=self.dice.chance(0.3))
        words = paragraph_words(self.writer, 1, 3)
        space = self.look.line * 0.6
        return Paragraph(space, space, tokens=words, style=style, band=band, edge=edge, pad=7.0)

    def items(self, count: int, style: str = "", low: int = 1, high: int = 3, nested: float = 0.25) -> list[Block]:
        """The items of a list, some with items of their own."""
        self.lists += 1
        dice, look = self.dice, self.look
        kind = style or self.list_style
        words = dice.chance(0.35)
        space = dice(0.0, 0.45) * look.line
        step = 1.7 * look.size + (6 if kind != "bullet" else 0)
        blocks: list[Block] = []
        for place in range(1, count + 1):
            blocks.append(self._item(self._label(kind, place), step, words, space, low, high))
            if dice.chance(nested) and not words:
                inner = dice.pick(("–", "a)", "○", "-")) if not look.body.plain else "-"
                for under in range(1, dice.whole(2, 4)):
                    label = self._label(inner, under) if inner == "a)" else inner
                    blocks.append(self._item(label, 2 * step, dice.chance(0.5), space, 1, 2))
        blocks[0].before = max(space, 0.2 * look.line)
        blocks[-1].after = 0.4 * look.line
        return blocks

    def _item(self, label: str, left: float, short: bool, space: float, low: int, high: int) -> Paragraph:
        dice = self.dice
        tokens = self.writer.phrase(2, 9).split() if short else paragraph_words(self.writer, low, high)
        if not short and dice.chance(0.15):
            tokens = [(word, "b") for word in (self.writer.phrase(1, 3) + ":").split()] + list(tokens)
        return Paragraph(
            after=space, kind="List-item", tokens=tokens, style=self.style(), left=left, label=label, group=self.lists
        )

    def _label(self, kind: str, place: int) -> str:
        letter = chr(96 + (place - 1) % 26 + 1)
        labels = {
            "bullet": self.look.bullet,
            "1.": f"{place}.",
            "1)": f"{place})",
            "(a)": f"({letter})",
            "a)": f"{letter})",
        }
        return labels.get(kind, kind)

    def reference(self) -> Paragraph:
        """An entry of the literature, which both sets have as an item of a list."""
        self.count["reference"] += 1
        dice, writer = self.dice, self.writer
        names = ", ".join(writer.person() for _ in range(dice.whole(1, 4)))
        title = " ".join([writer.phrase(4, 12) + ".", writer.heading(2, 4) + ",", str(dice.whole(1, 80))])
        text = f"{names} ({dice.whole(1970, 2024)}). {title}:{dice.whole(10, 400)}–{dice.whole(401, 900)}."
        label = f"[{self.count['reference']}]" if writer.cites == "number" else f"{self.count['reference']}."
        style = self.style(self.small)
        return Paragraph(
            after=1.5, kind="List-item", tokens=text.split(), style=style, left=2.2 * style.size, label=label, group=-1
        )

    def formula(self) -> Formula:
        self.count["formula"] += 1
        number = f"({self.count['formula']})" if self.dice.chance(0.6) else ""
        return formula(self.dice, self.look.size / self.look.body.scale * 1.05, self.look.ink, number)

    def caption(self, kind: str, low: int = 1, high: int = 2) -> Paragraph:
        """Words below or above a float, with its number."""
        look, writer, dice = self.look, self.writer, self.dice
        self.count[kind] += 1
        label = f"{writer.label[kind]} {self.count[kind]}{look.stop}"
        label = label.upper() if look.caption == "upper" else label
        words = writer.sentences(dice.whole(low, high)) if dice.chance(0.6) else writer.phrase(3, 12).split()
        mark = {"bold": "b", "italic": "i"}.get(look.caption, "")
        head: list[Token] = (
            [] if look.caption == "none" and dice.chance(0.4) else [(each, mark) for each in label.split()]
        )
        align = "centre" if len(words) < 12 and dice.chance(0.4) else "justify" if look.justify else "left"
        return Paragraph(kind="Caption", tokens=[*head, *words], style=self.style(self.caption_size, align=align))

    def source(self) -> Paragraph:
        """A line below a float that says where its numbers are from; DocLayNet has such lines as captions or text."""
        words = f"{self.writer.label['source']}: {self.writer.phrase(2, 8)}.".split()
        return Paragraph(kind="Text", tokens=words, style=self.style(0.82, align="left"))

    def table(self, rows: int, columns: int, wordy: bool = False, full: bool | None = None, style: str = "") -> Table:
        look, dice = self.look, self.dice
        _, lines = draw_rows(self.writer, dice, columns, rows, wordy)
        size = dice(0.78, 0.98)
        body = self.style(size, align="left")
        face = Style(look.head if dice.chance(0.2) else look.body, body.size, body.size * dice(1.15, 1.35), look.ink)
        return Table(
            rows=lines,
            columns=columns,
            style=face,
            look=style
            or (look.table if dice.chance(0.75) else dice.pick("grid booktabs bare lines striped boxed header")),
            accent=look.accent if look.coloured and dice.chance(0.7) else BLACK,
            pad=dice(2.5, 6),
            tall=dice(0.4, 4.5),
            full=dice.chance(0.75) if full is None else full,
            thick=dice.pick((0.4, 0.5, 0.5, 0.8, 1.0)),
        )

    def captioned_table(self, rows: int, columns: int, wordy: bool = False) -> Block:
        parts: list[Block] = [self.table(rows, columns, wordy)]
        if self.dice.chance(0.85):
            parts.insert(0 if self.look.above else 1, self.caption("table"))
        if self.dice.chance(0.2):
            parts.append(self.source())
        space = self.look.line * self.dice(0.6, 1.0)
        return Stack(space, space, floats=True, blocks=parts, spaces=self.dice(3, 7))

    def figure(self, room: float, parts: int | None = None, photo: float | None = None) -> Block:
        """A figure with its caption, for a column of this width."""
        dice = self.dice
        count = parts or dice.pick((1, 1, 1, 1, 2, 2, 3, 4))
        content = "photo" if dice.chance(self.photos if photo is None else photo) else "chart"
        if content == "chart" and room / count < 120:
            count = 1
        share = self.figure_share if room < 280 else self.figure_share * dice(0.6, 1.0)
        wide = room * share / min(count, 2 if count == 4 and room < 420 else count)
        tall = (
            wide
            * (dice(0.45, 0.75) if content == "chart" else dice(0.5, 1.05))
            * (2 if count == 4 and room < 420 else 1)
        )
        size = self.look.size * dice(0.66, 0.82)
        face = Style(self.look.head if dice.chance(0.5) else self.look.body, size, 1.2 * size, self.look.ink)
        picture = Figure(
            content=content,
            parts=count,
            tall=min(max(tall, 70), 330),
            share=share,
            style=face,
            writer=self.writer,
            dice=dice,
            letters=count > 1 and dice.chance(0.6),
        )
        parts_: list[Block] = [picture]
        if dice.chance(0.9):
            parts_.insert(0 if dice.chance(0.15) else 1, self.caption("figure", 1, 3))
        if dice.chance(0.15):
            parts_.append(self.source())
        space = self.look.line * dice(0.5, 0.9)
        return Stack(space, space, floats=True, blocks=parts_, spaces=dice(3, 8))
