"""The small stems: what a network begins with when its pictures are small.

A network made for 224 pixels divides a picture of 32 by 32 at once and sees one cell. SimCLR on CIFAR-10 (arXiv
2002.05709, B.9) replaces the ResNet's 7x7 convolution of stride 2 by a 3x3 of stride 1 and drops the pooling; the patch
of a transformer and of ConvNeXt shrinks by the same thought. Applied to networks with random weights only, and never
over what the user asked for.
"""

from __future__ import annotations

from typing import Any

from timm.layers import PatchEmbed
from timm.models.convnext import ConvNeXt
from timm.models.resnet import ResNet
from timm.models.resnetv2 import ResNetV2
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import nn

SMALL = 64
STEMS = ("standard", "small", "half", "patch1", "patch2")  # half: as small, with stride 2, for a quarter of the work


def choose(model: nn.Module, image_size: int) -> tuple[dict[str, Any], str]:
    """The options with which `model` should be built instead for pictures of this size, and the sentence that says so.

    Both empty where it may stay as it is.
    """
    if isinstance(model, (ResNet, ResNetV2)) and image_size <= SMALL:
        return {"stem": "small"}, (
            f"begins with a 3x3 convolution of stride 1 and no pooling, for pictures of {image_size} pixels "
            "(as SimCLR on CIFAR-10; backbone_options.stem=standard keeps the 7x7 and the pooling)"
        )
    if isinstance(model, ConvNeXt) and image_size <= SMALL:
        patch = 1 if image_size <= SMALL // 2 else 2
        return {"stem": f"patch{patch}"}, (
            f"begins with patches of {patch} x {patch} instead of 4 x 4 pixels, for pictures of {image_size} "
            "pixels (backbone_options.stem=standard keeps 4)"
        )
    if isinstance(model, (SwinTransformer, SwinTransformerV2)) and image_size <= SMALL:
        patch = 1 if image_size <= SMALL // 2 else 2
        return {"patch_size": patch}, (
            f"begins with patches of {patch} x {patch} instead of 4 x 4 pixels, for pictures of {image_size} "
            "pixels (backbone_options.patch_size=4 keeps 4)"
        )
    patch = _patch(model)
    if patch is None or patch <= image_size / 8:
        return {}, ""
    fitting = [size for size in (1, 2, 4, 8, 16) if image_size / 16 <= size <= image_size / 8 and not image_size % size]
    if not fitting:
        return {}, ""  # a size that no sensible patch divides is refused as such
    smaller = max(fitting)
    return {"patch_size": smaller}, (
        f"has patches of {smaller} x {smaller} instead of {patch} x {patch} pixels, so that a picture of {image_size} "
        f"pixels gives {image_size // smaller} x {image_size // smaller} of them "
        f"(backbone_options.patch_size={patch} keeps the larger)"
    )


def apply(model: nn.Module, stem: str, inputs: int = 3) -> bool:
    """Replace the stem of `model`, which takes so many channels; False when this model has no such stem."""
    if stem in ("small", "half") and isinstance(model, ResNet):
        stride = 1 if stem == "small" else 2
        model.conv1 = _convolution(inputs, model.bn1.num_features, 3, stride)
        model.maxpool = nn.Identity()
        _divide(model, 4 // stride, first=2 // stride)
    elif stem == "small" and isinstance(model, ResNetV2) and hasattr(model.stem, "conv"):
        _shrink_v2(model, inputs)
    elif stem.startswith("patch") and isinstance(model, ConvNeXt) and len(model.stem) == 2:
        _shrink_patch(model, int(stem.removeprefix("patch")), inputs)
    else:
        return stem == "standard"
    return True


def _shrink_v2(model: ResNetV2, inputs: int) -> None:
    old = model.stem.conv
    model.stem.conv = type(old)(inputs, old.out_channels, kernel_size=3, stride=1, padding=1, bias=old.bias is not None)
    model.stem.pool = nn.Identity()
    if hasattr(model.stem, "pad"):
        model.stem.pad = nn.Identity()
    _divide(model, 4, first=2)


def _shrink_patch(model: ConvNeXt, patch: int, inputs: int) -> None:
    """timm's own `patch_size` would halve the map before the first stage too, when the patch is 2."""
    old = model.stem[0]
    model.stem[0] = nn.Conv2d(inputs, old.out_channels, patch, patch, bias=old.bias is not None)
    nn.init.trunc_normal_(model.stem[0].weight, std=0.02)
    if old.bias is not None:
        nn.init.zeros_(model.stem[0].bias)
    _divide(model, 4 // patch)


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


def _divide(model: nn.Module, factor: int, first: int | None = None) -> None:
    """Say in timm's table of layers that each is `factor` times finer, the stem's own `first` times."""
    model.feature_info = [dict(info) for info in model.feature_info]
    for position, info in enumerate(model.feature_info):
        info["reduction"] //= first if first and position == 0 else factor


def _patch(model: nn.Module) -> int | None:
    """The side of a plain transformer's patches; None for hybrids, whose patches are cut from a network's map."""
    embedding = getattr(model, "patch_embed", None)
    return int(embedding.patch_size[0]) if isinstance(embedding, PatchEmbed) and hasattr(model, "blocks") else None
