"""Barlow Twins: self-supervised learning via redundancy reduction (Zbontar et al., arXiv 2103.03230), Algorithm 1.

    L = sum_i (1 - C_ii)^2 + lambda sum_i sum_{j != i} C_ij^2,   C_ij: correlation of z^A_i and z^B_j over the batch

Defaults are the paper's (section 2.2) and the official code's (`main.py`): lambda 0.0051; a projector of three layers,
8192 wide, without biases, batch norm in the hidden ones; each view normalised over the batch by itself; BYOL's views;
a learning rate of biases and norms that is 0.024 of that of weights (0.0048 and 0.2).
Batch norm sees each view by itself, and C is of the whole batch, over all processes.
Where we differ from the official code: it adds up C over processes by an operation that gradients do not pass, which
leaves it the gradient divided by their number. LARS scales that away for weights, not for biases and norms: to follow
it there, divide `bias_lr` by the number of its GPUs (16 for the published figure).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from densessl.data.views import ViewSpec
from densessl.distributed import gather
from densessl.errors import at_least, require
from densessl.losses import barlow_twins
from densessl.methods.parts import byol_view, mlp
from densessl.methods.registry import Output, register


@dataclass(frozen=True)
class BarlowConfig:
    redundancy: float = 0.0051  # lambda
    projector_layers: int = 3  # linear layers of the projector
    hidden: int = 8192  # width of the projector's hidden layers
    dim: int = 8192  # of z
    bias_lr: float = 0.024  # learning rate of biases and norms, as a share of that of weights; 1 without LARS
    view_a: ViewSpec = field(default_factory=lambda: byol_view(blur=1.0))
    view_b: ViewSpec = field(default_factory=lambda: byol_view(blur=0.1, solarize=0.2))

    def __post_init__(self) -> None:
        at_least(1, "barlow", self, "hidden", "dim")
        at_least(0, "barlow", self, "redundancy", "bias_lr")
        at_least(1, "barlow", self, "projector_layers")
        counts = (self.view_a.count, self.view_b.count)
        require(counts == (1, 1), f"barlow.view_a.count and view_b.count are {counts}; Barlow Twins takes one of each.")


@register(
    "barlow",
    config=BarlowConfig,
    title="Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
    arxiv="2103.03230",
    year=2021,
    published="73.2 % on ImageNet, linear (ResNet-50, 1000 epochs)",
)
class BarlowTwins(nn.Module):
    sync_batch_norm = True

    def __init__(self, backbone: nn.Module, config: BarlowConfig, data_size: int) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        sizes = (backbone.channels, *[config.hidden] * (config.projector_layers - 1), config.dim)
        self.projector = mlp(sizes, hidden_bias=False, last_bias=False, hidden_norm=True, last_norm=False)

    @property
    def views(self) -> list[ViewSpec]:
        return [self.config.view_a, self.config.view_b]

    def chance(self, batch_size: int) -> float:
        """The mean over all ways to pair the views at random, in which every C_ij^2 is 1 / (N - 1) and C_ii is 0."""
        noise, dim = 1 / max(1, batch_size - 1), self.config.dim
        return dim * (1 + noise) + self.config.redundancy * dim * (dim - 1) * noise

    def parameter_groups(self) -> list[dict]:
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        biases = [parameter for parameter in learning if parameter.ndim <= 1]
        return [
            {"params": [parameter for parameter in learning if parameter.ndim > 1]},
            {"params": biases, "lr_scale": self.config.bias_lr},
        ]

    def forward(self, batch: dict) -> Output:
        y_a, y_b = batch["views"]
        h_a, h_b = self.backbone(y_a), self.backbone(y_b)  # (N, D)
        z_a, z_b = self.projector(h_a), self.projector(h_b)  # (N, 8192)
        loss = barlow_twins(gather(z_a), gather(z_b), self.config.redundancy)
        return Output(loss, embedding=h_a.detach(), projection=z_a.detach())
