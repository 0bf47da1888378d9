"""Tables of contents, lists of figures, indices, and what looks like them."""

from __future__ import annotations

from collections import Counter

import pytest
from reportlab.pdfbase.pdfmetrics import stringWidth

from densessl.data.pages import pdf
from densessl.documents.parsing.config import ParseConfig
from densessl.documents.parsing.layout.contents import Levels, entries
from densessl.documents.parsing.layout.lines import lines_of
from densessl.documents.parsing.layout.structure import Region, blocks_of
from densessl.documents.parsing.model import Word
from densessl.documents.parsing.run import parse
from densessl.documents.parsing.words import layer
from densessl.documents.parsing.writers import read
from densessl.progress import silent
from tests.documents.parsing.pdfs import drawn
from tests.documents.parsing.setting import LETTER, PROSE, column, line

PAGE = 500, 700
LEFT, RIGHT, SIZE, PITCH = 60.0, 440.0, 10.0, 14.0
SPACED, CLOSE = " .", "."  # leaders


class Pen:
    """Writes entries of contents from top to bottom."""

    def __init__(self, canvas, left=LEFT, right=RIGHT, leader=SPACED, top=60.0):
        self.canvas, self.left, self.right, self.leader, self.y = canvas, left, right, leader, top

    def entry(self, text, number="", indent=0.0, font="Helvetica", size=SIZE, leader=None, pitch=PITCH):
        """A title, leaders and a number of which the right edge is given; the last line of a title of several."""
        self.y += pitch
        leader = self.leader if leader is None else leader
        x, y = self.left + indent, PAGE[1] - self.y
        self.canvas.setFont(font, size)
        self.canvas.drawString(x, y, text)
        end = self.right - stringWidth(str(number), font, size)
        self.canvas.drawString(end, y, str(number))
        step = stringWidth(leader, font, size)
        start = x + stringWidth(text, font, size) + 4
        if leader and number != "":
            self.canvas.drawString(start, y, leader * int((end - 4 - start) / step))

    def line(self, text, indent=0.0, font="Helvetica", size=SIZE, pitch=PITCH):
        self.entry(text, "", indent, font, size, pitch=pitch)

    def prose(self, pitch=PITCH):
        for text in PROSE:
            self.line(text, pitch=pitch)


@pytest.fixture
def lines(tmp_path):
    """The lines of a page that a function draws."""

    def make(draw):
        return lines_of(layer(pdf.text(str(drawn(tmp_path / "page.pdf", draw, size=PAGE)), 0)))

    return make


def texts(lines):
    return [entry.text(set()) for entry in entries(lines)]


def levels(lines):
    told = Levels()
    return [told.of(entry.bbox, SIZE, 1) for entry in entries(lines)]


BOOK = [
    ("Preface", "ix", 0),
    ("1 Rivers", 1, 0),
    ("1.1 Springs", 2, 15),
    ("1.1.1 Cold ones", 2, 30),
    ("1.1.2 Hot ones", 5, 30),
    ("1.2 Mouths", 7, 15),
    ("2 Lakes, etc.", 12, 0),
    ("2.1 The deepest", 112, 15),
]


def book(leader=SPACED, **about):
    def draw(canvas):
        pen = Pen(canvas, leader=leader, **about)
        pen.line("Contents", font="Helvetica-Bold", size=16, pitch=0)
        for text, number, indent in BOOK:
            pen.entry(text, number, indent)

    return draw


@pytest.mark.parametrize("leader", [SPACED, CLOSE, " ·", "…", "_ .", ""])
def test_an_entry_is_its_title_and_its_page_whatever_leads_to_it(lines, leader):
    leader = leader.replace("_", " ").replace("·", "\u00b7").replace("…", "\u2026")
    assert texts(lines(book(leader))) == [f"{text} … {number}" for text, number, _ in BOOK]


@pytest.mark.parametrize("leader", [SPACED, ""])
def test_levels_are_those_of_the_indentation(lines, leader):
    assert levels(lines(book(leader))) == [1, 1, 2, 3, 3, 2, 1, 2]


def test_a_dot_in_step_with_the_leaders_is_none_of_the_title():
    words = []
    for row, off in enumerate([0, 0, 2.5, -2.5, 0, 1.5]):
        title = line(f"{row + 1}. Springs.", 60, 100 + 14 * row)
        first = title[-1].bbox[2] - LETTER * SIZE + 6 + off  # dots are 6 points from each other
        dots = [word for at in range(20) for word in line(".", first + 6 * at, 100 + 14 * row)]
        words += title + dots + line(str(row), first + 125, 100 + 14 * row)
    ends = [text.split(" … ")[0][-1] for text in texts(lines_of(words))]
    assert ends == ["s", "s", ".", ".", "s", "."]


def test_glued_dots_and_numbers_are_parted_though_the_words_stay():
    rows = ["Contents", "Springs........2", "Mouths...........11", "What", "Ends.........20"]
    found = entries(lines_of(column(rows, 60, 100)))
    assert [entry.text(set()) for entry in found] == ["Springs … 2", "Mouths … 11", "Ends … 20"]
    assert {word.text for entry in found for each in entry.lines for word in each.words} <= set(rows)


def test_what_an_engine_takes_leaders_for_is_no_part_of_a_title():
    rows = [
        "Contents",
        "1.1 Springs ...... 0. eee 2",
        "1.2 Scenes...... 11",
        "1.3 A cone? .. 2... 00 ee 14",
        "2 Ends......0 ce 20",
    ]
    words = column(rows, 60, 100, confidence=0.9)
    assert texts(lines_of(words)) == ["1.1 Springs … 2", "1.2 Scenes … 11", "1.3 A cone? … 14", "2 Ends … 20"]


def test_a_word_between_two_columns_of_entries_is_of_one_of_them():
    """It stands behind a title that goes on below, and before the title beside that."""
    words = []
    for left, number in ((50, 1), (230, 20)):
        for row in range(7):
            parts = [("Title", 0, 30), (9 * ".", 50, 140), (str(number + row), 145, 153)]
            parts = parts[:1] if (left, row) == (50, 3) else parts
            words += [Word(text, (left + x0, 100 + 14 * row, left + x1, 108 + 14 * row), 9) for text, x0, x1 in parts]
    between = Word("a", (203, 142, 211, 150), 9)
    found = entries(lines_of([*words, between]))
    own = Counter(id(word) for entry in found for each in entry.lines for word in each.words)
    assert own and max(own.values()) == 1


def test_chapters_without_dots_are_entries_among_sections_that_have_them(lines):
    def draw(canvas):
        pen = Pen(canvas)
        for chapter in range(1, 4):
            pen.entry(f"{chapter} Part", 10 * chapter, font="Helvetica-Bold", leader="", pitch=26)
            pen.entry(f"{chapter}.1 Of it", 10 * chapter, 15)
            pen.entry(f"{chapter}.2 And this", 10 * chapter + 4, 15)

    page = lines(draw)
    assert texts(page)[:3] == ["1 Part … 10", "1.1 Of it … 10", "1.2 And this … 14"]
    assert levels(page) == [1, 2, 2] * 3


def test_a_title_of_two_lines_is_one_entry(lines):
    long = "1.2 What a river that has no mouth of its own does with the water"

    def draw(canvas):
        pen = Pen(canvas)
        pen.entry("1 Rivers", 3)
        pen.entry("1.1 Springs", 4, 15)
        pen.line(long, 15)
        pen.entry("which it is given", 9, 40)
        pen.entry("1.2.1 Sinks", 10, 40)
        pen.entry("1.3 Mouths", 11, 15)

    page = lines(draw)
    assert texts(page)[2] == f"{long} which it is given … 9" and levels(page) == [1, 2, 2, 3, 2]


def test_a_heading_without_a_page_is_no_part_of_the_entry_below_it(lines):
    def draw(canvas):
        pen = Pen(canvas)
        for part in "AB":
            pen.line(f"Part {part}")
            pen.entry("Springs", 3 if part == "A" else 20, 15)
            pen.entry("Mouths", 5 if part == "A" else 23, 15)
            pen.entry("Deltas", 7 if part == "A" else 29, 15)

    assert texts(lines(draw))[0] == "Springs … 3"


WORDS = ["alder", "ash", "aspen", "beech", "birch, dwarf", "box", "cedar", "cherry", "elder", "elm", "fir", "hazel"]


def test_an_index_in_two_columns_has_one_entry_a_line_column_by_column(lines):
    pages = ["3, 17", "88", "4–6", "21, 22, 40", "9", "1", "70", "7", "66", "5", "2", "101"]

    def draw(canvas):
        for half, left in ((0, 60.0), (6, 260.0)):
            pen = Pen(canvas, left, left + 180, CLOSE, top=60 + half / 3)
            for text, number in list(zip(WORDS, pages, strict=True))[half : half + 6]:
                pen.entry(text, number, size=8)

    assert texts(lines(draw)) == [f"{text} … {number}" for text, number in zip(WORDS, pages, strict=True)]


@pytest.mark.parametrize("seed", range(3))
def test_a_page_full_of_entries_is_all_entries(lines, seed):
    numbers = sorted((7919 * (seed + 1) * each) % 900 for each in range(1, 46))

    def draw(canvas):
        pen = Pen(canvas, top=20)
        for each, number in enumerate(numbers):
            pen.entry(f"{each + 1} {PROSE[each % 5][: 10 + each]}", number, 12 * (each % 3))

    assert len(texts(lines(draw))) == 45


def several(canvas, rows, leader=SPACED, heading=None, **about):
    pen = Pen(canvas, leader=leader)
    if heading:
        pen.line(heading, font="Helvetica-Bold", size=14)
    for text, number in rows:
        pen.entry(text, number, **about)


@pytest.mark.parametrize(
    "rows",
    [
        [("Soup of the day", "4.50"), ("Salad", "6.00"), ("Pie", "7.25"), ("Tea", "2.10"), ("Wine", "9.00")],
        [("Soup", "$4"), ("Salad", "$6"), ("Pie", "$7"), ("Roast", "$12"), ("Wine", "$19"), ("Cake", "$21")],
        [("Soup", "4 €"), ("Salad", "6 €"), ("Pie", "7 €"), ("Roast", "12 €"), ("Wine", "19 €"), ("Cake", "20 €")],
        [("Soup", 7), ("Salad", 9), ("Pie", 4), ("Roast", 12), ("Wine", 5), ("Cake", 6), ("Tea", 2), ("Water", 1)],
        [("Setting up", 100), ("Travel", 200), ("Total", 300)],
        [("Revenue", "12,500"), ("Cost", "9,100"), ("Taxes", "1,020"), ("Profit", "2,380")],
        [("Sand", "12 %"), ("Clay", "20 %"), ("Silt", "33 %"), ("Loam", "35 %"), ("Peat", "40 %"), ("Chalk", "45 %")],
    ],
)
def test_prices_sums_and_shares_that_dots_lead_to_are_no_contents(lines, rows):
    assert texts(lines(lambda canvas: several(canvas, rows))) == []


@pytest.mark.parametrize("blank", [" .", ".", "_"])
def test_a_form_with_dotted_lines_to_be_filled_in_is_no_contents(lines, blank):
    def draw(canvas):
        canvas.setFont("Helvetica", SIZE)
        for row, name in enumerate(["1. Name", "2. Street and number", "3. Town", "4. Born in", "5. Signature"]):
            canvas.drawString(60, 600 - 20 * row, f"{name} {blank * 40}")

    assert texts(lines(draw)) == []


def test_answers_that_are_ticked_behind_dots_are_no_contents(lines):
    def draw(canvas):
        for row in range(8):
            pen = Pen(canvas, right=380, top=60 + 20 * row)
            pen.entry(f"{row + 1}. Is that so?", 1)
            for place in range(2, 6):
                canvas.drawString(380 + 25 * (place - 1), PAGE[1] - pen.y, str(place))

    assert texts(lines(draw)) == []


@pytest.mark.parametrize("heading", [None, "Items"])
@pytest.mark.parametrize(
    "rows",
    [
        [("Anna", 3), ("Ben", 12), ("Carla", 20), ("Dan", 31), ("Eve", 40), ("Finn", 52)],  # rises, but says nothing
        [("1 Bolts", 12), ("2 Nuts", 40), ("3 Screws", 7), ("4 Nails", 100), ("5 Pins", 6)],
        [("Oats", "1.50"), ("Rye", "1.75"), ("Wheat", "2.00"), ("Barley", "2.50"), ("Maize", "3.10")],
    ],
)
def test_without_dots_numbers_at_one_edge_alone_are_no_pages(lines, rows, heading):
    assert texts(lines(lambda canvas: several(canvas, rows, "", heading))) == []


@pytest.mark.parametrize(
    "heading", ["Contents", "TABLE OF CONTENTS", "Inhaltsverzeichnis", "Sommaire", "List of Figures"]
)
def test_without_dots_or_numbers_of_sections_the_name_above_tells_contents(lines, heading):
    rows = [("Springs", 3), ("Mouths", 12), ("Deltas", 20), ("Lakes", 31), ("Seas", 40)]
    found = texts(lines(lambda canvas: several(canvas, rows, "", heading)))
    assert found == [f"{text} … {number}" for text, number in rows]


def test_short_sections_may_all_begin_on_one_page(lines):
    rows = [("10.1 Boxes", 122), ("10.2 Circles", 122), ("10.3 Arrows", 122)]
    assert texts(lines(lambda canvas: several(canvas, rows))) == [f"{text} … {number}" for text, number in rows]


def test_a_table_of_many_columns_of_which_one_rises_is_no_contents(lines):
    def draw(canvas):
        canvas.setFont("Helvetica", SIZE)
        canvas.drawString(60, 640, "Contents")
        for row in range(8):
            for place, text in enumerate([f"{row}.1 bolt", "steel", "grey", "M6"]):
                canvas.drawString(60 + 80 * place, 600 - 15 * row, text)
            canvas.drawRightString(RIGHT, 600 - 15 * row, str(4 + 3 * row))

    assert texts(lines(draw)) == []


def test_text_with_dots_in_it_has_no_entries(lines):
    def draw(canvas):
        pen = Pen(canvas)
        for each in ["Well... 3 of them", "or four . . . who knows", "wait ... 12", "and so on..."]:
            pen.line(each)
            pen.prose()

    assert texts(lines(draw)) == []


def test_whatever_the_detector_takes_contents_for_they_are_items_and_lose_no_word(tmp_path):
    words = layer(pdf.text(str(drawn(tmp_path / "page.pdf", book(), size=PAGE)), 0))
    for label in ("Text", "Section-header", "List-item", "Table", "Picture", "Formula", "Page-footer"):
        own = [(60, 66 + 14 * row, 440, 78 + 14 * row) for row in range(8)]
        for boxes in (own, [(50, 40, 450, 200)]):
            blocks = blocks_of([Region(box, label, 0.9) for box in boxes], words, *PAGE, 1)
            found = [block.text for block in blocks if block.type == "list_item"]
            assert found == [f"{text} … {number}" for text, number, _ in BOOK], label
            assert sum(len(each.words) for block in blocks for each in block.lines) == len(words)


def test_levels_go_on_in_the_next_column_and_on_a_page_with_other_margins():
    told = Levels()
    places = [(60, 100), (75, 114), (75, 128), (290, 100), (275, 114), (290, 128)]
    boxes = [(float(x), float(y), 240.0 if x < 240 else 455.0, y + 10.0) for x, y in places]
    assert [told.of(box, SIZE, 1) for box in boxes] == [1, 2, 2, 2, 1, 2]
    assert told.of((105.0, 60.0, 270.0, 70.0), SIZE, 2) == 2
    told.end()
    assert told.of((120.0, 60.0, 270.0, 70.0), SIZE, 2) == 1


def test_contents_are_nested_lists_in_markdown_and_html_and_have_levels_in_json(tmp_path):
    path = drawn(tmp_path / "book.pdf", book(), size=PAGE)
    parse(ParseConfig(documents=str(path), out=str(tmp_path / "out"), devices="cpu"), silent)
    markdown = (tmp_path / "out" / "book.md").read_text()
    wanted = [f"{'  ' * (indent // 15)}- {text} … {number}" for text, number, indent in BOOK]
    assert "\n".join(wanted) in markdown and ". ." not in markdown and "\n\n-" not in markdown.split("Preface")[1]
    html = (tmp_path / "out" / "book.html").read_text()
    assert html.count("<li ") == len(BOOK) and html.count("<table") == 0
    (page,) = read(tmp_path / "out" / "book.json")[1]
    found = [(block.level, block.text) for block in page.blocks if block.type == "list_item"]
    assert found == [(1 + indent // 15, f"{text} … {number}") for text, number, indent in BOOK]
