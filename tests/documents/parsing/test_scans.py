"""Pages that are pictures: read whichever way they lie, with what the engine overlooks at first."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Table, TableStyle

from densessl.data.images import UnreadableImage
from densessl.data.pages import pdf
from densessl.data.synthetic.pages import PagesConfig
from densessl.data.synthetic.pages.make import make
from densessl.documents.parsing import look, ocr
from densessl.documents.parsing.config import ParseConfig
from densessl.documents.parsing.model import Page
from densessl.documents.parsing.run import parse
from densessl.documents.parsing.words import layer
from densessl.documents.parsing.writers import read
from densessl.progress import silent
from tests.documents.parsing.test_ocr import turning

pytestmark = pytest.mark.skipif(ocr.tesseract() is None, reason="Tesseract is not installed")


def drawn(folder: Path, number: int, **settings) -> Path:
    """The first page of a generated document, as a PDF."""
    make(PagesConfig(out=str(folder), seed=52, degrade=0.0, **settings), number, 1)
    return next((folder / "documents").glob("*.pdf"))


def scanned(path: Path, picture: np.ndarray) -> Page:
    Image.fromarray(picture).save(path, dpi=(150, 150))
    out = path.parent / f"{path.stem}-out"
    parse(ParseConfig(documents=str(path), out=str(out), formats=["json"], ocr="tesseract", devices="cpu"), silent)
    return next(iter(read(out / f"{path.stem}.json")[1]))


def similar(ours: str, true: str) -> float:
    """The share of true words that ours has."""
    mine, wanted = Counter(ours.split()), Counter(true.split())
    return (mine & wanted).total() / wanted.total()


@pytest.fixture(scope="module")
def article(tmp_path_factory) -> Path:
    return drawn(tmp_path_factory.mktemp("article"), 0, languages=["en"], kinds=["article"])


@turning
def test_a_scan_is_read_whichever_way_it_lies(article, tmp_path):
    picture = pdf.render(str(article), 0, 1750)
    upright = scanned(tmp_path / "upright.png", picture)
    true = " ".join(word.text for word in layer(pdf.text(str(article), 0)))
    said = " ".join(block.text for block in upright.blocks)
    assert similar(said, true) > 0.9
    for turn in (1, 2, 3):
        page = scanned(tmp_path / f"{turn}.png", np.rot90(picture, -turn))
        text = [block for block in page.blocks if block.text and block.type != "figure"]
        assert {block.turn for block in text} == {turn}
        assert similar(" ".join(block.text for block in page.blocks), said) > 0.95
        assert [block.type for block in page.blocks] == [block.type for block in upright.blocks]


def test_a_wrong_guess_of_how_a_page_lies_does_no_harm(article, tmp_path, monkeypatch):
    picture = pdf.render(str(article), 0, 1750)
    said = [block.text for block in scanned(tmp_path / "a.png", picture).blocks]
    monkeypatch.setattr(look, "UNCLEAR", 1.0)  # whatever is read might be wrong
    monkeypatch.setattr(ocr.Tesseract, "turn", lambda *_: 2)
    assert [block.text for block in scanned(tmp_path / "b.png", picture).blocks] == said


def test_a_second_reading_that_fails_leaves_the_first(tmp_path, monkeypatch):
    path, whole = drawn(tmp_path / "list", 3), ocr.Tesseract.read

    def failing(self, picture, dpi, stop=None, sheet=False):
        if sheet:
            raise UnreadableImage("Tesseract takes more than 120 s over it")
        return whole(self, picture, dpi, stop)

    monkeypatch.setattr(ocr.Tesseract, "read", failing)
    page = scanned(tmp_path / "a.png", pdf.render(str(path), 0, 1750))
    assert page.error is None and any(block.text for block in page.blocks)
    assert any("overlooked at first could not be read: Tesseract takes more than 120 s" in note for note in page.notes)


def test_numbers_of_a_table_are_all_there(tmp_path):
    path = drawn(tmp_path / "list", 3)  # of which Tesseract by itself leaves out whole columns
    page = scanned(tmp_path / "a.png", pdf.render(str(path), 0, 1750))
    numbers = [word.text for word in layer(pdf.text(str(path), 0)) if word.text.replace(".", "").isdecimal()]
    said = " ".join(block.text for block in page.blocks)
    assert len(numbers) > 20 and similar(said, " ".join(numbers)) > 0.95


def test_rules_between_cells_are_no_letters(tmp_path):
    rows = [["Name", "Role", "Since"], ["Anna Kowalska", "Chair", "2019"], ["Ben Okafor", "Treasurer", "2021"]]
    canvas = Canvas(str(tmp_path / "a.pdf"), pagesize=A4)
    for line in range(8):
        canvas.drawString(72, 760 - 15 * line, "The members met in the small hall and agreed on what is said below.")
    table = Table(rows, colWidths=110, rowHeights=18)
    table.setStyle(TableStyle([("GRID", (0, 0), (-1, -1), 0.7, "black"), ("FONTSIZE", (0, 0), (-1, -1), 11)]))
    table.wrapOn(canvas, 400, 200)
    table.drawOn(canvas, 120, 540)
    canvas.save()
    page = scanned(tmp_path / "b.png", pdf.render(str(tmp_path / "a.pdf"), 0, 2339))
    (found,) = (block.table.grid() for block in page.blocks if block.type == "table")
    assert found == rows


def test_a_page_in_another_language_is_told(tmp_path):
    path = drawn(tmp_path / "letter", 0, languages=["ru"], kinds=["letter"])
    page = scanned(tmp_path / "a.png", pdf.render(str(path), 0, 1750))
    assert look.UNSURE in page.notes
