"""LabelMeFacade (Froehlich, Rodner and Denzler, ICPR 2010): 945 photographs of house fronts in 8 classes.

Layout, colours and names are those of https://github.com/cvjena/labelmefacade: images/*.jpg; labels/*.png, RGBA of 16
bits, opaque, with one colour for each class; train.txt and test.txt, 100 and 845 lines such as images/NAME.jpg. All 945
maps hold the nine colours of its README alone, and have their images' size.
Unconfirmed: whether "various", black, is to be scored. It is what has no other class, so it is ignored here; the
authors' network CN24 counts it as a ninth class.
"""

from __future__ import annotations

from densessl.data.sources import splits
from densessl.data.sources.layout import Layout
from densessl.segmentation.sets.base import IGNORED, ColourTable, LabelledFiles, Options
from densessl.segmentation.sets.layout import listed, maps_of

HOW = (
    "get https://github.com/cvjena/labelmefacade, which holds the folders images and labels and the lists train.txt "
    "and test.txt"
)
VARIOUS = (0, 0, 0)
CLASSES = (
    ("building", (128, 0, 0)),
    ("car", (128, 0, 128)),
    ("door", (128, 128, 0)),
    ("pavement", (128, 128, 128)),
    ("road", (128, 64, 0)),
    ("sky", (0, 128, 128)),
    ("vegetation", (0, 128, 0)),
    ("window", (0, 0, 128)),
)


def open_labelmefacade(root: str, split: str, options: Options) -> LabelledFiles:
    """root: the repository. split: train or test; val, of which the set has none, is test."""
    layout = Layout(root, "LabelMeFacade", HOW)
    (split,) = splits.choose(["train", "test"], "test" if split == "val" else split, layout.title)
    names = [line.removeprefix("images/") for line in layout.lines(f"{split}.txt")]
    source = listed(layout.folder("images"), names)
    maps = maps_of(source, layout.folder("labels"))
    classes, colours = zip(*CLASSES, strict=True)
    coding = ColourTable({VARIOUS: IGNORED} | {colour: index for index, colour in enumerate(colours)})
    return LabelledFiles("labelmefacade", classes, source, maps, coding, colours)
