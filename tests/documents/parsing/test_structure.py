import random
from collections import Counter

import pytest

from densessl.documents.parsing.layout.lines import union
from densessl.documents.parsing.layout.structure import Region, blocks_of, type_of
from densessl.documents.parsing.model import TYPES, Word
from tests.documents.parsing.setting import PROSE, column, line, shuffled

WIDTH, HEIGHT = 600.0, 800.0


def around(words, by=2.0):
    x0, y0, x1, y1 = union(word.bbox for word in words)
    return x0 - by, y0 - by, x1 + by, y1 + by


def region(words, label="Text", score=0.9, by=2.0):
    return Region(around(words, by), label, score)


def parsed(regions, words):
    blocks = blocks_of(shuffled(list(regions)), shuffled(words), WIDTH, HEIGHT, 3)
    found = Counter(id(word) for block in blocks for each in block.lines for word in each.words)
    assert found == Counter(map(id, words))  # nothing is lost or doubled
    assert [block.id for block in blocks] == [f"p3b{number}" for number in range(1, len(blocks) + 1)]
    return blocks


@pytest.mark.parametrize(
    "label, kind",
    [
        ("List-item", "list_item"),
        ("Section-header", "heading"),
        ("section_header", "heading"),
        ("PAGE FOOTER", "page_footer"),
        ("Picture", "figure"),
        ("figure", "figure"),
        ("list", "list_item"),
        ("Formula", "formula"),
        ("Stamp", "other"),
    ],
)
def test_labels_of_docLayNet_and_pubLayNet_are_known_however_they_are_written(label, kind):
    assert type_of(label) == kind and kind in TYPES


@pytest.mark.parametrize("seed", range(8))
def test_each_word_is_in_exactly_one_block_whatever_the_regions(seed, rng_words):
    random.seed(seed)
    labels = ["Text", "Table", "Picture", "List-item", "Caption", "Formula", "Title", "Page-header", "Footnote", "odd"]
    regions = []
    for _ in range(30):
        x, y = random.uniform(-20, 550), random.uniform(-20, 750)
        box = (x, y, x + random.uniform(0, 400), y + random.uniform(0, 300))
        regions.append(Region(box, random.choice(labels), random.random()))
    parsed(regions, rng_words)


def test_a_region_gets_the_box_of_its_words_and_keeps_what_the_detector_said():
    words = column(PROSE, 50, 100)
    (block,) = parsed([Region((40, 80, 590, 170), "Text", 0.7, ("Title", 0.2))], words)
    assert block.bbox == union(word.bbox for word in words)
    assert (block.type, block.label, block.score, block.second) == ("text", "Text", 0.7, ("Title", 0.2))
    assert block.text == " ".join(PROSE)


def test_an_unknown_label_is_kept():
    (block,) = parsed([Region((0, 0, 600, 800), "Stamp", 0.7)], column(PROSE, 50, 100))
    assert (block.type, block.label) == ("other", "Stamp")


def test_of_doubles_the_best_remains_with_the_other_as_its_second():
    words = column(PROSE, 50, 100)
    (block,) = parsed([region(words, "Text", 0.9), region(words, "List-item", 0.6, by=4)], words)
    assert (block.label, block.second) == ("Text", ("List-item", 0.6))


def test_words_in_two_regions_one_in_the_other_are_of_the_inner_one():
    head, text = line("A heading here", 50, 100, bold=True), column(PROSE, 50, 115)
    blocks = parsed([region(head, "Section-header", 0.6), region(head + text, "Text", 0.9)], head + text)
    assert [(block.type, block.text) for block in blocks] == [("heading", "A heading here"), ("text", " ".join(PROSE))]


def test_overlapping_neighbours_share_at_the_middle_and_never_within_a_line():
    upper, lower = column(PROSE, 50, 100), column(PROSE[::-1], 50, 166)
    first, second = region(upper, by=2), Region((40, 155, 400, 230), "Text", 0.8)
    assert [block.text for block in parsed([first, second], upper + lower)] == [" ".join(PROSE), " ".join(PROSE[::-1])]


def test_text_in_a_figure_stays_with_it_and_a_table_keeps_its_own():
    words = column(PROSE, 100, 100)
    for holder, kind in (("Picture", "figure"), ("Table", "table")):
        (block,) = parsed([Region((50, 50, 500, 300), holder, 0.8), region(words[:9], "Text", 0.9)], words)
        assert block.type == kind and block.bbox == (50, 50, 500, 300)


def test_a_doubtful_figure_around_sure_texts_is_none():
    words = column(PROSE, 100, 100)
    (block,) = parsed([Region((50, 50, 500, 300), "Picture", 0.55), region(words, "Text", 0.95)], words)
    assert block.type == "text"


def test_bold_lines_of_their_own_within_a_text_are_headings():
    above, below = [*PROSE[:3], "and ends."], PROSE[3:]
    words = column(above, 50, 100) + line("What follows", 50, 148, bold=True) + column(below, 50, 160)
    blocks = parsed([region(words)], words)
    assert [(block.type, block.text) for block in blocks] == [
        ("text", " ".join(above)),
        ("heading", "What follows"),
        ("text", " ".join(below)),
    ]


def test_a_larger_line_at_the_top_of_a_text_is_its_heading():
    words = line("2.1 What follows", 50, 96, size=14) + column(PROSE, 50, 116)
    heading, text = parsed([region(words)], words)
    assert [(heading.type, heading.text), (text.type, text.text)] == [
        ("heading", "2.1 What follows"),
        ("text", " ".join(PROSE)),
    ]


def test_bold_words_within_a_paragraph_and_at_its_end_are_text():
    words = column(PROSE[:2], 50, 100) + line("without any rest", 50, 124, bold=True)
    inner = column(PROSE[:2], 50, 300) + line(PROSE[2], 50, 324, bold=True) + column(PROSE[3:], 50, 336)
    blocks = parsed([region(words), region(inner)], words + inner)
    assert [block.type for block in blocks] == ["text", "text"]


def test_what_begins_with_a_bullet_or_a_small_letter_and_looks_like_text_is_no_heading():
    words = (
        line("• one of them", 50, 100),
        line("which leads to this", 50, 130),
        line("And a heading", 50, 160, bold=True),
    )
    text = column(PROSE, 50, 200)
    regions = [*(region(each, "Section-header") for each in words), region(text)]
    blocks = parsed(regions, [word for each in words for word in each] + text)
    assert [block.type for block in blocks] == ["list_item", "text", "heading", "text"]
    assert (blocks[0].marker, blocks[0].text) == ("•", "one of them")


def test_a_caption_within_a_figures_box_remains_a_caption():
    words = line("Figure 1: what it shows", 100, 280)
    figure, caption = parsed([Region((50, 50, 500, 300), "Picture", 0.9), region(words, "Caption")], words)
    assert (caption.type, caption.of) == ("caption", figure.id)


def test_captions_are_of_the_nearest_fitting_table_or_figure():
    table, figure = Region((50, 130, 550, 250), "Table", 0.9), Region((50, 280, 550, 400), "Picture", 0.9)
    words = line("Table 1. Numbers", 50, 115), line("Figure 1. A picture", 50, 405), line("1 2 3", 60, 140)
    regions = [table, figure, region(words[0], "Caption"), region(words[1], "Caption")]
    blocks = parsed(regions, [word for each in words for word in each])
    kinds = {block.id: block.type for block in blocks}
    assert [kinds[block.of] for block in blocks if block.type == "caption"] == ["table", "figure"]


def test_a_footnote_is_of_the_block_with_its_raised_mark():
    text, other = column(PROSE, 50, 100), column(PROSE[::-1], 50, 200)
    end = other[-1].bbox[2]
    mark = Word("2", (end, 246, end + 3, 252), 6.0)
    note = line("2 What it says", 50, 700, size=8)
    blocks = parsed(
        [region(text), region([*other, mark], by=1), region(note, "Footnote")], [*text, *other, mark, *note]
    )
    assert blocks[-1].type == "footnote" and blocks[-1].of == blocks[1].id


def test_words_that_the_detector_missed_make_blocks_of_their_own_by_size_and_place():
    words = [
        line("Annual report", 50, 30),
        line("Results of the year", 50, 80, size=18),
        column(PROSE, 50, 130),
        [word for row in range(3) for word in line(f"• item number {row}", 60, 220 + 14 * row)],
        line("17", 290, 770),
    ]
    blocks = parsed([], [word for each in words for word in each])
    assert [block.type for block in blocks] == ["page_header", "heading", "text", *["list_item"] * 3, "page_footer"]
    assert all(block.label is None and block.score is None for block in blocks)


def test_a_last_line_that_the_detector_cut_off_goes_back_to_its_paragraph():
    words = column(PROSE, 50, 100)
    (block,) = parsed([Region((48, 98, 400, 145), "Text", 0.9)], words)
    assert block.text == " ".join(PROSE)


def test_words_that_reach_out_of_a_region_are_of_its_lines():
    words = column(PROSE, 50, 100)
    (block,) = parsed([Region((48, 98, 230, 160), "Text", 0.9)], words)
    assert block.text == " ".join(PROSE)


@pytest.mark.parametrize("marks", [["•"] * 3, ["1.", "2.", "3."], ["(a)", "(b)", "(c)"], ["iv.", "v.", "vi."]])
def test_a_list_in_one_region_is_parted_at_its_markers(marks):
    words = [
        word
        for row, mark in enumerate(marks)
        for word in line(mark, 50, 100 + 24 * row)
        + line("one item that is", 65, 100 + 24 * row)
        + line("so long", 65, 112 + 24 * row)
    ]
    for label in ("list", "Text"):
        blocks = parsed([region(words, label)], words)
        assert [(block.type, block.marker, block.text) for block in blocks] == [
            ("list_item", mark, "one item that is so long") for mark in marks
        ]


def test_a_text_whose_line_begins_like_an_item_is_no_list():
    words = column(
        ["which was seen in the year of Section", "2. It was the best of times and", "the worst of"], 50, 100
    )
    (block,) = parsed([region(words)], words)
    assert block.type == "text" and block.marker is None


def test_the_number_of_a_heading_stays_in_its_text():
    words = line("1.2 The method", 50, 100)
    (block,) = parsed([region(words, "Section-header")], words)
    assert (block.type, block.text, block.marker) == ("heading", "1.2 The method", None)


def test_two_paragraphs_in_a_region_are_two_blocks():
    first = column([*PROSE[:3], "the end."], 50, 100)
    second = line(PROSE[0], 62, 148) + column(PROSE[1:3], 50, 160)
    blocks = parsed([region(first + second)], first + second)
    assert [block.text for block in blocks] == [" ".join([*PROSE[:3], "the end."]), " ".join(PROSE[:3])]


def test_a_region_over_two_columns_is_parted_at_the_gutter():
    left, right = column(PROSE, 50, 100), column(PROSE[::-1], 310, 100)
    blocks = parsed([region(left + right)], left + right)
    assert [block.text for block in blocks] == [" ".join(PROSE), " ".join(PROSE[::-1])]


def test_without_words_regions_are_all_there_is():
    blocks = parsed([Region((50, 50, 500, 90), "Title", 0.9), Region((50, 100, 500, 300), "Text", 0.8)], [])
    assert [(block.type, block.text, block.lines) for block in blocks] == [("title", "", []), ("text", "", [])]


def test_an_empty_page_has_no_blocks():
    assert parsed([], []) == []


def test_a_text_whose_words_a_better_one_took_is_dropped():
    words = column(PROSE, 50, 100)
    thin = Region((45, 95, 400, 118), "Text", 0.5)
    assert len(parsed([region(words), thin], words)) <= 2
    assert len(parsed([region(words, by=1), Region((30, 60, 420, 200), "Text", 0.5)], words)) == 1


def test_the_numbers_of_lines_in_the_margin_are_one_block_beside_the_text():
    words = column([f"{each} {each}" for each in PROSE], 100, 100)
    numbers = [word for row in range(5) for word in line(str(row + 9), 75 - 3 * (row > 0), 102 + 12 * row, size=6)]
    text, counted = parsed([region(words)], words + numbers)
    assert (text.type, counted.type, counted.text) == ("text", "other", "9 10 11 12 13")


def test_a_line_of_contents_keeps_its_number_and_the_page_that_dots_lead_to():
    words = []
    for row in range(5):
        number, name = line(str(row + 1), 50, 100 + 14 * row), line("Part of it", 70, 100 + 14 * row)
        dots, page = line(". . . .", 128, 100 + 14 * row), line(str(3 * row), 170, 100 + 14 * row)
        words += number + name + dots + page
    texts = [each.text for block in parsed([], words) for each in block.lines]
    assert texts == [f"{row + 1} Part of it . . . . {3 * row}" for row in range(5)]


def test_lines_set_apart_that_count_on_are_a_list_though_nothing_found_them():
    words = column(PROSE[:4], 60, 100)
    steps = ["1. find the blocks,", "2. find the words,", "3. put them in order."]
    for row, text in enumerate(steps):
        words += line(text, 64, 180 + 24 * row)
    blocks = parsed([region(column(PROSE[:4], 60, 100))], words)
    listed = [block for block in blocks if block.type == "list_item"]
    assert [(block.marker, block.text) for block in listed] == [
        ("1.", "find the blocks,"),
        ("2.", "find the words,"),
        ("3.", "put them in order."),
    ]


def test_a_number_beside_a_figure_is_of_its_axis_and_a_line_of_text_there_is_not():
    text, tick, beside = (
        column(PROSE[:5], 60, 100),
        line("60", 420, 380, size=7),
        line("A remark that is longer", 60, 430),
    )
    figure = Region((100, 200, 400, 400), "Picture", 0.9)
    blocks = parsed([region(text), figure], text + tick + beside)
    (found,) = (block for block in blocks if block.type == "figure")
    assert found.text == "60" and found.bbox[2] >= 427
    assert any("remark" in block.text and block.type != "figure" for block in blocks)


@pytest.mark.parametrize(
    "text, top, kind",
    [
        ("1 A note to what is said above it", 560, "footnote"),
        ("Nothing that is a note", 560, "text"),
        ("Printed in the year of the flood", 770, "page_footer"),
    ],
)
def test_a_footer_in_the_middle_of_a_page_is_a_note_or_a_text(text, top, kind):
    prose, words = column(PROSE[:4], 60, 100), line(text, 60, top, size=8)
    blocks = parsed([region(prose), region(words, "Page-footer")], prose + words)
    assert blocks[-1].type == kind


@pytest.mark.parametrize("bold, kind", [(False, "text"), (True, "heading")])
def test_a_heading_that_looks_like_text_and_ends_with_a_colon_is_text(bold, kind):
    prose, words = column(PROSE[:4], 60, 100), line("Four steps lead there:", 60, 200, bold=bold)
    blocks = parsed([region(prose), region(words, "Section-header")], prose + words)
    assert blocks[-1].type == kind


def test_lines_that_dots_lead_through_to_a_number_are_paragraphs_of_their_own():
    words = column(
        ["1.1 On rivers . . . . . 6", "1.2 On lakes . . . . . . 7", "What follows is none, it ends with 8"],
        60,
        100,
    )
    assert [block.text[:6] for block in parsed([region(words)], words)] == ["1.1 On", "1.2 On", "What f"]


def indented(texts, x, y):
    return line(texts[0], x + 15, y) + column(texts[1:], x, y + 12)


def test_what_is_taken_for_an_item_without_a_mark_is_a_text():
    words = [indented(PROSE, 50, top) for top in (100, 200)]
    blocks = parsed([region(each, "List-item") for each in words], [word for each in words for word in each])
    assert [block.type for block in blocks] == ["text", "text"]


def test_items_without_a_mark_that_stand_together_or_among_others_are_items():
    words = [column(PROSE[:2], 70, top) for top in (100, 140, 180)]
    marked = line("-", 58, 180)
    blocks = parsed([region(each, "List-item") for each in words], [word for each in (*words, marked) for word in each])
    assert [block.type for block in blocks] == ["list_item"] * 3


def test_a_page_of_text_on_its_side_is_no_running_header():
    words = [
        Word(word.text, (each, word.bbox[0], each + 10, word.bbox[2]), 10.0)
        for each in (100, 120, 140)
        for word in line(PROSE[0], 50, 0)
    ]
    (block,) = parsed([region(words, "Picture", 0.5)], words)
    assert block.type != "page_header"
