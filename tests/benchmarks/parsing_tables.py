"""How well tables are read, beside pdfplumber, camelot and img2table where they are installed, in one run.

`python tests/benchmarks/parsing_tables.py FOLDER [--most 200] [--every 1]`; FOLDER is one that `densessl pages` made;
its undegraded pages are read. Each reader is given the table's true box; the words of ours are pdfplumber's. Printed by
kind of table, as the page's drawing tells: with upright lines, with horizontal ones only, with backgrounds only, bare.
F1: of ICDAR 2013's adjacency relations, all tables together. shape: share of tables with the true numbers of rows and
columns. exact: share whose cells all have their true place, spans and text. header: F1 of header cells by place and
text. ms: median of a table, and of the page where a reader takes no table. img2table finds tables itself: the one that
overlaps most counts.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pdfplumber

from densessl.data.pages import pdf
from densessl.documents.adjacency import Adjacency, adjacency, over_tables
from densessl.documents.parsing.model import Box, Cell, Table, Word
from densessl.documents.parsing.tables.table import read_table

SIDE = 1024  # pixels of a page


@dataclass
class Case:
    """A table of a page. bbox, and places in `true`: in points."""

    path: Path
    page: object
    number: int
    bbox: Box
    true: Table
    kind: str
    words: list[Word]
    picture: np.ndarray
    scale: float


def cases(folder: Path, most: int, every: int = 1, skip: int = 0) -> Iterator[Case]:
    """The tables of undegraded pages, of every so-manieth page."""
    pages = {each["id"]: each for each in json.loads((folder / "annotations.json").read_text())["images"]}
    tables: dict[int, list[dict]] = {}
    for each in json.loads((folder / "tables.json").read_text())["tables"]:
        if not pages[each["image_id"]]["degraded"]:
            tables.setdefault(each["image_id"], []).append(each)
    count = 0
    for number, own in list(tables.items())[skip::every]:
        record = pages[number]
        path = folder / "documents" / f"{record['document']:06}.pdf"
        with pdfplumber.open(path) as document:
            page = document.pages[record["page"]]
            words = words_of(page)
            picture = pdf.render(str(path), record["page"], SIDE)
            scale = picture.shape[0] / float(page.height)
            for each in own:
                if count == most:
                    return
                count += 1
                factor = float(page.height) / record["height"]
                x, y, wide, high = (part * factor for part in each["bbox"])
                bbox = x, y, x + wide, y + high
                true = truth(each, factor)
                yield Case(path, page, record["page"], bbox, true, kind_of(page, bbox), words, picture, scale)


def words_of(page) -> list[Word]:
    found = page.extract_words(extra_attrs=["fontname", "size"], x_tolerance_ratio=0.15)
    return [
        Word(
            each["text"],
            (each["x0"], each["top"], each["x1"], each["bottom"]),
            each["size"],
            bold="bold" in each["fontname"].lower(),
        )
        for each in found
    ]


def truth(record: dict, factor: float) -> Table:
    cells = []
    for each in record["cells"]:
        (row, last_row), (column, last_column) = each["rows"], each["columns"]
        x0, y0, x1, y1 = (each["corners"][part] * factor for part in (0, 1, 2, 5))
        spans = last_row - row + 1, last_column - column + 1
        cells.append(Cell(row, column, (x0, y0, x1, y1), each["text"], *spans, each["header"]))
    return Table(len(record["rows"]), len(record["columns"]), cells)


def kind_of(page, bbox: Box) -> str:
    """By what is drawn within the table, not by its rim."""
    x0, y0, x1, y1 = bbox
    thin = [each for each in (*page.lines, *page.rects, *page.curves) if _within(each, bbox)]
    upright = [each for each in thin if each["x1"] - each["x0"] < 3 < each["bottom"] - each["top"]]
    boxes = [
        each
        for each in thin
        if each.get("stroke") and each["x1"] - each["x0"] < 0.95 * (x1 - x0) and each["bottom"] - each["top"] > 3
    ]
    if any(x0 + 3 < each["x0"] < x1 - 3 for each in upright) or boxes:
        return "upright lines"
    if any(each["bottom"] - each["top"] < 3 for each in thin):
        return "horizontal lines"
    return "backgrounds" if thin else "bare"


def _within(each: dict, bbox: Box) -> bool:
    x0, y0, x1, y1 = bbox
    return x0 - 3 <= each["x0"] and each["x1"] <= x1 + 3 and y0 - 3 <= each["top"] and each["bottom"] <= y1 + 3


def ours(case: Case) -> Table | None:
    return read_table(case.words, case.bbox, case.picture, case.scale)


def plumber(strategy: str) -> Callable[[Case], Table | None]:
    def read(case: Case) -> Table | None:
        x0, y0, x1, y1 = case.page.bbox
        a, b, c, d = case.bbox
        part = case.page.crop((max(x0, a - 1), max(y0, b - 1), min(x1, c + 1), min(y1, d + 1)))
        rows = part.extract_table({"vertical_strategy": strategy, "horizontal_strategy": strategy})
        return from_rows(rows)

    return read


def camelot(flavor: str) -> Callable[[Case], Table | None]:
    import camelot as library

    def read(case: Case) -> Table | None:
        a, b, c, d = case.bbox
        top = float(case.page.height)
        area = ",".join(str(round(each, 1)) for each in (a - 1, top - b + 1, c + 1, top - d - 1))
        found = library.read_pdf(str(case.path), pages=str(case.number + 1), flavor=flavor, table_areas=[area])
        return from_rows(found[0].df.values.tolist()) if len(found) else None

    return read


def img2table() -> Callable[[Case], Table | None]:
    from img2table.document import PDF

    def read(case: Case) -> Table | None:
        document = PDF(str(case.path), pages=[case.number])
        found = document.extract_tables(borderless_tables=True, implicit_rows=True)[case.number]
        factor = 72 / 200  # it renders at 200 dpi
        best = max(found, key=lambda each: _shared(case.bbox, each.bbox, factor), default=None)
        if best is None or _shared(case.bbox, best.bbox, factor) <= 0:
            return None
        return from_rows(best.df.values.tolist())

    return read


def _shared(box: Box, other, factor: float) -> float:
    wide = min(box[2], other.x2 * factor) - max(box[0], other.x1 * factor)
    high = min(box[3], other.y2 * factor) - max(box[1], other.y1 * factor)
    return max(0.0, wide) * max(0.0, high)


def from_rows(rows: list[list[str | None]] | None) -> Table | None:
    """None is blank. Words that a line's end divides are joined as in the truth and by ours."""
    if not rows:
        return None
    cells = [
        Cell(row, column, (0, 0, 0, 0), _joined(text) if isinstance(text, str) else "")
        for row, texts in enumerate(rows)
        for column, text in enumerate(texts)
    ]
    return Table(len(rows), max(map(len, rows)), cells)


def _joined(text: str) -> str:
    return " ".join(re.sub(r"(?<=[^\W\d_]{2})[-\u00ad\u2010]\s*\n\s*(?=[^\W\d_])", "", text).split())


@dataclass
class Score:
    adjacency: Adjacency
    shape: bool
    exact: bool
    headers: tuple[int, int, int]
    seconds: float


def score(found: Table | None, true: Table, seconds: float) -> Score:
    shape = found is not None and (found.rows, found.columns) == (true.rows, true.columns)
    exact = found is not None and _cells(found) == _cells(true)
    heads = [_headers(each) if each is not None else set() for each in (found, true)]
    return Score(adjacency(found, true), shape, exact, (len(heads[0] & heads[1]), *map(len, heads)), seconds)


def _cells(table: Table) -> set:
    return {
        (each.row, each.column, each.rows, each.columns, "".join(each.text.split()))
        for each in table.cells
        if each.text
    }


def _headers(table: Table) -> set:
    return {(each.row, each.column, "".join(each.text.split())) for each in table.cells if each.header and each.text}


def line(name: str, scores: list[Score]) -> str:
    whole = over_tables(each.adjacency for each in scores)
    right, found, true = (sum(each.headers[place] for each in scores) for place in range(3))
    header = 2 * right / (found + true) if found + true else 0.0
    mean = len(scores)
    return (
        f"{name:20} {mean:5} {whole.precision:9.3f} {whole.recall:6.3f} {whole.f1:6.3f} "
        f"{sum(each.shape for each in scores) / mean:6.3f} {sum(each.exact for each in scores) / mean:6.3f} "
        f"{header:6.3f} {1000 * statistics.median(each.seconds for each in scores):7.1f}"
    )


def readers(names: list[str]) -> dict[str, Callable[[Case], Table | None]]:
    makers = {
        "densessl": lambda: ours,
        "pdfplumber lines": lambda: plumber("lines"),
        "pdfplumber text": lambda: plumber("text"),
        "camelot stream": lambda: camelot("stream"),
        "camelot lattice": lambda: camelot("lattice"),
        "img2table": img2table,
    }
    found = {}
    for name, make in makers.items():
        if not names or name.split()[0] in names:
            try:
                found[name] = make()
            except ImportError as error:
                print(f"{name} is not installed: {error}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--readers", nargs="*", default=[])
    parser.add_argument("--worst", type=int, default=0, help="show so many tables that ours reads worst")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    chosen = readers(options.readers)
    scores: dict[str, dict[str, list[Score]]] = {name: {} for name in chosen}
    bad = []
    for case in cases(options.folder, options.most, options.every, options.skip):
        for name, read in chosen.items():
            begun = time.perf_counter()
            try:
                found = read(case)
            except Exception as error:
                if name == "densessl":
                    raise
                print(f"{name}: {case.path.name} page {case.number + 1}: {type(error).__name__}: {error}"[:120])
                found = None
            own = score(found, case.true, time.perf_counter() - begun)
            for kind in ("all", case.kind):
                scores[name].setdefault(kind, []).append(own)
            if name == "densessl":
                wrong = own.adjacency.found + own.adjacency.true - 2 * own.adjacency.correct
                bad.append((wrong, case.path.name, case.number, [round(each) for each in case.bbox], case.kind))
    for kind in sorted({kind for own in scores.values() for kind in own}):
        print(f"\n{kind:20} count precision recall     F1  shape  exact header      ms")
        for name, own in scores.items():
            print(line(name, own[kind]))
    for each in sorted(bad, key=lambda each: -each[0])[: options.worst]:
        print(*each)


if __name__ == "__main__":
    main()
