"""From what a reader found in its files to pages: everything that all sets can have wrong is looked for here."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from densessl.data.images import UnreadableImage
from densessl.data.sources import files
from densessl.data.sources.files import Files
from densessl.documents import problems as kinds
from densessl.documents.pages import LabelledPages, Objects, Shape
from densessl.documents.problems import Problems
from densessl.documents.sets.masks import near_page
from densessl.progress import Report, silent

ROUNDING = 0.5  # pixels that a box may reach over the edge without a word: coordinates were rounded
CHECKED_WITHOUT_A_WORD = 1000  # pages; of more, the progress of reading headers is told


@dataclass(frozen=True)
class Options:
    """What a reader may be told beside its folder and split.

    images: the folder of the images, where it is not beside the annotations. masks: whether shapes are kept, for a
    detector with masks. partial: leave out pages whose images are not there, as when only a part of a set was fetched.
    headers: look into each image for its size. progress: told of what takes long.
    """

    images: str | Path | None = None
    masks: bool = False
    partial: bool = False
    headers: bool = True
    progress: Report = silent


@dataclass
class Draft:
    """Pages and objects as they stand in the files of a set, row by row; `finish` looks at all of them.

    noun: what an object is called when it is spoken of. names: of the images, below the folder of the images. sizes:
    width and height that the files state, None where they state none. documents: what each page is from. page, boxes,
    classes, crowd, ignored, shapes, where: of the objects; the last is what the noun needs to tell which is meant.
    """

    problems: Problems
    noun: str = "object"
    names: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int] | None] = field(default_factory=list)
    documents: list[str | None] = field(default_factory=list)
    page: list[int] = field(default_factory=list)
    boxes: list[Sequence[float]] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    ignored: list[bool] = field(default_factory=list)
    shapes: list[Shape | None] = field(default_factory=list)
    where: list[object] = field(default_factory=list)

    def add_page(self, name: str, size: tuple[int, int] | None = None, document: str | None = None) -> int:
        """A page's number."""
        self.names.append(name)
        self.sizes.append(size)
        self.documents.append(document)
        return len(self.names) - 1

    def add(
        self,
        page: int,
        box: Sequence[float],
        kind: int,
        where: object,
        *,
        crowd: bool = False,
        ignored: bool = False,
        shape: Shape | None = None,
    ) -> None:
        """An object. box: x0, y0, x1, y1. kind: its class. where: its id or place."""
        self.page.append(page)
        self.boxes.append(box)
        self.classes.append(kind)
        self.crowd.append(crowd)
        self.ignored.append(ignored)
        self.shapes.append(shape)
        self.where.append(where)

    def finish(
        self,
        name: str,
        folder: str | Path,
        classes: Sequence[str],
        options: Options,
        *,
        shapes: bool | None = None,
    ) -> LabelledPages:
        """The pages, with what could be mended mended and told of in `notes`; raises `UserError` with all that cannot.

        folder: of the images. shapes: whether to keep them, by default as the options say.
        """
        shapes = options.masks if shapes is None else shapes
        there = self._there(folder, options)
        sizes = self._sizes(folder, there, options)
        objects = self._objects(there, sizes, shapes)
        self.problems.check()
        chosen = np.flatnonzero(there)
        renumbered = np.cumsum(there, dtype=np.int32) - 1
        return LabelledPages(
            name=name,
            source=_files(folder, [self.names[index] for index in chosen]),
            sizes=sizes[chosen],
            classes=tuple(classes),
            labelled=np.ones((len(chosen), len(classes)), bool),
            objects=replace(objects, page=renumbered[objects.page]),
            documents=tuple(self.documents[index] for index in chosen),
            notes=tuple(self.problems.warnings),
        )

    def _there(self, folder: str | Path, options: Options) -> np.ndarray:
        """(N,) bool: of which pages the image is there, by one listing of the folder."""
        known = set(files.walk(folder)) if os.path.isdir(folder) else set()
        there = np.array([name in known for name in self.names], bool)
        for index in np.flatnonzero(~there):
            outside = os.path.join(folder, self.names[index])  # a name may lead out of the folder, or be a full path
            if os.path.isfile(outside):
                there[index] = True
            else:
                self.problems.add(kinds.LEFT_OUT if options.partial else kinds.MISSING, outside)
        if options.partial and len(there) and not there.any():
            self.problems.add(kinds.MISSING, f"all in {folder}")
        return there

    def _sizes(self, folder: str | Path, there: np.ndarray, options: Options) -> np.ndarray:
        """(N, 2) width and height: as stated, or as the images have it where nothing is; 0 where nobody knows."""
        source, sizes = Files(folder, self.names), np.zeros((len(self.names), 2), np.int32)
        report = options.progress if len(self.names) > CHECKED_WITHOUT_A_WORD else silent
        for index, stated in enumerate(self.sizes):
            if stated is not None:
                sizes[index] = stated
            if there[index] and (options.headers or stated is None):
                sizes[index] = self._size(source, index, stated)
                report("sizes of pages", index + 1, len(self.names), "")
        return sizes

    def _size(self, source: Files, index: int, stated: tuple[int, int] | None) -> tuple[int, int]:
        try:
            height, width = source.size(index)
        except UnreadableImage as error:
            self.problems.add(kinds.UNREADABLE, f"{self.names[index]}: {error}")
            return stated or (0, 0)
        if stated is not None and (width, height) != tuple(stated):
            stated_ = f"{stated[0]} x {stated[1]}"
            self.problems.add(kinds.OTHER_SIZE, f"{self.names[index]}: {width} x {height}, stated {stated_}")
        return width, height

    def _objects(self, there: np.ndarray, sizes: np.ndarray, shapes: bool) -> Objects:
        """The objects that can stay, in the order of pages, of which they have the numbers in this draft."""
        page = np.array(self.page, np.int64)
        kept = there[page] if len(page) else np.zeros(0, bool)
        boxes = self._numbers()
        finite = np.isfinite(boxes).all(axis=1)
        self._tell(kinds.NOT_NUMBERS, ~finite & kept)
        # Where nobody knows the size, which is an error of its own, no box is judged by it.
        known = sizes[page].min(axis=1, initial=np.iinfo(np.int32).max) > 0
        limits = np.where(known[:, None], np.tile(sizes[page], 2), np.inf)
        flat = finite & ((boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1]))
        self._tell(kinds.FLAT, flat & kept)
        clipped = np.where(finite[:, None], np.clip(boxes, 0, limits), boxes)
        outside = finite & ~flat & ((clipped[:, 2] <= clipped[:, 0]) | (clipped[:, 3] <= clipped[:, 1]))
        self._tell(kinds.OUTSIDE, outside & kept)
        with np.errstate(invalid="ignore"):
            over = finite & ~flat & ~outside & (np.abs(clipped - boxes) > ROUNDING).any(axis=1)
        self._tell(kinds.OVER_EDGE, over & kept)
        kept &= finite & ~flat & ~outside
        rows = np.flatnonzero(kept)
        rows = rows[np.argsort(page[rows], kind="stable")]
        return Objects(
            page[rows].astype(np.int32),
            clipped[rows],
            np.array(self.classes, np.int16)[rows],
            np.array(self.crowd, bool)[rows],
            np.array(self.ignored, bool)[rows],
            self._shapes(rows, clipped, sizes) if shapes else None,
        )

    def _numbers(self) -> np.ndarray:
        """(M, 4) float64; NaN where a box is anything but four numbers."""
        try:
            boxes = np.array(self.boxes)
            if boxes.shape == (len(self.boxes), 4) and boxes.dtype.kind in "iuf":
                return boxes.astype(np.float64)
        except ValueError:  # rows of several lengths
            pass
        boxes = np.full((len(self.boxes), 4), np.nan)
        for row, box in enumerate(self.boxes):
            if isinstance(box, list | tuple) and len(box) == 4 and all(isinstance(each, int | float) for each in box):
                with suppress(OverflowError):
                    boxes[row] = box
        return boxes

    def _shapes(self, rows: np.ndarray, boxes: np.ndarray, sizes: np.ndarray) -> tuple[Shape, ...]:
        """The shape of each row, a box for one without; which is told of where others have one."""
        some, found = any(self.shapes[row] is not None for row in rows.tolist()), []
        for row in rows.tolist():
            shape, size = self.shapes[row], sizes[self.page[row]].tolist()
            if shape is None and some:
                self.problems.add(kinds.NO_MASK, self._called(row))
            if isinstance(shape, list) and min(size) > 0:
                shape = near_page(shape, size)
                if not shape:
                    self.problems.add(kinds.MASK_LEFT_OUT, self._called(row))
            found.append(shape or rectangle(boxes[row]))
        return tuple(found)

    def _tell(self, kind: kinds.Kind, rows: np.ndarray) -> None:
        for row in np.flatnonzero(rows).tolist():
            self.problems.add(kind, self._called(row))

    def _called(self, row: int) -> str:
        return f"{self.noun} {self.where[row]} of {self.names[self.page[row]]}"


def _files(folder: str | Path, names: Sequence[str]) -> Files:
    """Where names lead out of the folder, they become relative to one that holds all, as names of a source have to be:
    what is made from a page is written under its name."""
    if not any(os.path.isabs(name) or ".." in name.split("/") for name in names):
        return Files(folder, names)
    paths = [os.path.abspath(os.path.join(folder, name)) for name in names]
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    return Files(root, [os.path.relpath(path, root).replace(os.sep, "/") for path in paths])


def rectangle(box: Sequence[float]) -> list[np.ndarray]:
    """The polygon of a box, as a shape."""
    x0, y0, x1, y1 = box
    return [np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)]


def by_prefix(pattern: Callable[[str], object]) -> Callable[[str], str | None]:
    """From a file's name to its document: what the pattern's first group finds in it, None where it does not match."""

    def document(name: str) -> str | None:
        match = pattern(os.path.basename(name))
        return match.group(1) if match else None

    return document
