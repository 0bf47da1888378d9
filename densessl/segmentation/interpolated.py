"""The lengths that codes would have if they were interpolated to every pixel, without doing so.

Of hundreds of numbers each, codes at all pixels would be most of what a mask takes. Their products with centres are
linear in them, so that it is products that are interpolated. The square of an interpolated code's length is a sum over
pairs of the four codes around the pixel, whose products are taken once per place of the map.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def interpolated_lengths(codes: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W) lengths of codes (dim, h, w) that are interpolated bilinearly to `size`, with align_corners=False."""
    (y, down), (x, right) = (_places(*sides, codes) for sides in zip(codes.shape[1:], size, strict=True))
    y, down = y[:, None], down[:, None]
    # Behind the last row and column each is repeated, where the share of the next is 0 anyway.
    codes = F.pad(codes[None], (0, 1, 0, 1), mode="replicate")[0]
    left, upper = codes[:, :, :-1], codes[:, :-1]
    own, across = codes.square().sum(0), (left * codes[:, :, 1:]).sum(0)
    below = (upper * codes[:, 1:]).sum(0)
    diagonals = (left[:, :-1] * codes[:, 1:, 1:]).sum(0) + (upper[:, :, 1:] * left[:, 1:]).sum(0)

    def square(row: Tensor) -> Tensor:
        """Of what is interpolated between two places of these rows."""
        ends = (1 - right).square() * own[row, x] + right.square() * own[row, x + 1]
        return ends + 2 * right * (1 - right) * across[row, x]

    product = (1 - right).square() * below[y, x] + right.square() * below[y, x + 1]
    product += right * (1 - right) * diagonals[y, x]
    squares = (1 - down).square() * square(y) + down.square() * square(y + 1) + 2 * down * (1 - down) * product
    return squares.clamp_(min=0).sqrt_()


def _places(old: int, new: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """For each of `new` places the one of `old` before it, and the share of the one after it."""
    place = ((torch.arange(new, device=like.device, dtype=torch.float64) + 0.5) * old / new - 0.5).clamp(0, old - 1)
    return place.long(), place.frac().to(like)
