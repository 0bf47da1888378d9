"""Fine-tuning: how good a classifier a backbone and a share of the labels make, all weights being trained.

The training is that of `densessl finetune`: the pretrained head's first layer where the run keeps one, a new linear
layer, random crops and flips. What is judged is the last epoch's classifier, once for each of several seeds, which draw
the labels (equally many of each class) and the order of the images. Nothing is chosen by the test images.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from densessl.backbones import load_backbone, save_backbone
from densessl.classification.config import FinetuneConfig, FinetuneSection
from densessl.classification.finetune import Finetune, finetune_on
from densessl.classification.labels import balanced
from densessl.classification.predict import Settings, accuracy, probabilities
from densessl.data.sources import Subset
from densessl.data.vectors import preparation
from densessl.errors import UserError
from densessl.evaluation.baselines import random_twin
from densessl.evaluation.protocol import LabelledSet, ProtocolConfig, check, find_sets, record_of
from densessl.evaluation.record import surroundings
from densessl.hardware import Hardware
from densessl.training.config import OptimizerConfig
from densessl.training.config import check as check_training


@dataclass
class FinetuneProtocol(ProtocolConfig):
    """What `densessl evaluate --protocol finetune` can be told; baselines: the same network from random weights.

    labels: share of the training images' labels that is used. seeds: how many runs, from `seed` on.
    batch_size, epochs, steps, lr, optimizer, finetune: as `densessl finetune` has them.
    """

    labels: float = 1.0
    seeds: int = 3
    batch_size: int = 64
    epochs: int = FinetuneConfig.epochs
    steps: int | None = None
    lr: float = FinetuneConfig.lr
    optimizer: OptimizerConfig = field(default_factory=lambda: FinetuneConfig().optimizer)
    finetune: FinetuneSection = field(default_factory=FinetuneSection)


def evaluate_finetune(config: FinetuneProtocol) -> dict[str, Any]:
    """Judge a backbone; returns its record, for `write_record` and `describe`.

    Raises `UserError` when labels are missing, and for whatever else the user can mend.
    """
    begun = time.monotonic()
    check(config, seeds=1, batch_size=2)
    if not 0 < config.labels <= 1:
        raise UserError(f"labels={config.labels} is a share of the labels: give a number above 0 and up to 1.")
    hardware = Hardware.of(config.devices)
    train, test = find_sets(config)
    backbone = load_backbone(config.backbone, config.image_size)
    seeds = range(config.seed, config.seed + config.seeds)
    figures = _figures(config, dict.fromkeys(seeds, config.backbone), train, test, hardware)
    record = record_of("finetune", config, backbone, (train, test), figures, _rule(config, backbone.image_size))
    if config.baselines:
        with tempfile.TemporaryDirectory() as folder:
            twins = {seed: str(Path(folder) / str(seed)) for seed in seeds}
            for seed, path in twins.items():
                save_backbone(random_twin(backbone, seed), path, {"method": "none"})
            random = dataclasses.replace(config, finetune=dataclasses.replace(config.finetune, head_layer=None))
            figures = _figures(random, twins, train, test, hardware)
        what = (
            f"{backbone.architecture} with random weights, others for each seed, trained on the same labels in the "
            "same way, without a head"
        )
        record["baselines"] = {"untrained": figures | {"what": what}}
    return record | {
        "seconds": round(time.monotonic() - begun, 1),
        "device": "cuda" if hardware.accelerator == "gpu" else "cpu",
        **surroundings(),
    }


def _figures(
    config: FinetuneProtocol, specs: dict[int, str], train: LabelledSet, test: LabelledSet, hardware: Hardware
) -> dict[str, Any]:
    """Accuracy of each seed's last epoch, their mean and deviation. specs: the backbone of each seed."""
    found = [_one(config, spec, train, test, hardware, seed) for seed, spec in specs.items()]
    return {
        "top1": statistics.fmean(found),
        "deviation_over_seeds": statistics.stdev(found) if len(found) > 1 else None,
        "top1_of_each_seed": found,
        "labelled_images": len(balanced(train.labels, config.labels, config.seed)),
        "always_the_largest_class": float((test.labels == np.bincount(train.labels).argmax()).mean()),
    }


def _one(
    config: FinetuneProtocol, spec: str, train: LabelledSet, test: LabelledSet, hardware: Hardware, seed: int
) -> float:
    chosen = balanced(train.labels, config.labels, seed)
    classes = train.source.classes or [
        str(number) for number in range(int(max(train.labels.max(), test.labels.max())) + 1)
    ]
    images = Subset(train.source, train.indices[chosen], train.labels[chosen], classes)
    settings = Settings(config.batch_size, config.workers, hardware.accelerator, config.unreadable)
    judged: list[float] = []

    def judge(trained: Finetune, folder: Path) -> None:
        found = probabilities(trained.classifier, test.source, test.indices, settings, f"Test images, seed {seed}")
        labels = np.full(len(test.source), -1)
        labels[test.indices] = test.labels
        judged.append(accuracy(found, labels)[0])

    with tempfile.TemporaryDirectory() as folder:
        finetune_on(images, classes, _training(config, spec, hardware, seed, folder), judge, lambda sentence: None)
    return judged[0]


def _training(config: FinetuneProtocol, spec: str, hardware: Hardware, seed: int, folder: str) -> FinetuneConfig:
    """The run of `densessl finetune` that the protocol asks for."""
    run = FinetuneConfig(
        data=config.data,
        out=str(Path(folder) / "run"),
        backbone=spec,
        labels=config.labels,
        seed=seed,
        devices=f"{hardware.accelerator}:1",
        **{
            key: getattr(config, key)
            for key in ("image_size", "batch_size", "epochs", "steps", "lr", "workers", "precision", "unreadable")
            + ("optimizer", "finetune")
        },
    )
    check_training(run)
    return run


def _rule(config: FinetuneProtocol, size: int) -> str:
    """The protocol in one sentence."""
    length = f"{config.steps} steps" if config.steps else f"{config.epochs} epochs"
    return (
        f"all weights fine-tuned on {100 * config.labels:g} % of the training labels, equally many of each class, for "
        f"{length} of {config.optimizer.name} (lr {config.lr:g}, batch {config.batch_size}) with random crops and "
        f"flips; the last epoch's accuracy, mean over {config.seeds} seeds; test images: {preparation(size)}, "
        f"precision {config.precision}"
    )
