"""Documents parsed for the application: `densessl parse` on one upload, and what it wrote, to be paged through.

The upload has been checked, and is no upload any more (`Worker.document`): a copy of a PDF, which only the limited
process of `densessl.data.pages` reads, or pictures written anew.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from densessl.apps.config import AppConfig
from densessl.config import nearest
from densessl.data.images import UnreadableImage, decode, read_image
from densessl.data.pages import pdf, tiff
from densessl.data.resize import within
from densessl.documents.parsing import Finder, ParseConfig, parse
from densessl.documents.parsing.records import FOLDER as RECORDS
from densessl.errors import UserError
from densessl.progress import Report

FORMATS = {
    "json": "JSON",
    "md": "Markdown",
    "html": "HTML",
    "coco": "COCO",
    "hocr": "hOCR",
    "alto": "ALTO 4",
    "page": "PAGE 2019",
}
ENGINES = {"auto": "as needed", "tesseract": "Tesseract", "rapidocr": "RapidOCR", "none": "none"}
LONGEST, LONGEST_NAME = 500, 40  # letters of a range of pages or a password, and of a format or a language
MOST_LANGUAGES = 20
FLAGS = ("reread", "furniture", "words", "join_tables")
SHOWN = 1400  # pixels of the longest side of a page as it is shown
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 88]


@dataclass(frozen=True)
class Asked:
    """What is asked of a document.

    pages: such as "1-3,7"; None or "" for all, up to the application's limit. formats: of `FORMATS`. engine: what reads
    text where a page has none of its own, of `ENGINES`. password: of a PDF that needs one, else "". The others as
    `ParseConfig` has them.
    """

    pages: str | None = None
    formats: Sequence[str] = ("json", "md", "html")
    engine: str = "auto"
    languages: Sequence[str] = ()
    reread: bool = False
    furniture: bool = False
    words: bool = False
    join_tables: bool = False
    password: str | None = field(default=None, repr=False)

    def check(self) -> None:
        """Raise `UserError` for what cannot be; whether the pages are there is seen later, by `selected`."""
        if not _texts(self.formats):
            raise UserError(f"Formats are a list of names: {', '.join(FORMATS)}.")
        for each in self.formats:
            check_known("format", each, FORMATS)
        if not isinstance(self.pages, str | None):
            raise UserError("Pages are a range such as 1-3,7, as text.")
        check_known("engine", self.engine, ENGINES)
        if not _texts(self.languages) or len(self.languages) > MOST_LANGUAGES:
            raise UserError("Languages are a list of names as Tesseract has them, such as eng and deu.")
        for name in FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise UserError(f"{name} is either true or false.")
        if not isinstance(self.password, str | None) or len(self.password or "") > LONGEST:
            raise UserError(f"A password is a text of at most {LONGEST} letters.")


def _texts(given: object) -> bool:
    """Whether it is a list of short texts."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        return False
    return all(isinstance(each, str) and len(each) <= LONGEST_NAME for each in given)


def check_known(what: str, given: object, known: Iterable[str]) -> None:
    """Raise `UserError` for what is not among the known."""
    if not isinstance(given, str) or given not in known:
        raise UserError(
            f"There is no {what} {str(given)[:LONGEST_NAME]!r}{nearest(str(given), known)} Known: {', '.join(known)}."
        )


@dataclass
class Parsed:
    """A document.

    name: of the upload. source: the safe file. count: of its pages. out: the folder of what was written. numbers: of
    the pages that were parsed. Their contents stay in its JSON, and are read when they are asked for.
    undrawn: why a page cannot be drawn, for those of which that is known: trying may take seconds. password: of a PDF
    that needs one.
    """

    name: str
    source: Path
    count: int
    out: Path
    numbers: frozenset[int]
    notes: list[str] = field(default_factory=list)
    undrawn: dict[int, str] = field(default_factory=dict)
    password: str | None = field(default=None, repr=False)

    @property
    def pages(self) -> list[dict]:
        """The pages that were parsed, as `densessl.documents.parsing.model.to_dict` makes them."""
        return _pages(self.out / f"{self.source.stem}.json")

    def files(self) -> dict[str, Path]:
        """What was written, by its name below the folder, figures included."""
        found = sorted(each for each in self.out.rglob("*") if each.is_file() and not each.name.startswith("."))
        return {str(each.relative_to(self.out)): each for each in found}

    def write_page(self, path: Path, number: int) -> None:
        """The picture of a page, counted from 1 in the document, as it is shown; raises `UserError`, and goes on to."""
        self.check_page(number)
        try:
            image = within(self._page(number - 1), SHOWN)
        except UnreadableImage as error:
            self.undrawn[number] = f"Page {number} of {self.name} cannot be drawn: {error}."
            self.check_page(number)
        path.write_bytes(cv2.imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), JPEG)[1].tobytes())

    def check_page(self, number: int) -> None:
        """Raise `UserError` for a page that could not be drawn before."""
        if number in self.undrawn:
            raise UserError(self.undrawn[number])

    def write_zip(self, path: Path, ask: Callable[[], None] = lambda: None) -> None:
        """All that was written. ask: called before each file; what it raises ends it."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, file in self.files().items():
                ask()
                archive.write(file, name)

    def _page(self, index: int):
        if self.source.suffix == ".pdf":
            return pdf.render(str(self.source), index, SHOWN, self.password)
        if self.source.suffix == ".tif":
            return decode(tiff.read_page(self.source, index))
        return read_image(self.source)


def parse_document(
    source: Path,
    *,
    name: str,
    count: int,
    out: Path,
    asked: Asked,
    detector: Finder,
    config: AppConfig,
    progress: Report,
) -> Parsed:
    """Parse a safe file into the folder `out`; raises `UserError` for what the user can mend."""
    wanted = ParseConfig(
        documents=[str(source)],
        out=str(out),
        formats=list(dict.fromkeys(["json", *asked.formats])),  # what is shown is read from the JSON
        pages=asked.pages,
        model=config.detector,
        ocr=asked.engine,
        languages=list(asked.languages),
        reread=asked.reread,
        furniture=asked.furniture,
        words=asked.words,
        join_tables=asked.join_tables,
        password=asked.password,
        devices=config.devices,
    )
    parse(wanted, progress, detector)
    shutil.rmtree(out / RECORDS, ignore_errors=True)  # no run goes on from them
    found = read_parsed(source, name, count, out)
    found.password = asked.password
    return found


def read_parsed(source: Path, name: str, count: int, out: Path) -> Parsed:
    """What was written of a document; raises `UserError` where there is nothing to be read."""
    try:
        pages = _pages(out / f"{source.stem}.json")
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{name} could not be parsed: no page of it can be read.") from None
    return Parsed(name, source, count, out, frozenset(each["number"] for each in pages), list(_notes(pages)))


def _pages(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["pages"]


def _notes(pages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What could not be done, each sentence once, with the pages that it is true of."""
    said: dict[str, list[int]] = {}
    for page in pages:
        for note in [*page.get("notes", ()), *([page["error"]] if page.get("error") else [])]:
            said.setdefault(note, []).append(page["number"])
    for note, numbers in said.items():
        where = f"page {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} pages"
        yield f"{note} ({where})"


def selected(given: str | None, there: int, most: int) -> str:
    """A range of pages such as "1-3,7" as `densessl parse` takes it, checked.

    Empty stands for all, or the first ones of a document that has more than `most` of the `there` pages. Raises
    `UserError` for what is none, for pages that are not there and for more than `most`.
    """
    if not (given or "").strip():
        return f"1-{min(there, most)}"
    if len(given) > LONGEST:
        raise UserError(f"This range of pages has {len(given):,} letters: write one as 1-3,7.")
    chosen: set[int] = set()
    for part in given.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdecimal() and (not dash or (last.isascii() and last.isdecimal()))):
            raise UserError(f"{given[:40]!r} is no range of pages: write one as 1-3,7.")
        begin, end = int(first[:9]), int((last or first)[:9])
        if not 1 <= begin <= end:
            raise UserError(f"{part[:40]!r} is no range of pages: write one as 1-3,7.")
        if end > there:
            raise UserError(f"There is no page {end}: the document has {there}.")
        chosen.update(range(begin, end + 1))
    if len(chosen) > most:
        raise UserError(f"These are {len(chosen)} pages, more than the {most} that are parsed at a time: give fewer.")
    return given.replace(" ", "")
