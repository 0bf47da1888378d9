"""Any folder of images with label maps beside them.

images/ and labels/ hold files of the same names but for the suffix, or both hold folders such as train and val. A map
stores the ids of classes; 255, or the value that is stated, is ignored, and ids are not shifted for it. classes.txt
beside the two folders names the classes, one a line in the order of their ids.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property

from densessl.data.sources import splits
from densessl.data.sources.files import Files
from densessl.data.sources.layout import Layout
from densessl.errors import UserError
from densessl.progress import Report
from densessl.segmentation.sets.base import IGNORED, MAX_CLASSES, LabelledFiles, Options, Table
from densessl.segmentation.sets.layout import maps_of, pictures

HOW = (
    "put the images into its folder images and a label map for each, a PNG of the same name whose values are the ids "
    "of classes, into its folder labels"
)
NAMES = "classes.txt"


class Uncounted(LabelledFiles):
    """A folder of which nobody has said how many classes it has: when asked, all maps are read for the highest id."""

    def __init__(self, name: str, source: Files, maps: Files, coding: Table, progress: Report) -> None:
        super().__init__(name, None, source, maps, coding)
        self._progress = progress

    @cached_property
    def classes(self) -> tuple[str, ...]:
        highest = IGNORED
        for index in range(len(self)):
            highest = max(highest, int(self.labels(index).max()))
            self._progress("classes", index + 1, len(self), "")
        if highest == IGNORED:
            raise UserError(f"All pixels of the label maps in {self.maps.root} are ignored: see that ignore is right.")
        return tuple(map(str, range(highest + 1)))


def open_folder(root: str, split: str, options: Options) -> LabelledFiles:
    """root: holds images and labels. split: a folder in both of them; where there are none, it does not matter.

    It is called by its folder's name, and classes without names by their ids.
    """
    layout = Layout(root, "a folder of images with label maps", HOW)
    inside = _split(layout.folder("images"), split)
    source = pictures(layout.folder(f"images{inside}"))
    maps = maps_of(source, layout.folder(f"labels{inside}"))
    ignore = 255 if options.ignore is None else options.ignore
    if not 0 <= ignore < 1 << 16:
        raise UserError(f"ignore={ignore} is no value of a label map: give one from 0 to 65535.")
    name, names = os.path.basename(os.path.abspath(root)), _names(layout, options.classes)
    known = MAX_CLASSES if names is None else len(names)
    coding = Table({index: index for index in range(known)} | {ignore: IGNORED})
    if names is None:
        return Uncounted(name, source, maps, coding, options.progress)
    return LabelledFiles(name, names, source, maps, coding)


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
