"""Documents parsed from end to end beside other parsers, in one run: what is right of it, and how long it takes.

    densessl pages --out FOLDER --count 300 --seed 7 degrade=0
    python tests/benchmarks/parsing.py FOLDER [--pages 200] [--ocr tesseract|rapidocr] [--languages eng,deu]
    python tests/benchmarks/parsing.py --memory FILE.pdf [FILE.pdf ...]

FOLDER's PDFs are parsed by the detector in the box, with all that `densessl parse` does, and by the parsers of
`parsing_peers.py` that are installed. Printed are, of all: the similarity of a page's whole text with the truth, 1 -
edit distance / length, without hyphens and blanks; F1 of the adjacency relations of all tables of a page, wherever they
were found; pages a second; of those that know blocks, Kendall's tau of their order, and the share of true elements that
one was found for (IoU of half). The detector in the box has learned from generated pages of other seeds, the others
have not. --ocr: as scans are, by their pictures alone, and by ours alone; --languages: those of Tesseract, English
unless given. --memory prints pages a second and the resident memory of a run, now and at its highest, after each tenth
of the pages.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
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
from tests.benchmarks.parsing_peers import Seen, peers
from tests.benchmarks.parsing_tables import truth


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


def ours(
    paths: list[Path], out: Path, engine: str | None = None, languages: Sequence[str] = ()
) -> tuple[dict[Path, list[Page]], float]:
    began = time.perf_counter()
    read_anew = {} if engine is None else {"ocr": engine, "languages": list(languages), "reread": True}
    documents = [str(path) for path in paths]
    parse(ParseConfig(documents=documents, out=str(out), formats=["json"], devices="cpu", **read_anew), silent)
    seconds = time.perf_counter() - began
    return {path: list(read(out / f"{path.stem}.json")[1]) for path in paths}, seconds


def theirs(paths: list[Path], see: Callable[[Path], Iterator[Seen]]) -> tuple[dict[Path, list[Seen]], float]:
    began = time.perf_counter()
    return {path: list(see(path)) for path in paths}, time.perf_counter() - began


def as_seen(page: Page) -> Seen:
    tables = [block.table for block in page.blocks if block.table is not None]
    return Seen("".join(f"{block.marker or ''}{block.text}" for block in page.blocks), tables, page.blocks)


def compare(folder: Path, most: int, engine: str | None = None, languages: Sequence[str] = ()) -> None:
    truths = true_pages(folder, most)
    paths, results = list(truths), {}
    with tempfile.TemporaryDirectory() as out:
        parse(ParseConfig(documents=str(paths[0]), out=f"{out}/warm", formats=["json"], devices="cpu"), silent)
        parsed, seconds = ours(paths, Path(out) / "ours", engine, languages)
    named = "densessl" if engine is None else f"densessl, {engine}"
    results[named] = {path: [as_seen(page) for page in pages] for path, pages in parsed.items()}, seconds
    for name, peer in peers().items() if engine is None else ():
        list(peer.pages(paths[0]))
        results[name] = theirs(paths, peer.pages)
    for name, (found, seconds) in results.items():
        pages = [pair for path, each in truths.items() for pair in zip(found[path], each, strict=True)]
        print(f"{name:21} {figures(pages)}, {len(pages) / seconds:.2f} pages/s")


def figures(pages: list[tuple[Seen, dict]]) -> str:
    """Of pages and what is true of them."""
    texts, tables, taus, hits = [], [], [], []
    for page, true in pages:
        texts.append(similarity(plain(page.text), plain("".join(each["text"] for each in true["elements"]))))
        tables.append(related(page.tables, [truth(each, 72 / true["dpi"]) for each in true["tables"]]))
        if page.blocks is not None:
            _, boxes = true_regions(true)
            pairs = matched(page.blocks, boxes)
            taus.append(tau([block for block, _ in pairs]))
            hits += [1.0] * len(pairs) + [0.0] * (len(boxes) - len(pairs))
    told = over_tables(tables)
    said = f"{len(pages)} pages: text {np.mean(texts):.4f}, tables P {told.precision:.3f} R {told.recall:.3f}"
    order = f", order (tau) {np.mean(taus):.4f}, elements found {np.mean(hits):.3f}" if taus else ""
    return f"{said} F1 {told.f1:.3f}{order}"


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
    parser.add_argument("--languages", type=lambda given: given.split(","), default=())
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    if options.memory:
        memory(options.places)
    else:
        compare(Path(options.places[0]), options.pages, options.ocr, options.languages)


if __name__ == "__main__":
    main()
