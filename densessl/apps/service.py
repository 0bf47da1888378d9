"""What the application does, as functions, which the tabs, the API and the tests call.

Each takes uploads and says whose they are; each opens them in a process with limits, runs networks where all are run,
and leaves its result where only its owner finds it. `UserError` carries the sentence for whoever asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from densessl.apps.backbones import Backbones, Choice, pictures
from densessl.apps.config import AppConfig
from densessl.apps.engine import Engine
from densessl.apps.jobs import Job, Jobs, Late, Stopped
from densessl.apps.parsing import Asked, check_known, parse_document, selected
from densessl.apps.resemblance import Resemblance
from densessl.apps.segments import Segmentation
from densessl.apps.sessions import Entry, Sessions
from densessl.apps.worker import Picture, Worker
from densessl.errors import UserError
from densessl.segmentation import SegmentConfig, learn, segment_scores

METHODS = ("kmeans", "spectral")
MOST_SEGMENTS = 40
# Shares of a request's progress at which its stages end.
OPENED, SEEN, LEARNED = 0.15, 0.6, 0.75


@dataclass(frozen=True)
class Upload:
    """A file that a user uploaded. name: what they call it."""

    path: str
    name: str


@dataclass(frozen=True)
class RunShown:
    """A run as the application shows it: files of pictures."""

    choice: Choice
    pictures: list[Path] = field(default_factory=list)


class Service:
    """The application without its pages. `close` ends its threads and processes and removes all files."""

    def __init__(self, config: AppConfig) -> None:
        self.config = config
        self.backbones = Backbones(config)
        self.engine, self.worker = Engine(config), Worker(config)
        self.sessions, self.jobs = Sessions(config), Jobs()

    def close(self) -> None:
        self.engine.close()
        self.worker.close()
        self.sessions.close()

    def job(self, tell: Callable[[float, str], None] = lambda share, what: None) -> Job:
        """A request that ends in time."""
        return Job(self.config.seconds, tell)

    def uploads(self, paths: Sequence[str], owner: str | None) -> list[Upload]:
        """Files of this user; raises `UserError` for others', and for those that are no longer kept."""
        found = []
        for path in paths:
            if not isinstance(path, str):
                raise UserError("Files are given as the paths that their upload answered with.")
            name = Path(path).name
            if not self.sessions.may_read(path, owner) or not os.path.isfile(path):
                raise UserError(f"{name} is no longer kept: upload it again.")
            with suppress(FileNotFoundError):
                os.utime(path)  # the time of its last use
            found.append(Upload(path, name))
        return found

    def example(self, paths: Sequence[Path], owner: str | None = None) -> list[str]:
        """Files of ours as uploads of this user; their paths."""
        return [self.sessions.adopt(path, owner) for path in paths]

    def show_run(self, name: str, owner: str | None = None) -> Entry:
        """What is known of the backbone of this name; the entry's payload is a `RunShown`."""
        choice = self.backbones.choice(name)
        entry = self.sessions.begin(owner)
        with _removed_on_error(self.sessions, entry):
            found = [] if choice.folder is None else pictures(choice.folder)
            self.sessions.hold(entry, RunShown(choice, found), 0)
        return entry

    def segment(
        self,
        pictures: Sequence[Upload],
        segments: int | str = 6,
        method: str = "kmeans",
        backbone: str | None = None,
        owner: str | None = None,
        job: Job | None = None,
    ) -> Entry:
        """Find segments in pictures without a label; the entry's payload is a `Segmentation`.

        segments: how many, 2 to 40, or "auto" for as many as fit best. method: "kmeans" or "spectral", as of `densessl
        segment`. backbone: the name of one of `backbones`; None is the application's. Pictures that cannot be read are
        left out, which `notes` tells; raises `UserError` where none can be.
        """
        job = job or self.job()
        number = _segments(segments)
        check_known("method", method, METHODS)
        choice = self.backbones.choice(backbone)
        entry = self.sessions.begin(owner)
        with _removed_on_error(self.sessions, entry):
            opened, notes = self._opened(pictures, job)
            maps = self.engine.maps([each.image for each in opened], choice.spec, advance=_seen(job, len(opened)))
            config = SegmentConfig(data="", out="", classes=number, method=method)
            with self._turn(job, SEEN):
                job(SEEN, "Finding segments")
                model, swept = learn(maps, config, lambda stage, done, total, note: job(SEEN, stage))
            found = Segmentation.begin(entry.folder, model.classes, config.least_area)
            for done, (picture, map_) in enumerate(zip(opened, maps, strict=True)):
                share = LEARNED + (1 - LEARNED) * done / len(opened)
                job(share, f"Drawing masks, {done + 1} of {len(opened)}")
                with self._turn(job, share):
                    scores = segment_scores(model, map_, picture.image, config)
                    found.add(picture.name, picture.image, picture.size, scores)
            found.notes = [*notes, *([swept.doubt] if swept and swept.doubt else [])]
            self.sessions.hold(entry, found, 0)
        return entry

    def correspond(
        self,
        pictures: Sequence[Upload],
        backbone: str | None = None,
        owner: str | None = None,
        job: Job | None = None,
    ) -> Entry:
        """See pictures as a backbone does; the entry's payload is a `Resemblance`, whose `heats` answers each click."""
        job = job or self.job()
        choice = self.backbones.choice(backbone)
        entry = self.sessions.begin(owner)
        with _removed_on_error(self.sessions, entry):
            opened, notes = self._opened(pictures, job)
            advance = _seen(job, len(opened), 1.0)
            maps = self.engine.maps([each.image for each in opened], choice.spec, window=1, advance=advance)
            found = Resemblance(entry.folder, choice.name, notes=notes)
            for picture, map_ in zip(opened, maps, strict=True):
                found.add(picture.name, picture.image, picture.size, map_)
            self.sessions.hold(entry, found, found.held)
        return entry

    def parse(
        self,
        document: Upload,
        asked: Asked | None = None,
        owner: str | None = None,
        job: Job | None = None,
    ) -> Entry:
        """Parse a PDF, a TIFF or a picture; the entry's payload is a `Parsed`."""
        job, asked = job or self.job(), asked or Asked()
        asked.check()
        entry = self.sessions.begin(owner)
        with _removed_on_error(self.sessions, entry):
            job(0.0, "Opening the document")
            source, there = self.worker.document(
                document.path,
                document.name,
                entry.folder,
                password=asked.password,
                room=self.sessions.room(),
                wait=lambda: job(0.0, "Opening the document"),
            )
            wanted = replace(asked, pages=selected(asked.pages, there, self.config.pages))
            out = entry.folder / "out"

            def progress(stage: str, done: int, total: int, note: str = "") -> None:
                job(done / max(1, total), f"{stage}, {done} of {total} pages")

            with self._turn(job, 0.0):
                found = parse_document(
                    source,
                    name=document.name,
                    count=there,
                    out=out,
                    asked=wanted,
                    detector=self.engine.detector(),
                    config=self.config,
                    progress=progress,
                )
            if not (asked.pages or "").strip() and there > self.config.pages:
                found.notes.append(f"The document has {there} pages; these are the first {self.config.pages}.")
            self.sessions.hold(entry, found, 0)
        return entry

    def _turn(self, job: Job, share: float) -> AbstractContextManager[None]:
        """A share of the processor for a job that has got so far; it may be stopped while it waits."""
        return self.engine.turn(lambda: job(share, "Waiting for others"))

    def _opened(self, uploads: Sequence[Upload], job: Job) -> tuple[list[Picture], list[str]]:
        """The pictures that can be read, and a sentence for each other; raises the first one where none can."""
        if not uploads:
            raise UserError("There are no pictures yet: drop some, or take an example.")
        if len(uploads) > self.config.pictures:
            raise UserError(
                f"These are {len(uploads)} pictures, more than the {self.config.pictures} that are taken at a time."
            )
        opened, refused = [], []
        for done, each in enumerate(uploads):
            tell = partial(job, OPENED * done / len(uploads), f"Opening pictures, {done + 1} of {len(uploads)}")
            tell()
            try:
                opened.append(self.worker.picture(each.path, each.name, tell))
            except (Stopped, Late):
                raise
            except UserError as error:
                refused.append(str(error))
        if not opened:
            more = f" The other {len(refused) - 1} cannot be read either." if len(refused) > 1 else ""
            raise UserError(refused[0] + more)
        return opened, refused


@contextmanager
def _removed_on_error(sessions: Sessions, entry: Entry) -> Iterator[None]:
    """Take a result away whose making fails."""
    try:
        yield
    except BaseException:
        sessions.remove(entry.token)
        raise


def _seen(job: Job, count: int, end: float = SEEN) -> Callable[[int], None]:
    def advance(done: int) -> None:
        job(OPENED + (end - OPENED) * done / count, f"Looking at pictures, {min(done + 1, count)} of {count}")

    return advance


def _segments(given: int | str) -> int | str:
    """2 to `MOST_SEGMENTS`, or "auto"; raises `UserError`."""
    text = str(given).strip().lower()
    if text == "auto":
        return text
    if not (text.isascii() and text.isdecimal() and 2 <= int(text[:9]) <= MOST_SEGMENTS):
        raise UserError(f"{str(given)[:20]!r} is no number of segments: give 2 to {MOST_SEGMENTS}, or auto.")
    return int(text)
