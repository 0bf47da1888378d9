"""What `densessl pretrain` can be told, and how a recipe becomes a checked config."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from densessl import config as configs
from densessl.config import nearest
from densessl.data.pages import SIDE
from densessl.errors import UserError, require
from densessl.hardware import Hardware
from densessl.methods import method


@dataclass
class OptimizerConfig:
    """Optimizer and schedules. Rates follow a linear warm-up, then half a cosine, step by step.

    name: any of timm's (`adamw`, `lars`, ...); `sgd` is SGD with plain momentum, `nesterov` with Nesterov's.
    weight_decay_end: reached along half a cosine; None keeps weight_decay.
    decay_all: decay biases and norms too, as MoCo's official code does.
    lr_scaling: `lr` is per 256 images: times batch_size / 256 ("linear"), times its square root ("sqrt"), as it is
        ("none").
    trust: of LARS and LARC (LARS that takes no layer's rate above `lr`); a layer's rate is lr trust |w| / |gradient|.
    clip: largest norm of the gradient, of all together or, with clip_each, of each parameter; None for no limit.
    """

    name: str = "sgd"
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    weight_decay_end: float | None = None
    decay_all: bool = False
    lr_scaling: str = "linear"
    lr_end: float = 0.0  # what lr falls to, reached one step after the last as in the official codes; scaled as `lr` is
    warmup_epochs: float = 10.0  # 15 % of the run at most
    warmup_steps: int | None = None  # in its place, where a paper counts steps: the same on a set of any size
    trust: float = 0.001
    clip: float | None = None
    clip_each: bool = False


@dataclass
class PretrainConfig:
    """A run of `densessl pretrain`. A recipe adds a section under its method's name.

    data: images (folder, file, glob, list, shards, data set; see `densessl.data.sources`). limit: train on so many of
        them, drawn by the seed; None for all. tile: cut them into squares of this side in pixels, half over each other,
        each of which counts as an image; None leaves them whole. page_side: longest side in pixels of pages of PDFs.
    out: the run's folder; None is runs/RECIPE. backbone: a timm architecture with random weights, or a spec that
        `load_backbone` reads, to go on from its weights; backbone_options go to timm.
    batch_size: images per step, over all processes and accumulated parts. steps: overrules epochs.
    workers: processes that make views; None chooses. devices: "auto", "cpu", "gpu", "gpu:4", "cpu:2".
    nodes: machines, each with these devices; torchrun or Slurm starts the command on all of them, and `out` lies on a
        disk that they share.
    precision: "32", "bf16" or "16" (mixed). unreadable: share of images that may be unreadable before the run ends.
    channels_last: memory format of images and weights; up to 1.7 times as fast.
    checkpoint_minutes: between writes of last.ckpt. checkpoint_steps: keep a step-N.ckpt every so many; None for none.
    log_steps: between rows of metrics.csv.
    """

    method: str = MISSING
    data: Any = MISSING
    split: str | None = None
    limit: int | None = None
    tile: int | None = None
    page_side: int = SIDE
    out: str | None = None
    backbone: str = "resnet50"
    backbone_options: dict[str, Any] = field(default_factory=dict)
    image_size: int = 224
    batch_size: int = 256
    epochs: int = 100
    steps: int | None = None
    lr: float = 0.05
    workers: int | None = None
    seed: int = 0
    devices: str = "auto"
    nodes: int = 1
    precision: str = "32"
    accumulate: int = 1
    channels_last: bool = True
    unreadable: float = 0.1
    checkpoint_minutes: float = 5.0
    checkpoint_steps: int | None = None
    log_steps: int = 10
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


# Settings that do not change what is learned: a run may go on with others than it began with.
FREE = ("out", "workers", "checkpoint_minutes", "checkpoint_steps", "log_steps", "unreadable")


def resolve(recipe: str | Path, overrides: Sequence[str] = ()) -> Any:
    """A recipe with overrides -> `PretrainConfig` with its method's section, checked.

    A recipe's `backbone_options` are those of its backbone: they go when the overrides name another one.
    Raises `UserError` for an unknown recipe, method or key, and for values that cannot be.
    """
    layers = (configs.read_yaml(recipe, "pretrain"), configs.parse_overrides(overrides))
    if "backbone" in layers[1] and layers[1].backbone != layers[0].get("backbone"):
        layers[0].pop("backbone_options", None)
    name = str(OmegaConf.merge(*layers).get("method", "???"))
    if name == "???":
        raise UserError(f"{recipe} names no method: add a line such as method: simclr.")
    merged = configs.merge(_schema(name), layers[0], where=str(recipe))
    config = configs.build(merged, layers[1])
    if config.out is None:
        stem = Path(recipe).parent.name if Path(recipe).name == "config.yaml" else Path(recipe).stem
        config.out = str(Path("runs") / stem)
    check(config)
    return config


@cache
def _schema(name: str) -> type:
    """`PretrainConfig` with the section of one method."""
    entry = method(name)
    section = (entry.name, entry.config, field(default_factory=entry.config))
    return dataclasses.make_dataclass("Recipe", [section], bases=(PretrainConfig,))


def check(config: PretrainConfig) -> None:
    """Raise `UserError` for a value that cannot be."""
    least = {
        "image_size": 8,
        "batch_size": 2,
        "epochs": 1,
        "steps": 1,
        "lr": 0,
        "workers": 0,
        "accumulate": 1,
        "nodes": 1,
        "seed": 0,
        "limit": 2,
        "tile": 8,
    }
    for key, bound in (least | {"log_steps": 1, "checkpoint_steps": 1, "checkpoint_minutes": 0}).items():
        value = getattr(config, key)
        if value is not None and value < bound:
            raise UserError(f"{key}={value} is too small: give {key}={bound} or more.")
    if not 0 <= config.unreadable <= 1:
        raise UserError(f"unreadable={config.unreadable} is a share: give a number from 0 to 1.")
    choices = {"precision": ("32", "bf16", "16"), "optimizer.lr_scaling": ("linear", "sqrt", "none")}
    for key, known in choices.items():
        given = str(OmegaConf.select(OmegaConf.structured(config), key))
        if given not in known:
            raise UserError(f"{key}={given} is not one of: {', '.join(known)}{nearest(given, known)}")
    _check_optimizer(config.optimizer)
    for key in ("lr", "optimizer.lr_end"):
        value = OmegaConf.select(OmegaConf.structured(config), key)
        require(math.isfinite(value), f"{key}={value} is not a number that one can train with.")
    if config.precision == "16" and Hardware.of(config.devices).accelerator == "cpu":
        raise UserError("precision=16 needs a GPU: give precision=32, or bf16 where the processor has it.")


def _check_optimizer(config: OptimizerConfig) -> None:
    from timm.optim import list_optimizers

    known = list_optimizers()
    require(config.name in known, f"optimizer.name={config.name} is not known to timm{nearest(config.name, known)}")
    betas = tuple(config.betas)
    require(
        len(betas) == 2 and all(0 <= beta < 1 for beta in betas), f"optimizer.betas={betas} must be two from 0 to 1."
    )
    for key in ("momentum", "weight_decay", "weight_decay_end", "warmup_epochs", "warmup_steps", "lr_end", "trust"):
        value = getattr(config, key)
        require(value is None or value >= 0, f"optimizer.{key}={value} must be 0 or more.")
    require(config.clip is None or config.clip > 0, f"optimizer.clip={config.clip} must be above 0, or null for none.")
