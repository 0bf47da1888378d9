"""How MAE, MoCo v3 and BEiT begin a transformer, where timm begins it otherwise.

Only weights that are random are replaced: a backbone that was loaded keeps its own (`Backbone.fresh`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from densessl.backbones.backbone import Backbone
from densessl.backbones.tokens import Grid


def sincos_positions(channels: int, grid: Grid) -> Tensor:
    """Fixed positions of a grid (h, w), row by row: (h w, channels).

    The first half of the channels tells the column x ("w goes first"), the second the row y, each as sin(x w_i) for
    all i, then cos(x w_i), with w_i = 10000^(-i / (channels / 4)).
    Raises `ValueError` when 4 does not divide the channels.
    """
    if channels % 4:
        raise ValueError(f"Fixed positions need a multiple of 4 channels, not {channels}.")
    frequencies = 10000.0 ** -(torch.arange(channels // 4, dtype=torch.float64) / (channels // 4))
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in grid), indexing="ij")
    angles = [places.reshape(-1, 1) * frequencies for places in (columns, rows)]
    return torch.cat([part for each in angles for part in (each.sin(), each.cos())], dim=1).float()


@torch.no_grad()
def fix_positions(backbone: Backbone) -> None:
    """Let no gradient reach a transformer's added positions; `sincos_positions` where they are random yet.

    Class and register tokens stand at zero. Networks whose positions are rotary or a bias have none to fix.
    """
    positions = getattr(backbone.model, "pos_embed", None)
    if positions is None:
        return
    positions.requires_grad_(False)
    if backbone.fresh:
        fixed = sincos_positions(positions.shape[-1], backbone.model.patch_embed.grid_size)
        positions.zero_()[0, -len(fixed) :] = fixed


@torch.no_grad()
def xavier_patches(backbone: Backbone) -> None:
    """The projection of patches as the linear layer it is: Xavier-uniform on (D, values of a patch)."""
    if backbone.fresh:
        nn.init.xavier_uniform_(backbone.model.patch_embed.proj.weight.flatten(1))


@torch.no_grad()
def xavier_linear(module: nn.Module, split_qkv: bool = False) -> None:
    """Xavier-uniform for every linear layer below `module`, biases 0.

    split_qkv: a layer that makes queries, keys and values at once begins as three layers would.
    """
    for name, layer in module.named_modules():
        if not isinstance(layer, nn.Linear):
            continue
        if split_qkv and name.endswith("qkv"):
            bound = math.sqrt(6 / (layer.out_features // 3 + layer.in_features))
            nn.init.uniform_(layer.weight, -bound, bound)
        else:
            nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


@torch.no_grad()
def truncated_normal(backbone: Backbone, std: float) -> None:
    """BEiT's start: weights, class token and positions N(0, std) cut at one std, biases 0.

    What ends the two branches of block l is divided by sqrt(2 l) besides.
    """
    if not backbone.fresh:
        return
    model = backbone.model
    for layer in model.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.trunc_normal_(layer.weight, std=std, a=-std, b=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for name in ("cls_token", "reg_token", "dist_token", "pos_embed"):
        if isinstance(getattr(model, name, None), nn.Parameter):
            nn.init.trunc_normal_(getattr(model, name), std=std, a=-std, b=std)
    for place, block in enumerate(model.blocks, start=1):
        block.attn.proj.weight.div_(math.sqrt(2 * place))
        block.mlp.fc2.weight.div_(math.sqrt(2 * place))
