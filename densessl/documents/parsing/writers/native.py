"""JSON of our own, as schema.json describes it, and how it is read again.

A page is a line of the file, so that tools that work line by line, and `read`, need not hold the whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from densessl.documents.parsing.model import Document, Page, from_dict, to_dict
from densessl.documents.parsing.writers.base import REPLACEMENT, SURROGATES, Writer, register
from densessl.errors import UserError

FORMAT, VERSION = "densessl document", 1
_PAGES = ',"pages":['  # ends the first line, which has all but the pages
_END = "]}"


@register
class JsonWriter(Writer):
    """What is known of the document, and its pages as `model.to_dict` has them, lines and words only when asked for.

    Places are in points, from the page's left upper corner, y downwards; `dpi` has the pixels an inch of the picture.
    """

    name, suffix = "json", ".json"

    def begin(self) -> None:
        head = {
            "format": FORMAT,
            "version": VERSION,
            "name": self.document.name,
            "page_count": self.document.pages,
            "made_by": dict(self.document.made_by),
            "unit": "pt",
            "units_per_inch": 72,
            "origin": "upper left",
        }
        self.file.write(_dumped(head)[:-1] + _PAGES)
        self._separator = "\n"

    def page(self, page: Page) -> None:
        record = to_dict(page)
        blocks = record.pop("blocks")
        if not self.options.words:
            for block in blocks:
                block.pop("lines", None)
        self.file.write(self._separator + _dumped({**record, "blocks": blocks}))
        self._separator = ",\n"

    def end(self) -> None:
        self.file.write(f"\n{_END}\n")


def read(path: str | Path) -> tuple[Document, Iterator[Page]]:
    """What `JsonWriter` wrote: the document, and its pages, each read when it is asked for.

    A file that was laid out anew since is read as a whole. Raises `UserError` for one that is no such file or that is
    damaged; within the pages too.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8") as file:
            head = file.readline().rstrip("\n")
        by_lines = head.endswith(_PAGES)
        record = json.loads(head + _END if by_lines else path.read_text(encoding="utf-8"))
        if record["format"] != FORMAT or record["version"] > VERSION:
            raise ValueError
        document = Document(record["name"], record["page_count"], record["made_by"])
        records = _records(path) if by_lines else iter(record["pages"])
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{path} cannot be read: {reason}; give a file of densessl parse --format json.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise _foreign(path) from error
    return document, _pages(records, path)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        file.readline()
        for line in file:
            if line.rstrip("\n") == _END:
                return
            yield json.loads(line.rstrip("\n").removesuffix(","))
    raise ValueError("cut off")


def _pages(records: Iterator[dict[str, Any]], path: Path) -> Iterator[Page]:
    try:
        for record in records:
            yield from_dict(record)
    except (ValueError, KeyError, TypeError) as error:
        raise _foreign(path) from error


def _foreign(path: Path) -> UserError:
    return UserError(f"{path} is no whole document of this densessl: give a file of densessl parse --format json.")


def _dumped(record: Any) -> str:
    # Lone surrogates, which no UTF-8 can hold, are the only characters that JSON has no way to write.
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return SURROGATES.sub(REPLACEMENT, text)
