"""`densessl parse` from its arguments to its files, with the detector in the box."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import LongTable, SimpleDocTemplate, TableStyle

from densessl.data.images import resolution
from densessl.documents.parsing.config import ParseConfig, resolve
from densessl.documents.parsing.layout.structure import Region, blocks_of
from densessl.documents.parsing.look import _stands
from densessl.documents.parsing.model import Page, Word, from_dict
from densessl.documents.parsing.run import parse
from densessl.documents.parsing.writers import read
from densessl.errors import UserError
from densessl.progress import silent
from tests.documents.parsing.pdfs import LINES, drawn, lines

WORDS = ["of", "the", "and", "water", "paper", "letter", "garden", "window", "river", "morning", "table", "always"]


def paragraph(rng: np.random.Generator, count: int) -> str:
    return " ".join(rng.choice(WORDS, count)) + "."


def write_pdf(path: Path, pages: int = 3, seed: int = 0) -> list[str]:
    """An article with a heading and paragraphs on each page; returns the text of each page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas, rng, texts = Canvas(str(path), pagesize=A4), np.random.default_rng(seed), []
    for number in range(1, pages + 1):
        canvas.setFont("Helvetica-Bold", 16)
        said = [f"{number} Of the {rng.choice(WORDS)}"]
        canvas.drawString(72, 750, said[0])
        canvas.setFont("Times-Roman", 11)
        top = 710
        for _ in range(3):
            for _ in range(5):
                said.append(paragraph(rng, 12))
                canvas.drawString(72, top, said[-1])
                top -= 14
            top -= 14
        canvas.showPage()
        texts.append(" ".join(said))
    canvas.save()
    return texts


def config(documents, out: Path, **options) -> ParseConfig:
    return ParseConfig(documents=str(documents), out=str(out), devices="cpu", **({"formats": ["json"]} | options))


def pages_of(path: Path) -> list[Page]:
    return [from_dict(each) for each in json.loads(path.read_text(encoding="utf-8"))["pages"]]


def text_of(page: Page) -> str:
    return " ".join(block.text for block in page.blocks)


@pytest.fixture(scope="module")
def article(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    path = tmp_path_factory.mktemp("articles") / "article.pdf"
    return path, write_pdf(path)


@pytest.fixture(scope="module")
def parsed(article, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("parsed")
    parse(config(article[0], out, formats=["json", "md", "html"]), silent)
    return out


def test_boxes_that_are_drawn_are_the_marks_of_items(tmp_path: Path) -> None:
    path = tmp_path / "form.pdf"
    canvas = Canvas(str(path), pagesize=A4)
    for row, option in enumerate(("by the river", "in the garden", "at the window")):
        canvas.rect(72, 700 - 16 * row, 8, 8)
        canvas.drawString(86, 700 - 16 * row, option)
    canvas.line(73, 685, 79, 691)
    canvas.save()
    parse(config(path, tmp_path / "out"), silent)
    (page,) = pages_of(tmp_path / "out" / "form.json")
    assert [(block.type, block.marker, block.text) for block in page.blocks] == [
        ("list_item", "☐", "by the river"),
        ("list_item", "☒", "in the garden"),
        ("list_item", "☐", "at the window"),
    ]


def test_each_page_says_what_was_written_on_it_in_its_order(article, parsed):
    pages = pages_of(parsed / "article.json")
    assert [page.number for page in pages] == [1, 2, 3]
    for page, text in zip(pages, article[1], strict=True):
        assert page.source == "pdf"
        assert (page.width, page.height) == pytest.approx(A4, abs=0.01)
        assert SequenceMatcher(None, text_of(page).split(), text.split(), autojunk=False).ratio() > 0.97


def test_places_are_points_from_the_left_upper_corner(parsed):
    (page, *_) = pages_of(parsed / "article.json")
    heading = min(page.blocks, key=lambda block: block.bbox[1])
    # Capitals of 16 points on a baseline 750 above the lower edge.
    assert heading.bbox[0] == pytest.approx(72, abs=3)
    assert heading.bbox[3] == pytest.approx(A4[1] - 750, abs=6)
    assert heading.bbox[1] == pytest.approx(A4[1] - 762, abs=6)


def test_all_formats_that_were_asked_for_are_there_and_no_others(parsed):
    assert {path.name for path in parsed.iterdir()} == {"article.json", "article.md", "article.html", "records"}


def test_what_was_written_can_be_read_back(parsed):
    document, pages = read(parsed / "article.json")
    assert document.pages == 3 and [page.number for page in pages] == [1, 2, 3]


def test_the_same_command_again_looks_at_no_page(article, tmp_path):
    first = parse(config(article[0], tmp_path), silent)
    written = (tmp_path / "article.json").stat().st_mtime_ns
    again = parse(config(article[0], tmp_path), silent)
    assert (first.before, again.before) == (0, 3)
    assert again.sources == first.sources == {"pdf": 3}
    assert (tmp_path / "article.json").stat().st_mtime_ns == written


def test_other_formats_are_written_from_what_is_kept(article, parsed, tmp_path):
    parse(config(article[0], tmp_path), silent)
    summary = parse(config(article[0], tmp_path, formats=["md", "html"]), silent)
    assert summary.before == summary.pages == 3
    for name in ("article.md", "article.html"):
        assert (tmp_path / name).read_text() == (parsed / name).read_text()


def test_a_document_that_was_written_anew_is_looked_at_anew(tmp_path):
    source, out = tmp_path / "in" / "a.pdf", tmp_path / "out"
    write_pdf(source, 1, seed=1)
    parse(config(source, out), silent)
    (text,) = write_pdf(source, 1, seed=2)
    assert parse(config(source, out), silent).before == 0
    assert text.split()[-1] in text_of(pages_of(out / "a.json")[0])


def test_a_run_that_was_stopped_goes_on_and_ends_with_the_same_files(article, parsed, tmp_path):
    class Enough(Exception): ...

    def stop(stage: str, done: int, total: int, note: str) -> None:
        if done == 2:
            raise Enough

    with pytest.raises(Enough):
        parse(config(article[0], tmp_path, formats=["json", "md"], workers=1), stop)
    assert not (tmp_path / "article.json").exists()
    summary = parse(config(article[0], tmp_path, formats=["json", "md"]), silent)
    assert summary.before >= 2
    for name in ("article.json", "article.md"):
        assert (tmp_path / name).read_bytes() == (parsed / name).read_bytes()


def test_one_worker_writes_what_several_write(article, parsed, tmp_path):
    parse(config(article[0], tmp_path, workers=1), silent)
    assert (tmp_path / "article.json").read_bytes() == (parsed / "article.json").read_bytes()


def test_pages_can_be_chosen_by_number(article, tmp_path):
    parse(config(article[0], tmp_path, pages="1,3-"), silent)
    assert [page.number for page in pages_of(tmp_path / "article.json")] == [1, 3]
    with pytest.raises(UserError, match="pages=7 are pages that no document has"):
        parse(config(article[0], tmp_path, pages="7"), silent)


@pytest.mark.parametrize(
    ("pages", "chosen"), [("2", [2]), ("2-3", [2, 3]), ("4-", [4, 5]), ("1,4-9", [1, 4, 5]), (None, [1, 2, 3, 4, 5])]
)
def test_ranges_of_pages_are_understood(pages, chosen):
    settings = ParseConfig(documents="a", out="b", pages=pages)
    assert [page for page in range(1, 6) if settings.wanted(page)] == chosen


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pages": "3-1"}, "runs backwards"),
        ({"pages": "one"}, "cannot be understood"),
        ({"pages": "0-2"}, "begins before page 1"),
        ({"formats": ["jsn"]}, "no format 'jsn'.*did you mean 'json'"),
        ({"ocr": "tesserakt"}, "ocr=tesserakt is not one of.*did you mean 'tesseract'"),
        ({"score": 2.0}, "must be from 0 to 1"),
        ({"page_side": 9}, "from 256 to 10000"),
        ({"workers": 0}, "1 or more"),
    ],
)
def test_settings_that_cannot_be_are_told_in_a_sentence(options, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        parse(config(tmp_path, tmp_path / "out", **options), silent)


def test_arguments_of_the_command_become_a_config(tmp_path):
    settings = resolve(["a.pdf", "b"], tmp_path, ["md", " json"], ["pages=2", "words=true"])
    assert (settings.documents, settings.formats, settings.pages, settings.words) == (
        ["a.pdf", "b"],
        ["md", "json"],
        "2",
        True,
    )
    with pytest.raises(UserError, match="did you mean 'pages'"):
        resolve(["a.pdf"], tmp_path, ["md"], ["page=2"])


def test_a_document_that_needs_a_password_is_parsed_with_it(tmp_path):
    locked = drawn(tmp_path / "locked.pdf", lines, encrypt=StandardEncryption("007", strength=128))
    settings = resolve([str(locked)], tmp_path / "out", ["json", "md"], ["ocr=none"])
    with pytest.raises(UserError, match=r"locked.pdf \(it needs a password\).*Give passwords as password=..."):
        parse(settings, silent)
    with pytest.raises(UserError, match=r"locked.pdf \(its password is another one\)"):
        parse(replace(settings, password="7"), silent)
    settings = resolve([str(locked)], tmp_path / "out", ["json", "md"], ["ocr=none", "password=007"])
    assert settings.password == "007" and parse(settings, silent).sources == {"pdf": 1}
    assert LINES[0] in (tmp_path / "out/locked.md").read_text()
    kept = [each for each in (tmp_path / "out").rglob("*") if each.is_file()]
    assert kept and not any(b"007" in each.read_bytes() for each in kept)


def test_a_password_may_stand_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "a=b 1")
    assert resolve(["a.pdf"], tmp_path, ["md"], ["password=${oc.env:SECRET}"]).password == "a=b 1"
    with pytest.raises(UserError, match="There is no OTHER in the environment"):
        resolve(["a.pdf"], tmp_path, ["md"], ["password=${oc.env:OTHER}"])


@pytest.mark.parametrize("password", ["007", "???", "null", "", "a${b", "x${y}z", "[1,", "a=b", "schl\u00fcssel"])
def test_a_password_is_taken_as_it_stands_and_not_shown(tmp_path, password):
    settings = resolve(["a.pdf"], tmp_path, ["md"], [f"password={password}", "words=true"])
    assert settings.password == (password or None) and settings.words
    assert not password or password not in repr(settings)


def test_what_cannot_be_read_is_listed_and_costs_no_other_document(article, tmp_path):
    folder = tmp_path / "in"
    write_pdf(folder / "good.pdf", 1)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    Image.new("RGB", (3, 3)).save(folder / "dot.png")
    summary = parse(config(folder, tmp_path / "out"), silent)
    assert summary.documents == ["dot", "good"] and summary.first == "good" and summary.unreadable == 1
    assert "broken.pdf" in " ".join(summary.notes)
    listed = (tmp_path / "out" / "unreadable.txt").read_text()
    assert "broken.pdf" in listed and "dot.png\tit is 3 x 3 pixels, which is no page" in listed
    (page,) = pages_of(tmp_path / "out" / "dot.json")
    assert page.error == "it is 3 x 3 pixels, which is no page" and page.blocks == []


def test_a_blank_page_is_a_page_without_blocks(tmp_path):
    canvas = Canvas(str(tmp_path / "blank.pdf"), pagesize=A4)
    canvas.showPage()
    canvas.save()
    parse(
        config(
            tmp_path / "blank.pdf", tmp_path / "out", formats=["json", "md", "html", "hocr", "alto", "page", "coco"]
        ),
        silent,
    )
    (page,) = pages_of(tmp_path / "out" / "blank.json")
    assert page.blocks == [] and page.error is None


def test_of_a_picture_without_a_resolution_a_pixel_is_a_point_and_it_says_so(tmp_path):
    picture = np.full((400, 300, 3), 255, np.uint8)
    cv2.putText(picture, "Hello", (40, 80), cv2.FONT_HERSHEY_SIMPLEX, 1, (0, 0, 0), 2)
    cv2.imwrite(str(tmp_path / "page.png"), picture)
    parse(config(tmp_path / "page.png", tmp_path / "out", ocr="none"), silent)
    (page,) = pages_of(tmp_path / "out" / "page.json")
    assert (page.width, page.height, page.dpi, page.source) == (300, 400, 72, "none")
    assert "a pixel is a point" in " ".join(page.notes) and "no engine" in " ".join(page.notes)


@pytest.mark.parametrize(
    ("given", "told"), [((300, 300), 300), ((96, 96), 96), ((1, 1), None), ((300, 150), None), (None, None)]
)
def test_the_resolution_of_a_picture_is_believed_where_it_can_be_right(given, told):
    file = io.BytesIO()
    Image.new("RGB", (20, 20)).save(file, "TIFF", **({"dpi": given} if given else {}))
    assert resolution(file.getvalue()) == told


def test_figures_are_cut_out_and_named(tmp_path):
    rng = np.random.default_rng(0)
    image = Image.fromarray(cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), (640, 480)))
    image.save(tmp_path / "noise.png")
    canvas = Canvas(str(tmp_path / "figure.pdf"), pagesize=A4)
    canvas.setFont("Times-Roman", 11)
    for line in range(6):
        canvas.drawString(72, 760 - 14 * line, paragraph(rng, 12))
    canvas.drawImage(str(tmp_path / "noise.png"), 110, 330, 380, 285)
    canvas.drawString(180, 305, "Figure 1: What nobody has seen before.")
    canvas.save()
    parse(config(tmp_path / "figure.pdf", tmp_path / "out", formats=["json", "md"]), silent)
    (page,) = pages_of(tmp_path / "out" / "figure.json")
    (figure,) = (block for block in page.blocks if block.type == "figure")
    height, width = cv2.imread(str(tmp_path / "out" / figure.figure)).shape[:2]
    scale = page.dpi / 72
    assert width / scale == pytest.approx(380, rel=0.05) and height / scale == pytest.approx(285, rel=0.05)
    assert figure.figure in (tmp_path / "out" / "figure.md").read_text()


def test_the_command_ends_with_a_sentence_whatever_is_wrong(tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "densessl", "parse", *arguments, "--out", str(tmp_path / "out")]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    for arguments in ([str(tmp_path / "nothing.pdf")], ["pages=3"], [str(tmp_path), "ocr=nobody"]):
        ended = run(*arguments)
        assert ended.returncode == 2 and "Traceback" not in ended.stderr and ended.stderr.strip()


def test_documents_whose_names_lie_in_each_other_keep_their_records_apart(tmp_path):
    folder = tmp_path / "in"
    write_pdf(folder / "x.pdf", 1)
    write_pdf(folder / "x" / "y.pdf", 1, seed=3)
    for before in (0, 2):
        assert parse(config(folder, tmp_path / "out"), silent).before == before


def test_a_range_of_pages_of_any_length_is_understood_at_once(article, tmp_path):
    summary = parse(config(article[0], tmp_path, pages="2," * 50_000 + "2"), silent)
    assert summary.pages == 1


def test_many_scattered_words_are_in_blocks_all_of_them():
    rng = np.random.default_rng(0)
    places = rng.uniform(0, [580, 780], (4000, 2)).round(1).tolist()
    words = [Word(f"w{number}", (x, y, x + 9, y + 5), 5.0) for number, (x, y) in enumerate(places)]
    blocks = blocks_of([], words, 595, 842, 1)
    assert sum(len(line.words) for block in blocks for line in block.lines) == 4000


def test_a_table_needs_evidence_and_lines_that_dots_lead_through_are_none():
    words = [Word(text, (20.0 * place, 10.0, 20.0 * place + 15, 20.0), 10.0) for place, text in enumerate("ab...7")]
    area = (0.0, 0.0, 200.0, 40.0)
    assert not _stands(Region(area, "Table", 0.9), words) and _stands(Region(area, "Text", 0.4), words)
    assert _stands(Region(area, "Table", 0.9), words[:2]) and not _stands(Region(area, "Table", 0.4), words[:2])


def test_a_table_over_two_pages_is_one_when_asked_and_the_page_keeps_its_words(tmp_path):
    rows = [["Number", "Name", "Length"], *([f"{row}", f"river {row}", f"{17 * row}"] for row in range(1, 61))]
    table = LongTable(rows, colWidths=[80, 220, 120], rowHeights=20, repeatRows=1)
    table.setStyle(
        TableStyle([("GRID", (0, 0), (-1, -1), 0.7, "black"), ("FONTNAME", (0, 0), (-1, 0), "Helvetica-Bold")])
    )
    SimpleDocTemplate(str(tmp_path / "rivers.pdf"), pagesize=A4).build([table])
    for joined in (True, False):
        parse(config(tmp_path / "rivers.pdf", tmp_path / "out", formats=["md", "hocr"], join_tables=joined), silent)
        text = (tmp_path / "out" / "rivers.md").read_text()
        assert text.count("| Number | Name | Length |") == (1 if joined else 2)
        assert all(text.count(f"| river {row} |") == 1 for row in range(1, 61))
        assert (tmp_path / "out" / "rivers.hocr").read_text().count(">Number<") == 2


def test_pages_of_several_documents_are_in_work_at_once_and_each_has_its_own(tmp_path):
    folder = tmp_path / "in"
    texts = [write_pdf(folder / f"{number}.pdf", 1, seed=number)[0] for number in range(5)]
    summary = parse(config(folder, tmp_path / "out", workers=3), silent)
    assert summary.documents == [str(number) for number in range(5)]
    for number, text in enumerate(texts):
        (page,) = pages_of(tmp_path / "out" / f"{number}.json")
        assert text.split()[-8:] == text_of(page).split()[-8:]
