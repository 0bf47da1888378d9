"""Words that an engine has passed over, or is not sure of, are read again by themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from reportlab.lib.colors import Color
from reportlab.pdfgen.canvas import Canvas

from densessl.data.pages import pdf
from densessl.documents.parsing import ocr, overlooked
from densessl.documents.parsing.model import Word
from densessl.documents.parsing.overlooked import read_again
from tests.documents.parsing.test_ocr import installed

DPI = 200
TABLE = (20.0, 20.0, 380.0, 170.0)
ROWS = [
    ["Item", "Count", "Price"],
    ["Lanterns", "14", "722.29"],
    ["Chairs", "235", "614.41"],
    ["Tables", "8", "176.67"],
]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> tuple[np.ndarray, list[Word]]:
    """The picture of a page with a table, whose head is white on orange, between rules, and its words."""
    path = tmp_path_factory.mktemp("page") / "a.pdf"
    canvas = Canvas(str(path), pagesize=(400, 260))
    canvas.setFillColor(Color(0.9, 0.35, 0.2))
    canvas.rect(20, 210, 360, 30, stroke=0, fill=1)
    for row, texts in enumerate(ROWS):
        canvas.setFillGray(0 if row else 1)
        canvas.setFont("Helvetica", 12)
        for column, text in enumerate(texts):
            canvas.drawString(30 + 130 * column, 220 - 35 * row, text)
        canvas.line(20, 210 - 35 * row, 380, 210 - 35 * row)
    for x in (20, 150, 280, 380):
        canvas.line(x, 105, x, 240)
    canvas.drawString(30, 40, "A sentence below the table.")
    canvas.save()
    words = [Word(text, (x0, y0, x1, y1), size) for text, x0, y0, x1, y1, size, *_ in pdf.text(str(path), 0).words]
    return pdf.render(str(path), 0, round(400 * DPI / 72)), [replace(word, confidence=0.95) for word in words]


def texts(words) -> list[str]:
    return sorted(word.text for word in words)


@installed
@pytest.mark.parametrize("gone", [{"Count", "Price"}, {"Lanterns", "722.29", "8"}, {"14", "235", "8", "Item"}])
def test_words_of_a_table_that_are_missing_are_found_where_they_stand(page, name, gone):
    picture, words = page
    left = [word for word in words if word.text not in gone]
    found = read_again(ocr.engine(name), picture, DPI, left, [TABLE], [])
    assert texts(found) == texts(words)
    for word in words:
        (same,) = (each for each in found if each.text == word.text)
        np.testing.assert_allclose(same.bbox, word.bbox, atol=2)
        assert same.size == pytest.approx(word.size, rel=0.25)


@installed
def test_what_is_unsure_or_was_cut_is_read_anew_and_what_is_sure_stays(page, name):
    picture, words = page
    changed = []
    for word in words:
        x0, y0, x1, y1 = word.bbox
        if word.text == "614.41":
            word = replace(word, text="6l4,4l", confidence=0.3)
        elif word.text == "Lanterns":
            word = replace(word, text="Lant", bbox=(x0, y0, (x0 + x1) / 2, y1))
        elif word.text == "14":
            word = replace(word, text="14|")
        elif word.text == "Chairs":
            word = replace(word, text="CHAIRS")  # wrong, but sure
        changed.append(word)
    found = read_again(ocr.engine(name), picture, DPI, changed, [TABLE], [])
    assert texts(found) == texts([replace(word, text="CHAIRS") if word.text == "Chairs" else word for word in words])


@installed
def test_texts_are_searched_for_missing_words_and_nothing_outside_of_regions(page, name):
    picture, words = page
    left = [word for word in words if word.text not in ("sentence", "235")]
    below = (20.0, 200.0, 380.0, 240.0)
    assert texts(read_again(ocr.engine(name), picture, DPI, left, [], [below])) == texts(
        [*left, word(words, "sentence")]
    )
    assert read_again(ocr.engine(name), picture, DPI, left, [], []) == left


@installed
def test_rules_grounds_and_pictures_are_no_words(page, name):
    picture, words = page
    picture = picture.copy()
    noise = np.random.default_rng(0).integers(0, 255, (9, 20, 3)).astype(np.uint8)
    picture[20:120, 650:1000] = np.kron(noise, np.ones((12, 18, 1), np.uint8))[:100, :350]
    picture[440:444, 100:900:20] = 0  # a rule of dots
    assert texts(read_again(ocr.engine(name), picture, DPI, words, [TABLE], [])) == texts(words)


@installed
def test_a_bar_in_a_table_is_a_rule(page, name):
    picture, words = page
    bars = [Word("|", (149, 100, 151, 130), 12.0, confidence=0.9), Word("|", (40, 215, 42, 225), 12.0, confidence=0.9)]
    assert texts(read_again(ocr.engine(name), picture, DPI, [*words, *bars], [TABLE], [])) == texts([*words, bars[1]])


@installed
def test_several_sheets_say_what_one_does(page, name, monkeypatch):
    picture, words = page
    engine = ocr.engine(name)
    left = [word for word in words if word.text in ("A", "sentence", "below", "the", "table.")]
    one = read_again(engine, picture, DPI, left, [TABLE], [])
    monkeypatch.setattr(type(engine), "longest", 300)
    assert texts(read_again(engine, picture, DPI, left, [TABLE], [])) == texts(one) == texts(words)


@installed
def test_noise_is_not_read(page, name, monkeypatch):
    picture, words = page
    left = [word for word in words if word.text not in ("Chairs", "235")]
    monkeypatch.setattr(overlooked, "MOST", 1)
    assert read_again(ocr.engine(name), picture, DPI, left, [TABLE], []) == left


@installed
def test_a_page_without_words_is_left_alone(page, name):
    assert read_again(ocr.engine(name), page[0], DPI, [], [TABLE], []) == []


def word(words, text: str) -> Word:
    return next(each for each in words if each.text == text)
