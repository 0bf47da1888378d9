"""The tokens of a plain transformer, for methods that mask patches before the network sees them.

    patches   images -> one embedding a patch, without positions
    features  those embeddings, some exchanged or left out -> every token after the last block
    normed    those tokens -> with the final norm, where that stands behind the pooling
    pooled    those tokens -> the vector of the image: backbone(images) = pooled(features(patches(images)))

A plain transformer is timm's VisionTransformer (ViT, DeiT, DINOv2, SigLIP), Beit or Eva (EVA, EVA-02, DINOv3), which
cuts patches from the pixels and has as many tokens in each block.
"""

from __future__ import annotations

import torch
from timm.layers import PatchEmbed, apply_keep_indices_nlc
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from densessl.backbones import beit
from densessl.backbones.backbone import Backbone

Grid = tuple[int, int]  # rows and columns of patches


def is_transformer(backbone: Backbone) -> bool:
    """Whether the functions of this file take this backbone."""
    model = backbone.model
    return isinstance(model, (VisionTransformer, Beit, Eva)) and isinstance(model.patch_embed, PatchEmbed)


def has_relative_positions(backbone: Backbone) -> bool:
    """Whether a bias for each pair of patches tells where they are (BEiT), so that none can be left out."""
    model = backbone.model
    return isinstance(model, Beit) and (
        model.rel_pos_bias is not None or any(block.attn.window_size is not None for block in model.blocks)
    )


def prefix_tokens(backbone: Backbone) -> int:
    """How many tokens stand before the patches: class, distillation and register tokens."""
    return int(backbone.model.num_prefix_tokens)


def grid_of(backbone: Backbone, images: Tensor) -> Grid:
    """Rows and columns of patches of images (B, 3, H, W)."""
    return images.shape[-2] // backbone.stride, images.shape[-1] // backbone.stride


def patches(backbone: Backbone, images: Tensor) -> Tensor:
    """Images (B, 3, H, W), normalised -> (B, P, D) embeddings of the patches, row by row, positions not yet added.

    Raises `ValueError` when the backbone is no plain transformer, or its stride does not divide H and W.
    """
    model = _transformer(backbone)
    backbone.check_size(*images.shape[-2:])
    tokens = model.patch_embed(images)  # (B, h, w, D) in a model of any size, else (B, P, D)
    return tokens.flatten(1, 2) if tokens.ndim == 4 else tokens


def features(backbone: Backbone, tokens: Tensor, grid: Grid, kept: Tensor | None = None) -> Tensor:
    """(B, P, D) -> (B, prefix + P', D): positions, prefix tokens and blocks, which timm calls `forward_features`.

    tokens: of all P = h w patches of the grid (h, w), row by row, as `patches` gives them.
    kept: (B, P') which patches alone go through the blocks, in that order; None for all.
    A final norm that stands behind the pooling is left to `normed`. Raises `ValueError` when the backbone is no plain
    transformer, when tokens and grid do not fit it, and for `kept` where positions are relative (BEiT).
    """
    model = _transformer(backbone)
    _check(backbone, tokens, grid, kept)
    beit.set_grid(model, *grid)
    x, rope = _with_positions(model, tokens, grid)
    if kept is not None:
        x, rope = _keep(model, x, rope, kept)
    if isinstance(model, Beit):
        bias = model.rel_pos_bias() if model.rel_pos_bias is not None else None
        for block in model.blocks:
            x = block(x, shared_rel_pos_bias=bias)
    elif isinstance(model, Eva):
        x = model.norm_pre(x)
        # One set of angles for all blocks, or each block's own.
        ropes = rope if model.rope_mixed and rope is not None else [rope] * len(model.blocks)
        for block, angles in zip(model.blocks, ropes, strict=True):
            x = block(x, rope=angles)
    else:
        x = model.blocks(model.norm_pre(x))
    return model.norm(x)


def normed(backbone: Backbone, features: Tensor) -> Tensor:
    """The final norm of each token where it stands behind the pooling; elsewhere it has been applied already."""
    norm = backbone.norm_behind_pooling()
    return features if norm is None else norm(features)


def pooled(backbone: Backbone, features: Tensor) -> Tensor:
    """(B, prefix + P', D) of `features` -> (B, D), the vector that the backbone gives for the image."""
    return backbone.model.forward_head(features, pre_logits=True)


def _with_positions(model: nn.Module, tokens: Tensor, grid: Grid) -> tuple[Tensor, Tensor | None]:
    """(B, prefix + P, D) with what is added to tell their places, and the angles of rotary positions."""
    if isinstance(model, Beit):
        x = torch.cat([model.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return model.pos_drop(x if model.pos_embed is None else x + model.pos_embed), None
    x = model._pos_embed(tokens.unflatten(1, grid) if model.dynamic_img_size else tokens)
    return x if isinstance(model, Eva) else (x, None)


def _keep(model: nn.Module, x: Tensor, rope: Tensor | None, kept: Tensor) -> tuple[Tensor, Tensor | None]:
    prefix = model.num_prefix_tokens
    chosen = x[:, prefix:].gather(1, kept.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
    if rope is not None:
        rope = apply_keep_indices_nlc(x, rope, kept)
        # A place for the heads, or the blocks first, as the blocks want them.
        rope = rope.transpose(0, 1) if model.rope_mixed else rope.unsqueeze(1)
    return torch.cat([x[:, :prefix], chosen], dim=1), rope


def _transformer(backbone: Backbone) -> nn.Module:
    if not is_transformer(backbone):
        raise ValueError(f"{backbone.architecture} is no plain transformer, so it has no tokens of patches.")
    return backbone.model


def _check(backbone: Backbone, tokens: Tensor, grid: Grid, kept: Tensor | None) -> None:
    model = backbone.model
    if tokens.ndim != 3 or tokens.shape[1] != grid[0] * grid[1]:
        raise ValueError(
            f"A grid of {grid[0]} x {grid[1]} needs tokens (B, {grid[0] * grid[1]}, D); they are {tuple(tokens.shape)}."
        )
    any_grid = getattr(model, "dynamic_img_size", False) or isinstance(model, beit.AnyGridBeit)
    if not any_grid and tuple(grid) != tuple(model.patch_embed.grid_size):
        raise ValueError(
            f"{backbone.architecture} was built for a grid of {model.patch_embed.grid_size} alone, not {tuple(grid)}."
        )
    if kept is not None and has_relative_positions(backbone):
        raise ValueError(f"{backbone.architecture} has relative positions, so all patches must go through it.")
    if getattr(getattr(model, "patch_drop", None), "prob", 0):
        raise ValueError(f"{backbone.architecture} drops patches by itself: leave patch_drop_rate at 0.")
