"""Objectives that tell positives from negatives: those of MoCo, MoCo v3, SimCLR, SimCLRv2, SupCon and CPC."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from densessl.losses.common import (
    check,
    check_groups,
    check_pair,
    check_queue,
    check_temperature,
    directions,
    first_derivative_only,
    no_autocast,
    tile_elements,
)


def info_nce(
    query: Tensor, key: Tensor, queue: Tensor, temperature: float, groups: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """MoCo's loss (arXiv 1911.05722, equation 1): which of the key and the queue belongs to the query; mean over N.

    query, key: (N, D), normalised here. No gradient flows into the key: in MoCo it comes from the momentum encoder.
    queue: (K, D), taken as it is, for it holds keys that were normalised when they came in; it gets no gradient and
        may be written to before the backward pass. Chance level: ln(K + 1).
    groups: (N,) of the queries and (K,) of the queue, where a key of the query's own group is no negative and is left
        out (CMC, arXiv 1906.05849; SimCLRv2, arXiv 2006.10029).
    """
    check_pair("info_nce", "query", query, "key", key)
    check_queue("info_nce", queue, query)
    check_temperature("temperature", temperature)
    check_groups("info_nce", groups, query, queue)
    with no_autocast(query):
        query, key = directions(query), directions(key.detach())
        positive = (query * key).sum(1) / temperature
        negative = _LogSumExpOfQueue.apply(query / temperature, queue.detach(), groups)
        return (torch.logaddexp(positive, negative) - positive).mean()


def in_batch_nce(query: Tensor, keys: Tensor, offset: int, temperature: float) -> Tensor:
    """MoCo v3's loss (arXiv 2104.02057, algorithm 1) of one direction: which key of the batch belongs to the query.

    query: (N, D). keys: (M, D), of all processes; the key of query i is keys[offset + i], so that offset is N times the
        rank. Both are normalised here, and no gradient flows into the keys. Mean over N, times 2 temperature, as in the
        paper, so that the gradient keeps its size whatever the temperature. Chance level: 2 temperature ln(M).
    """
    fits = query.ndim == 2 and keys.ndim == 2 and len(query) > 0 and query.shape[1] == keys.shape[1]
    shapes = f"query is {tuple(query.shape)} and keys {tuple(keys.shape)}"
    check(fits, f"in_batch_nce needs queries (N, D) and keys (M, D); {shapes}.")
    inside = 0 <= offset <= len(keys) - len(query)
    check(inside, f"in_batch_nce needs a key for each query from offset {offset} on; {shapes}.")
    check_temperature("temperature", temperature)
    with no_autocast(query):
        query = directions(query)
        keys = directions(keys.detach()).to(query.dtype)
        positive = (query * keys[offset : offset + len(query)]).sum(1) / temperature
        # The positive is one of the keys, so the sum over all of them holds it already.
        return 2 * temperature * (_LogSumExpOfQueue.apply(query / temperature, keys, None) - positive).mean()


def nt_xent(z_a: Tensor, z_b: Tensor, temperature: float) -> Tensor:
    """SimCLR's loss (arXiv 2002.05709, equation 1): which of the 2N - 1 other views is of the same image.

    z_a, z_b: (N, D), row i of both from the same image. Mean over the 2N anchors; the official code sums the means of
    the two views, which is twice that. Chance level: ln(2N - 1).
    """
    check_pair("nt_xent", "z_a", z_a, "z_b", z_b)
    check_temperature("temperature", temperature)
    with no_autocast(z_a):
        a, b = directions(z_a), directions(z_b)
        z = torch.cat([a, b]) / math.sqrt(temperature)
        positive = (a * b).sum(1) / temperature
        return _LogSumExpOfOthers.apply(z, 1 / temperature).mean() - positive.mean()


def sup_con(z_a: Tensor, z_b: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """SupCon's loss (arXiv 2004.11362, equation 2, L_out): which of the 2N - 1 other views have the anchor's label.

    z_a, z_b: (N, D), row i of both from the same image; labels: (N,) whole numbers. Mean over the 2N anchors of the
    mean over an anchor's positives, of which its other view is always one. With a label of its own for each image it
    is `nt_xent`. Chance level: ln(2N - 1).
    """
    check_pair("sup_con", "z_a", z_a, "z_b", z_b)
    check_temperature("temperature", temperature)
    fits = labels.shape == z_a.shape[:1] and not labels.is_floating_point() and not labels.is_complex()
    shown = f"they are {tuple(labels.shape)} {str(labels.dtype).removeprefix('torch.')}"
    check(fits, f"sup_con needs a whole number as label of each of the {len(z_a)} rows; {shown}.")
    with no_autocast(z_a):
        a, b = directions(z_a), directions(z_b)
        classes, place = labels.unique(return_inverse=True)
        # Cosines are linear in the positives, so their mean needs the sum of each class alone.
        sums = a.new_zeros(len(classes), a.shape[1]).index_add(0, place, a + b)
        positives = 2 * place.bincount()[place] - 1  # (N,), of either view of an image
        z = torch.cat([a, b])
        towards = (z * (sums[place].repeat(2, 1) - z)).sum(1) / positives.repeat(2) / temperature
        return _LogSumExpOfOthers.apply(z / math.sqrt(temperature), 1 / temperature).mean() - towards.mean()


def cpc(prediction: Tensor, target: Tensor, positive: Tensor) -> Tensor:
    """CPC's loss (arXiv 1905.09272, equation 2): which of the N targets did the prediction speak of; mean over M.

    -log exp(prediction . target_p) / sum over all targets t of exp(prediction . t), vectors of any length, both with
    their gradient. prediction: (M, D); target: (N, D); positive: (M,) int64, the target's row p of each prediction.
    Chance level: ln(N).
    """
    shapes = f"prediction is {tuple(prediction.shape)}, target {tuple(target.shape)}, positive {tuple(positive.shape)}"
    fits = prediction.ndim == target.ndim == 2 and prediction.shape[1] == target.shape[1]
    fits = fits and len(prediction) > 0 and len(target) > 0 and positive.shape == prediction.shape[:1]
    check(fits, f"cpc needs predictions (M, D), targets (N, D) and positives (M,); {shapes}.")
    with no_autocast(prediction):
        dtype = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
        prediction, target = prediction.to(dtype), target.to(dtype)
        return _CrossEntropyOfTargets.apply(prediction, target, positive)


class _LogSumExpOfQueue(torch.autograd.Function):
    """log sum over k of exp(query_i . queue_k): (N, D), (K, D) -> (N,), in one sweep over the queue.

    Its gradient is the queue's mean weighted by the softmax, (N, D). The sweep gathers that as well, rescaling what it
    has whenever it meets a larger logit, so that nothing is left to recompute.
    """

    @staticmethod
    def forward(ctx, query: Tensor, queue: Tensor, groups: tuple[Tensor, Tensor] | None) -> Tensor:
        # Where every key is left out the sum is this small; it could not be -inf, which has no difference to itself.
        largest = query.new_full((len(query), 1), -math.inf if groups is None else torch.finfo(query.dtype).min)
        total, gathered = torch.zeros_like(largest), torch.zeros_like(query)
        # Half a tile, since most of what this loss adds to the memory is the tile.
        columns = max(64, tile_elements(query) // 2 // len(query))
        memory = query.new_empty(len(query) * min(columns, len(queue)))
        for start in range(0, len(queue), columns):
            part = queue[start : start + columns].to(query.dtype)
            tile = torch.mm(query, part.T, out=memory[: len(query) * len(part)].view(len(query), len(part)))
            if groups is not None:
                tile.masked_fill_(groups[0][:, None] == groups[1][start : start + columns], -math.inf)
            before, largest = largest, torch.maximum(largest, tile.amax(1, keepdim=True))
            scale = (before - largest).exp_()
            tile.sub_(largest).exp_()
            total.mul_(scale).add_(tile.sum(1, keepdim=True))
            if ctx.needs_input_grad[0]:
                gathered.mul_(scale).addmm_(tile, part)
        ctx.save_for_backward(gathered.div_(total if groups is None else total.clamp_min(1e-30)))
        return (largest + total.log()).squeeze(1)

    @staticmethod
    @first_derivative_only
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (mean,) = ctx.saved_tensors
        return gradient[:, None] * mean, None, None


class _LogSumExpOfOthers(torch.autograd.Function):
    """log sum over j != i of exp(z_i . z_j): (M, D) -> (M,), never keeping the M x M matrix.

    The matrix is symmetric: a tile above the diagonal stands for its mirror image too, and one exp per element serves
    row i and row j. That needs sums without a shift of their own, safe while no |z_i . z_j| exceeds two thirds
    of the largest exponent (59 in float32). `bound` says what they may reach; beyond it, every row has its own shift.
    """

    @staticmethod
    def forward(ctx, z: Tensor, bound: float) -> Tensor:
        ctx.unshifted = bound <= math.log(torch.finfo(z.dtype).max) * 2 / 3
        log_sums = _log_sums_unshifted(z) if ctx.unshifted else _log_sums_shifted(z)
        ctx.save_for_backward(z, log_sums)
        return log_sums

    @staticmethod
    @first_derivative_only
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        """sum over j of (g_i p_ij + g_j p_ji) z_j, where p_ij = exp(z_i . z_j) / (row sum of i)."""
        z, log_sums = ctx.saved_tensors
        result, shares = torch.zeros_like(z), gradient * (-log_sums).exp()
        # The thread that runs this may be under autocast again.
        with no_autocast(z):
            for rows, columns, tile, spare in _upper_tiles(z):
                if ctx.unshifted:
                    tile.exp_().mul_(torch.add(shares[rows, None], shares[columns], out=spare))
                else:
                    mirrored = torch.sub(tile, log_sums[columns], out=spare).exp_().mul_(gradient[columns])
                    tile.sub_(log_sums[rows, None]).exp_().mul_(gradient[rows, None]).add_(mirrored)
                result[rows].addmm_(tile, z[columns])
                if rows != columns:
                    result[columns].addmm_(tile.T, z[rows])
        return result, None


def _log_sums_unshifted(z: Tensor) -> Tensor:
    sums = z.new_zeros(len(z))
    for rows, columns, tile, _ in _upper_tiles(z):
        tile.exp_()
        sums[rows] += tile.sum(1)
        if rows != columns:
            sums[columns] += tile.sum(0)
    return sums.log_()


def _log_sums_shifted(z: Tensor) -> Tensor:
    log_sums = z.new_full((len(z),), -math.inf)
    for rows, columns, tile, spare in _upper_tiles(z):
        log_sums[rows] = torch.logaddexp(log_sums[rows], _log_sum_exp(tile, 1, spare))
        if rows != columns:
            log_sums[columns] = torch.logaddexp(log_sums[columns], _log_sum_exp(tile, 0, spare))
    return log_sums


def _log_sum_exp(tile: Tensor, dim: int, spare: Tensor) -> Tensor:
    """`tile.logsumexp(dim)` in the memory of `spare`."""
    # A row of -inf alone, which is one of a single element on the diagonal, has no shift.
    largest = tile.amax(dim, keepdim=True).clamp_min_(torch.finfo(tile.dtype).min)
    return torch.sub(tile, largest, out=spare).exp_().sum(dim).log_() + largest.squeeze(dim)


def _upper_tiles(z: Tensor) -> Iterator[tuple[slice, slice, Tensor, Tensor]]:
    """Rows, columns and z[rows] @ z[columns].T of every square on and above the diagonal, which itself is -inf.

    The squares are written one after the other into the same memory; the last of the four is spare memory of the same
    shape, since squares allocated and freed in between would leave the process holding several times as much.
    """
    # Two squares to a side, unless they would be small, or nothing would be gained by the symmetry.
    size = min(len(z), max(1024, (len(z) + 1) // 2), math.isqrt(tile_elements(z)))
    memory = z.new_empty(2, size * size)
    starts = range(0, len(z), size)
    for i in starts:
        for j in starts[i // size :]:
            a, b = z[i : i + size], z[j : j + size]
            tile, spare = memory[:, : len(a) * len(b)].view(2, len(a), len(b))
            torch.mm(a, b.T, out=tile)
            if i == j:
                tile.fill_diagonal_(-math.inf)
            yield slice(i, i + size), slice(j, j + size), tile, spare


class _CrossEntropyOfTargets(torch.autograd.Function):
    """The mean cross-entropy of softmax(prediction @ target.T), (M, N), and of the positives: some rows at a time.

    A tile holds whole rows, so that its softmax, and with it both gradients, are known at once, and nothing is left for
    the backward pass but the gradients, (M, D) and (N, D).
    """

    @staticmethod
    def forward(ctx, prediction: Tensor, target: Tensor, positive: Tensor) -> Tensor:
        needed = any(ctx.needs_input_grad)
        of_prediction, of_target = torch.empty_like(prediction), torch.zeros_like(target)
        rows = min(len(prediction), max(1, tile_elements(prediction) // len(target)))
        total, memory = prediction.new_zeros(()), prediction.new_empty(rows * len(target))
        parts = zip(prediction.split(rows), of_prediction.split(rows), positive.split(rows), strict=True)
        for part, gradient, right in parts:
            tile = torch.mm(part, target.T, out=memory[: len(part) * len(target)].view(len(part), len(target)))
            tile.sub_(tile.amax(1, keepdim=True))
            picked = tile.gather(1, right[:, None])
            sums = tile.exp_().sum(1, keepdim=True)
            total += (sums.log() - picked).sum()
            if needed:
                tile.div_(sums).scatter_add_(1, right[:, None], tile.new_full((len(part), 1), -1.0))
                torch.mm(tile, target, out=gradient)
                of_target.addmm_(tile.T, part)
        if needed:
            ctx.save_for_backward(of_prediction.div_(len(prediction)), of_target.div_(len(prediction)))
        return total / len(prediction)

    @staticmethod
    @first_derivative_only
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        of_prediction, of_target = ctx.saved_tensors
        return gradient * of_prediction, gradient * of_target, None
