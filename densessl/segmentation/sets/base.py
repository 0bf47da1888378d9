"""Images with a class for each of their pixels, and how the values that label maps store become classes."""

from __future__ import annotations

import hashlib
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from densessl.data import images
from densessl.data.images import UnreadableImage
from densessl.data.sources.base import Source, checked, digest
from densessl.data.sources.files import Files
from densessl.errors import UserError
from densessl.progress import Report, silent

IGNORED = -1
OUTSIDE = -2  # a stored value that the set does not have
MAX_CLASSES = 1 << 15  # what int16 holds

Colours = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Options:
    """What some sets ask for beside their folder and split.

    classes: names in the order of ids, or their number; ignore: the stored value, or values, of no class; both of
        `folder`.
    cache: a folder that keeps what is costly to find out; None: nothing is kept.
    progress: told of what takes long.
    """

    classes: Sequence[str] | int | None = None
    ignore: Sequence[int] | int | None = None
    cache: str | Path | None = None
    progress: Report = silent


class LabelledImages(ABC):
    """Images and their label maps, by their number.

    name: of the set. source: the images. classes: their names, in the order of ids.
    colours: RGB of each class where its publisher has given one, else None. crops: of each picture so many follow each
        other, each counted as an image. notes: sentences on what the user should know of it.
    """

    name: str
    source: Source
    classes: tuple[str, ...]
    colours: Colours | None = None
    crops: int = 1
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.source)

    @abstractmethod
    def labels(self, index: int) -> np.ndarray:
        """(H, W) int16 of the image's own size: a class in [0, len(classes)), or -1 where ignored.

        Raises `UserError` for a map that cannot be read, is of another size than its image, or holds what is no class.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash that changes when images, label maps or what these mean do; of files from names, sizes and times."""


class Table:
    """Classes of label maps that store ids: a class, or IGNORED, for each stored value that the set has."""

    def __init__(self, classes: Mapping[int, int]) -> None:
        # Never shorter than 8 bits reach; the last place stands for all values beyond, and for negative ones.
        self._classes = np.full(max(256, max(classes) + 1) + 1, OUTSIDE, np.int16)
        self._classes[list(classes)] = list(classes.values())

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(H, W) of whole numbers -> (H, W) int16, OUTSIDE where there is no such value; raises `UnreadableImage`."""
        if whole(values).dtype != np.uint8:
            values = np.clip(values.astype(np.int64), -1, len(self._classes) - 1)
        return self._classes[values]

    @property
    def known(self) -> str:
        """The values it has, for sentences: "0 to 33, 255"."""
        return ranges(np.flatnonzero(self._classes != OUTSIDE))


def whole(values: np.ndarray) -> np.ndarray:
    """What a map stores, where that is (H, W) of whole numbers; raises `UnreadableImage` for anything else."""
    if values.ndim != 2 or values.dtype.kind not in "ui":
        raise UnreadableImage("it holds colours, not the ids of classes")
    return values


def ranges(values: np.ndarray) -> str:
    """Ascending whole numbers for sentences: "0 to 33, 255"."""
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


class ColourTable:
    """Classes of label maps that store a colour for each class."""

    def __init__(self, classes: Mapping[tuple[int, int, int], int]) -> None:
        by_number = sorted((red << 16 | green << 8 | blue, each) for (red, green, blue), each in classes.items())
        self._numbers = np.array([number for number, _ in by_number], np.uint32)
        self._classes = np.array([each for _, each in by_number], np.int16)
        self.known = "the colours " + ", ".join(map(str, classes))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(H, W, 3 or 4) uint8 or uint16 -> (H, W) int16, OUTSIDE where there is no such colour.

        Of 16 bits the upper 8 are the colour. Raises `UnreadableImage`.
        """
        if values.ndim != 3 or values.shape[2] < 3 or values.dtype not in (np.uint8, np.uint16):
            raise UnreadableImage("it holds numbers, not the colours of classes")
        values = values if values.dtype == np.uint8 else values >> 8
        red, green, blue = np.moveaxis(values[:, :, :3].astype(np.uint32), 2, 0)
        numbers = red << 16 | green << 8 | blue
        places = np.minimum(np.searchsorted(self._numbers, numbers), len(self._numbers) - 1)
        return np.where(self._numbers[places] == numbers, self._classes[places], np.int16(OUTSIDE))


class Coding(Protocol):
    """From what a map stores to classes. known: the values it has, in words."""

    known: str

    def __call__(self, values: np.ndarray) -> np.ndarray: ...


class LabelledFiles(LabelledImages):
    """Images beside which label maps lie in files.

    classes: their names. maps: the file of each image. coding: from stored values
    to classes. decode: from a file's bytes to stored values.
    """

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        source: Source,
        maps: Files,
        coding: Coding,
        colours: Colours | None = None,
        decode: Callable[[bytes], np.ndarray] = images.decode_values,
    ) -> None:
        self.name, self.classes, self.source, self.colours = name, tuple(classes), source, colours
        self.maps, self.coding, self._decode = maps, coding, decode

    def labels(self, index: int) -> np.ndarray:
        index = checked(index, len(self))
        values = self._fitted(self.values(index), index)
        try:
            labels = self.coding(values)
        except UnreadableImage as error:
            raise self._unusable(index, error) from None
        outside = labels == OUTSIDE
        if outside.any():
            y, x = np.unravel_index(outside.argmax(), outside.shape)
            raise UserError(
                f"The label map {self.maps.path(index)} holds {values[y, x].tolist()} at column {x} of row {y}, "
                f"which is no class of {self.name}: it has {self.coding.known}; mend the map or, in a folder of "
                "your own, name the class in its classes.txt or give the value to ignore."
            )
        return labels

    def fingerprint(self) -> str:
        coding = hashlib.sha256(pickle.dumps(self.coding)).hexdigest()
        return digest([self.name, *self.classes, coding, self.source.fingerprint(), self.maps.fingerprint()])

    def values(self, index: int) -> np.ndarray:
        """What the label map stores; raises `UserError` where it cannot be read."""
        try:
            return self._decode(self.maps.read_bytes(index))
        except UnreadableImage as error:
            raise self._unusable(index, error) from None

    def _fitted(self, values: np.ndarray, index: int) -> np.ndarray:
        """The values, turned as the image is; raises `UserError` where they are of another size.

        A map that fits its image as stored, and not as the EXIF tag turns it, was drawn by a tool that knows no EXIF.
        """
        name, size = self.source.name(index), values.shape[:2]
        try:
            height, width, orientation = images.frame(self.source.read_bytes(index))
        except UnreadableImage as error:
            raise UserError(
                f"The image {name} of {self.name} cannot be read: {error}; fetch it anew, or remove it and its label "
                "map."
            ) from None
        turned = (width, height) if orientation >= 5 else (height, width)
        if size == turned:
            return values
        if size == (height, width):
            planes = values if values.ndim == 3 else values[:, :, None]
            return images.upright(planes, orientation).reshape(*turned, *values.shape[2:])
        raise UserError(
            f"The label map {self.maps.path(index)} is {size[1]} x {size[0]} pixels and its image {name} is "
            f"{turned[1]} x {turned[0]}: give each image a map of its own size."
        )

    def _unusable(self, index: int, error: UnreadableImage) -> UserError:
        return UserError(
            f"The label map {self.maps.path(index)} cannot be used: {error}; fetch it anew, or write it as a PNG of "
            "classes."
        )
