"""Pascal VOC 2012, segmentation: 1464 images for training and 1449 for validation in 20 classes and background."""

from __future__ import annotations

from densessl.data.sources import splits
from densessl.data.sources.layout import Layout
from densessl.segmentation.sets.base import IGNORED, Colours, LabelledFiles, Options, Table
from densessl.segmentation.sets.layout import listed, maps_of

HOW = (
    "unpack VOCtrainval_11-May-2012.tar of http://host.robots.ox.ac.uk/pascal/VOC/voc2012 into it, so that it holds "
    "the folder VOCdevkit/VOC2012"
)
BOUNDARY = 255  # between objects, and what is hard to tell
# fmt: off
CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
    "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv/monitor",
)
# fmt: on


def open_voc(root: str, split: str, options: Options) -> LabelledFiles:
    """root: the folder VOC2012 itself, or one that holds VOC2012 or VOCdevkit/VOC2012."""
    layout = Layout(root, "Pascal VOC 2012", HOW).below("VOCdevkit/VOC2012", "VOC2012")
    (split,) = splits.choose(["train", "val", "trainval"], split, layout.title)
    names = [f"{each}.jpg" for each in layout.lines(f"ImageSets/Segmentation/{split}.txt")]
    source = listed(layout.folder("JPEGImages"), names)
    maps = maps_of(source, layout.folder("SegmentationClass"))
    coding = Table({BOUNDARY: IGNORED} | {index: index for index in range(len(CLASSES))})
    return LabelledFiles("voc", CLASSES, source, maps, coding, palette(len(CLASSES)))


def palette(classes: int) -> Colours:
    """The colours of VOC's development kit: the bits of an id go to red, green and blue in turn, the lowest of each
    to its highest bit."""
    return tuple((_spread(index), _spread(index >> 1), _spread(index >> 2)) for index in range(classes))


def _spread(index: int) -> int:
    return (index & 1) << 7 | (index >> 3 & 1) << 6 | (index >> 6 & 1) << 5
