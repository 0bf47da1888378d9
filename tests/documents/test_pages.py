"""Pages can be chosen, joined and brought to other classes, and what is unknown on them stays unknown."""

from __future__ import annotations

import numpy as np
import pytest

from densessl.documents.pages import joined
from densessl.errors import UserError

from .conftest import made

ROWS = [(0, 0, 1, 1, 5, 5), (0, 1, 2, 2, 6, 6), (2, 1, 3, 3, 7, 7), (2, 0, 4, 4, 8, 8, "crowd")]


def test_a_subset_has_its_pages_in_the_order_asked_for_with_their_objects():
    shapes = tuple([np.full((3, 2), place)] for place in range(4))
    pages = made(ROWS, count=3, shapes=shapes)
    chosen = pages.subset([2, 0])
    assert [chosen.source.name(index) for index in range(2)] == ["page-2.png", "page-0.png"]
    assert chosen.objects.page.tolist() == [0, 0, 1, 1]
    assert chosen.on(0).boxes[:, 0].tolist() == [3, 4] and chosen.on(1).boxes[:, 0].tolist() == [1, 2]
    assert [int(shape[0][0, 0]) for shape in chosen.objects.shapes] == [2, 3, 0, 1]
    assert chosen.on(0).crowd.tolist() == [False, True]
    assert len(pages.subset([1]).objects) == 0 and len(pages.subset([])) == 0


def test_classes_that_none_goes_to_are_unknown_and_those_left_out_take_their_objects_along():
    pages = made(ROWS, count=3).in_classes(("figure", "Table"))
    assert pages.labelled.tolist() == [[False, True]] * 3
    assert pages.objects.classes.tolist() == [1, 1] and pages.objects.page.tolist() == [0, 2]


def test_classes_can_be_joined_into_one_which_is_labelled_where_all_of_them_are():
    pages = made(ROWS, count=3)
    pages.labelled[1, 0] = False
    one = pages.in_classes(("region",), {"text": "region", "table": "region"})
    assert one.objects.classes.tolist() == [0, 0, 0, 0]
    assert one.labelled[:, 0].tolist() == [True, False, True]


def test_names_of_classes_that_there_are_not_are_met_with_the_nearest():
    pages = made(ROWS, count=3)
    with pytest.raises(UserError, match="did you mean 'table'"):
        pages.in_classes(("region",), {"tabel": "region"})
    with pytest.raises(UserError, match="'regoin' is not among the classes region.*did you mean 'region'"):
        pages.in_classes(("region",), {"table": "regoin"})


def test_joined_sets_follow_each_other_and_keep_their_documents_apart():
    from dataclasses import replace

    first = replace(made(ROWS, count=3), name="one", documents=("book", None, "book"))
    second = replace(made(ROWS[:2], count=1), name="two", documents=("book",))
    both = joined([first, second])
    assert len(both) == 4 and both.objects.page.tolist() == [0, 0, 2, 2, 3, 3]
    assert both.documents == ("one/book", None, "one/book", "two/book")
    assert len({both.source.name(index) for index in range(4)}) == 4
    with pytest.raises(UserError, match="in_classes"):
        joined([first, second.in_classes(("table",))])
