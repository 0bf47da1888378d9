"""Drawings that a detector takes for tables are told from tables, whatever these have in their cells."""

from __future__ import annotations

import cv2
import pytest

from densessl.documents.parsing.drawings import is_drawing
from densessl.documents.parsing.tables.table import read_table
from tests.documents.parsing.drawn import SCALE, TEXTS, Sheet, bbox_of, filled, grid

BOX = (20.0, 20.0, 340.0, 200.0)


def drawing(sheet, box=BOX):
    x0, y0, x1, y1 = box
    own = [word for word in sheet.words if x0 <= word.bbox[0] and word.bbox[2] <= x1 and y0 <= word.bbox[1] <= y1]
    return is_drawing(sheet.picture, box, own, SCALE, lambda: read_table(own, box, sheet.picture, SCALE))


def stroke(sheet, *points):
    """A thin line from each of these points to the next."""
    places = [tuple(round(each * SCALE) for each in point) for point in points]
    for a, b in zip(places, places[1:], strict=False):
        cv2.line(sheet.picture, a, b, (0, 0, 0), 1, cv2.LINE_AA)


def frame(sheet, x0, y0, x1, y1, text=""):
    for y in (y0, y1):
        sheet.across(y, x0, x1)
    for x in (x0, x1):
        sheet.upright(x, y0, y1)
    if text:
        sheet.write((x0 + x1) / 2, (y0 + y1) / 2 - 5, text, "centre")


def boxes_and_arrows():
    sheet = Sheet()
    for x, y, text in ((40, 30, "start"), (240, 30, ""), (40, 140, ""), (240, 140, "end")):
        frame(sheet, x, y, x + 80, y + 40, text)
    stroke(sheet, (120, 50), (240, 160))
    stroke(sheet, (240, 50), (120, 160))
    return sheet


def test_boxes_with_arrows_between_them_are_drawn():
    assert drawing(boxes_and_arrows())


def test_lines_that_end_anywhere_are_drawn():
    sheet = Sheet()
    for x, y in ((60, 60), (150, 110), (240, 70), (300, 150)):
        sheet.upright(x, y - 25, y + 25)
        sheet.across(y, x - 25, x + 25)
    sheet.write(70, 40, "zj")
    sheet.write(250, 150, "zk")
    assert drawing(sheet)


def test_a_curve_without_words_is_drawn():
    sheet = Sheet()
    frame(sheet, 20, 20, 340, 200)
    cv2.ellipse(sheet.picture, (360, 220), (200, 120), 0, 0, 300, (0, 0, 0), 2)
    assert drawing(sheet)


def test_running_text_with_something_drawn_in_it_is_none():
    sheet = boxes_and_arrows()
    for row in range(12):
        sheet.write(22, 24 + 14 * row, "and so on to the end of all of this line")
    assert not drawing(sheet)


@pytest.mark.parametrize("bold", [True, False])
def test_tables_with_and_without_lines_are_none(bold):
    for lines in (False, True):
        sheet = filled(bold)
        if lines:
            grid(sheet)
        assert not drawing(sheet, bbox_of())


@pytest.mark.parametrize("degrees", [-2.0, -1.0, 0.0, 1.0, 2.0])
def test_a_form_whose_cells_are_empty_is_none_even_if_it_is_turned_a_little(degrees):
    sheet = filled(texts=[TEXTS[0], ["", "", ""], ["", "", ""], ["", "", ""], ["", "", ""]])
    grid(sheet)
    assert not drawing(sheet.turned(degrees), (10.0, 10.0, 350.0, 125.0))


def test_a_table_with_gaps_in_its_lines_is_none():
    sheet = filled(texts=[TEXTS[0], ["", "", ""], ["", "", ""], ["", "", ""], ["", "", ""]])
    grid(sheet)
    assert not drawing(sheet.noisy(broken=40), bbox_of())


def test_a_picture_in_a_cell_of_a_table_of_words_leaves_it_a_table():
    sheet = filled()
    grid(sheet)
    stroke(sheet, (145, 60), (160, 72), (175, 58), (190, 72))
    assert not drawing(sheet, bbox_of())


def test_a_place_off_the_page_or_without_any_size_is_no_drawing():
    for box in ((500.0, 500.0, 600.0, 600.0), (20.0, 20.0, 20.0, 20.0), (-50.0, -50.0, -10.0, -10.0)):
        assert not drawing(Sheet(), box)
