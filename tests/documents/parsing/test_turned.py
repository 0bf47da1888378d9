"""What stands on its side, or upside down, is read in its own direction, as if the page lay so that it is upright."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Table, TableStyle

from densessl.data.pages import pdf
from densessl.documents.parsing.config import ParseConfig
from densessl.documents.parsing.layout.lines import lines_of
from densessl.documents.parsing.layout.structure import Region, blocks_of
from densessl.documents.parsing.layout.turned import joined_views, others, prevailing
from densessl.documents.parsing.layout.whole import Whole
from densessl.documents.parsing.model import Block, Cell, Line, Page, Word, from_dict, to_dict
from densessl.documents.parsing.model import Table as Grid
from densessl.documents.parsing.run import parse
from densessl.documents.parsing.tables.join import goes_on
from densessl.documents.parsing.tables.table import read_table
from densessl.documents.parsing.views import View
from densessl.documents.parsing.words import layer
from densessl.documents.parsing.writers import read
from densessl.progress import silent
from tests.data import documents
from tests.documents.parsing.pdfs import drawn
from tests.documents.parsing.setting import PROSE, column, line, shuffled

WIDE, HIGH = 842.0, 595.0  # points of the landscape page that is printed on one that stands
TURNS = (1, 2, 3)
SAID = [" ".join(PROSE[each:] + PROSE[:each]) for each in range(5)]
ROWS = [["Garden", "Water", "Letters", "Windows"]] + [
    [name, f"{13.5 * at:.1f}", f"{20 + at}", f"{170 - 3 * at}"]
    for at, name in enumerate(["Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel"], 1)
]


def shown(words: list[Word], turn: int, width: float, height: float) -> list[Word]:
    """Words of a page of this size as they stand on it when it is printed turned by so many quarters clockwise."""
    return View(-turn % 4, width, height).words(words)


def printed(canvas: Canvas, turn: int, width: float, height: float) -> None:
    """Draw what follows for a page of this size, turned by so many quarters clockwise so that it fills the page."""
    corner = {0: (0, 0), 1: (0, width), 2: (width, height), 3: (height, 0)}[turn]
    canvas.translate(*corner)
    canvas.rotate(-90 * turn)


def draw_landscape(canvas: Canvas) -> None:
    canvas.setFont("Helvetica-Bold", 16)
    canvas.drawString(72, 520, "3 What the gardens gave")
    canvas.setFont("Times-Roman", 11)
    for row, text in enumerate(PROSE):
        canvas.drawString(72, 490 - 14 * row, text + " and so it went on, as all of them had said before it")
    canvas.setFont("Times-Italic", 9)
    canvas.drawString(72, 405, "Table 3. What was counted in each of the gardens.")
    draw_table(canvas, 72, 395)
    canvas.setFont("Times-Roman", 11)
    for row, text in enumerate(PROSE):
        canvas.drawString(72, 200 - 14 * row, text + " and here it went on for another while, as was to be hoped")


def draw_table(canvas: Canvas, x: float, top: float) -> None:
    table = Table(ROWS, colWidths=[120] * 4)
    table.setStyle(TableStyle([("GRID", (0, 0), (-1, -1), 0.5, "black")]))
    _, height = table.wrap(500, 500)
    table.drawOn(canvas, x, top - height)


def parsed(path: Path, out: Path) -> Page:
    parse(ParseConfig(documents=str(path), out=str(out), formats=["json"], devices="cpu", words=True), silent)
    (page,) = read(out / f"{path.stem}.json")[1]
    return page


@pytest.fixture(scope="module")
def landscape(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("landscape")
    return parsed(drawn(folder / "a.pdf", draw_landscape, (WIDE, HIGH)), folder / "out")


@pytest.mark.parametrize("turn", TURNS)
def test_a_page_printed_on_its_side_is_parsed_as_the_one_that_lies(landscape, turn, tmp_path):
    def draw(canvas: Canvas) -> None:
        printed(canvas, turn, WIDE, HIGH)
        draw_landscape(canvas)

    size = (HIGH, WIDE) if turn % 2 else (WIDE, HIGH)
    page = parsed(drawn(tmp_path / "a.pdf", draw, size), tmp_path / "out")
    assert (page.width, page.height) == pytest.approx(size, abs=0.1)
    view = View(turn, page.width, page.height)
    lying = [view.block(block) for block in page.blocks]
    assert [(each.type, each.text) for each in lying] == [(each.type, each.text) for each in landscape.blocks]
    assert {block.turn for block in page.blocks} == {turn}
    assert {word.turn for block in page.blocks for each in block.lines for word in each.words} == {turn}
    for each, other in zip(lying, landscape.blocks, strict=True):
        assert each.bbox == pytest.approx(other.bbox, abs=3)
        assert [one.bbox for one in each.lines] == [pytest.approx(one.bbox, abs=0.1) for one in other.lines]
    (table,), (true,) = ([each for each in blocks if each.table] for blocks in (lying, landscape.blocks))
    assert table.table.grid() == true.table.grid() == ROWS
    for cell, other in zip(table.table.cells, true.table.cells, strict=True):
        assert cell.bbox == pytest.approx(other.bbox, abs=1.5)


@pytest.mark.parametrize("turn", [1, 3])
def test_the_upright_header_and_footer_of_such_a_page_are_told_from_it(turn, tmp_path):
    def draw(canvas: Canvas) -> None:
        canvas.drawString(72, 805, "Of gardens")
        canvas.drawCentredString(HIGH / 2, 25, "17")
        printed(canvas, turn, WIDE, HIGH)
        draw_landscape(canvas)

    page = parsed(drawn(tmp_path / "a.pdf", draw, (HIGH, WIDE)), tmp_path / "out")
    kinds = [(block.type, block.text, block.turn) for block in page.blocks]
    assert kinds[0] == ("page_header", "Of gardens", 0) and kinds[-1] == ("page_footer", "17", 0)
    assert {block.turn for block in page.blocks[1:-1]} == {turn}


@pytest.mark.parametrize("turn", [1, 3])
def test_a_table_on_its_side_among_upright_text_has_its_rows_and_its_caption(turn, tmp_path):
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Times-Roman", 11)
        for row in range(12):
            canvas.drawString(72, 770 - 14 * row, PROSE[row % 5] + " and so it went on, as they had said before")
        for row in range(5):
            canvas.drawString(72, 90 - 14 * row, PROSE[row % 5] + " and so it went on, as they had said before")
        canvas.translate(*((130, 600) if turn == 1 else (460, 120)))
        canvas.rotate(-90 * turn)
        canvas.setFont("Times-Italic", 9)
        canvas.drawString(0, 290, "Table 3. What was counted in each of the gardens.")
        draw_table(canvas, 0, 275)

    page = parsed(drawn(tmp_path / "a.pdf", draw, (HIGH, WIDE)), tmp_path / "out")
    (table,) = (block for block in page.blocks if block.table)
    (caption,) = (block for block in page.blocks if block.type == "caption")
    assert table.table.grid() == ROWS and table.turn == caption.turn == turn
    assert caption.text == "Table 3. What was counted in each of the gardens." and caption.of == table.id
    kinds = [block.type for block in page.blocks]
    assert kinds[0] == kinds[-1] == "text" and kinds.index("caption") == kinds.index("table") - 1
    assert page.blocks[0].text.startswith(PROSE[0]) and page.blocks[0].turn == 0


@pytest.mark.parametrize("turn", (0, *TURNS))
def test_words_say_in_which_direction_they_run(turn, tmp_path):
    def draw(canvas: Canvas) -> None:
        printed(canvas, turn, 400, 300)
        canvas.drawString(50, 100, "here it runs")

    path = drawn(tmp_path / "a.pdf", draw, (300, 400) if turn % 2 else (400, 300))
    assert [(word.text, word.turn) for word in layer(pdf.text(str(path), 0))] == [
        (text, turn) for text in ("here", "it", "runs")
    ]


def test_letters_of_a_size_below_nothing_that_are_turned_back_are_upright(tmp_path):
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    for size, matrix, turn in ((b"-12", b"-1 0 0 -1", 0), (b"-1", b"0 -12 12 0", 3), (b"12", b"-1 0 0 -1", 2)):
        content = b"BT /F %b Tf %b 100 500 Tm (here) Tj ET" % (size, matrix)
        path = documents.write(
            tmp_path / "a.pdf", documents.page(content, resources=b"/Font<</F 5 0 R>>", more=(font,))
        )
        assert [word[-1] for word in pdf.text(str(path), 0).words] == [turn]


@pytest.mark.parametrize("turn", TURNS)
def test_lines_of_turned_words_run_in_their_direction(turn):
    words = shown(column(PROSE, 50, 100), turn, 595, 842)
    assert sorted(each.text for each in lines_of(shuffled(words))) == sorted(PROSE)


def test_lines_in_several_directions_share_no_words():
    words = line("from left to right", 60, 100) + shown(line("upside down it is", 480, 742), 2, 595, 842)
    words += shown(line("and upwards it goes", 700, 70), 3, 842, 595)
    assert {each.text for each in lines_of(shuffled(words))} == {
        *("from left to right", "upside down it is", "and upwards it goes")
    }


@pytest.mark.parametrize("turn", TURNS)
def test_turned_paragraphs_are_put_together_in_their_order(turn):
    words = [word for place in (100, 200) for word in column(PROSE, 50, place)]
    blocks = blocks_of([], shuffled(shown(words, turn, 400, 300)), *((300, 400) if turn % 2 else (400, 300)), 1)
    assert [block.text for block in blocks] == [SAID[0], SAID[0]]
    assert {block.turn for block in blocks} == {turn}


def test_each_word_is_in_exactly_one_block_however_they_are_turned(rng_words):
    words = [replace(word, turn=place % 4) for place, word in enumerate(rng_words)]
    regions = [Region((50.0 * x, 100, 50.0 * x + 90, 500), kind, 0.8, turn=x % 4) for x, kind in enumerate(KINDS)]
    blocks = blocks_of(regions, words, 600, 800, 1)
    found = [word for block in blocks for each in block.lines for word in each.words]
    assert sorted((word.text, word.turn) for word in found) == sorted((word.text, word.turn) for word in words)
    assert {tuple(round(side, 6) for side in word.bbox) for word in found} == {
        tuple(round(side, 6) for side in word.bbox) for word in words
    }


KINDS = ["Text", "Picture", "Table", "Caption", "List-item", "Formula", "Page-header", "Title"]


def test_the_name_of_an_axis_is_of_the_figure_that_it_runs_along():
    text = column(PROSE * 2, 60, 60)
    axis = shown(line("the amount of water in it", 350, 200, 8.0), 3, 842, 595)
    assert axis[0].bbox[3] > axis[-1].bbox[3] and axis[0].turn == 3
    figure = Region((215, 250, 450, 520), "Picture", 0.9)
    blocks = blocks_of([figure], [*text, *axis], 595, 842, 1)
    (picture,) = (block for block in blocks if block.type == "figure")
    assert picture.text == "the amount of water in it" and picture.turn == 0


def test_names_of_columns_that_run_upwards_are_read_so():
    picture = np.full((600, 800, 3), 255, np.uint8)
    for x in (50, 200, 350, 500):
        cv2.line(picture, (x, 50), (x, 400), (0, 0, 0), 1)
    for y in (50, 250, 300, 350, 400):
        cv2.line(picture, (50, y), (500, y), (0, 0, 0), 1)
    names = [word for x in (60, 135, 210) for word in shown(line("share of all", 185, x), 3, 300, 400)]
    rows = [word for y in (132, 157, 182) for x in (60, 130, 205) for word in line(f"{x}.{y}", x, y)]
    table = read_table(names + rows, (25, 25, 250, 200), picture, 2.0)
    assert table.grid()[0] == ["share of all"] * 3


def test_a_page_is_turned_where_two_thirds_of_its_letters_are():
    up, side = line("a few of them", 50, 50), shown(line("a few of them", 50, 50), 3, 595, 842)
    assert prevailing([]) == prevailing(up) == prevailing([*up, *side]) == 0
    assert prevailing([*up, *side, *side]) == prevailing(side) == 3


def test_a_page_is_looked_at_from_the_side_for_many_words_that_are_not_just_names_in_something_upright():
    upright = column(PROSE, 60, 60)
    names = shown(column(PROSE, 300, 100), 3, 842, 595)
    around = Region((0, 0, 595, 842), "Table", 0.9)
    assert others([], upright) == others([], upright + names[:3]) == []
    assert others([], upright + names) == [3]
    assert others([around], upright * 2 + names) == []


def test_what_is_seen_from_the_side_counts_where_its_words_run_so_but_a_figure_is_one_from_both_sides():
    words = shown(column(PROSE, 300, 100), 3, 842, 595)
    box = Region(lines_box(words), "Text", 0.9).bbox
    far = (400.0, 700.0, 500.0, 800.0)
    seen = [Region(box, "Table", 0.9), Region(far, "Text", 0.8)]
    there = [Region(box, "Text", 0.7), Region(far, "Table", 0.9)]
    assert joined_views(seen, there, 3, words) == [seen[1], replace(there[0], turn=3)]
    figure = Region(box, "Picture", 0.9)
    assert joined_views([figure], [figure], 3, words) == [figure]


def lines_box(words: list[Word]):
    left, top, right, bottom = zip(*(word.bbox for word in words), strict=True)
    return min(left), min(top), max(right), max(bottom)


def side_table(rows: list[list[str]], header: int) -> Grid:
    cells = [
        Cell(row, each, (100 * each, 20 * row, 100 * each + 100, 20 * row + 20), text, header=row < header)
        for row, texts in enumerate(rows)
        for each, text in enumerate(texts)
    ]
    return View(1, 842, 595).table(Grid(len(rows), len(rows[0]), cells))


def test_tables_on_their_side_go_on_over_a_page_and_not_with_one_that_lies():
    blocks = [
        Block(f"p{number}b1", "table", (0, 0, 1, 1), table=side_table(rows, header), turn=3)
        for number, rows, header in ((1, ROWS[:4], 1), (2, ROWS[4:], 0))
    ]
    before, after = (Page(number, 595, 842, 72, [block]) for number, block in enumerate(blocks, 1))
    assert goes_on(before, after) == tuple(blocks)
    assert goes_on(before, Page(2, 595, 842, 72, [replace(blocks[1], turn=0)])) is None


def test_headers_of_pages_on_their_side_are_told_by_coming_again():
    whole, pages = Whole(), []
    for number in range(1, 5):
        words = shown(line("Of the gardens", 70, 30), 3, 842, 595)
        block = Block(f"p{number}b1", "text", lines_box(words), text="Of the gardens", turn=3)
        block.lines = [Line(words, block.bbox)]
        pages.append(Page(number, 595, 842, 72, [block]))
    for page in pages:
        whole.look(page)
    assert {whole.settle(page).blocks[0].type for page in pages} == {"page_header"}


def test_a_view_and_its_back_are_undone_by_each_other():
    for turn in range(4):
        view = View(turn, 30, 20)
        box = (1.0, 2.0, 5.0, 9.0)
        assert view.back.box(view.box(box)) == box and view.back.size == (30, 20)
        picture = np.zeros((20, 30, 3), np.uint8)
        picture[2:9, 1:5] = 255
        ys, xs = np.nonzero(view.picture(picture).max(-1))
        assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == view.box(box)
        assert np.array_equal(view.back.picture(view.picture(picture)), picture)


def test_a_turn_is_kept_in_records_where_there_is_one():
    words = [Word("a", (0, 0, 1, 1), turn=3), Word("b", (0, 0, 1, 1))]
    page = Page(1, 10, 10, 72, [Block("p1b1", "text", (0, 0, 1, 1), lines=[Line(words, (0, 0, 1, 1))], turn=3)])
    record = to_dict(page)
    assert from_dict(record) == page
    assert "turn" not in record["blocks"][0]["lines"][0]["words"][1]
