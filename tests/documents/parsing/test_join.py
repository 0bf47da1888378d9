"""A table at the top of a page goes on with the one before it if it looks the same and nothing is between them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from densessl.documents.parsing.model import Block, Cell, Page, Table
from densessl.documents.parsing.tables.join import goes_on, linked


def table(rows, sides=(50, 150, 300, 400), header=1):
    cells = [
        Cell(row, column, (sides[column], 20 * row, sides[column + 1], 20 * row + 20), text, header=row < header)
        for row, line in enumerate(rows)
        for column, text in enumerate(line)
    ]
    return Table(len(rows), len(sides) - 1, cells)


def page(number, *blocks):
    return Page(number, 600, 800, 72, list(blocks))


def block(kind, name="b", own=None, **more):
    return Block(name, kind, (50, 0, 400, 100), table=own, **more)


HEAD = ["Name", "Count", "Share"]
FIRST = table([HEAD, ["a", "1", "2"], ["b", "3", "4"]])
AGAIN = table([HEAD, ["c", "5", "6"]])
BARE = table([["c", "5", "6"], ["d", "7", "8"]], header=0)


def parts(*tables):
    """The tables as parts of one, each on a page of its own, as `linked` leaves them."""
    pages = [page(number, block("table", f"t{number}", each)) for number, each in enumerate(tables, 1)]
    return [together.blocks[0] for _, together in linked(pages)]


def test_a_repeated_header_is_left_out_and_parts_say_what_they_go_on_with():
    first, second = parts(FIRST, AGAIN)
    assert (first.joined, second.joined) == (None, "t1")
    assert first.table == FIRST and second.table.grid() == [["c", "5", "6"]]
    assert not any(cell.header for cell in second.table.cells)
    assert AGAIN.rows == 2 and AGAIN.cells[0].row == 0  # what was read stays as it is


def test_a_part_without_a_header_goes_on_whole_and_one_after_it_repeats_the_first_ones():
    _, second, third = parts(FIRST, BARE, AGAIN)
    assert second.table == BARE and third.table.grid() == [["c", "5", "6"]]
    assert (second.joined, third.joined) == ("t1", "t2")


def test_a_span_that_differs_is_no_repetition():
    wide = replace(AGAIN, cells=[replace(AGAIN.cells[0], columns=2), *AGAIN.cells[2:]])
    assert parts(FIRST, wide)[1].table.rows == 2


def test_tables_that_are_none_of_one_are_left_alone():
    fewer = table([["c", "5"]], (50, 200, 400), 0)
    assert [each.joined for each in parts(FIRST, fewer, BARE)] == [None, None, None]


@pytest.mark.parametrize("between", [(), ("page_footer",), ("footnote", "page_footer")])
def test_tables_go_on_over_what_each_page_has(between):
    before = page(1, block("text"), block("table", "t1", FIRST), *map(block, between))
    after = page(2, block("page_header"), block("table", "t2", BARE), block("text"))
    last, first = goes_on(before, after)
    assert (last.id, first.id) == ("t1", "t2")


@pytest.mark.parametrize("kind", ["caption", "heading", "text"])
def test_words_between_them_end_a_table(kind):
    before, after = page(1, block("table", "t1", FIRST)), page(2, block("table", "t2", BARE))
    assert goes_on(before, page(2, block(kind), *after.blocks)) is None
    assert goes_on(page(1, *before.blocks, block(kind)), after) is None


def test_a_table_with_a_caption_of_its_own_begins_something_new():
    after = page(2, block("table", "t2", BARE), block("caption", "c", of="t2"))
    assert goes_on(page(1, block("table", "t1", FIRST)), after) is None


def test_other_columns_are_another_table():
    before = page(1, block("table", "t1", FIRST))
    fewer = table([["c", "5"]], (50, 200, 400), 0)
    moved = table([["c", "5", "6"]], (50, 250, 300, 500), 0)
    assert goes_on(before, page(2, block("table", "t2", fewer))) is None
    assert goes_on(before, page(2, block("table", "t2", moved))) is None
    assert goes_on(before, page(2)) is None


def test_columns_are_compared_within_the_width_of_each_page():
    half = table([["c", "5", "6"]], (25, 75, 150, 200), 0)
    after = Page(2, 300, 400, 72, [block("table", "t2", half)])
    assert goes_on(page(1, block("table", "t1", FIRST)), after) is not None


def test_the_first_row_of_a_part_is_no_header_though_it_looks_like_one():
    _, second = parts(FIRST, table([["c", "5", "6"], ["d", "7", "8"]], header=1))
    assert second.table.grid() == [["c", "5", "6"], ["d", "7", "8"]]
    assert not any(cell.header for cell in second.table.cells)


def test_pages_that_do_not_follow_each_other_share_no_table():
    pages = [page(1, block("table", "t1", FIRST)), page(7, block("table", "t7", AGAIN))]
    assert [together.blocks[0].joined for _, together in linked(pages)] == [None, None]


def test_pages_stay_as_they_are_beside_what_is_put_together():
    pages = [page(1, block("table", "t1", FIRST)), page(2, block("table", "t2", AGAIN))]
    for before, (alone, _) in zip(pages, linked(pages), strict=True):
        assert alone is before and alone.blocks[0].joined is None
    assert pages[1].blocks[0].table == AGAIN
