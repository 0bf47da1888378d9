"""Hits, misses and false alarms of a page, and how they are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from densessl.documents.detections import Detections
from densessl.documents.matching import counts, match, worst
from densessl.documents.pictures import FALSE, HIT, MISS, page_picture, worst_pages

from .conftest import made


def test_each_object_is_hit_once_by_the_best_score_and_only_in_its_class():
    pages = made([(0, 0, 0, 0, 40, 40), (0, 1, 50, 50, 90, 90)])
    boxes = [[0, 0, 40, 38], [0, 0, 40, 40], [50, 50, 90, 90], [50, 50, 90, 60]]
    found = match(pages, Detections.sorted(1, [0] * 4, boxes, [0, 0, 0, 1], [0.9, 0.8, 0.7, 0.6]), 0)
    assert found.hits.tolist() == [[0, 0]]
    assert found.misses.tolist() == [1] and found.false_alarms.tolist() == [1, 2, 3]


def test_what_nobody_can_judge_is_put_aside():
    rows = [(0, 0, 0, 0, 40, 40, "crowd"), (0, 0, 50, 50, 90, 90, "ignored")]
    pages = made(rows)
    pages.labelled[0, 1] = False
    boxes = [[5, 5, 15, 15], [50, 50, 90, 90], [0, 90, 9, 99], [0, 60, 9, 69], [60, 0, 69, 9]]
    detections = Detections.sorted(1, [0] * 5, boxes, [0, 0, 1, 0, 0], [0.9, 0.8, 0.7, 0.6, 0.1])
    found = match(pages, detections, 0)
    # In a crowd; on what is ignored; of a class unknown here; wrong; below the score.
    assert found.aside.tolist() == [0, 1, 2, 4] and found.false_alarms.tolist() == [3]
    assert len(found.misses) == 0


def test_counts_are_summed_over_pages_and_give_precision_recall_and_f1():
    pages = made([(0, 0, 0, 0, 40, 40), (1, 0, 0, 0, 40, 40), (1, 0, 50, 0, 90, 40)], count=2)
    boxes = [[0, 0, 40, 40], [0, 0, 40, 40], [60, 60, 70, 70], [80, 60, 90, 70]]
    found = counts(pages, Detections.sorted(2, [0, 1, 1, 1], boxes, [0] * 4, [0.9] * 4))
    assert (found.hits, found.misses, found.false_alarms) == (2, 1, 2)
    assert (found.precision, found.recall) == (2 / 4, 2 / 3)
    assert found.f1 == pytest.approx(2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3))
    nothing = counts(pages, Detections.sorted(2, [], [], [], []))
    assert (nothing.precision, nothing.recall, nothing.f1) == (0, 0, 0)


def test_the_worst_pages_come_first_and_those_without_a_mistake_not_at_all():
    rows = [(1, 0, 0, 0, 9, 9), (2, 0, 0, 0, 9, 9), (2, 0, 20, 20, 29, 29)]
    pages = made(rows, count=4)
    nothing = Detections.sorted(4, [], [], [], [])
    assert worst(pages, nothing, 5) == [2, 1] and worst(pages, nothing, 1) == [2]


@pytest.fixture
def drawn(tree):
    """A white page of 200 x 400 with a hit, a miss and a false alarm, and its picture of twice the size."""
    tree.image("page-0.png", 200, 400)
    rows = [(0, 0, 20, 40, 180, 100), (0, 1, 20, 200, 180, 260)]
    pages = made(rows, size=(200, 400), root=tree.root)
    detections = Detections.sorted(1, [0, 0], [[24, 44, 176, 96], [20, 320, 180, 380]], [0, 1], [0.9, 0.8])
    return pages, detections, page_picture(pages, detections, 0, long=800)


def test_each_colour_is_where_it_belongs(drawn):
    _, _, picture = drawn
    legend = picture.shape[0] - 800
    assert picture.shape[1] == 400 and 20 < legend < 60

    def rows_of(colour):
        found = np.flatnonzero((picture[legend:] == colour).all(axis=2).any(axis=1))
        return found.min(), found.max()

    # The height of a name is left free above and below each box.
    for colour, top, bottom in ((HIT, 88, 192), (MISS, 400, 520), (FALSE, 640, 760)):
        first, last = rows_of(colour)
        assert top - 25 <= first <= top + 1 and bottom - 2 <= last <= bottom + 25
        assert (picture[:legend] == colour).all(axis=2).any()


def test_inside_of_a_hit_the_page_is_as_it_was_and_inside_of_a_mistake_tinted(drawn):
    _, _, picture = drawn
    page = picture[-800:]
    assert (page[140, 200] == 255).all()
    assert page[460, 200, 0] < page[460, 200, 2] < 255 and page[700, 200, 2] < page[700, 200, 0] <= 255


def test_the_sheet_of_worst_pages_has_a_cell_for_each(drawn):
    pages, detections, _ = drawn
    sheet = worst_pages(pages, detections, wide=100)
    assert sheet.shape[1] == 100 + 2 * 8 and sheet.shape[0] > 200
    right = Detections.sorted(1, [0, 0], pages.objects.boxes, pages.objects.classes, [0.9, 0.9])
    assert worst_pages(pages, right) is None
