"""Images that are files: of a folder, of a list, or named one by one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from densessl.data import images
from densessl.data.sources.base import Source, Strings, checked, digest, state_of
from densessl.data.sources.labels import LabelTable, read_labels
from densessl.data.sources.splits import is_split
from densessl.errors import UserError


class Files(Source):
    """Files below a folder.

    names: posix paths relative to root. labels: a class per name, -1 for none; None where there are none at all.
    """

    def __init__(
        self,
        root: str | Path,
        names: Sequence[str],
        labels: Sequence[int] | None = None,
        classes: list[str] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.root, self.classes, self.notes = str(root), classes, list(notes)
        self._names = Strings(names)
        self._labels = None if labels is None else np.asarray(labels, np.int64)

    def __len__(self) -> int:
        return len(self._names)

    def path(self, index: int) -> str:
        return os.path.join(self.root, self._names[checked(index, len(self))])

    def read_bytes(self, index: int) -> bytes:
        return images.read_bytes(self.path(index))

    def size(self, index: int) -> tuple[int, int]:
        return images.read_size(self.path(index))

    def name(self, index: int) -> str:
        return self._names[checked(index, len(self))]

    def label(self, index: int) -> int | None:
        index = checked(index, len(self))
        return int(self._labels[index]) if self._labels is not None and self._labels[index] >= 0 else None

    def fingerprint(self) -> str:
        return digest(part for index, name in enumerate(self._names) for part in (name, state_of(self.path(index))))


def is_image(name: str) -> bool:
    """Whether the suffix of a file's name is one of an image."""
    return os.path.splitext(name)[1].lower() in images.SUFFIXES


def walk(root: str | Path) -> list[str]:
    """Every file below a folder, as sorted posix paths relative to it; hidden files and folders are left out.

    A folder is read once, under its own name where it lies below root and not only a link to it: so links that run
    in circles end. Links that lead nowhere are among the files, to be reported when they are read.
    Raises `UserError` for a folder that may not be read.
    """
    root, found = str(root), []
    visited: set[tuple[int, int]] = set()
    links: list[str] = []
    pending = [""]
    while pending or links:
        relative = pending.pop() if pending else links.pop(0)
        about = os.stat(os.path.join(root, relative))
        if (about.st_dev, about.st_ino) in visited:
            continue
        visited.add((about.st_dev, about.st_ino))
        for entry in _entries(os.path.join(root, relative)):
            name = f"{relative}/{entry.name}" if relative else entry.name
            if entry.is_dir():
                (links if entry.is_symlink() else pending).append(name)
            elif entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path)):
                found.append(name)
    return sorted(found)


def _entries(folder: str) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted((each for each in entries if not each.name.startswith(".")), key=lambda each: each.name)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"The folder {folder} cannot be read: {reason}; change its permissions or move it.") from None


def from_names(root: str | Path, names: Sequence[str], depth: int = 1) -> Files:
    """A source of images below `root`; labelled by its labels.csv, or when every one lies in `depth` levels of folders.

    Of the latter the innermost is the class, unless these folders are parts of a data set, such as train and test.
    """
    table = read_labels(root, names)
    if table.words is not None:
        return from_labels(root, names, root, table)
    parents = [name.split("/")[:-1] for name in names]
    classes = sorted({parent[-1] for parent in parents if parent})
    if any(len(parent) != depth for parent in parents) or all(is_split(name) for name in classes):
        return Files(root, names, notes=table.notes)
    number = {name: index for index, name in enumerate(classes)}
    return Files(root, names, [number[parent[-1]] for parent in parents], classes, table.notes)


def from_labels(root: str | Path, names: Sequence[str], folder: str | Path, table: LabelTable) -> Files:
    """The images `names` below `root`, with the classes that the `table` of `folder` gives them.

    Classes that are all whole numbers are the classes themselves; others are names, numbered in sorted order, whether
    or not an image of `names` has them.
    """
    words = table.words or {}
    labels, classes = _numbered(list(words.values()))
    number = dict(zip(words, labels or (), strict=False))
    below = os.path.relpath(root, folder).replace(os.sep, "/")
    prefix = "" if below == "." else f"{below}/"
    found = [number.get(prefix + name, -1) for name in names]
    return Files(root, names, found if labels else None, classes, table.notes)


def from_paths(paths: Sequence[str | Path], labels: Sequence[int] | None = None, classes=None) -> Files:
    """A source of files named one by one, below the folder that they share; one that comes again is left out."""
    absolute = [os.path.abspath(os.path.expanduser(path)) for path in paths]
    root = os.path.commonpath([os.path.dirname(path) for path in absolute])
    first: dict[str, int] = {}
    for position, path in enumerate(absolute):
        first.setdefault(path[len(root) :].lstrip("/"), position)
    if labels is not None:
        labels = [labels[position] for position in first.values()]
    return Files(root, list(first), labels, classes)


def from_list(path: str | Path) -> Files:
    """The images of a text file: a path a line, relative to the file, and optionally a label after a tab.

    Labels that are all whole numbers are the classes themselves; others are names, numbered in sorted order.
    Raises `UserError` when it names nothing, or nothing that exists.
    """
    path = Path(path)
    lines = path.read_bytes().decode("utf-8-sig", "surrogateescape").splitlines()
    rows = [line.split("\t") for line in lines if line.strip()]
    if not rows:
        raise UserError(f"The list {path} names no images: write one path a line, relative to the list's folder.")
    paths = [path.parent / Path(row[0].strip()).expanduser() for row in rows]
    if not any(os.path.lexists(each) for each in paths[:1000]):
        raise UserError(
            f"The list {path} names no file that exists, {rows[0][0].strip()!r} for one: its paths are taken relative "
            f"to {path.parent.absolute()}, so move the list or write full paths."
        )
    labels, classes = _numbered([row[1].strip() if len(row) > 1 else "" for row in rows])
    return from_paths(paths, labels, classes)


def _numbered(words: Sequence[str]) -> tuple[list[int] | None, list[str] | None]:
    """Labels as written, "" for none -> numbers, -1 for none, and the names of the classes."""
    known = sorted(set(words) - {""})
    if not known:
        return None, None
    if all(word.isdecimal() for word in known):
        return [int(word) if word else -1 for word in words], None
    number = {word: index for index, word in enumerate(known)}
    return [number.get(word, -1) for word in words], known
