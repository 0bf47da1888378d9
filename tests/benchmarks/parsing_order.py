"""Blocks and their order on generated pages whose truth is known, from true regions and from a detector's.

    python tests/benchmarks/parsing_order.py FOLDER [--pages 200] [--detector box] [--only true]

FOLDER: what `densessl pages --out FOLDER` has written; its born-digital pages are taken, spread evenly. Words are those
of the PDF as pdfplumber has them. Printed are, of all pages: Kendall's tau of the reading order (blocks take the true
element of greatest IoU, 0.5 or more), with and without footnotes, which the generator has at the end of their column
and the parser at the end of the page; the share of true elements that a block was found for; the similarity of texts,
1 - edit distance / length, as they are and without hyphens and spaces, since the generator's texts keep what lines
divide; the share of words that are in no block, or in more than one; and the milliseconds of a
processor that a page takes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pdfplumber

from densessl.documents.matching import ious
from densessl.documents.parsing.layout.order import tau
from densessl.documents.parsing.layout.structure import Region, blocks_of
from densessl.documents.parsing.model import Block, Word

FIT = 0.5  # IoU of a block with the element that it is
SIDE = 1600  # pixels of a page that the detector sees
TEXTS = ("Text", "List-item", "Section-header", "Title", "Caption", "Footnote")


def words_of(path: Path, number: int) -> list[Word]:
    """Those of a PDF's page, counted from 0, in points."""
    with pdfplumber.open(path) as document:
        found = document.pages[number].extract_words(
            x_tolerance_ratio=0.15, keep_blank_chars=False, extra_attrs=["fontname", "size"]
        )
    return [
        Word(
            each["text"],
            (each["x0"], each["top"], each["x1"], each["bottom"]),
            float(each["size"]),
            "Bold" in each["fontname"],
            "Italic" in each["fontname"] or "Oblique" in each["fontname"],
        )
        for each in found
    ]


def distance(a: str, b: str) -> int:
    """Levenshtein's, after Myers (1999): a column of the table of distances is two bit vectors, of +1 and of -1."""
    if not a:
        return len(b)
    places: dict[str, int] = defaultdict(int)
    for place, letter in enumerate(a):
        places[letter] |= 1 << place
    full, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    up, down, score = full, 0, len(a)
    for letter in b:
        same = places.get(letter, 0)
        diagonal = (((same & up) + up) ^ up) | same | down
        rise, fall = down | ~(diagonal | up) & full, up & diagonal
        score += bool(rise & last) - bool(fall & last)
        rise, fall = (rise << 1 | 1) & full, fall << 1 & full
        up, down = fall | ~(diagonal | rise) & full, rise & diagonal
    return score


def similarity(a: str, b: str) -> float:
    return 1 - distance(a, b) / max(len(a), len(b), 1)


def plain(text: str) -> str:
    return "".join(letter for letter in text if not letter.isspace() and letter not in "-\u2010\u00ad")


def matched(blocks: list[Block], truth: np.ndarray) -> list[tuple[int, int]]:
    """(block, element) in the order of elements, each in one pair at most, greatest IoU first."""
    overlaps = ious(np.array([block.bbox for block in blocks]).reshape(-1, 4), truth)
    pairs = []
    while overlaps.size and overlaps.max() >= FIT:
        block, element = np.unravel_index(overlaps.argmax(), overlaps.shape)
        pairs.append((int(block), int(element)))
        overlaps[block], overlaps[:, element] = 0, 0
    return sorted(pairs, key=lambda pair: pair[1])


def born_digital(folder: Path, count: int) -> Iterator[tuple[Path, dict]]:
    pages = [
        (path.with_suffix(".pdf"), page)
        for path in sorted((folder / "documents").glob("*.json"))
        for page in json.loads(path.read_text())
        if not page["degraded"]
    ]
    for place in np.linspace(0, len(pages) - 1, min(count, len(pages))).round().astype(int):
        yield pages[place]


def true_regions(page: dict) -> tuple[list[Region], np.ndarray]:
    scale = 72 / page["dpi"]
    boxes = np.array([each["bbox"] for each in page["elements"]], float).reshape(-1, 4) * scale
    boxes[:, 2:] += boxes[:, :2]
    named = zip(page["elements"], boxes.tolist(), strict=True)
    return [Region(tuple(box), each["kind"], 1.0) for each, box in named], boxes


def found_regions(detector, path: Path, page: dict) -> list[Region]:
    from densessl.data.pages import pdf

    picture = pdf.render(str(path), page["page"], SIDE)
    scale = page["width"] / page["dpi"] * 72 / picture.shape[1]
    found = detector.find(picture)
    named = zip(found.boxes.tolist(), found.classes.tolist(), found.scores.tolist(), strict=True)
    return [
        Region(tuple(value * scale for value in box), detector.classes[kind], score)
        for box, kind, score in named
        if score >= 0.5
    ]


def judged(blocks: list[Block], words: list[Word], page: dict, truth: np.ndarray) -> dict[str, list[float]]:
    pairs = matched(blocks, truth)
    elements = page["elements"]
    running = [block for block, element in pairs if elements[element]["kind"] != "Footnote"]
    figures: dict[str, list[float]] = {
        "tau": [tau([block for block, _ in pairs])],
        "tau without footnotes": [tau(running)],
        "elements found": [float(len(pairs)), float(len(elements))],
        "text": [],
        "text without hyphens, spaces": [],
    }
    for block, element in pairs:
        if elements[element]["kind"] in TEXTS:
            text = f"{blocks[block].marker or ''} {blocks[block].text}".strip()
            figures["text"].append(similarity(text, elements[element]["text"]))
            figures["text without hyphens, spaces"].append(similarity(plain(text), plain(elements[element]["text"])))
    times = Counter(id(word) for block in blocks for line in block.lines for word in line.words)
    figures["words lost"] = [float(id(word) not in times) for word in words]
    figures["words doubled"] = [float(times[id(word)] > 1) for word in words]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--detector", default="box")
    parser.add_argument("--only", choices=("true", "detector"))
    options = parser.parse_args()
    detector = None
    if options.only != "true":
        from densessl.documents.detection.detector import load_detector

        detector = load_detector(options.detector)
    totals: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path, page in born_digital(options.folder, options.pages):
        words = words_of(path, page["page"])
        regions, truth = true_regions(page)
        ways = {} if options.only == "detector" else {"true regions": regions}
        if detector is not None:
            ways[f"detector {options.detector}"] = found_regions(detector, path, page)
        scale = 72 / page["dpi"]
        for way, regions in ways.items():
            start = time.process_time()
            blocks = blocks_of(regions, words, page["width"] * scale, page["height"] * scale, page["page"] + 1)
            totals[way]["ms of a processor a page"].append(1000 * (time.process_time() - start))
            for name, values in judged(blocks, words, page, truth).items():
                totals[way][name] += values
    for way, figures in totals.items():
        print(f"{way}, {len(figures['tau'])} pages")
        for name, values in figures.items():
            whole = sum(values[::2]) / sum(values[1::2]) if name == "elements found" else float(np.mean(values or [0]))
            print(f"  {name:30} {whole:.4f}")


if __name__ == "__main__":
    main()
