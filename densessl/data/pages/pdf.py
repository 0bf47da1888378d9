"""Pages of PDF files, by way of a process that may be lost: `densessl.data.pages.renderer` says why.

Every process that reads has one such helper of its own, started with the first page and forgotten by a fork, so that
no document crosses it. Threads take turns. A page that the helper dies of raises `Deadly`, and the next one has a new
helper; a helper ends with the process that it belongs to.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from densessl.data.images import UnreadableImage
from densessl.data.isolated.process import Isolated, NotStarted
from densessl.data.pages.renderer import MEMORY, NO_PASSWORD, OTHER_PASSWORD
from densessl.errors import UserError

SECONDS = 10  # of processor time for one page, or for opening a document and counting its pages
WAIT = 300  # seconds for an answer, more than `SECONDS` of processor time take on a busy machine
TRIES = 3
GROWN = 384 << 20  # bytes: a helper that holds more than that when it has answered is replaced
SLOW = f"PDFium takes more than {SECONDS} s over it"
FATAL = f"PDFium crashes on it, or needs more than {MEMORY >> 30} GiB for it"
STUCK = f"PDFium has no answer after {WAIT} s"
KILLED = "PDFium was killed over it, perhaps for want of memory"
DEADLY = (SLOW, FATAL, STUCK)
LOCKED = (NO_PASSWORD, OTHER_PASSWORD)


class Deadly(UnreadableImage):
    """A page that the helper died of: not worth a second try."""


@dataclass(frozen=True)
class Page:
    """points: (width, height) of a page in 1/72 inch. pixels: (width, height) as it is rendered."""

    points: tuple[float, float]
    pixels: tuple[int, int]

    @property
    def dpi(self) -> float:
        """Pixels an inch."""
        return 72 * max(self.pixels) / max(self.points)


@dataclass(frozen=True)
class Text:
    """The text layer of a page: what its letters say, not what they look like.

    size: (width, height) of the page as it is shown, in points. words: (text, x0, y0, x1, y1, size, flags, pitch,
    turn) each, in points from the left upper corner of that, in PDFium's order; their size is that of the letters,
    flags are BOLD, ITALIC and HIDDEN of `letters`, pitch is from one letter to the next where all are as wide, else 0,
    and turn is the direction in which they run, in quarters clockwise from rightwards.
    letters: how many the words have; hidden: of them, those that are drawn invisibly, as beneath a scan; unknown: those
    of which PDFium does not know what they are. claimed: letters and spaces of the page, of which no more than
    `LETTERS` are read. pictures: the share of the page that pictures cover, 0 to 1. drawn: whether it has anything on
    it.
    """

    size: tuple[float, float]
    words: tuple[tuple[str, float, float, float, float, float, int, float, int], ...]
    letters: int
    hidden: int
    unknown: int
    claimed: int
    pictures: float
    drawn: bool


def numbers(path: str, password: str | None = None) -> tuple[int, list[int]]:
    """How many pages a document claims, and the numbers of those that are not there; no page is rendered.

    password: of a document that needs one, here as below. Raises `UnreadableImage` for what is no document that can be
    read.
    """
    found = _ask("pages", path, password)
    return found["claimed"], found["missing"]


def measure(path: str, number: int, side: int, password: str | None = None) -> Page:
    """The size of a page, counted from 0; raises `UnreadableImage`."""
    found = _ask("shape", path, password, number, side)
    return Page(tuple(found["points"]), tuple(found["pixels"]))


def render(path: str, number: int, side: int, password: str | None = None) -> np.ndarray:
    """A page, counted from 0, on white: (H, W, 3) uint8 RGB, `side` px long or less; raises `UnreadableImage`."""
    return _ask("render", path, password, number, side)


def text(path: str, number: int, password: str | None = None) -> Text:
    """The text layer of a page, counted from 0; raises `UnreadableImage`."""
    found = _ask("text", path, password, number)
    return Text(**{**found, "size": tuple(found["size"]), "words": tuple(map(tuple, found["words"]))})


class Helper(Isolated):
    """A process that runs PDFium. Raises `UserError` when it cannot be started."""

    def __init__(self) -> None:
        try:
            super().__init__("from densessl.data.pages.renderer import serve; serve({shared})", WAIT)
        except NotStarted as error:
            raise UserError(f"PDFium cannot be started ({error}): install pypdfium2.") from None
        self.answered = 0

    def ask(self, request: list[Any]) -> dict[str, Any]:
        """The answer; raises `EOFError` or `OSError` when the helper has died, `TimeoutError` when it has not."""
        answer = super().ask(request, WAIT)
        self.answered += 1
        if request[1] == "render" and "found" in answer:
            answer["found"] = self.pixels(*answer["found"])
        return answer


class _Own:
    """What this process has of its own."""

    def __init__(self) -> None:
        self.lock, self.helper = Lock(), None


_own = _Own()


def _forget() -> None:
    """A forked process leaves its parent's helper alone."""
    global _own
    _own = _Own()


os.register_at_fork(after_in_child=_forget)


def _ask(*request: Any) -> Any:
    """What the helper found; raises `UnreadableImage` with its reason, `Deadly` where it died."""
    with _own.lock:
        for _ in range(TRIES):
            _own.helper = _own.helper or Helper()
            try:
                answer = _own.helper.ask([SECONDS, *request])
            except TimeoutError:
                _end(kill=True)
                raise Deadly(STUCK) from None
            except (EOFError, OSError):
                fresh, status = not _own.helper.answered, _end()
                if status == -signal.SIGPROF:
                    raise Deadly(SLOW) from None
                # It may have been ended from outside, or by what a page before has left.
                if fresh and status != -signal.SIGKILL:
                    raise Deadly(FATAL) from None
                continue
            except BaseException:  # Ctrl-C: the answer to come would be taken for that of the next page
                _end(kill=True)
                raise
            if answer["resident"] > GROWN:
                _end()
            if "reason" in answer:
                raise UnreadableImage(answer["reason"])
            return answer["found"]
    raise UnreadableImage(KILLED)


def _end(kill: bool = False) -> int:
    helper, _own.helper = _own.helper, None
    if kill:
        helper.process.kill()
    return helper.end()
