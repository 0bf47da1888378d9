"""Which of a backbone's feature maps make up the features of a place: one, or several side by side.

Deep maps know what a thing is and are coarse, shallow ones and colours know where it ends. Side by side, each brought
to length 1 so that none outweighs the others, they told classes of places apart better than any of them alone, of a
supervised network as of our own (`densessl/box/MODEL_CARD.md` has figures).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densessl.errors import UserError
from densessl.segmentation.features.colour import ColourBackbone

COLOUR = "colour"  # colours and gradients, as a layer beside those of the backbone
Layers = tuple[int | str, ...]


class Maps(nn.Module):
    """uint8 images (B, 3, H, W) -> one map (B, C, h, w) of the layers' channels one after another.

    A single layer is left as it is. Several are resized to the map of the first (bilinearly, antialiased where they
    shrink), and each place of each is brought to length 1; of one that is named n times to the root of n, which gives
    the cosines that n copies would. facet: the "tokens" of the backbone's layers, or the "keys"
    of their attention. stride: what the sides of images must be multiples of.
    """

    def __init__(self, backbone: nn.Module, layers: Layers = (-1,), facet: str = "tokens") -> None:
        super().__init__()
        self.backbone, self.layers, self.facet = backbone, tuple(dict.fromkeys(layers)), facet
        self.norms = [layers.count(each) ** 0.5 for each in self.layers]
        self.colours = ColourBackbone() if COLOUR in layers else None
        self.stride = math.lcm(int(backbone.stride), self.colours.stride if self.colours else 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self._maps(images)
        if len(maps) == 1:
            return maps[0]
        size = maps[0].shape[2:]
        parts = [norm * F.normalize(resized(map_, size), dim=1) for map_, norm in zip(maps, self.norms, strict=True)]
        return torch.cat(parts, dim=1)

    def _maps(self, images: Tensor) -> list[Tensor]:
        numbers = [each for each in self.layers if each != COLOUR]
        found = iter(self._of_backbone(self.backbone.normalise(images), numbers) if numbers else [])
        return [self._of_colours(images) if each == COLOUR else next(found) for each in self.layers]

    def _of_colours(self, images: Tensor) -> Tensor:
        return self.colours.feature_maps(self.colours.normalise(images))[0]

    def _of_backbone(self, images: Tensor, numbers: Sequence[int]) -> list[Tensor]:
        if self.facet == "keys":
            from densessl.backbones.keys import key_maps

            return key_maps(self.backbone, images, numbers)
        return self.backbone.feature_maps(images, numbers)


def resized(map_: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, h, w) -> (B, C, *size), bilinearly."""
    if map_.shape[2:] == size:
        return map_
    return F.interpolate(map_, size=size, mode="bilinear", align_corners=False, antialias=map_.shape[2] > size[0])


def chosen(given: Any, backbone: nn.Module, spec: str) -> Layers:
    """The layers that a setting names, checked.

    given: a number, counted as Python counts, "colour", or a list of them, with some more than once where they are to
        count for more; None for those that the backbone's file names, else its last.
    Returns numbers that count from the last, so that a layer has but one.
    Raises `UserError` for what the backbone has not.
    """
    if given is None:
        given = getattr(backbone, "record", {}).get("layers") or -1
    wanted = [given] if isinstance(given, (int, str)) else list(given)
    count = len(backbone.layer_channels)
    for each in wanted:
        if each == COLOUR:
            continue
        if isinstance(each, bool) or not isinstance(each, int):
            raise UserError(f"layers={given}: {each!r} is no layer: give numbers and colour, such as [colour,-2,-1].")
        if not -count <= each < count:
            known = f"{count} layers" if count > 1 else "1 layer"
            raise UserError(f"layers={each}, but the backbone {spec} has {known}: give one of {-count} to {count - 1}.")
    if not wanted:
        raise UserError("layers=[] are no features: give a number, colour, or several such as [colour,-2,-1].")
    return tuple(each if each == COLOUR or each < 0 else each - count for each in wanted)
