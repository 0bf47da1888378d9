"""A document by hand that has all that the model knows, and texts that would break a careless writer."""

from __future__ import annotations

import random

from densessl.documents.parsing.model import Block, Box, Cell, Document, Line, Page, Table, Word

HOSTILE = (
    '<script>alert("1")</script> <img src=x onerror=alert(1)> & &lt; ]]> --> *no* _em_ `code` [a](javascript:b) | $x$'
)
DOCUMENT = Document("reports/Yield & <Growth>.pdf", 2, {"densessl": "0.1.0", "detector": "box"})
# Of all that texts can hold, what some format takes for syntax or cannot hold at all.
ALPHABET = [
    *"\\`*_{}[]()#+-.!|<>&$~^:=\"'/;%@,?0123456789",
    *"abcxyzÄéß中文あא\u0627\u0301",
    *(" ", " ", " ", "\t", "\n", "\r", "\r\n", "\u00a0", "\u2003", "\u0085", "\u2028", "\ufeff"),
    *("\x00", "\x01", "\x08", "\x0b", "\x0c", "\x1b", "\x7f", "\x9f", "\ud800", "\udfff", "\ufffe", "\uffff"),
    *("\U0001f600", "\U0010ffff", "]]>", "-->", "<!--", "<![CDATA[", "</p>", "&amp;", "&#0;", "&#x3c;", "**", "__"),
    *("```", "~~~", "---", "===", "# ", "> ", "- ", "+ ", "1. ", "2) ", "    ", "<br>", "https://a_b.c/d_e", "\\|"),
]


def hostile_texts(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(ALPHABET, k=rng.randint(1, 14))) for _ in range(count)]


def lines(text: str, x: float, y: float, size: float = 10.0, confidence: float | None = None, **style) -> list[Line]:
    """The text's lines as a typewriter sets them, a letter half as wide as high."""
    made = []
    for number, line in enumerate(text.split("\n")):
        top, left, words = y + 1.2 * size * number, x, []
        for word in line.split():
            right = left + 0.5 * size * len(word)
            words.append(Word(word, (left, top, right, top + size), size, confidence=confidence, **style))
            left = right + 0.5 * size
        if words:
            made.append(Line(words, (x, top, words[-1].bbox[2], top + size)))
    return made


def block(name: str, kind: str, text: str, x: float, y: float, size: float = 10.0, **rest) -> Block:
    """A block of text whose lines are those of `text`; `whole` is its text in one piece, if that is another."""
    whole, style = rest.pop("whole", " ".join(text.split())), rest.pop("style", {})
    made = lines(text, x, y, size, rest.pop("confidence", None), **style)
    right, bottom = max(line.bbox[2] for line in made), made[-1].bbox[3]
    return Block(name, kind, (x, y, right, bottom), kind.title(), 0.9, ("Text", 0.05), whole, made, **rest)


def table(name: str, y: float, rows: list[list[tuple[str, int, int, bool]]], columns: int, **rest) -> Block:
    """rows: of each cell its text, rows and columns that it spans, and whether it is a head; 100 x 16 points each."""
    cells, taken, words = [], set(), []
    for row, entries in enumerate(rows):
        places = (column for column in range(columns) if (row, column) not in taken)
        for text, down, across, header in entries:
            column = next(places)
            for _ in range(across - 1):
                next(places)
            taken |= {(row + r, column + c) for r in range(down) for c in range(across)}
            x0, y0 = 70.0 + 100 * column, y + 16.0 * row
            cells.append(Cell(row, column, (x0, y0, x0 + 100 * across, y0 + 16 * down), text, down, across, header))
            if text:
                words += lines(text, x0 + 3, y0 + 1, 6.0)
    size = len(rows), columns
    whole = "\n".join("\t".join(text for text, *_ in entries) for entries in rows)
    bbox: Box = (70.0, y, 70.0 + 100 * columns, y + 16.0 * len(rows))
    return Block(name, "table", bbox, "Table", 0.97, None, whole, words, table=Table(*size, cells, True), **rest)


def pages() -> list[Page]:
    first = [
        block("p1b0", "page_header", "Annual report", 70, 20, 8),
        block("p1b1", "title", "Yield & <Growth> of *Beans*", 70, 50, 20, level=1, style={"bold": True}),
        block(
            "p1b2",
            "text",
            "Beans were sown in April. The harv-\nest was weighed twice, in well-\nlit rooms: 5 < 6 & 7 > 2.",
            70,
            90,
            whole="Beans were sown in April. The harvest was weighed twice, in well-lit rooms: 5 < 6 & 7 > 2.",
            confidence=0.87,
        ),
        block("p1b3", "heading", "1. Methods #", 70, 140, 14, level=2),
        block("p1b4", "text", HOSTILE, 70, 165),
        block("p1b5", "list_item", "Soil was turned", 80, 190, marker="•"),
        block("p1b6", "list_item", "with a spade", 100, 204, marker="-"),
        block("p1b7", "list_item", "and by hand", 100, 218, marker="-"),
        block("p1b8", "list_item", "Water came twice a day", 80, 232, marker="•"),
        block("p1b9", "text", "Then, in order:", 70, 250),
        block("p1b10", "list_item", "third step", 80, 265, marker="3."),
        block("p1b11", "list_item", "fourth step", 80, 279, marker="4."),
        block("p1b12", "list_item", "sixth step, as printed", 80, 293, marker="6."),
        block("p1b13", "list_item", "lettered", 80, 307, marker="a)"),
        Block(
            "p1b14", "figure", (70, 330, 300, 450), "Picture", 0.99, figure="Yield.figures/p1 b14.png", text="axis 0 10"
        ),
        block("p1b15", "caption", "Figure 1: Beans [per] plot_a.", 70, 455, 9, of="p1b14"),
        block("p1b16", "formula", "E = m c*2\n+ `x`", 120, 480),
        block("p1b17", "footnote", "1 Weighed dry.", 70, 740, 8),
        block("p1b18", "page_footer", "1", 300, 770, 8),
    ]
    head = [("Plot", 2, 1, True), ("Yield", 1, 2, True)]
    second = [
        block("p2b0", "heading", "Results", 70, 50, 14, level=2),
        block("p2b1", "caption", "Table 1: Yield by plot", 70, 72, 9, of="p2b2"),
        table(
            "p2b2",
            90,
            [
                head,
                [("2023", 1, 1, True), ("2024 | net", 1, 1, True)],
                [("North", 1, 1, False), ("12.5", 1, 1, False), ("1,300", 1, 1, False)],
                [("South <b>", 1, 1, False), ("9.75", 1, 1, False), ("", 1, 1, False)],
                [("Wet\nmeadow", 1, 1, False), ("none weighed", 1, 2, False)],
            ],
            3,
        ),
        block("p2b3", "heading", "Deeper", 70, 200, 12, level=3, style={"italic": True}),
        block("p2b4", "text", "1986. A great year for beans, snake_case_names and 3 * 4 * 5.", 70, 220),
        Block("p2b5", "figure", (70, 240, 200, 300), "Picture", 0.8),
        Block("p2b6", "other", (70, 310, 200, 330), "Form", 0.6),
        block("p2b7", "text", "עברית and English in one line", 70, 340),
        block("p2b9", "code", "if x:\ny = `a` & <b>\n\n# end", 70, 370, whole="if x:\n    y = `a` & <b>\n\n# end"),
        block("p2b8", "page_footer", "Beans 2", 280, 770, 8),
    ]
    return [
        Page(1, 595.3, 841.9, 144.0, first, "tesseract 5.3.0", ["Two words were unsure."]),
        Page(2, 595.3, 841.9, 200.0, second, "pdf"),
    ]
