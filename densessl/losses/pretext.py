"""Objectives that compare what is left of a pretext task: PIRL's bank of images, CPC's predictions of other patches."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from densessl.losses.common import (
    check,
    check_pair,
    check_temperature,
    directions,
    first_derivative_only,
    no_autocast,
    tile_elements,
)

EXACT = 40.0  # log(1 + exp(x)) is x beyond it, to the last bit of float64; torch's own 20 would cost it 7 digits


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
    h = exp(s / temperature) / (exp(s / temperature) + partition * K / data_size).

    anchor, positive: (N, D), normalised here. negatives: (K, D), taken as they are, for they are rows of a bank that
        holds unit vectors. Neither positive nor negatives get a gradient, and both may be written to before the
        backward pass.
    data_size: of the data that the negatives are drawn from, |D|. partition: the mean that exp(s / temperature) has
        over it, or what stands for it; 1 is the paper's formula to the letter, the official code estimates it. A tensor
        is not looked at, so that nothing waits for a GPU.
    Chance level, with r = partition * K / data_size and all cosines 0: ln(1 + r) + K ln(1 + 1 / r).
    """
    check_pair("pirl_nce", "anchor", anchor, "positive", positive)
    width = anchor.shape[1]
    fits = negatives.ndim == 2 and len(negatives) > 0 and negatives.shape[1] == width
    check(fits, f"pirl_nce needs negatives (K, {width}) as wide as the anchors; they are {tuple(negatives.shape)}.")
    check_temperature("temperature", temperature)
    check(data_size >= 1, f"The data_size must be 1 or more; it is {data_size}.")
    known = not isinstance(partition, Tensor)
    check(not known or 0 < partition < math.inf, f"The partition must be above 0; it is {partition}.")
    with no_autocast(anchor):
        anchor, positive = directions(anchor), directions(positive.detach())
        partition = torch.as_tensor(partition, dtype=anchor.dtype, device=anchor.device)
        noise = (partition * len(negatives) / data_size).log()
        attracted = (anchor * positive).sum(1) / temperature - noise
        repelled = _LogOneMinusH.apply(anchor / temperature, negatives.detach(), noise)
        # -log h = log(1 + exp(-x)), with x the logit of h.
        return (softplus(-attracted, threshold=EXACT) - repelled).mean()


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


class _LogOneMinusH(torch.autograd.Function):
    """sum over k of log(1 - h_k), the logit of h_k being anchor_i . negative_k - noise: (N, D), (K, D), () -> (N,).

    Its gradient is minus the negatives' sum weighted by h, (N, D), which the sweep gathers on its way.
    """

    @staticmethod
    def forward(ctx, anchor: Tensor, negatives: Tensor, noise: Tensor) -> Tensor:
        total, gathered = anchor.new_zeros(len(anchor)), torch.zeros_like(anchor)
        columns = min(len(negatives), max(64, tile_elements(anchor) // len(anchor)))
        memory = anchor.new_empty(len(anchor) * columns)
        for part in negatives.split(columns):
            part = part.to(anchor.dtype)
            tile = memory[: len(anchor) * len(part)].view(len(anchor), len(part))
            torch.mm(anchor, part.T, out=tile).sub_(noise)
            total -= softplus(tile, threshold=EXACT).sum(1)
            if ctx.needs_input_grad[0]:
                gathered.addmm_(tile.sigmoid_(), part, alpha=-1)
        ctx.save_for_backward(gathered)
        return total

    @staticmethod
    @first_derivative_only
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        (gathered,) = ctx.saved_tensors
        return gradient[:, None] * gathered, None, None


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
