"""The two terms of a discrete VAE: how likely the pixels are, and how far the tokens are from evenly spread."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from densessl.losses.common import check, no_autocast


def logit_laplace(mean: Tensor, log_scale: Tensor, pixels: Tensor) -> Tensor:
    """DALL-E's reconstruction term (arXiv 2102.12092, equation 2): -ln f(x | mu, b), averaged over all values.

        f(x | mu, b) = exp(-|logit(x) - mu| / b) / (2 b x (1 - x))

    mean, log_scale: mu and ln b, of the shape of pixels, which lie strictly between 0 and 1.
    A density, so that the loss has no lower bound. No gradient flows into the pixels.
    """
    shapes = (tuple(mean.shape), tuple(log_scale.shape), tuple(pixels.shape))
    check(
        len(set(shapes)) == 1 and pixels.numel() > 0, f"logit_laplace needs three tensors of one shape, not {shapes}."
    )
    with no_autocast(mean):
        dtype = torch.promote_types(torch.promote_types(mean.dtype, pixels.dtype), torch.float32)
        x, mean, log_scale = pixels.detach().to(dtype), mean.to(dtype), log_scale.to(dtype)
        return ((x.logit() - mean).abs() * (-log_scale).exp() + log_scale + (x * (1 - x)).log()).mean() + log(2)


def kl_to_uniform(logits: Tensor) -> Tensor:
    """KL(q || uniform) = sum_k q_k ln(K q_k) of q = softmax(logits), (B, K, ...), averaged over all but K; at least 0.

    Chance level: 0. At most ln(K), where every place is sure of its token.
    """
    fine = logits.ndim >= 2 and logits.numel() > 0
    check(fine, f"kl_to_uniform needs logits (B, K, ...); they are {tuple(logits.shape)}.")
    with no_autocast(logits):
        log_q = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(1)
        return (log_q.exp() * log_q).sum(1).mean() + log(logits.shape[1])
