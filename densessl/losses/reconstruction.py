"""Objectives that compare pixels: MAE."""

from __future__ import annotations

import torch
from torch import Tensor

from densessl.losses.common import check, first_derivative_only, no_autocast


def masked_reconstruction(prediction: Tensor, target: Tensor, mask: Tensor, normalise: bool = True) -> Tensor:
    """MAE's loss (arXiv 2111.06377, section 3): mean squared error of the pixels of the patches that were hidden.

    prediction, target: (N, P, V), the V values of P patches; no gradient flows into the target. mask: (N, P), true or 1
        for what was hidden; without any the loss is 0.
    normalise: compare with each patch less its mean, over its deviation: sqrt(var + 1e-6), var over V - 1.

    Chance level: (V - 1) / V with `normalise`, for a prediction of zeros.
    """
    shapes = f"they are {tuple(prediction.shape)}, {tuple(target.shape)} and {tuple(mask.shape)}"
    fine = prediction.ndim == 3 and prediction.shape == target.shape and mask.shape == prediction.shape[:2]
    check(fine, f"masked_reconstruction needs prediction and target (N, P, V) and a mask (N, P); {shapes}.")
    check(prediction.shape[2] > 1, "masked_reconstruction needs patches of 2 values or more.")
    with no_autocast(prediction):
        return _MaskedSquares.apply(prediction, target.detach(), mask, normalise)


def moments(patches: Tensor) -> tuple[Tensor, Tensor]:
    """(..., V) -> mean and deviation (..., 1) of each patch, as the official code takes them."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return mean, variance.add_(1e-6).sqrt_()


class _MaskedSquares(torch.autograd.Function):
    """In one array: the target, normalised where it stands, and then its difference from the prediction."""

    @staticmethod
    def forward(ctx, prediction: Tensor, target: Tensor, mask: Tensor, normalise: bool) -> Tensor:
        dtype = torch.promote_types(prediction.dtype, torch.float32)
        target = target.to(dtype)
        if normalise:
            mean, deviation = moments(target)
            difference = torch.sub(target, mean).div_(deviation)
            torch.sub(prediction.to(dtype), difference, out=difference)
        else:
            difference = prediction.to(dtype) - target
        weights = mask.to(dtype) / (mask.sum().clamp_min(1) * prediction.shape[2])
        ctx.save_for_backward(difference, weights)
        ctx.type = prediction.dtype
        # The norm makes no array of the squares.
        return (torch.linalg.vector_norm(difference, dim=2).square_() * weights).sum()

    @staticmethod
    @first_derivative_only
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        difference, weights = ctx.saved_tensors
        return (difference * (2 * gradient * weights).unsqueeze(2)).to(ctx.type), None, None, None
