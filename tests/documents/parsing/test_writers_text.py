"""Markdown and HTML show what the document says, letter by letter, and nothing in it becomes more than text."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import lxml.html
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from densessl.documents.parsing.model import Block, Cell, Page, Table
from densessl.documents.parsing.writers import WRITERS, Options
from densessl.documents.parsing.writers.base import clean
from densessl.documents.parsing.writers.flow import Nesting
from densessl.documents.parsing.writers.markdown import reference
from tests.documents.parsing import examples

PLAIN = ("text", "footnote", "heading", "title", "caption", "list_item", "other")
ELEMENTS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "nav",
        "details",
        "summary",
        "ul",
        "ol",
        "li",
        "a",
        "main",
        "div",
    ),
    *(
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "p",
        "pre",
        "code",
        "aside",
        "header",
        "footer",
        "figure",
        "img",
        "figcaption",
        "table",
    ),
    *("caption", "thead", "tbody", "tr", "th", "td", "span", "br"),
}
ATTRIBUTES = {
    *(
        "tabindex",
        "role",
        "aria-label",
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "id",
        "class",
        "dir",
        "href",
        "src",
        "alt",
        "loading",
        "open",
    ),
    *("value", "scope", "rowspan", "colspan"),
}
VOID = {"meta", "img", "br"}


def written(name: str, folder: Path, pages=None, **options) -> str:
    path = folder / f"out{WRITERS[name].suffix}"
    with WRITERS[name](path, examples.DOCUMENT, Options(**options)) as write:
        for page in examples.pages() if pages is None else pages:
            write(page)
    return path.read_text(encoding="utf-8")


def page_of(blocks: list[Block], number: int = 1) -> Page:
    return Page(number, 600, 800, 72, blocks)


def text_blocks(texts: list[str], kind: str) -> list[Block]:
    return [Block(f"p1b{i}", kind, (50, 20.0 * i, 500, 20.0 * i + 10), text=text) for i, text in enumerate(texts)]


def squeezed(text: str) -> str:
    return " ".join(text.split())


def shown(inline: Token) -> str:
    """The text of an inline token of which nothing may be syntax but emphasis of our own and <br>."""
    parts = []
    for child in inline.children:
        if child.type == "html_inline":
            assert child.content == "<br>"
            parts.append("\n")
        else:
            assert child.type in ("text", "text_special", "em_open", "em_close"), child
            parts.append(child.content)
    return "".join(parts)


def markdown(text: str) -> list[Token]:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)


def inlines(tokens: list[Token]) -> list[str]:
    return [squeezed(shown(token)) for token in tokens if token.type == "inline"]


@pytest.mark.parametrize("kind", PLAIN)
def test_markdown_shows_any_text_as_it_is(tmp_path, kind):
    texts = [
        *examples.hostile_texts(400, seed=len(kind)),
        examples.HOSTILE,
        *("#", "-", "***", "1.", "`", "a *", "* b", "#### #"),
    ]
    tokens = markdown(written("md", tmp_path, [page_of(text_blocks(texts, kind))]))
    assert {token.type for token in tokens} <= {
        *("paragraph_open", "paragraph_close", "inline", "heading_open", "heading_close", "html_block"),
        *("bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"),
    }
    assert {token.content for token in tokens if token.type == "html_block"} == {"<!-- page 1 -->\n"}
    assert inlines(tokens) == [told for told in (squeezed(clean(text)) for text in texts) if told]


def test_markdown_shows_any_text_in_cells(tmp_path):
    texts = examples.hostile_texts(300, seed=3)
    cells = [Cell(i // 3, i % 3, (0, 0, 1, 1), text) for i, text in enumerate(texts)]
    block = Block("p1b0", "table", (0, 0, 1, 1), table=Table(100, 3, cells))
    tokens = markdown(written("md", tmp_path, [page_of([block])]))
    told = [shown(token).split("\n") for token in tokens if token.type == "inline"]
    wanted = [clean(text).strip().split("\n") for text in texts]
    assert [[squeezed(line) for line in lines] for lines in told] == [
        [squeezed(line) for line in lines] for lines in wanted
    ]
    assert sum(token.type == "tr_open" for token in tokens) == 100


def test_markdown_has_headings_lists_tables_figures_and_notes(tmp_path):
    tokens = markdown(written("md", tmp_path))
    headings = [(token.tag, shown(tokens[i + 1])) for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings == [
        ("h1", "Yield & <Growth> of *Beans*"),
        ("h2", "1. Methods #"),
        ("h2", "Results"),
        ("h3", "Deeper"),
    ]
    assert list(list_items(tokens)) == [
        (1, "-", "Soil was turned"),
        (2, "-", "with a spade"),
        (2, "-", "and by hand"),
        (1, "-", "Water came twice a day"),
        (1, "3", "third step"),
        (1, "4", "fourth step"),
        (1, "6", "sixth step, as printed"),
        (1, "-", "a) lettered"),
    ]
    rows, row = [], []
    for i, token in enumerate(tokens):
        if token.type == "tr_open":
            row = []
            rows.append(row)
        if token.type in ("th_open", "td_open"):
            row.append(shown(tokens[i + 1]))
    assert rows == [
        ["Plot", "Yield\n2023", "Yield\n2024 | net"],
        ["North", "12.5", "1,300"],
        ["South <b>", "9.75", ""],
        ["Wet\nmeadow", "none weighed", ""],
    ]
    images = [child for token in tokens for child in token.children or () if child.type == "image"]
    assert [(unquote(image.attrs["src"]), image.content) for image in images] == [
        ("Yield.figures/p1 b14.png", r"Figure 1: Beans \[per\] plot_a.")
    ]
    assert "".join(child.content for child in images[0].children) == "Figure 1: Beans [per] plot_a."
    fences = [token.content for token in tokens if token.type == "fence"]
    assert fences == ["E = m c*2\n+ `x`\n", "if x:\n    y = `a` & <b>\n\n# end\n"]


def list_items(tokens: list[Token]) -> Iterator[tuple[int, str, str]]:
    """Depth, what is shown before it, and text of each list item, as a browser counts."""
    lists: list[list] = []
    for i, token in enumerate(tokens):
        if token.type in ("bullet_list_open", "ordered_list_open"):
            lists.append([token.tag, token.attrs.get("start", 1)])
        if token.type in ("bullet_list_close", "ordered_list_close"):
            lists.pop()
        if token.type == "list_item_open":
            yield len(lists), "-" if lists[-1][0] == "ul" else str(lists[-1][1]), shown(tokens[i + 2])
            lists[-1][1] += 1


def test_numbers_of_nested_items_are_those_of_the_page(tmp_path):
    said = [("1.", 50), ("(a)", 70), ("2.", 50), ("7)", 70), ("8)", 70), ("10)", 70), ("•", 90), ("3.", 50), ("5.", 50)]
    blocks = [
        Block(f"p1b{i}", "list_item", (x, 20.0 * i, 300, 20.0 * i + 10), text=f"text {i}", marker=marker)
        for i, (marker, x) in enumerate(said)
    ]
    items = list(list_items(markdown(written("md", tmp_path, [page_of(blocks)]))))
    assert items == [
        (1, "1", "text 0"),
        (2, "-", "(a) text 1"),
        (1, "2", "text 2"),
        (2, "7", "text 3"),
        (2, "8", "text 4"),
        (2, "10", "text 5"),
        (3, "-", "text 6"),
        (1, "3", "text 7"),
        (1, "5", "text 8"),
    ]
    parsed = lxml.html.fromstring(written("html", tmp_path, [page_of(blocks)]))
    depths = [len(list(item.iterancestors("ul", "ol"))) for item in parsed.iter("li")]
    assert depths == [depth for depth, *_ in items]
    assert [item.get("value") for item in parsed.iter("li")] == ["1", None, "2", "7", "8", "10", None, "3", "5"]


def test_an_item_in_the_next_column_is_as_deep_as_those_of_its_kind():
    nesting = Nesting()

    def depth(marker: str, x: float, y: float, page: int = 1) -> int:
        return nesting.depth(Block("b", "list_item", (x, y, x + 9, y + 9), marker=marker), page)

    assert [depth("•", 50, 700), depth("-", 65, 712)] == [0, 1]
    assert [depth("-", 330, 50), depth("•", 315, 62), depth("-", 330, 74)] == [1, 0, 1]
    assert [depth("•", 50, 40, page=2), depth("•", 53, 55, page=2)] == [0, 0]
    nesting.end()
    assert depth("-", 330, 90, page=2) == 0


def test_furniture_and_page_breaks_are_as_asked_for(tmp_path):
    for name in ("md", "html"):
        plain = written(name, tmp_path)
        assert "Annual report" not in plain and re.search(r"<!-- page 2 -->|id=\"page-2\"", plain)
        assert "Annual report" in written(name, tmp_path, furniture=True)
        assert not re.search(r"<!-- page 2 -->|id=\"page-2\"", written(name, tmp_path, page_breaks=False))


def test_a_table_that_goes_on_is_one_table(tmp_path):
    head = [("Name", 1, 1, True), ("Size", 1, 1, True)]
    first = examples.table("p1b0", 700, [head, [("ant", 1, 1, False), ("1", 1, 1, False)]], 2)
    second = examples.table("p2b0", 50, [head, [("bee", 1, 1, False), ("2", 1, 1, False)]], 2, joined="p1b0")
    third = examples.table("p3b1", 50, [[("cow", 1, 1, False), ("3", 1, 1, False)]], 2, joined="p2b0")
    after = Block("p3b2", "text", (0, 90, 9, 99), text="After.")
    number = Block("p2b9", "page_footer", (0, 780, 9, 790), text="2")
    pages = [page_of([first], 1), page_of([second, number], 2), page_of([third, after], 3)]
    tokens = markdown(written("md", tmp_path, pages))
    assert inlines(tokens) == ["Name", "Size", "ant", "1", "bee", "2", "cow", "3", "After."]
    assert sum(token.type == "table_open" for token in tokens) == 1
    html = lxml.html.fromstring(written("html", tmp_path, pages))
    assert [[cell.text_content() for cell in row] for row in html.iter("tr")] == [
        ["Name", "Size"],
        ["ant", "1"],
        ["bee", "2"],
        ["cow", "3"],
    ]
    assert len(list(html.iter("table"))) == 1
    assert [div.get("id") for div in html.find_class("page")] == ["page-1", "page-2", "page-3"]


@pytest.mark.parametrize("path", ["//evil.example/x.png", "javascript:alert(1)", "https://e.example/x", "a b/ü(1).png"])
def test_a_figure_is_a_file_beside_the_document(path):
    link = reference(path)
    assert not re.match(r"/|[a-z]+:", link) and not re.search(r"[\s()<>\"']", link)
    assert unquote(link) == path.replace("https://", "https:/").lstrip("/")


class Strict(HTMLParser):
    """Counts elements and attributes, and checks that each element is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.elements, self.attributes, self.styles = [], set(), set(), []

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["style"]:
            self.styles.append(data)


def hostile_pages() -> list[Page]:
    texts = [*examples.hostile_texts(150, seed=9), examples.HOSTILE, '" onload="x', "' x='", "</title><script>"]
    blocks = []
    for kind in (*PLAIN, "formula", "page_header", "page_footer", "figure"):
        for text in texts:
            name = f"p1b{len(blocks)}"
            blocks.append(Block(name, kind, (50, 10, 90, 20), text=text, marker=text[:3], figure=text))
            blocks[-1].of = f"p1b{len(blocks) - 2}" if kind == "caption" else None
    cells = [Cell(i, 0, (0, 0, 1, 1), text, header=i < 2) for i, text in enumerate(texts)]
    blocks.append(Block("p1b99999", "table", (0, 0, 1, 1), table=Table(len(texts), 1, cells)))
    return [page_of(blocks), Page(2, 600, 800, 72, error="</p><script>x</script>")]


@pytest.mark.parametrize("pages", [None, hostile_pages()], ids=["example", "hostile"])
def test_html_is_made_of_a_fixed_list_of_elements_and_attributes(tmp_path, pages):
    text = written("html", tmp_path, pages, furniture=True)
    parser = Strict()
    parser.feed(text)
    parser.close()
    assert parser.open == [] and parser.elements <= ELEMENTS and parser.attributes <= ATTRIBUTES
    html = lxml.html.fromstring(text)
    policy = html.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")[0]
    digest = base64.b64encode(hashlib.sha256("".join(parser.styles).encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"style-src 'sha256-{digest}'" in policy and "script" not in policy
    assert all(re.fullmatch(r"#p\d+b\d+", link) for link in html.xpath("//@href"))
    assert not any(re.match(r"/|[a-zA-Z][a-zA-Z0-9+.-]*:", link) for link in html.xpath("//img/@src"))
    ids = html.xpath("//@id")
    assert len(ids) == len(set(ids)) and {link[1:] for link in html.xpath("//@href")} <= set(ids)


def test_html_shows_any_text_as_it_is(tmp_path):
    pages = hostile_pages()
    html = lxml.html.fromstring(written("html", tmp_path, pages, furniture=True))
    places = {element.get("id"): element for element in html.xpath("//main//*[@id]")}
    seen = 0
    for block in pages[0].blocks:
        if block.type not in ("list_item", "figure", "table") and clean(block.text).strip(" \t\n"):
            assert squeezed(places[block.id].text_content()) == squeezed(clean(block.text)), block
            seen += 1
    assert seen > 1000
    cells = [squeezed(cell.text_content()) for cell in places["p1b99999"].iter("td", "th")]
    lines = ("".join(squeezed(line) for line in clean(c.text).split("\n")) for c in pages[0].blocks[-1].table.cells)
    assert ["".join(cell.split()) for cell in cells] == ["".join(line.split()) for line in lines]


def test_html_has_cells_that_span_captions_and_contents(tmp_path):
    html = lxml.html.fromstring(written("html", tmp_path))
    table, places = html.xpath("//table")[0], {}
    for row, element in enumerate(table.iter("tr")):
        column = 0
        for cell in element:
            while (row, column) in places:
                column += 1
            down, across = int(cell.get("rowspan", 1)), int(cell.get("colspan", 1))
            text = "\n".join(part.strip() for part in cell.itertext())
            places |= {(row + r, column + c): (text, cell.tag) for r in range(down) for c in range(across)}
    model = examples.pages()[1].blocks[2].table
    wanted = {
        (cell.row + r, cell.column + c): (cell.text, "th" if cell.header else "td")
        for cell in model.cells
        for r in range(cell.rows)
        for c in range(cell.columns)
    }
    assert places == wanted and len(places) == model.rows * model.columns
    assert [len(part) for part in table.xpath("thead|tbody")] == [2, 3]
    assert squeezed(table.find("caption").text_content()) == "Table 1: Yield by plot"
    figure = html.xpath("//figure")[0]
    assert figure.find("img").get("alt") == "axis 0 10"
    assert squeezed(figure.find("figcaption").text_content()) == "Figure 1: Beans [per] plot_a."
    assert html.xpath("//nav//a/text()") == ["Yield & <Growth> of *Beans*", "1. Methods #", "Results", "Deeper"]
    assert html.findtext(".//title") == "Yield & <Growth> of *Beans*" and html.get("lang") == ""


CODE = ["x = 1\n    y = 2", "```\nfenced\n```", "a\n\n\n  </code></pre><b>", "\ttab\n# no heading", "<!-- -->\n~~~"]


@pytest.mark.parametrize("text", CODE)
def test_code_keeps_its_lines_and_its_indentation(text, tmp_path):
    page = page_of(text_blocks([text], "code"))
    (fence,) = markdown(written("md", tmp_path, [page], page_breaks=False))
    assert (fence.type, fence.content) == ("fence", f"{text}\n")
    (code,) = lxml.html.fromstring(written("html", tmp_path, [page])).iter("code")
    assert code.getparent().tag == "pre" and code.text_content() == text
