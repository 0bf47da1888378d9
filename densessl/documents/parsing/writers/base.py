"""What writers share: their names, options, files, and the characters that no file may hold."""

from __future__ import annotations

import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, TextIO, TypeVar

from densessl.documents.parsing.model import Document, Page
from densessl.files import writing

WRITERS: dict[str, type[Writer]] = {}
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
SURROGATES = re.compile(r"[\ud800-\udfff]")
_FORBIDDEN = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

W = TypeVar("W", bound="type[Writer]")


@dataclass(frozen=True)
class Options:
    """What can be asked of writers; each heeds what its format has.

    furniture: page headers and footers in Markdown and HTML, which are written without. page_breaks: a comment before
    each page of Markdown, a line before each of HTML. words: lines and words with their places in JSON, which is
    several times as long with them.
    """

    furniture: bool = False
    page_breaks: bool = True
    words: bool = False


class Writer(ABC):
    """Writes one document to one file, page by page; `with Writer(path, document) as write: write(page)`.

    name: that of the format. suffix: what the file's name ends with. The file appears at the end of the block, and not
    at all when the block raises. Raises `UserError` for a disk that is full or a folder that cannot be written.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    file: TextIO

    def __init__(self, path: str | Path, document: Document, options: Options | None = None) -> None:
        self.path, self.document, self.options = Path(path), document, options or Options()

    @abstractmethod
    def page(self, page: Page) -> None:
        """Write a page; they come in the order of their numbers."""

    @abstractmethod
    def begin(self) -> None:
        """Write what stands before the pages."""

    @abstractmethod
    def end(self) -> None:
        """Write what stands after the pages."""

    def spool(self) -> TextIO:
        """A file without a name, for what is known page by page but stands after or before all pages."""
        folder = self.path.parent
        return self._open.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", dir=folder))

    def pour(self, spool: TextIO) -> None:
        """Append all of a spool to the file."""
        spool.seek(0)
        shutil.copyfileobj(spool, self.file)

    @contextmanager
    def written(self) -> Iterator[Callable[[Page], None]]:
        """The context of a writer, from its first byte to its last."""
        with writing(self.path) as temporary, ExitStack() as self._open:
            self.file = self._open.enter_context(open(temporary, "w", encoding="utf-8", newline="\n"))
            self.begin()
            yield self.page
            self.end()

    def __enter__(self) -> Callable[[Page], None]:
        self._context = self.written()
        return self._context.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._context.__exit__(kind, error, trace)


def register(writer: W) -> W:
    """Enter a writer among `WRITERS`, under its name."""
    WRITERS[writer.name] = writer
    return writer


def clean(text: str) -> str:
    """The text with what neither XML 1.0 nor UTF-8 can hold replaced by U+FFFD, and lines ended by a line feed.

    That is control characters but tabulator and line feed, lone surrogates, U+FFFE and U+FFFF.
    """
    return _FORBIDDEN.sub(REPLACEMENT, text.replace("\r\n", "\n").replace("\r", "\n"))


def flat(text: str) -> str:
    """The text, cleaned, on one line, with one space where there was white space of any length."""
    return " ".join(clean(text).split())
