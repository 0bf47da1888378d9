"""Words read from the picture of a page, by Tesseract or by RapidOCR, where one of them is installed.

engine("auto").read(picture, dpi)

Nothing is ever downloaded: Tesseract's languages come with its packages, RapidOCR's models within its wheel. Either
reads on one core, and several threads may read at once, a page each: that is faster than several cores on one page.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from threading import Event, local
from typing import Protocol

import cv2
import numpy as np

from densessl.config import nearest
from densessl.data.images import UnreadableImage
from densessl.documents.parsing.model import Box, Word
from densessl.errors import UserError

ENGINES = ("auto", "tesseract", "rapidocr", "none")
OSD = "osd"  # the data by which Tesseract tells how a page lies
ORIENTATION, UNIFORM = "0", "6"  # Tesseract's numbers for telling how a page lies, and for a page of one column
CONFIDENT = 2.0  # what Tesseract says, at least, when it is right on how a page lies
SECONDS = 120  # for one reading of a page or sheet, of which a page Tesseract takes 1 to 5 on a core of its own
LOOK = 0.25  # seconds after which it is asked whether somebody waits still
SHARP = 200  # dpi: a page that has less is enlarged to that,
LARGEST = 2400  # but not beyond so many pixels on its longest side, for it may not say its dpi truly

# How far letters reach above the line of text and below it, of their size: those without an ascender, those with one,
# those with a descender; between Times and Helvetica, and half a pixel of blur around them.
LOW, HIGH, BELOW = 0.5, 0.74, 0.22
CONTRAST = 0.4  # of the largest difference from what is around: what differs by more is ink
CLOSE = 0.25  # of a letter's height: space between letters of one word
SPARE = 0.25  # of the height of a word: how far RapidOCR's ends of words may be from where they are
_NAME = re.compile(r"[a-z]{3}(_[a-z]+)*", re.ASCII | re.IGNORECASE)  # of a language
_LOWER = frozenset("acemnorsuvwxzgpqy.,;:-–_·•")
_DESCENDING = frozenset("gjpqyQ,;()[]{}|/\\_ç")


class Ended(Exception):
    """A page that nobody waits for any more."""


class Engine(Protocol):
    """name: what read the words, with its version, such as "tesseract 5.3.0". longest: pixels of a sheet's side, beyond
    which it reads worse. turns: whether it tells how a page lies.
    """

    name: str
    longest: int
    turns: bool

    def read(self, picture: np.ndarray, dpi: float, stop: Event | None = None, sheet: bool = False) -> list[Word]:
        """The words of a picture (H, W, 3) uint8 RGB of so many pixels an inch, in points, in the engine's own order.

        Their sizes are guessed from how high they are. stop: when it is set, nobody waits for them any more. sheet:
        whether it is one column of lines and nothing else. Raises `UnreadableImage`, and `Ended` where it is heeded.
        """

    def turn(self, picture: np.ndarray, dpi: float, stop: Event | None = None) -> int:
        """Quarters clockwise from rightwards in which what is written on such a picture runs; 0 unless it is sure."""


def engine(name: str = "auto", languages: Sequence[str] = ()) -> Engine | None:
    """One of `ENGINES`: "auto" is Tesseract where it is installed, else RapidOCR, else None, which "none" always is.

    languages: that may occur on the pages, as Tesseract calls them, such as ["eng", "deu"]; English, or the first one
    that there is, unless given. RapidOCR has one model for the Latin letters, Chinese and Japanese, whatever they are.
    Raises `UserError` for an engine or a language that is not there.
    """
    if name not in ENGINES:
        raise UserError(f"There is no OCR engine {name!r}{nearest(name, ENGINES)}")
    if name == "none":
        return None
    if name == "tesseract" or (name == "auto" and tesseract()):
        return Tesseract.installed(languages)
    if name == "rapidocr" or rapidocr():
        return RapidOCR()
    return None


def tesseract() -> str | None:
    """The path of Tesseract's program, None where there is none."""
    return shutil.which("tesseract")


def languages() -> list[str]:
    """The languages that Tesseract knows, as it calls them; none where it is not installed. Raises `UserError` where it
    does not work."""
    program = tesseract()
    return [name for name in _known(program) if name != OSD] if program else []


def rapidocr() -> bool:
    """Whether what `RapidOCR` needs is installed."""
    return all(find_spec(name) is not None for name in ("rapidocr", "onnxruntime"))


@dataclass(frozen=True)
class Tesseract:
    """Tesseract, by its program. languages: such as "eng+deu". turns: whether its data `OSD` are installed."""

    program: str
    languages: str
    name: str
    turns: bool = False
    longest = 8000

    @classmethod
    def installed(cls, wanted: Sequence[str] = ()) -> Tesseract:
        """The one that is installed, for these languages; raises `UserError`."""
        program = tesseract()
        if program is None:
            raise UserError(
                "Tesseract is not installed: no program `tesseract` is on the PATH. Install it (apt install "
                "tesseract-ocr), or choose another engine (rapidocr, none)."
            )
        known = languages()
        if not known:
            raise UserError("Tesseract knows no language: install one (apt install tesseract-ocr-eng).")
        for language in wanted:
            if language not in known:
                package = (
                    f" (apt install tesseract-ocr-{language.replace('_', '-')})" if _NAME.fullmatch(language) else ""
                )
                raise UserError(
                    f"Tesseract does not know the language {language!r}, only {', '.join(known)}: install it{package}, "
                    "or name another."
                )
        chosen = wanted or ("eng" if "eng" in known else known[0],)
        name = " ".join(_said(program, "--version").split()[:2])
        return cls(program, "+".join(chosen), name, OSD in _known(program))

    def read(self, picture: np.ndarray, dpi: float, stop: Event | None = None, sheet: bool = False) -> list[Word]:
        """As `Engine.read` has it."""
        picture, sharp = enlarged(picture, dpi)
        command = self._command(self.languages, sharp, *(["--psm", UNIFORM] if sheet else []), "tsv")
        table = _run(command, _grey(picture), stop)
        lines: dict[tuple[str, ...], list[Word]] = {}
        for row in table.splitlines()[1:]:
            _, *of, _, left, top, wide, high, confidence, text = row.split("\t", 11)
            if not text.strip() or float(confidence) < 0:
                continue
            box = tuple(int(side) * 72 / sharp for side in (left, top, int(left) + int(wide), int(top) + int(high)))
            word = Word(text.strip(), box, size_of(text, box[3] - box[1]), confidence=float(confidence) / 100)
            lines.setdefault(tuple(of), []).append(word)
        return [word for line in lines.values() for word in alike(line)]

    def turn(self, picture: np.ndarray, dpi: float, stop: Event | None = None) -> int:
        """As `Engine.turn` has it."""
        if not self.turns:
            return 0
        picture, sharp = enlarged(picture, dpi)
        try:
            said = _run(self._command(OSD, sharp, "--psm", ORIENTATION), _grey(picture), stop)
        except UnreadableImage:  # it found too few letters
            return 0
        told = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
        sure = float(told.get("Orientation confidence", 0)) >= CONFIDENT
        return -int(told.get("Rotate", 0)) // 90 % 4 if sure else 0

    def _command(self, data: str, dpi: float, *settings: str) -> list[str]:
        return [self.program, "stdin", "stdout", "-l", data, "--dpi", f"{max(dpi, 70):.0f}", *settings]


class RapidOCR:
    """PP-OCR's models by RapidOCR and onnxruntime; each thread that reads has its own."""

    longest, turns = 2000, False  # it shrinks what is longer

    def __init__(self) -> None:
        if not rapidocr():
            raise UserError('RapidOCR is not installed: pip install "densessl[ocr]", or choose another engine.')
        self.name = f"rapidocr {_version('rapidocr')}"
        self._own = local()

    def __getstate__(self) -> dict:
        return {"name": self.name}

    def __setstate__(self, state: dict) -> None:
        self.name, self._own = state["name"], local()

    def read(self, picture: np.ndarray, dpi: float, stop: Event | None = None, sheet: bool = False) -> list[Word]:
        """As `Engine.read` has it; a page is read to its end."""
        if not hasattr(self._own, "model"):
            self._own.model = _model()
        found = self._own.model(np.ascontiguousarray(picture[..., ::-1]))
        grey, words = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), []
        for line in found.word_results or () if found.boxes is not None else ():
            read = []
            for text, score, quad in line:
                box = tuple(side * 72 / dpi for side in inked(grey, _around(quad)))
                read.append(Word(text, box, size_of(text, box[3] - box[1]), confidence=float(score)))
            words += alike(together([word for word in read if word.text.strip()]))
        return words

    def turn(self, picture: np.ndarray, dpi: float, stop: Event | None = None) -> int:
        """Always 0: it reads lines whichever way they run, and does not say which that is."""
        return 0


def together(line: Sequence[Word]) -> list[Word]:
    """The words of a line of RapidOCR, which gives those of Chinese, and of Latin letters among them, letter by letter:
    single letters that stand close are one."""
    words: list[Word] = []
    letters = 1
    for word in line:
        close = words and word.bbox[0] - words[-1].bbox[2] <= CLOSE * (word.bbox[3] - word.bbox[1])
        if close and len(word.text) == 1 and len(words[-1].text) == letters:
            before, letters = words[-1], letters + 1
            box = (before.bbox[0], min(before.bbox[1], word.bbox[1]), word.bbox[2], max(before.bbox[3], word.bbox[3]))
            sure = min(before.confidence or 0.0, word.confidence or 0.0)
            words[-1] = replace(before, text=before.text + word.text, bbox=box, confidence=sure)
        else:
            words.append(word)
            letters = 1
    return words


def enlarged(picture: np.ndarray, dpi: float) -> tuple[np.ndarray, float]:
    """A picture of less than `SHARP` dpi made larger, for small letters are misread; and its dpi then."""
    scale = min(SHARP / dpi, LARGEST / max(picture.shape[:2]))
    if scale < 1.1:
        return picture, dpi
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), dpi * scale


def size_of(text: str, height: float) -> float:
    """The size of the letters of a word whose ink is so high, in the same unit."""
    above = LOW if set(text) <= _LOWER else HIGH
    return height / (above + BELOW * any(letter in _DESCENDING for letter in text))


def alike(line: list[Word]) -> list[Word]:
    """The words of a line, all of the size that is in the middle of theirs."""
    size = median(word.size for word in line) if line else None
    return [replace(word, size=size) for word in line]


def inked(grey: np.ndarray, box: Box) -> Box:
    """A box, in pixels, around the ink in it in a picture (H, W) uint8; itself where that is blank.

    Blank margins go. Where a side cuts through a letter, the box grows as far as its ink does, `SPARE` at most.
    """
    height, width = grey.shape
    top, bottom = max(int(box[1]), 0), min(round(box[3]), height)
    spare = round(SPARE * max(bottom - top, 0))
    left, right = max(int(box[0]), 0), min(round(box[2]), width)
    begin = max(left - spare, 0)
    part = grey[top:bottom, begin : min(right + spare, width)].astype(np.int16)
    if left >= right or not part.size:
        return box
    away = np.abs(part - int(np.median(part)))
    ink = away > max(CONTRAST * int(away.max()), 1)
    columns, inside = ink.any(0), np.flatnonzero(ink[:, left - begin : right - begin].any(0))
    if not len(inside):
        return box
    first, last = inside[0] + left - begin, inside[-1] + left - begin
    while first > 0 and columns[first - 1]:
        first -= 1
    while last + 1 < len(columns) and columns[last + 1]:
        last += 1
    rows = np.flatnonzero(ink[:, first : last + 1].any(1))
    return float(begin + first), float(top + rows[0]), float(begin + last + 1), float(top + rows[-1] + 1)


def _around(quad: Sequence[Sequence[float]]) -> Box:
    xs, ys = zip(*((float(x), float(y)) for x, y in quad), strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _model():
    """RapidOCR with the models that its wheel brings; raises `UserError` where it does not."""
    import rapidocr

    folder = Path(rapidocr.__file__).with_name("models")
    models = {"Det": "*_det_*.onnx", "Rec": "*_rec_*.onnx", "Cls": "*_cls_*.onnx"}
    params = {"Global.log_level": "error", "Global.return_word_box": True}
    params["EngineConfig.onnxruntime.intra_op_num_threads"] = 1
    for part, pattern in models.items():
        found = sorted(folder.glob(pattern))
        if not found:
            raise UserError(f"RapidOCR {_version('rapidocr')} brings no models: pip install --upgrade rapidocr.")
        params[f"{part}.model_path"] = str(found[0])  # given one, it looks for none on the internet
    return rapidocr.RapidOCR(params=params)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


def _known(program: str) -> list[str]:
    """The data that Tesseract has."""
    return [name for name in _said(program, "--list-langs").splitlines()[1:] if name]


def _grey(picture: np.ndarray) -> bytes:
    """A picture (H, W, 3) as a file."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return b"P5 %d %d 255\n" % grey.shape[::-1] + grey.tobytes()


@cache
def _said(program: str, option: str) -> str:
    """What it says of itself; raises `UserError` where it cannot even do that."""
    try:
        return _run([program, option], b"")
    except UnreadableImage:
        raise UserError(
            f"{program} does not work: `{program} {option}` ends with an error. Install it anew, or choose another "
            "engine (rapidocr, none)."
        ) from None


def _run(command: Sequence[str], given: bytes, stop: Event | None = None) -> str:
    """What a program prints; raises `UnreadableImage`, and `Ended` when it is stopped."""
    # One thread: what it does with several takes longer on a page.
    settings = {"env": {**os.environ, "OMP_THREAD_LIMIT": "1"}, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        with tempfile.TemporaryFile() as file:  # a pipe would have to be fed while it is waited for
            file.write(given)
            file.seek(0)
            with subprocess.Popen(command, stdin=file, **settings) as process:
                try:
                    printed, complaints = _printed(process, stop)
                except BaseException:
                    process.kill()
                    raise
    except OSError as error:
        raise UnreadableImage(f"Tesseract cannot be run ({(error.strerror or str(error)).lower()})") from None
    if process.returncode:
        last = complaints.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise UnreadableImage(f"Tesseract fails on it ({''.join(last) or f'status {process.returncode}'})")
    return printed.decode("utf-8", "replace")


def _printed(process: subprocess.Popen, stop: Event | None) -> tuple[bytes, bytes]:
    """What a process prints and complains of until it ends."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            return process.communicate(timeout=LOOK)
        except subprocess.TimeoutExpired:
            if stop is not None and stop.is_set():
                raise Ended from None
            if time.monotonic() > end:
                raise UnreadableImage(f"Tesseract takes more than {SECONDS} s over it") from None
