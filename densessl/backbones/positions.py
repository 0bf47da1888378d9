"""The positions of patches at other sizes than a ViT was trained at, as DINO's official code has them.

DINO (arXiv 2104.14294; vision_transformer.py of the official code, and DINOv2's without registers) resizes its square
table of positions by bicubic interpolation whose factor is (h + 0.1) / side: 0.1 kept a rounding error from losing a
row, and moves every place by a little. timm resizes to h x w exactly, with antialiasing. Features of STEGO at 320 px
were made the official way; at the size of training both are the identity.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from densessl.backbones.backbone import Backbone
from densessl.config import nearest
from densessl.errors import UserError

WAYS = ("timm", "official")
MARGIN = 0.1


class OfficialPositions(VisionTransformer):
    """timm's ViT with the official resizing; a network becomes one by its class alone."""

    def _pos_embed(self, x: Tensor) -> Tensor:
        if self.pos_embed is None or not self.dynamic_img_size:
            return super()._pos_embed(x)
        prefix = 0 if self.no_embed_class else self.num_prefix_tokens
        table = resized(self.pos_embed, self.patch_embed.grid_size, tuple(x.shape[1:3]), prefix)
        before = [each.expand(len(x), -1, -1) for each in (self.cls_token, self.reg_token) if each is not None]
        tokens = x.flatten(1, 2)
        if self.no_embed_class:
            return self.pos_drop(torch.cat([*before, tokens + table], dim=1))
        return self.pos_drop(torch.cat([*before, tokens], dim=1) + table)


def resized(table: Tensor, old: tuple[int, int], new: tuple[int, int], prefix: int = 1) -> Tensor:
    """(1, prefix + h w, D) for the grid `new` = (h, w) of a table of the grid `old`; the first `prefix` rows stay."""
    if tuple(old) == tuple(new):
        return table
    before, places = table[:, :prefix], table[:, prefix:].float().unflatten(1, old).permute(0, 3, 1, 2)
    factors = tuple((side + MARGIN) / known for side, known in zip(new, old, strict=True))
    places = F.interpolate(places, scale_factor=factors, mode="bicubic", align_corners=False)
    return torch.cat([before, places.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)


def set_positions(backbone: Backbone, way: str) -> Backbone:
    """Make a backbone resize its positions as timm does or the official way, which its options say from then on.

    What is no plain ViT with a table of absolute positions (ResNets, BEiT, DINOv3) stays as it is; its notes say so.
    Raises `UserError` for an unknown way.
    """
    if way not in WAYS:
        raise UserError(f"positions={way} is not one of: {', '.join(WAYS)}{nearest(str(way), WAYS)}")
    found = [part for part in backbone.modules() if type(part) in (VisionTransformer, OfficialPositions)]
    found = [part for part in found if part.pos_embed is not None and part.dynamic_img_size]
    for part in found:
        part.__class__ = OfficialPositions if way == "official" else VisionTransformer
    if found:
        kept = {key: value for key, value in backbone.options.items() if key != "positions"}
        backbone.options = kept | ({"positions": way} if way == "official" else {})
    elif way == "official":
        backbone.notes.append(f"{backbone.architecture} is no ViT of DINO's kind: positions=official changes nothing.")
    return backbone
