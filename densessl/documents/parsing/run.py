"""`densessl parse`: documents to files of their contents.

Pages are looked at one by one, several at once, and each leaves a record of all that was found, words too (`records`).
When a document's pages are all there, what only the whole of it tells (levels of headings, headers and footers that
come again) is found in its records, and its files are written from them, page by page: memory does not grow with the
contents of pages or documents. The same command again looks only at pages without a record, and with other formats it
writes those without looking at any.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from threading import Event, Lock

import numpy as np

import densessl
from densessl.backbones.load import BOX
from densessl.data.images import UnreadableImage
from densessl.data.pages import pdf
from densessl.data.sources import Source, Unreadable, open_source
from densessl.data.sources.base import digest
from densessl.data.sources.places import check_apart
from densessl.documents.detection.detector import DETECTOR, Detector, load_detector
from densessl.documents.detection.evaluate import device_of
from densessl.documents.detection.objects import Found
from densessl.documents.parsing.config import ParseConfig
from densessl.documents.parsing.figures import write_figures
from densessl.documents.parsing.layout.whole import Whole
from densessl.documents.parsing.look import UNSURE, Finder, Looker
from densessl.documents.parsing.model import Document
from densessl.documents.parsing.ocr import Engine, engine
from densessl.documents.parsing.records import Records
from densessl.documents.parsing.tables.join import linked
from densessl.documents.parsing.writers import WRITERS, Options
from densessl.errors import UserError
from densessl.files import claimed, remove_leftovers, stems
from densessl.hardware import cores
from densessl.progress import Progress, Report

# The number that goes up when the same settings would find something else on a page.
VERSION = 5
WAIT = 0.5  # seconds between two reports
# Formats that are read, rather than laid over the picture of the page, where words stay where they are.
READ = ("json", "md", "html")
# Settings that change nothing of what is found on a page.
LATER = ("documents", "out", "formats", "pages", "furniture", "words", "join_tables", "password", "workers", "devices")


@dataclass
class Summary:
    """What a run did.

    documents: the stems of their files below `folder`. first: of them the first with a page that can be read. pages:
    that were asked for; before: of them those that were looked at by a run before; unreadable: of them. sources: of how
    many pages the words are from where. unsure: pages whose notes have `UNSURE`, of documents whose files were written.
    notes: sentences on what was left out.
    """

    folder: Path
    formats: Sequence[str]
    documents: list[str] = field(default_factory=list)
    first: str | None = None
    pages: int = 0
    before: int = 0
    unreadable: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    unsure: int = 0
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        total = len(self.documents)
        sentences = [*self.notes, f"{_count(total, 'document')} of {_count(self.pages, 'page')}"]
        if self.before:
            sentences[-1] += f", {self.before} of them done already"
        if self.sources:
            told = {"pdf": "from the PDF", "none": "by nothing: there is no engine"}
            read = [f"{count} {told.get(name, f'by {name}')}" for name, count in self.sources.most_common()]
            sentences[-1] += f"; text of pages: {', '.join(read)}"
        if self.first:
            sentences[-1] += f". Look at {self.folder / self.first}{WRITERS[self.formats[0]].suffix}"
        sentences[-1] += f" and others in {self.folder}." if total > 1 or len(self.formats) > 1 else "."
        if self.unsure:
            sentences.append(f"Of {_count(self.unsure, 'page')} the engine is unsure: is it in another language?")
        if self.unreadable:
            sentences.append(
                f"{_count(self.unreadable, 'page')} cannot be read: {self.folder / 'unreadable.txt'} lists them."
            )
        return " ".join(sentences)


def parse(config: ParseConfig, report: Report | None = None, detector: Finder | None = None) -> Summary:
    """Write the contents of documents in the formats that are asked for.

    report: as `Progress`, called twice a second; what it raises ends the run, and the same call again goes on.
    detector: that of `config.model`, where it is loaded already.
    Raises `UserError` for what the user can mend; pages that cannot be read are listed in unreadable.txt and stand in
    the outputs with the reason.
    """
    config.check()
    reader = engine(config.ocr, config.languages)
    source = _opened(config, config.page_side)
    folder = Path(config.out).expanduser()
    check_apart(config.documents, folder)
    place = BOX if config.model in (None, "box") else Path(config.model).expanduser()
    detector = detector or _Alone(load_detector(place).to(device_of(config.devices)))
    weights = place / DETECTOR if place.is_dir() else place
    with claimed(folder):
        remove_leftovers(folder)
        return Run(config, source, folder, detector, reader, _made_by(weights, config, reader), report or Progress())()


class Run:
    """One run: pages to records, records to files.

    made_by: a hash of all that decides what a page's record holds, but for the page.
    """

    def __init__(
        self,
        config: ParseConfig,
        source: Source,
        folder: Path,
        detector: Finder,
        reader: Engine | None,
        made_by: str,
        report: Report,
    ) -> None:
        self.config, self.source, self.folder, self.made_by, self.report = config, source, folder, made_by, report
        self.workers = config.workers or cores()
        self.about = {
            "densessl": densessl.__version__,
            "detector": config.model or "box",
            "classes": list(detector.classes),
            "score": config.score,
            "ocr": reader.name if reader else "none",
        }
        self.stop = Event()
        self.look = Looker(detector, reader, config, lambda index: self._sharp.read(index), self.stop)
        self.unreadable = Unreadable(source.broken)
        self.summary = Summary(folder, config.formats, notes=[*source.notes, *_hints(source.broken.values())])
        self.done = self.without = 0

    @cached_property
    def _sharp(self) -> Source:
        return _opened(self.config, self.config.ocr_side)

    def __call__(self) -> Summary:
        jobs = list(self._jobs())
        self.summary.pages = sum(len(job.pages) for job in jobs)
        if not jobs:
            raise UserError(f"pages={self.config.pages} are pages that no document has.")
        if self.without:
            self.summary.notes.append(f"{_count(self.without, 'document')} without pages {self.config.pages}.")
        self.done = self.summary.before = self.summary.pages - sum(len(job.missing) for job in jobs)
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                looked = _ahead(pool, self._keep, ((job, index) for job in jobs for index in job.missing), self.workers)
                for job in jobs:
                    self._finish(job, self._broken(job, looked))
                    self.summary.documents.append(job.stem)
            except BaseException:
                self.stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        self.report("Parsing", self.summary.pages, self.summary.pages, "")
        self.unreadable.write(self.folder)
        self.summary.unreadable = len(self.unreadable)
        if len(self.unreadable) == self.summary.pages:
            raise UserError(
                f"None of the {self.summary.pages} pages can be read: {self.unreadable.some}; mend or replace them."
            )
        return self.summary

    def _jobs(self) -> Iterator[_Job]:
        source, firsts, index = self.source, [], 0
        while index < len(source):
            firsts.append(index)
            index = source.after(index)
        names = [source.document(first) for first in firsts]
        for first, name, stem in zip(firsts, names, _stems(names), strict=True):
            pages = [each for each in range(first, source.after(first)) if self.config.wanted(source.page(each))]
            self.without += not pages
            if pages:
                figures = self.folder / f"{stem}-figures"
                made_by = digest([self.made_by, source.state(first)])[:16]
                records = Records(self.folder, stem, made_by, figures)
                missing = [each for each in pages if not records.has(source.page(each))]
                yield _Job(name, stem, source.after(first) - first, pages, missing, records, figures)

    def _keep(self, job: _Job, index: int) -> None:
        """Look at a page and keep its record; raises `UnreadableImage`."""
        page, picture = self.look(self.source, index)
        if self.config.figures:
            write_figures(page, picture, job.figures)
        job.records.keep(page)

    def _broken(self, job: _Job, looked: Iterator[tuple[tuple[_Job, int], Future[None]]]) -> dict[int, str]:
        """Wait for the pages of a document that were missing; of those that cannot be read, by number, why."""
        broken: dict[int, str] = {}
        for (_, index), future in islice(looked, len(job.missing)):
            while True:
                self.report("Parsing", self.done, self.summary.pages, self.source.name(index))
                if wait([future], WAIT).done:
                    break
            try:
                future.result()
            except (UserError, OSError):  # of the disk, or of a model: it would be so with every page
                raise
            except Exception as error:
                if not isinstance(error, UnreadableImage):  # a mistake of ours, which is to cost one page
                    traceback.print_exception(error)
                    error = f"it cannot be parsed ({type(error).__name__})"
                broken[self.source.page(index)] = str(error)
                self.unreadable.add(self.source.name(index), str(error))
            self.done += 1
        return broken

    def _finish(self, job: _Job, broken: Mapping[int, str]) -> None:
        """Write the files of a document, unless the same ones are there."""
        outputs = [self.folder / f"{job.stem}{WRITERS[name].suffix}" for name in self.config.formats]
        numbers = [self.source.page(index) for index in job.pages]
        written = digest([self.config.furniture, self.config.words, self.config.join_tables, numbers])
        sources = None if job.missing else job.records.noted(written, outputs)
        if sources is None:
            job.records.forget()  # what is written from now on is not what was noted
            document = Document(job.name, job.count, self.about)
            sources = self._write(document, job.records, numbers, broken, outputs)
            if not broken:
                job.records.note(written, outputs, sources)
        self.summary.sources.update(sources)
        if sources and self.summary.first is None:
            self.summary.first = job.stem

    def _write(
        self,
        document: Document,
        records: Records,
        numbers: Sequence[int],
        broken: Mapping[int, str],
        outputs: Sequence[Path],
    ) -> dict[str, int]:
        """Write the files of a document; returns of how many pages the words are from where."""
        config, whole, sources = self.config, Whole(), Counter()
        for page in records.pages(numbers, broken):
            whole.look(page)
            if page.error is None:
                sources[page.source] += 1
            self.summary.unsure += UNSURE in page.notes
        pages = (whole.settle(page) for page in records.pages(numbers, broken))
        options = Options(furniture=config.furniture, words=config.words)
        with contextlib.ExitStack() as stack:
            writers = [
                stack.enter_context(WRITERS[name](path, document, options))
                for name, path in zip(config.formats, outputs, strict=True)
            ]
            for page, together in linked(pages) if config.join_tables else ((page, page) for page in pages):
                for name, write in zip(config.formats, writers, strict=True):
                    write(together if name in READ else page)
        return dict(sources)


class _Alone:
    """A detector that sees one page at a time: a network is as quick as all cores are."""

    def __init__(self, detector: Detector) -> None:
        self.classes, self._detector, self._lock = detector.classes, detector, Lock()

    def find(self, page: np.ndarray) -> Found:
        with self._lock:
            return self._detector.find(page)


@dataclass(frozen=True)
class _Job:
    """A document. stem: of its files. count: of its pages. pages: numbers in the source of those that are asked for;
    missing: of them those without a record."""

    name: str
    stem: str
    count: int
    pages: list[int]
    missing: list[int]
    records: Records
    figures: Path


def _ahead(
    pool: Executor, call: Callable[[_Job, int], None], items: Iterable[tuple[_Job, int]], workers: int
) -> Iterator[tuple[tuple[_Job, int], Future[None]]]:
    """Items in order with what `call` makes of them, two for each worker under way."""
    waiting: deque[tuple[tuple[_Job, int], Future[None]]] = deque()
    for item in items:
        waiting.append((item, pool.submit(call, *item)))
        if len(waiting) >= 2 * workers:
            yield waiting.popleft()
    yield from waiting


def _opened(config: ParseConfig, side: int) -> Source:
    """side: pixels of the longest side of a page of a PDF."""
    try:
        return open_source(config.documents, page_side=side, password=config.password)
    except UserError as error:
        raise UserError(" ".join([str(error), *_hints([str(error)])])) from None


def _hints(reasons: Iterable[str]) -> Iterator[str]:
    """What to do where a password is what is wanting."""
    told = " ".join(reasons)
    if pdf.NO_PASSWORD in told:
        yield "Give passwords as password=..."
    if pdf.OTHER_PASSWORD in told:
        yield "A run takes one password: documents with others take one each."


def _made_by(weights: Path, config: ParseConfig, reader: Engine | None) -> str:
    settings = {key: value for key, value in asdict(config).items() if key not in LATER}
    hashed = hashlib.sha256(weights.read_bytes()).hexdigest()
    return digest([VERSION, hashed, json.dumps(settings), reader and [reader.name, reader.turns]])[:16]


def _stems(names: Sequence[str]) -> list[str]:
    """Of the files of documents, no two of which are to write one file: a.coco.json is of a.pdf, and of a.coco.pdf."""
    suffixes = [writer.suffix for writer in WRITERS.values()]
    chosen = stems(names)
    counts = Counter(stem + suffix for stem in chosen for suffix in suffixes)
    return [
        name if any(counts[stem + suffix] > 1 for suffix in suffixes) else stem
        for name, stem in zip(names, chosen, strict=True)
    ]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
