"""Letters and forms."""

from __future__ import annotations

from dataclasses import replace

from densessl.data.synthetic.canvas import Dice
from densessl.data.synthetic.pages.blocks import Paragraph
from densessl.data.synthetic.pages.figures import signature
from densessl.data.synthetic.pages.page import BLACK, Page, box, colour, line, tint
from densessl.data.synthetic.pages.sheet import Sheet, address, mark, single, small_foot
from densessl.data.synthetic.pages.text import fitted
from densessl.data.synthetic.pages.words import Writer


def letter(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """A letter: sender, receiver, date, subject, paragraphs, signature."""
    author = single(dice, writer, "a4 a4 letter", "any", (10, 11.5))
    sheet, look = Sheet(author), author.look
    look.between, look.indent = max(look.between, 5.0), 0.0
    if dice.chance(0.65):
        mark(sheet, dice(22, 46))
    x, room = sheet.x, sheet.room
    right = x + room * 0.6
    sheet.y += dice(4, 20)
    top = sheet.y
    sheet.lines(address(writer, dice), x, room * 0.4, gap=10)
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
        sheet.lines(address(writer, dice), right, room * 0.4, gap=8)
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
        small_foot(sheet)
    return [sheet.page]


def form(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """A form: parts with headings, fields on lines or in boxes, boxes to tick, explanations."""
    author = single(dice, writer, "a4 a4 letter", "sans", (8, 10))
    sheet, look = Sheet(author), author.look
    if dice.chance(0.5):
        mark(sheet, dice(20, 34))
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
    small_foot(sheet)
    return [sheet.page]


def _answer(writer: Writer, dice: Dice) -> str:
    return dice.pick((writer.date, writer.person, writer.code_number, lambda: writer.phrase(1, 3)))()


def _fields(sheet: Sheet, rows: int, filled: bool) -> None:
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


def _boxes(sheet: Sheet, rows: int, filled: bool) -> None:
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


def _ticks(sheet: Sheet, rows: int) -> None:
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
