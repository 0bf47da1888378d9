"""Lines of text that a detector's box of a ruled table has, beyond what is drawn, are none of the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import LongTable, Paragraph, SimpleDocTemplate, TableStyle

from densessl.documents.parsing.config import ParseConfig
from densessl.documents.parsing.layout.lines import holds
from densessl.documents.parsing.run import parse
from densessl.documents.parsing.tables.strangers import without_strangers
from densessl.documents.parsing.tables.table import read_table
from densessl.documents.parsing.writers import read
from densessl.progress import silent
from tests.documents.parsing.drawn import COLUMNS, ROWS, SCALE, TEXTS, Sheet, filled, grid

TOP, BOTTOM = 20.0, 20.0 + 5 * ROWS  # of the tables that are drawn
DOWN = 60.0  # points by which they are moved down the page
PROSE = ["it was counted for a long time, and then", "once more by those who had been there for", "which we thank"]
HEAD = ["Name", "Count", "Share", "Remark"]


def moved(sheet: Sheet) -> Sheet:
    """The sheet with room above what is on it."""
    other = Sheet()
    rows = round(DOWN * SCALE)
    other.picture[rows:] = sheet.picture[:-rows]
    for word in sheet.words:
        x0, y0, x1, y1 = word.bbox
        other.words.append(type(word)(word.text, (x0, y0 + DOWN, x1, y1 + DOWN), word.size, word.bold))
    return other


def ruled() -> Sheet:
    """With lines above, below the names and below it all."""
    sheet = filled()
    for y in (TOP, TOP + ROWS, BOTTOM):
        sheet.across(y, COLUMNS[0], COLUMNS[-1])
    return moved(sheet)


def framed() -> Sheet:
    return moved(grid(filled()))


def kept(sheet: Sheet, above: float = 0.0, below: float = 0.0) -> list[str]:
    """What is in the box of the table, that a detector has taken so much too large, when strangers are gone."""
    box = (COLUMNS[0] - 2, DOWN + TOP - 1 - above, COLUMNS[-1] + 2, DOWN + BOTTOM + 1 + below)
    box = without_strangers(box, sheet.words, sheet.picture, SCALE)
    return [word.text for word in sheet.words if holds(box, word.bbox)]


def cells() -> list[str]:
    return " ".join(text for row in TEXTS for text in row).split()


def paragraph(sheet: Sheet, x: float, bottom: float, texts=PROSE, pitch: float = 11.0) -> None:
    for place, text in enumerate(reversed(texts)):
        sheet.write(x, bottom - 9 - pitch * place, text)


@pytest.mark.parametrize("table", [ruled, framed])
@pytest.mark.parametrize("above", [8.0, 20.0])
def test_the_end_of_a_paragraph_above_is_no_cell(table, above):
    sheet = table()
    paragraph(sheet, COLUMNS[0], DOWN + TOP - 2)
    assert kept(sheet, above=above) == cells()


def test_a_line_that_the_box_has_only_a_part_of_is_no_cell_either():
    sheet = ruled()
    paragraph(sheet, COLUMNS[0], DOWN + TOP - 2, [*PROSE[:2], "in all of the years"])
    word = sheet.words[-2]  # as if it had a descender, which the box reaches
    sheet.words = [each for each in sheet.words if each is not word]
    sheet.words.append(type(word)(word.text, (*word.bbox[:3], word.bbox[3] + 3), word.size))
    assert kept(sheet, above=4.0) == cells()


@pytest.mark.parametrize("table", [ruled, framed])
def test_the_first_line_of_a_paragraph_below_is_no_cell(table):
    sheet = table()
    for place, text in enumerate([PROSE[0], PROSE[1], PROSE[2]]):
        sheet.write(COLUMNS[0], DOWN + BOTTOM + 3 + 11 * place, text)
    assert kept(sheet, below=11.0) == cells()


@pytest.mark.parametrize("table", [ruled, framed])
def test_a_caption_in_the_box_is_no_cell(table):
    sheet = table()
    sheet.write(COLUMNS[0], DOWN + TOP - 12, "Table 3. What was counted")
    assert kept(sheet, above=14.0) == cells()


def test_a_line_above_a_frame_is_no_cell_whatever_it_says():
    sheet = framed()
    sheet.write(COLUMNS[0] + 90, DOWN + TOP - 12, "In all gardens")
    assert kept(sheet, above=14.0) == cells()


def test_what_stands_alone_above_lines_without_a_frame_may_name_columns():
    sheet = ruled()
    sheet.write(COLUMNS[0] + 190, DOWN + TOP - 12, "In all gardens")
    assert sorted(kept(sheet, above=14.0)) == sorted([*cells(), "In", "all", "gardens"])


def test_names_of_columns_above_the_first_line_stay():
    sheet = Sheet()
    for row, texts in enumerate(TEXTS):
        for column, text in enumerate(texts):
            sheet.write(COLUMNS[column] + 6, DOWN + TOP + ROWS * row + 4, text)
    for y in (TOP + ROWS, BOTTOM):
        sheet.across(DOWN + y, COLUMNS[0], COLUMNS[-1])
    paragraph(sheet, COLUMNS[0], DOWN + TOP - 2)
    assert sorted(kept(sheet)) == sorted(cells())


def test_a_row_of_one_cell_within_a_frame_stays():
    sheet = moved(grid(filled(texts=[["All of the gardens", "", ""], *TEXTS[1:]])))
    paragraph(sheet, COLUMNS[0], DOWN + TOP - 2)
    assert kept(sheet, above=8.0)[:4] == ["All", "of", "the", "gardens"]


def test_a_table_of_one_column_and_one_without_words_stay():
    sheet = moved(grid(filled(texts=[[text[0], "", ""] for text in TEXTS])))
    assert len(kept(sheet)) == len(sheet.words)
    bare = moved(grid(Sheet()))
    box = (0.0, 0.0, 400.0, 300.0)
    assert without_strangers(box, [], bare.picture, SCALE) == box
    assert read_table([], box, bare.picture, SCALE).rows >= 1


def story(space: float, seed: str) -> tuple[list, list[list[str]]]:
    """A paragraph whose last word stands alone on its line, and close below a table that goes on over the page."""
    style = ParagraphStyle("text", fontName="Times-Roman", fontSize=10, leading=12)
    text = " ".join(["the garden was weighed in every month since then and measured"] * 9)
    rows = [HEAD] + [[f"{seed}{each}", str(3 * each), f"{each / 7:.1f}", "as before"] for each in range(1, 61)]
    table = LongTable(rows, colWidths=[112.5] * 4, repeatRows=1, spaceBefore=space)
    table.setStyle(TableStyle([("GRID", (0, 0), (-1, -1), 0.5, "black")]))
    return [Paragraph(f"{text} paper<br/>finally.", style), table], rows


@pytest.mark.parametrize("space", [0, 1, 3])
def test_a_table_close_under_a_paragraph_has_its_rows_alone_and_goes_on_over_the_page(space, tmp_path: Path):
    parts, rows = story(space, "Plot ")
    SimpleDocTemplate(str(tmp_path / "a.pdf"), pagesize=A4, leftMargin=66, rightMargin=66).build(parts)
    out = tmp_path / "out"
    given = {"documents": str(tmp_path / "a.pdf"), "out": str(out), "formats": ["json"], "devices": "cpu"}
    parse(ParseConfig(**given, join_tables=True), silent)
    pages = list(read(out / "a.json")[1])
    first, second = (next(block for block in page.blocks if block.table) for page in pages[:2])
    assert second.joined == first.id
    assert [*first.table.grid(), *second.table.grid()] == rows
    assert any(block.type == "text" and block.text.endswith("finally.") for block in pages[0].blocks)
