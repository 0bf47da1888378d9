"""Many crops of an image: two global views and small local ones (SwAV, arXiv 2006.09882, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from densessl.data.views import LARGEST_SIGMA, ViewSpec


def multi_crop(whole: Sequence[ViewSpec], local: ViewSpec, count: int, backbone: nn.Module) -> list[ViewSpec]:
    """The global views `whole`, all of one size, then `count` local ones, unless that is 0.

    A local one has 96/224 of the side of the global ones, unless its spec says, cut to the backbone's stride. Its blur
    is as wide in pixels as that of a global one with the same `blur_sigma`, as in the official code.
    """
    if not count:
        return [*whole]
    side, stride = whole[0].size or backbone.image_size, backbone.stride
    size = local.size or max(stride, 8, round(side * 96 / 224 / stride) * stride)
    low, high = (min(LARGEST_SIGMA, sigma * side / size) for sigma in local.blur_sigma)
    return [*whole, replace(local, count=count, size=size, blur_sigma=(low, high))]


def by_size(views: Sequence[Tensor]) -> list[Tensor]:
    """Views of equal size that follow each other, as one batch each: the network runs once per size."""
    groups: list[list[Tensor]] = []
    for view in views:
        if groups and groups[-1][-1].shape == view.shape:
            groups[-1].append(view)
        else:
            groups.append([view])
    return [torch.cat(group) for group in groups]
