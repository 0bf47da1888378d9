"""Boxes to be ticked that are drawn before words, and what is written of them."""

from __future__ import annotations

import cv2
import lxml.html
import pytest

from densessl.documents.parsing.layout.regions import Region
from densessl.documents.parsing.layout.text import BOXES
from densessl.documents.parsing.look import _stands
from densessl.documents.parsing.model import Block, Word
from densessl.documents.parsing.ticks import ticks
from tests.documents.parsing.drawn import SCALE, Sheet
from tests.documents.parsing.test_writers_text import page_of, written


def square(sheet, x, y, side=8.0, ticked=False):
    for place in (y, y + side):
        sheet.across(place, x, x + side)
    for place in (x, x + side):
        sheet.upright(place, y, y + side)
    if ticked:
        ends = [
            tuple(round(SCALE * each) for each in point) for point in ((x + 1, y + 1), (x + side - 1, y + side - 1))
        ]
        cv2.line(sheet.picture, *ends, (0, 0, 0), 2)


def signs(sheet):
    return [(word.text, round(word.bbox[1])) for word in found(sheet)]


def found(sheet):
    return sorted(ticks(sheet.picture, sheet.words, SCALE), key=lambda word: word.bbox[1])


def test_squares_before_words_are_boxes_with_a_tick_or_without():
    sheet = Sheet()
    for row, ticked in enumerate((False, True, False)):
        sheet.write(60, 40 + 20 * row, "an option")
        square(sheet, 45, 40 + 20 * row, ticked=ticked)
    assert signs(sheet) == [(BOXES[0], 40), (BOXES[-1], 60), (BOXES[0], 80)]


def test_a_box_in_the_frame_of_a_table_is_one():
    sheet = Sheet()
    square(sheet, 20, 20, 200)
    square(sheet, 45, 40)
    sheet.write(60, 40, "an option")
    assert signs(sheet) == [(BOXES[0], 40)]


@pytest.mark.parametrize("x, y, side", [(45, 70, 8), (10, 40, 8), (20, 30, 30), (56, 43, 2), (120, 40, 8)])
def test_squares_elsewhere_and_of_other_sizes_are_none(x, y, side):
    sheet = Sheet()
    sheet.write(60, 40, "an option")
    square(sheet, x, y, side)
    assert not found(sheet)


def test_bullets_rings_and_letters_are_none():
    sheet = Sheet()
    for y in (40, 60, 80):
        sheet.write(60, y, "an item")
    sheet.fill((45, 40, 53, 48), 0)
    cv2.circle(sheet.picture, (98, 128), 8, (0, 0, 0), 1)
    sheet.words.append(Word("D", (45, 80, 53, 88), 9.0))
    square(sheet, 45.5, 80.5, 6.5)
    assert not found(sheet)


def test_a_page_without_words_or_without_ink_has_none():
    empty, lone = Sheet(), Sheet()
    square(lone, 45, 40)
    assert not found(empty) and not found(lone)


def test_boxes_to_be_ticked_are_those_of_a_list_of_tasks(tmp_path):
    blocks = [
        Block(f"p1b{row}", "list_item", (50, 20.0 * row, 300, 20.0 * row + 10), text=f"[x] text {row}", marker=marker)
        for row, marker in enumerate("☐☑☒")
    ]
    said = written("md", tmp_path, [page_of(blocks)])
    assert [line for line in said.splitlines() if line.startswith("- ")] == [
        "- [ ] \\[x] text 0",
        "- [x] \\[x] text 1",
        "- [x] \\[x] text 2",
    ]
    items = lxml.html.fromstring(written("html", tmp_path, [page_of(blocks)])).iter("li")
    assert [item.text_content().strip()[0] for item in items] == ["☐", "☑", "☒"]


def test_items_to_be_ticked_in_rows_are_no_table_and_a_table_with_two_boxes_is_one():
    sheet = Sheet()
    for y in (40, 60, 80):
        for x in (60, 160, 260):
            sheet.write(x, y, "an option")
    region = Region((40, 35, 320, 95), "Table", 0.9)
    boxes = [Word(BOXES[0], (x - 15, y, x - 7, y + 8), 9.0) for y in (40, 60, 80) for x in (60, 160, 260)]
    assert _stands(region, sheet.words) and _stands(region, [*sheet.words, *boxes[:2]])
    assert not _stands(region, [*sheet.words, *boxes])
