"""Where a region has several paragraphs, items or headings, and where several regions have but one."""

from __future__ import annotations

import pytest

from densessl.documents.parsing.layout.text import marker_of
from tests.documents.parsing.setting import PROSE, column, line
from tests.documents.parsing.test_structure import parsed, region


def texts(blocks):
    return [(block.type, block.marker, block.text) for block in blocks]


@pytest.mark.parametrize("marks", [("•", "•"), ("1)", "2)"), ("-", "-")])
def test_an_item_that_was_not_found_does_not_go_on_with_the_item_above_it(marks):
    words = column([f"{marks[0]} the quick brown fox jumps", f"{marks[1]} over the lazy dog and runs"], 60, 100)
    upper = [word for word in words if word.bbox[1] < 110]
    found = texts(parsed([region(upper, "List-item")], words))
    assert found == [
        ("list_item", marks[0], "the quick brown fox jumps"),
        ("list_item", marks[1], "over the lazy dog and runs"),
    ]


def test_an_indented_line_that_was_not_found_does_not_go_on_with_the_text_above_it():
    text = column([*PROSE[:4], "and back again by another way in the night."], 60, 100)
    words = [*text, *line("Then it came to the river and saw", 72, 160)]
    assert len(parsed([region(text)], words)) == 2


@pytest.mark.parametrize("sign", [">", "\ufffd", "→"])
def test_signs_that_text_may_begin_with_mark_items_where_there_are_two_below_each_other(sign):
    words = column([f"{sign} the quick brown fox", f"{sign} jumps over the dog"], 60, 100)
    assert [block.marker for block in parsed([region(words)], words)] == [sign, sign]
    assert [block.marker for block in parsed([region(words[:5])], words[:5])] == [None]


@pytest.mark.parametrize("code", ["> qf(0.01, 2, 7)", "> name <- function(a, b)", "> cat x | sort"])
def test_a_prompt_with_a_command_marks_no_item(code):
    assert marker_of(code) is None and marker_of("> the quick brown fox") == ">"


def test_an_item_begins_where_a_sentence_ends_before_a_mark_that_counts_on_from_nothing():
    words = column(["- the quick brown fox jumps.", "(e) Over the lazy dog"], 60, 100)
    assert [block.marker for block in parsed([region(words, "List-item")], words)] == ["-", "(e)"]


def test_a_text_that_counts_on_from_an_item_is_one():
    items = [column([f"{number}. the quick brown fox", "jumps over it"], 60, 100 + 40 * number) for number in (1, 2, 3)]
    labels = ("List-item", "Text", "List-item")
    regions = [region(item, label) for item, label in zip(items, labels, strict=True)]
    assert [block.marker for block in parsed(regions, sum(items, []))] == ["1.", "2.", "3."]


def test_two_paragraphs_of_two_lines_are_parted_by_the_indentation_of_the_second():
    ends = ["runs far away.", "winding road."]
    words = [
        *line(PROSE[0], 72, 100),
        *line(ends[0], 60, 112),
        *line(PROSE[2], 72, 124),
        *line(ends[1], 60, 136),
    ]
    assert [block.text for block in parsed([region(words)], words)] == [
        f"{PROSE[0]} {ends[0]}",
        f"{PROSE[2]} {ends[1]}",
    ]


def test_lines_that_hang_below_the_first_of_an_entry_are_of_it():
    words = [
        *line("Miller, A. and Smith, B. Of foxes and of dogs.", 60, 100),
        *line("London 1999, by the river.", 72, 112),
    ]
    assert len(parsed([region(words)], words)) == 1


@pytest.mark.parametrize("end, count", [("in the night.", 2), ("in the night and", 1)])
def test_a_little_more_space_parts_paragraphs_where_a_short_line_ends_a_sentence(end, count):
    words = [*column([*PROSE[:3], end], 60, 100), *column(PROSE[:2], 60, 152)]  # 16 points from line to line, not 12
    assert len(parsed([region(words)], words)) == count


@pytest.mark.parametrize("first", ["4.2.1 On foxes and dogs", "On foxes and dogs"])
def test_a_short_line_that_is_numbered_or_in_italics_heads_the_text_below_it(first):
    head = line(first, 60, 100, italic=not first[0].isdigit())
    words = [*head, *column(["The quick brown fox jumps over the lazy dog and", *PROSE[1:3]], 60, 112)]
    head, text = parsed([region(words)], words)
    assert (head.type, head.text, text.type) == ("heading", first, "text")


@pytest.mark.parametrize(
    "first, second",
    [
        ("On foxes and dogs", "The quick brown fox jumps over the lazy dog"),
        ("4.2.1 On foxes and dogs", "the quick brown fox jumps over the lazy dog"),
        ("4.2.1 The quick brown fox jumps over the lazy", "Dog and goes on"),
        ("3.2.2 On foxes that a person may have at home", "I and others . . . . . . . . . . . . 12"),
    ],
)
def test_other_lines_head_nothing(first, second):
    words = column([first, second, *PROSE[1:2]][: 2 if "." in second else 3], 60, 100)
    assert parsed([region(words)], words)[0].text.startswith(f"{first} {second}")


def heading(lines, size=20.0, pitch=24.0, labels=("Title", "Section-header")):
    rows = [line(text, 60, 100 + pitch * row, size) for row, text in enumerate(lines)]
    words = sum(rows, [])
    text = column(PROSE, 60, 300)
    return parsed([*map(region, rows, labels), region(text)], [*words, *text])


@pytest.mark.parametrize("labels", [("Title", "Section-header"), ("Section-header", "Title"), ("Title", "Text")])
def test_a_heading_whose_lines_were_found_one_by_one_is_one(labels):
    first, text = heading(["Getting and installing", "the system"], labels=labels)
    assert (first.type, first.text, text.type) == ("title", "Getting and installing the system", "text")


@pytest.mark.parametrize(
    "lines, pitch",
    [(["Getting", "2 Installing"], 24), (["Getting it.", "Installing"], 24), (["Getting", "Installing"], 40)],
)
def test_headings_are_two_where_a_number_or_a_sentence_or_much_space_is_between(lines, pitch):
    assert len(heading(lines, pitch=pitch)) == 3


def test_items_to_be_ticked_are_read_row_by_row():
    places = [(x, y) for y in (140, 154, 168) for x in (60, 320)]
    items = [line(f"☐ option {number}", x, y) for number, (x, y) in enumerate(places)]
    heads = [line("first question", 60, 120, bold=True), line("second question", 60, 190, bold=True)]
    regions = [*(region(head, "Section-header") for head in heads)]
    words = sum([*items, *heads], [])
    found = [block.text for block in parsed(regions, words)]
    assert found == ["first question", *(f"option {number}" for number in range(6)), "second question"]
