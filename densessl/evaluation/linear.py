"""Linear probe: how far a hyperplane per class in a backbone's vectors tells classes apart.

Vectors are made once, of images without augmentation, standardised by the training images' mean and deviation, and a
multinomial logistic regression is fitted to convergence (`logistic.py`). Its weight decay is the one whose rough fit is
best on a fifth of the training images, held out by the seed. Nothing is chosen by the test images.
The probe of the papers is a linear layer under SGD on augmented views, whose result hangs on its learning rate and
schedule; this one has no such settings.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from densessl.backbones import Backbone, load_backbone
from densessl.data.vectors import Encoder, preparation
from densessl.errors import UserError
from densessl.evaluation.baselines import baselines
from densessl.evaluation.logistic import Logistic, decorrelated, fit
from densessl.evaluation.protocol import HELD_OUT, ProtocolConfig, Reader, check, encoder, find_sets, record_of
from densessl.evaluation.record import surroundings
from densessl.hardware import Hardware
from densessl.progress import Progress, Report

DECAYS = tuple(10.0**power for power in range(1, -7, -1))  # from strong to weak, each started from the one before
WORSE = 2  # decays in a row that are worse than the best before weaker ones are left out
FEATURES = ("vector", "mean")
RANKS = 5


@dataclass
class LinearConfig(ProtocolConfig):
    """What `densessl evaluate --protocol linear` can be told; baselines: the same network untrained, and raw pixels.

    features: "vector" is the backbone's own; "mean" the mean of the last layer's map, for transformers whose class
        token was not trained (MAE, BEiT).
    decay: weight decay; None is chosen. iterations: of L-BFGS at most.
    """

    features: str = "vector"
    decay: float | None = None
    iterations: int = 500


class MeanOfMap(nn.Module):
    """Images (B, 3, H, W) -> (B, C): the mean of the last layer's map."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone.feature_maps(images)[-1].mean((2, 3))


def evaluate_linear(config: LinearConfig, progress: Report | None = None) -> dict[str, Any]:
    """Judge a backbone; returns its record, for `write_record` and `describe`.

    Raises `UserError` when labels are missing, and for whatever else the user can mend.
    """
    begun = time.monotonic()
    _check(config)
    hardware = Hardware.of(config.devices)
    device = "cuda" if hardware.accelerator == "gpu" else "cpu"
    train, test = find_sets(config)
    backbone = load_backbone(config.backbone, config.image_size).to(device).eval()
    reader = Reader(config, train, test, device, hardware.workers(config.workers), progress or Progress())
    judge = _Judge(config, reader)
    network = _wrapped(config, backbone)
    figures = judge(encoder(network, backbone, device, config.precision), backbone.image_size, "the backbone")
    record = record_of("linear", config, backbone, (train, test), figures, _rule(config, backbone.image_size))
    if config.baselines:
        record["baselines"] = baselines(judge, reader, backbone, lambda network: _wrapped(config, network))
    return record | {"seconds": round(time.monotonic() - begun, 1), "device": device, **surroundings()}


def probe(
    x: Tensor,
    labels: Tensor,
    classes: int,
    decay: float | None = None,
    iterations: int = 500,
    seed: int = 0,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Logistic, dict[str, float]]:
    """The regression on all rows (N, D), and for each decay that was tried the accuracy on the held-out rows.

    decay: None chooses the best of `DECAYS`, of equally good ones the strongest; none is tried otherwise.
    advance: called with the regressions that are done, and their number at most.
    """
    turned, rotation = decorrelated(x)
    tried: dict[float, float] = {}
    best, start = decay, None
    if best is None:
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
        held, kept = order[: max(1, len(x) // HELD_OUT)], order[max(1, len(x) // HELD_OUT) :]
        weights, since, part = None, 0, (turned[kept], labels[kept])
        for each in DECAYS:
            found = fit(*part, classes, each, weights, iterations, rough=True)
            weights = found.weights
            tried[each] = float((found.scores(turned[held]).argmax(1) == labels[held]).double().mean())
            advance(len(tried), len(DECAYS) + 1)
            if best is None or tried[each] > tried[best]:
                best, start, since = each, weights, 0
            elif tried[each] < tried[best]:
                since += 1
            if since == WORSE:
                break
    found = fit(turned, labels, classes, best, start, iterations)
    advance(len(DECAYS) + 1, len(DECAYS) + 1)
    weights = torch.cat([rotation @ found.weights[:-1], found.weights[-1:]])
    return replace(found, weights=weights), {f"{key:g}": value for key, value in tried.items()}


class _Judge:
    """The figures of a probe of the vectors by one encoder."""

    def __init__(self, config: LinearConfig, reader: Reader) -> None:
        self.config, self.reader = config, reader

    def __call__(self, encode: Encoder, size: int, title: str) -> dict[str, Any]:
        train, labels, test, truth = self.reader.read(encode, size, title)
        x, mean, deviation = _standardised(train.z)
        x, labels = x.to(self.reader.device), labels.to(self.reader.device)
        config = self.config

        def advance(done: int, total: int) -> None:
            self.reader.report(f"Linear probe, {title}", done, total, "")

        found, tried = probe(x, labels, self.reader.classes, config.decay, config.iterations, config.seed, advance)
        z = ((test.z - mean) / deviation).to(self.reader.device)
        right = found.scores(z).topk(min(RANKS, self.reader.classes), dim=1).indices.cpu() == truth[:, None]
        figures = {"top1": float(right[:, 0].double().mean())}
        if self.reader.classes > RANKS:
            figures["top5"] = float(right.any(dim=1).double().mean())
        figures["always_the_largest_class"] = float((truth == labels.cpu().mode().values).double().mean())
        figures["unreadable_images"] = len(train.unreadable) + len(test.unreadable)
        figures |= {"decay": found.decay, "converged": found.converged, "evaluations": found.evaluations}
        return figures | ({"held_out_by_decay": tried} if tried else {})


def _standardised(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """z (N, D) at mean 0 and deviation 1 in each dimension, and what it took; a constant dimension becomes 0."""
    mean, deviation = z.double().mean(0), z.double().std(0, correction=0)
    deviation = torch.where(deviation > 1e-6 * mean.abs().clamp_min(1e-6), deviation, 1.0)
    mean, deviation = mean.float(), deviation.float()
    return (z - mean) / deviation, mean, deviation


def _wrapped(config: LinearConfig, backbone: Backbone) -> nn.Module:
    return backbone if config.features == "vector" else MeanOfMap(backbone)


def _check(config: LinearConfig) -> None:
    check(config, iterations=1)
    if config.features not in FEATURES:
        raise UserError(f"features={config.features} is not one of: {', '.join(FEATURES)}.")
    if config.decay is not None and not config.decay > 0:
        raise UserError(f"decay={config.decay} must be above 0, such as 0.001, or null to have it chosen.")


def _rule(config: LinearConfig, size: int) -> str:
    """The protocol in one sentence."""
    vector = "the backbone's own" if config.features == "vector" else "the mean of the last layer's map"
    decay = (
        f"{config.decay:g}"
        if config.decay is not None
        else f"the best of {DECAYS[0]:g} to {DECAYS[-1]:g} on 1 in {HELD_OUT} training images, then fitted on all"
    )
    return (
        f"multinomial logistic regression by L-BFGS to convergence (float64), weight decay {decay}; images: "
        f"{preparation(size)}, no augmentation; vector: {vector}, in evaluation, standardised, precision "
        f"{config.precision}"
    )
