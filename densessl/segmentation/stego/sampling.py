"""Points at which STEGO compares pictures whose feature maps may all have different shapes.

The maps of a batch lie one after another as rows of one table of tokens. A point in [-1, 1] x [-1, 1] is read from its
picture's map bilinearly, the corners of the square being the centres of the corner tokens: what
`torch.nn.functional.grid_sample(..., padding_mode="border", align_corners=True)` gives on a single map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Where each picture's map lies in a table of tokens: shapes (B, 2) as (h, w), first row of each map (B,)."""

    shapes: Tensor
    starts: Tensor

    @classmethod
    def of(cls, shapes: list[tuple[int, int]]) -> Layout:
        """The layout of maps of these (h, w) laid one after another."""
        table = torch.tensor(shapes, dtype=torch.long).reshape(-1, 2)
        counts = table.prod(dim=1)
        return cls(table, counts.cumsum(0) - counts)

    def taken(self, pictures: Tensor) -> Layout:
        """The layout of these pictures of the same table, (B,) numbers, in their order."""
        return Layout(self.shapes[pictures], self.starts[pictures])

    @property
    def owner(self) -> Tensor:
        """(T,) the picture that each token belongs to."""
        return torch.repeat_interleave(torch.arange(len(self.shapes)), self.shapes.prod(dim=1))


@dataclass(frozen=True)
class Corners:
    """The four tokens around each point, (B, P, 4) row numbers, and their bilinear weights, (B, P, 4), summing to 1."""

    index: Tensor
    weight: Tensor


def corners(points: Tensor, layout: Layout) -> Corners:
    """The tokens that `points` (B, P, 2), as (x, y) in [-1, 1], are interpolated from."""
    size = (layout.shapes - 1).flip(1).unsqueeze(1)
    place = (points + 1) / 2 * size
    low = torch.minimum(place.floor().long(), size)
    high = torch.minimum(low + 1, size)
    share = place - low
    rows = torch.stack([low[..., 1], low[..., 1], high[..., 1], high[..., 1]], dim=-1)
    columns = torch.stack([low[..., 0], high[..., 0], low[..., 0], high[..., 0]], dim=-1)
    x, y = share[..., :1], share[..., 1:]
    weight = torch.cat([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], dim=-1)
    index = layout.starts.view(-1, 1, 1) + rows * layout.shapes[:, 1].view(-1, 1, 1) + columns
    return Corners(index, weight)


def sample(tokens: Tensor, at: Corners) -> Tensor:
    """Read the table `tokens` (T, C) at the points: (B, C, S, S) when their number P is S * S."""
    batch, points, _ = at.index.shape
    weight = at.weight.to(tokens)
    read = F.embedding_bag(
        at.index.view(-1, 4).to(tokens.device), tokens, mode="sum", per_sample_weights=weight.view(-1, 4)
    )
    side = round(points**0.5)
    return read.view(batch, side, side, -1).permute(0, 3, 1, 2)


def batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Without end: random orders of all pictures, cut into batches; what is left over of an order is dropped."""
    while True:
        order = torch.randperm(count, generator=generator)
        yield from order[: count - count % size].split(size)


def negatives(batch: int, generator: torch.Generator) -> Tensor:
    """(B,) another picture of the batch for each picture: a random cycle through all of them.

    Never the picture itself and never one picture twice; the official `super_perm` keeps only the first promise.
    A batch of one has no negatives: `ValueError`.
    """
    if batch < 2:
        raise ValueError("A batch of one picture has no other pictures to be told apart from.")
    order = torch.randperm(batch, generator=generator)
    chosen = torch.empty(batch, dtype=torch.long)
    chosen[order] = order.roll(1)
    return chosen
