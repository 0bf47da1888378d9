"""WebDataset shards: images in .tar files, read in any order through an index of where each lies.

Members that differ only in what follows the first dot of their name are one sample: x.jpg and x.cls, the class as a
number in text. Opening reads the headers of the shards, not what lies between.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from densessl.data.images import UnreadableImage
from densessl.data.sources.base import Source, Strings, checked, digest, state_of
from densessl.data.sources.files import is_image
from densessl.errors import UserError

MOST_OPEN = 64  # files; a process may often have no more than 256


class Shards(Source):
    """Images in .tar files. A name is the member's own, below the name of its shard where there are several.

    Raises `UserError` for a shard that is damaged, cut short or compressed, and when none holds an image.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self.paths = [str(path) for path in paths]
        prefixes = _prefixes(self.paths)
        found: dict[str, tuple[int, int, int, int]] = {}
        for shard, path in enumerate(self.paths):
            for name, offset, size, label in _members(path):
                found[prefixes[shard] + name] = (shard, offset, size, label)
        if not found:
            raise UserError(f"There are no images in {self.paths[0]}{' and the other shards' * (len(self.paths) > 1)}.")
        self._names = Strings(found)
        self._places = np.array(list(found.values()), np.int64)  # (N, 4): shard, offset, size, label
        self._open: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._names)

    def read_bytes(self, index: int) -> bytes:
        shard, offset, size, _ = self._places[checked(index, len(self))].tolist()
        try:
            data = os.pread(self._descriptor(shard), size, offset)  # moves no position, so forked workers may share it
        except OSError as error:
            raise UnreadableImage((error.strerror or str(error)).lower()) from None
        if len(data) < size:
            raise UnreadableImage("it is truncated")
        return data

    def name(self, index: int) -> str:
        return self._names[checked(index, len(self))]

    def label(self, index: int) -> int | None:
        label = int(self._places[checked(index, len(self)), 3])
        return label if label >= 0 else None

    def fingerprint(self) -> str:
        return digest(part for path in self.paths for part in (os.path.basename(path), state_of(path)))

    def _descriptor(self, shard: int) -> int:
        if shard not in self._open:
            if len(self._open) >= MOST_OPEN:
                os.close(self._open.pop(next(iter(self._open))))
            self._open[shard] = os.open(self.paths[shard], os.O_RDONLY)
        return self._open[shard]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_open": {}}

    def __del__(self) -> None:
        for descriptor in self.__dict__.get("_open", {}).values():
            os.close(descriptor)


def _members(path: str) -> Iterator[tuple[str, int, int, int]]:
    """(name, offset, size, label) of every image of a shard; label -1 without a .cls."""
    images: list[tuple[str, str, int, int]] = []
    labels: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if not member.isreg() or member.sparse is not None:
                    continue
                name = _inside(member.name)
                folder, _, base = name.rpartition("/")
                key = f"{folder}/{base.split('.', 1)[0]}"
                if name.endswith(".cls"):
                    labels[key] = _number(tar.extractfile(member).read(32))
                elif is_image(name):
                    images.append((name, key, member.offset_data, member.size))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"The shard {path} cannot be read{_why(path, error)}") from None
    for name, key, offset, size in images:
        yield name, offset, size, labels.get(key, -1)


def _inside(name: str) -> str:
    """A member's name without what would lead out of a folder."""
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


def _number(text: bytes) -> int:
    return int(text) if text.strip().isdigit() else -1


def _why(path: str, error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, tarfile.TarError):
        return f": {(error.strerror or str(error)).lower()}."
    with open(path, "rb") as file:
        start = file.read(6)
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        return ": it is compressed, which allows no access in any order; unpack it to a plain .tar first."
    return ": it is damaged or cut short; fetch it again."


def _prefixes(paths: Sequence[str]) -> list[str]:
    """What tells apart the members of different shards: their paths below the folder they share, without .tar."""
    if len(paths) == 1:
        return [""]
    absolute = [os.path.abspath(path) for path in paths]
    root = os.path.commonpath([os.path.dirname(path) for path in absolute])
    return [os.path.splitext(path[len(root) :].lstrip("/"))[0] + "/" for path in absolute]
