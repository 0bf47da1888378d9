"""Objectives of clustering: SwAV's codes, and what one view says of the code of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

import torch
from torch import Tensor

from densessl.distributed import gather
from densessl.losses.common import check, check_pair, check_temperature, first_derivative_only, no_autocast

# Iterations between two looks at the matrix. Each can stretch the scaling vectors by N K at most, and what exp makes 0
# in float32 is below 1e-38 of the largest: after three it is still nothing beside any sum.
EXACT = 3


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Codes of SwAV (arXiv 2006.09882, equation 3): scores (N, K) -> (N, K), float32 or wider, without gradient.

    Every row sums to 1, and after many iterations every prototype (column) is used as much as any other. They are
    diag(u) exp(scores / epsilon) diag(v), found by Sinkhorn-Knopp, the columns first and the rows last, as in the
    official code. Columns go over the rows of all processes that train together, and each gets the codes of its own;
    every process must call, and may have another N. It is the one loss that speaks to the others itself: to gather
    their scores would take their number times the memory, where K sums an iteration are enough.

    Only u and v are iterated. exp is taken of scores from which the largest of each column and then of each row were
    taken away, so that every sum has a 1 in it and nothing above: no scores and no epsilon overflow or leave it at 0.
    """
    fine = scores.ndim == 2 and scores.numel() > 0
    check(fine, f"sinkhorn needs scores (N, K) with N and K of 1 or more; they are {tuple(scores.shape)}.")
    check_temperature("epsilon", epsilon)
    check(iterations >= 1, f"sinkhorn needs 1 iteration or more; it got {iterations}.")
    with no_autocast(scores):
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        log_u, log_v = torch.zeros_like(scores[:, :1]), torch.zeros_like(scores[0])
        for done in range(0, iterations, EXACT):
            q = scores / epsilon
            if done:
                q.add_(log_u).add_(log_v)
            q.sub_(columns := gather(q.amax(0, keepdim=True)).amax(0))
            q.sub_(rows := q.amax(1, keepdim=True)).exp_()
            u = rows.squeeze(1).exp()  # which undoes what was taken from rows, and is 1 where a column has its largest
            for _ in range(min(EXACT, iterations - done)):
                v = 1 / gather((u @ q)[None]).sum(0)
                u = 1 / (q @ v)
            log_u, log_v = log_u - rows + u.log()[:, None], log_v - columns + v.log()
        return q.mul_(u[:, None]).mul_(v)


def swapped_prediction(
    scores_a: Tensor, scores_b: Tensor, temperature: float, epsilon: float, iterations: int
) -> Tensor:
    """SwAV's loss of two views (arXiv 2006.09882, equations 1 and 2): each says the code of the other.

    scores_a, scores_b: (N, K), the products of unit embeddings and unit prototypes. l(a, q_b) + l(b, q_a), halved, as
    the official code has it; codes come from `sinkhorn` and get no gradient. Chance level: ln(K).
    """
    check_pair("swapped_prediction", "scores_a", scores_a, "scores_b", scores_b)
    codes = [sinkhorn(scores, epsilon, iterations) for scores in (scores_a, scores_b)]
    return code_prediction([scores_a, scores_b], codes, temperature)


def code_prediction(scores: Sequence[Tensor], codes: Sequence[Tensor], temperature: float) -> Tensor:
    """SwAV's loss of many views (arXiv 2006.09882, equation 6): each says the codes of the others.

    scores: V tensors (N, K), one per view. codes: U tensors (N, K) of the first U of these views, in their order, each
    row a distribution; they get no gradient.

    The cross-entropy of a code and softmax(scores / temperature) averaged over the batch and over the U V - U pairs of
    different views, as in the official code (`main_swav.py`). Chance level: ln(K).
    """
    _check_views(scores, codes)
    check_temperature("temperature", temperature)
    with no_autocast(scores[0]):
        return _CrossEntropyOfOthers.apply(temperature, [code.detach() for code in codes], *scores)


class _CrossEntropyOfOthers(torch.autograd.Function):
    """Mean cross-entropy of every view with the mean code of the others; keeps its inputs and (N,) per view."""

    @staticmethod
    def forward(ctx, temperature: float, codes: list[Tensor], *scores: Tensor) -> Tensor:
        dtype = reduce(torch.promote_types, (each.dtype for each in (*scores, *codes)), torch.float32)
        loss, log_sums = torch.zeros((), dtype=dtype, device=scores[0].device), []
        memory = torch.empty(scores[0].shape, dtype=dtype, device=loss.device)  # one for all views
        for view, (weight, wanted) in zip(scores, _wanted(codes, len(scores)), strict=True):
            logits = torch.div(view.to(dtype), temperature, out=memory)
            agreement = torch.dot(wanted.to(dtype).flatten(), logits.flatten())
            largest = logits.amax(1, keepdim=True)
            log_sums.append(logits.sub_(largest).exp_().sum(1).log_() + largest.squeeze(1))
            loss += weight * (torch.dot(wanted.sum(1, dtype=dtype), log_sums[-1]) - agreement)
        ctx.save_for_backward(*codes, *scores, *log_sums)
        ctx.temperature, ctx.views = temperature, len(scores)
        return loss

    @staticmethod
    @first_derivative_only
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        views, saved = ctx.views, ctx.saved_tensors
        codes, scores, log_sums = saved[: -2 * views], saved[-2 * views : -views], saved[-views:]
        results: list[Tensor | None] = [None, None]
        for place, (weight, wanted) in enumerate(_wanted(codes, views)):
            if not ctx.needs_input_grad[2 + place]:
                results.append(None)
                continue
            log_sum = log_sums[place][:, None]
            difference = (scores[place].to(log_sum.dtype) / ctx.temperature).sub_(log_sum).exp_()
            difference.mul_(wanted.sum(1, keepdim=True)).sub_(wanted)
            results.append(difference.mul_(gradient * (weight / ctx.temperature)).to(scores[place].dtype))
        return tuple(results)


def _wanted(codes: Sequence[Tensor], views: int) -> Iterator[tuple[float, Tensor]]:
    """Per view: the weight of one of its rows in the loss, and the mean (N, K) of the codes of the other views."""
    pairs = len(codes) * (views - 1) * len(codes[0])
    for view in range(len(codes)):
        others = [code for place, code in enumerate(codes) if place != view]
        # With one code its own view has nothing to say, and weight 0.
        yield len(others) / pairs, reduce(torch.add, others) / len(others) if len(others) > 1 else (others or codes)[0]
    if views > len(codes):
        mean = reduce(torch.add, codes) / len(codes)
        for _ in range(views - len(codes)):
            yield len(codes) / pairs, mean


def _check_views(scores: Sequence[Tensor], codes: Sequence[Tensor]) -> None:
    counts = f"it got {len(scores)} and {len(codes)}"
    fine = len(scores) >= max(2, len(codes)) and len(codes) > 0
    check(fine, f"code_prediction needs scores of 2 views or more, and codes of 1 or more of the first; {counts}.")
    shapes = {tuple(each.shape) for each in (*scores, *codes)}
    fine = len(shapes) == 1 and scores[0].ndim == 2 and scores[0].numel() > 0
    check(fine, f"code_prediction needs scores and codes of one shape (N, K) for all views; it got {sorted(shapes)}.")
