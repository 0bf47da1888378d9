"""Listings of programs keep their lines and their indentation, and what is only typed like one is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reportlab.pdfgen.canvas import Canvas

from densessl.data.pages import pdf
from densessl.data.pages.letters import Font
from densessl.documents.parsing.layout.lines import lines_of, union
from densessl.documents.parsing.layout.listings import COLUMNS, is_typed, listings, written
from densessl.documents.parsing.layout.missed import body_size
from densessl.documents.parsing.layout.structure import Region, blocks_of
from densessl.documents.parsing.model import Line, Word
from densessl.documents.parsing.words import layer
from tests.documents.parsing.pdfs import by_text, changed, drawn
from tests.documents.parsing.setting import LETTER, PROSE, line

SIZE = 400, 500
PROGRAM = """\
def total(values):
    count = 0
    for value in values:
        if value > 0:  # others say nothing
            count += value

    return count"""


class Pen:
    """Writes lines from the upper edge on, and knows where what it wrote stands."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas, self.y = canvas, 40.0

    def write(self, text: str, x: float = 40.0, font: str = "Helvetica", size: float = 10.0, pitch: float = 12.0):
        top = self.y
        self.canvas.setFont(font, size)
        for each in text.split("\n"):
            self.canvas.drawString(x, SIZE[1] - self.y - size, each)
            self.y += pitch
        return x - 3, top - 3, x + 300, self.y + 3

    def skip(self, points: float) -> None:
        self.y += points

    def prose(self, x: float = 40.0, count: int = 4):
        return self.write("\n".join(PROSE[:count]), x)

    def code(self, text: str = PROGRAM, x: float = 40.0, **about):
        return self.write(text, x, "Courier", **about)


@pytest.fixture
def page(tmp_path):
    """Draws a page with a pen; returns its words and the boxes that the pen gave."""

    def make(draw):
        boxes = []
        path = drawn(tmp_path / "a.pdf", lambda canvas: boxes.append(draw(Pen(canvas))), SIZE)
        return layer(pdf.text(str(path), 0)), boxes[0]

    return make


def found(words) -> list[str]:
    return [written(rows) for rows in listings(lines_of(words), body_size(words))]


def in_prose(*texts: str, **about):
    """A page of paragraphs with these listings between them."""

    def draw(pen):
        pen.prose()
        for text in texts:
            pen.skip(10)
            pen.code(text, **about)
            pen.skip(10)
            pen.prose()

    return draw


def test_the_pitch_of_letters_is_that_of_the_font_where_all_are_as_wide(tmp_path):
    def draw(canvas):
        for place, font in enumerate(("Courier", "Courier-Bold", "Helvetica", "Times-Roman")):
            canvas.setFont(font, 10 + place)
            canvas.drawString(40, 200 - 30 * place, f"tilings-{place}")

    words = by_text(drawn(tmp_path / "a.pdf", draw))
    pitches = [words[f"tilings-{place}"].pitch for place in range(4)]
    assert pitches == [pytest.approx(6.0), pytest.approx(6.6), None, None]  # Courier's letters are 0.6 em wide


@pytest.mark.parametrize(
    "widths, typed, pitch",
    [
        ({"i": 0.5, "a": 0.5, "m": 0.5}, False, 0.5),
        ({"i": 0.5, "a": 0.5, "b": 0.5, "m": 0.62}, False, 0.5),  # its ink is wider than its place
        ({"i": 0.3, "a": 0.5, "b": 0.5, "d": 0.5, "o": 0.5}, True, 0.0),  # whatever it is called
        ({"a": 0.5, "b": 0.5, "0": 0.5}, False, 0.0),  # not enough to know
        ({"a": 0.5, "b": 0.5, "0": 0.5}, True, 0.5),
        ({"中": 1.0, "文": 1.0, "i": 0.5, "a": 0.5}, True, 0.0),
        ({}, True, 0.0),
    ],
)
def test_widths_tell_fonts_of_a_fixed_pitch_and_names_do_where_too_few_letters_are_seen(widths, typed, pitch):
    font = Font(typed=typed, widths={ord(letter): width for letter, width in widths.items()})
    assert font.pitch == pitch


def test_a_page_that_is_shown_turned_has_the_same_pitch(tmp_path):
    def draw(canvas):
        canvas.setFont("Courier", 10)
        canvas.drawString(40, 90, "tiling")

    path = changed(drawn(tmp_path / "a.pdf", draw), lambda page: page.set_rotation(90))
    assert by_text(path)["tiling"].pitch == pytest.approx(6.0)


def test_lines_and_indentation_stay(page):
    assert found(page(in_prose(PROGRAM))[0]) == [PROGRAM]


def test_two_listings_with_text_between_them_are_two(page):
    assert found(page(in_prose("make all", PROGRAM))[0]) == ["make all", PROGRAM]


@pytest.mark.parametrize("texts", [["x = 1;", "  y = x;", "z = 2;"], ["      .b {}", "  .a"], ["{", "  i.l", "}"]])
def test_indentation_is_counted_from_the_row_that_is_farthest_to_the_left(page, texts):
    text = "\n".join(texts)
    least = min(len(each) - len(each.lstrip()) for each in texts)
    assert found(page(in_prose(text))[0]) == ["\n".join(each[least:] for each in texts)]


def test_a_comment_far_behind_its_statement_is_of_its_row(page):
    text = "a = 1;                      # one\nbb = 22;\nccc = a + bb;               # the sum of both"
    assert found(page(in_prose(text))[0]) == [text]


def test_listings_in_two_columns_are_apart(page):
    def draw(pen):
        for x, text in ((20, "left = {\n  1, 2 }"), (210, "right = [\n  3, 4 ]")):
            pen.y = 40
            pen.write("\n".join(each[:32] for each in PROSE), x)
            pen.skip(10)
            pen.code(text, x)
            pen.skip(10)
            pen.write("\n".join(each[:32] for each in PROSE), x)

    assert sorted(found(page(draw)[0])) == ["left = {\n  1, 2 }", "right = [\n  3, 4 ]"]


def test_numbers_of_rows_are_no_part_of_the_text(page):
    def draw(pen):
        pen.prose()
        pen.skip(10)
        top = pen.y
        pen.code("if x:\n    y()\nz = {}", 60)
        pen.y = top
        pen.write("1\n2\n3", 44, "Helvetica", 6)

    words, _ = page(draw)
    assert found(words) == ["if x:\n    y()\nz = {}"]
    (block,) = [each for each in blocks_of([], words, *SIZE, 1) if each.type == "code"]
    assert sum(word.text in "123" for line in block.lines for word in line.words) == 3


def test_terms_with_their_meaning_beside_them_are_none(page):
    def draw(pen):
        for term in ("ls -l", "rm -r", "cd ..", "cat -n"):
            pen.code(term, 40)
            pen.y -= 12
            pen.write("what this command does to your files", 150)

    assert found(page(draw)[0]) == []


def test_a_page_whose_text_is_typed_has_listings_only_where_there_are_signs(page):
    typed = page(lambda pen: (pen.code("\n".join(PROSE)), pen.skip(20), pen.code("\n".join(PROSE))))[0]
    assert found(typed) == []
    mixed = page(lambda pen: (pen.code("\n".join(PROSE)), pen.skip(50), pen.code("for (;;) {\n  f(x);\n}")))[0]
    assert found(mixed) == ["for (;;) {\n  f(x);\n}"]


def test_a_line_of_a_paragraph_that_happens_to_be_all_typed_stays_in_it(page):
    def draw(pen):
        pen.write(PROSE[0])
        pen.code("sum(values, start)")
        pen.write("is what was asked for at the end.")

    words, _ = page(draw)
    assert found(words) == []
    assert "sum(values, start) is what" in blocks_of([], words, *SIZE, 1)[0].text


def test_a_typed_heading_and_an_address_by_themselves_are_none(page):
    def draw(pen):
        pen.code("parse(document)", size=14)
        pen.skip(10)
        pen.prose()
        pen.skip(14)
        pen.code("https://example.org/a/b")
        pen.skip(14)
        pen.prose()
        pen.skip(14)
        pen.code("https://example.\norg/")
        pen.skip(14)
        pen.prose()

    assert found(page(draw)[0]) == []


def test_what_the_detector_takes_for_text_a_list_or_a_table_is_code_and_the_text_around_it_is_not(page):
    def draw(pen):
        first = pen.prose()
        pen.skip(8)
        second = pen.code()
        pen.skip(8)
        return first, second, pen.prose()

    words, (first, second, third) = page(draw)
    around = first[0], first[1], third[2], third[3]
    for regions in (
        [Region(around, "Text", 0.9)],
        [Region(first, "Text", 0.9), Region(second, "Table", 0.9), Region(third, "Text", 0.9)],
        [Region(first, "Text", 0.9), Region(second, "List-item", 0.9), Region(third, "Text", 0.9)],
        [Region(first, "Text", 0.9), Region(second, "Picture", 0.9), Region(third, "Text", 0.9)],
    ):
        blocks = blocks_of(regions, words, *SIZE, 1)
        assert [(block.type, block.text) for block in blocks] == [
            ("text", " ".join(PROSE[:4])),
            ("code", PROGRAM),
            ("text", " ".join(PROSE[:4])),
        ]
        assert blocks[1].label in ("Text", "Table", "List-item", "Picture") and blocks[1].score == 0.9


def test_a_table_of_typed_numbers_stays_one(page):
    def draw(pen):
        pen.prose()
        pen.skip(10)
        return pen.code("alder     120   4.5\nbirch       7  12.2\ncedar    1043   0.5")

    words, table = page(draw)
    blocks = blocks_of([Region(table, "Table", 0.9)], words, *SIZE, 1)
    assert [block.type for block in blocks] == ["text", "table"]


def test_a_listing_beside_what_it_draws_leaves_a_figure(page):
    def draw(pen):
        pen.prose()
        pen.skip(10)
        top = pen.y
        table = pen.code("Class.A;\nClass.B;\nleft(A, B);\nlink(A, B);")
        pen.y = top + 14
        pen.write("A", 200)
        pen.skip(8)
        pen.write("B", 260)
        return table

    words, table = page(draw)
    prose, code, figure = blocks_of([Region(table, "Table", 0.9)], words, *SIZE, 1)
    assert [prose.type, code.type, figure.type] == ["text", "code", "figure"]
    assert code.text == "Class.A;\nClass.B;\nleft(A, B);\nlink(A, B);"
    assert figure.text == "A B" and figure.bbox[0] > code.bbox[2] and (figure.label, figure.score) == ("Table", 0.9)


def typed_row(text: str, y: float, size: float = 10.0) -> Line:
    words = [replace(word, pitch=LETTER * size) for word in line(text, 10, y, size)]
    return Line(words, union(word.bbox for word in words))


def test_a_listing_has_no_more_columns_than_a_page_has_room_for():
    far = Word("b", (13_000, 0, 13_005, 10), 10.0, pitch=5.0)
    rows = [typed_row("if a:", 20 * row) for row in range(5)]
    rows[2] = Line([*rows[2].words, far], rows[2].bbox)
    assert max(map(len, written(rows).splitlines())) <= COLUMNS + 1


def test_letters_that_nobody_can_read_are_no_listing():
    assert is_typed(typed_row("while x:", 20)) and not is_typed(typed_row("while x:", 20, size=0.1))
