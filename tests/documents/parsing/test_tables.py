"""A table's words become rows and cells: by lines where they are drawn, by gaps where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from densessl.documents.parsing.model import Word
from densessl.documents.parsing.tables.table import read_table

from .drawn import COLUMNS, HIGH, ROWS, SCALE, TEXTS, Sheet, bbox_of, filled, grid

BLANK = np.full((640, 840, 3), 255, np.uint8)


def read(sheet, bbox=None):
    return read_table(sheet.words, bbox or bbox_of(), sheet.picture, SCALE)


def headers(table):
    return {cell.text for cell in table.cells if cell.header}


def test_a_full_grid_gives_its_cells_with_their_places():
    table = read(grid(filled()))
    assert (table.grid(), table.ruled) == (TEXTS, True)
    for cell in table.cells:
        x0, x1 = COLUMNS[cell.column : cell.column + 2]
        y0 = 20 + ROWS * cell.row
        assert cell.bbox == pytest.approx((x0, y0, x1, y0 + ROWS), abs=1)
    assert headers(table) == set(TEXTS[0])


def test_cells_span_where_lines_of_the_grid_are_missing():
    sheet = Sheet()
    for y in (20, 56, 74, 92):
        sheet.across(y, 20, 340)
    sheet.across(38, 140, 340)
    for x, top in ((20, 20), (140, 20), (240, 38), (340, 20)):
        sheet.upright(x, top, 92)
    sheet.write(26, 33, "Tree")
    sheet.write(240, 25, "Size", "centre")
    for row, texts in enumerate((("", "high", "wide"), ("Ash", "12", "3"), ("Elm", "30", "8"))):
        for x, text in zip((26, 146, 246), texts, strict=True):
            if text:
                sheet.write(x, 43 + 18 * row, text)
    table = read(sheet, (20, 20, 340, 92))
    assert (table.rows, table.columns, len(table.cells)) == (4, 3, 4 * 3 - 2)
    spans = {cell.text: (cell.row, cell.column, cell.rows, cell.columns) for cell in table.cells}
    assert (spans["Tree"], spans["Size"]) == ((0, 0, 2, 1), (0, 1, 1, 2))
    assert headers(table) == {"Tree", "Size", "high", "wide"}


@pytest.mark.parametrize("look", ["bare", "booktabs", "lines", "header rule", "striped", "boxed", "dark header"])
def test_rows_and_columns_are_the_same_however_little_is_drawn(look):
    sheet = Sheet()
    bottom = 20 + ROWS * len(TEXTS)
    if look == "striped":
        for row in range(0, len(TEXTS), 2):
            sheet.fill((20, 20 + ROWS * row, 340, 20 + ROWS * (row + 1)), (232, 238, 246))
    if look == "dark header":
        sheet.fill((20, 20, 340, 20 + ROWS), (40, 60, 120))
    written = filled()
    sheet.picture, sheet.words = np.minimum(sheet.picture, written.picture), written.words
    ys = {"booktabs": (20, 20 + ROWS, bottom), "header rule": (20 + ROWS,), "boxed": (20, 20 + ROWS, bottom)}
    for y in [20 + ROWS * row for row in range(len(TEXTS) + 1)] if look == "lines" else ys.get(look, ()):
        sheet.across(y, 20, 340)
    for x in COLUMNS if look == "boxed" else ():
        sheet.upright(x, 20, bottom)
    table = read(sheet)
    assert (table.grid(), table.ruled) == (TEXTS, look == "boxed")
    assert headers(table) == set(TEXTS[0])


@pytest.mark.parametrize("degrees", [-1.0, 0.6, 1.0])
@pytest.mark.parametrize("ruled", [True, False])
def test_a_skewed_noisy_scan_with_broken_lines_reads_as_the_straight_one(degrees, ruled):
    sheet = filled()
    sheet = (grid(sheet) if ruled else sheet).turned(degrees).noisy(broken=35 if ruled else 0)
    x0, y0, x1, y1 = bbox_of()
    table = read(sheet, (x0 - 6, y0 - 6, x1 + 6, y1 + 6))
    assert (table.grid(), table.ruled) == (TEXTS, ruled)


def test_a_header_over_a_line_of_its_own_spans_the_columns_that_the_line_lies_over():
    sheet = filled(texts=[["", "", ""], *TEXTS])
    sheet.write(240, 24, "Year", "centre")
    for y in (20, 56, 128):
        sheet.across(y, 20, 340)
    sheet.across(37, 146, 334)
    table = read(sheet, bbox_of(6))
    spans = {cell.text: (cell.row, cell.column, cell.rows, cell.columns) for cell in table.cells if cell.text}
    assert (spans["Year"], spans["Name"]) == ((0, 1, 1, 2), (0, 0, 2, 1))
    assert table.grid()[2:] == TEXTS[1:]
    assert headers(table) >= {"Year", *TEXTS[0]}


@pytest.mark.parametrize("look", ["bare", "header rule", "tinted"])
@pytest.mark.parametrize("y", [20, 30, 40], ids=["upper row", "between both", "lower row"])
def test_names_of_groups_span_their_columns_and_what_is_beside_them_spans_both_rows(look, y):
    sheet = Sheet()
    if look == "tinted":
        sheet.fill((20, 15, 400, 56), (220, 228, 240))
    sheet.write(26, y, "Tree")
    for x, name in ((195, "Leaf"), (335, "Stem")):
        sheet.write(x, 20, name, "centre")
    for column, name in enumerate(("long", "wide", "tall", "2019")):
        sheet.write(180 + 70 * column, 40, name, "right")
    for row, name in enumerate(("Ash", "Elm", "Oak", "Yew")):
        sheet.write(26, 60 + 18 * row, name)
        for column in range(4):
            sheet.write(180 + 70 * column, 60 + 18 * row, f"{row + 3}.{column}", "right")
    if look == "header rule":
        sheet.across(56, 20, 400)
    table = read(sheet, (20, 15, 400, 132))
    spans = {cell.text: (cell.row, cell.column, cell.rows, cell.columns) for cell in table.cells if cell.header}
    assert spans == {
        "Tree": (0, 0, 2, 1),
        "Leaf": (0, 1, 1, 2),
        "Stem": (0, 3, 1, 2),
        "long": (1, 1, 1, 1),
        "wide": (1, 2, 1, 1),
        "tall": (1, 3, 1, 1),
        "2019": (1, 4, 1, 1),
    }


def test_a_table_that_begins_with_its_numbers_has_no_header():
    assert headers(read(filled(texts=TEXTS[1:]), bbox_of(4))) == set()


def lined(labels, numbers, top=20.0, leading=10.0, gap=6.0):
    """Labels of several lines beside numbers in the middle of them, with more room between rows than within."""
    sheet, y = Sheet(), top
    for label, number in zip(labels, numbers, strict=True):
        for line, text in enumerate(label):
            sheet.write(20, y + leading * line, text)
        sheet.write(240, y + leading * (len(label) - 1) / 2, number, "right")
        y += leading * len(label) + gap
    return sheet, (15, top - 2, 250, y)


def test_lines_of_one_cell_are_joined_and_words_that_they_divide_too():
    labels = [
        ["A label that goes on for", "two lines of it"],
        ["Short"],
        ["And another one that has", "so much to con-", "tain"],
    ]
    sheet, bbox = lined([*labels, ["Last"]], ["1.5", "22.0", "3.25", "4"])
    table = read(sheet, bbox)
    assert [row[1] for row in table.grid()] == ["1.5", "22.0", "3.25", "4"]
    assert [row[0] for row in table.grid()] == [
        "A label that goes on for two lines of it",
        "Short",
        "And another one that has so much to contain",
        "Last",
    ]


def test_a_label_in_the_middle_of_two_rows_spans_both():
    sheet = Sheet()
    for row in range(4):
        sheet.write(150, 20 + 12 * row, f"{row + 3}.5", "right")
        sheet.write(250, 20 + 12 * row, f"{row + 11}", "right")
        if row in (0, 3):
            sheet.write(20, 20 + 12 * row, "Single")
    sheet.write(20, 38, "Double")
    table = read(sheet, (10, 15, 260, 75))
    assert [(cell.row, cell.rows) for cell in table.cells if cell.text == "Double"] == [(1, 2)]
    assert (table.rows, table.columns) == (4, 3)


def test_a_heading_within_the_table_spans_all_columns():
    sheet = filled(texts=[*TEXTS[:3], ["Conifers", "", ""], *TEXTS[3:]])
    table = read(sheet, bbox_of(6))
    assert [(cell.row, cell.columns) for cell in table.cells if cell.text == "Conifers"] == [(3, 3)]


def test_a_column_with_few_entries_is_a_column():
    texts = [["Name", "Mark", "Count"], *([f"Row-{row}", "x" if row == 6 else "", str(10 + row)] for row in range(12))]
    sheet = filled(texts=texts)
    assert read(sheet, bbox_of(13)).grid() == texts


def words_of(table):
    return sorted(" ".join(cell.text for cell in table.cells).split())


@pytest.mark.parametrize("seed", range(12))
def test_each_word_is_in_exactly_one_cell_and_cells_cover_the_table_once(seed):
    random = np.random.default_rng(seed)
    words = []
    for number in range(int(random.integers(0, 90))):
        x, y = random.uniform(-20, 420, 2)
        words.append(Word(f"w{number}", (x, y, x + random.uniform(0, 60), y + random.uniform(0, 20))))
    picture = random.integers(0, 255, (640, 840, 3)).astype(np.uint8) if seed % 3 else BLANK.copy()
    if seed % 3 == 0:
        picture[random.integers(0, 640, 9)] = 0
        picture[:, random.integers(0, 840, 9)] = 0
    table = read_table(words, (0, 0, 400, 300), picture, SCALE)
    middles = [((w.bbox[0] + w.bbox[2]) / 2, (w.bbox[1] + w.bbox[3]) / 2) for w in words]
    inside = [w.text for w, (x, y) in zip(words, middles, strict=True) if 0 <= x <= 400 and 0 <= y <= 300]
    assert words_of(table) == sorted(inside)
    covered = np.zeros((table.rows, table.columns), int)
    for cell in table.cells:
        covered[cell.row : cell.row + cell.rows, cell.column : cell.column + cell.columns] += 1
        assert np.isfinite(cell.bbox).all() and cell.bbox[0] <= cell.bbox[2] and cell.bbox[1] <= cell.bbox[3]
    assert (covered == 1).all()


def test_without_words_there_is_what_is_drawn_or_one_cell():
    drawn = read_table([], bbox_of(), grid(Sheet()).picture, SCALE)
    assert (drawn.rows, drawn.columns, drawn.ruled) == (5, 3, True)
    empty = read_table([], bbox_of(), BLANK, SCALE)
    assert (empty.rows, empty.columns, [cell.text for cell in empty.cells]) == (1, 1, [""])


@pytest.mark.parametrize(("ground", "stripe"), [(255, 236), (214, 234)], ids=["darker", "lighter, on a tint"])
def test_without_words_the_faint_stripes_of_a_scanner_are_no_lines(ground, stripe):
    sheet = Sheet()
    sheet.fill((20, 20, 340, 110), ground)
    sheet.fill((200, 20, 201, 110), stripe)
    assert read_table([], bbox_of(), sheet.picture, SCALE).columns == 1


@pytest.mark.parametrize(
    ("bbox", "picture", "scale"),
    [
        ((0, 0, 0, 0), BLANK, 2.0),
        ((900, 900, 950, 950), BLANK, 2.0),
        ((300, 200, 20, 10), BLANK, 2.0),
        ((float("nan"), 0, float("inf"), 50), BLANK, 2.0),
        ((0, 0, 100, 100), np.zeros((0, 0, 3), np.uint8), 2.0),
        ((0, 0, 100, 100), BLANK, 0.0),
        ((0, 0, 100, 100), np.zeros((3, 2, 3), np.uint8), 1.0),
    ],
)
def test_absurd_places_and_pictures_still_give_a_table(bbox, picture, scale):
    words = [Word("a", (10, 10, 20, 19)), Word("", (15, 12, 15, 12)), Word("b", (float("nan"), 1, 2, 3))]
    table = read_table(words, bbox, picture, scale)
    assert table.rows >= 1 and table.columns >= 1 and len(table.cells) >= 1


def test_letters_are_no_lines():
    table = read(filled())
    assert not table.ruled and (table.rows, table.columns) == (len(TEXTS), 3)
    assert HIGH * SCALE > 14  # letters are tall enough for their strokes to be taken for lines
