"""The keys of a ViT's attention as a feature map, beside the tokens that `Backbone.feature_maps` gives.

STEGO's option "KK", and much that finds objects without labels, compares places by the keys of DINO's last block: what
the attention of that block makes of its tokens, all heads one after another.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from densessl.backbones.backbone import Backbone

# Hooks belong to the network: of threads that share it, each would keep what another's forward pass makes.
_ALONE = threading.Lock()


def has_keys(backbone: nn.Module) -> bool:
    """Whether `key_maps` takes it: a plain ViT whose attention makes queries, keys and values by one layer."""
    blocks = getattr(getattr(backbone, "model", None), "blocks", None)
    if blocks is None or not isinstance(backbone.model, VisionTransformer):
        return False
    return all(isinstance(getattr(getattr(block, "attn", None), "qkv", None), nn.Linear) for block in blocks)


def key_maps(backbone: Backbone, images: Tensor, layers: Sequence[int] = (-1,)) -> list[Tensor]:
    """Images (B, 3, H, W), normalised -> the keys (B, D, h, w) of each block asked for; class and register tokens are
    left out.

    Channel 64 i + j of a network with heads of 64 is number j of head i. Raises `ValueError` as `feature_maps`, and for
    a backbone that has no keys.
    """
    if not has_keys(backbone):
        raise ValueError(f"{backbone.architecture} is no plain ViT, so it has no keys of its patches.")
    model, made, here = backbone.model, {}, threading.get_ident()

    def keep(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        # A hook is called in whatever thread the network runs.
        if threading.get_ident() == here:
            made[module] = output

    with _ALONE:
        hooks = [block.attn.qkv.register_forward_hook(keep) for block in model.blocks]
        try:
            grid = backbone.feature_maps(images, layers)[0].shape[-2:]
        finally:
            for hook in hooks:
                hook.remove()
    keys = [made[model.blocks[layer].attn.qkv].chunk(3, dim=-1)[1][:, model.num_prefix_tokens :] for layer in layers]
    return [each.transpose(1, 2).unflatten(2, grid) for each in keys]
