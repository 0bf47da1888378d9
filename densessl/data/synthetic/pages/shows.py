"""Pages that are looked at more than read: slides, covers, leaflets."""

from __future__ import annotations

from dataclasses import replace

from densessl.data.synthetic.canvas import Dice
from densessl.data.synthetic.pages.blocks import Block, Paragraph
from densessl.data.synthetic.pages.figures import Figure
from densessl.data.synthetic.pages.looks import ACCENTS
from densessl.data.synthetic.pages.page import BLACK, WHITE, Page, Raster, box, colour, tint
from densessl.data.synthetic.pages.pictures import draw_source
from densessl.data.synthetic.pages.sheet import Sheet, mark, single
from densessl.data.synthetic.pages.text import fitted
from densessl.data.synthetic.pages.words import Writer


def slides(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """Slides: a title, few large words, pictures and charts, a number in a corner."""
    author = single(dice, writer, "a4", "sans", (15, 19))
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
        sheet = Sheet(author)
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


def _slide_body(sheet: Sheet, dice: Dice) -> None:
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
    author = single(dice, writer, "a4 a4 letter b5 a5", "any", (11, 14))
    sheet, look = Sheet(author), author.look
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
        mark(sheet, dice(30, 56), sheet.x if centred == "left" else sheet.x + sheet.room * 0.36)
    if plain and dice.chance(0.25):
        area = 26.0
        page.decorate(box(area, area, wide - 2 * area, tall - 2 * area, None, shade, 1.2))
    return [page]


def leaflet(dice: Dice, writer: Writer, pages: int) -> list[Page]:
    """A folded sheet on its side: panels with headings, lists, photographs, and a cover panel."""
    author = single(dice, writer, "a4 letter", "sans", (8.5, 10))
    look = author.look
    look.coloured, look.numbered = True, False
    look.accent = look.accent if look.accent != BLACK else colour(dice.pick(ACCENTS))
    look.sheet, look.margins = look.sheet[::-1], (26.0, 34.0, 26.0, 30.0)
    look.indent, look.between = 0.0, 4.0
    sheet, panels = Sheet(author), dice.pick((2, 3, 3, 4))
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
