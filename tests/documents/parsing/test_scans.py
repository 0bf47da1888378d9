"""Pages that are pictures: read whichever way they lie, with what the engine overlooks at first."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densessl.data.pages import pdf
from densessl.data.synthetic.pages import PagesConfig
from densessl.data.synthetic.pages.make import make
from densessl.documents.parsing import ocr
from densessl.documents.parsing.config import ParseConfig
from densessl.documents.parsing.model import Page
from densessl.documents.parsing.run import parse
from densessl.documents.parsing.words import layer
from densessl.documents.parsing.writers import read
from densessl.progress import silent

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


def test_numbers_of_a_table_are_all_there(tmp_path):
    path = drawn(tmp_path / "list", 3)  # of which Tesseract by itself leaves out whole columns
    page = scanned(tmp_path / "a.png", pdf.render(str(path), 0, 1750))
    numbers = [word.text for word in layer(pdf.text(str(path), 0)) if word.text.replace(".", "").isdecimal()]
    said = " ".join(block.text for block in page.blocks)
    assert len(numbers) > 20 and similar(said, " ".join(numbers)) > 0.95


def test_a_page_in_another_language_is_told(tmp_path):
    path = drawn(tmp_path / "letter", 0, languages=["ru"], kinds=["letter"])
    page = scanned(tmp_path / "a.png", pdf.render(str(path), 0, 1750))
    assert any("is the page in another language" in note for note in page.notes)
