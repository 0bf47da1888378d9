"""When the text layer of a PDF does not say what the page shows, and what hostile ones cost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from densessl.data.images import UnreadableImage
from densessl.data.pages import letters, pdf
from densessl.data.sources import Subset, open_source
from densessl.data.sources.base import Concatenated
from densessl.data.sources.tiles import Tiled
from densessl.documents.parsing.words import layer, unfit, words_of
from tests.data import documents
from tests.data.documents import write
from tests.documents.parsing.pdfs import LINES, SIZE, drawn, encoded, lines, read


def test_a_layer_whose_letters_mean_nothing_is_not_used_and_said_not_to_be(tmp_path):
    path = write(tmp_path / "a.pdf", encoded(bytes(range(1, 27)), None))
    found, notes = pdf.text(str(path), 0), []
    assert found.unknown == found.letters > 0
    assert layer(found, notes) is None and words_of(open_source(path), 0) is None
    assert notes == [
        f"The text layer is not used: nothing tells what {found.letters} of its {found.letters} letters are."
    ]
    private = write(tmp_path / "b.pdf", encoded(b"abcdef", {code: chr(0xE000 + code) for code in b"abcdef"}))
    assert unfit(pdf.text(str(private), 0)) and read(private) == ["\ufffd" * 6]


def test_a_few_letters_without_meaning_do_no_harm(tmp_path):
    meanings = {code: chr(code) for code in b"abcdefgh"} | {1: "\ufffd"}
    path = write(tmp_path / "a.pdf", encoded(b"abcdefgh\1", meanings))
    assert unfit(pdf.text(str(path), 0)) is None and read(path) == ["abcdefgh\ufffd"]


def test_old_fonts_of_tex_that_say_nothing_are_read_by_their_codes(tmp_path):
    path = write(tmp_path / "a.pdf", encoded(b"the e\x0ecient \x0cnal \x1cle", None))
    assert "the" in read(path) and {"efficient", "final", "file"} <= set(read(path))
    assert unfit(pdf.text(str(path), 0)) is None


def scan(canvas: Canvas, box=(0, 0, *SIZE)) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40), np.uint8))
    x, y, width, height = box
    canvas.drawImage(ImageReader(picture), x, y, width, height)


def test_a_scan_with_a_stamp_in_its_margin_has_no_layer_and_a_page_with_text_over_a_picture_has_one(tmp_path):
    def stamped(canvas: Canvas) -> None:
        scan(canvas)
        canvas.drawString(20, 8, "Downloaded from an archive on the third of May")

    def slide(canvas: Canvas) -> None:
        scan(canvas)
        canvas.drawString(40, 150, "What there is to say of the matter")

    notes: list[str] = []
    source = open_source(drawn(tmp_path / "a.pdf", stamped))
    assert words_of(source, 0, notes) is None and "the page is a scan, of which it has 38 letters" in notes[0]
    assert len(words_of(open_source(drawn(tmp_path / "b.pdf", slide)), 0)) == 8
    small = drawn(tmp_path / "c.pdf", lambda canvas: (scan(canvas, (0, 0, 200, 150)), canvas.drawString(20, 8, "Note")))
    assert pdf.text(str(small), 0).pictures == pytest.approx(0.25, abs=0.01)
    assert [word.text for word in words_of(open_source(small), 0)] == ["Note"]


def test_the_hidden_words_of_an_earlier_ocr_are_used_and_told_of(tmp_path):
    def draw(canvas: Canvas) -> None:
        scan(canvas)
        text = canvas.beginText(40, 200)
        text.setTextRenderMode(3)
        for line in LINES:
            text.textLine(line)
        canvas.drawText(text)

    notes: list[str] = []
    words = words_of(open_source(drawn(tmp_path / "a.pdf", draw)), 0, notes)
    assert [word.text for word in words] == " ".join(LINES).split() and "hidden text layer" in notes[0]


def test_a_page_without_text_has_no_layer_and_an_empty_one_no_words(tmp_path):
    assert words_of(open_source(write(tmp_path / "a.pdf", documents.page())), 0) is None
    assert words_of(open_source(write(tmp_path / "b.pdf", documents.page(b" "))), 0) == []


def test_only_pages_of_pdfs_have_text_and_parts_of_sources_know_which(tmp_path):
    for name, text in (("a", "alpha"), ("b", "beta")):
        canvas = Canvas(str(tmp_path / f"{name}.pdf"), pagesize=SIZE)
        for number in range(3):
            canvas.drawString(40, 200, f"{text} {number}")
            canvas.showPage()
        canvas.save()
    Image.new("RGB", (5, 4)).save(tmp_path / "c.png")
    source = open_source(tmp_path)

    def said(source) -> list[str | None]:
        found = [words_of(source, index) for index in range(len(source))]
        return [None if words is None else " ".join(word.text for word in words) for words in found]

    assert said(source) == ["alpha 0", "alpha 1", "alpha 2", "beta 0", "beta 1", "beta 2", None]
    assert said(Subset(source, [5, 6, 0])) == ["beta 2", None, "alpha 0"]
    joined = Concatenated([Subset(source, [4]), source], ["x", "y"])
    assert said(joined) == ["beta 1", *said(source)]
    assert set(said(Tiled(Subset(source, [0]), 64))) == {None}


def test_a_page_of_more_letters_than_are_read_is_cut_with_a_note(tmp_path, monkeypatch):
    word, count = b"(abcdefghi ) Tj ", letters.LETTERS // 10 + 500
    content = b"BT /F 1 Tf 1.2 TL 10 790 Td " + b"".join(b"T* " + word * 50 for _ in range(-(-count // 50))) + b" ET"
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    data = documents.page(documents.packed(content), resources=b"/Font<</F 5 0 R>>", more=(font,))
    notes: list[str] = []
    words = words_of(open_source(write(tmp_path / "a.pdf", data)), 0, notes)
    assert 0 < sum(len(word.text) + 1 for word in words) <= letters.LETTERS + 1
    assert notes[0].endswith(f"letters and spaces of the page, the first {letters.LETTERS:,} are read.")


def test_hostile_pages_cost_a_sentence_and_the_next_one_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "SECONDS", 2)
    good = drawn(tmp_path / "good.pdf", lines)
    hostile = documents.SHOWN, documents.NOT_SHOWN, documents.NOT_OPENED
    for name, (data, _) in itertools.chain(*(each.items() for each in hostile)):
        path = str(write(tmp_path / f"{name}.pdf", data))
        try:
            assert pdf.text(path, 0).words == ()
        except UnreadableImage as error:
            assert str(error)
        assert read(good) == " ".join(LINES).split()


def test_text_with_sizes_and_places_that_are_no_numbers_is_left_out(tmp_path):
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    for size, place in ((b"1e38", b"10 10"), (b"0", b"10 10"), (b"10", b"1e38 -1e38"), (b"-9", b"99 99")):
        content = b"BT /F %b Tf %b Td (abc) Tj ET BT /F 12 Tf 50 700 Td (good) Tj ET" % (size, place)
        data = documents.page(content, resources=b"/Font<</F 5 0 R>>", more=(font,))
        found = pdf.text(str(write(tmp_path / "a.pdf", data)), 0)
        assert "good" in [word[0] for word in found.words]
        for _, x0, y0, x1, y1, letter, _, pitch, _ in found.words:
            assert 0 <= x0 <= x1 <= 600 and 0 <= y0 <= y1 <= 800 and letter >= 0 and 0 <= pitch < 1e9


def test_text_that_pdfium_dies_over_counts_as_none(tmp_path, monkeypatch):
    source = open_source(drawn(tmp_path / "a.pdf", lines))

    def dies(*_):
        raise pdf.Deadly(pdf.SLOW)

    monkeypatch.setattr(pdf, "text", dies)
    notes: list[str] = []
    assert words_of(source, 0, notes) is None and notes == [f"The text layer is not used: {pdf.SLOW}."]
