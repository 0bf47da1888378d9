"""Objectives as pure functions of tensors, each the formula of its paper.

All of them compute in float32 or wider, whatever they are given and whether or not autocast is on, and return a scalar
of that type; gradients come back in the type of the input. What would be large is swept in tiles and never kept. A
vector too short to have a direction (1e-12, in float16 and bfloat16 1e-6) has cosine 0 with all and gets no gradient.
The gradient is written by hand where that saves memory, so second derivatives are refused with torch's
"trying to differentiate twice a function that was marked with @once_differentiable".

Every function raises `ValueError` for shapes that do not fit each other and for a temperature that is not above 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Elements of a tile. On 2 idle cores of an EPYC 512**2 is the fastest and 2048**2 about a tenth slower. But where other
# processes want the cores too (loader workers, say), every operation waits for a thread that was put aside, and few
# large tiles took a third to a quarter of the time of many small ones. The figure for a GPU is an estimate.
CPU_TILE = 2048**2
GPU_TILE = 4096**2


def info_nce(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """MoCo's loss (arXiv 1911.05722, equation 1): which of the key and the queue belongs to the query; mean over N.

    query, key: (N, D), normalised here. No gradient flows into the key: in MoCo it comes from the momentum encoder.
    queue: (K, D), taken as it is, for it holds keys that were normalised when they came in; it gets no gradient and
        may be written to before the backward pass. Chance level: ln(K + 1).
    """
    _check_pair("info_nce", "query", query, "key", key)
    fits = queue.ndim == 2 and len(queue) > 0 and queue.shape[1] == query.shape[1]
    _check(fits, f"info_nce needs a queue (K, {query.shape[1]}) as wide as the queries; it is {tuple(queue.shape)}.")
    _check_temperature("temperature", temperature)
    with _no_autocast(query):
        query, key = _directions(query), _directions(key.detach())
        positive = (query * key).sum(1) / temperature
        negative = _LogSumExpOfQueue.apply(query / temperature, queue.detach())
        return (torch.logaddexp(positive, negative) - positive).mean()


def nt_xent(z_a: Tensor, z_b: Tensor, temperature: float) -> Tensor:
    """SimCLR's loss (arXiv 2002.05709, equation 1): which of the 2N - 1 other views is of the same image.

    z_a, z_b: (N, D), row i of both from the same image. Mean over the 2N anchors; the official code sums the means of
    the two views, which is twice that. Chance level: ln(2N - 1).
    """
    _check_pair("nt_xent", "z_a", z_a, "z_b", z_b)
    _check_temperature("temperature", temperature)
    with _no_autocast(z_a):
        a, b = _directions(z_a), _directions(z_b)
        z = torch.cat([a, b]) / math.sqrt(temperature)
        positive = (a * b).sum(1) / temperature
        return _LogSumExpOfOthers.apply(z, 1 / temperature).mean() - positive.mean()


def negative_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """SimSiam's loss (arXiv 2011.10566, equation 1): minus the cosine of (N, D) and (N, D), mean over N; in [-1, 1].

    No gradient flows into the target.
    """
    _check_pair("negative_cosine", "prediction", prediction, "target", target)
    with _no_autocast(prediction):
        return -(_directions(prediction) * _directions(target.detach())).sum(1).mean()


def byol(prediction: Tensor, target: Tensor) -> Tensor:
    """BYOL's loss (arXiv 2006.07733, equation 2) of one direction: 2 - 2 cos of (N, D) and (N, D), mean over N.

    No gradient flows into the target. In [0, 4], and 2 for vectors that have nothing to do with each other.
    """
    _check_pair("byol", "prediction", prediction, "target", target)
    return 2 + 2 * negative_cosine(prediction, target)


def dino(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    center: Tensor,
    student_temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """DINO's loss (arXiv 2104.14294, equation 3): the student's other views should say what the teacher says of one.

    student: V tensors (N, K) of logits, one per view; the first U are the views that the teacher saw, in its order.
    teacher: U tensors (N, K) of logits. center: (K,), subtracted from them. Neither gets a gradient, and the centre
        may be moved before the backward pass.

    The cross-entropy of softmax((teacher - center) / teacher_temperature) and softmax(student / student_temperature)
    averaged over the batch and over the U V - U pairs of different views, as in the official code (`main_dino.py`).
    Chance level: ln(K).
    """
    _check_views(student, teacher, center)
    _check_temperature("student_temperature", student_temperature)
    _check_temperature("teacher_temperature", teacher_temperature)
    with _no_autocast(center):
        settings = (len(teacher), student_temperature, teacher_temperature)
        return _CrossViewEntropy.apply(settings, center.detach(), *(view.detach() for view in teacher), *student)


def _first_derivative_only(backward: Callable) -> Callable:
    """`once_differentiable`, which alone lets a gradient pass as a constant when the one that comes in is constant."""
    once = once_differentiable(backward)

    def refusing(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return once(ctx, gradient.detach().requires_grad_(torch.is_grad_enabled()))

    return refusing


class _LogSumExpOfQueue(torch.autograd.Function):
    """log sum over k of exp(query_i . queue_k): (N, D), (K, D) -> (N,), in one sweep over the queue.

    Its gradient is the queue's mean weighted by the softmax, (N, D). The sweep gathers that as well, rescaling what it
    has whenever it meets a larger logit, so that nothing is left to recompute.
    """

    @staticmethod
    def forward(ctx, query: Tensor, queue: Tensor) -> Tensor:
        largest = query.new_full((len(query), 1), -math.inf)
        total, gathered = torch.zeros_like(largest), torch.zeros_like(query)
        columns = max(64, _tile_elements(query) // len(query))
        memory = query.new_empty(len(query) * min(columns, len(queue)))
        for part in queue.split(columns):
            part = part.to(query.dtype)
            tile = torch.mm(query, part.T, out=memory[: len(query) * len(part)].view(len(query), len(part)))
            before, largest = largest, torch.maximum(largest, tile.amax(1, keepdim=True))
            scale = (before - largest).exp_()
            tile.sub_(largest).exp_()
            total.mul_(scale).add_(tile.sum(1, keepdim=True))
            if ctx.needs_input_grad[0]:
                gathered.mul_(scale).addmm_(tile, part)
        ctx.save_for_backward(gathered.div_(total))
        return (largest + total.log()).squeeze(1)

    @staticmethod
    @_first_derivative_only
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (mean,) = ctx.saved_tensors
        return gradient[:, None] * mean, None


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
    @_first_derivative_only
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        """sum over j of (g_i p_ij + g_j p_ji) z_j, where p_ij = exp(z_i . z_j) / (row sum of i)."""
        z, log_sums = ctx.saved_tensors
        result, shares = torch.zeros_like(z), gradient * (-log_sums).exp()
        # The thread that runs this may be under autocast again.
        with _no_autocast(z):
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
    size = min(len(z), max(1024, (len(z) + 1) // 2), math.isqrt(_tile_elements(z)))
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


class _CrossViewEntropy(torch.autograd.Function):
    """DINO's mean cross-entropy in one sweep over the batch, a few rows of all views at a time.

    The mean over the teachers that a student's view is compared with is taken before the logarithm is met, so each
    view costs one log-softmax and one product, and the teachers' probabilities are held for these rows alone.
    """

    @staticmethod
    def forward(ctx, settings: tuple[int, float, float], center: Tensor, *logits: Tensor) -> Tensor:
        """settings: the count of teachers, the student's temperature, the teacher's."""
        teachers = settings[0]
        needed = ctx.needs_input_grad[2 + teachers :]
        # Of the centre a copy, because DINO moves it in place before the backward pass.
        ctx.save_for_backward(center.clone(), *logits)
        ctx.settings, ctx.needed, ctx.types = settings, needed, [view.dtype for view in logits[teachers:]]
        loss, ctx.differences = _cross_view_sweep(settings, center, logits, needed)
        return loss

    @staticmethod
    @_first_derivative_only
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        teachers, temperature, _ = ctx.settings
        # The first call hands out the forward pass's own memory, so that a call after it (retain_graph) sweeps again.
        differences, ctx.differences = ctx.differences, None
        if differences is None:
            center, *logits = ctx.saved_tensors
            differences = _cross_view_sweep(ctx.settings, center, logits, ctx.needed)[1]
        results: list[Tensor | None] = [None] * (2 + teachers)
        for view, difference in enumerate(differences):
            if difference is not None:
                weight = _view_weight(view, teachers, len(differences), len(difference))
                difference = difference.mul_(gradient * (weight / temperature)).to(ctx.types[view])
            results.append(difference)
        return tuple(results)


def _cross_view_sweep(
    settings: tuple[int, float, float], center: Tensor, logits: Sequence[Tensor], needed: Sequence[bool]
) -> tuple[Tensor, list[Tensor | None]]:
    """The loss and, for each student's view whose gradient is needed, its probabilities minus the wanted ones.

    The latter are kept in the type of the view, but in float32 for float16, where most of them would be 0.
    """
    teachers, student_temperature, teacher_temperature = settings
    teacher, student = logits[:teachers], logits[teachers:]
    dtype = reduce(torch.promote_types, (view.dtype for view in (*logits, center)), torch.float32)
    differences = [_empty_difference(view) if need else None for view, need in zip(student, needed, strict=True)]
    count, loss = len(student[0]), torch.zeros((), dtype=dtype, device=center.device)
    # About eight arrays of this size are alive at a time.
    step = max(1, _tile_elements(center) // 8 // len(center))
    for rows in (slice(start, start + step) for start in range(0, count, step)):
        said = [((view[rows].to(dtype) - center) / teacher_temperature).softmax(1) for view in teacher]
        mean = reduce(torch.add, said) / teachers if len(student) > teachers else None
        for view, difference in enumerate(differences):
            wanted = mean if view >= teachers else _mean_of_others(said, view)
            log_p = (student[view][rows].to(dtype) / student_temperature).log_softmax(1)
            weight = _view_weight(view, teachers, len(student), count)
            loss -= weight * torch.dot(wanted.flatten(), log_p.flatten())
            if difference is not None:
                torch.sub(log_p.exp_(), wanted, out=difference[rows])
    return loss, differences


def _view_weight(view: int, teachers: int, students: int, batch: int) -> float:
    """The weight in the loss of one row of a student's view: its pairs over all pairs and the batch."""
    return (teachers - (view < teachers)) / (teachers * (students - 1) * batch)


def _mean_of_others(said: Sequence[Tensor], view: int) -> Tensor:
    """Mean over the teachers that saw another view; zeros, which have weight 0, when there is none."""
    others = [each for teacher, each in enumerate(said) if teacher != view]
    if not others:
        return torch.zeros_like(said[0])
    return others[0] if len(others) == 1 else reduce(torch.add, others) / len(others)


def _empty_difference(view: Tensor) -> Tensor:
    return torch.empty(
        view.shape, dtype=torch.float32 if view.dtype == torch.float16 else view.dtype, device=view.device
    )


def _directions(z: Tensor) -> Tensor:
    """The rows of `z` (N, D) at length 1, in float32 or wider; a row without a direction becomes zeros."""
    # Shorter rows would get gradients that only float32 and wider can hold.
    shortest = 1e-6 if z.dtype in (torch.float16, torch.bfloat16) else 1e-12
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    norm = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    # Asked this way round, NaN stays NaN, and a run that has gone wrong is found out.
    return torch.where(norm <= shortest, 0.0, z / norm.clamp_min(shortest))


def _tile_elements(like: Tensor) -> int:
    return CPU_TILE if like.device.type == "cpu" else GPU_TILE


def _no_autocast(like: Tensor) -> torch.autocast:
    return torch.autocast(like.device.type, enabled=False)


def _check_pair(loss: str, first: str, a: Tensor, second: str, b: Tensor) -> None:
    fine = a.ndim == 2 and a.shape == b.shape and len(a) > 0
    shapes = f"{first} is {tuple(a.shape)} and {second} {tuple(b.shape)}"
    _check(fine, f"{loss} needs two batches of one shape (N, D) with N of 1 or more; {shapes}.")


def _check_views(student: Sequence[Tensor], teacher: Sequence[Tensor], center: Tensor) -> None:
    counts = f"it got {len(student)} and {len(teacher)}"
    fine = len(student) >= max(2, len(teacher)) and len(teacher) > 0
    _check(fine, f"dino needs 2 student views or more, of which the teacher saw 1 or more of the first; {counts}.")
    shapes = {tuple(view.shape) for view in (*student, *teacher)}
    shape = tuple(student[0].shape)
    fine = len(shapes) == 1 and len(shape) == 2 and shape[0] > 0
    _check(fine, f"dino needs logits of one shape (N, K) for all views; it got {sorted(shapes)}.")
    fine = tuple(center.shape) == shape[1:]
    _check(fine, f"dino needs a center {shape[1:]} beside logits {shape}; it is {tuple(center.shape)}.")


def _check_temperature(name: str, value: float) -> None:
    _check(0 < value < math.inf, f"The {name} must be above 0; it is {value}.")


def _check(fine: bool, sentence: str) -> None:
    if not fine:
        raise ValueError(sentence)
