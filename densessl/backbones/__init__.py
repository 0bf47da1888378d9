"""Any timm model with two faces: a vector per image, a feature map per layer.

`create_backbone` makes one with random weights, `load_backbone` finds one in a file, a run's folder or a hub, and
`save_backbone` writes one so that `load_backbone` rebuilds it exactly, `export_backbone` so that others read it.
`load_tokenizer` finds what makes visual tokens.
"""

# Enters the encoder of DALL-E's discrete VAE among timm's models.
from densessl.backbones import dvae  # noqa: F401
from densessl.backbones.backbone import Backbone
from densessl.backbones.create import create_backbone
from densessl.backbones.export import export_backbone
from densessl.backbones.load import load_backbone
from densessl.backbones.saved import save_backbone
from densessl.backbones.split import SplitBackbone, split_backbone
from densessl.backbones.tokenizer import Tokenizer, load_tokenizer

__all__ = [
    "Backbone",
    "SplitBackbone",
    "Tokenizer",
    "create_backbone",
    "export_backbone",
    "load_backbone",
    "load_tokenizer",
    "save_backbone",
    "split_backbone",
]
