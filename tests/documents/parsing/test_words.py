"""Which words stand on a page of a PDF, and where."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfgen.canvas import Canvas

from densessl.data.pages import pdf
from tests.data.documents import write
from tests.documents.parsing.pdfs import LINES, by_text, changed, drawn, encoded, lines, read


def assert_words_cover_the_ink(path: Path, scale: int = 4) -> None:
    """All ink of the page lies in the boxes, and reaches each of their four sides."""
    found = pdf.text(str(path), 0)
    image = pdf.render(str(path), 0, round(max(found.size) * scale))
    ink, inside = image.min(axis=2) < 140, np.zeros(image.shape[:2], bool)
    assert ink.any() and found.words
    for text, *box, _, _, _, _ in found.words:
        x0, y0, x1, y1 = (side * scale for side in box)
        rows, columns = slice(max(int(y0 - 2), 0), int(y1 + 3)), slice(max(int(x0 - 2), 0), int(x1 + 3))
        inside[rows, columns] = True
        ys, xs = np.nonzero(ink[rows, columns])
        reached = (
            xs.min() + columns.start,
            ys.min() + rows.start,
            xs.max() + 1 + columns.start,
            ys.max() + 1 + rows.start,
        )
        assert np.abs(np.array(reached) - (x0, y0, x1, y1)).max() <= 2.5, text
    assert (ink & ~inside).sum() == 0


def test_the_words_of_a_page_are_those_that_were_drawn_where_their_ink_is(tmp_path):
    path = drawn(tmp_path / "a.pdf", lines)
    assert read(path) == " ".join(LINES).split()
    assert {word[5] for word in pdf.text(str(path), 0).words} == {14.0}
    assert_words_cover_the_ink(path)
    fox = by_text(path)["fox"]
    start = 40 + pdfmetrics.stringWidth("The quick brown ", "Helvetica", 14)
    assert fox.bbox[0] == pytest.approx(start, abs=1) and fox.bbox[3] == pytest.approx(300 - 240, abs=0.5)
    assert fox.confidence is None and not fox.bold and not fox.italic


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_boxes_are_on_the_page_as_it_is_shown_turned_and_cut(tmp_path, turn):
    """Of a medium that begins at (-30, 10) the crop box shows the first two lines."""

    def change(page) -> None:
        page.set_mediabox(-30, 10, 400, 300)
        page.set_cropbox(20, 205, 350, 280)
        page.set_rotation(turn)

    path = changed(drawn(tmp_path / "a.pdf", lines), change)
    assert sorted(read(path)) == sorted(" ".join(LINES[:2]).split())
    assert pdf.text(str(path), 0).size == ((75, 330) if turn % 180 else (330, 75))
    assert pdf.text(str(path), 0).size == pdf.measure(str(path), 0, 500).points
    assert_words_cover_the_ink(path)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_text_that_runs_in_another_direction_makes_words_too(tmp_path, turn):
    def draw(canvas: Canvas) -> None:
        canvas.translate(200, 150)
        canvas.rotate(turn)
        canvas.setFont("Times-Roman", 12)
        canvas.drawString(-60, 20, "Figures of the year")
        canvas.drawString(-60, 0, "and others")

    path = drawn(tmp_path / "a.pdf", draw)
    assert sorted(read(path)) == sorted(["Figures", "of", "the", "year", "and", "others"])
    assert_words_cover_the_ink(path)


def test_a_line_of_two_columns_is_parted_at_the_gap(tmp_path):
    def draw(canvas: Canvas) -> None:
        for line in range(3):
            canvas.drawString(30, 250 - 14 * line, f"left{line}")
            canvas.drawString(
                30 + pdfmetrics.stringWidth("left0", "Helvetica", 12) + 6, 250 - 14 * line, f"right{line}"
            )

    path = drawn(tmp_path / "a.pdf", draw)
    assert Counter(read(path)) == Counter(f"{side}{line}" for side in ("left", "right") for line in range(3))


def test_letters_that_are_set_one_by_one_make_words_by_their_gaps(tmp_path):
    def draw(canvas: Canvas) -> None:
        x = 30.0
        for word in ("one", "two,", "three"):
            for letter in word:
                canvas.drawString(x, 200, letter)
                x += pdfmetrics.stringWidth(letter, "Helvetica", 12)
            x += 4

    assert read(drawn(tmp_path / "a.pdf", draw)) == ["one", "two,", "three"]


def test_bold_and_italic_are_told_by_the_font_the_way_it_is_drawn_and_the_slant(tmp_path):
    def draw(canvas: Canvas) -> None:
        fonts = ("Helvetica", "Helvetica-Bold", "Times-Italic", "Times-BoldItalic", "Courier")
        for line, font in enumerate(fonts):
            canvas.setFont(font, 12)
            canvas.drawString(40, 260 - 30 * line, font)
        canvas.setFont("Helvetica", 12)
        text = canvas.beginText(40, 90)
        text.setTextRenderMode(2)
        text.textOut("stroked")
        text.setTextRenderMode(0)
        canvas.drawText(text)
        canvas.skew(0, 14)
        canvas.drawString(40, 60, "slanted")

    found = by_text(drawn(tmp_path / "a.pdf", draw))
    styles = {text: (word.bold, word.italic) for text, word in found.items()}
    assert styles == {
        "Helvetica": (False, False),
        "Helvetica-Bold": (True, False),
        "Times-Italic": (False, True),
        "Times-BoldItalic": (True, True),
        "Courier": (False, False),
        "stroked": (True, False),
        "slanted": (False, True),
    }


def test_words_that_are_drawn_twice_to_look_bold_count_once(tmp_path):
    def draw(canvas: Canvas) -> None:
        for shift in (0, 0.4, 0.8):
            canvas.drawString(40 + shift, 200, "heavy words")
        canvas.drawString(40, 180, "heavy words")

    path = drawn(tmp_path / "a.pdf", draw)
    assert read(path) == ["heavy", "words"] * 2


def test_the_size_is_that_on_the_page_whatever_scales_it(tmp_path):
    def draw(canvas: Canvas) -> None:
        canvas.scale(2, 2)
        canvas.setFont("Helvetica", 9)
        canvas.drawString(20, 100, "large")

    assert by_text(drawn(tmp_path / "a.pdf", draw))["large"].size == pytest.approx(18)


def test_letters_outside_the_page_are_left_out(tmp_path):
    def draw(canvas: Canvas) -> None:
        canvas.drawString(40, 200, "here")
        canvas.drawString(-200, 200, "left")
        canvas.drawString(40, 900, "above")

    assert read(drawn(tmp_path / "a.pdf", draw)) == ["here"]


def test_ligatures_accents_soft_hyphens_and_bullets_are_read_as_what_they_stand_for(tmp_path):
    cases = {
        "oﬃce ﬁnd ﬂow": ["office", "find", "flow"],
        "cafe\u0301": ["caf\u00e9"],
        "ab\u00adcd ef\u00ad": ["abcd", "ef-"],
        "\uf0b7 item": ["•", "item"],
        "no\u00a0break": ["no", "break"],
        "\U0001d44e\u2212\U0001d44f": ["\U0001d44e\u2212\U0001d44f"],
    }
    for text, wanted in cases.items():
        letter = sorted(set(text))
        codes = bytes(1 + letter.index(each) for each in text)
        data = encoded(codes, {1 + place: each for place, each in enumerate(letter)})
        assert read(write(tmp_path / "a.pdf", data)) == wanted, text


def test_a_font_of_unknown_shape_has_the_boxes_of_what_its_letters_draw(tmp_path):
    codes = b"abc"
    path = write(tmp_path / "a.pdf", encoded(codes, {code: chr(code) for code in codes}))
    (word,) = pdf.text(str(path), 0).words
    # Three squares, 10 wide and 14 high, at a distance of 12 points from each other, the first at (50, 700).
    assert word[0] == "abc" and word[1:5] == pytest.approx((50, 800 - 714, 84, 800 - 700), abs=2.1)


def real() -> Path | None:
    known = Path("/usr/share/doc/libtasn1-doc/libtasn1.pdf")
    found = [known] if known.exists() else sorted(Path("/usr/share/doc").rglob("*.pdf"))
    return found[0] if found else None


@pytest.mark.skipif(real() is None, reason="no PDF is among the system's documentation")
def test_the_words_of_a_real_document_are_those_that_pdfplumber_finds():
    plumber = pytest.importorskip("pdfplumber")
    common = total = 0
    with plumber.open(real()) as document:
        for number in range(min(6, len(document.pages))):
            theirs = Counter(word["text"] for word in document.pages[number].extract_words(x_tolerance_ratio=0.15))
            ours = Counter(word[0] for word in pdf.text(str(real()), number).words)
            common, total = common + 2 * (ours & theirs).total(), total + ours.total() + theirs.total()
    assert total and common / total > 0.97


def test_reading_text_draws_nothing_and_leaves_the_page_as_it_was(tmp_path):
    path = str(drawn(tmp_path / "a.pdf", lines))
    before = pdf.render(path, 0, 400)
    pdf.text(path, 0)
    assert np.array_equal(pdf.render(path, 0, 400), before)
    assert io.BytesIO(Path(path).read_bytes()).read(5) == b"%PDF-"


def test_what_was_filled_into_a_form_or_noted_on_a_page_is_among_its_words(tmp_path):
    path = tmp_path / "form.pdf"
    canvas = Canvas(str(path), pagesize=(300, 200))
    canvas.drawString(20, 150, "Name:")
    canvas.acroForm.textfield(name="name", x=80, y=140, width=180, height=24, value="Ada Lovelace", fontSize=12)
    canvas.save()
    found = by_text(path)
    assert set(found) == {"Name:", "Ada", "Lovelace"}
    x0, y0, x1, y1 = found["Ada"].bbox
    assert 80 <= x0 < x1 <= 260 and 200 - 164 <= y0 < y1 <= 200 - 140
    before = pdf.render(str(path), 0, 300)
    pdf.text(str(path), 0)
    assert np.array_equal(pdf.render(str(path), 0, 300), before)
