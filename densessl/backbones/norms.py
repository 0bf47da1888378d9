"""Layer norm in the place of batch norm, for methods whose objective batch statistics would give away.

What is called layer norm in a convolutional network is group norm of one group (Wu & He, arXiv 1803.08494, section 3):
mean and variance over all channels and places of one image, a scale and an offset per channel.
"""

from __future__ import annotations

from timm.layers import BatchNormAct2d, GroupNorm1, GroupNorm1Act
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from densessl.backbones.backbone import Backbone


def replace_batch_norm(model: nn.Module) -> int:
    """Put a layer norm of the same scale, offset and activation in the place of every batch norm; returns how many."""
    count = 0
    for part in list(model.modules()):
        for name, child in part.named_children():
            if isinstance(child, _BatchNorm):
                setattr(part, name, _layer_norm(child))
                count += 1
    return count


def without_batch_norm(backbone: Backbone) -> Backbone:
    """The same backbone with layer norm, which its options and its notes say from then on."""
    if replace_batch_norm(backbone.model):
        backbone.options = {**backbone.options, "norm": "layer"}
        backbone.notes.append(
            f"{backbone.architecture} has layer norm (group norm of one group) in the place of batch norm."
        )
    return backbone


def _layer_norm(norm: _BatchNorm) -> nn.Module:
    options = {"eps": norm.eps, "affine": norm.affine}
    if isinstance(norm, BatchNormAct2d):
        new = GroupNorm1Act(norm.num_features, apply_act=False, **options)
        new.drop, new.act = norm.drop, norm.act
    else:
        new = GroupNorm1(norm.num_features, **options)
    if norm.affine:
        new.weight, new.bias = norm.weight, norm.bias
    return new.train(norm.training)
