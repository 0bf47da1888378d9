"""The application served in this process, for tests that talk to it, and a parser that stands in its place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from densessl.apps.config import AppConfig
from densessl.apps.parsing import Parsed, read_parsed
from densessl.apps.run import Application
from densessl.documents.parsing.model import Block, Cell, Page, Table, to_dict
from densessl.files import write_image, write_text

SCRIPT = "<img src=x onerror='window.harmed = true'><script>window.harmed = true</script>"


def start(**settings: object) -> Application:
    """On a free port of this machine."""
    return Application(AppConfig(**{"devices": "cpu", "backbone": "box", "open_seconds": 20} | settings))


def written(
    source: Path, name: str, count: int, out: Path, formats: Sequence[str], pages: str, engine: str, progress
) -> Parsed:
    """What `densessl parse` writes of a document, with blocks made up."""
    out.mkdir(exist_ok=True)
    numbers = range(1, count + 1) if not pages or pages.startswith("1-") else [int(pages)]
    made = []
    for number in numbers:
        progress("Parsing", number, count, "")
        blocks = [
            Block("p1b1", "title", (72, 60, 520, 95), "Title", 0.97, ("Section-header", 0.02), "On lakes", level=1),
            Block("p1b2", "text", (72, 110, 520, 190), "Text", 0.91, text=f"Page {number}. {SCRIPT} Water. " * 3),
            Block("p1b3", "list_item", (90, 200, 520, 220), "List-item", 0.8, text="depth", marker="•"),
            Block("p1b4", "caption", (72, 240, 520, 255), "Caption", 0.7, text="Table 1: lakes", of="p1b5"),
            Block("p1b5", "table", (72, 260, 520, 400), "Table", 0.99, text="lake\tkm²", table=Table(
                2, 2, [Cell(0, 0, (72, 260, 290, 330), "lake", header=True),
                       Cell(0, 1, (290, 260, 520, 330), "km²", header=True),
                       Cell(1, 0, (72, 330, 290, 400), SCRIPT), Cell(1, 1, (290, 330, 520, 400), "3,4")])),
            Block("p1b6", "figure", (72, 420, 520, 640), "Picture", 0.88, figure="figures/p1b6.png"),
            Block("p1b7", "page_footer", (280, 760, 320, 775), "Page-footer", 0.9, text=str(number)),
        ]  # fmt: skip
        made.append(to_dict(Page(number, 595, 842, 150, blocks, "pdf", ["A figure has no caption."])))
    write_image(out / "figures" / "p1b6.png", np.full((60, 120, 3), (90, 150, 170), np.uint8))
    write_text(out / f"{source.stem}.json", json.dumps({"name": name, "pages": made}))
    if "md" in formats:
        write_text(out / f"{source.stem}.md", "# On lakes\n")
    if "html" in formats:
        write_text(out / f"{source.stem}.html", f"<h1>On lakes</h1>{SCRIPT}")
    return read_parsed(source, name, count, out)
