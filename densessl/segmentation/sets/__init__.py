"""Data sets of images with label maps, to score masks that were found without labels.

`open_labelled("camvid:data/camvid", "val")` opens one; a module describes each set or family of sets.
"""

from densessl.segmentation.sets.base import LabelledImages
from densessl.segmentation.sets.fivecrop import FiveCrops, FiveCropSource
from densessl.segmentation.sets.official import CentreSource, CentreSquares
from densessl.segmentation.sets.registry import SETS, open_labelled

__all__ = [
    "SETS",
    "CentreSource",
    "CentreSquares",
    "FiveCropSource",
    "FiveCrops",
    "LabelledImages",
    "open_labelled",
]
