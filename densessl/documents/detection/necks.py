"""Maps of several strides out of any backbone: what a detector looks at.

A plain transformer has one stride, and its last map becomes a simple feature pyramid (ViTDet, arXiv 2203.16527,
section 3): stride by stride from that map alone, by transposed convolutions or by max pooling, each then through a 1x1
and a 3x3 convolution with layer norms. A network with stages gets a feature pyramid network (FPN, arXiv 1612.03144).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from densessl.backbones import Backbone
from densessl.errors import UserError


def create_neck(backbone: Backbone, strides: Sequence[int], channels: int) -> SimplePyramid | StagePyramid:
    """The neck that fits the backbone; strides: of its maps, each twice the one before. Raises `UserError`."""
    reductions = layer_strides(backbone)
    if len(set(reductions)) == 1:
        return SimplePyramid(backbone.layer_channels[-1], reductions[-1], strides, channels)
    return StagePyramid(backbone.layer_channels, reductions, strides, channels)


def layer_strides(backbone: Backbone) -> list[int]:
    """The stride in pixels of each map of `Backbone.feature_maps`."""
    return [int(max(each) if isinstance(each, list | tuple) else each) for each in _reductions(backbone)]


def _reductions(backbone: Backbone) -> list:
    return [info["reduction"] for info in backbone.model.feature_info]


class SimplePyramid(nn.Module):
    """The last map (B, C, h, w) of a network without stages -> one map (B, channels, ., .) per stride.

    layers: what to ask the backbone for. stride: of the map it gives.
    """

    layers = (-1,)

    def __init__(self, inputs: int, stride: int, strides: Sequence[int], channels: int) -> None:
        super().__init__()
        self.strides = list(strides)
        self.levels = nn.ModuleList(_level(inputs, stride, each, channels) for each in strides)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [level(maps[0]) for level in self.levels]


def _level(inputs: int, stride: int, wanted: int, channels: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    ups = log2(stride / wanted)
    if ups != int(ups) or ups > 2:
        raise UserError(
            f"A map of stride {wanted} cannot be made from one of stride {stride}: give detector.finest={stride // 2}, "
            "or a backbone with smaller patches."
        )
    for place in range(int(max(ups, 0))):
        if place:
            parts += [ChannelNorm(inputs), nn.GELU()]
        parts.append(nn.ConvTranspose2d(inputs, inputs // 2, 2, 2))
        inputs //= 2
    if ups < 0:
        # Cut off at the right and lower edge, a map of odd length would lose its last cells.
        parts.append(nn.MaxPool2d(wanted // stride, ceil_mode=True))
    parts += [nn.Conv2d(inputs, channels, 1, bias=False), ChannelNorm(channels)]
    parts += [nn.Conv2d(channels, channels, 3, padding=1, bias=False), ChannelNorm(channels)]
    return nn.Sequential(*parts)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each place of (B, C, h, w)."""

    def forward(self, maps: Tensor) -> Tensor:
        normed = F.layer_norm(maps.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return normed.permute(0, 3, 1, 2)


class StagePyramid(nn.Module):
    """Maps of the stages of a network -> one map (B, channels, ., .) per stride, by an FPN.

    Strides that no stage has are made from the coarsest map by taking every second place, as FPN's P6 is.
    layers: what to ask the backbone for, the last of each stride that is wanted.
    """

    def __init__(
        self, layer_channels: Sequence[int], reductions: Sequence[int], strides: Sequence[int], channels: int
    ) -> None:
        super().__init__()
        self.strides = list(strides)
        last = {stride: layer for layer, stride in enumerate(reductions)}
        if strides[0] not in last:
            raise UserError(
                f"The backbone has maps of the strides {', '.join(map(str, last))} and none of {strides[0]}: give one "
                "of these as detector.finest."
            )
        found = [stride for stride in strides if stride in last]
        self.layers = tuple(last[stride] for stride in found)
        self.fpn = FeaturePyramidNetwork([layer_channels[layer] for layer in self.layers], channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        levels = list(self.fpn({str(place): each for place, each in enumerate(maps)}).values())
        while len(levels) < len(self.strides):
            levels.append(F.max_pool2d(levels[-1], 1, 2))
        return levels
