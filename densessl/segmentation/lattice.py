"""Gaussian filtering of scattered points in many dimensions: the permutohedral lattice (Adams, Baek, Davis 2010).

The points' features are laid into the hyperplane of R^(d + 1) whose coordinates sum to 0. Simplices tile it; a point's
value is splatted onto the d + 1 corners of its simplex by its barycentric weights, the corners are blurred by
(1/2, 1, 1/2) along each of the d + 1 directions of the lattice, and each point gathers from its corners again. The
corners that exist are those that some point touches, so the cost grows with the points and not with the volume.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor


class Lattice:
    """The lattice of some points; `filter` may be called any number of times.

    features: (N, d), in units of the Gaussian's standard deviation. groups: (N,) int64 from 0, or None for one group;
        points of different groups (images of a batch) do not see each other.
    Raises `ValueError` when the features lie so far apart, or have so many dimensions, that 63 bits cannot number the
    corners.
    """

    def __init__(self, features: Tensor, groups: Tensor | None = None) -> None:
        count, d = features.shape
        elevated = _elevate(features.double())
        corner, rank = _nearest_origin(elevated)
        weights = _barycentric(elevated - corner, rank)  # (N, d + 1)
        k = torch.arange(d + 1, device=features.device)
        # Of corner k, the coordinate of rank r is k, or k - (d + 1) for the last k ranks.
        offset = torch.where(rank.unsqueeze(1) + k[:, None] > d, k[:, None] - (d + 1), k[:, None])
        keys = corner.unsqueeze(1).long() + offset  # (N, d + 1, d + 1), in which the last coordinate follows
        numbers, strides = _number(keys[..., :d].flatten(0, 1), groups)
        known, place = numbers.unique(return_inverse=True)
        self.size, self.scale = len(known), 1 / (1 + 2.0**-d)
        self._place = place.view(count, d + 1)
        self._weights = weights.to(features.dtype)
        self._splat, self._slice = _matrices(self._place, self._weights, self.size)
        self._neighbours = [_neighbours(known, strides, axis) for axis in range(d + 1)]

    def filter(self, values: Tensor) -> Tensor:
        """(N, C) -> (N, C): sum over j of exp(-|f_i - f_j|^2 / 2) values_j, as far as a lattice tells it, unscaled."""
        held = torch.zeros(self.size + 1, values.shape[1], dtype=values.dtype, device=values.device)
        held[:-1] = self._splat @ values
        for before, after in self._neighbours:
            # A corner that no point touches counts as 0, which is what the last row holds.
            blurred = held[before] + held[after]
            held[:-1] += blurred.mul_(0.5)
        return (self._slice @ held[:-1]).mul_(self.scale)


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
    order = (elevated - corner).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(side, device=order.device).expand_as(order))
    rank = rank + excess[:, None]
    corner = corner + side * ((rank < 0).to(corner) - (rank >= side).to(corner))
    return corner, rank.remainder(side)


def _barycentric(difference: Tensor, rank: Tensor) -> Tensor:
    """Weights (N, d + 1) of the corners 0 to d, from the differences to corner 0 and their ranks."""
    side = difference.shape[1]
    by_rank = torch.empty_like(difference).scatter_(1, rank, difference) / side
    weights = torch.empty_like(by_rank)
    # Corner k lies beyond corner 0 in the coordinates of the first ranks.
    weights[:, 1:] = (by_rank[:, :-1] - by_rank[:, 1:]).flip(1)
    weights[:, 0] = 1 - weights[:, 1:].sum(1)
    return weights


def _number(keys: Tensor, groups: Tensor | None) -> tuple[Tensor, list[int]]:
    """A number for each key (M, d), such that moving along a coordinate adds its stride; and the strides.

    A margin of one blur's step on either side of each coordinate keeps neighbours from being taken for each other.
    """
    d = keys.shape[1]
    low = keys.amin(0) - (d + 1)
    ranges = (keys.amax(0) + (d + 1) - low + 1).tolist()
    strides = [1]
    for length in ranges:
        strides.append(strides[-1] * length)
    count = 1 if groups is None else int(groups.max()) + 1
    if strides[-1] * count >= 2**63:
        raise ValueError(f"{d} features over {ranges} lattice steps are more than can be numbered.")
    numbers = ((keys - low) * torch.tensor(strides[:-1], device=keys.device)).sum(1)
    if groups is not None:
        numbers += groups.repeat_interleave(d + 1) * strides[-1]
    return numbers, strides[:-1]


def _neighbours(known: Tensor, strides: list[int], axis: int) -> tuple[Tensor, Tensor]:
    """For each corner the places of its two neighbours along a direction; len(known) where there is none."""
    d = len(strides)
    step = sum(strides) - (strides[axis] * (d + 1) if axis < d else 0)
    found = []
    for wanted in (known - step, known + step):
        place = torch.searchsorted(known, wanted).clamp_(max=len(known) - 1)
        found.append(torch.where(known[place] == wanted, place, len(known)))
    return found[0], found[1]


def _matrices(place: Tensor, weights: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Sparse (size, N), which splats, and its transpose (N, size), which slices."""
    count, corners = place.shape
    starts = torch.arange(0, count * corners + 1, corners, device=place.device)
    order = place.flatten().argsort(stable=True)
    ends = torch.zeros(size + 1, dtype=torch.long, device=place.device)
    ends[1:] = torch.bincount(place.flatten(), minlength=size).cumsum(0)
    weights = weights.flatten()
    return (
        _sparse(ends, order // corners, weights[order], (size, count)),
        _sparse(starts, place.flatten(), weights, (count, size)),
    )


def _sparse(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(rows, columns, values, shape, check_invariants=False)
