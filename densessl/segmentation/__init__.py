"""Masks without labels: k-means, or STEGO, on the features of a frozen backbone.

`segment(SegmentConfig(data=..., out=...))` does all of it; the parts are in the modules of this package.
"""

from densessl.segmentation.config import SegmentConfig, StegoConfig
from densessl.segmentation.correspondence import correspondence_loss, feature_correspondence
from densessl.segmentation.run import Summary, segment

__all__ = ["SegmentConfig", "StegoConfig", "Summary", "correspondence_loss", "feature_correspondence", "segment"]
