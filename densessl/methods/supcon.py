"""SupCon: supervised contrastive learning (Khosla et al., arXiv 2004.11362). It needs labels.

    L = mean over i of -1 / |P(i)| sum_{p in P(i)} log exp(z_i . z_p / tau) / sum_{a != i} exp(z_i . z_a / tau)

over the 2N views of a batch; P(i) are the others with the label of i, of which the other view of its image is always
one. This is L_out: the mean over the positives stands outside the logarithm, which the paper finds better (section
3.2.2).

Defaults: tau 0.1 (section 4.5); r, the backbone's vector at length 1, then a perceptron with one hidden layer of 2048
and no batch norm to z of 128 dimensions at length 1 (section 3.1). Both views go through the network as one batch, so
that batch norm sees 2N images, of all processes; positives and negatives come from all processes too.
Where we differ: the views are SimCLR's, for AutoAugment, with which the paper has its best figure, is no `ViewSpec`.
The loss is not multiplied by tau (the paper) or tau / 0.07 (official code, `losses.py`): LARS scales that away for
weights, and under SGD it belongs to the learning rate. The official PyTorch code does not bring r to length 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import torch
from torch import nn

from densessl.data.views import ViewSpec
from densessl.distributed import gather
from densessl.errors import above_0, at_least, require
from densessl.losses import sup_con
from densessl.losses.common import directions
from densessl.methods.parts import mlp
from densessl.methods.registry import Output, register


@dataclass(frozen=True)
class SupConConfig:
    temperature: float = 0.1  # tau
    hidden: int = 2048  # width of the projection's hidden layer
    dim: int = 128  # of z
    unit_representation: bool = True  # r at length 1 before the projection
    view: ViewSpec = field(default_factory=lambda: ViewSpec(count=2))

    def __post_init__(self) -> None:
        at_least(1, "supcon", self, "hidden", "dim")
        above_0("supcon", self, "temperature")
        require(self.view.count == 2, f"supcon.view.count={self.view.count}, but SupCon compares 2 views.")


@register(
    "supcon",
    config=SupConConfig,
    title="Supervised Contrastive Learning",
    arxiv="2004.11362",
    year=2020,
    published="78.7 % on ImageNet, linear, with labels (ResNet-50, 350 epochs, AutoAugment)",
    needs=("target",),
)
class SupCon(nn.Module):
    sync_batch_norm = True

    def __init__(self, backbone: nn.Module, config: SupConConfig, data_size: int) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        sizes = (backbone.channels, config.hidden, config.dim)
        self.projector = mlp(sizes, hidden_bias=True, last_bias=True, hidden_norm=False, last_norm=False)

    @property
    def views(self) -> list[ViewSpec]:
        return [self.config.view]

    def chance(self, batch_size: int) -> float:
        """ln(2N - 1): every other embedding is as near as the positives."""
        return log(max(1, 2 * batch_size - 1))

    def forward(self, batch: dict) -> Output:
        h = self.backbone(torch.cat(batch["views"]))  # (2N, D)
        r = directions(h) if self.config.unit_representation else h
        z_a, z_b = self.projector(r).chunk(2)  # (N, 128) each, brought to length 1 by the loss
        loss = sup_con(gather(z_a), gather(z_b), gather(batch["target"]), self.config.temperature)
        return Output(loss, embedding=h.detach().chunk(2)[0], projection=z_a.detach())
