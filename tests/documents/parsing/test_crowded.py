"""Pages with more on them than a page has: maps, drawings, what a converter has got wrong. They take seconds at most,
where comparing each thing with every other would take minutes."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from densessl.documents.parsing.layout.leaders import are_pages, rows_of
from densessl.documents.parsing.layout.listings import listings
from densessl.documents.parsing.layout.missed import clusters
from densessl.documents.parsing.layout.order import by_columns, gutters, reading_order
from densessl.documents.parsing.layout.paragraphs import items
from densessl.documents.parsing.layout.pieces import Piece, by_surroundings
from densessl.documents.parsing.layout.structure import Region, blocks_of
from densessl.documents.parsing.layout.together import whole_headings
from densessl.documents.parsing.model import Line, Word
from tests.documents.parsing.setting import line

LIMIT = 120.0  # seconds, of a slow machine


def alone(text, x, y, **about):
    words = line(text, x, y, **about)
    return Line(words, (words[0].bbox[0], y, words[-1].bbox[2], words[0].bbox[3]))


def scattered(count, width, height):
    chance = random.Random(count)
    corners = [(chance.uniform(0, 590 - width), chance.uniform(0, 790 - height)) for _ in range(count)]
    return [(x, y, x + chance.uniform(0.5, 1) * width, y + chance.uniform(0.5, 1) * height) for x, y in corners]


def ragged_columns():
    """A region of text around two columns, their lines at heights of their own and of any length."""
    chance, size = random.Random(0), 0.6
    words = [
        Word("word", (x, y, x + chance.uniform(100, 230), y + size), size)
        for x in (50.0, 300.0)
        for y in (60 + 0.7 * row + chance.uniform(0, 0.1) + x / 1000 for row in range(1_000))
    ]
    return sum(len(each.lines) for each in blocks_of([Region((40, 50, 560, 760), "Text", 0.9)], words, 600, 800, 1))


def small_boxes():
    return len(by_columns(scattered(10_000, 20, 8)))


def boxes_over_each_other():
    return len(by_columns(scattered(500, 500, 2)))


def boxes_within_each_other():
    return len(by_columns([(each / 4, each / 4, 600 - each / 4, 800 - each / 3) for each in range(600)]))


def blocks_and_notes():
    return len(reading_order(scattered(10_000, 20, 8), ["text", "footnote"] * 5_000, 600))


def regions():
    return len(gutters(scattered(4_000, 20, 8)) + [None] * 4_000)


def numbers():
    chance = random.Random(0)
    groups = [[alone(str(chance.randrange(10, 999)), *box[:2], size=5.0)] for box in scattered(8_000, 20, 8)]
    found, left = clusters(groups, 10.0)
    return sum(len(lines) for _, lines in found) + sum(map(len, left))


def items_of_a_list():
    markers = [f"{number % 999 + 1}." for number in range(10_000)]
    return sum(
        len(part) for _, part in items([alone(f"{each} item", 50, 12.0 * y) for y, each in enumerate(markers)], False)
    )


def rows_of_a_program():
    return sum(map(len, listings([alone("x = f(y);", 50, 12.0 * row, pitch=5.0) for row in range(20_000)], 10.0)))


def pieces(count, kinds, texts):
    chance = random.Random(0)
    lines = [alone(chance.choice(texts), *box[:2], size=6.0) for box in scattered(count, 20, 8)]
    return [Piece(chance.choice(kinds), [each], each.bbox) for each in lines]


def headings():
    return sum(len(each.lines) for each in whole_headings(pieces(8_000, ["heading", "text"], ["Heading"])))


def marks_and_items():
    kinds, texts = ["text", "list_item", "footnote"], ["1", "2", "(1)", "word", "\u2022 item"]
    found = by_surroundings(pieces(20_000, kinds, texts), [], 8.0, 800.0)
    return sum(len(line.words) - (line.text == "\u2022 item") for each in found for line in each.lines)


def a_word_of_dots():
    words = line(f"{300_000 * '.'}x ... 3", 60, 100, confidence=0.9)
    return sum(len(word.text) for row in rows_of(words, 10.0) for word in (*row.words, *row.pages))


def a_word_of_roman_numerals():
    words = line(f"{'I-' * 100}!", 60, 100)
    return len(words[0].text) - are_pages(words)


PAGES = {
    ragged_columns: 2_000,
    small_boxes: 10_000,
    boxes_over_each_other: 500,
    boxes_within_each_other: 600,
    blocks_and_notes: 10_000,
    regions: 4_000,
    numbers: 8_000,
    items_of_a_list: 10_000,
    rows_of_a_program: 20_000,
    headings: 8_000,
    marks_and_items: 20_000,
    a_word_of_dots: 300_002,
    a_word_of_roman_numerals: 201,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.__name__)
def test_a_crowded_page_ends_and_nothing_of_it_is_lost(page):
    said = f"from {__name__} import {page.__name__} as page; print(page())"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, cwd=root, timeout=LIMIT)
    assert done.stdout.strip() == str(PAGES[page]), done.stderr
