"""Two columns side by side: what stands at the end of a line of one is never the other's."""

from __future__ import annotations

import pytest

from densessl.documents.parsing.layout.lines import lines_of
from densessl.documents.parsing.layout.pieces import Piece, by_surroundings
from densessl.documents.parsing.layout.structure import Region
from densessl.documents.parsing.model import Word
from tests.documents.parsing.setting import PROSE, column, line
from tests.documents.parsing.test_structure import parsed, region

LEFT, RIGHT = 50.0, 290.0  # a line of `PROSE` is 215 points wide at most


def paragraphs(x: float, tops: tuple[float, ...]) -> tuple[list[Region], list[Word]]:
    words = [column(PROSE, x, top) for top in tops]
    return [region(each) for each in words], [word for each in words for word in each]


@pytest.fixture
def columns() -> tuple[list[Region], list[Word]]:
    """Three paragraphs in each column, and on the left room for a formula at a height of 180."""
    left, right = paragraphs(LEFT, (100, 210, 300)), paragraphs(RIGHT, (100, 170, 300))
    return [*left[0], *right[0]], [*left[1], *right[1]]


def formula_of(blocks):
    (found,) = (block for block in blocks if block.type == "formula")
    return found


@pytest.mark.parametrize("found", [True, False])
def test_the_number_of_a_formula_is_not_the_text_beside_it(columns, found):
    regions, words = columns
    formula, number = line("a = b + c", 120, 182), line("(3)", 252, 182)
    blocks = parsed([*regions, *([region(formula, "Formula")] if found else [])], [*words, *formula, *number])
    own = next(block for block in blocks if "(3)" in block.text)
    assert own.bbox[2] < RIGHT and [block.bbox[0] >= RIGHT - 2 for block in blocks] == [
        *[False] * (len(blocks) - 3),
        *[True] * 3,
    ]
    if found:
        assert formula_of(blocks).text == "a = b + c (3)"


def test_a_formulas_number_is_that_of_its_own_line_and_column(columns):
    regions, words = columns
    formula, number = line("a = b + c", 120, 182), line("(4)", 252, 362)
    blocks = parsed([*regions, region(formula, "Formula")], [*words, *formula, *number])
    assert formula_of(blocks).text == "a = b + c"


def test_a_formula_takes_both_numbers_of_its_line_though_one_was_taken_for_a_formula():
    parts = [("formula", line("(1)", 200, 100)), ("formula", line("x=y", 100, 100)), ("text", line("(2)", 260, 100))]
    pieces = [Piece(kind, lines_of(words), words[0].bbox) for kind, words in parts]
    (formula,) = by_surroundings(pieces, [], 10.0, 800.0)
    assert [each.text for each in formula.lines] == ["x=y", "(1)", "(2)"]


def test_the_marker_of_an_item_goes_to_the_text_on_its_right_alone(columns):
    regions, words = columns
    marker, item = line("\u2022", RIGHT, 380), column(PROSE[:2], RIGHT + 12, 380)
    beside = column(PROSE, LEFT, 380)
    blocks = parsed([*regions, region(item, "List-item"), region(beside)], [*words, *marker, *item, *beside])
    (listed,) = (block for block in blocks if block.type == "list_item")
    assert (listed.marker, listed.text) == ("\u2022", " ".join(PROSE[:2]))


def test_a_line_that_no_region_has_ends_at_the_gutter(columns):
    regions, words = columns
    left, right = line("whatever was lost on the left of all these", LEFT, 390), line("and on the right", RIGHT, 390)
    blocks = parsed(regions, [*words, *left, *right])
    assert not any("lost" in block.text and "right" in block.text for block in blocks)


def test_a_line_across_the_columns_stays_whole(columns):
    regions, words = columns
    across = line("one sentence that runs over both of the columns which stand above it on this page", 90, 390)
    blocks = parsed(regions, [*words, *across])
    assert any(block.text == " ".join(word.text for word in across) for block in blocks)


@pytest.mark.parametrize("label", ["Text", "Section-header", None])
def test_what_stands_on_its_side_beyond_the_text_is_a_running_header(columns, label):
    regions, words = columns
    tab = [Word("Appendix", (585, 400, 595, 440), 10.0)]
    blocks = parsed([*regions, *([region(tab, label)] if label else [])], [*words, *tab])
    assert [(block.type, block.text) for block in blocks][0] == ("page_header", "Appendix")


def tables(*scores: float) -> list[Region]:
    """One over the page, one in its upper and one in its lower half."""
    boxes = ((40, 90, 580, 360), (45, 95, 275, 200), (45, 220, 275, 350))
    return [Region(box, "Table", score) for box, score in zip(boxes, scores, strict=False)]


def test_of_a_table_and_parts_of_it_that_were_taken_for_tables_it_alone_remains(columns):
    blocks = parsed(tables(0.95, 0.6), columns[1])
    assert [block.type for block in blocks] == ["table"]


def test_a_table_around_two_that_are_as_sure_is_none(columns):
    blocks = parsed(tables(0.8, 0.9, 0.7), columns[1])
    assert sum(block.type == "table" for block in blocks) == 2


def test_a_table_around_one_and_text_beside_it_is_none(columns):
    regions, words = columns
    texts = [each for each in regions if each.bbox[0] > 280]
    blocks = parsed([*tables(0.95, 0.7), *texts], words)
    (table,) = (block for block in blocks if block.type == "table")
    assert table.bbox[2] <= 310 and sum(block.type == "text" for block in blocks) >= 3
