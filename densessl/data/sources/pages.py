"""Files of which some are documents: every page of a PDF, or of a TIFF that has several, is an image."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping

import numpy as np

from densessl.data import images
from densessl.data.images import UnreadableImage, encode
from densessl.data.pages import SIDE, pdf, tiff
from densessl.data.sources.base import Source, checked, digest, state_of
from densessl.data.sources.files import Files
from densessl.errors import UserError

LEAST_SIDE = 16  # pixels


class Pages(Source):
    """The files of a source, with each document among them as its pages, named DOCUMENT/pNUMBER.png from p0001 on.

    A page of a PDF has a longest side of `side` px, or of 300 dpi where that is less, and so never more pixels than a
    square of that side; a page of a TIFF has the pixels that it has. Pages have the class of their document.
    Documents that cannot be opened are left out, and so are pages that a document claims and does not have; `notes`
    says so. documents: how many are not left out.

    Pages are rendered when they are read, one by one, and a page takes one byte of memory until then.
    password: of PDFs that need one. Raises `UserError` when nothing is left.
    """

    def __init__(self, files: Files, side: int = SIDE, password: str | None = None) -> None:
        self.files, self.side, self._password = files, side, password
        self.root, self.classes = files.root, files.classes
        self.broken: dict[str, str] = {}
        self._there: dict[int, np.ndarray] = {}  # the pages that are there, of documents by number that lack some
        claimed = np.array([self._count(number) for number in range(len(files))], np.int64)
        counts = claimed.copy()
        for number, there in self._there.items():
            counts[number] = len(there)
        self._numbers = np.flatnonzero(counts)
        self._claimed, self._starts = claimed[self._numbers], np.cumsum([0, *counts[self._numbers]])
        self.documents = sum(self._is_document(place) for place in range(len(self._numbers)))
        self.notes = [*files.notes, *self._left_out()]
        if not len(self):
            raise UserError(f"There is nothing to read in {files.root}: {_listed(self.broken)}.")
        self._deadly = _shared(len(self))

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, index: int) -> np.ndarray:
        path, page = self._place(index)
        if page is None:
            return images.read_image(path)
        if not is_pdf(path):
            return images.decode(tiff.read_page(path, page))
        self._check(index)
        try:
            return pdf.render(path, page, self.side, self._password)
        except pdf.Deadly as error:
            self._deadly[index] = 1 + pdf.DEADLY.index(str(error))
            raise

    def read_bytes(self, index: int) -> bytes:
        path, page = self._place(index)
        if page is None:
            return images.read_bytes(path)
        return encode(self.read(index)) if is_pdf(path) else tiff.read_page(path, page)

    def size(self, index: int) -> tuple[int, int]:
        path, page = self._place(index)
        if page is None:
            return images.read_size(path)
        return self._page(path, page).pixels[::-1] if is_pdf(path) else images.size(tiff.read_page(path, page))

    def dpi(self, index: int) -> float | None:
        path, page = self._place(index)
        return self._page(path, page).dpi if is_pdf(path) else None

    def text(self, index: int) -> pdf.Text | None:
        path, page = self._place(index)
        if page is None or not is_pdf(path):
            return None
        self._check(index)
        return pdf.text(path, page, self._password)

    def points(self, index: int) -> tuple[float, float] | None:
        path, page = self._place(index)
        return self._page(path, page).points if is_pdf(path) else None

    def page(self, index: int) -> int:
        return 1 + (self._place(index)[1] or 0)

    def name(self, index: int) -> str:
        _, page = self._place(index)
        if page is None:
            return self.document(index)
        digits = max(4, len(str(self._claimed[self._file(index)])))
        return f"{self.document(index)}/p{page + 1:0{digits}}.png"

    def document(self, index: int) -> str:
        return self.files.name(self._numbers[self._file(index)])

    def state(self, index: int) -> str:
        return state_of(self._place(index)[0])

    def after(self, index: int) -> int:
        return int(self._starts[self._file(index) + 1])

    def label(self, index: int) -> int | None:
        return self.files.label(self._numbers[self._file(index)])

    def fingerprint(self) -> str:
        there = [f"{number} {pages.tolist()}" for number, pages in self._there.items()]
        return digest([self.files.fingerprint(), self.side, self._numbers.tolist(), self._starts.tolist(), *there])

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_deadly": self._deadly[:]}

    def __setstate__(self, state: dict) -> None:
        self.__dict__ |= state
        self._deadly = _shared(len(state["_deadly"]))
        self._deadly[:] = state["_deadly"]

    def _count(self, number: int) -> int:
        """Pages of a file, 0 where it is broken."""
        path = self.files.path(number)
        if not is_pdf(path):
            return tiff.count(path) if path.lower().endswith(tiff.SUFFIXES) else 1
        try:
            claimed, missing = pdf.numbers(path, self._password)
        except UnreadableImage as error:
            self.broken[self.files.name(number)] = str(error)
            return 0
        if missing:
            self._there[number] = np.delete(np.arange(claimed, dtype=np.int32), missing)
        return claimed

    def _file(self, index: int) -> int:
        return int(np.searchsorted(self._starts, checked(index, len(self)), side="right")) - 1

    def _is_document(self, place: int) -> bool:
        return self._claimed[place] > 1 or is_pdf(self.files.name(self._numbers[place]))

    def _place(self, index: int) -> tuple[str, int | None]:
        """The path of the file, and the page in it, counted from 0; None for a picture."""
        place = self._file(index)
        number, page = int(self._numbers[place]), index - int(self._starts[place])
        if not self._is_document(place):
            return self.files.path(number), None
        return self.files.path(number), int(self._there[number][page]) if number in self._there else page

    def _check(self, index: int) -> None:
        """Raises `Deadly` for a page that a helper has died of."""
        if self._deadly[index]:
            raise pdf.Deadly(pdf.DEADLY[self._deadly[index] - 1])

    def _page(self, path: str, page: int) -> pdf.Page:
        return pdf.measure(path, page, self.side, self._password)

    def _left_out(self) -> list[str]:
        notes = []
        if self.broken:
            one, total = len(self.broken) == 1, len(self.broken) + self.documents
            notes.append(
                f"{len(self.broken)} of {total} documents {'is' if one else 'are'} left out: {_listed(self.broken)}."
            )
        if self._there:
            of = zip(self._numbers, self._claimed, strict=True)
            short = {
                self.files.name(number): f"{len(self._there[number])} of {claimed}"
                for number, claimed in of
                if number in self._there
            }
            notes.append(f"Of some documents not all pages that they claim are there: {_listed(short)}.")
        return notes


def with_pages(files: Files, side: int | None = None, password: str | None = None) -> Source:
    """The files, with documents among them as their pages.

    side: pixels of the longest side of a page of a PDF, `SIDE` unless given. password: of PDFs that need one. Raises
    `UserError` for a side of less than 16.
    """
    side = SIDE if side is None else side
    if side < LEAST_SIDE:
        raise UserError(f"page_side={side} is the longest side of a page in pixels: give {LEAST_SIDE} or more.")
    if not any(is_pdf(name) or name.lower().endswith(tiff.SUFFIXES) for name in map(files.name, range(len(files)))):
        return files
    pages = Pages(files, side, password)
    return pages if pages.documents or pages.broken else files


def is_pdf(name: str) -> bool:
    """Whether the suffix of a file's name is that of a PDF."""
    return os.path.splitext(name)[1].lower() == ".pdf"


def _listed(reasons: Mapping[str, str]) -> str:
    some = ", ".join(f"{name} ({reason})" for name, reason in list(reasons.items())[:3])
    return f"{some} and others" if len(reasons) > 3 else some


def _shared(length: int) -> mmap.mmap:
    """Bytes that forked processes share: what one worker has found out of a page, no other has to pay for."""
    return mmap.mmap(-1, length)
