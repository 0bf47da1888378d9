"""hOCR, ALTO and PAGE are valid, and have each word, where it is and how it was read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hocr_spec.validate import HocrValidator
from lxml import etree

from densessl.documents.parsing.model import Block, Box, Page, Table, Word
from densessl.documents.parsing.writers import WRITERS
from densessl.documents.parsing.writers.base import clean
from tests.documents.parsing import examples
from tests.documents.parsing.grammar import ALTO, PAGE, faults

A = "{http://www.loc.gov/standards/alto/ns-v4#}"
P = "{http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15}"
H = "{http://www.w3.org/1999/xhtml}"


def roots(name: str, folder: Path, pages: list[Page] | None = None) -> list[etree._Element]:
    path = folder / f"out{WRITERS[name].suffix}"
    with WRITERS[name](path, examples.DOCUMENT) as write:
        for page in examples.pages() if pages is None else pages:
            write(page)
    return [etree.parse(each).getroot() for each in ([path] if path.is_file() else sorted(path.iterdir()))]


def hostile() -> list[Page]:
    """Pages whose words, labels and markers are any text."""
    pages, texts = [], [clean(text).replace("\n", " ") for text in examples.hostile_texts(300, seed=5)]
    for number in range(1, 4):
        blocks = []
        for index, text in enumerate(examples.hostile_texts(100, seed=number)):
            box: Box = (10, 7.0 * index, 90, 7.0 * index + 6)
            word = Word(text, box, 6.0, confidence=0.5)
            kind = ("text", "figure", "formula", "other", "page_footer")[index % 5]
            line = examples.Line([word], box)
            blocks.append(Block(f"p{number}b{index}", kind, box, text, 0.5, (text, 0.1), text, [line], marker=text))
            blocks[-1].figure = text if kind == "figure" else None
        pages.append(Page(number, 100, 705, 96, blocks, source=texts[number], notes=texts[:2]))
    return [*pages, Page(4, 100, 100, 96, error=texts[9])]


def test_what_is_turned_says_so_in_degrees_counterclockwise(tmp_path):
    box: Box = (10, 10, 20, 60)
    blocks = [
        Block(f"p1b{turn}", kind, box, lines=[examples.Line([Word("word", box, turn=turn)], box)], turn=turn)
        for turn, kind in enumerate(("text", "other", "text", "figure"))
    ]
    pages = [Page(1, 100, 100, 72, [*blocks, Block("p1b4", "other", box, turn=1)])]
    (hocr,), (alto,), (page,) = (roots(name, tmp_path, pages) for name in ("hocr", "alto", "page"))
    lines = [line.get("title") for line in hocr.iter(f"{H}span") if line.get("class") == "ocr_line"]
    assert [title.partition("textangle ")[2] for title in lines] == ["", "-90", "180", "90"]
    turned = {each.get("ID"): each.get("ROTATION") for each in alto.iter() if each.get("ROTATION")}
    assert {key: turned[key] for key in ("p1b1", "p1b2", "p1b3")} == {"p1b1": "-90", "p1b2": "180", "p1b3": "90"}
    turned = {each.get("id"): each.get("orientation") for each in page.iter() if each.get("orientation")}
    assert turned == {"p1b1": "-90", "p1b2": "180", "p1b3": "90", "p1b3t": "90"}
    assert faults(alto, ALTO, A.strip("{}")) == faults(page, PAGE, P.strip("{}")) == []


def words_of(page: Page) -> list[Word]:
    return [word for block in page.blocks for line in block.lines for word in line.words]


def in_pixels(box: Box, page: Page) -> tuple[int, ...]:
    """The least box of whole pixels around it, within the page."""
    width, height = round(page.width * page.dpi / 72), round(page.height * page.dpi / 72)
    x0, y0, x1, y1 = (round(each * page.dpi / 72, 6) for each in box)
    low, high = (min(math.floor(x0), width), min(math.floor(y0), height)), (math.ceil(x1), math.ceil(y1))
    return *low, min(high[0], width), min(high[1], height)


def properties(element: etree._Element) -> dict[str, str]:
    return dict(re.split(r"\s+", part, maxsplit=1) for part in re.split(r"\s*;\s*", element.get("title")))


@pytest.mark.parametrize("pages", [None, hostile()], ids=["example", "hostile"])
def test_hocr_is_what_its_specification_says(tmp_path, pages, capsys):
    (root,) = roots("hocr", tmp_path, pages)
    report = HocrValidator("standard").validate(str(tmp_path / "out.hocr"))
    assert [str(item) for item in report.items if item.level in ("ERROR", "FATAL")] == []
    assert "errored" not in capsys.readouterr().err
    capabilities = set(root.xpath("//*[@name='ocr-capabilities']/@content")[0].split())
    classes = set(root.xpath("//@class"))
    assert classes <= capabilities and {"ocr_page", "ocr_line", "ocrx_word"} <= classes


def test_hocr_without_its_words_boxes_would_be_refused(tmp_path):
    roots("hocr", tmp_path)
    path = tmp_path / "out.hocr"
    path.write_text(re.sub(r'(class="ocr_line" title=")bbox', r"\1baseline", path.read_text()))
    assert not HocrValidator("standard").validate(str(path)).is_valid()


def test_hocr_has_each_word_with_its_place_size_and_confidence(tmp_path):
    (root,) = roots("hocr", tmp_path)
    for page, told in zip(examples.pages(), root.xpath("//*[@class='ocr_page']"), strict=True):
        about = properties(told)
        assert about["ppageno"] == str(page.number - 1) and about["scan_res"] == f"{page.dpi:.0f} {page.dpi:.0f}"
        assert about["bbox"] == f"0 0 {round(page.width / 72 * page.dpi)} {round(page.height / 72 * page.dpi)}"
        found = {}
        for each in told.xpath(".//*[@class='ocrx_word']"):
            box = tuple(map(int, properties(each)["bbox"].split()))
            found["".join(each.itertext()), box] = each
        for word in words_of(page):
            each = found[word.text, in_pixels(word.bbox, page)]
            about = properties(each)
            assert about["x_fsize"] == f"{word.size:.0f}"
            assert about.get("x_wconf") == (None if word.confidence is None else f"{100 * word.confidence:.0f}")
            assert (each.find(f"{H}strong") is not None) is word.bold
            assert (each.find(f"{H}em") is not None) is word.italic


def test_hocr_names_blocks_by_what_they_are(tmp_path):
    (root,) = roots("hocr", tmp_path)
    classes = {each.get("id"): [each.get("class"), *each.xpath("*/@class")] for each in root.xpath("//*[@id]")}
    assert classes["p1b0"] == ["ocr_header", "ocr_par"] and classes["p1b18"] == ["ocr_pageno", "ocr_par"]
    assert classes["p1b1"] == ["ocr_carea", "ocr_title"] and classes["p1b2"] == ["ocr_carea", "ocr_par"]
    assert classes["p1b3"] == ["ocr_carea", "ocr_section"] and classes["p2b3"] == ["ocr_carea", "ocr_subsection"]
    assert classes["p1b14"] == ["ocr_image", "ocr_par"] and classes["p1b15"] == ["ocr_carea", "ocr_caption"]
    assert classes["p1b16"][0] == "ocr_math" and classes["p2b2"] == ["ocr_table"] + ["ocr_par"] * 11
    assert classes["p2b8"] == ["ocr_footer", "ocr_par"]


@pytest.mark.parametrize("pages", [None, hostile()], ids=["example", "hostile"])
def test_alto_and_page_are_what_their_schemas_allow(tmp_path, pages):
    for name, grammar, namespace in (("alto", ALTO, A), ("page", PAGE, P)):
        for root in roots(name, tmp_path, pages):
            assert faults(root, grammar, namespace[1:-1]) == []


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("alto", lambda root: root.insert(0, root[-1]), "alto has Layout Description"),
        ("alto", lambda root: root.find(f".//{A}String").set("WC", "1.2"), "WC=1.2"),
        ("alto", lambda root: root.find(f".//{A}ElementRef").set("REF", "p9"), "p9 is nowhere"),
        ("page", lambda root: root.find(f".//{P}Coords").set("points", "1,2"), "points=1,2"),
        ("page", lambda root: root.find(f".//{P}Word").insert(0, root.find(f".//{P}TextEquiv")), "Word has TextEquiv"),
        ("page", lambda root: root.find(f".//{P}Word").set("id", "p1b0"), "p1b0 twice"),
    ],
)
def test_the_grammar_of_the_tests_refuses_what_the_schemas_refuse(tmp_path, name, change, told):
    root = roots(name, tmp_path)[0]
    change(root)
    grammar, namespace = (ALTO, A) if name == "alto" else (PAGE, P)
    assert any(told in fault for fault in faults(root, grammar, namespace[1:-1]))


@pytest.mark.parametrize("name", ["hocr", "alto", "page"])
def test_xml_holds_any_word(tmp_path, name):
    told = [
        text
        for root in roots(name, tmp_path, hostile())
        for text in {
            "hocr": lambda root: ["".join(word.itertext()) for word in root.xpath("//*[@class='ocrx_word']")],
            "alto": lambda root: [string.get("CONTENT") for string in root.iter(f"{A}String")],
            "page": lambda root: [word.findtext(f"{P}TextEquiv/{P}Unicode") for word in root.iter(f"{P}Word")],
        }[name](root)
    ]
    assert told == [clean(word.text) for page in hostile() for word in words_of(page)]


def test_alto_has_each_word_with_its_place_style_and_confidence(tmp_path):
    (root,) = roots("alto", tmp_path)
    assert root.findtext(f".//{A}MeasurementUnit") == "pixel"
    sizes = {style.get("ID"): float(style.get("FONTSIZE")) for style in root.iter(f"{A}TextStyle")}
    ways = {way.get("ID"): way.findtext(f"{A}processingStepSettings") for way in root.iter(f"{A}Processing")}
    for page, told in zip(examples.pages(), root.iter(f"{A}Page"), strict=True):
        assert ways[told.get("PROCESSINGREFS")] == f"dpi={page.dpi:.0f} words={page.source}"
        found = {
            (each.get("SUBS_CONTENT", each.get("CONTENT")), alto_box(each)): each for each in told.iter(f"{A}String")
        }
        for word in words_of(page):
            whole = {"harv-": "harvest", "est": "harvest"}.get(word.text, word.text)
            each = found[whole, in_pixels(word.bbox, page)]
            assert sizes[each.get("STYLEREFS")] == word.size
            assert each.get("WC") == (None if word.confidence is None else f"{word.confidence:.2f}")
            assert each.get("STYLE") == {(True, False): "bold", (False, True): "italics"}.get((word.bold, word.italic))


def alto_box(element: etree._Element) -> tuple[int, ...]:
    x, y, width, height = (int(element.get(key)) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT"))
    return x, y, x + width, y + height


def test_alto_tells_divided_words_from_hyphens(tmp_path):
    (root,) = roots("alto", tmp_path)
    lines = root.xpath("//*[@ID='p1b2']/*")
    first, second = lines[0].findall(f"{A}String")[-1], lines[1].findall(f"{A}String")[0]
    assert (first.get("CONTENT"), first.get("SUBS_TYPE"), first.get("SUBS_CONTENT")) == ("harv", "HypPart1", "harvest")
    assert (second.get("CONTENT"), second.get("SUBS_TYPE"), second.get("SUBS_CONTENT")) == (
        "est",
        "HypPart2",
        "harvest",
    )
    assert lines[0][-1].get("CONTENT") == "-" and lines[0][-1].tag == f"{A}HYP"
    assert lines[1][-1].get("CONTENT") == "well-" and lines[1][-1].get("SUBS_TYPE") is None


def test_alto_has_types_tables_figures_and_the_order_of_reading(tmp_path):
    (root,) = roots("alto", tmp_path)
    labels = {tag.get("ID"): tag.get("LABEL") for tag in root.iter(f"{A}LayoutTag")}
    blocks = {each.get("ID"): each for each in root.iter() if each.get("TAGREFS")}
    groups = [[ref.get("REF") for ref in group] for group in root.find(f"{A}ReadingOrder")]
    for page, order in zip(examples.pages(), groups, strict=True):
        assert order == [block.id for block in page.blocks]
        for block in page.blocks:
            assert labels[blocks[block.id].get("TAGREFS")] == block.type
            assert alto_box(blocks[block.id]) == in_pixels(block.bbox, page)
    model = examples.pages()[1].blocks[2].table
    cells = [" ".join(each.get("CONTENT") for each in cell.iter(f"{A}String")) for cell in blocks["p2b2"]]
    assert cells == [cell.text.replace("\n", " ") for cell in model.cells]
    assert [child.tag for child in blocks["p1b14"]] == [f"{A}Illustration", f"{A}TextBlock"]
    assert blocks["p2b5"].tag == f"{A}Illustration"


def points(element: etree._Element) -> tuple[int, ...]:
    corners = [tuple(map(int, point.split(","))) for point in element.find(f"{P}Coords").get("points").split()]
    (x0, y0), (x1, y1) = corners[0], corners[2]
    assert corners == [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    return x0, y0, x1, y1


def test_page_has_regions_lines_and_words_in_order(tmp_path):
    kinds = {"title": "heading", "heading": "heading", "caption": "caption", "footnote": "footnote"}
    kinds |= {"text": "paragraph", "list_item": "paragraph", "page_header": "header", "page_footer": "footer"}
    for page, root in zip(examples.pages(), roots("page", tmp_path), strict=True):
        told = root.find(f"{P}Page")
        assert told.get("imageFilename") == f"{examples.DOCUMENT.name}#page={page.number}"
        assert float(told.get("imageXResolution")) == page.dpi
        order = sorted(told.iter(f"{P}RegionRefIndexed"), key=lambda ref: int(ref.get("index")))
        assert [ref.get("regionRef") for ref in order] == [block.id for block in page.blocks]
        regions = {each.get("id"): each for each in told}
        for block in page.blocks:
            region = regions[block.id]
            assert points(region) == in_pixels(block.bbox, page)
            assert float(region.find(f"{P}Coords").get("conf")) == block.score
            assert f"type:{block.type};" in region.get("custom")
            if block.type in kinds and block.text != "1":
                assert region.get("type") == kinds[block.type]
                assert region.findtext(f"{P}TextEquiv/{P}Unicode") == "\n".join(line.text for line in block.lines)
        found = {(each.findtext(f"{P}TextEquiv/{P}Unicode"), points(each)): each for each in told.iter(f"{P}Word")}
        for word in words_of(page):
            each = found[word.text, in_pixels(word.bbox, page)]
            conf = each.find(f"{P}TextEquiv").get("conf")
            assert (None if conf is None else float(conf)) == word.confidence
            assert float(each.find(f"{P}TextStyle").get("fontSize")) == word.size
    assert regions["p2b6"].tag == f"{P}UnknownRegion" and regions["p2b5"].tag == f"{P}ImageRegion"


def test_page_has_cells_with_their_roles(tmp_path):
    region = next(roots("page", tmp_path)[1].iter(f"{P}TableRegion"))
    model = examples.pages()[1].blocks[2].table
    assert (int(region.get("rows")), int(region.get("columns"))) == (model.rows, model.columns)
    assert list(cells_of(region)) == [
        (cell.row, cell.column, cell.rows, cell.columns, cell.header, " ".join(cell.text.split()))
        for cell in model.cells
    ]


def cells_of(region: etree._Element) -> Iterator[tuple]:
    for cell in region.iter(f"{P}TextRegion"):
        role = cell.find(f"{P}Roles/{P}TableCellRole")
        numbers = (int(role.get(key)) for key in ("rowIndex", "columnIndex", "rowSpan", "colSpan"))
        text = cell.findtext(f"{P}TextEquiv/{P}Unicode")
        yield *numbers, role.get("header") == "true", " ".join(text.split())


@pytest.mark.parametrize("name", ["hocr", "alto", "page"])
def test_words_without_a_place_stand_where_their_block_or_cell_does(tmp_path, name):
    page = examples.pages()[1]
    for block in page.blocks:
        block.lines = []
    page.blocks.append(Block("p2b9", "table", (0, 0, 50, 50), text="no\tcells", table=Table(0, 0, [])))
    (root,) = roots(name, tmp_path, [page])
    text = " ".join(root.itertext()) + " ".join(each.get("CONTENT", "") for each in root.iter(f"{A}String"))
    for word in ("snake_case_names", "meadow", "Results"):
        assert word in text
    if name == "alto":
        cell = next(each for each in root.iter(f"{A}String") if each.get("CONTENT") == "meadow")
        assert alto_box(cell) == in_pixels(page.blocks[2].table.cells[-2].bbox, page)
