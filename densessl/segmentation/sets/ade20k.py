"""ADE20K as in the MIT scene parsing challenge (ADEChallengeData2016): 20,210 and 2,000 images in 150 classes.

Maps store 0 for other objects, which are not scored, and the classes from 1. Of the names that `objectInfo150.txt` in
https://github.com/CSAILVision/sceneparsing gives a class, the first is taken.
"""

from __future__ import annotations

from densessl.data.sources import splits
from densessl.data.sources.layout import Layout
from densessl.segmentation.sets.base import IGNORED, LabelledFiles, Options, Table
from densessl.segmentation.sets.layout import maps_of, pictures

HOW = (
    "unpack ADEChallengeData2016.zip of http://sceneparsing.csail.mit.edu into it, so that it holds the folder "
    "ADEChallengeData2016 with images and annotations"
)
FOLDERS = {"train": "training", "val": "validation"}
# fmt: off
CLASSES = (
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet",
    "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water",
    "painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk",
    "rock", "wardrobe", "lamp", "bathtub", "railing", "cushion", "base", "box", "column", "signboard",
    "chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path",
    "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge", "bookcase",
    "blind", "coffee table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove", "palm",
    "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus", "towel", "light",
    "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television", "airplane", "dirt track",
    "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet", "poster", "stage", "van",
    "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything", "swimming pool", "stool", "barrel",
    "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food", "step", "tank", "trade name",
    "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen", "blanket", "sculpture", "hood", "sconce",
    "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen", "plate", "monitor", "bulletin board",
    "shower", "radiator", "glass", "clock", "flag",
)
# fmt: on


def open_ade20k(root: str, split: str, options: Options) -> LabelledFiles:
    """root: the folder ADEChallengeData2016, or one that holds it."""
    layout = Layout(root, "ADE20K", HOW).below("ADEChallengeData2016")
    (split,) = splits.choose(list(FOLDERS), split, layout.title)
    source = pictures(layout.folder(f"images/{FOLDERS[split]}"))
    maps = maps_of(source, layout.folder(f"annotations/{FOLDERS[split]}"))
    coding = Table({0: IGNORED} | {1 + index: index for index in range(len(CLASSES))})
    return LabelledFiles("ade20k", CLASSES, source, maps, coding)
