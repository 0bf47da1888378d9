"""MoCo v2: improved baselines with momentum contrastive learning (Chen et al., arXiv 2003.04297), Algorithm 1 of MoCo
(He et al., arXiv 1911.05722).

    L_q = -log exp(q.k+ / tau) / (exp(q.k+ / tau) + sum_i exp(q.k_i / tau)),   theta_k <- m theta_k + (1 - m) theta_q

with the negatives k_i from a queue of earlier keys. The key encoder moves before the keys are computed, and the keys
enter the queue after the loss (official code, `builder.py`).

Defaults: K 65,536, m 0.999 (MoCo); tau 0.2, two-layer head, blur and jitter of strength 0.4 (v2).
Batch norm: the paper shuffles keys over 8 GPUs, so that no statistic tells a query its key. Here batch norm sees the
batch of all processes in `batch_norm_splits` parts, as in the authors' CIFAR-10 notebook, whether one process has them
all or 8 have one each, and keys are shuffled over them.
Where we differ: the queue holds half of the data at most, since a longer one is full of the queries' own images. The
learning rate moves with each step, where the official code's moves with each epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densessl.data.views import ViewSpec
from densessl.errors import above_0, at_least, from_0_to_1, require
from densessl.losses import info_nce
from densessl.methods.parts import (
    Queue,
    half_of_data,
    in_parts,
    mlp,
    moco_views,
    momentum_copy,
    move_towards,
    shuffled,
    unshuffled,
)
from densessl.methods.registry import Output, Progress, register


@dataclass(frozen=True)
class MoCoConfig:
    temperature: float = 0.2  # tau
    momentum: float = 0.999  # m; 0.99 on CIFAR-10 (the authors' notebook)
    queue: int = 65536  # K, keys
    hidden: int = 2048  # width of the head's hidden layer; 0 for a linear head, as v1 and the notebook have it
    dim: int = 128  # of q and k
    symmetric: bool = False  # each view once the query, once the key, both losses summed; twice the work
    batch_norm_splits: int = 8  # parts of all processes' batch that batch norm sees apart
    view: ViewSpec = field(default_factory=moco_views)

    def __post_init__(self) -> None:
        at_least(1, "moco", self, "dim")
        at_least(0, "moco", self, "hidden")
        above_0("moco", self, "temperature")
        from_0_to_1("moco", self, "momentum")
        at_least(1, "moco", self, "queue")
        at_least(1, "moco", self, "batch_norm_splits")
        require(self.view.count == 2, f"moco.view.count={self.view.count}, but MoCo compares 2 views.")


@register(
    "moco",
    config=MoCoConfig,
    title="Improved Baselines with Momentum Contrastive Learning",
    arxiv="2003.04297",
    year=2020,
    published="71.1 % on ImageNet, linear (ResNet-50, 800 epochs); 60.6 % (MoCo v1, 200 epochs)",
)
class MoCo(nn.Module):
    sync_batch_norm = False

    def __init__(self, backbone: nn.Module, config: MoCoConfig, data_size: int) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        sizes = (backbone.channels, *([config.hidden] if config.hidden else []), config.dim)
        self.projector = mlp(sizes, hidden_bias=True, last_bias=True, hidden_norm=False, last_norm=False)
        self.key = momentum_copy(self.query)
        self.notes: list[str] = []
        self.queue = Queue(half_of_data(self.notes, "moco.queue", config.queue, data_size), config.dim)

    @property
    def query(self) -> nn.Module:
        return nn.Sequential(self.backbone, self.projector)

    @property
    def views(self) -> list[ViewSpec]:
        return [self.config.view]

    def chance(self, batch_size: int) -> float:
        """ln(K + 1): the positive is no nearer than any key of the queue; twice that when symmetric."""
        return (1 + self.config.symmetric) * log(len(self.queue.keys) + 1)

    def before_step(self, progress: Progress) -> None:
        move_towards(self.key, self.query, self.config.momentum)

    def forward(self, batch: dict) -> Output:
        x_q, x_k = batch["views"]
        loss, keys, h, q = self.contrast(x_q, x_k)
        if self.config.symmetric:
            other, more, *_ = self.contrast(x_k, x_q)
            loss, keys = loss + other, torch.cat((keys, more))
        self.queue.push(keys)
        return Output(loss, embedding=h.detach(), projection=q.detach())

    def contrast(self, x_q: Tensor, x_k: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The loss of queries from x_q against keys from x_k, the keys of all processes (N, dim), h (N, D) and q."""
        h = in_parts(self.backbone, x_q, self.config.batch_norm_splits)
        q = self.projector(h)
        with torch.no_grad():
            x_k, order = shuffled(x_k)
            k = F.normalize(in_parts(self.key, x_k, self.config.batch_norm_splits).float(), dim=1)
            k, keys = unshuffled(k, order)
        return info_nce(q, k, self.queue.keys, self.config.temperature), keys, h, q
