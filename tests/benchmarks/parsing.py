"""Documents parsed from end to end beside pdfplumber, in one run: what is right of it, and how long it takes.

    densessl pages --out FOLDER --count 300 --seed 7 degrade=0
    python tests/benchmarks/parsing.py FOLDER [--pages 200] [--ocr tesseract|rapidocr]
    python tests/benchmarks/parsing.py --memory FILE.pdf [FILE.pdf ...]

FOLDER's PDFs are parsed by the detector in the box, with all that `densessl parse` does, and by pdfplumber
(`extract_text` and `extract_tables`). Printed are, of both: the similarity of a page's whole text with the truth, 1 -
edit distance / length, without hyphens and blanks; F1 of the adjacency relations of all tables of a page, wherever they
were found; pages a second. Of ours alone, since pdfplumber has no blocks: Kendall's tau of the order of blocks, and the
share of true elements that a block was found for. --ocr: as scans are, by their pictures alone, and ours alone, since
pdfplumber reads none. --memory prints pages a second and the resident memory of a run, now
and at its highest, after each tenth of the pages.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from densessl.documents.adjacency import Adjacency, over_tables, relations
from densessl.documents.parsing.config import ParseConfig
from densessl.documents.parsing.layout.order import tau
from densessl.documents.parsing.model import Page, Table
from densessl.documents.parsing.run import parse
from densessl.documents.parsing.writers import read
from densessl.progress import silent
from tests.benchmarks.parsing_order import matched, plain, similarity, true_regions
from tests.benchmarks.parsing_tables import from_rows, truth


def related(found: list[Table], true: list[Table]) -> Adjacency:
    """The relations of all tables of a page together."""
    ours, theirs = (
        sum((relations(each) for each in tables), start=relations(Table(0, 0, []))) for tables in (found, true)
    )
    return Adjacency((ours & theirs).total(), ours.total(), theirs.total())


def true_pages(folder: Path, most: int) -> dict[Path, list[dict]]:
    """The pages of each PDF, with the true tables of each."""
    images = {each["file_name"]: each["id"] for each in json.loads((folder / "annotations.json").read_text())["images"]}
    tables = defaultdict(list)
    for each in json.loads((folder / "tables.json").read_text())["tables"]:
        tables[each["image_id"]].append(each)
    found, count = {}, 0
    for path in sorted((folder / "documents").glob("*.json")):
        pages = json.loads(path.read_text())
        if count < most and not any(page["degraded"] for page in pages):
            found[path.with_suffix(".pdf")] = [
                page | {"tables": tables[images[page["file_name"]]] if page["file_name"] in images else []}
                for page in pages
            ]
            count += len(pages)
    return found


def ours(paths: list[Path], out: Path, engine: str | None = None) -> tuple[dict[Path, list[Page]], float]:
    began = time.perf_counter()
    read_anew = {} if engine is None else {"ocr": engine, "reread": True}
    documents = [str(path) for path in paths]
    parse(ParseConfig(documents=documents, out=str(out), formats=["json"], devices="cpu", **read_anew), silent)
    seconds = time.perf_counter() - began
    return {path: list(read(out / f"{path.stem}.json")[1]) for path in paths}, seconds


def theirs(paths: list[Path]) -> tuple[dict[Path, list[tuple[str, list[Table]]]], float]:
    import pdfplumber

    began, found = time.perf_counter(), {}
    for path in paths:
        with pdfplumber.open(path) as document:
            found[path] = [
                (page.extract_text() or "", [from_rows(rows) for rows in page.extract_tables() if rows])
                for page in document.pages
            ]
    return found, time.perf_counter() - began


def compare(folder: Path, most: int, engine: str | None = None) -> None:
    pages = true_pages(folder, most)
    paths, count = list(pages), sum(map(len, pages.values()))
    with tempfile.TemporaryDirectory() as out:
        parse(ParseConfig(documents=str(paths[0]), out=f"{out}/warm", formats=["json"], devices="cpu"), silent)
        parsed, seconds = ours(paths, Path(out) / "ours", engine)
    named = "densessl" if engine is None else f"densessl, {engine}"
    took = {named: seconds}
    if engine is None:
        plumbed, took["pdfplumber"] = theirs(paths)
    figures: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for path, truths in pages.items():
        for number, (page, true) in enumerate(zip(parsed[path], truths, strict=True)):
            whole = plain("".join(each["text"] for each in true["elements"]))
            own = "".join(f"{block.marker or ''}{block.text}" for block in page.blocks)
            figures[named]["text"].append(similarity(plain(own), whole))
            marked = [truth(each, 72 / true["dpi"]) for each in true["tables"]]
            told = [block.table for block in page.blocks if block.table is not None]
            figures[named]["tables"].append(related(told, marked))
            if engine is None:
                text, tables = plumbed[path][number]
                figures["pdfplumber"]["text"].append(similarity(plain(text), whole))
                figures["pdfplumber"]["tables"].append(related(tables, marked))
            _, boxes = true_regions(true)
            pairs = matched(page.blocks, boxes)
            figures[named]["tau"].append(tau([block for block, _ in pairs]))
            figures[named]["found"] += [1.0] * len(pairs) + [0.0] * (len(boxes) - len(pairs))
    for name, seconds in took.items():
        of, tables = figures[name], over_tables(figures[name]["tables"])
        print(
            f"{name:20} {count} pages: text {np.mean(of['text']):.4f}, "
            f"tables P {tables.precision:.3f} R {tables.recall:.3f} F1 {tables.f1:.3f}, {count / seconds:.2f} pages/s"
            + (
                f", order (tau) {np.mean(of['tau']):.4f}, elements found {np.mean(of['found']):.3f}"
                if of["tau"]
                else ""
            )
        )


def memory(paths: list[str]) -> None:
    began, last = time.perf_counter(), [-1]

    def tell(stage: str, done: int, total: int, note: str) -> None:
        tenth = 10 * done // max(1, total)
        if tenth != last[0]:
            last[0] = tenth
            own = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
            highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
            print(
                f"{done:5} of {total} pages, {time.perf_counter() - began:6.1f} s: {own:.0f} MiB, at most {highest:.0f}"
            )

    with tempfile.TemporaryDirectory() as out:
        config = ParseConfig(documents=paths, out=out, formats=["json", "md", "html"], devices="cpu")
        summary = parse(config, tell)
        tell("Parsing", summary.pages, summary.pages, "")
    print(f"{summary.pages / (time.perf_counter() - began):.2f} pages/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", help="a folder of densessl pages, or PDFs")
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--ocr", choices=("tesseract", "rapidocr"))
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    if options.memory:
        memory(options.places)
    else:
        compare(Path(options.places[0]), options.pages, options.ocr)


if __name__ == "__main__":
    main()
