"""TIFF files of several pages, one page at a time: what is read of a file is what its page needs.

TIFF 6.0 and BigTIFF. A page is copied out as a TIFF of its own, which `densessl.data.images` then reads as any other.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from densessl.data.images import MAX_BYTES, UnreadableImage, opened

SUFFIXES = (".tif", ".tiff")
MOST_PAGES = 100_000  # of one file
MOST_BYTES = 1 << 42  # of one file
MOST_ENTRIES = 4096  # of one page; there are some hundred tags
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_LETTERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # of the types that are whole numbers
_LONG, _LONG8, _IFD8 = 4, 16, 18
_SUBFILE = 254
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType: a preview of another page, the transparency of one
_SEGMENTS = {273: 279, 324: 325}  # tags that say where strips and tiles lie -> how long they are
_ELSEWHERE = (_SUBFILE, 288, 289, 330, 34665, 34853)  # left out: free bytes, directories of previews, EXIF and GPS
_OLD_JPEG = (513, 519, 520, 521)  # tables at offsets of their own


@dataclass(frozen=True)
class Value:
    """Numbers of a directory's entry: their type, their count, and their bytes or where these lie."""

    kind: int
    count: int
    field: bytes


Directory = dict[int, Value]  # by tag


def count(path: str | os.PathLike[str]) -> int:
    """Pages of a TIFF file, previews and masks apart; 1 for what cannot be told, or is no TIFF. No pixel is read."""
    try:
        with opened(path, MOST_BYTES) as file:
            return max(1, len(_places(file, path)))
    except UnreadableImage:
        return 1


def read_page(path: str | os.PathLike[str], number: int) -> bytes:
    """A page, counted from 0, as a TIFF file of its own; raises `UnreadableImage`."""
    with opened(path, MOST_BYTES) as file:
        try:
            places = _places(file, path)
            if number < len(places):
                tiff, at = _Tiff(file), places[number]
                return tiff.alone(at, tiff.directory(at)[0])
        except (ValueError, struct.error):
            raise UnreadableImage("it is damaged") from None
    raise UnreadableImage(f"the file has no page {number + 1} any more")


def _places(file: BinaryIO, path: str | os.PathLike[str]) -> array[int]:
    """Where the directory of each page lies: directories are a chain, which is followed once and not for every page."""
    about = os.fstat(file.fileno())
    return _followed(os.fspath(path), (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns))


@lru_cache(maxsize=64)
def _followed(path: str, state: tuple[int, ...]) -> array[int]:
    """The same for a file in this state; raises `UnreadableImage`."""
    with opened(path, MOST_BYTES) as file:
        try:
            return array("Q", (at for at, _ in _Tiff(file).pages()))
        except (ValueError, struct.error):
            raise UnreadableImage("it is damaged") from None


class _Tiff:
    """A file and how its numbers are written; raises `ValueError` where they cannot be what they say."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.bytes = file, os.fstat(file.fileno()).st_size
        header = self.read(0, 16)
        orders = {b"II": "<", b"MM": ">"}
        if header[:2] not in orders:
            raise ValueError
        self.order = orders[header[:2]]
        kind = self.number("H", header, 2)
        if kind not in (42, 43):
            raise ValueError
        self.big = kind == 43
        self.offset = "Q" if self.big else "I"
        self.first = self.number(self.offset, header, 8 if self.big else 4)

    def pages(self) -> Iterator[tuple[int, Directory]]:
        """Where the directory of each page lies, and what it holds. A chain that runs in a circle ends."""
        seen: set[int] = set()
        found, at = 0, self.first
        while at and at not in seen and len(seen) < 2 * MOST_PAGES and found < MOST_PAGES:
            seen.add(at)
            try:
                directory, following = self.directory(at)
            except (ValueError, struct.error):
                if not found:
                    raise
                return  # of a file that is cut short the pages before are there
            if not self.about(directory) & (_REDUCED | _MASK):
                found += 1
                yield at, directory
            at = following

    def directory(self, at: int) -> tuple[Directory, int]:
        """The directory at an offset, and where the next one lies, 0 after the last."""
        head, width, inline = (8, 20, 8) if self.big else (2, 12, 4)
        entries = self.number("Q" if self.big else "H", self.read(at, head))
        if not 0 < entries <= MOST_ENTRIES:
            raise ValueError
        data = self.read(at + head, entries * width + inline)
        found = {}
        for place in range(0, entries * width, width):
            tag, kind = struct.unpack_from(f"{self.order}HH", data, place)
            length = self.number(self.offset, data, place + 4)
            found[tag] = Value(kind, length, data[place + width - inline : place + width])
        return found, self.number(self.offset, data, entries * width)

    def about(self, directory: Directory) -> int:
        """NewSubfileType, 0 where there is none."""
        value = directory.get(_SUBFILE)
        return self.numbers(value.kind, self.value(value))[0] if value and value.count == 1 else 0

    def alone(self, at: int, directory: Directory) -> bytes:
        """A file of one page with what this one needs, in offsets of four bytes, which are enough for it."""
        if any(tag in directory for tag in _OLD_JPEG):
            return self.first_of_all(at)
        values = {
            tag: (value.kind, self.value(value))
            for tag, value in sorted(directory.items())
            if value.kind in _SIZES and tag not in _ELSEWHERE
        }
        data = bytearray(8)
        for where, lengths in _SEGMENTS.items():
            if where in values:
                if lengths not in values:
                    raise ValueError
                places = self.copy(data, self.numbers(*values[where]), self.numbers(*values[lengths]))
                values[where] = _LONG, struct.pack(f"{self.order}{len(places)}I", *places)
        rows = b"".join(self.row(data, tag, *value) for tag, value in values.items())
        data += bytes(len(data) % 2)
        data[:8] = (b"II*\0" if self.order == "<" else b"MM\0*") + struct.pack(f"{self.order}I", len(data))
        return bytes(data) + struct.pack(f"{self.order}H", len(values)) + rows + bytes(4)

    def copy(self, data: bytearray, places: list[int], lengths: list[int]) -> list[int]:
        """Add strips or tiles to `data`, and say where each begins there. Together they are no more than the file."""
        if len(places) != len(lengths) or sum(lengths) > self.bytes:
            raise ValueError
        begins = []
        for place, length in zip(places, lengths, strict=True):
            begins.append(len(data))
            data += self.read(place, length)
        return begins

    def row(self, data: bytearray, tag: int, kind: int, value: bytes) -> bytes:
        """An entry of a directory, the value of which is added to `data` where it has no room in it."""
        if kind in (_LONG8, _IFD8):
            numbers = self.numbers(kind, value)
            kind, value = _LONG, struct.pack(f"{self.order}{len(numbers)}I", *numbers)
        length = len(value) // _SIZES[kind]
        if len(value) > 4:
            data += bytes(len(data) % 2)
            place = struct.pack(f"{self.order}I", len(data))
            data += value
            value = place
        return struct.pack(f"{self.order}HHI", tag, kind, length) + value.ljust(4, b"\0")

    def first_of_all(self, at: int) -> bytes:
        """The whole file with the page at this offset as its first."""
        if self.bytes > MAX_BYTES:
            raise ValueError
        data = bytearray(self.read(0, self.bytes))
        struct.pack_into(f"{self.order}{self.offset}", data, 8 if self.big else 4, at)
        return bytes(data)

    def value(self, value: Value) -> bytes:
        if value.kind not in _SIZES:
            raise ValueError
        length = _SIZES[value.kind] * value.count
        if length <= len(value.field):
            return value.field[:length]
        return self.read(self.number(self.offset, value.field), length)

    def numbers(self, kind: int, data: bytes) -> list[int]:
        if kind not in _LETTERS:
            raise ValueError
        return list(struct.unpack(f"{self.order}{len(data) // _SIZES[kind]}{_LETTERS[kind]}", data))

    def number(self, kind: str, data: bytes, at: int = 0) -> int:
        return struct.unpack_from(f"{self.order}{kind}", data, at)[0]

    def read(self, at: int, length: int) -> bytes:
        if at + length > self.bytes:
            raise ValueError
        self.file.seek(at)
        data = self.file.read(length)
        if len(data) < length:
            raise ValueError
        return data
