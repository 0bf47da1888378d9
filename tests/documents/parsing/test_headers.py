"""Which rows of a table are its header, where that has three of them and cells that span in stages."""

from __future__ import annotations

import pytest

from densessl.documents.parsing.tables.table import read_table

from .drawn import HIGH, SCALE, Sheet

TOP, ROW = 20.0, 16.0
SIDES = (20.0, 110.0, 185.0, 260.0, 335.0, 410.0)
# Of each cell of a header its row, column, rows, columns and text.
HALVES = [
    (0, 0, 3, 1, "Region"),
    (0, 1, 1, 4, "Sales by half of the year"),
    (1, 1, 1, 2, "First half"),
    (1, 3, 1, 2, "Second half"),
    *((2, column, 1, 1, text) for column, text in enumerate(["Spring", "Summer", "Autumn", "Winter"], 1)),
]
STAGED = [
    (0, 0, 3, 1, "Region"),
    (0, 1, 1, 3, "Plants"),
    (0, 4, 3, 1, "All"),
    (1, 1, 2, 1, "Moss"),
    (1, 2, 1, 2, "Trees"),
    (2, 2, 1, 1, "Oak"),
    (2, 3, 1, 1, "Fir"),
]
UNITS = [
    (0, 0, 3, 1, "Site"),
    (0, 1, 1, 2, "Water"),
    (0, 3, 1, 2, "Air"),
    *((1, column, 1, 1, text) for column, text in enumerate(["Heat", "Flow", "Damp", "Wind"], 1)),
    *((2, column, 1, 1, text) for column, text in enumerate(["(K)", "(l/s)", "(g/kg)", "(m/s)"], 1)),
]
NUMBERS = [
    ["North", "12.5", "7.0", "130", "22.1"],
    ["South east", "9.1", "18.2", "77", "4.0"],
    ["West", "101.0", "3.3", "8", "65.2"],
    ["Upper valley", "44.0", "5.8", "21", "9.9"],
    ["Coast", "6.1", "50.2", "14", "3.7"],
]
TEXTS = [
    ["North", "oak", "wet", "none", "slow"],
    ["South east", "fir", "dry", "few", "fast"],
    ["West", "elm", "wet", "some", "fast"],
    ["Upper valley", "ash", "dry", "many", "slow"],
    ["Coast", "yew", "wet", "none", "slow"],
]


def at(row):
    return TOP + ROW * row


def written(header, body, bold, align):
    """A sheet with the words of a header of three rows and a body. align: of what spans rows."""
    sheet = Sheet(440, 320)
    for row, column, rows, columns, text in header:
        line = {"top": row, "middle": row + (rows - 1) / 2, "bottom": row + rows - 1}[align]
        left, y = SIDES[column], at(line) + (ROW - HIGH) / 2
        if column:
            sheet.write((left + SIDES[column + columns]) / 2, y, text, "centre", bold)
        else:
            sheet.write(left + 5, y, text, bold=bold)
    for row, texts in enumerate(body, 3):
        for column, text in enumerate(texts):
            y = at(row) + (ROW - HIGH) / 2
            if column:
                sheet.write((SIDES[column] + SIDES[column + 1]) / 2, y, text, "centre")
            else:
                sheet.write(SIDES[0] + 5, y, text)
    return sheet


def ruled(sheet, header, last, upright=True):
    """With lines around all cells, or above and below them alone."""
    for row in range(last + 1):
        for column in range(5):
            inside = any(r < row < r + rows and c <= column < c + columns for r, c, rows, columns, _ in header)
            if not inside:
                sheet.across(at(row), SIDES[column], SIDES[column + 1])
    for column in range(6) if upright else ():
        for row in range(last):
            inside = any(r <= row < r + rows and c < column < c + columns for r, c, rows, columns, _ in header)
            if not inside:
                sheet.upright(SIDES[column], at(row), at(row + 1))


def under_names(sheet, header, last):
    """With a line below each name of a group, one below the header, and one at either end."""
    for row in (0, 3, last):
        sheet.across(at(row), SIDES[0], SIDES[-1])
    for row, column, rows, columns, _ in header:
        if columns > 1:
            sheet.across(at(row + rows), SIDES[column] + 6, SIDES[column + columns] - 6)


def below_header(sheet, header, last):
    sheet.across(at(3), SIDES[0], SIDES[-1])


LOOKS = {
    "ruled": ruled,
    "rows": lambda *args: ruled(*args, upright=False),
    "names": under_names,
    "header": below_header,
    "bare": lambda *args: None,
}


def read(look, header, body, bold=False, align="middle"):
    sheet, last = written(header, body, bold, align), 3 + len(body)
    LOOKS[look](sheet, header, last)
    return read_table(sheet.words, (SIDES[0], TOP, SIDES[-1], at(last)), sheet.picture, SCALE)


def places(cells):
    return {(cell.row, cell.column, cell.rows, cell.columns, cell.text) for cell in cells if cell.text}


def heads(table):
    return [cell for cell in table.cells if cell.header]


@pytest.mark.parametrize("align", ["top", "middle", "bottom"])
@pytest.mark.parametrize("body", [NUMBERS, TEXTS], ids=["numbers", "texts"])
@pytest.mark.parametrize("header", [HALVES, STAGED, UNITS], ids=["halves", "staged", "units"])
def test_in_a_grid_all_three_rows_are_the_header_and_none_below(header, body, align):
    table = read("ruled", header, body, align=align)
    assert (table.rows, table.columns, places(heads(table))) == (8, 5, set(header))


@pytest.mark.parametrize("align", ["top", "middle", "bottom"])
@pytest.mark.parametrize("header", [HALVES, STAGED], ids=["halves", "staged"])
@pytest.mark.parametrize("look", ["rows", "names"])
def test_lines_below_names_of_groups_tell_their_columns_stage_by_stage(look, header, align):
    table = read(look, header, NUMBERS, align=align)
    assert (table.rows, table.columns, places(heads(table))) == (8, 5, set(header))


@pytest.mark.parametrize("align", ["top", "middle", "bottom"])
@pytest.mark.parametrize("look", ["header", "bare"])
def test_without_lines_names_span_the_columns_that_they_are_over_the_middle_of(look, align):
    table = read(look, HALVES, NUMBERS, align=align)
    assert (table.rows, table.columns, places(heads(table))) == (8, 5, set(HALVES))


@pytest.mark.parametrize("align", ["top", "middle", "bottom"])
@pytest.mark.parametrize(
    "look, body, bold", [("header", TEXTS, False), ("bare", TEXTS, True), ("bare", NUMBERS, False)]
)
@pytest.mark.parametrize("header", [HALVES, STAGED], ids=["halves", "staged"])
def test_a_line_below_bold_letters_or_numbers_tell_where_the_header_ends(header, look, body, bold, align):
    table = read(look, header, body, bold, align)
    assert {cell.text for cell in heads(table)} == {text for *_, text in header}
    assert {cell.text for cell in table.cells if not cell.header and cell.column == 0} == {row[0] for row in body}


@pytest.mark.parametrize("look", ["names", "header", "bare"])
def test_units_are_of_the_header_with_what_they_are_of(look):
    table = read(look, UNITS, NUMBERS)
    said = {cell.text for cell in heads(table)}
    assert said == {"Site", "Water", "Air", "Heat (K)", "Flow (l/s)", "Damp (g/kg)", "Wind (m/s)"}


def test_bold_rows_at_the_top_are_a_header_but_for_a_heading_of_what_follows():
    sheet = written([], [["North", *NUMBERS[0][1:]], *TEXTS[1:]], False, "top")
    for column, text in enumerate(["Place", "Tree", "Soil", "Game", "Pace"]):
        sheet.write(SIDES[column] + 5, at(1) + 3, text, bold=True)
    sheet.write(SIDES[0] + 5, at(2) + 3, "In the plain", bold=True)
    table = read_table(sheet.words, (SIDES[0], at(1), SIDES[-1], at(8)), sheet.picture, SCALE)
    assert {cell.text for cell in heads(table)} == {"Place", "Tree", "Soil", "Game", "Pace"}
