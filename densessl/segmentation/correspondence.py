"""STEGO's objective (Hamilton et al., arXiv 2203.08414): codes correspond where the features of a frozen backbone do.

With F = the cosines of two pictures' features and S = those of their codes, the loss of two places is

    L = -max(S, 0) * (F' - shift),        F' = F with the mean over the second picture's places taken from each row

`shift` decides which correspondences attract (F' above it) and which repel. As in the official code (commit eb4d6b5),
and unlike the paper's formula, the mean of F over the whole batch is added back after centring, so that the shift is
relative to it and a picture's loss depends on the others of its batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def feature_correspondence(f: Tensor, g: Tensor) -> Tensor:
    """Cosines between every place of `f` and every place of `g`: (B, C, H, W), (B, C, I, J) -> (B, H, W, I, J).

    Vectors shorter than 1e-10 are divided by that, as in the official code; a vector of zeros has cosine 0 with all.
    """
    return torch.einsum("bchw,bcij->bhwij", F.normalize(f, dim=1, eps=1e-10), F.normalize(g, dim=1, eps=1e-10))


@torch.no_grad()
def target_correspondence(f: Tensor, g: Tensor, pointwise: bool = True) -> Tensor:
    """The features' cosines (B, H, W, I, J) as the loss has them, to be held against the shift.

    pointwise: centred over the places of `g`, with the mean over the whole batch added back; such values may leave the
        range of a cosine by a little.
    """
    target = feature_correspondence(f, g)
    if pointwise:
        mean = target.mean()
        target = target - target.mean(dim=(3, 4), keepdim=True)
        target = target - target.mean() + mean
    return target


def correspondence_loss(
    f: Tensor,
    g: Tensor,
    s: Tensor,
    t: Tensor,
    shift: float,
    pointwise: bool = True,
    zero_clamp: bool = True,
    stabilize: bool = False,
) -> Tensor:
    """The elementwise loss (B, H, W, I, J) of codes `s`, `t` under features `f`, `g` taken at the same places.

    f, g: features (B, C, H, W) and (B, C, I, J); no gradient flows into them.
    s, t: codes (B, D, H, W) and (B, D, I, J).
    shift: the cosine above which two places attract (b in the paper).
    pointwise: centre the features' cosines over the places of `g`, and add the mean over the whole batch back.
    zero_clamp: cosines of codes below 0 count as 0 (and get no gradient); otherwise below -9999, that is never.
    stabilize: cosines of codes above 0.8 count as 0.8.
    """
    target = target_correspondence(f, g, pointwise)
    codes = feature_correspondence(s, t)
    codes = codes.clamp(min=0.0 if zero_clamp else -9999.0, max=0.8 if stabilize else None)
    return -codes * (target - shift)
