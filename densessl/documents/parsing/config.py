"""What `densessl parse` can be told."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from densessl import config as configs
from densessl.config import nearest
from densessl.documents.parsing.ocr import ENGINES
from densessl.errors import UserError, from_0_to_1, require

FORMATS = ("json", "md", "html", "coco", "hocr", "alto", "page")
_VARIABLE = re.compile(r"\$\{oc\.env:(\w+)\}")
_RANGE = re.compile(r"(\d{1,9})(-(\d{0,9}))?", re.ASCII)


@dataclass
class ParseConfig:
    """A run of `densessl parse`.

    documents: PDFs, TIFFs, pictures and folders of them, as `open_source` takes them. out: folder of what is written.
    formats: json, md, html, coco, hocr, alto, page; several with commas between.
    pages: of each document, such as "1-3,7" or "5-"; None is all of them.
    model: a detector of layout, by the folder of its run or its detector.safetensors; None is the one that the package
        brings. score: what it finds with less is left out.
    ocr: what reads pages that have no text of their own: tesseract, rapidocr (the extra `ocr`) or none; auto takes the
        first that is installed. languages: of tesseract, by its own names; English where none is given. reread: read
        pages that have text, too.
    furniture: headers and footers of pages in Markdown and HTML too. words: lines and words with their places in JSON.
    figures: write the picture of each figure beside the document. join_tables: make one of the parts of a table that
        goes on over the end of a page.
    page_side: longest side in pixels of a page of a PDF as the detector, tables and figures see it; ocr_side: as the
        engine that reads it does, and the most that it is shown of a picture.
    password: of PDFs that need one, as it stands; '${oc.env:NAME}' takes it from the environment.
    workers: pages in work at once; None is one for each core. devices: of the detector, as everywhere.
    """

    documents: Any = MISSING
    out: str = MISSING
    formats: list[str] = field(default_factory=lambda: ["json", "md", "html"])
    pages: str | None = None
    model: str | None = None
    score: float = 0.35
    ocr: str = "auto"
    languages: list[str] = field(default_factory=list)
    reread: bool = False
    furniture: bool = False
    words: bool = False
    figures: bool = True
    join_tables: bool = False
    page_side: int = 1600
    ocr_side: int = 2600
    password: str | None = field(default=None, repr=False)
    workers: int | None = None
    devices: str = "auto"

    def check(self) -> None:
        """Raise `UserError` for what cannot be."""
        from_0_to_1("densessl parse", self, "score")
        require(len(self.formats) > 0, f"formats=[] writes nothing: give some of {', '.join(FORMATS)}.")
        for each in self.formats:
            known = "; did you mean 'md'?" if each == "markdown" else nearest(each, FORMATS)
            require(each in FORMATS, f"There is no format {each!r} among {', '.join(FORMATS)}{known}")
        meant = nearest(self.ocr, ENGINES)
        require(self.ocr in ENGINES, f"ocr={self.ocr} is not one of: {', '.join(ENGINES)}{meant}")
        for key in ("page_side", "ocr_side"):
            value = getattr(self, key)
            require(256 <= value <= 10_000, f"{key}={value} must be from 256 to 10000 pixels.")
        fine = self.workers is None or self.workers >= 1
        require(fine, f"workers={self.workers} must be 1 or more.")
        self.wanted(1)

    def wanted(self, page: int) -> bool:
        """Whether `pages` has the page of this number, from 1; raises `UserError` where it cannot be understood."""
        if self.pages is None:
            return True
        return any(first <= page <= (last or page) for first, last in _ranges(str(self.pages)))


@cache
def _ranges(pages: str) -> list[tuple[int, int | None]]:
    """First and last page of each part, None for a part without an end."""
    found = []
    for part in pages.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise UserError(f"pages={pages[:60]} cannot be understood: give some such as 1-3,7 or 5-.")
        first = int(match[1])
        last = first if match[2] is None else int(match[3]) if match[3] else None
        if first < 1:
            raise UserError(f"pages={pages[:60]} begins before page 1.")
        if last is not None and last < first:
            raise UserError(f"pages={pages[:60]} runs backwards.")
        found.append((first, last))
    return found


def _revealed(password: str) -> str:
    """A password, which no YAML is: 007 would be the number 7. Raises `UserError` for a name that is not there."""
    named = _VARIABLE.fullmatch(password)
    if named and named[1] not in os.environ:
        raise UserError(f"There is no {named[1]} in the environment, where the password is said to be.")
    return os.environ[named[1]] if named else password


def resolve(documents: Sequence[str], out: str | Path, formats: Sequence[str], overrides: Sequence[str]) -> ParseConfig:
    """The checked config of a command; raises `UserError`."""
    given = {"documents": list(documents), "out": str(out), "formats": [each.strip() for each in formats]}
    others = [each for each in overrides if not each.startswith("password=")]
    config = configs.build(ParseConfig, OmegaConf.create(given), configs.parse_overrides(others))
    for each in overrides:
        if each not in others:
            config.password = _revealed(each.removeprefix("password=")) or None
    config.check()
    return config
