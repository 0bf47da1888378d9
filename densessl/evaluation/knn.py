"""Weighted kNN: how far a backbone's vectors, as they are, tell classes apart.

The protocol of Wu et al. (arXiv 1805.01978, section 3.4), as DINO's `eval_knn.py` has it: cosine similarity s to all
training images, the k nearest vote for their class with weight exp(s / T); k = 200 and T = 0.1 unless told otherwise.
Nothing is trained and nothing is chosen by the test images.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from densessl.backbones import load_backbone
from densessl.data.vectors import Encoder, preparation
from densessl.errors import UserError
from densessl.evaluation.baselines import baselines
from densessl.evaluation.protocol import ProtocolConfig, Reader, check, encoder, find_sets, record_of
from densessl.evaluation.record import surroundings
from densessl.hardware import Hardware
from densessl.progress import Progress, Report

ROWS, COLUMNS = 1024, 1 << 15  # of the block of similarities that is looked at: 128 MiB
RANKS = 5


@dataclass
class KnnConfig(ProtocolConfig):
    """What `densessl evaluate --protocol knn` can be told; baselines: the same network untrained, and raw pixels.

    k: neighbours that vote. temperature: T.
    """

    k: int = 200
    temperature: float = 0.1


def knn_predict(train: Tensor, labels: Tensor, test: Tensor, k: int = 200, temperature: float = 0.1) -> Tensor:
    """The classes that get the most votes: (M, R) int64, best first, R = min(5, classes).

    train: (N, D), with labels (N,) int64 of 0 and more. test: (M, D). k is clipped to N. On the device of `train`, in
    float32. Of classes with equally many votes the one with the smaller number comes first.
    """
    train, test = F.normalize(train.float(), dim=1), F.normalize(test.float(), dim=1)
    labels = labels.to(train.device)
    classes, k = int(labels.max()) + 1, min(k, len(train))
    ranked = []
    with _exact_products():
        for rows in test.split(ROWS):
            similarity, neighbours = _nearest(rows.to(train.device), train, k)
            # A factor per row changes no ranking, and keeps exp finite at any temperature.
            weights = ((similarity - similarity[:, :1]) / temperature).exp()
            votes = weights.new_zeros(len(rows), classes).scatter_add_(1, labels[neighbours], weights)
            ranked.append(votes.sort(dim=1, descending=True, stable=True).indices[:, :RANKS])
    return torch.cat(ranked).cpu() if ranked else torch.empty(0, min(RANKS, classes), dtype=torch.int64)


def evaluate_knn(config: KnnConfig, progress: Report | None = None) -> dict[str, Any]:
    """Judge a backbone; returns its record, for `write_record` and `describe`.

    Raises `UserError` when labels are missing, and for whatever else the user can mend.
    """
    begun = time.monotonic()
    check(config, k=1)
    if not config.temperature > 0:
        raise UserError(f"temperature={config.temperature} must be above 0, such as 0.1.")
    hardware = Hardware.of(config.devices)
    device = "cuda" if hardware.accelerator == "gpu" else "cpu"
    train, test = find_sets(config)
    backbone = load_backbone(config.backbone, config.image_size).to(device).eval()
    reader = Reader(config, train, test, device, hardware.workers(config.workers), progress or Progress())
    judge = _Judge(config, reader)
    figures = judge(encoder(backbone, backbone, device, config.precision), backbone.image_size, "the backbone")
    record = record_of("knn", config, backbone, (train, test), figures, _rule(judge, backbone.image_size))
    if config.baselines:
        record["baselines"] = baselines(judge, reader, backbone)
    return record | {"seconds": round(time.monotonic() - begun, 1), "device": device, **surroundings()}


class _Judge:
    """The figures of the votes by one encoder."""

    def __init__(self, config: KnnConfig, reader: Reader) -> None:
        self.config, self.reader, self.k = config, reader, config.k

    def __call__(self, encode: Encoder, size: int, title: str) -> dict[str, float]:
        train, labels, test, truth = self.reader.read(encode, size, title)
        self.k = min(self.config.k, len(train.z))
        z = train.z.to(self.reader.device)
        ranked = knn_predict(z, labels, test.z, self.k, self.config.temperature)
        right = ranked == truth[:, None]
        figures = {"top1": float(right[:, 0].double().mean())}
        if self.reader.classes > RANKS:
            figures["top5"] = float(right.any(dim=1).double().mean())
        unreadable = len(train.unreadable) + len(test.unreadable)
        majority = float((truth == labels.mode().values).double().mean())
        return figures | {"always_the_largest_class": majority, "unreadable_images": unreadable}


def _nearest(rows: Tensor, train: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Similarities and indices (m, k) of the nearest of `train`, nearest first, a block of it at a time."""
    best, where = rows.new_empty(len(rows), 0), torch.empty(len(rows), 0, dtype=torch.int64, device=rows.device)
    for start in range(0, len(train), COLUMNS):
        similarity = rows @ train[start : start + COLUMNS].T
        found, places = similarity.topk(min(k, similarity.shape[1]), dim=1)
        best, where = torch.cat([best, found], dim=1), torch.cat([where, places + start], dim=1)
        best, order = best.topk(min(k, best.shape[1]), dim=1)
        where = where.gather(1, order)
    return best, where


@contextmanager
def _exact_products() -> Iterator[None]:
    """Products of float32 in float32: TF32's 10 bits would reorder neighbours."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _rule(judge: _Judge, size: int) -> str:
    """The protocol in one sentence."""
    clipped = f" (of {judge.config.k} asked for)" if judge.k < judge.config.k else ""
    return (
        f"weighted kNN (arXiv 1805.01978): k = {judge.k}{clipped}, votes exp(cosine / {judge.config.temperature:g}), "
        f"float32; images: {preparation(size)}; vector: the backbone's own, in evaluation, precision "
        f"{judge.config.precision}"
    )
