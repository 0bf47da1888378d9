"""Documents of single pages: letters, forms, invoices, receipts, slides, covers, leaflets."""

from __future__ import annotations

from dataclasses import replace

from densessl.data.synthetic.canvas import Dice
from densessl.data.synthetic.pages.author import Author
from densessl.data.synthetic.pages.blocks import Block, Paragraph
from densessl.data.synthetic.pages.cells import Row, Slot
from densessl.data.synthetic.pages.figures import Figure, barcode, logo, signature, square_code
from densessl.data.synthetic.pages.looks import ACCENTS, draw_look, family
from densessl.data.synthetic.pages.page import BLACK, WHITE, Page, Raster, box, colour, line, tint
from densessl.data.synthetic.pages.pictures import draw_source
from densessl.data.synthetic.pages.tables import Table
from densessl.data.synthetic.pages.text import fitted
from densessl.data.synthetic.pages.words import Writer


class _Sheet:
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


def _address(writer: Writer, dice: Dice) -> list[str]:
    street = f"{writer.content().capitalize()} {dice.whole(1, 180)}"
    town = f"{dice.whole(10, 99)}-{dice.whole(100, 999)} {writer.content().capitalize()}"
    return [writer.heading(1, 3), writer.person(), street, town][0 if dice.chance(0.6) else 1 :]


def _author(dice: Dice, writer: Writer, sheets: str, faces: str, size: tuple[float, float]) -> Author:
    return Author(draw_look(dice, writer.code, sheets, (1,), faces, size), writer, dice)


def _mark(sheet: _Sheet, size: float, x: float | None = None) -> None:
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


def letter(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """A letter: sender, receiver, date, subject, paragraphs, signature."""
    author = _author(dice, writer, "a4 a4 letter", "any", (10, 11.5))
    sheet, look = _Sheet(author), author.look
    look.between, look.indent = max(look.between, 5.0), 0.0
    if dice.chance(0.65):
        _mark(sheet, dice(22, 46))
    x, room = sheet.x, sheet.room
    right = x + room * 0.6
    sheet.y += dice(4, 20)
    top = sheet.y
    sheet.lines(_address(writer, dice), x, room * 0.4, gap=10)
    down, sheet.y = sheet.y, top
    sheet.line(
        f"{writer.content().capitalize()}, {writer.date()}",
        right,
        room * 0.4,
        align=dice.pick(("left", "right")),
        gap=14,
    )
    if dice.chance(0.7):
        sheet.y = max(sheet.y, down) if dice.chance(0.4) else sheet.y
        sheet.lines(_address(writer, dice), right, room * 0.4, gap=8)
    sheet.y = max(sheet.y, down) + dice(8, 34)
    if dice.chance(0.5):
        sheet.line(f"{writer.label['number']}: {writer.code_number()}", x, room, gap=6)
    if dice.chance(0.6):
        sheet.line(
            writer.phrase(4, 12),
            x,
            room,
            1.05,
            12,
            kind="Section-header",
            bold=True,
            align=dice.pick(("left", "centre")),
        )
    sheet.line(writer.phrase(2, 4) + ",", x, room, gap=8)
    end = look.foot - dice(90, 260)
    while sheet.y < end:
        if dice.chance(0.15):
            for item in author.items(dice.whole(2, 4), nested=0.0):
                if sheet.y + item.height(room) < look.foot - 70:
                    sheet.put(item, gap=item.after)
        else:
            block = author.paragraph(1, 5)
            if sheet.y + block.height(room) > look.foot - 70:
                break
            sheet.put(block, gap=look.between)
    place = dice.pick((x, right))
    sheet.y += 14
    sheet.line(writer.phrase(2, 3) + ",", place, room * 0.4, gap=8)
    if dice.chance(0.7):
        strokes = signature(
            dice, place + 8, sheet.y + 14, dice(60, 110), dice.pick((BLACK, colour("1a2f8a"), colour("22368c")))
        )
        sheet.page.add("Picture", strokes)
    sheet.y += 34
    sheet.lines([writer.person(), writer.phrase(1, 3)], place, room * 0.4)
    if dice.chance(0.55):
        _small_foot(sheet)
    return [sheet.page]


def _small_foot(sheet: _Sheet) -> None:
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


def form(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """A form: parts with headings, fields on lines or in boxes, boxes to tick, explanations."""
    author = _author(dice, writer, "a4 a4 letter", "sans", (8, 10))
    sheet, look = _Sheet(author), author.look
    if dice.chance(0.5):
        _mark(sheet, dice(20, 34))
    sheet.line(
        writer.heading(2, 7).upper() if dice.chance(0.5) else writer.heading(2, 7),
        sheet.x,
        sheet.room,
        dice(1.4, 1.9),
        8,
        kind="Title",
        bold=True,
        align=dice.pick(("left", "centre")),
    )
    if dice.chance(0.6):
        sheet.put(author.paragraph(1, 3, style=author.style(0.9)), gap=6)
    boxed, filled, shaded = dice.chance(0.45), dice.chance(0.5), dice.chance(0.5)
    part = 0
    while sheet.left() > 90:
        part += 1
        title = f"{'ABCDEFGHIJKLMNOP'[part % 16]}. {writer.heading(2, 6)}"
        style = author.head_style(1.1, bold=True, align="left")
        head = Paragraph(kind="Section-header", tokens=title.split(), style=style)
        if shaded:
            head.band, head.pad = tint(look.accent, 0.15), 3.0
        sheet.put(head, gap=4)
        draw = dice()
        if draw < 0.2:
            for item in author.items(dice.whole(2, 5), nested=0.0):
                if sheet.left() > item.height(sheet.room) + 10:
                    sheet.put(item, gap=2)
        elif draw < 0.42:
            _ticks(sheet, dice.whole(2, 6))
        elif draw < 0.55 and sheet.left() > 150:
            table = author.table(dice.whole(2, 5), dice.whole(3, 5), style="grid", full=True)
            sheet.put(table, gap=4)
        elif boxed:
            _boxes(sheet, dice.whole(1, 4), filled)
        else:
            _fields(sheet, dice.whole(2, 7), filled)
        sheet.y += 8
    if sheet.left() > 40:
        _fields(sheet, 1, False)
    _small_foot(sheet)
    return [sheet.page]


def _answer(writer: Writer, dice: Dice) -> str:
    return dice.pick((writer.date, writer.person, writer.code_number, lambda: writer.phrase(1, 3)))()


def _fields(sheet: _Sheet, rows: int, filled: bool) -> None:
    """Labels with lines to write on; each with its label and what was filled in is a Text."""
    author, dice, writer = sheet.author, sheet.author.dice, sheet.author.writer
    style = author.style(1.0, align="left")
    dotted = dice.chance(0.4)
    for _ in range(rows):
        if sheet.left() < 20:
            return
        parts = dice.pick((1, 1, 2, 2, 3))
        wide = sheet.room / parts
        for part in range(parts):
            x, y = sheet.x + wide * part, sheet.y + 1.1 * style.size
            text = fitted(writer.phrase(1, 4) + ":", style, wide * 0.5)
            start = x + style.measure(text) + 4
            rule = line(start, y + 2, x + wide - 8, y + 2, BLACK, 0.6, (1, 1.6) if dotted else ())
            strokes = [style.at(x, y, text), rule]
            if filled and dice.chance(0.8):
                answer = fitted(_answer(writer, dice), style, x + wide - 10 - start)
                if style.measure(answer) < x + wide - 10 - start:
                    strokes.append(replace(style, colour=colour("1a2f8a")).at(start + 2, y - 0.5, answer))
            sheet.page.add("Text", strokes, text)
        sheet.y += style.leading * 1.35


def _boxes(sheet: _Sheet, rows: int, filled: bool) -> None:
    """A grid of fields with small labels in their corners, which is a table."""
    author, dice, writer = sheet.author, sheet.author.dice, sheet.author.writer
    small, style = author.style(0.68, align="left"), author.style(1.0, align="left")
    strokes, tall = [], 2.5 * style.size
    rows = min(rows, int(sheet.left() / tall))
    for _ in range(rows):
        parts = dice.whole(1, 4)
        for part in range(parts):
            wide = sheet.room / parts
            x = sheet.x + wide * part
            strokes.append(box(x, sheet.y, wide, tall, None, BLACK, 0.6))
            strokes.append(small.at(x + 3, sheet.y + small.size + 1, fitted(writer.phrase(1, 3), small, wide - 6)))
            if filled and dice.chance(0.8):
                answer = fitted(_answer(writer, dice), style, wide - 12)
                strokes.append(replace(style, colour=colour("1a2f8a")).at(x + 6, sheet.y + tall - 4, answer))
        sheet.y += tall
    if strokes:
        sheet.page.add("Table", strokes)


def _ticks(sheet: _Sheet, rows: int) -> None:
    """Boxes to tick with an answer each."""
    author, dice, writer = sheet.author, sheet.author.dice, sheet.author.writer
    style = author.style(1.0, align="left")
    columns, size = dice.pick((1, 2, 3)), 0.8 * style.size
    for _ in range(rows):
        if sheet.left() < 20:
            return
        for column in range(columns):
            wide = sheet.room / columns
            x, y = sheet.x + wide * column + 4, sheet.y + 1.05 * style.size
            strokes = [box(x, y - size, size, size, None, BLACK, 0.7)]
            if dice.chance(0.3):
                strokes += [
                    line(x + 1, y - size + 1, x + size - 1, y - 1, BLACK, 1.0),
                    line(x + 1, y - 1, x + size - 1, y - size + 1, BLACK, 1.0),
                ]
            text = fitted(writer.phrase(1, 6), style, wide - 24)
            sheet.page.add("Text", [*strokes, style.at(x + size + 5, y, text)], text)
        sheet.y += style.leading * 1.15


def invoice(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """An invoice: seller, buyer, a table of items, sums, terms."""
    author = _author(dice, writer, "a4 a4 letter", "sans", (8.5, 10.5))
    sheet = _Sheet(author)
    x, room = sheet.x, sheet.room
    if dice.chance(0.75):
        _mark(sheet, dice(24, 44))
    word = {"pl": "Faktura VAT", "de": "Rechnung", "fr": "Facture", "en": "Invoice"}.get(
        writer.code, writer.heading(1, 2)
    )
    sheet.line(
        f"{word} {writer.code_number()}",
        x,
        room,
        dice(1.5, 2.2),
        10,
        kind="Title",
        bold=True,
        align=dice.pick(("left", "left", "right")),
    )
    top = sheet.y
    sheet.lines(_address(writer, dice) + [f"NIP {dice.whole(10**9, 10**10 - 1)}"], x, room * 0.45, gap=8)
    down, sheet.y = sheet.y, top
    side = x + room * 0.55
    sheet.lines([f"{writer.phrase(1, 2)}: {writer.date()}" for _ in range(dice.whole(2, 4))], side, room * 0.45, gap=6)
    if dice.chance(0.6):
        sheet.lines(_address(writer, dice), side, room * 0.45)
    sheet.y = max(sheet.y, down) + 14
    table = _items(author, dice.whole(2, 14))
    sheet.put(table, gap=12)
    place = x + room * 0.58
    net = dice.whole(100, 90000)
    for factor, bold in ((1.0, False), (0.23, False), (1.23, True)):
        amount = f"{net * factor:,.2f}".replace(",", " ")
        sheet.line(
            f"{writer.label['total'] if bold else writer.phrase(1, 2)}: {amount}",
            place,
            room * 0.42,
            1.25 if bold else 1.0,
            2,
            bold=bold,
            align="right",
        )
    sheet.y += 12
    sheet.lines(
        [f"{writer.phrase(1, 2)}: {writer.code_number()}" for _ in range(dice.whole(2, 4))], x, room * 0.6, gap=8
    )
    if sheet.left() > 120:
        sheet.put(author.paragraph(1, 3, style=author.style(0.85)), gap=16)
    if sheet.left() > 110 and dice.chance(0.4):
        sheet.page.add("Picture", square_code(dice, x, sheet.y, dice(50, 80)))
    if dice.chance(0.6):
        _small_foot(sheet)
    return [sheet.page]


def _items(author: Author, count: int, receipt: bool = False) -> Table:
    """Things that were sold: a number, a name, how many, the price of one and of all."""
    writer, dice, look = author.writer, author.dice, author.look
    heads = ["No.", writer.label["name"], writer.phrase(1, 1)[:5], writer.phrase(1, 1)[:8], writer.label["total"]]
    rows = (
        []
        if receipt and dice.chance(0.7)
        else [
            Row(
                "header",
                [
                    Slot(text, place, align="left" if place < 2 else "right", bold=True)
                    for place, text in enumerate(heads)
                ],
            )
        ]
    )
    for place in range(1, count + 1):
        many, price = dice.whole(1, 12), dice(1, 900)
        texts = [f"{place}", writer.phrase(1, 5), str(many), f"{price:.2f}", f"{many * price:.2f}"]
        rows.append(Row("body", [Slot(text, at, align="left" if at < 2 else "right") for at, text in enumerate(texts)]))
    shares = (0.07, 0.48, 0.11, 0.16, 0.18) if not receipt else (0.07, 0.45, 0.1, 0.17, 0.21)
    look_ = "bare" if receipt else dice.pick(["grid", "header", "lines", "striped", "booktabs", "boxed"])
    style = author.style(0.92, align="left")
    style = replace(style, leading=style.size * 1.25)
    return Table(
        rows=rows,
        columns=5,
        style=style,
        look=look_,
        accent=look.accent,
        pad=1.5 if receipt else 4.0,
        tall=0.5 if receipt else dice(1, 5),
        shares=shares,
        thick=0.5,
    )


def receipt(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """A receipt on a narrow strip."""
    author = _author(dice, writer, "a4", "sans", (8, 9.5))
    names = "courier mono dejavu narrow" if writer.code in ("en", "de", "fr") else "mono narrow dejavu"
    face = family(dice, writer.code, names)
    look = author.look
    look.body = look.head = face
    look.size, look.leading, look.ink = dice(7.5, 9) * face.scale, 1.25, BLACK
    count = dice.whole(3, 22)
    look.sheet = (dice(190, 260), 1000.0)  # its height is that of what is on it
    look.margins, look.accent = (12.0, 16.0, 12.0, 14.0), BLACK
    sheet = _Sheet(author)
    x, room = sheet.x, sheet.room
    if dice.chance(0.4):
        _mark(sheet, 26, x + room * 0.3)
    sheet.line(writer.heading(1, 3).upper(), x, room, 1.35, 3, kind="Title", bold=True, align="centre")
    for text in _address(writer, dice)[1:]:
        sheet.line(text, x, room, align="centre")
    sheet.y += 6
    _dashes(sheet)
    sheet.line(f"{writer.date()} {dice.whole(8, 21)}:{dice.whole(10, 59)} {writer.code_number()}", x, room, gap=5)
    sheet.put(_items(author, count, receipt=True), gap=4)
    _dashes(sheet)
    for place in range(dice.whole(2, 4)):
        style = author.style(1.4 if place == 1 else 1.0, bold=place == 1, align="left")
        text, amount = fitted(writer.phrase(1, 2).upper(), style, room * 0.55), f"{dice(5, 900):.2f}"
        y = sheet.y + style.size
        sheet.page.add(
            "Text", [style.at(x, y, text), style.at(x + room - style.measure(amount), y, amount)], f"{text} {amount}"
        )
        sheet.y += style.leading
    sheet.y += 8
    _dashes(sheet)
    for _ in range(dice.whole(1, 3)):
        sheet.line(writer.phrase(3, 6), x, room, align="centre", gap=2)
    if dice.chance(0.6):
        sheet.page.add("Picture", barcode(dice, x + room * 0.15, sheet.y + 6, room * 0.7, 30))
        sheet.y += 36
    sheet.page.height = sheet.y + dice(14, 60)
    return [sheet.page]


def _dashes(sheet: _Sheet) -> None:
    sheet.page.decorate(line(sheet.x, sheet.y, sheet.x + sheet.room, sheet.y, BLACK, 0.7, (3, 2)))
    sheet.y += 6


def slides(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """Slides: a title, few large words, pictures and charts, a number in a corner."""
    author = _author(dice, writer, "a4", "sans", (15, 19))
    look = author.look
    wide = dice.pick(((720.0, 405.0), (720.0, 405.0), (720.0, 540.0)))
    look.sheet, look.margins = wide, (44.0, 34.0, 44.0, 34.0)
    look.leading, look.justify, look.numbered, look.coloured = 1.3, False, False, True
    look.accent = look.accent if look.accent != BLACK else colour(dice.pick(ACCENTS))
    look.between, look.indent, look.centred = 6.0, 0.0, False
    dark = dice.chance(0.2)
    look.ink = WHITE if dark else look.ink
    author.list_style, ornament = "bullet", dice.whole(0, 4)
    ground = tint(look.accent, dice(0.05, 0.14)) if dice.chance(0.35) else None
    done = []
    for number in range(pages):
        sheet = _Sheet(author)
        page = sheet.page
        if dark:
            page.decorate(box(0, 0, *wide, tuple(0.45 * part for part in look.accent)))
        elif ground is not None:
            page.decorate(box(0, 0, *wide, ground))
        title = author.head_style(dice(1.5, 1.9), bold=True, align="left", colour=WHITE if dark else look.accent)
        if ornament == 1 and not dark:
            page.decorate(box(0, 0, wide[0], 66, look.accent))
            title = replace(title, colour=WHITE if sum(look.accent) < 1.8 else BLACK)
        elif ornament == 2:
            page.decorate(box(0, 0, 14, wide[1], look.accent))
        elif ornament == 3:
            page.decorate(box(0, wide[1] - 16, wide[0], 16, look.accent))
        sheet.y = 22 if ornament == 1 else 30
        text = fitted(writer.heading(2, 6), title, sheet.room)
        sheet.put(
            Paragraph(kind="Title" if number == 0 else "Section-header", tokens=text.split(), style=title), gap=20
        )
        _slide_body(sheet, dice)
        if dice.chance(0.8):
            style = author.style(0.55)
            shown = ornament != 3
            page.add(
                "Page-footer",
                [style.at(wide[0] - 50, wide[1] - (14 if shown else 20), str(number + 2))],
                str(number + 2),
            )
            if dice.chance(0.5):
                page.add("Page-footer", [style.at(44, wide[1] - (14 if shown else 20), author.writer.topic[0])])
        done.append(page)
    return done


def _slide_body(sheet: _Sheet, dice: Dice) -> None:
    author, look = sheet.author, sheet.look
    foot = look.sheet[1] - 44
    kind = dice.pick(("list", "list", "split", "split", "figure", "table"))
    chart = replace(author.style(0.6), colour=BLACK)
    dark = look.ink == WHITE
    content = "photo" if dark or dice.chance(0.4) else "chart"
    tall = foot - sheet.y
    picture = Figure(content=content, tall=tall, style=chart, writer=author.writer, dice=dice)
    if kind == "table" and not dark:
        table = author.table(dice.whole(2, 5), dice.whole(2, 5), full=True)
        if table.height(sheet.room) < tall:
            sheet.put(table)
        return
    if kind == "figure" or (kind == "table" and dark):
        picture.place(sheet.page, sheet.x, sheet.y, sheet.room)
        return
    room = sheet.room * (0.48 if kind == "split" else 1.0)
    if kind == "split":
        left = dice.chance(0.3)
        picture.place(sheet.page, sheet.x + (0 if left else sheet.room * 0.53), sheet.y, sheet.room * 0.47)
        sheet.x += sheet.room * 0.52 if left else 0
    if dice.chance(0.25):
        block = author.paragraph(1, 1)
        if sheet.y + block.height(room) < foot:
            sheet.put(block, room=room, gap=10)
    for item in author.items(dice.whole(2, 6), low=1, high=1, nested=0.2):
        if sheet.y + item.height(room) > foot:
            break
        sheet.put(item, room=room, gap=item.after)


def cover(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """A title page: large words, little else; a ground of colour or a photograph at times."""
    author = _author(dice, writer, "a4 a4 letter b5 a5", "any", (11, 14))
    sheet, look = _Sheet(author), author.look
    page, (wide, tall) = sheet.page, look.sheet
    ground = dice.pick(("none", "none", "colour", "photo", "band"))
    ink, shade = look.ink, look.accent if look.coloured else colour(dice.pick(ACCENTS))
    centred = dice.pick(("centre", "centre", "left"))
    sheet.y = tall * dice(0.18, 0.4)
    if ground == "colour":
        page.decorate(box(0, 0, wide, tall, shade))
        ink = WHITE if sum(shade) < 1.8 else BLACK
    elif ground == "band":
        page.decorate(box(0, sheet.y - 40, wide, tall * 0.36, shade))
        ink = WHITE if sum(shade) < 1.8 else BLACK
    elif ground == "photo":
        page.decorate(
            Raster(0, 0, wide, tall, draw_source(dice, wide / tall)), box(0, sheet.y - 30, wide, tall * 0.33, WHITE)
        )
    kind = author.head_style(dice(2.0, 3.4), colour=ink, align=centred)
    sheet.put(Paragraph(kind="Title", tokens=writer.heading(2, 7).split(), style=kind, hyphens=False), gap=14)
    if dice.chance(0.6):
        sheet.put(
            Paragraph(
                kind="Text" if dice.chance(0.5) else "Section-header",
                tokens=writer.heading(4, 10).split(),
                style=author.style(1.2, align=centred, colour=ink),
                hyphens=False,
            ),
            gap=10,
        )
    plain = ground in ("none", "band")
    names = author.style(1.05, align=centred, colour=ink if ground == "colour" else look.ink)
    if plain or ground == "colour":
        sheet.y = max(sheet.y + 30, tall * dice(0.55, 0.7))
        for _ in range(dice.whole(1, 3)):
            sheet.put(Paragraph(tokens=writer.person().split(), style=names), gap=3)
        sheet.y = tall * dice(0.84, 0.9)
        sheet.put(Paragraph(tokens=f"{writer.content().capitalize()} {dice.whole(1960, 2025)}".split(), style=names))
    if plain and dice.chance(0.5):
        sheet.y = look.margins[1] * 0.6
        _mark(sheet, dice(30, 56), sheet.x if centred == "left" else sheet.x + sheet.room * 0.36)
    if plain and dice.chance(0.25):
        area = 26.0
        page.decorate(box(area, area, wide - 2 * area, tall - 2 * area, None, shade, 1.2))
    return [page]


def leaflet(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """A folded sheet on its side: panels with headings, lists, photographs, and a cover panel."""
    author = _author(dice, writer, "a4 letter", "sans", (8.5, 10))
    look = author.look
    look.coloured, look.numbered = True, False
    look.accent = look.accent if look.accent != BLACK else colour(dice.pick(ACCENTS))
    look.sheet, look.margins = look.sheet[::-1], (26.0, 34.0, 26.0, 30.0)
    look.indent, look.between = 0.0, 4.0
    sheet, panels = _Sheet(author), dice.pick((2, 3, 3, 4))
    page, (wide, tall) = sheet.page, look.sheet
    each, cover_at = wide / panels, dice.whole(0, panels)
    if dice.chance(0.5):
        page.decorate(box(0, 0, wide, dice(10, 24), look.accent))
    for panel in range(panels):
        sheet.x, sheet.y, sheet.room = each * panel + 18, look.margins[1], each - 36
        if panel == cover_at:
            page.decorate(box(each * panel, 0, each, tall, look.accent))
            sheet.y = tall * dice(0.12, 0.3)
            style = author.head_style(2.2, colour=WHITE if sum(look.accent) < 1.8 else BLACK, align="left", bold=True)
            sheet.put(Paragraph(kind="Title", tokens=writer.heading(2, 5).split(), style=style, hyphens=False), gap=16)
            if dice.chance(0.7):
                photo = Raster(sheet.x, sheet.y, sheet.room, sheet.room * 0.8, draw_source(dice, 1.25))
                page.add("Picture", [photo])
            continue
        if dice.chance(0.3):
            page.decorate(box(each * panel, 26, each, tall - 26, tint(look.accent, 0.08)))
        while sheet.left() > 60:
            blocks: list[Block] = []
            draw = dice()
            if draw < 0.3:
                blocks = [author.heading(1), author.paragraph(1, 3)]
            elif draw < 0.6:
                blocks = author.items(dice.whole(2, 6), nested=0.0, low=1, high=1)
            elif draw < 0.75:
                blocks = [author.figure(sheet.room, 1, photo=0.8)]
            else:
                blocks = [author.paragraph(1, 4)]
            for block in blocks:
                if sheet.left() < block.height(sheet.room) + 4:
                    break
                sheet.put(block, gap=max(block.after, 3.0))
            else:
                continue
            break
    return [page]
