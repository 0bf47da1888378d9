"""Objectives that tell data from noise with a memory bank: noise-contrastive estimation, as CMC and PIRL have it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from densessl.losses.common import (
    check,
    check_groups,
    check_pair,
    check_temperature,
    directions,
    first_derivative_only,
    no_autocast,
    tile_elements,
)

Groups = tuple[Tensor, Tensor]
EXACT = 40.0  # log(1 + exp(x)) is x beyond it, to the last bit of float64; torch's own 20 would cost it 7 digits


def nce(
    query: Tensor,
    positive: Tensor,
    negatives: Tensor,
    temperature: float,
    data_size: int,
    log_partition: Tensor | float = 0.0,
    groups: Groups | None = None,
) -> Tensor:
    """Noise-contrastive estimation of a softmax over the data (Wu et al., arXiv 1805.01978; CMC, arXiv 1906.05849).

        -log h(positive) - sum over negatives of log(1 - h(negative)),   h(v) = p / (p + K / N),   p = exp(q.v / T) / Z

    query, positive: (N, D), normalised here; no gradient flows into the positive, which comes from a memory bank.
    negatives: (K, D) of the bank, taken as they are. data_size: N, of which the noise is uniform. log_partition: ln Z.
    groups: (N,) of the queries and (K,) of the negatives; a negative of the query's own group is left out, and K of
        that query is less by it. Mean over the queries.
    Chance level, where p is 1 / N for all: ln(1 + K) + K ln(1 + 1 / K).
    """
    check_pair("nce", "query", query, "positive", positive)
    fits = negatives.ndim == 2 and len(negatives) > 0 and negatives.shape[1] == query.shape[1]
    check(fits, f"nce needs negatives (K, {query.shape[1]}) as wide as the queries; they are {tuple(negatives.shape)}.")
    check_temperature("temperature", temperature)
    check(data_size >= 1, f"The data_size must be 1 or more; it is {data_size}.")
    check_groups("nce", groups, query, negatives)
    with no_autocast(query):
        query, positive = directions(query), directions(positive.detach())
        left = query.new_full((len(query),), float(len(negatives)))
        if groups is not None:
            left = left - _own(*groups)
        # h is the logistic function of q.v / T - shift.
        shift = (log_partition + left.log() - math.log(data_size)).to(query.dtype)
        of_positive = F.softplus(shift - (query * positive).sum(1) / temperature, threshold=EXACT)
        return (of_positive + _SumSoftplus.apply(query / temperature, negatives.detach(), shift, groups)).mean()


def pirl_nce(
    anchor: Tensor,
    positive: Tensor,
    negatives: Tensor,
    temperature: float,
    data_size: int,
    partition: float | Tensor = 1.0,
) -> Tensor:
    """PIRL's loss (arXiv 1912.01991, equations 4 and 5): is this pair of one image, asked of one pair and of K others.

    -log h(anchor, positive) - sum over negatives n of log(1 - h(anchor, n)), mean over N, where s is the cosine and
    h = exp(s / temperature) / (exp(s / temperature) + partition * K / data_size): `nce` with Z = partition.

    Arguments as for `nce`. partition: the mean that exp(s / temperature) has over the data, or what stands for it; 1 is
    the paper's formula to the letter, the official code estimates it. A tensor is not looked at, so that nothing waits
    for a GPU. Chance level, with r = partition * K / data_size and all cosines 0: ln(1 + r) + K ln(1 + 1 / r).
    """
    known = not isinstance(partition, Tensor)
    check(not known or 0 < partition < math.inf, f"The partition must be above 0; it is {partition}.")
    log_z = math.log(partition) if known else partition.to(torch.promote_types(anchor.dtype, torch.float32)).log()
    return nce(anchor, positive, negatives, temperature, data_size, log_z)


@torch.no_grad()
def log_partition(
    query: Tensor,
    positive: Tensor,
    negatives: Tensor,
    temperature: float,
    data_size: int,
    groups: Groups | None = None,
) -> Tensor:
    """ln of Z as estimated from a batch: N times the mean of exp(q.v / T) over its positives and negatives.

    Arguments as for `nce`.
    """
    with no_autocast(query):
        query, positive = directions(query), directions(positive)
        positives = (query * positive).sum(1) / temperature
        sums, count = positives.logsumexp(0), query.new_tensor(float(len(query)))
        for columns in _columns(query, negatives):
            tile = query @ negatives[columns].to(query.dtype).T / temperature
            if groups is not None:
                tile.masked_fill_(groups[0][:, None] == groups[1][columns], -math.inf)
            sums = torch.logaddexp(sums, tile.flatten().logsumexp(0))
            count = count + (tile > -math.inf).sum()
        return math.log(data_size) + sums - count.log()


class _SumSoftplus(torch.autograd.Function):
    """sum over k of ln(1 + exp(query_i . negative_k - shift_i)): (N, D), (K, D), (N,) -> (N,), in one sweep.

    The gradient, a sum of the negatives weighted by the logistic function, is gathered on the way.
    """

    @staticmethod
    def forward(ctx, query: Tensor, negatives: Tensor, shift: Tensor, groups: Groups | None) -> Tensor:
        total, gathered = torch.zeros_like(shift), torch.zeros_like(query)
        for columns in _columns(query, negatives):
            part = negatives[columns].to(query.dtype)
            tile = torch.addmm(-shift[:, None], query, part.T)
            if groups is not None:
                tile.masked_fill_(groups[0][:, None] == groups[1][columns], -math.inf)
            total += F.softplus(tile, threshold=EXACT).sum(1)
            if ctx.needs_input_grad[0]:
                gathered.addmm_(tile.sigmoid_(), part)
        ctx.save_for_backward(gathered)
        return total

    @staticmethod
    @first_derivative_only
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (gathered,) = ctx.saved_tensors
        return gradient[:, None] * gathered, None, None, None


def _columns(query: Tensor, negatives: Tensor) -> list[slice]:
    """The negatives in pieces of which each makes a tile with all queries."""
    # About three arrays of a tile's size are alive at a time.
    size = max(64, tile_elements(query) // 4 // len(query))
    return [slice(start, start + size) for start in range(0, len(negatives), size)]


def _own(queries: Tensor, negatives: Tensor) -> Tensor:
    """How many of the negatives are of each query's group, (N,)."""
    ordered = negatives.sort().values
    first, last = (torch.searchsorted(ordered, queries, right=right) for right in (False, True))
    return last - first
