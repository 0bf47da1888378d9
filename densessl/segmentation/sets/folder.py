"""Any folder of images with label maps beside them.

images/ and labels/ hold files of the same names but for the suffix, or both hold folders such as train and val. A map
stores the ids of classes; 255, or what is stated, is ignored, and ids are not shifted for it. classes.txt beside the
two folders names the classes, one a line in the order of their ids from 0. Without it the values that the maps hold are
the classes, each called by its value, and nothing is a class that no map holds.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from densessl.data.sources import splits
from densessl.data.sources.files import Files
from densessl.data.sources.layout import Layout
from densessl.errors import UserError
from densessl.progress import Report
from densessl.segmentation.sets.base import (
    IGNORED,
    MAX_CLASSES,
    OUTSIDE,
    LabelledFiles,
    Options,
    Table,
    ranges,
    whole,
)
from densessl.segmentation.sets.layout import maps_of, pictures

HOW = (
    "put the images into its folder images and a label map for each, a PNG of the same name whose values are the ids "
    "of classes, into its folder labels"
)
NAMES = "classes.txt"


class Ids:
    """The coding of maps whose classes are not known yet: each stored value stands for itself."""

    known = "0 to 65535"

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(H, W) of whole numbers -> (H, W) int64, OUTSIDE where there can be none; raises `UnreadableImage`."""
        values = whole(values).astype(np.int64)
        return np.where((values < 0) | (values >= 1 << 16), OUTSIDE, values)


@dataclass(frozen=True)
class Seen:
    """Of a value in label maps: its pixels, and the first map that has it."""

    pixels: int
    file: str


class Counted(LabelledFiles):
    """A folder of which nobody has said what its classes are: they are the values that its maps hold."""

    def __init__(
        self, name: str, source: Files, maps: Files, ignored: Collection[int], seen: Mapping[int, Seen]
    ) -> None:
        self.seen, self.ignored, ids = seen, ignored, sorted(seen)
        coding = Table({each: index for index, each in enumerate(ids)} | dict.fromkeys(ignored, IGNORED))
        super().__init__(name, list(map(str, ids)), source, maps, coding)
        self.notes = _apart(name, seen, ignored)

    def joined(self, other: Counted) -> Counted:
        """This part of a set with the classes of another part as well."""
        both = dict(other.seen)
        for value, own in self.seen.items():
            both[value] = Seen(own.pixels + both[value].pixels, own.file) if value in both else own
        return Counted(self.name, self.source, self.maps, self.ignored, both)


def open_folder(root: str, split: str, options: Options) -> LabelledFiles:
    """root: holds images and labels. split: a folder in both of them; where there are none, it does not matter.

    It is called by its folder's name. Where nobody has named its classes, all maps are read to count them.
    """
    layout = Layout(root, "a folder of images with label maps", HOW)
    inside = _split(layout.folder("images"), split)
    source = pictures(layout.folder(f"images{inside}"))
    maps = maps_of(source, layout.folder(f"labels{inside}"))
    ignored = _ignored(options.ignore)
    name, names = os.path.basename(os.path.abspath(root)), _names(layout, options.classes)
    if names is not None:
        coding = Table({index: index for index in range(len(names))} | dict.fromkeys(ignored, IGNORED))
        return LabelledFiles(name, names, source, maps, coding)
    return Counted(name, source, maps, ignored, _count(name, source, maps, ignored, options.progress))


def _count(name: str, source: Files, maps: Files, ignored: Collection[int], progress: Report) -> dict[int, Seen]:
    """The values of label maps that are not ignored; raises `UserError` where there are none, or more than can be."""
    stored = LabelledFiles(name, (), source, maps, Ids())
    seen: dict[int, Seen] = {}
    for index in range(len(maps)):
        for value, pixels in zip(*np.unique(stored.labels(index), return_counts=True), strict=True):
            value, before = int(value), seen.get(int(value), Seen(0, maps.path(index)))
            seen[value] = Seen(before.pixels + int(pixels), before.file)
        progress("Classes of the label maps", index + 1, len(maps), "")
    seen = {value: each for value, each in seen.items() if value not in ignored}
    if not seen:
        raise UserError(f"All pixels of the label maps in {maps.root} are ignored: see that ignore is right.")
    if len(seen) > MAX_CLASSES:
        raise UserError(f"The label maps in {maps.root} hold {len(seen)} values: no more than {MAX_CLASSES} can be.")
    return seen


def _apart(name: str, seen: Mapping[int, Seen], ignored: Collection[int]) -> tuple[str, ...]:
    """A sentence on the value that lies farthest from its neighbours, where the values have gaps."""
    ids = np.array(sorted(seen))
    gaps = np.diff(ids)
    if not (gaps > 1).any():
        return ()
    alone = np.minimum(np.append(gaps, gaps[-1]), np.append(gaps[0], gaps))
    # Of equals the one of the fewest pixels, since a mistake of an annotator is rarely large.
    value = max(ids.tolist(), key=lambda each: (alone[np.searchsorted(ids, each)], -seen[each].pixels))
    pixels = sum(each.pixels for each in seen.values())
    also = sorted({*ignored, value})
    ignore = also[0] if len(also) == 1 else f"[{','.join(map(str, also))}]"
    return (
        f"The label maps of {name} hold {ranges(ids)}, and each of these {len(ids)} values counts as a class: where "
        f"{value} ({seen[value].pixels:,} of {pixels:,} labelled pixels, first in {seen[value].file}) is none, give "
        f"ignore={ignore}, or name the classes, one a line from 0 on, in a {NAMES} beside the folder labels.",
    )


def _ignored(given: Sequence[int] | int | None) -> tuple[int, ...]:
    ignored = (255,) if given is None else tuple(given) if isinstance(given, (list, tuple)) else (given,)
    for each in ignored:
        if isinstance(each, bool) or not isinstance(each, int) or not 0 <= each < 1 << 16:
            raise UserError(f"ignore={each} is no value of a label map: give one from 0 to 65535, or a list of them.")
    return ignored


def _split(images: str, split: str) -> str:
    """What comes after images and labels: a folder's name behind a slash, or nothing."""
    with os.scandir(images) as entries:
        known = [entry.name for entry in entries if entry.is_dir() and splits.is_split(entry.name)]
    return f"/{splits.choose(known, split, images)[0]}" if known else ""


def _names(layout: Layout, classes: Sequence[str] | int | None) -> list[str] | None:
    """The names of the classes: those that were given, else those of classes.txt, else None."""
    if classes is None and os.path.isfile(os.path.join(layout.root, NAMES)):
        classes = layout.lines(NAMES)
    if classes is None:
        return None
    names = [str(index) for index in range(classes)] if isinstance(classes, int) else list(classes)
    if not 0 < len(names) <= MAX_CLASSES:
        raise UserError(f"{layout.root} cannot have {len(names)} classes: give 1 to {MAX_CLASSES}.")
    return names
