"""What a run leaves for the next one, and what one page may cost: no other page, no other document, no other file."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from reportlab.pdfgen.canvas import Canvas

from densessl.documents.parsing.layout.structure import blocks_of
from densessl.documents.parsing.run import parse
from densessl.documents.parsing.writers import WRITERS
from densessl.errors import UserError
from densessl.progress import silent
from tests.documents.parsing.setting import line
from tests.documents.parsing.test_run import config, write_pdf


class Refusing:
    """A detector that fails on some pages, as a mistake of ours would."""

    classes = ["Text"]

    def __init__(self, fails: set[int]) -> None:
        self.fails, self.seen = fails, 0

    def find(self, page):
        from densessl.documents.detection import load_detector

        self.seen += 1
        if self.seen in self.fails:
            raise IndexError("of a page")
        if not hasattr(self, "box"):
            self.box = load_detector("box")
            self.classes = self.box.classes
        return self.box.find(page)


def numbers(path: Path) -> list[int]:
    return [page["number"] for page in json.loads(path.read_text())["pages"]]


def test_a_mistake_of_ours_costs_the_page_and_the_next_run_tries_it_again(tmp_path, capfd):
    write_pdf(tmp_path / "in" / "a.pdf")
    write_pdf(tmp_path / "in" / "b.pdf")
    settings = config(tmp_path / "in", tmp_path / "out", workers=1)
    summary = parse(settings, silent, Refusing({2}))
    assert (summary.pages, summary.unreadable, len(summary.documents)) == (6, 1, 2)
    assert "IndexError" in capfd.readouterr().err and "IndexError" in (tmp_path / "out" / "unreadable.txt").read_text()
    (broken,) = (page for page in json.loads((tmp_path / "out" / "a.json").read_text())["pages"] if "error" in page)
    assert (broken["number"], broken["error"]) == (2, "it cannot be parsed (IndexError)")
    again = parse(settings, silent)
    assert (again.before, again.unreadable) == (5, 0)


def test_a_document_with_a_broken_page_is_what_its_schema_says(tmp_path):
    write_pdf(tmp_path / "a.pdf")
    parse(config(tmp_path / "a.pdf", tmp_path / "out", workers=1), silent, Refusing({1}))
    schema = json.loads((resources.files("densessl") / "documents" / "parsing" / "schema.json").read_text())
    found = json.loads((tmp_path / "out" / "a.json").read_text())
    assert any("error" in page for page in found["pages"])
    jsonschema.validate(found, schema)


def test_a_number_of_thousands_of_digits_is_a_word_like_others(tmp_path):
    canvas = Canvas(str(tmp_path / "a.pdf"), pagesize=(1200, 300))
    canvas.setFont("Helvetica", 0.4)
    canvas.drawString(20, 150, "It is " + "7" * 5000)
    canvas.save()
    assert parse(config(tmp_path / "a.pdf", tmp_path / "out"), silent).unreadable == 0
    words = line("see page", 20, 100) + line("7" * 5000, 70, 100)
    assert blocks_of([], words, 30_000, 300, 1)


def test_other_pages_are_written_anew_whatever_was_written_between(tmp_path):
    write_pdf(tmp_path / "a.pdf")
    out = tmp_path / "out"
    parse(config(tmp_path / "a.pdf", out, pages="1-2"), silent)
    assert numbers(out / "a.json") == [1, 2]
    parse(config(tmp_path / "a.pdf", out, workers=1), silent, Refusing({1}))  # the third, which had no record
    assert numbers(out / "a.json") == [1, 2, 3]
    parse(config(tmp_path / "a.pdf", out, pages="1-2"), silent)
    assert numbers(out / "a.json") == [1, 2]


def test_a_run_that_ends_while_it_writes_leaves_nothing_that_is_taken_for_done(tmp_path, monkeypatch):
    write_pdf(tmp_path / "a.pdf")
    settings = config(tmp_path / "a.pdf", tmp_path / "out", formats=["md", "html"])
    parse(settings, silent)
    before = (tmp_path / "out" / "a.html").read_text()

    def full(*_):
        raise UserError("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr(WRITERS["md"], "end", full)  # behind HTML, which is there then
        with pytest.raises(UserError):
            parse(config(tmp_path / "a.pdf", tmp_path / "out", formats=["md", "html"], furniture=True), silent)
    parse(settings, silent)
    assert (tmp_path / "out" / "a.html").read_text() == before


def test_no_two_documents_write_one_file(tmp_path):
    names = ["a.coco.pdf", "a.pdf"]
    for name in names:
        write_pdf(tmp_path / "in" / name, pages=1)
    parse(config(tmp_path / "in", tmp_path / "out", formats=["json", "coco"]), silent)
    written = list((tmp_path / "out").glob("*.json"))
    told = [json.loads(each.read_text()).get("name") for each in written]
    assert len(written) == 4 and sorted(filter(None, told)) == names


@pytest.mark.parametrize("name", WRITERS)
def test_the_file_to_look_at_is_there(tmp_path, name):
    write_pdf(tmp_path / "a.pdf", pages=1)
    said = str(parse(config(tmp_path / "a.pdf", tmp_path / "out", formats=[name]), silent))
    told = said.split("Look at ")[1].split()[0].rstrip(".")
    assert Path(told).exists() or list(Path(told).parent.glob(f"{Path(told).name}*")), said


def test_a_document_says_how_many_pages_it_has_and_which_were_parsed(tmp_path):
    write_pdf(tmp_path / "a.pdf")
    parse(config(tmp_path / "a.pdf", tmp_path / "out", pages="2"), silent)
    assert json.loads((tmp_path / "out" / "a.json").read_text())["page_count"] == 3
    assert numbers(tmp_path / "out" / "a.json") == [2]
