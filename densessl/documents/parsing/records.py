"""What was found on the pages of a document, kept page by page: what makes a run go on where it was stopped."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from densessl.data.sources.base import digest
from densessl.documents.parsing.model import Page, from_dict, to_dict
from densessl.files import write_bytes, write_text

FOLDER = "records"


class Records:
    """Of one document, in `FOLDER` below the folder of a run.

    made_by: a hash of all that decides what a record holds, but for the page. Records by another are removed, and so
    are the pictures in the folder `figures` that were cut out with them.
    """

    def __init__(self, folder: Path, stem: str, made_by: str, figures: Path) -> None:
        # The stems of documents may lie in each other, as x and x/y do; their folders here do not.
        self._folder = folder / FOLDER / f"{Path(stem).name[:60]}-{digest([stem])[:8]}" / made_by
        for other in _folders(self._folder.parent):
            if other.name != made_by:
                shutil.rmtree(other, ignore_errors=True)
                for picture in figures.glob("p*b*.*"):
                    picture.unlink(missing_ok=True)

    def has(self, number: int) -> bool:
        """Whether there is one of the page of this number, from 1."""
        return self._path(number).is_file()

    def keep(self, page: Page) -> None:
        """Write that of a page."""
        data = json.dumps(to_dict(page), ensure_ascii=False).encode("utf-8", "backslashreplace")
        write_bytes(self._path(page.number), gzip.compress(data, compresslevel=4, mtime=0))

    def pages(self, numbers: Iterable[int], broken: Mapping[int, str]) -> Iterator[Page]:
        """Pages by their numbers, one at a time; broken: of those that could not be read, the reason."""
        for number in numbers:
            if number in broken:
                yield Page(number, 0.0, 0.0, 72.0, error=broken[number])
            else:
                yield from_dict(json.loads(gzip.decompress(self._path(number).read_bytes())))

    def note(self, written: str, outputs: Sequence[Path], about: Mapping[str, Any]) -> None:
        """Remember what was written from these records: a hash of how, the files, and what the run is to tell again."""
        names = [str(path) for path in outputs]
        write_text(self._folder / "written.json", json.dumps({"by": written, "files": names, "about": about}))

    def forget(self) -> None:
        """What `note` was told."""
        (self._folder / "written.json").unlink(missing_ok=True)

    def noted(self, written: str, outputs: Sequence[Path]) -> dict[str, Any] | None:
        """What `note` was told, where the same files were written in the same way and are there."""
        try:
            note = json.loads((self._folder / "written.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        there = note["by"] == written and set(map(str, outputs)) <= set(note["files"])
        return note["about"] if there and all(path.exists() for path in outputs) else None

    def _path(self, number: int) -> Path:
        return self._folder / f"p{number:04}.json.gz"


def _folders(parent: Path) -> list[Path]:
    return [each for each in parent.iterdir() if each.is_dir()] if parent.is_dir() else []
