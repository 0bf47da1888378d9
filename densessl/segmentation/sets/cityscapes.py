"""Cityscapes (arXiv 1604.01685): street scenes of 50 cities, 2975 for training and 500 for validation.

`cityscapes27` has the 27 classes of PiCIE and STEGO, labelIds 7 to 33; `cityscapes19` the 19 that the benchmark scores.
Both come from the `labelIds` maps. Names, ids and colours are those of `helpers/labels.py` in the official scripts,
https://github.com/mcordts/cityscapesScripts.
"""

from __future__ import annotations

from densessl.data.sources import splits
from densessl.data.sources.layout import Layout
from densessl.segmentation.sets.base import IGNORED, LabelledFiles, Options, Table
from densessl.segmentation.sets.layout import maps_of, pictures

HOW = (
    "register at https://www.cityscapes-dataset.com and unpack leftImg8bit_trainvaltest.zip and "
    "gtFine_trainvaltest.zip into it, so that it holds the folders leftImg8bit and gtFine"
)
IMAGE, LABELS = "_leftImg8bit", "_gtFine_labelIds"

FIRST = 7  # labelId of the first of these; those below it are void
# Name, whether the benchmark scores it, colour; in the order of labelIds.
CLASSES = (
    ("road", True, (128, 64, 128)),
    ("sidewalk", True, (244, 35, 232)),
    ("parking", False, (250, 170, 160)),
    ("rail track", False, (230, 150, 140)),
    ("building", True, (70, 70, 70)),
    ("wall", True, (102, 102, 156)),
    ("fence", True, (190, 153, 153)),
    ("guard rail", False, (180, 165, 180)),
    ("bridge", False, (150, 100, 100)),
    ("tunnel", False, (150, 120, 90)),
    ("pole", True, (153, 153, 153)),
    ("polegroup", False, (153, 153, 153)),
    ("traffic light", True, (250, 170, 30)),
    ("traffic sign", True, (220, 220, 0)),
    ("vegetation", True, (107, 142, 35)),
    ("terrain", True, (152, 251, 152)),
    ("sky", True, (70, 130, 180)),
    ("person", True, (220, 20, 60)),
    ("rider", True, (255, 0, 0)),
    ("car", True, (0, 0, 142)),
    ("truck", True, (0, 0, 70)),
    ("bus", True, (0, 60, 100)),
    ("caravan", False, (0, 0, 90)),
    ("trailer", False, (0, 0, 110)),
    ("train", True, (0, 80, 100)),
    ("motorcycle", True, (0, 0, 230)),
    ("bicycle", True, (119, 11, 32)),
)


def open_cityscapes(root: str, split: str, options: Options, classes: int) -> LabelledFiles:
    """root: the folder that holds leftImg8bit and gtFine. classes: 27 or 19."""
    layout = Layout(root, "Cityscapes", HOW)
    (split,) = splits.choose(["train", "val"], split, layout.title)
    source = pictures(layout.folder(f"leftImg8bit/{split}"))
    maps = maps_of(source, layout.folder(f"gtFine/{split}"), _map_name)
    chosen = [index for index, (_, scored, _) in enumerate(CLASSES) if scored or classes == 27]
    coding = dict.fromkeys([*range(FIRST + len(CLASSES)), 255], IGNORED)  # 255 is the licence plate, -1 in 8 bits
    coding |= {FIRST + index: number for number, index in enumerate(chosen)}
    names, _, colours = zip(*(CLASSES[index] for index in chosen), strict=True)
    return LabelledFiles(f"cityscapes{classes}", names, source, maps, Table(coding), colours)


def _map_name(image: str) -> str:
    """aachen/aachen_000000_000019_leftImg8bit.png -> aachen/aachen_000000_000019_gtFine_labelIds"""
    return image.rsplit(".", 1)[0].removesuffix(IMAGE) + LABELS
