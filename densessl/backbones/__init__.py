"""Any timm model with two faces: a vector per image, a feature map per layer.

`create_backbone` makes one with random weights, `load_backbone` finds one in a file, a run's folder or a hub, and
`save_backbone` writes one so that `load_backbone` rebuilds it exactly.
"""

from densessl.backbones.backbone import Backbone
from densessl.backbones.create import create_backbone
from densessl.backbones.load import load_backbone
from densessl.backbones.saved import save_backbone

__all__ = ["Backbone", "create_backbone", "load_backbone", "save_backbone"]
