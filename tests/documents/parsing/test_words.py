"""The text layer of PDFs: which words stands on a page and where, and when it does not say what the page shows."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfgen.canvas import Canvas

from densessl.data.images import UnreadableImage
from densessl.data.pages import letters, pdf
from densessl.data.sources import Subset, open_source
from densessl.data.sources.base import Concatenated
from densessl.data.sources.tiles import Tiled
from densessl.documents.parsing.words import layer, unfit, words_of
from tests.data import documents
from tests.data.documents import write

SIZE = 400, 300
LINES = ["The quick brown fox", "jumps over 12 lazy dogs,", "gypsy (quietly) and jolly."]


def drawn(path: Path, draw, size=SIZE, **settings) -> Path:
    canvas = Canvas(str(path), pagesize=size, invariant=True, **settings)
    draw(canvas)
    canvas.save()
    return path


def lines(canvas: Canvas) -> None:
    canvas.setFont("Helvetica", 14)
    for place, text in enumerate(LINES):
        canvas.drawString(40, 240 - 24 * place, text)


def changed(path: Path, change) -> Path:
    """The document with its first page changed."""
    document = pypdfium2.PdfDocument(path)
    change(document[0])
    document.save(str(path))
    return path


def read(path: Path) -> list[str]:
    return [word[0] for word in pdf.text(str(path), 0).words]


def by_text(path: Path):
    return {word.text: word for word in layer(pdf.text(str(path), 0))}


def assert_words_cover_the_ink(path: Path, scale: int = 4) -> None:
    """All ink of the page lies in the boxes, and reaches each of their four sides."""
    found = pdf.text(str(path), 0)
    image = pdf.render(str(path), 0, round(max(found.size) * scale))
    ink, inside = image.min(axis=2) < 140, np.zeros(image.shape[:2], bool)
    assert ink.any() and found.words
    for text, *box, _, _ in found.words:
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


def encoded(
    codes: bytes, meanings: dict[int, str] | None, content: bytes = b"BT /F 20 Tf 50 700 Td (%b) Tj ET"
) -> bytes:
    """A page of a font whose codes mean what its table ToUnicode says, or nothing without one."""
    rows = "".join(f"<{code:02X}> <{text.encode('utf-16-be').hex()}>\n" for code, text in (meanings or {}).items())
    table = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /A def /CMapType 2 def\n"
        f"1 begincodespacerange <00> <FF> endcodespacerange\n{len(meanings or {})} beginbfchar\n{rows}endbfchar\n"
        "endcmap end end"
    )
    glyph = documents.stream(b"600 0 0 0 500 700 d1 0 0 500 700 re f")
    names = b" ".join(b"%d/g%d" % (code, code) for code in sorted(set(codes)))
    procedures = b" ".join(b"/g%d 5 0 R" % code for code in sorted(set(codes)))
    widths = b" ".join([b"600"] * 256)
    font = (
        b"<</Type/Font/Subtype/Type3/FontBBox[0 0 600 700]/FontMatrix[.001 0 0 .001 0 0]/FirstChar 0/LastChar 255"
        b"/Widths[%b]/CharProcs<<%b>>/Encoding<</Type/Encoding/Differences[%b]>>/Resources<<>>%b>>"
    ) % (widths, procedures, names, b"/ToUnicode 7 0 R" if meanings is not None else b"")
    escaped = b"".join(b"\\%03o" % code for code in codes)
    return documents.page(
        content % escaped, resources=b"/Font<</F 6 0 R>>", more=(glyph, font, documents.stream(table.encode()))
    )


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
        for _, x0, y0, x1, y1, letter, _ in found.words:
            assert 0 <= x0 <= x1 <= 600 and 0 <= y0 <= y1 <= 800 and letter >= 0


def test_text_that_pdfium_dies_over_counts_as_none(tmp_path, monkeypatch):
    source = open_source(drawn(tmp_path / "a.pdf", lines))

    def dies(path, number):
        raise pdf.Deadly(pdf.SLOW)

    monkeypatch.setattr(pdf, "text", dies)
    notes: list[str] = []
    assert words_of(source, 0, notes) is None and notes == [f"The text layer is not used: {pdf.SLOW}."]


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
