"""Uploads, opened by processes that may be lost: `densessl.apps.opener` says what runs there.

A few such processes wait for requests, and threads take them in turn. One that dies of an upload, hangs or takes more
time or memory than it may is replaced, and whoever asked gets a sentence. Pages of PDFs are drawn by the process that
the whole package draws them with, `densessl.data.pages.pdf`.
"""

from __future__ import annotations

import math
import queue
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densessl.apps.config import AppConfig
from densessl.data.images import UnreadableImage
from densessl.data.isolated.process import LOOK, Isolated, NotStarted
from densessl.data.pages import pdf
from densessl.errors import UserError

START = 120  # seconds for a process to begin, on a machine that is busy
# One thread: those of a linear algebra library would take address space, and nothing here needs them.
SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
MOST_WRITTEN = 3e9  # bytes of a TIFF that is written anew, of the 4 GiB that one can have
PATIENCE = 6  # times the processor time of a request that its answer is waited for


Wait = Callable[[], None]


@dataclass(frozen=True)
class Picture:
    """An upload's picture.

    name: of the file that was uploaded, for people to read. image: (h, w, 3) uint8 RGB, reduced where it is larger than
    what is worked with. size: (height, width) of the upload.
    """

    name: str
    image: np.ndarray
    size: tuple[int, int]


class Worker:
    """Opens uploads, two at a time; threads may share it. Raises `UserError` with a sentence for what it cannot.

    wait, everywhere: called twice a second until it is done; what it raises ends the wait.
    """

    def __init__(self, config: AppConfig, processes: int = 2) -> None:
        self.config = config
        self._idle: queue.Queue[_Process | None] = queue.Queue()
        for _ in range(processes):
            self._idle.put(None)  # started when it is first needed

    def picture(self, path: str, name: str, wait: Wait = lambda: None) -> Picture:
        """The picture of an upload, checked and decoded."""
        if self.kind(path, name, wait) == "pdf":
            raise UserError(f"{name} is a PDF, not a picture: open it under Parse.")
        found, image = self._ask(wait, name, "read", path, self.config.side)
        return Picture(name, image, tuple(found["size"]))

    def kind(self, path: str, name: str, wait: Wait = lambda: None) -> str:
        """ "pdf" or "picture"."""
        return self._ask(wait, name, "kind", path, int(self.config.file_size * 1e6))[0]

    def document(
        self,
        path: str,
        name: str,
        folder: Path,
        room: float = math.inf,
        wait: Wait = lambda: None,
        password: str | None = None,
    ) -> tuple[Path, int]:
        """A file below `folder` that is safe to be read by any process, and how many pages it has.

        Of a PDF a copy, which only `densessl.data.pages` reads; pictures are decoded and written anew. room: bytes that
        it may take. password: of a PDF that needs one.
        """
        if self.kind(path, name, wait) == "pdf":
            try:
                claimed, _ = pdf.numbers(path, password)
            except UnreadableImage as error:
                hint = " Give it under More, or as password by the API." if str(error) in pdf.LOCKED else ""
                raise UserError(_unreadable(name, error) + hint) from None
            target = folder / f"{stem(name)}.pdf"
            target.write_bytes(Path(path).read_bytes())
            return target, claimed
        most = int(min(room, MOST_WRITTEN))
        found, _ = self._ask(wait, name, "clean", path, str(folder / stem(name)), self.config.pages, most)
        return Path(found["path"]), found["frames"]

    def close(self) -> None:
        """End the processes that wait."""
        while not self._idle.empty():
            if process := self._idle.get():
                process.end()

    def _ask(self, wait: Wait, name: str, what: str, *about: object) -> tuple:
        with self._own(wait) as own:
            if own.process and own.process.ended:  # killed while it waited: the upload to come has no part in that
                own.process.end()
                own.process = None
            own.process = own.process or _Process(self.config)
            try:
                return own.process.open(self.config.open_seconds, wait, what, *about)
            except UnreadableImage as error:
                raise UserError(_unreadable(name, error)) from None
            except BaseException as error:
                own.process, lost = None, own.process
                reason = lost.end(kill=True)
                if not isinstance(error, EOFError | OSError | TimeoutError):
                    raise
                raise UserError(_unreadable(name, self._reason(error, reason))) from None

    @contextmanager
    def _own(self, wait: Wait) -> Iterator[_Place]:
        while True:
            try:
                place = _Place(self._idle.get(timeout=LOOK))
                break
            except queue.Empty:
                wait()
        try:
            yield place
        finally:
            self._idle.put(place.process)

    def _reason(self, error: BaseException, status: int) -> str:
        if isinstance(error, TimeoutError) or status == -signal.SIGPROF:
            return f"it takes more than the {self.config.open_seconds:g} s that opening may take"
        return f"a decoder crashes on it, or needs more than {self.config.memory:g} GB for it"


def stem(name: str) -> str:
    """A file's name without suffix and folders, for a file of ours: letters, digits, -, _ and spaces, 60 at most."""
    last = Path(name.replace("\\", "/")).name
    kept = "".join(each if each.isalnum() or each in "-_ " else "_" for each in Path(last).stem).strip("_ ")
    return kept[:60] or "upload"


def _unreadable(name: str, reason: object) -> str:
    return f"{name} cannot be read: {reason}."


@dataclass
class _Place:
    process: _Process | None


class _Process(Isolated):
    """One process; raises `UserError` when it cannot be started."""

    def __init__(self, config: AppConfig) -> None:
        numbers = f"{{shared}}, {int(config.memory * 1e9)}, {int(config.pixels * 1e6)}"
        try:
            super().__init__(f"from densessl.apps.opener import serve; serve({numbers})", START, SINGLE, apart=True)
        except NotStarted as error:
            raise UserError(
                f"The process that opens uploads cannot be started ({error}): start densessl app with more memory=GB."
            ) from None

    def open(self, seconds: float, wait: Wait, *request: object) -> tuple:
        """What was found, and pixels (h, w, 3) where it has a shape; raises `UnreadableImage` with its reason."""
        answer = self.ask([seconds, *request], PATIENCE * seconds, wait)
        if "reason" in answer:
            raise UnreadableImage(answer["reason"])
        found = answer["found"]
        return found, self.pixels(*found["shape"]) if isinstance(found, dict) and "shape" in found else None
