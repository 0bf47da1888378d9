"""Other parsers that run without a network connection, and what they make of a PDF.

pdfplumber reads words in lines over the whole page and tables by their drawn lines. PyMuPDF's layout package (`pip
install pymupdf4llm pymupdf-layout psutil`, under a licence of its own, so that it is no requirement) brings networks in
its wheel, which find blocks, their order and the cells of tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from densessl.documents.parsing.model import Block, Table
from tests.benchmarks.parsing_tables import from_rows


@dataclass
class Seen:
    """A page. blocks: in order, with their boxes in points; None of a parser that knows none."""

    text: str
    tables: list[Table]
    blocks: list[Block] | None = None


@dataclass(frozen=True)
class Peer:
    """pages: of a PDF. prose: its text as people are given it, without what repeats on each page where it tells."""

    pages: Callable[[Path], Iterator[Seen]]
    prose: Callable[[Path], str]


def plumbed(path: Path) -> Iterator[Seen]:
    import pdfplumber

    with pdfplumber.open(path) as document:
        for page in document.pages:
            yield Seen(page.extract_text() or "", [from_rows(rows) for rows in page.extract_tables() if rows])


def laid_out(path: Path) -> Iterator[Seen]:
    import pymupdf.layout  # noqa: F401 - which makes pymupdf4llm use it
    import pymupdf4llm

    for page in json.loads(pymupdf4llm.to_json(str(path), use_ocr=False))["pages"]:
        tables, blocks = [], []
        for box in page["boxes"]:
            rows = box["table"] and box["table"]["extract"]
            if rows:
                tables.append(from_rows(rows))
                text = "\n".join("\t".join(cell or "" for cell in row) for row in rows)
            else:
                text = "\n".join("".join(span["text"] for span in line["spans"]) for line in box["textlines"] or ())
            blocks.append(Block("", box["boxclass"], (box["x0"], box["y0"], box["x1"], box["y1"]), text=text))
        yield Seen("\n".join(block.text for block in blocks), tables, blocks)


def marked_down(path: Path) -> str:
    import pymupdf.layout  # noqa: F401
    import pymupdf4llm

    return pymupdf4llm.to_markdown(str(path), use_ocr=False, header=False, footer=False).replace("<br>", " ")


def peers() -> dict[str, Peer]:
    """Those that are installed."""
    there = {"pdfplumber": Peer(plumbed, lambda path: "\n".join(page.text for page in plumbed(path)))}
    if all(find_spec(each) is not None for each in ("pymupdf", "pymupdf4llm", "onnxruntime")):
        there["PyMuPDF layout"] = Peer(laid_out, marked_down)
    return there
