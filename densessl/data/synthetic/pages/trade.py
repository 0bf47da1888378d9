"""Invoices and receipts."""

from __future__ import annotations

from dataclasses import replace

from densessl.data.synthetic.canvas import Dice
from densessl.data.synthetic.pages.author import Author
from densessl.data.synthetic.pages.cells import Row, Slot
from densessl.data.synthetic.pages.figures import barcode, square_code
from densessl.data.synthetic.pages.looks import family
from densessl.data.synthetic.pages.page import BLACK, Page, line
from densessl.data.synthetic.pages.sheet import Sheet, address, mark, single, small_foot
from densessl.data.synthetic.pages.tables import Table
from densessl.data.synthetic.pages.text import fitted
from densessl.data.synthetic.pages.words import Writer


def invoice(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """An invoice: seller, buyer, a table of items, sums, terms."""
    author = single(dice, writer, "a4 a4 letter", "sans", (8.5, 10.5))
    sheet = Sheet(author)
    x, room = sheet.x, sheet.room
    if dice.chance(0.75):
        mark(sheet, dice(24, 44))
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
    sheet.lines(address(writer, dice) + [f"NIP {dice.whole(10**9, 10**10 - 1)}"], x, room * 0.45, gap=8)
    down, sheet.y = sheet.y, top
    side = x + room * 0.55
    sheet.lines([f"{writer.phrase(1, 2)}: {writer.date()}" for _ in range(dice.whole(2, 4))], side, room * 0.45, gap=6)
    if dice.chance(0.6):
        sheet.lines(address(writer, dice), side, room * 0.45)
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
        small_foot(sheet)
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
    author = single(dice, writer, "a4", "sans", (8, 9.5))
    names = "courier mono dejavu narrow" if writer.code in ("en", "de", "fr") else "mono narrow dejavu"
    face = family(dice, writer.code, names)
    look = author.look
    look.body = look.head = face
    look.size, look.leading, look.ink = dice(7.5, 9) * face.scale, 1.25, BLACK
    count = dice.whole(3, 22)
    look.sheet = (dice(190, 260), 1000.0)  # its height is that of what is on it
    look.margins, look.accent = (12.0, 16.0, 12.0, 14.0), BLACK
    sheet = Sheet(author)
    x, room = sheet.x, sheet.room
    if dice.chance(0.4):
        mark(sheet, 26, x + room * 0.3)
    sheet.line(writer.heading(1, 3).upper(), x, room, 1.35, 3, kind="Title", bold=True, align="centre")
    for text in address(writer, dice)[1:]:
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


def _dashes(sheet: Sheet) -> None:
    sheet.page.decorate(line(sheet.x, sheet.y, sheet.x + sheet.room, sheet.y, BLACK, 0.7, (3, 2)))
    sheet.y += 6
