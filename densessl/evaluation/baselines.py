"""What a backbone is held against: the same network with random weights, and the pixels themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN as MEAN
from timm.data.constants import IMAGENET_DEFAULT_STD as STD
from torch import Tensor, nn

from densessl.backbones import Backbone
from densessl.backbones.split import untrained_twin
from densessl.data.vectors import Encoder
from densessl.evaluation.protocol import Reader, encoder

RAW = 32  # px of the raw pixels
FITTED = 1024  # images whose statistics the batch norms of an untrained network are given
Judge = Callable[[Encoder, int, str], dict[str, Any]]  # figures of an encoder at a size, with a title


def baselines(
    judge: Judge, reader: Reader, backbone: Backbone, wrap: Callable[[Backbone], nn.Module] = lambda network: network
) -> dict[str, Any]:
    """Figures of the same network with random weights, and of raw pixels.

    wrap: what of the network gives the vectors.
    """
    config, size, device = reader.config, backbone.image_size, reader.device
    untrained = random_twin(backbone, config.seed).to(device).eval()
    encode = encoder(wrap(untrained), backbone, device, config.precision)
    normed = fit_batch_norms(untrained, lambda: reader.look(encode, size, FITTED))
    what = f"{backbone.architecture} with random weights"
    figures = judge(encode, size, "untrained")

    def pixels(images: Tensor) -> Tensor:
        # By the same figures for every backbone, so that the baseline is one.
        mean, std = (torch.tensor(each, device=images.device).view(3, 1, 1) for each in (MEAN, STD))
        return ((images / 255 - mean) / std).flatten(1)

    raw = judge(pixels, RAW, "raw pixels")
    return {
        "untrained": figures | {"what": f"{what}, {normed}" if normed else what, "seed": config.seed},
        "raw_pixels": raw | {"what": f"{RAW} x {RAW} pixels, centred and scaled per channel as ImageNet's, flattened"},
    }


def random_twin(backbone: Backbone, seed: int) -> Backbone:
    """The same network with the random weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return untrained_twin(backbone)


def fit_batch_norms(network: nn.Module, look: Callable[[], None]) -> str:
    """Give a network's batch norms the statistics of the images that `look` shows it; in words what was done.

    With those it begins with (mean 0, variance 1) an untrained network is worse than its weights are: an untrained
    ResNet-18 scores 25 % on CIFAR-10 (2,000 images), and 30 % with the data's own.
    """
    norms = [part for part in network.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return ""
    momenta = [part.momentum for part in norms]
    for part in norms:
        part.momentum = None  # a plain mean over batches
        part.train()
    look()
    for part, momentum in zip(norms, momenta, strict=True):
        part.momentum = momentum
        part.eval()
    return f"batch norms with the statistics of up to {FITTED} training images"
