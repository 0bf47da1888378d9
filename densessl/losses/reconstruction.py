"""Objectives that compare pixels: MAE."""

from __future__ import annotations

import torch
from torch import Tensor

from densessl.losses.common import check, no_autocast


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
        prediction = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
        target = target.detach().to(prediction.dtype)
        error = (prediction - (normalised(target) if normalise else target)).square().mean(2)
        mask = mask.to(error.dtype)
        return (error * mask).sum() / mask.sum().clamp_min(1)


def normalised(patches: Tensor) -> Tensor:
    """(..., V) -> each patch less its mean, over its deviation."""
    mean, deviation = moments(patches)
    return (patches - mean) / deviation


def moments(patches: Tensor) -> tuple[Tensor, Tensor]:
    """(..., V) -> mean and deviation (..., 1) of each patch, as the official code takes them."""
    return patches.mean(-1, keepdim=True), (patches.var(-1, keepdim=True) + 1e-6).sqrt()
