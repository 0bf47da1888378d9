"""A backbone of several, each of which sees a part of an image's channels, as CMC (arXiv 1906.05849) trains them.

To the rest of the package it is one backbone of RGB images: its vector and its feature maps are those of its encoders,
one after another.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from densessl.backbones.backbone import Backbone
from densessl.backbones.channels import Split
from densessl.backbones.create import build
from densessl.errors import require


class SplitBackbone(Backbone):
    """Encoders of one architecture, one per group of channels.

    encoders: backbones that take as many channels as their group has. split: the groups; see `channels.Split`.
    Images are wanted in [0, 1] (mean 0, deviation 1): colour spaces are made of pixels, not of normalised values.
    """

    def __init__(self, encoders: Sequence[Backbone], split: str) -> None:
        nn.Module.__init__(self)
        first = encoders[0]
        self.encoders, self.groups = nn.ModuleList(encoders), Split(split)
        self.split = self.groups.text
        self.architecture, self.options = first.architecture, first.options
        self.image_size, self.stride, self.fixed_size = first.image_size, first.stride, first.fixed_size
        self.mean, self.std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        self.channels = sum(encoder.channels for encoder in encoders)
        self.layer_channels = [sum(each) for each in zip(*(e.layer_channels for e in encoders), strict=True)]
        self.notes, self.record, self.fresh = [], {}, True
        self.register_buffer("_shift", torch.zeros(1, 3, 1, 1), persistent=False)
        self.register_buffer("_scale", torch.full((1, 3, 1, 1), 255.0), persistent=False)

    @property
    def model(self) -> nn.ModuleList:
        """The timm networks, whose weights are what is saved."""
        return nn.ModuleList([encoder.model for encoder in self.encoders])

    def forward(self, images: Tensor) -> Tensor:
        """RGB (B, 3, H, W) in [0, 1] -> (B, D): the encoders' vectors one after another."""
        return torch.cat(self.vectors(self.groups(images)), dim=1)

    def vectors(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """What `groups` makes of images -> a vector (B, d) of each encoder."""
        return [encoder(part) for encoder, part in zip(self.encoders, parts, strict=True)]

    def feature_maps(self, images: Tensor, layers: Sequence[int] = (-1,)) -> list[Tensor]:
        """RGB (B, 3, H, W) in [0, 1] -> maps (B, C, h, w), the encoders' channels one after another."""
        parts = zip(self.encoders, self.groups(images), strict=True)
        maps = [encoder.feature_maps(part, layers) for encoder, part in parts]
        return [torch.cat(same, dim=1) for same in zip(*maps, strict=True)]


def split_backbone(backbone: Backbone, split: str) -> SplitBackbone:
    """Encoders of the backbone's architecture for a split; one that is split already is returned as it is.

    Raises `UserError` when it is split otherwise.
    """
    groups = Split(split)
    if isinstance(backbone, SplitBackbone):
        require(
            backbone.split == groups.text,
            f"The backbone's encoders were trained on {backbone.split}, and the run asks for {groups.text}: "
            f"give split={backbone.split}, or another backbone.",
        )
        return backbone
    made = SplitBackbone([encoder_like(backbone, len(group)) for group in groups.groups], split)
    made.notes, made.fresh = list(backbone.notes), backbone.fresh
    return made


def encoder_like(backbone: Backbone, channels: int) -> Backbone:
    """A backbone of the same architecture for images of so many channels.

    Its weights are drawn anew from torch's global generator; where those of `backbone` were loaded, it takes them over,
    all but the layer that sees the channels.
    """
    made = build(backbone.architecture, backbone.image_size, backbone.options, inputs=channels)
    if not backbone.fresh:
        source = backbone.encoders[0] if isinstance(backbone, SplitBackbone) else backbone
        shapes = {name: value.shape for name, value in made.model.state_dict().items()}
        state = source.model.state_dict()
        kept = {name: value for name, value in state.items() if shapes.get(name) == value.shape}
        made.model.load_state_dict(kept, strict=False)
        made.fresh = False
    return made


def untrained_twin(backbone: Backbone) -> Backbone:
    """The same network with random weights, drawn from torch's global generator."""
    pixels = (backbone.mean, backbone.std)
    plain = build(backbone.architecture, backbone.image_size, backbone.options, pixels=pixels)
    return split_backbone(plain, backbone.split) if isinstance(backbone, SplitBackbone) else plain
