"""Masks without labels: k-means, or STEGO, on the features of a frozen backbone.

`segment(SegmentConfig(data=..., out=...))` does all of it; the parts are in the modules of this package. `learn`,
`segment_scores` and `segment_labels` do it with pictures in memory, seen by the `Extractor` of `extractor_of`.
"""

from densessl.segmentation.config import SegmentConfig, StegoConfig
from densessl.segmentation.correspondence import correspondence_loss, feature_correspondence
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.inmemory import learn, segment_labels, segment_scores
from densessl.segmentation.outputs.coco import stream_coco, write_coco
from densessl.segmentation.outputs.names import Classes
from densessl.segmentation.outputs.overlay import overlay, palette
from densessl.segmentation.run import Summary, extractor_of, segment

__all__ = [
    "Classes",
    "Extractor",
    "SegmentConfig",
    "StegoConfig",
    "Summary",
    "correspondence_loss",
    "extractor_of",
    "feature_correspondence",
    "learn",
    "overlay",
    "palette",
    "segment",
    "segment_labels",
    "segment_scores",
    "stream_coco",
    "write_coco",
]
