"""Objectives as pure functions of tensors, each the formula of its paper.

All of them compute in float32 or wider, whatever they are given and whether or not autocast is on, and return a scalar
of that type; gradients come back in the type of the input. What would be large is swept in tiles and never kept. A
vector too short to have a direction (1e-12, in float16 and bfloat16 1e-6) has cosine 0 with all and gets no gradient.
The gradient is written by hand where that saves memory, so second derivatives are refused with torch's
"trying to differentiate twice a function that was marked with @once_differentiable".

Every function raises `ValueError` for shapes that do not fit each other and for a temperature that is not above 0.
"""

from densessl.losses.clustering import code_prediction, sinkhorn, swapped_prediction
from densessl.losses.contrastive import cpc, in_batch_nce, info_nce, nt_xent, sup_con
from densessl.losses.distillation import byol, dino, distill, ibot_patches, negative_cosine
from densessl.losses.generative import kl_to_uniform, logit_laplace
from densessl.losses.noise import log_partition, nce, pirl_nce
from densessl.losses.reconstruction import masked_reconstruction
from densessl.losses.redundancy import barlow_twins, vicreg

__all__ = [
    "barlow_twins",
    "byol",
    "code_prediction",
    "cpc",
    "dino",
    "distill",
    "ibot_patches",
    "in_batch_nce",
    "info_nce",
    "kl_to_uniform",
    "log_partition",
    "logit_laplace",
    "masked_reconstruction",
    "nce",
    "negative_cosine",
    "nt_xent",
    "pirl_nce",
    "sinkhorn",
    "sup_con",
    "swapped_prediction",
    "vicreg",
]
