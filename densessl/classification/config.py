"""What `densessl finetune` and `densessl distill` can be told: the settings of any run, and a section each."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import MISSING, OmegaConf

from densessl import config as configs
from densessl.data.views import ViewSpec
from densessl.errors import require
from densessl.training.config import OptimizerConfig, PretrainConfig, check


def crops_and_flips() -> ViewSpec:
    """Random crops and flips, and no other change: how the paper fine-tunes and distills (section 3.1)."""
    return ViewSpec(jitter=0.0, grey=0.0, blur=0.0)


@dataclass(frozen=True)
class FinetuneSection:
    head_layer: int | None = None  # layers of the head that are kept; None is 1 where the run keeps a head, else 0
    layer_decay: float = 1.0  # the lr of each block of a transformer is so much of that of the next (BEiT, 0.75)
    drop_path: float = 0.0  # stochastic depth of a BEiT's or ViT's last block; rises to it from 0
    smoothing: float = 0.0  # share of the label that all classes get
    view: ViewSpec = field(default_factory=crops_and_flips)

    def __post_init__(self) -> None:
        require(0 < self.layer_decay <= 1, f"finetune.layer_decay={self.layer_decay} must be above 0 and up to 1.")
        for key in ("drop_path", "smoothing"):
            require(0 <= getattr(self, key) < 1, f"finetune.{key}={getattr(self, key)} must be from 0 to below 1.")
        require(self.head_layer is None or self.head_layer >= 0, f"finetune.head_layer={self.head_layer} is below 0.")
        require(self.view.count == 1, f"finetune.view.count={self.view.count}, but an image is classified once.")


@dataclass(frozen=True)
class DistillSection:
    temperature: float | None = None  # tau; None is 0.1 for a student like its teacher, else 1 (section 3.1)
    alpha: float = 1.0  # weight of the teacher's word beside 1 - alpha of the labels; 1 needs no label
    view: ViewSpec = field(default_factory=crops_and_flips)

    def __post_init__(self) -> None:
        fine = self.temperature is None or self.temperature > 0
        require(fine, f"distill.temperature={self.temperature} must be above 0.")
        require(0 <= self.alpha <= 1, f"distill.alpha={self.alpha} must be from 0 to 1.")
        require(self.view.count == 1, f"distill.view.count={self.view.count}, but an image is classified once.")


@dataclass
class FinetuneConfig(PretrainConfig):
    """A run of `densessl finetune`; see `PretrainConfig` for what both share.

    data: images, some or all of them labelled. backbone: what is fine-tuned, a spec of `load_backbone`.
    labels: share of the labels that is used, equally many of each class, drawn by the seed.
    image_size: None is the backbone's own. batch_size: no more than there are labelled images.

    Defaults are the paper's for 1 % of the labels (section 3.1; 30 epochs for 10 % and more): LARS, lr 0.005 times the
    square root of the batch, no weight decay, no warm-up; but for the batch, 1024 there, since few images would make
    few steps of it.
    """

    method: str = "finetune"
    backbone: str = MISSING
    labels: float = 1.0
    image_size: int | None = None
    batch_size: int = 64
    epochs: int = 60
    lr: float = 0.08
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig("lars", weight_decay=0.0, lr_scaling="sqrt", warmup_epochs=0.0)
    )
    finetune: FinetuneSection = field(default_factory=FinetuneSection)


@dataclass
class DistillConfig(PretrainConfig):
    """A run of `densessl distill`; see `PretrainConfig` for what both share.

    data: images, labelled or not. teacher: a classifier of `densessl finetune` or of this command.
    backbone: the student's, a timm architecture with random weights or a spec of `load_backbone`; None is the teacher's
        architecture. image_size: None is the teacher's. batch_size: no more than there are images.

    Defaults are the paper's (section 3.1): LARS, lr 0.1 times the square root of the batch, weight decay 1e-4, 400
    epochs with a warm-up of 5 %; but for the batch, 4096 there.
    """

    method: str = "distill"
    teacher: str = MISSING
    backbone: str | None = None
    image_size: int | None = None
    epochs: int = 400
    lr: float = 1.6
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig("lars", weight_decay=1e-4, lr_scaling="sqrt", warmup_epochs=20.0)
    )
    distill: DistillSection = field(default_factory=DistillSection)


Config = TypeVar("Config", FinetuneConfig, DistillConfig)


def resolve(
    schema: type[Config], key: str, place: str, overrides: Sequence[str] = (), recipe: str | Path | None = None
) -> Config:
    """The checked config of a command whose first argument, `place`, is the setting `key`.

    recipe: a name in configs/finetune or configs/distill, or a path; None for the defaults alone. Raises `UserError`
    for an unknown recipe or key and for values that cannot be.
    """
    kind = schema.method
    given = configs.parse_overrides(overrides)
    require(key not in given, f"{key}={given.get(key)} is given twice: it is the first argument of densessl {kind}.")
    layers = [configs.read_yaml(recipe, kind)] if recipe else []
    for layer in layers:
        found = layer.get("method", kind)
        require(found == kind, f"{recipe} is a recipe of densessl {found}, not of densessl {kind}.")
    merged = configs.merge(schema, *layers, where=str(recipe))
    config = configs.build(merged, given, OmegaConf.create({key: _absolute(place)}))
    require(config.method == kind, f"method={config.method} cannot be set: the command is densessl {kind}.")
    name = re.sub(r"[^\w.-]+", "-", Path(place).parent.name if Path(place).suffix else Path(place).name).strip("-.")
    config.out = config.out or str(Path("runs") / f"{name or 'run'}-{kind}")
    check(config)
    named = isinstance(config, DistillConfig) and config.backbone is not None
    require(
        named or not config.backbone_options,
        "backbone_options are for a new network, and this one is built as it was: leave them out"
        + (", or name a backbone=." if kind == "distill" else "."),
    )
    if isinstance(config, FinetuneConfig):
        labels, decay_all = config.labels, config.optimizer.decay_all
        require(0 < labels <= 1, f"labels={labels} is a share of the labels: give a number above 0 and up to 1.")
        require(not decay_all, "optimizer.decay_all is not for densessl finetune: biases and norms never decay there.")
    return config


def _absolute(place: Any) -> str:
    """A path that stays right when the saved config is run from another folder; timm:NAME and hf:REPO stay."""
    path = Path(str(place)).expanduser()
    return os.path.abspath(path) if path.exists() else str(place)
