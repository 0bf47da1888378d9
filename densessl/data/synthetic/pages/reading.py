"""Documents of running text: articles, reports, accounts, books, laws, magazines, manuals, pages of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from densessl.data.synthetic.canvas import Dice
from densessl.data.synthetic.pages.author import Author
from densessl.data.synthetic.pages.blocks import Block, Paragraph, Stack
from densessl.data.synthetic.pages.flow import pour
from densessl.data.synthetic.pages.looks import draw_look
from densessl.data.synthetic.pages.page import BLACK, WHITE, Page, box, line
from densessl.data.synthetic.pages.words import Writer

Maker = Callable[[Dice, Writer, int], list[Page]]


def article(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """A paper of a journal or a conference."""
    look = draw_look(dice, writer.code, "a4 a4 letter letter journal", (1, 2, 2, 2), "serif", (8.5, 10.5))
    look.running = dice.pick(("none", "plain", "plain", "rule"))
    author = Author(look, writer, dice)
    formulas = dice.pick((0.0, 0.1, 0.25, 0.4))
    starts = dice.chance(0.6)

    def source() -> Iterator[Block]:
        while True:
            yield author.heading(0)
            for _ in range(dice.whole(1, 4)):
                yield from _body(author, formulas)
            if dice.chance(0.5):
                yield author.heading(1)
            for _ in range(dice.whole(1, 4)):
                yield from _body(author, formulas)
            if dice.chance(0.12 if not starts else 0.04):
                yield author.heading(0)
                for _ in range(dice.whole(8, 40)):
                    yield author.reference()

    first = (lambda page: _title(author, page)) if starts else None
    return pour(author, source(), pages, first, dice.pick((0.0, 0.05, 0.3)), wide=0.3)


def _body(author: Author, formulas: float) -> Iterator[Block]:
    """A paragraph or two, at times a list, formula, figure or table."""
    dice, column = author.dice, author.look.column
    yield author.paragraph()
    draw = dice()
    if draw < formulas:
        for _ in range(dice.whole(1, 2)):
            yield author.formula()
            yield author.paragraph(1, 3, first=0.0)
    elif draw < formulas + 0.09:
        yield from author.items(dice.whole(2, 6))
    elif draw < formulas + 0.2:
        yield author.figure(column)
    elif draw < formulas + 0.32:
        yield author.captioned_table(dice.whole(3, 14), dice.whole(2, 4 if column < 280 else 7))
    elif draw < formulas + 0.38:
        yield author.heading(dice.whole(1, 2))


def _title(author: Author, page: Page) -> float:
    """Title, authors, where they work, abstract and key words; all but the title are text in both sets."""
    look, writer, dice = author.look, author.writer, author.dice
    x, y, room = look.margins[0], look.margins[1] + dice(-12, 22), look.width
    centred = dice.chance(0.6)
    align = "centre" if centred else "left"
    if dice.chance(0.35):
        line_ = writer.heading(2, 5) + f", {dice.whole(1, 90)} ({dice.whole(1995, 2024)}) {dice.whole(1, 900)}"
        y = _put(page, Paragraph(tokens=line_.split(), style=author.style(0.85, align=align)), x, y, room) + 8
    title = author.head_style(dice(1.5, 2.3), align=align)
    y = _put(
        page, Paragraph(kind="Title", tokens=writer.heading(5, 14).split(), style=title, hyphens=False), x, y, room
    )
    y += look.line * dice(0.5, 1.2)
    names = ", ".join(writer.person() for _ in range(dice.whole(1, 6)))
    style = author.style(dice(1.0, 1.15), align=align, bold=dice.chance(0.2))
    y = _put(page, Paragraph(tokens=names.split(), style=style), x, y, room) + 4
    for _ in range(dice.whole(1, 2)):
        style = author.style(0.9, align=align, italic=dice.chance(0.5) and not look.body.plain)
        y = _put(
            page, Paragraph(tokens=(writer.heading(4, 10) + ",").split() + [writer.name()], style=style), x, y, room
        )
    y += look.line * dice(0.6, 1.6)
    if dice.chance(0.85):
        inset = dice.pick((0.0, 24.0, 36.0))
        abstract = author.paragraph(4, 9, left=inset, right=inset, style=author.style(dice(0.9, 1.0)), first=0.0)
        word = {"pl": "Streszczenie", "de": "Zusammenfassung", "fr": "Résumé", "ru": "Аннотация", "el": "Περίληψη"}.get(
            writer.code, "Abstract"
        )
        if dice.chance(0.5):
            abstract.tokens = [(word + ".", "b"), *abstract.tokens]
        else:
            head = Paragraph(kind="Section-header", tokens=[word], style=author.head_style(1.0, align=align))
            y = _put(page, head, x + (0 if centred else inset), y, room - (0 if centred else inset)) + 3
        y = _put(page, abstract, x, y, room) + 6
        if dice.chance(0.5):
            keys = ", ".join(writer.phrase(1, 2, capital=False) for _ in range(dice.whole(3, 6)))
            mark = {"pl": "Słowa kluczowe:", "en": "Keywords:"}.get(writer.code, "Keywords:")
            words = [(mark, "b")] + keys.split() if writer.code in ("pl", "en") else keys.split()
            y = _put(page, Paragraph(tokens=words, style=author.style(0.9), left=inset, right=inset), x, y, room)
        y += look.line
    if dice.chance(0.15):
        page.decorate(line(x, y - 5, x + room, y - 5, BLACK, 0.6))
    return y + 4


def _put(page: Page, block: Block, x: float, y: float, room: float) -> float:
    block.place(page, x, y, room)
    return y + block.height(room)


def report(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """A report of an office or a firm: coloured headings, charts, lists, tables, boxes."""
    look = draw_look(dice, writer.code, "a4 a4 a4 letter", (1, 1, 1, 2, 2), "sans", (9.5, 11.5))
    look.running = dice.pick(("plain", "rule", "band", "tab", "none"))
    author = Author(look, writer, dice)
    charts = dice(0.1, 0.35)

    def source() -> Iterator[Block]:
        while True:
            yield author.heading(0)
            for _ in range(dice.whole(2, 7)):
                yield author.paragraph(1, 5)
                draw = dice()
                if draw < charts:
                    yield author.figure(look.column)
                elif draw < charts + 0.15:
                    yield from author.items(dice.whole(2, 8))
                elif draw < charts + 0.3:
                    wordy = dice.chance(0.25)
                    columns = dice.whole(2, 4) if wordy or look.column < 280 else dice.whole(3, 8)
                    yield author.captioned_table(dice.whole(3, 16), columns, wordy)
                elif draw < charts + 0.38:
                    yield author.callout()
                elif draw < charts + 0.5:
                    yield author.heading(dice.whole(1, 2))

    first = (lambda page: _banner(author, page)) if dice.chance(0.35) else None
    return pour(author, source(), pages, first, dice.pick((0.0, 0.0, 0.3)), wide=0.3, ends=True)


def _banner(author: Author, page: Page) -> float:
    """The head of a chapter: a title, often on a ground of colour."""
    look, dice = author.look, author.dice
    style = author.head_style(dice(1.8, 2.8))
    block = Paragraph(kind="Title", tokens=author.writer.heading(2, 7).split(), style=style, hyphens=False)
    x, room = look.margins[0], look.width
    if not look.coloured or dice.chance(0.4):
        return _put(page, block, x, look.margins[1], room) + look.line * 1.5
    tall = block.height(room) + dice(24, 60)
    dark = sum(look.accent) < 1.8
    block.style = author.head_style(
        style.size / author.head_style(1).size, colour=WHITE if dark else BLACK, align="left"
    )
    page.decorate(box(0, look.margins[1] - 20, page.width, tall, look.accent))
    block.place(page, x, look.margins[1] - 20 + (tall - block.height(room)) / 2, room)
    return look.margins[1] + tall


def accounts(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """Annual accounts and prospectuses: tables of sums among paragraphs."""
    look = draw_look(dice, writer.code, "a4 a4 letter legal", (1, 1, 1, 2, 2, 3), "any", (7.5, 10.5))
    look.running = dice.pick(("plain", "rule", "tab", "tab", "inner"))
    look.table = dice.pick(["bare", "bare", "booktabs", "lines", "header", "striped", "grid"])
    author = Author(look, writer, dice)
    dense = dice(0.25, 0.7)

    def source() -> Iterator[Block]:
        while True:
            yield author.heading(dice.whole(0, 2))
            for _ in range(dice.whole(1, 3)):
                yield author.paragraph(1, 4)
                if dice.chance(dense):
                    columns = dice.whole(3, 4) if look.column < 290 else dice.whole(3, 8)
                    table = author.table(dice.whole(4, 26), columns)
                    table.before = table.after = look.line * 0.8
                    yield table if dice.chance(0.6) else author.captioned_table(dice.whole(3, 14), columns)
                elif dice.chance(0.1):
                    yield from author.items(dice.whole(2, 5))

    return pour(author, source(), pages, None, dice.pick((0.0, 0.2, 0.5)), wide=0.4, ends=True)


def book(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """A book: one column of a serif face, running heads, footnotes."""
    look = draw_look(dice, writer.code, "b5 b5 a5 trade journal a4", (1,), "serif", (9.5, 11.5))
    look.justify, look.indent, look.between = dice.chance(0.93), dice(10, 22), 0.0
    look.running, look.coloured = dice.pick(("plain", "plain", "rule", "none")), False
    look.accent = BLACK
    author = Author(look, writer, dice)
    notes, figures = dice.pick((0.0, 0.3, 0.9)), dice.pick((0.0, 0.03, 0.12))
    dialogue = dice.chance(0.2)

    def source() -> Iterator[Block]:
        while True:
            if dice.chance(0.7):
                yield author.heading(dice.whole(0, 2))
            for _ in range(dice.whole(3, 12)):
                if dialogue and dice.chance(0.6):
                    words = ["—" if not look.body.plain else "-", *writer.sentences(dice.whole(1, 2))]
                    yield author.paragraph(tokens=words)
                else:
                    yield author.paragraph(2, 9)
                if dice.chance(figures):
                    yield author.figure(look.column, dice.pick((1, 1, 2)), photo=0.7)
                elif dice.chance(0.05):
                    yield author.paragraph(2, 4, left=24.0, right=18.0, first=0.0, style=author.style(0.9))
                elif dice.chance(0.04):
                    yield from author.items(dice.whole(2, 6))

    first = (lambda page: _banner(author, page)) if dice.chance(0.2) else None
    return pour(author, source(), pages, first, notes, ends=True)


def law(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """A statute or contract: articles, numbered paragraphs, points; hardly anything else."""
    look = draw_look(dice, writer.code, "a4 a4 a4 b5", (1, 1, 1, 1, 2), "any", (9.5, 12))
    look.numbered, look.case, look.indent = False, "as it is", 0.0
    look.running = dice.pick(("none", "plain", "rule"))
    author = Author(look, writer, dice)
    form = dice.pick(("Art. {}.", "Art. {}.", "§ {}.", "§ {}", "{}.")) if writer.code in ("pl", "de", "fr") else "{}."
    alone, centred, first_number = dice.chance(0.6), dice.chance(0.6), dice.whole(1, 180)

    def source() -> Iterator[Block]:
        number = first_number
        while True:
            if dice.chance(0.12):
                title = author.heading(0)
                title.style = author.head_style(1.05, align="centre")
                yield title
            mark = form.format(number)
            number += 1
            if alone:
                style = author.head_style(1.0, align="centre" if centred else "left")
                space = look.line * dice(0.4, 0.8)
                yield Paragraph(space, look.line * 0.2, True, False, "Section-header", mark.split(), style)
            count = dice.pick((1, 1, 2, 3, 4, 6))
            for place in range(1, count + 1):
                words = writer.sentences(dice.whole(1, 3))
                head = [] if alone or place > 1 else [(each, "b") for each in mark.split()]
                lead = [*head, f"{place}."] if count > 1 else head
                # Numbered paragraphs of statutes are text in DocLayNet's sense, their points are a list.
                yield author.paragraph(tokens=[*lead, *words])
                if dice.chance(0.3):
                    yield from author.items(dice.whole(2, 7), dice.pick(("1)", "1)", "a)")), 1, 2, nested=0.12)

    return pour(author, source(), pages, None, dice.pick((0.0, 0.0, 0.3)), ends=True)


def magazine(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """Two to four narrow columns, photographs, a large title, words lifted out of the text."""
    look = draw_look(dice, writer.code, "a4 letter journal", (2, 3, 3, 4), "any", (9, 10.5))
    look.running, look.numbered, look.gap = dice.pick(("plain", "band", "rule", "none")), False, dice(11, 18)
    author = Author(look, writer, dice)
    author.photos = 0.9

    def source() -> Iterator[Block]:
        while True:
            if dice.chance(0.6):
                yield author.heading(dice.whole(1, 2))
            for _ in range(dice.whole(2, 5)):
                yield author.paragraph(2, 6)
                draw = dice()
                if draw < 0.12:
                    yield author.figure(look.column, 1)
                elif draw < 0.2:
                    yield author.callout()
                elif draw < 0.25:
                    yield from author.items(dice.whole(3, 6))

    def first(page: Page) -> float:
        y = look.margins[1]
        photo = author.figure(look.width, 1, photo=1.0)
        above = dice.chance(0.4)
        if above:
            y = _put(page, photo, look.margins[0], y, look.width) + 10
        style = author.head_style(dice(2.4, 4.2))
        title = Paragraph(kind="Title", tokens=writer.heading(2, 6).split(), style=style, hyphens=False)
        y = _put(page, title, look.margins[0], y, look.width) + 8
        if dice.chance(0.7):
            lead = author.paragraph(1, 3, style=author.style(1.3, bold=dice.chance(0.4), align="left"), first=0.0)
            y = _put(page, lead, look.margins[0], y, look.width) + 10
        if not above and dice.chance(0.7):
            y = _put(page, photo, look.margins[0], y, look.width) + 12
        return y

    return pour(author, source(), pages, first if dice.chance(0.6) else None, 0.0, wide=0.5)


def manual(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """Instructions and data sheets: short sections, many lists, tables of settings, drawings."""
    look = draw_look(dice, writer.code, "a4 letter a5 b5", (1, 1, 2), "sans", (9, 11))
    author = Author(look, writer, dice)
    author.photos = 0.3

    def source() -> Iterator[Block]:
        while True:
            yield author.heading(dice.whole(0, 2))
            if dice.chance(0.7):
                yield author.paragraph(1, 3)
            draw = dice()
            if draw < 0.45:
                yield from author.items(dice.whole(2, 9))
            elif draw < 0.65:
                yield author.captioned_table(dice.whole(3, 12), dice.whole(2, 4), dice.chance(0.5))
            elif draw < 0.8:
                yield author.figure(look.column)
            elif draw < 0.9:
                yield author.callout()

    return pour(author, source(), pages, None, 0.05, ends=True)


def tables(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """Pages that one or two large tables fill, upright or on their side."""
    look = draw_look(dice, writer.code, "a4 a4 letter", (1,), "any", (7, 9.5))
    if dice.chance(0.3):
        look.sheet = look.sheet[::-1]
    author = Author(look, writer, dice)
    wordy = dice.chance(0.35)
    columns = dice.whole(2, 4) if wordy else dice.whole(4, 11)
    style = dice.pick("grid grid grid lines header striped bare booktabs boxed")

    def source() -> Iterator[Block]:
        while True:
            if dice.chance(0.3):
                yield author.heading(0)
            if dice.chance(0.35):
                yield author.paragraph(1, 2)
            rows = dice.whole(5, 14) if wordy else dice.whole(10, 60)
            table: Block = author.table(rows, columns, wordy, style=style)
            if dice.chance(0.5):
                caption = author.caption("table")
                caption.keep, caption.before, caption.after = True, look.line, 4.0
                yield caption
            table.after = look.line
            yield table
            if dice.chance(0.3):
                yield Stack(blocks=[author.source()])

    return pour(author, source(), pages, None, 0.0, ends=True)
