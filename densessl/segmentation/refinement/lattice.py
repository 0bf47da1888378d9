"""Gaussian filtering of scattered points in many dimensions: the permutohedral lattice (Adams, Baek, Davis 2010).

The points' features are laid into the hyperplane of R^(d + 1) whose coordinates sum to 0. Simplices tile it; a point's
value is splatted onto the d + 1 corners of its simplex by its barycentric weights, the corners are blurred by
(1/2, 1, 1/2) along each of the d + 1 directions of the lattice, and each point gathers from its corners again. The
corners that exist are those that some point touches, so the cost grows with the points and not with the volume.
"""

from __future__ import annotations

import itertools
import math
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor


class Lattice:
    """The lattice of some points; `filter` may be called any number of times, by one thread at a time.

    features: (N, d), in units of the Gaussian's standard deviation. groups: (N,) int64 from 0, or None for one group;
        points of different groups (images of a batch) do not see each other.
    Raises `ValueError` when the features lie so far apart, or have so many dimensions, that 63 bits cannot number the
    corners.
    """

    def __init__(self, features: Tensor, groups: Tensor | None = None) -> None:
        d = features.shape[1]
        elevated = _elevate(features.double())
        corner, rank = _nearest_origin(elevated)
        weights = _barycentric(elevated - corner, rank).to(features.dtype)  # (N, d + 1)
        numbers, steps = _number(corner.long(), rank, groups)
        known, self._splat, self._slice = _matrices(numbers, weights)
        self.size = len(known)
        self._slice *= 1 / (1 + 2.0**-d)
        self._blurs = [_blur(known, step, weights.dtype) for step in steps]
        self._kept: Tensor | None = None

    def filter(self, values: Tensor) -> Tensor:
        """(N, C) -> (N, C): sum over j of exp(-|f_i - f_j|^2 / 2) values_j, as far as a lattice tells it, unscaled."""
        held, spare = self._scratch(values)
        torch.mm(self._splat, values, out=held)
        for blur in self._blurs:
            torch.mm(blur, held, out=spare)
            held, spare = spare, held
        return torch.mm(self._slice, held)

    def _scratch(self, values: Tensor) -> Tensor:
        """(2, size, C), kept from one call to the next: memory that is new takes as long as the products."""
        shape = (2, self.size, values.shape[1])
        if self._kept is None or self._kept.shape != shape or self._kept.dtype != values.dtype:
            with torch.inference_mode(False):  # it may be written to in any mode
                self._kept = torch.empty(shape, dtype=values.dtype, device=values.device)
        return self._kept


def _elevate(features: Tensor) -> Tensor:
    """(N, d) -> (N, d + 1) in the hyperplane, scaled for the blur to have the standard deviation 1."""
    d = features.shape[1]
    index = torch.arange(1, d + 1, device=features.device, dtype=features.dtype)
    scaled = features * (math.sqrt(2 / 3) * (d + 1)) / (index * (index + 1)).sqrt()
    # Column i of the basis is 1 for the coordinates before i + 1, minus i + 1 there, and 0 after it.
    after = scaled.flip(1).cumsum(1).flip(1)  # sums over the columns from i on
    elevated = torch.zeros(len(features), d + 1, dtype=features.dtype, device=features.device)
    elevated[:, :d] = after
    elevated[:, 1:] -= index * scaled
    return elevated


def _nearest_origin(elevated: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest corner whose coordinates are multiples of d + 1, and the rank of each coordinate's remainder."""
    side = elevated.shape[1]
    corner = (elevated / side).round() * side
    excess = (corner.sum(1) / side).round().long()  # by how many steps the coordinates miss the sum of 0
    rank = _ranks(elevated - corner) + excess[:, None]
    corner = corner + side * ((rank < 0).to(corner) - (rank >= side).to(corner))
    return corner, rank.remainder(side)


def _ranks(values: Tensor) -> Tensor:
    """(N, s) int64: how many others of its row are larger than each value, or equal and before it.

    By comparing all pairs, which are few: sorting rows of so few takes several times as long.
    """
    columns = values.T.contiguous()
    ranks = torch.zeros_like(columns, dtype=torch.long)
    for i, j in itertools.combinations(range(len(columns)), 2):
        larger = columns[i] < columns[j]
        ranks[i] += larger
        ranks[j] += ~larger
    return ranks.T.contiguous()


def _barycentric(difference: Tensor, rank: Tensor) -> Tensor:
    """Weights (N, d + 1) of the corners 0 to d, from the differences to corner 0 and their ranks."""
    side = difference.shape[1]
    by_rank = torch.empty_like(difference).scatter_(1, rank, difference) / side
    weights = torch.empty_like(by_rank)
    # Corner k lies beyond corner 0 in the coordinates of the first ranks.
    weights[:, 1:] = (by_rank[:, :-1] - by_rank[:, 1:]).flip(1)
    weights[:, 0] = 1 - weights[:, 1:].sum(1)
    return weights


def _number(corner: Tensor, rank: Tensor, groups: Tensor | None) -> tuple[Tensor, list[int]]:
    """Numbers (N, d + 1) of the corners 0 to d of each simplex, and by how much a step in each direction changes them.

    corner, rank: (N, d + 1) int64, as `_nearest_origin` has them; the last coordinate follows from the others. A number
    is the sum of coordinates times strides. A margin of one blur's step on either side of each coordinate keeps
    neighbours from being taken for each other.
    """
    d = corner.shape[1] - 1
    low = corner.amin(0) - (2 * d + 1)  # of any corner, whose coordinates differ by up to d, and of the margin
    lengths = (corner.amax(0) + (2 * d + 1) - low + 1).tolist()[:d]
    strides = [1]
    for length in lengths:
        strides.append(strides[-1] * length)
    count = 1 if groups is None else int(groups.max()) + 1
    if strides[-1] * count >= 2**63:
        raise ValueError(f"{d} features over {lengths} lattice steps are more than can be numbered.")
    stride = torch.tensor([*strides[:d], 0], device=corner.device)
    first = ((corner - low) * stride).sum(1)
    if groups is not None:
        first = first + groups * strides[-1]
    # Of corner k, the coordinate of rank r is k more, or k - (d + 1) more for the last k ranks.
    by_rank = torch.empty_like(rank).scatter_(1, rank, stride.expand_as(rank))
    last = F.pad(by_rank.flip(1).cumsum(1), (1, 0))[:, : d + 1]
    numbers = first[:, None] + torch.arange(d + 1, device=corner.device) * stride.sum() - (d + 1) * last
    return numbers, [sum(strides[:d]) - (d + 1) * each for each in stride.tolist()]


def _blur(known: Tensor, step: int, dtype: torch.dtype) -> Tensor:
    """Sparse (M, M) that blurs by (1/2, 1, 1/2) along a direction; a corner that no point touches counts as 0.

    known: (M,) the numbers of the corners, rising.
    """
    wanted = known + abs(step)
    place = torch.searchsorted(known, wanted).clamp_(max=len(known) - 1)
    lower = (known[place] == wanted).nonzero()[:, 0]
    upper = place[lower]
    before, after = torch.zeros_like(known), torch.zeros_like(known)
    before[upper], after[lower] = 1, 1
    rows = F.pad((1 + before + after).cumsum(0), (1, 0))
    itself = rows[:-1] + before  # where in its row's numbers that of the corner stands
    columns = known.new_empty(len(known) + 2 * len(lower))
    columns[itself] = torch.arange(len(known), device=known.device)
    columns[itself[upper] - 1], columns[itself[lower] + 1] = lower, upper
    weights = torch.full_like(columns, 0.5, dtype=dtype)
    weights[itself] = 1
    return _sparse(rows, columns, weights, (len(known), len(known)))


def _matrices(numbers: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The numbers (M,) of the corners, rising; sparse (M, N), which splats, and its transpose (N, M), which slices.

    numbers, weights: (N, d + 1), of the corners of each point's simplex.
    """
    count, corners = numbers.shape
    weights, device = weights.flatten(), numbers.device
    ordered, order = numbers.flatten().sort(stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=first[1:])
    begins = first.nonzero()[:, 0]
    place = torch.empty_like(order).scatter_(0, order, first.cumsum(0) - 1)
    rows, columns = F.pad(begins, (0, 1), value=len(order)), order.div(corners, rounding_mode="floor")
    starts = torch.arange(0, count * corners + 1, corners, device=device)
    return (
        ordered[begins],
        _sparse(rows, columns, weights[order], (len(begins), count)),
        _sparse(starts, place, weights, (count, len(begins))),
    )


def _sparse(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(rows, columns, values, shape, check_invariants=False)
