"""Real documents that are there twice: their PDF parsed, beside other parsers; their HTML or plain text as the truth.

    python tests/benchmarks/parsing_real.py R-intro.pdf=R-intro.html bashref.pdf=bashref.html faq.pdf=faq.txt

Debian's packages carry such pairs (r-doc-pdf and r-doc-html, bash-doc, developers-reference, debian-faq). Printed is
how much of the one is in the other, as runs of five words: P of the output's are in the truth, R of the truth's in the
output, and F1. A run is lost where words stand in a wrong order, where a word is cut at the end of a line, and where a
header, a footer or a note stands in the midst of the text. What only one of the two has (contents, an index, links to
other pages of the HTML) costs all parsers the same.
"""

from __future__ import annotations

import argparse
import gzip
import re
import tempfile
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from densessl.documents.parsing.config import ParseConfig
from densessl.documents.parsing.model import FURNITURE
from densessl.documents.parsing.run import parse
from densessl.documents.parsing.writers import read
from densessl.progress import silent
from tests.benchmarks.parsing_peers import peers

RUN = 5  # words
UNSEEN = ("script", "style", "title")


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self._hidden += tag in UNSEEN
        self.parts.append("" if tag in ("a", "b", "i", "em", "strong", "code", "span", "var", "samp") else " ")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in UNSEEN

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def true_text(path: Path) -> str:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "replace")
    if ".htm" not in path.name:
        return text
    parser = _Text()
    parser.feed(text)
    return "".join(parser.parts)


def runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(zip(*(words[place:] for place in range(RUN)), strict=False))


def by_densessl(path: Path) -> str:
    with tempfile.TemporaryDirectory() as out:
        parse(ParseConfig(documents=str(path), out=out, formats=["json"], figures=False, devices="cpu"), silent)
        pages = list(read(Path(out) / f"{path.stem}.json")[1])
    blocks = (block for page in pages for block in page.blocks if block.type not in FURNITURE)
    return "\n".join(f"{block.marker or ''} {block.text}" for block in blocks)


def outputs(path: Path) -> Iterator[tuple[str, str]]:
    yield "densessl", by_densessl(path)
    for name, peer in peers().items():
        yield name, peer.prose(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", help="DOCUMENT.pdf=TRUTH.html, or .txt, which may be gzipped")
    for pair in parser.parse_args().pairs:
        document, truth = (Path(each) for each in pair.split("=", 1))
        wanted, began = runs(true_text(truth)), time.perf_counter()
        for name, text in outputs(document):
            found, seconds = runs(text), time.perf_counter() - began
            precision, recall = (len(found & wanted) / max(1, len(each)) for each in (found, wanted))
            f1 = 2 * precision * recall / max(1e-9, precision + recall)
            print(
                f"{document.name:28} {name:15} P {precision:.3f} R {recall:.3f} F1 {f1:.3f} {seconds:6.1f} s",
                flush=True,
            )
            began = time.perf_counter()


if __name__ == "__main__":
    main()
