"""What lies beside an image: files in parallel folders, a later frame of its video, the optical flow around it.

`Layered` joins a source with layers. Each layer is read as (h, w, c) uint8 of the image's shape, if not of its size, is
cut as the image's view is, and is never jittered.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence

import cv2
import numpy as np

from densessl.data import images
from densessl.data.flow import flow, small_grey
from densessl.data.images import UnreadableImage
from densessl.data.sources import files
from densessl.data.sources.base import Source, Strings, digest, state_of
from densessl.data.sources.videos import Clips
from densessl.errors import UserError

FLOW_ZERO = 128  # the level of no movement, and of no other: mirrored levels are exact
OUTSIDE = 255  # the label of what is no class


class Layer(ABC):
    """One kind of channels beside an image.

    name: for headers and sentences. key: how to read its picture, in a few words. channels: c.
    nearest: whether values must not be mixed. drawn_anew: whether it is cropped and flipped by numbers of its own.
    """

    name = key = ""
    channels = 1
    nearest = False
    drawn_anew = False

    @abstractmethod
    def present(self, source: Source) -> np.ndarray:
        """(len(source),) bool: which images have this layer; called once, before any is read."""

    @abstractmethod
    def lacking(self, source: Source, index: int) -> str:
        """What is missing for the image of this index: the end of a sentence."""

    @abstractmethod
    def read(self, source: Source, index: int) -> np.ndarray:
        """(h, w, c) uint8; raises `UnreadableImage`."""

    def flipped(self, values: np.ndarray) -> np.ndarray:
        """Values whose picture was mirrored left to right, with what points left pointing right."""
        return values

    def picture(self, values: np.ndarray) -> np.ndarray:
        """(s, s, c) uint8 -> (s, s, 3) uint8, to look at."""
        return np.repeat(values[:, :, :1], 3, axis=2)

    def state(self) -> str:
        """Changes when its files do."""
        return self.name


class SideFiles(Layer):
    """A file for each image below another folder, of the same name but for the suffix."""

    def __init__(self, folder: str) -> None:
        self.folder = os.path.expanduser(folder)
        if not os.path.isdir(self.folder):
            raise UserError(
                f"There is no folder {folder} of {self.name}: give the one that lies parallel to the images."
            )
        self._files: Strings | None = None  # of each image of the source, "" where there is none

    def present(self, source: Source) -> np.ndarray:
        found: dict[str, str] = {}
        for name in files.walk(self.folder):
            if files.is_image(name):
                found.setdefault(os.path.splitext(name)[0], name)
        stems = (os.path.splitext(source.name(index))[0] for index in range(len(source)))
        self._files = Strings(found.get(stem, "") for stem in stems)
        return np.array([bool(name) for name in self._files])

    def lacking(self, source: Source, index: int) -> str:
        stem = os.path.splitext(source.name(index))[0]
        return f"there is no {stem}.png or the like among the {self.name} in {self.folder}"

    def read(self, source: Source, index: int) -> np.ndarray:
        try:
            values = images.decode_values(images.read_bytes(os.path.join(self.folder, self._files[index])))
            return self.levels(values)
        except UnreadableImage as error:
            raise UnreadableImage(f"its {self.name}: {error}") from None

    @abstractmethod
    def levels(self, values: np.ndarray) -> np.ndarray:
        """(H, W) or (H, W, C) as stored -> (H, W, c) uint8; raises `UnreadableImage` for what it cannot be."""

    def state(self) -> str:
        return digest(part for name in self._files for part in (name, state_of(os.path.join(self.folder, name))))


class Depth(SideFiles):
    """Depth, or any other single channel. 8 bits are taken as they are; of deeper files `extent`, two values as stored,
    becomes [0, 255], or of each file its own least and greatest value where none is given."""

    name = "depth"

    def __init__(self, folder: str, extent: tuple[float, float] | None = None) -> None:
        super().__init__(folder)
        self.extent = extent

    def levels(self, values: np.ndarray) -> np.ndarray:
        values = values if values.ndim == 2 else values[:, :, 0]
        if values.dtype == np.uint8 and self.extent is None:
            return values[:, :, None]
        values = values.astype(np.float64)
        known = values[np.isfinite(values)]
        low, high = self.extent or ((known.min(), known.max()) if known.size else (0.0, 1.0))
        scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) * (255 / ((high - low) or 1))
        return scaled.clip(0, 255).round().astype(np.uint8)[:, :, None]


class Normals(SideFiles):
    """Surface normals in RGB, -1 to 1 stored as 0 to 255: x is red and points to the right."""

    name = "normals"
    channels = 3

    def levels(self, values: np.ndarray) -> np.ndarray:
        if values.ndim != 3 or values.shape[2] < 3 or values.dtype not in (np.uint8, np.uint16):
            raise UnreadableImage("it has not the three channels of 8 or 16 bits that normals have")
        values = values[:, :, :3]
        return values if values.dtype == np.uint8 else (values / 257).round().astype(np.uint8)

    def flipped(self, values: np.ndarray) -> np.ndarray:
        return np.concatenate((255 - values[:, :, :1], values[:, :, 1:]), axis=2)

    def picture(self, values: np.ndarray) -> np.ndarray:
        return values


class Labels(SideFiles):
    """A map of class indices; those of `classes` and more are no class."""

    name = "labels"
    nearest = True

    def __init__(self, folder: str, classes: int) -> None:
        super().__init__(folder)
        self.classes = classes

    def levels(self, values: np.ndarray) -> np.ndarray:
        if values.ndim != 2 or values.dtype.kind not in "ui":
            raise UnreadableImage("it holds colours, not the indices of classes")
        return np.where((values >= 0) & (values < self.classes), values, OUTSIDE).astype(np.uint8)[:, :, None]

    def picture(self, values: np.ndarray) -> np.ndarray:
        hues = (np.arange(256) * 180 * 0.618034 % 180).astype(np.uint8)
        colours = np.stack((hues, np.full(256, 150, np.uint8), np.full(256, 220, np.uint8)), axis=1)
        colours[OUTSIDE] = 0
        return cv2.cvtColor(colours[values[:, :, 0]], cv2.COLOR_HSV2RGB)


class Later(Layer):
    """The frame `after` frames later."""

    channels = 3
    drawn_anew = True

    def __init__(self, clips: Clips, after: int) -> None:
        self.clips, self.after, self.name = clips, after, f"frame {after:+d}"

    def present(self, source: Source) -> np.ndarray:
        return self.clips.has(max(0, -self.after), max(0, self.after))

    def lacking(self, source: Source, index: int) -> str:
        return f"{self.clips.title(index)} has no frame {self.after:+d} from it"

    def read(self, source: Source, index: int) -> np.ndarray:
        try:
            return source.read(self.clips.at(index, self.after))
        except UnreadableImage as error:
            raise UnreadableImage(f"its {self.name}: {error}") from None

    def picture(self, values: np.ndarray) -> np.ndarray:
        return values


class Flow(Layer):
    """The optical flow between `fields` + 1 frames centred at each: (u, v) of each field one after another.

    In pixels of frames whose short side is at most `FLOW_SIDE`; -bound to bound becomes 1 to 255, and what is more is
    cut. algorithm: of `densessl.data.flow`.
    """

    def __init__(self, clips: Clips, fields: int, algorithm: str, bound: float) -> None:
        self.clips, self.channels, self.algorithm, self.bound = clips, 2 * fields, algorithm, bound
        self.offsets = range(-(fields // 2), fields - fields // 2 + 1)
        self.name, self.key = "flow", "right red, left cyan"

    def present(self, source: Source) -> np.ndarray:
        return self.clips.has(-self.offsets[0], self.offsets[-1])

    def lacking(self, source: Source, index: int) -> str:
        around = f"{-self.offsets[0]} frames before it and {self.offsets[-1]} after it"
        return f"{self.clips.title(index)} has not the {around} that flow is made of"

    def read(self, source: Source, index: int) -> np.ndarray:
        try:
            frames = [small_grey(source.read(self.clips.at(index, offset))) for offset in self.offsets]
        except UnreadableImage as error:
            raise UnreadableImage(f"a frame around it: {error}") from None
        if len({frame.shape for frame in frames}) > 1:
            raise UnreadableImage("the frames around it are not of one size")
        fields = [flow(a, b, self.algorithm) for a, b in zip(frames[:-1], frames[1:], strict=True)]
        levels = FLOW_ZERO + (np.concatenate(fields, axis=2) * (127 / self.bound)).round()
        return levels.clip(1, 255).astype(np.uint8)

    def flipped(self, values: np.ndarray) -> np.ndarray:
        mirrored = values.copy()
        mirrored[:, :, 0::2] = 2 * FLOW_ZERO - mirrored[:, :, 0::2].astype(np.int16)
        return mirrored

    def picture(self, values: np.ndarray) -> np.ndarray:
        """The field in the middle: its direction as hue, its length as strength."""
        middle = self.channels // 4 * 2
        u, v = (values[:, :, middle + axis].astype(np.float32) - FLOW_ZERO for axis in (0, 1))
        length, angle = cv2.cartToPolar(u, v, angleInDegrees=True)
        strength = (255 * length / max(1.0, float(length.max()))).astype(np.uint8)
        hsv = np.stack(((angle / 2).astype(np.uint8), strength, np.full_like(strength, 255)), axis=2)
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


class Layered(Source):
    """Those images of a source that have every layer.

    groups: the video of each image of the source, or None where each stands for itself.
    notes: sentences on what was left out. Raises `UserError` when nothing is left.
    """

    def __init__(self, source: Source, layers: Sequence[Layer], groups: np.ndarray | None = None) -> None:
        self.source, self.layers, self.classes = source, list(layers), source.classes
        self.notes, self.broken = list(source.notes), source.broken
        kept = np.ones(len(source), bool)
        for layer in self.layers:
            present = layer.present(source)
            missing = np.flatnonzero(~present)
            if len(missing):
                first = int(missing[0])
                what = f"for {source.name(first)} {layer.lacking(source, first)}"
                if len(missing) == len(source):
                    raise UserError(f"None of the {len(source)} images has {layer.name}; {what}.")
                self.notes.append(f"Left out for want of {layer.name}: {len(missing)} of {len(source)} images; {what}.")
            kept &= present
        self._kept = np.flatnonzero(kept)
        if not len(self._kept):
            raise UserError(f"No image has all of {', '.join(layer.name for layer in self.layers)}: see that they fit.")
        self.groups = None if groups is None else groups[self._kept]

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, index: int) -> np.ndarray:
        return self.source.read(self._at(index))

    def read_bytes(self, index: int) -> bytes:
        return self.source.read_bytes(self._at(index))

    def name(self, index: int) -> str:
        return self.source.name(self._at(index))

    def document(self, index: int) -> str:
        return self.source.document(self._at(index))

    def label(self, index: int) -> int | None:
        return self.source.label(self._at(index))

    def group(self, index: int) -> int:
        """The video of an image, or its own number."""
        return index if self.groups is None else int(self.groups[index])

    def fingerprint(self) -> str:
        return digest([self.source.fingerprint(), *(layer.state() for layer in self.layers)])

    def read_layer(self, layer: Layer, index: int, image: np.ndarray) -> np.ndarray:
        """(h, w, c) uint8 beside an image (H, W, 3); raises `UnreadableImage` where the two are of other shapes."""
        values = layer.read(self.source, self._at(index))
        height, width = values.shape[:2]
        # A layer may be smaller, but for rounding it must be of the same proportions to lie on the image.
        if not layer.drawn_anew and abs(height * image.shape[1] - width * image.shape[0]) > max(image.shape[:2]):
            raise UnreadableImage(
                f"its {layer.name} is {width} x {height} pixels and it is {image.shape[1]} x {image.shape[0]}"
            )
        return values

    def _at(self, index: int) -> int:
        return int(self._kept[index])
