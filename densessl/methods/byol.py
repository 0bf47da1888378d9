"""BYOL: bootstrap your own latent (Grill et al., arXiv 2006.07733).

    L = |q(z_theta) / |q(z_theta)| - z'_xi / |z'_xi||^2 = 2 - 2 cos(q(z_theta), z'_xi),   xi <- tau xi + (1 - tau) theta

summed over both assignments of the two views, averaged over the batch. The target moves after the step; tau rises
from its base to 1 along a cosine (appendix J: `byol_experiment.py`).

Defaults: base tau 0.996 (1000 epochs; 0.99 for 300 and less, official `configs/byol.py`); projector and predictor
Linear(4096) - BN - ReLU - Linear(256), no bias in the last layer; the two views' asymmetric blur and solarization
(table 6). Batch norm sees each view by itself, of all processes. Where we differ: the target starts as a copy of the
online network, where the official code draws it anew and notes that this makes no difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from densessl.data.views import ViewSpec
from densessl.errors import at_least, from_0_to_1, require
from densessl.losses import byol
from densessl.methods.parts import byol_view, cosine_ramp, mlp, momentum_copy, move_towards
from densessl.methods.registry import Output, Progress, register


@dataclass(frozen=True)
class BYOLConfig:
    momentum: float = 0.996  # tau at the start
    hidden: int = 4096  # width of the hidden layer of projector and predictor
    dim: int = 256  # of projection and prediction
    view_a: ViewSpec = field(default_factory=lambda: byol_view(blur=1.0))
    view_b: ViewSpec = field(default_factory=lambda: byol_view(blur=0.1, solarize=0.2))

    def __post_init__(self) -> None:
        at_least(1, "byol", self, "hidden", "dim")
        from_0_to_1("byol", self, "momentum")
        counts = (self.view_a.count, self.view_b.count)
        require(counts == (1, 1), f"byol.view_a.count and view_b.count are {counts}, but BYOL compares one of each.")


@register(
    "byol",
    config=BYOLConfig,
    title="Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning",
    arxiv="2006.07733",
    year=2020,
    published="74.3 % on ImageNet, linear (ResNet-50, 1000 epochs)",
)
class BYOL(nn.Module):
    sync_batch_norm = True

    def __init__(self, backbone: nn.Module, config: BYOLConfig, data_size: int) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        layers = {"hidden_bias": True, "last_bias": False, "hidden_norm": True, "last_norm": False}
        self.projector = mlp((backbone.channels, config.hidden, config.dim), **layers)
        self.predictor = mlp((config.dim, config.hidden, config.dim), **layers)
        self.target = momentum_copy(self.online)

    @property
    def online(self) -> nn.Module:
        return nn.Sequential(self.backbone, self.projector)

    @property
    def views(self) -> list[ViewSpec]:
        return [self.config.view_a, self.config.view_b]

    def chance(self, batch_size: int) -> float:
        """2 + 2: predictions that have nothing to do with their targets."""
        return 4.0

    def forward(self, batch: dict) -> Output:
        v, v_prime = batch["views"]
        y, y_prime = self.backbone(v), self.backbone(v_prime)  # (N, D)
        q, q_prime = self.predictor(self.projector(y)), self.predictor(self.projector(y_prime))  # (N, 256)
        with torch.no_grad():
            z, z_prime = self.target(v), self.target(v_prime)
        loss = byol(q, z_prime) + byol(q_prime, z)
        return Output(loss, embedding=y.detach(), projection=z)

    def after_step(self, progress: Progress) -> None:
        move_towards(self.target, self.online, cosine_ramp(self.config.momentum, 1.0, progress.fraction))
