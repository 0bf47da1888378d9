"""Tables in frames below each other that were found as one."""

from __future__ import annotations

import numpy as np

from densessl.documents.parsing.tables.framed import parts_of
from tests.documents.parsing.drawn import SCALE, Sheet

BOX = (20.0, 20.0, 400.0, 300.0)


def frame(sheet, top, rows=2, left=30, right=390):
    for row in range(rows + 1):
        sheet.across(top + 20 * row, left, right)
    for x in (left, (left + right) / 2, right):
        sheet.upright(x, top, top + 20 * rows)
    for row in range(rows):
        for x in (left + 5, (left + right) / 2 + 5):
            sheet.write(x, top + 5 + 20 * row, "cell")


def parts(sheet):
    return parts_of(sheet.picture, BOX, sheet.words, SCALE)


def test_frames_with_a_heading_between_are_tables_each():
    sheet = Sheet()
    frame(sheet, 40)
    sheet.write(30, 95, "B. Further data")
    frame(sheet, 120, rows=3)
    assert np.allclose(parts(sheet), [(30, 40, 390, 80), (30, 120, 390, 180)], atol=1.5)


def test_one_frame_and_frames_without_anything_between_are_one_table():
    lone, near = Sheet(), Sheet()
    frame(lone, 40)
    lone.write(30, 95, "B. Further data")
    frame(near, 40)
    frame(near, 100)
    assert parts(lone) == parts(near) == [BOX]


def test_lines_of_a_table_without_uprights_are_no_frames():
    sheet = Sheet()
    for y in (40, 60, 80, 120, 140, 160):
        sheet.across(y, 30, 390)
    sheet.write(30, 95, "B. Further data")
    assert parts(sheet) == [BOX]


def test_rows_outside_of_frames_make_up_a_table_of_their_own():
    sheet = Sheet()
    for y in (30, 45):
        sheet.write(30, y, "name")
        sheet.write(220, y, "place")
    frame(sheet, 80)
    sheet.write(30, 135, "B. Further data")
    frame(sheet, 160)
    first, *frames = parts(sheet)
    assert first == (30, 30, 245, 54) and len(frames) == 2
