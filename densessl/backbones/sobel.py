"""Edges in place of colours: a backbone whose first convolution sees the Sobel-filtered grey image.

DeepCluster (arXiv 1807.05520, section 4.1) puts a fixed transformation before the network, which removes colour and
raises local contrast: grey as the mean of the normalised channels, then the two Sobel filters. Here it is part of the
first convolution, and `sobel` an option of the backbone, so that a network that learned on edges takes RGB images like
any other, wherever its weights go.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densessl.errors import UserError


def edges(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 2, H, W): how much darker it gets rightwards and downwards, with zeros beyond the border."""
    grey = F.pad(images.mean(1, keepdim=True), (1, 1, 1, 1))
    left_right, top_bottom = grey[..., :-2] - grey[..., 2:], grey[..., :-2, :] - grey[..., 2:, :]
    across = left_right[..., :-2, :] + 2 * left_right[..., 1:-1, :] + left_right[..., 2:, :]
    down = top_bottom[..., :-2] + 2 * top_bottom[..., 1:-1] + top_bottom[..., 2:]
    return torch.cat([across, down], dim=1)


class EdgeConvolution(nn.Conv2d):
    """A convolution of the two edge channels of an RGB image; its own weight is (C, 2, k, k)."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(edges(images))


def see_edges(model: nn.Module, name: str) -> None:
    """Put an `EdgeConvolution` with new weights in the place of the first convolution of `model`, a timm network.

    Raises `UserError` where that is no plain convolution of three channels.
    """
    convolutions = [(path, part) for path, part in model.named_modules() if isinstance(part, nn.Conv2d)]
    path, old = convolutions[0] if convolutions else ("", None)
    if type(old) is not nn.Conv2d or old.in_channels != 3 or not isinstance(old.padding, tuple):
        raise UserError(f"{name} does not begin with a plain convolution of RGB, so it cannot be given edges to see.")
    shape = {"kernel_size": old.kernel_size, "stride": old.stride, "padding": old.padding, "dilation": old.dilation}
    new = EdgeConvolution(2, old.out_channels, **shape, bias=old.bias is not None)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    parent, _, attribute = path.rpartition(".")
    setattr(model.get_submodule(parent), attribute, new)


def give_edges(backbone: nn.Module) -> None:
    """The same for a `Backbone`, which says so in its options and notes; one that sees edges already stays as it is."""
    if backbone.options.get("sobel"):
        return
    see_edges(backbone.model, backbone.architecture)
    backbone.options = {**backbone.options, "sobel": True}
    backbone.notes.append(
        f"{backbone.architecture} sees the edges of images in place of their colours (Sobel filters)."
    )
