"""COCO-Stuff 164k (arXiv 1612.03716) in the coarse classes of IIC, PiCIE and STEGO.

`cocostuff27` has all 27 of them, `cocostuff15` the 15 of stuff, `cocostuff3` sky, plant and ground; the things are
ignored in the latter two. The maps, of stuffthingmaps_trainval2017.zip, store the official ids less one: 0 is person,
181 wood, 255 unlabelled.

Only images of at least 360 x 360 pixels are taken of which at least 75 % are stuff (IIC's version 7: 2,175 of the 5,000
in val2017 and 49,629 in train2017). A list of this in curated/SPLIT2017/, as STEGO's download has it, is read;
otherwise the rule is applied to the maps, which means decoding all of them once.
Unconfirmed: STEGO trains `cocostuff27` on a list without version, whose rule and length are not published; here train
is version 7 as well. IIC's list for `cocostuff3` is version 6, whose limits are not published; those of version 7 are
used, with sky, plant and ground in place of stuff.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densessl.data import images
from densessl.data.images import UnreadableImage
from densessl.data.sources import files, splits
from densessl.data.sources.base import digest, state_of
from densessl.data.sources.layout import Layout, stem
from densessl.errors import UserError
from densessl.files import write_text
from densessl.segmentation.sets.base import IGNORED, LabelledFiles, Options, Table
from densessl.segmentation.sets.layout import listed, maps_of

HOW = (
    "get train2017.zip, val2017.zip and stuffthingmaps_trainval2017.zip, to which "
    "https://github.com/nightrome/cocostuff links, and unpack the first two in images and the last in annotations"
)
MIN_SIDE, MIN_SHARE = 360, 0.75
BATCH = 256  # maps between two reports
READERS = 4  # threads that decode them
UNLABELLED = 255

THINGS = (
    *("electronic", "appliance", "food-things", "furniture-things", "indoor", "kitchen", "accessory", "animal"),
    *("outdoor", "person", "sports", "vehicle"),
)
STUFF = (
    *("ceiling", "floor", "food-stuff", "furniture-stuff", "rawmaterial", "textile", "wall", "window", "building"),
    *("ground", "plant", "sky", "solid", "structural", "water"),
)
COARSE = THINGS + STUFF
# The first and the last stored id of each class of things.
# fmt: off
_THINGS = (
    ("person", 0, 0), ("vehicle", 1, 8), ("outdoor", 9, 14), ("animal", 15, 24), ("accessory", 25, 32),
    ("sports", 33, 42), ("kitchen", 43, 50), ("food-things", 51, 60), ("furniture-things", 61, 70),
    ("electronic", 71, 76), ("appliance", 77, 82), ("indoor", 83, 90),
)
# The classes of the stored ids 91 (banner) to 181 (wood), which follow each other by the alphabet.
_STUFF = (
    17, 17, 22, 20, 20, 22, 15, 25, 16, 13, 12, 12, 17, 17, 23, 15, 15, 17, 15, 21, 15, 25, 13, 13, 13, 13, 13, 22, 26,
    14, 14, 15, 22, 21, 21, 24, 20, 22, 15, 17, 16, 15, 22, 24, 21, 17, 25, 16, 21, 17, 22, 16, 21, 21, 25, 21, 26, 21,
    24, 20, 17, 14, 21, 26, 15, 23, 20, 21, 24, 15, 24, 22, 25, 15, 20, 17, 17, 22, 14, 18, 18, 18, 18, 18, 18, 18, 26,
    26, 19, 19, 24,
)
# fmt: on
FINE_TO_COARSE = tuple(
    [COARSE.index(name) for name, first, last in _THINGS for _ in range(first, last + 1)] + list(_STUFF)
)


@dataclass(frozen=True)
class Variant:
    """classes: those that are scored, in the order of ids. of: those that must fill an image. published: IIC's list."""

    classes: tuple[str, ...]
    of: tuple[str, ...]
    published: str


FEW = ("sky", "plant", "ground")  # in the order of their ids; STEGO's own list of these names is reversed
VARIANTS = {
    27: Variant(COARSE, STUFF, "Coco164kFull_Stuff_Coarse_7.txt"),
    15: Variant(STUFF, STUFF, "Coco164kFull_Stuff_Coarse_7.txt"),
    3: Variant(FEW, FEW, "Coco164kFew_Stuff_6.txt"),
}


def open_cocostuff(root: str, split: str, options: Options, classes: int) -> LabelledFiles:
    """root: holds images and annotations (or stuffthingmaps), each with train2017 and val2017. classes: 27, 15 or 3."""
    variant, layout = VARIANTS[classes], Layout(root, "COCO-Stuff", HOW)
    (split,) = splits.choose(["train", "val"], split, layout.title)
    part = f"{split}2017"
    maps = layout.folder(
        *(f"{each}/{part}" for each in ("annotations", "stuffthingmaps", "stuffthingmaps_trainval2017"))
    )
    pictures = layout.folder(f"images/{part}", part)
    if os.path.isfile(os.path.join(root, "curated", part, variant.published)):
        chosen = layout.lines(f"curated/{part}/{variant.published}")
    else:
        chosen = _curated(maps, variant, options)
    source = listed(pictures, [f"{each}.jpg" for each in chosen])
    return LabelledFiles(f"cocostuff{classes}", variant.classes, source, maps_of(source, maps), _coding(variant))


def _coding(variant: Variant) -> Table:
    number = {COARSE.index(name): index for index, name in enumerate(variant.classes)}
    classes = {fine: number.get(coarse, IGNORED) for fine, coarse in enumerate(FINE_TO_COARSE)}
    return Table(classes | {UNLABELLED: IGNORED})


def _curated(folder: str, variant: Variant, options: Options) -> list[str]:
    """The names, without suffix, of the maps in a folder that keep the rule; raises `UserError` where none does.

    In options.cache the list stands under a name that depends on the names of the maps, their sizes and times.
    """
    names = [name for name in files.walk(folder) if files.is_image(name)]
    states = (state_of(os.path.join(folder, name)) for name in names)
    key = digest([MIN_SIDE, MIN_SHARE, *variant.of, *names, *states])[:32]
    kept = None if options.cache is None else Path(options.cache).expanduser() / f"cocostuff-{key}.txt"
    if kept is not None and kept.is_file():
        return kept.read_text(encoding="utf-8").split()
    chosen = _keep_the_rule(folder, names, variant, options)
    if not chosen:
        raise UserError(
            f"None of the {len(names)} label maps in {folder} has {MIN_SIDE} x {MIN_SIDE} pixels of which "
            f"{MIN_SHARE:.0%} are {', '.join(variant.of)}: see that they are those of stuffthingmaps_trainval2017.zip."
        )
    if kept is not None:
        with suppress(UserError):  # a folder that cannot be written costs the time again, and nothing else
            write_text(kept, "\n".join(chosen) + "\n")
    return chosen


def _keep_the_rule(folder: str, names: Sequence[str], variant: Variant, options: Options) -> list[str]:
    counted = np.zeros(1 << 8, bool)
    wanted = {COARSE.index(name) for name in variant.of}
    counted[: len(FINE_TO_COARSE)] = [coarse in wanted for coarse in FINE_TO_COARSE]

    def fits(name: str) -> bool:
        path = os.path.join(folder, name)
        try:
            values = images.decode_values(images.read_bytes(path))
        except UnreadableImage as error:
            raise UserError(f"The label map {path} cannot be read: {error}; fetch it anew.") from None
        if min(values.shape[:2]) < MIN_SIDE or values.dtype != np.uint8 or values.ndim != 2:
            return False
        return int(counted[values].sum()) >= MIN_SHARE * values.size

    chosen: list[str] = []
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            chosen += [stem(name) for name, fine in zip(batch, pool.map(fits, batch), strict=True) if fine]
            options.progress("COCO-Stuff's list", start + len(batch), len(names), f"{len(chosen)} taken")
    return chosen
