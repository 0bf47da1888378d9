"""A timm network behind two faces, on which everything else of the package is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from densessl.backbones import beit

# Hiera and its kind have no norm over the maps of their blocks, and timm refuses to apply one.
_WITHOUT_NORM = ("Hiera", "HieraDet")


class Backbone(nn.Module):
    """A network without a classifier: `backbone(images)` and `backbone.feature_maps(images, layers)`.

    architecture: timm's name. options: what must be given to build it again, for timm and for us (`stem`, `norm`,
        `norm_eps`, `sobel`, `positions`; see `create.py`). channels: D of the vector. stride: sides of images must be
        multiples of it.
    image_size: pixels of a side that it is meant for; other sizes work too unless `fixed_size` holds the only one.
    mean, std: of the pixels in [0, 1] it wants to see. notes: sentences for the user, such as on its stem.
    fresh: whether its weights are random and not loaded, so that a method may begin them as its paper does.
    record: what backbone.json says beside (method, training data summary); empty for a new one.
    """

    def __init__(
        self,
        model: nn.Module,
        architecture: str,
        options: dict[str, Any],
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        fixed_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.architecture, self.options, self.image_size = architecture, options, image_size
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        self.fixed_size = fixed_size
        self.channels = int(getattr(model, "head_hidden_size", None) or model.num_features)
        self.layer_channels = [int(info["num_chs"]) for info in model.feature_info]
        self.stride = max(_reduction(info) for info in model.feature_info)
        self._norms = type(model).__name__ not in _WITHOUT_NORM
        self.notes: list[str] = []
        self.fresh = True
        self.record: dict[str, Any] = {}
        # Not among the weights: they are in backbone.json, and a checkpoint of any origin lacks them.
        self.register_buffer("_shift", 255 * torch.tensor(self.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_scale", 255 * torch.tensor(self.std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) -> float32 (B, 3, H, W), centred and scaled; the memory format is kept."""
        return (images - self._shift).div_(self._scale)

    def pixels(self, images: Tensor) -> Tensor:
        """What `normalise` was given: float (B, 3, H, W) -> uint8 (B, 3, H, W), rounded and cut to [0, 255]."""
        return (images * self._scale + self._shift).round().clamp(0, 255).to(torch.uint8)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W), normalised -> (B, D), pooled as the architecture does it (class token or mean).

        Raises `ValueError` when the stride does not divide H and W.
        """
        self._prepare(images)
        return self.model(images)

    def feature_maps(self, images: Tensor, layers: Sequence[int] = (-1,)) -> list[Tensor]:
        """Images (B, 3, H, W), normalised -> one map (B, C, h, w) per layer asked for, in that order.

        Layers are the blocks of a transformer without stages (h = H / stride everywhere), else the stages, of which
        a ResNet's first (0) is its stem; negative ones count from the end. Class and register tokens are left out.
        Maps of networks that pad nothing (Inception) are smaller than the stride says.
        Every block of a transformer passes the final norm, as DINO's and DINOv2's `get_intermediate_layers` do and
        STEGO's features are made; where that norm stands behind the pooling (BEiT, EVA-02), it is applied to each
        token. Of stages the last passes the norm that stands before the pooling (Swin), if there is one: ConvNeXt's
        stands behind it and is left out.
        Raises `ValueError` when there is no such layer, or when the stride does not divide H and W.
        """
        self._prepare(images)
        wanted = [self._absolute(layer) for layer in layers]
        if not wanted:
            return []
        unique = sorted(set(wanted))
        maps = self.model.forward_intermediates(
            images, indices=unique, norm=self._norms, stop_early=True, intermediates_only=True, output_fmt="NCHW"
        )
        norm = self.norm_behind_pooling()
        if norm is not None:
            maps = [norm(each.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for each in maps]
        found = dict(zip(unique, maps, strict=True))
        return [found[layer] for layer in wanted]

    def check_size(self, height: int, width: int) -> None:
        """Raise `ValueError` with a sentence when images of this size do not fit."""
        if self.fixed_size == (height, width):
            return
        if self.fixed_size:
            raise ValueError(
                f"{self.architecture} was built for images of {self.fixed_size[0]} x {self.fixed_size[1]} pixels and "
                f"takes no other, not {height} x {width}: give image_size={self.fixed_size[0]}."
            )
        if height % self.stride or width % self.stride or not height or not width:
            raise ValueError(
                f"{self.architecture} cuts images into cells of {self.stride} x {self.stride} pixels, which "
                f"{height} x {width} is no multiple of: give sides such as {near(height, self.stride)} x "
                f"{near(width, self.stride)}."
            )

    def _prepare(self, images: Tensor) -> None:
        height, width = images.shape[-2:]
        self.check_size(height, width)
        beit.set_grid(self.model, height // self.stride, width // self.stride)

    def _absolute(self, layer: int) -> int:
        count = len(self.layer_channels)
        if not -count <= layer < count:
            raise ValueError(f"{self.architecture} has no layer {layer}: give one of {-count} to {count - 1}.")
        return layer % count

    def norm_behind_pooling(self) -> nn.Module | None:
        """The final norm where it is applied to the pooled vector alone; None where each token passes it."""
        norm = getattr(self.model, "fc_norm", None)
        if norm is None or isinstance(norm, nn.Identity) or not isinstance(self.model.norm, nn.Identity):
            return None
        return norm


def near(side: int, stride: int) -> int:
    """The multiple of `stride` that is nearest to `side`, at least one."""
    return max(1, round(side / stride)) * stride


def _reduction(info: dict[str, Any]) -> int:
    reduction = info["reduction"]
    return int(max(reduction) if isinstance(reduction, (tuple, list)) else reduction)
