"""What outlives a run: a folder of features and heads, bounded, of which the least recently used go first.

An entry is a folder that is named by a hash of all that its contents depend on, so that nothing stale is found under
it. Its files are written whole, with a checksum; one that was cut short or altered counts as missing. Runs share the
folder: what one of them takes away while another reads it stays readable there. No trouble with the folder ends a run:
what cannot be kept is not kept, and `trouble` says why.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densessl.files import output_folder, remove_leftovers, settle, temporary_for
from densessl.progress import Say, tell

GB = 1e9
CHUNK = 1 << 20
FORGOTTEN = 3600.0  # seconds without a change: a block is written as slowly as its pictures are segmented
_ENTRY = re.compile("[0-9a-f]{32}")
_END = struct.Struct("<QI8s")  # what a file ends with: bytes and CRC-32 of its record, and the mark
_MARK = b"densessl"


def default_folder() -> Path | None:
    """$DENSESSL_CACHE, or densessl/features where the user's caches lie; None for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    base = base if os.path.isabs(base) else "~/.cache"
    with suppress(RuntimeError):
        return Path(os.environ.get("DENSESSL_CACHE") or f"{base}/densessl/features").expanduser()
    return None


def lists(cache: str | None) -> Path | None:
    """Where lists that took long to make are kept, small as they are, for the setting `cache`: its folder, else the
    default one, whether it keeps features or not; nowhere for "none"."""
    if cache is not None and cache.lower() in ("none", "false"):
        return None
    return default_folder() if cache in (None, "auto") else Path(cache).expanduser()


@dataclass
class Kept:
    """A file of an entry, open, whose bytes are as they were written.

    record: what was noted of them. size: bytes, the record left out.
    """

    file: io.BufferedReader
    record: dict
    size: int

    def data(self) -> bytes:
        self.file.seek(0)
        return self.file.read(self.size)


class Cache:
    """Entries of files below `folder`, together of `size` bytes at most.

    trouble: why something was not kept in this run, as a clause; None where all was. broken: whether the folder is
    why. ours: keys of the entries that this run uses, none of which makes room for another. refused: keys of those that
    it tried to keep and that do not fit; smaller ones may still. say: is told of the first file that is damaged.
    """

    def __init__(self, folder: str | Path, size: float) -> None:
        self.folder, self.size = Path(folder), size
        self.trouble: str | None = None
        self.broken = False
        self.ours: set[str] = set()
        self.refused: set[str] = set()
        self.say: Say = tell
        self.told = False

    @classmethod
    def of(cls, cache: str | None, gigabytes: float) -> Cache | None:
        """The cache that the settings `cache` and `cache_size` ask for: "auto", a folder, or "none" and None for none.

        Raises `UserError` for a folder that was named and cannot be written.
        """
        if cache is None or cache.lower() in ("none", "false"):
            return None
        folder = default_folder() if cache == "auto" else output_folder(cache)
        return None if folder is None else cls(folder, gigabytes * GB)

    def read(self, key: str, name: str) -> Kept | None:
        """A file of an entry; None where there is none, or one that is not as it was written."""
        self.ours.add(key)
        path = self.folder / key / name
        with suppress(OSError):
            file = open(path, "rb")  # noqa: SIM115
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                kept = _checked(file)
                if kept is not None:
                    self._use(key)
                    return kept
            file.close()
            self._damaged(path)
        return None

    def write(self, key: str, name: str) -> Writer:
        """Begin a file of an entry; a context that leaves nothing behind unless it was settled."""
        self.ours.add(key)
        return Writer(self, key, name)

    def keep(self, key: str, name: str, data: bytes, record: dict) -> None:
        """Write a file of an entry, if it can be."""
        with self.write(key, name) as writer:
            writer.add(data)
            writer.settle(record)

    def make_room(self, wanted: float, key: str) -> bool:
        """Take entries away, the least recently used first, until this one may have `wanted` bytes; False if it cannot.

        What counts as its own already is its files, finished or not.
        """
        sizes = {each.name: _size(each) for each in self._entries()}
        others = {name: size for name, size in sizes.items() if name != key}
        fixed = sum(size for name, size in others.items() if name in self.ours)
        if wanted + fixed > self.size:
            return False
        total = wanted + sum(others.values())
        for entry in sorted(self._entries(), key=_used):
            if total <= self.size:
                break
            if entry.name != key and entry.name not in self.ours:
                shutil.rmtree(entry, ignore_errors=True)
                total -= others.get(entry.name, 0)
        return total <= self.size

    def refuse(self, key: str, wanted: float) -> None:
        """Take an entry away that would have so many bytes, and say what would hold it."""
        shutil.rmtree(self.folder / key, ignore_errors=True)
        self.refused.add(key)
        beside = sum(_size(each) for each in self._entries() if each.name in self.ours)
        self.trouble = self.trouble or (
            f"they would take {gigabytes(wanted)} GB, for which cache_size={self.size / GB:g} has no room and "
            f"cache_size={math.ceil((wanted + beside) / GB)} would have"
        )

    def clean(self) -> None:
        """Take away what killed runs left half written, and what is over the bound."""
        for entry in self._entries():
            remove_leftovers(entry, FORGOTTEN)
            with suppress(OSError):
                if time.time() - entry.stat().st_mtime > FORGOTTEN:
                    entry.rmdir()  # which fails for all that are not empty
        self.make_room(0, "")

    def used(self) -> int:
        """Bytes of all entries."""
        return sum(map(_size, self._entries()))

    def __str__(self) -> str:
        return f"{self.folder} ({gigabytes(self.used())} of {self.size / GB:g} GB)"

    def _damaged(self, path: Path) -> None:
        if not self.told:
            self.told = True
            self.say(f"{path} in the cache is not as it was written: it, and what else is found damaged, is made anew.")

    def _use(self, key: str) -> None:
        with suppress(OSError):
            os.utime(self.folder / key)

    def _entries(self) -> list[Path]:
        with suppress(OSError):
            return [each for each in self.folder.iterdir() if _ENTRY.fullmatch(each.name) and each.is_dir()]
        return []


class Writer:
    """A file of an entry on its way. What the disk refuses is told to the cache, and ends nothing but the file.

    size: bytes so far.
    """

    def __init__(self, cache: Cache, key: str, name: str) -> None:
        self.cache, self.key, self.path = cache, key, cache.folder / key / name
        self.size, self.checksum = 0, 0
        self.file, self.temporary = None, None
        if not cache.broken and key not in cache.refused:
            self._try(self._open)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def add(self, data: bytes | np.ndarray) -> None:
        if self.file is not None:
            data = memoryview(data).cast("B")
            self.size += len(data)
            self.checksum = zlib.crc32(data, self.checksum)
            self._try(lambda: self.file.write(data))

    def settle(self, record: dict, whole: float | None = None) -> Kept | None:
        """Finish the file, where there is room for it; None where it could not be written.

        whole: bytes that the entry is going to have when all of its files are there, this one's unless given. An entry
        that is not going to fit is taken away at once.
        """
        if self.file is None:
            return None
        whole = self.size if whole is None else whole
        if not self.cache.make_room(whole, self.key):
            self._end()
            self.cache.refuse(self.key, whole)
            return None
        text = json.dumps({**record, "checksum": self.checksum}).encode()
        self._try(lambda: self._settle(text))
        if self.file is None:
            return None
        self._end()
        return self.cache.read(self.key, self.path.name)

    def _open(self) -> None:
        self.temporary = temporary_for(self.path)
        self.file = open(self.temporary, "wb")  # noqa: SIM115

    def _settle(self, text: bytes) -> None:
        self.file.write(text + _END.pack(len(text), zlib.crc32(text), _MARK))
        self.file.flush()
        settle(self.temporary, self.path)

    def _try(self, act) -> None:
        try:
            act()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            self.cache.trouble = self.cache.trouble or f"{self.cache.folder} could not be written: {reason}"
            self.cache.broken = True
            self._end()

    def _end(self) -> None:
        with suppress(OSError):
            if self.file is not None:
                self.file.close()
        with suppress(OSError):
            if self.temporary is not None:
                self.temporary.unlink(missing_ok=True)
        self.file, self.temporary = None, None


def _checked(file: io.BufferedReader) -> Kept | None:
    size = file.seek(0, os.SEEK_END) - _END.size
    if size < 0:
        return None
    file.seek(size)
    length, checksum, mark = _END.unpack(file.read(_END.size))
    if mark != _MARK or length > size:
        return None
    file.seek(size - length)
    text = file.read(length)
    if zlib.crc32(text) != checksum:
        return None
    kept = Kept(file, json.loads(text), size - length)
    file.seek(0)
    found = 0
    for chunk in _chunks(file, kept.size):
        found = zlib.crc32(chunk, found)
    return kept if found == kept.record["checksum"] else None


def _chunks(file: io.BufferedReader, size: int) -> Iterator[bytes]:
    while size > 0 and (chunk := file.read(min(CHUNK, size))):
        size -= len(chunk)
        yield chunk


def _size(entry: Path) -> int:
    with suppress(OSError):
        return sum(each.stat().st_size for each in os.scandir(entry))
    return 0


def _used(entry: Path) -> float:
    with suppress(OSError):
        return entry.stat().st_mtime
    return 0.0


def gigabytes(size: float) -> str:
    """Bytes as a number of GB, for a sentence."""
    return f"{size / GB:.3g}" if size >= 0.005 * GB or not size else "less than 0.01"
