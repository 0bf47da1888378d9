"""Adjacency relations are those that one writes down by hand from a table (Göbel et al. 2012)."""

from __future__ import annotations

import numpy as np
import pytest

from densessl.documents.adjacency import Adjacency, adjacency, over_tables, relations
from densessl.documents.parsing.model import Cell, Table

BOX = (0, 0, 1, 1)


def table(rows):
    cells = [Cell(row, column, BOX, text) for row, line in enumerate(rows) for column, text in enumerate(line)]
    return Table(len(rows), len(rows[0]), cells)


def test_two_by_two_has_two_relations_each_way():
    found = relations(table([["a", "b"], ["c", "d"]]))
    assert found == {("a", "b", "right"): 1, ("c", "d", "right"): 1, ("a", "c", "below"): 1, ("b", "d", "below"): 1}


def test_blank_cells_are_passed_over():
    found = relations(table([["a", " ", "b"], ["", "c", ""], ["d", "", ""]]))
    assert found == {("a", "b", "right"): 1, ("a", "d", "below"): 1}


def test_a_cell_that_spans_has_each_neighbour_once():
    # +---+-------+     a spans two rows, b two columns
    # | a |   b   |
    # |   +---+---+
    # |   | c | d |
    cells = [Cell(0, 0, BOX, "a", rows=2), Cell(0, 1, BOX, "b", columns=2), Cell(1, 1, BOX, "c"), Cell(1, 2, BOX, "d")]
    found = relations(Table(2, 3, cells))
    expected = ["a b right", "a c right", "b c below", "b d below", "c d right"]
    assert sorted(" ".join(each) for each in found.elements()) == expected


def test_the_same_text_counts_as_often_as_it_stands_there():
    assert relations(table([["x", "x", "x"]])) == {("x", "x", "right"): 2}
    assert adjacency(table([["x", "x"]]), table([["x", "x", "x"]])) == Adjacency(1, 1, 2)


def test_a_column_that_was_split_costs_what_it_breaks_by_hand():
    true = table([["a b", "c"], ["d e", "f"]])
    found = table([["a", "b", "c"], ["d", "e", "f"]])
    # true: ab-c, de-f, ab/de, c/f. found: a-b, b-c, d-e, e-f, a/d, b/e, c/f. Both: c/f.
    own = adjacency(found, true)
    assert (own.correct, own.found, own.true) == (1, 7, 4)
    assert (own.precision, own.recall, own.f1) == pytest.approx((1 / 7, 1 / 4, 2 / 11))


def test_over_tables_adds_relations_up_and_a_table_that_was_not_found_costs_recall():
    one = adjacency(table([["a", "b"], ["c", "d"]]), table([["a", "b"], ["c", "d"]]))
    none = adjacency(None, table([["a", "b"]]))
    whole = over_tables([one, none])
    assert (whole.correct, whole.found, whole.true) == (4, 4, 5)
    assert over_tables([]).f1 == 0.0


def test_blanks_within_texts_do_not_matter():
    assert adjacency(table([["a  b", "c"]]), table([["ab", "c"]])).f1 == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_without_spans_relations_are_pairs_of_next_texts_in_rows_and_columns(seed):
    random = np.random.default_rng(seed)
    rows = [[str(each) if random.random() < 0.7 else "" for each in line] for line in random.integers(0, 5, (6, 4))]
    slow = []
    for lines, direction in ((rows, "right"), (list(zip(*rows, strict=True)), "below")):
        for line in lines:
            texts = [text for text in line if text]
            slow += [(one, other, direction) for one, other in zip(texts[:-1], texts[1:], strict=True)]
    assert sorted(relations(table(rows)).elements()) == sorted(slow)
