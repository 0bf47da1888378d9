"""What every source offers, and the parts that sources share."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from densessl.data import images

if TYPE_CHECKING:
    from densessl.data.pages.pdf import Text


class Source(ABC):
    """Images by their number, always in the same order; pickled, it is small, so that it is cheap to give to workers.

    classes: the names of the classes that `label` counts, or None where they have none.
    notes: sentences for the user on what was left out.
    broken: the files that were left out as a whole, each with one short reason: documents, videos.
    """

    classes: list[str] | None = None
    notes: Sequence[str] = ()
    broken: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read_bytes(self, index: int) -> bytes:
        """The encoded image; raises `UnreadableImage`."""

    @abstractmethod
    def name(self, index: int) -> str:
        """A posix path with a suffix, relative to the root of the source, unique within it, never leading out of it."""

    @abstractmethod
    def label(self, index: int) -> int | None:
        """The class, or None where the image has none."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash that changes when images come, go or are written anew; from names, sizes and times alone."""

    def path(self, index: int) -> str | None:
        """The file of an image; None where it is none of its own, as in archives and documents."""
        return None

    def document(self, index: int) -> str:
        """What images that belong together share, such as the pages of one document; by default an image's name."""
        return self.name(index)

    def after(self, index: int) -> int:
        """The first image of the next document, which is the length of the source after the last one."""
        document, following = self.document(index), index + 1
        while following < len(self) and self.document(following) == document:
            following += 1
        return following

    def dpi(self, index: int) -> float | None:
        """Pixels an inch at which a page of a PDF is rendered; None for other images. Raises `UnreadableImage`."""
        return None

    def points(self, index: int) -> tuple[float, float] | None:
        """(width, height) of a page of a PDF in points; None for other images. Raises `UnreadableImage`."""
        return None

    def page(self, index: int) -> int:
        """The number of a page in its document, from 1 on; 1 for other images."""
        return 1

    def state(self, index: int) -> str:
        """What changes when the file that an image is in is written anew, "" where there is none."""
        path = self.path(index)
        return "" if path is None else state_of(path)

    def text(self, index: int) -> Text | None:
        """The text layer of a page of a PDF; None for other images. Raises `UnreadableImage`."""
        return None

    def read(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB; raises `UnreadableImage`."""
        return images.decode(self.read_bytes(index))

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of the image, without decoding it where its header will do; raises `UnreadableImage`."""
        return images.size(self.read_bytes(index))


class Strings(Sequence[str]):
    """Many strings in one block of memory, which neither pickling nor forked workers have to touch one by one."""

    def __init__(self, strings: Iterable[str]) -> None:
        encoded = [os.fsencode(each) for each in strings]
        self._ends = np.cumsum([len(each) for each in encoded], dtype=np.int64)
        self._block = b"".join(encoded)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index):
        if not 0 <= index < len(self._ends):
            raise IndexError(index)
        start = self._ends[index - 1] if index else 0
        return os.fsdecode(self._block[start : self._ends[index]])


class Concatenated(Source):
    """Several sources one after another.

    prefixes: one per source; put before its names where names would not be unique without.
    The classes are those of all sources by name; where one source has labels and no names for them, there are none.
    """

    def __init__(self, sources: Sequence[Source], prefixes: Sequence[str]) -> None:
        self.sources = list(sources)
        self.notes = [note for source in self.sources for note in source.notes]
        self._starts = np.cumsum([0, *map(len, self.sources)])
        names = [source.name(index) for source in self.sources for index in range(len(source))]
        self._prefixes = _distinct(prefixes) if len(set(names)) < len(names) else None
        self.broken = {
            self._prefixed(part, name): reason
            for part, source in enumerate(self.sources)
            for name, reason in source.broken.items()
        }
        named = [source.classes for source in self.sources if source.classes is not None]
        self.classes = sorted(set().union(*named)) if named else None
        if named and all(classes == named[0] for classes in named):
            self.classes = named[0]

    @property
    def starts(self) -> list[int]:
        """The number of each source's first image, and that of all images."""
        return [int(start) for start in self._starts]

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read_bytes(self, index: int) -> bytes:
        part, index = self._place(index)
        return self.sources[part].read_bytes(index)

    def read(self, index: int) -> np.ndarray:
        part, index = self._place(index)
        return self.sources[part].read(index)

    def size(self, index: int) -> tuple[int, int]:
        part, index = self._place(index)
        return self.sources[part].size(index)

    def name(self, index: int) -> str:
        part, index = self._place(index)
        return self._prefixed(part, self.sources[part].name(index))

    def path(self, index: int) -> str | None:
        part, index = self._place(index)
        return self.sources[part].path(index)

    def document(self, index: int) -> str:
        part, index = self._place(index)
        return self._prefixed(part, self.sources[part].document(index))

    def dpi(self, index: int) -> float | None:
        part, index = self._place(index)
        return self.sources[part].dpi(index)

    def points(self, index: int) -> tuple[float, float] | None:
        part, index = self._place(index)
        return self.sources[part].points(index)

    def page(self, index: int) -> int:
        part, index = self._place(index)
        return self.sources[part].page(index)

    def state(self, index: int) -> str:
        part, index = self._place(index)
        return self.sources[part].state(index)

    def text(self, index: int) -> Text | None:
        part, index = self._place(index)
        return self.sources[part].text(index)

    def label(self, index: int) -> int | None:
        part, index = self._place(index)
        source = self.sources[part]
        label = source.label(index)
        if label is None or self.classes == source.classes:
            return label
        return self.classes.index(source.classes[label]) if source.classes else None

    def fingerprint(self) -> str:
        return digest(source.fingerprint() for source in self.sources)

    def after(self, index: int) -> int:
        part, index = self._place(index)
        return int(self._starts[part]) + self.sources[part].after(index)

    def _prefixed(self, part: int, name: str) -> str:
        return name if self._prefixes is None else f"{self._prefixes[part]}/{name}"

    def _place(self, index: int) -> tuple[int, int]:
        index = checked(index, len(self))
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return part, index - int(self._starts[part])


def checked(index: int, length: int) -> int:
    """A number of an image, as an int; `IndexError` outside [0, length)."""
    if not 0 <= index < length:
        raise IndexError(f"image {index} of {length}")
    return int(index)


def digest(parts: Iterable[object]) -> str:
    """A hash of the texts of `parts`, which tells where each ends."""
    hashed = hashlib.sha256()
    for part in parts:
        text = str(part).encode("utf-8", "surrogateescape")
        hashed.update(b"%d:%b" % (len(text), text))
    return hashed.hexdigest()


def state_of(path: str | Path) -> str:
    """Size and times of a file, for a fingerprint; a missing file has a state too.

    The time of the last change of any kind is among them: programs set that of the contents back to what it was, when
    they turn a photograph for one.
    """
    try:
        about = os.stat(path)
    except OSError:
        return "missing"
    return f"{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}"


def _distinct(prefixes: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    result = []
    for prefix in prefixes:
        seen[prefix] = seen.get(prefix, 0) + 1
        result.append(prefix if seen[prefix] == 1 else f"{prefix}-{seen[prefix]}")
    return result
