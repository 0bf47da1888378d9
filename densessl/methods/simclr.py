"""SimCLR: a simple framework for contrastive learning of visual representations (Chen et al., arXiv 2002.05709).

    h = f(x~),  z = W2 ReLU(W1 h),  l(i, j) = -log exp(sim(z_i, z_j) / tau) / sum_{k != i} exp(sim(z_i, z_k) / tau)

with the mean of l over both orders of every positive pair: 2N anchors, 2(N - 1) negatives each.

Defaults: tau 0.1 and strength 1 of the colour jitter are the paper's best on ImageNet (tables 5 and 1); the projection
has batch norm after each layer, the last included and without a shift there, and ends in 128 dimensions (official
code, `model_util.py`).
Both views go through the network as one batch, so that batch norm sees 2N images, of all processes.
Where we differ from the official code: it sums the losses of the two sides, which doubles ours. LARS scales that away
for weights, not for biases and norms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import torch
from torch import nn

from densessl.data.views import ViewSpec
from densessl.distributed import gather
from densessl.errors import above_0, at_least, require
from densessl.losses import nt_xent
from densessl.methods.parts import mlp
from densessl.methods.registry import Output, register


@dataclass(frozen=True)
class SimCLRConfig:
    temperature: float = 0.1  # tau; 0.5 on CIFAR-10 (section B.9)
    hidden: int = 2048  # width of the projection's hidden layer; as ResNet-50's h
    dim: int = 128  # of z
    view: ViewSpec = field(default_factory=lambda: ViewSpec(count=2))

    def __post_init__(self) -> None:
        at_least(1, "simclr", self, "hidden", "dim")
        above_0("simclr", self, "temperature")
        require(self.view.count == 2, f"simclr.view.count={self.view.count}, but SimCLR compares 2 views.")


@register(
    "simclr",
    config=SimCLRConfig,
    title="A Simple Framework for Contrastive Learning of Visual Representations",
    arxiv="2002.05709",
    year=2020,
    published="69.3 % on ImageNet, linear (ResNet-50, 1000 epochs)",
)
class SimCLR(nn.Module):
    sync_batch_norm = True  # "global BN": statistics over all processes (section 2.2)

    def __init__(self, backbone: nn.Module, config: SimCLRConfig, data_size: int) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        sizes = (backbone.channels, config.hidden, config.dim)
        self.projector = mlp(sizes, hidden_bias=False, last_bias=False, hidden_norm=True, last_norm=True)
        self.projector[-1].bias.requires_grad_(False)  # it stays 0: the last norm has no shift

    @property
    def views(self) -> list[ViewSpec]:
        return [self.config.view]

    def chance(self, batch_size: int) -> float:
        """ln(2N - 1): every other embedding is as near as the positive."""
        return log(max(1, 2 * batch_size - 1))

    def forward(self, batch: dict) -> Output:
        h = self.backbone(torch.cat(batch["views"]))  # (2N, D)
        z_a, z_b = self.projector(h).chunk(2)  # (N, 128) each
        loss = nt_xent(gather(z_a), gather(z_b), self.config.temperature)
        return Output(loss, embedding=h.detach().chunk(2)[0], projection=z_a.detach())
