"""BEiT's positions at any grid of patches, relative or, as in DiT, absolute.

BEiT (arXiv 2106.08254) learns a bias per offset of two patches, a table of (2 h - 1) x (2 w - 1) for the grid it was
built with. timm resizes the table once, by `set_input_size`; here it is resized on the way, so that one model takes
images of several sizes and gradients reach the table. The offsets are placed as the official code places them: at
1, 1 + q, 1 + q + q^2 ... so that near patches keep their bias and far ones are stretched, and interpolated linearly as
timm does (the official code: by cubic splines of a SciPy function that no longer exists).

DiT (arXiv 2203.02378) adds a table of absolute positions instead, which its detection code brings to the grid of every
image by bicubic interpolation without antialiasing, and so does this.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from timm.models import beit
from torch import Tensor, nn


class _AnyGrid:
    """What the two modules below share: the bias for the grid that `set_grid` has set."""

    grid: tuple[int, int]

    def resized_bias(self) -> Tensor:
        """(heads, N, N) for the N = h w + 1 tokens of the grid."""
        table, old = self.relative_position_bias_table, tuple(self.window_size)
        spread = table[:-3].view(2 * old[0] - 1, 2 * old[1] - 1, -1)
        rows = _interpolation(2 * old[0] - 1, 2 * self.grid[0] - 1, table.device).to(table.dtype)
        columns = _interpolation(2 * old[1] - 1, 2 * self.grid[1] - 1, table.device).to(table.dtype)
        resized = torch.einsum("is,jt,sth->ijh", rows, columns, spread).flatten(0, 1)
        # The last three: class token to patch, patch to class token, class token to itself.
        resized = torch.cat([resized, table[-3:]])
        return resized[_index(self.grid, table.device)].permute(2, 0, 1)


class AnyGridAttention(_AnyGrid, beit.Attention):
    """timm's attention with a table of its own."""

    def _get_rel_pos_bias(self) -> Tensor:
        if self.grid == tuple(self.window_size):
            return super()._get_rel_pos_bias()
        return self.resized_bias().unsqueeze(0).contiguous()


class AnyGridBias(_AnyGrid, beit.RelativePositionBias):
    """timm's table that all blocks share."""

    def forward(self) -> Tensor:
        if self.grid == tuple(self.window_size):
            return super().forward()
        return self.resized_bias().contiguous()


class AnyGridBeit(beit.Beit):
    """timm's network, whose absolute positions are those of the grid that `set_grid` has set; the table stays."""

    grid: tuple[int, int]

    @property
    def pos_embed(self) -> Tensor | None:
        table, old = self._parameters.get("pos_embed"), tuple(self.patch_embed.grid_size)
        if table is None or self.grid == old:
            return table
        places = table[:, 1:].float().unflatten(1, old).permute(0, 3, 1, 2)
        places = F.interpolate(places, self.grid, mode="bicubic", align_corners=False)
        return torch.cat([table[:, :1], places.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)


def any_grid(model: nn.Module) -> bool:
    """Make a BEiT take any grid; False when this model is none."""
    if not isinstance(model, beit.Beit):
        return False
    if type(model) is beit.Beit:
        model.__class__ = AnyGridBeit
        model.grid = tuple(model.patch_embed.grid_size)
    for module in model.modules():
        if type(module) is beit.Attention and module.window_size:
            module.__class__ = AnyGridAttention
            module.grid = tuple(module.window_size)
        elif type(module) is beit.RelativePositionBias:
            module.__class__ = AnyGridBias
            module.grid = tuple(module.window_size)
    model.patch_embed.strict_img_size = False
    return True


def set_grid(model: nn.Module, height: int, width: int) -> None:
    """Say how many rows and columns of patches the next images have; nothing for a model that is no BEiT."""
    if not isinstance(model, beit.Beit):
        return
    if isinstance(model, AnyGridBeit):
        model.grid = (height, width)
    for block in model.blocks:
        if isinstance(block.attn, _AnyGrid):
            block.attn.grid = (height, width)
    if isinstance(model.rel_pos_bias, _AnyGrid):
        model.rel_pos_bias.grid = (height, width)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _interpolation(source: int, target: int, device: torch.device) -> Tensor:
    """(target, source): the weights that give the bias at each of `target` offsets from those of `source`.

    Kept, and hence made outside of inference mode, whose tensors training could not use afterwards.
    """
    if source == target:
        return torch.eye(target, device=device)
    if source == 1:
        return torch.ones(target, 1, device=device)
    known = _positions(source, target)
    wanted = torch.arange(target, dtype=torch.float64) - target // 2
    right = torch.searchsorted(known, wanted).clamp(1, source - 1)
    share = (wanted - known[right - 1]) / (known[right] - known[right - 1])
    weights = torch.zeros(target, source, dtype=torch.float64)
    weights.scatter_(1, right[:, None] - 1, 1 - share[:, None])
    weights.scatter_add_(1, right[:, None], share[:, None])
    return weights.float().to(device)


def _positions(source: int, target: int) -> Tensor:
    """Where the known offsets stand on the scale of the new ones: a geometric series out to its edge."""
    steps, edge = source // 2, target // 2
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        ratio = (low + high) / 2
        low, high = (low, ratio) if (1 - ratio**steps) / (1 - ratio) > edge else (ratio, high)
    side = torch.cumsum(ratio ** torch.arange(steps, dtype=torch.float64), 0)
    return torch.cat([-side.flip(0), torch.zeros(1, dtype=torch.float64), side])


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _index(grid: tuple[int, int], device: torch.device) -> Tensor:
    return beit.gen_relative_position_index(grid).to(device)
