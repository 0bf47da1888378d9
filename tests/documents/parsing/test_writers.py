"""All writers have one face, hold one page, and leave a whole file or none; JSON and COCO say what they say."""

from __future__ import annotations

import gc
import json
import math
import weakref
from dataclasses import fields, replace
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from pycocotools.coco import COCO

from densessl.documents.parsing.model import TYPES, Block, Cell, Document, Line, Page, Table, Word, to_dict
from densessl.documents.parsing.writers import WRITERS, Options, read
from densessl.documents.parsing.writers.base import clean
from densessl.errors import UserError
from tests.documents.parsing import examples

SCHEMA = json.loads(resources.files("densessl.documents.parsing").joinpath("schema.json").read_text())
ALL = pytest.mark.parametrize("name", WRITERS)


def written(name: str, folder: Path, pages=None, document=examples.DOCUMENT, **options) -> Path:
    path = folder / f"out{WRITERS[name].suffix}"
    with WRITERS[name](path, document, Options(**options)) as write:
        for page in examples.pages() if pages is None else pages:
            write(page)
    return path


def test_each_format_has_a_writer_under_its_name_and_suffix():
    assert {name: writer.suffix for name, writer in WRITERS.items()} == {
        "json": ".json",
        "md": ".md",
        "html": ".html",
        "coco": ".coco.json",
        "hocr": ".hocr",
        "alto": ".alto.xml",
        "page": ".page",
    }


@ALL
def test_a_document_that_breaks_off_leaves_no_file(name, tmp_path):
    pages = iter(examples.pages())
    with pytest.raises(ZeroDivisionError), WRITERS[name](tmp_path / "x", examples.DOCUMENT) as write:
        write(next(pages))
        raise ZeroDivisionError
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@ALL
def test_a_document_takes_the_place_of_the_one_before(name, tmp_path):
    written(name, tmp_path, [replace(page, number=page.number + 7) for page in examples.pages()])
    before = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    path = written(name, tmp_path)
    after = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert before == {"p0008.xml", "p0009.xml"} if name == "page" else before == {path.name}
    assert after == {"p0001.xml", "p0002.xml"} if name == "page" else after == {path.name}


@ALL
def test_a_writer_keeps_no_page_that_was_written(name, tmp_path):
    seen = []
    with WRITERS[name](tmp_path / "x", examples.DOCUMENT) as write:
        for number in range(1, 6):
            page = examples.pages()[number % 2]
            page.number = number
            if number == 3:
                page.blocks = [block for block in page.blocks if block.type == "page_footer"]
            seen.append(weakref.ref(page))
            write(page)
            del page
            gc.collect()
            assert [each() for each in seen] == [None] * number


@ALL
def test_what_a_page_does_not_have_is_left_out(name, tmp_path):
    pages = [
        Page(1, 200, 100, 72),
        Page(2, 200, 100, 72, error="it is <damaged>"),
        Page(3, 200, 100, 72, [Block("p3b0", kind, (0, 0, 10, 10)) for kind in ("figure",)]),
        Page(4, 200, 100, 72, [Block(f"p4b{i}", kind, (0, 0, 10, 10), text="a b\nc") for i, kind in enumerate(TYPES)]),
        Page(5, 200, 100, 72, [Block("p5b0", "table", (0, 0, 9, 9), table=Table(1, 1, []))]),
    ]
    path = written(name, tmp_path, pages, furniture=True)
    whole = "".join(each.read_text() for each in ([path] if path.is_file() else sorted(path.iterdir())))
    assert ("damaged" in whole) is (name != "coco")


def test_no_character_is_let_through_that_xml_1_forbids():
    def allowed(code: int) -> bool:  # production 2 of XML 1.0, but for the carriage return, which ends lines
        return code in (9, 10) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or 0x10000 <= code <= 0x10FFFF

    codes = [*range(0x3000), *range(0xD000, 0x11000), *range(0x11000, 0x110000, 997), 0x10FFFE, 0x10FFFF]
    wrong = [code for code in codes if (clean(chr(code)) == chr(code)) is not allowed(code)]
    assert wrong == []
    assert clean("a\r\nb\rc\ud83d") == "a\nb\nc\ufffd"


@pytest.mark.parametrize("words", [False, True])
def test_json_is_what_its_schema_says(tmp_path, words):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    record = json.loads(written("json", tmp_path, words=words).read_text())
    jsonschema.validate(record, SCHEMA, jsonschema.Draft202012Validator)
    assert any("lines" in block for page in record["pages"] for block in page["blocks"]) is words
    assert [block["type"] for block in record["pages"][0]["blocks"]] == [b.type for b in examples.pages()[0].blocks]


def test_the_schema_knows_the_whole_model_and_nothing_else():
    named = {"page": Page, "block": Block, "line": Line, "word": Word, "table": Table, "cell": Cell}
    for name, kind in named.items():
        assert set(SCHEMA["$defs"][name]["properties"]) == {field.name for field in fields(kind)}, name
    assert tuple(SCHEMA["$defs"]["block"]["properties"]["type"]["enum"]) == TYPES


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("pages", 0, "number"), 0),
        (("pages", 0, "blocks", 0, "type"), "Header"),
        (("pages", 0, "blocks", 0, "bbox"), [0, 1, 2]),
        (("pages", 0, "blocks", 0, "score"), 1.5),
        (("pages", 0, "blocks", 0, "colour"), "red"),
        (("pages", 1, "blocks", 2, "table", "cells", 0, "rows"), 0),
        (("unit",), "px"),
    ],
)
def test_the_schema_refuses_what_the_model_has_not(tmp_path, where, value):
    record = json.loads(written("json", tmp_path).read_text())
    *path, last = where
    inner = record
    for step in path:
        inner = inner[step]
    inner[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(record, SCHEMA)


@pytest.mark.parametrize("anew", [False, True])
def test_json_is_read_as_it_was_written(tmp_path, anew):
    path = written("json", tmp_path, words=True)
    if anew:
        path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    document, pages = read(path)
    assert document == examples.DOCUMENT
    assert [to_dict(page) for page in pages] == [to_dict(page) for page in examples.pages()]


def test_json_holds_any_text(tmp_path):
    texts = examples.hostile_texts(300)
    blocks = [Block(f"p1b{i}", "text", (0, 0, 1, 1), text=text) for i, text in enumerate(texts)]
    path = written("json", tmp_path, [Page(1, 10, 10, 72, blocks)], Document("\ud800 a", 1))
    document, pages = read(path)
    assert document.name == "\ufffd a"
    lone = str.maketrans(dict.fromkeys(range(0xD800, 0xE000), "\ufffd"))
    assert [block.text for block in next(pages).blocks] == [text.translate(lone) for text in texts]


def test_pages_are_read_one_by_one_and_a_cut_file_is_told(tmp_path):
    path = written("json", tmp_path)
    text = path.read_text()
    path.write_text(text[: text.index("p2b3")])
    _, pages = read(path)
    assert next(pages).number == 1
    with pytest.raises(UserError, match="no whole document"):
        next(pages)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "densessl document", "version": 99}', "\x89PNG"])
def test_what_is_no_document_is_told(tmp_path, text):
    (tmp_path / "x.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"x\.json is no whole document"):
        read(tmp_path / "x.json")
    with pytest.raises(UserError, match="cannot be read: no such file"):
        read(tmp_path / "y.json")


def test_coco_has_blocks_in_pixels_and_in_order(tmp_path, capsys):
    coco, pages = COCO(str(written("coco", tmp_path))), examples.pages()
    assert [coco.cats[number]["name"] for number in sorted(coco.cats)] == list(TYPES)
    for image_id, page in enumerate(pages, 1):
        image = coco.imgs[image_id]
        assert (image["page"], image["dpi"]) == (page.number, page.dpi)
        assert image["width"] == round(page.width / 72 * page.dpi)
        entries = sorted(coco.imgToAnns[image_id], key=lambda entry: entry["order"])
        assert len(entries) == len(page.blocks)
        for entry, block in zip(entries, page.blocks, strict=True):
            x, y, width, height = (each * 72 / page.dpi for each in entry["bbox"])
            assert math.dist((x, y, x + width, y + height), block.bbox) < 0.05
            assert entry["text"] == block.text and entry["block"] == block.id
            assert coco.cats[entry["category_id"]]["name"] == block.type and entry["score"] == block.score
