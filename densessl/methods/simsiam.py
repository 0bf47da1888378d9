"""SimSiam: exploring simple Siamese representation learning (Chen and He, arXiv 2011.10566), Algorithm 1.

    L = D(p_1, z_2) / 2 + D(p_2, z_1) / 2,   D(p, z) = -cos(p, z),   z = f(x),   p = h(z)

No gradient flows into the z that is the target: without that stop the embeddings collapse (section 4.1).

Defaults are the paper's (section 3) and the official code's (`builder.py`): a projector of three layers, 2048 wide,
batch norm after each, the last without scale and shift (so the linear layer before it has no bias; the official code
freezes it); a predictor with a bottleneck of 512, batch norm in its hidden layer alone, whose learning rate stays at
the peak (table 1: 68.1 % against 67.7; `--fix-pred-lr`); MoCo v2's views. The last batch norm of every residual block
starts at 0, as in timm's ResNets by themselves. Batch norm sees each view by itself, of all processes.
Where we differ: the learning rate falls step by step, where the official code lowers it once an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from densessl.data.views import ViewSpec
from densessl.errors import at_least, require
from densessl.losses import negative_cosine
from densessl.methods.parts import mlp, moco_views
from densessl.methods.registry import Output, register


@dataclass(frozen=True)
class SimSiamConfig:
    projector_layers: int = 3  # of f's head; 2 on CIFAR-10 (appendix D)
    hidden: int = 2048  # width of the projector's hidden layers
    dim: int = 2048  # of z and p
    bottleneck: int = 512  # width of the predictor's hidden layer
    fixed_predictor_rate: bool = True  # the predictor's learning rate stays at its peak
    view: ViewSpec = field(default_factory=moco_views)

    def __post_init__(self) -> None:
        at_least(1, "simsiam", self, "hidden", "dim", "bottleneck")
        at_least(1, "simsiam", self, "projector_layers")
        require(self.view.count == 2, f"simsiam.view.count={self.view.count}, but SimSiam compares 2 views.")


@register(
    "simsiam",
    config=SimSiamConfig,
    title="Exploring Simple Siamese Representation Learning",
    arxiv="2011.10566",
    year=2020,
    published="71.3 % on ImageNet, linear (ResNet-50, 800 epochs)",
)
class SimSiam(nn.Module):
    sync_batch_norm = True

    def __init__(self, backbone: nn.Module, config: SimSiamConfig, data_size: int) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        sizes = (backbone.channels, *[config.hidden] * (config.projector_layers - 1), config.dim)
        layers = {"hidden_bias": False, "hidden_norm": True}
        self.projector = mlp(sizes, **layers, last_bias=False, last_norm=True, last_affine=False)
        sizes = (config.dim, config.bottleneck, config.dim)
        self.predictor = mlp(sizes, **layers, last_bias=True, last_norm=False)

    @property
    def views(self) -> list[ViewSpec]:
        return [self.config.view]

    def chance(self, batch_size: int) -> float:
        """0: predictions at right angles with their targets. -1 is the least, which a collapse reaches too."""
        return 0.0

    def parameter_groups(self) -> list[dict]:
        encoder = [*self.backbone.parameters(), *self.projector.parameters()]
        return [
            {"params": encoder},
            {"params": list(self.predictor.parameters()), "fixed_lr": self.config.fixed_predictor_rate},
        ]

    def forward(self, batch: dict) -> Output:
        x_1, x_2 = batch["views"]
        h_1, h_2 = self.backbone(x_1), self.backbone(x_2)  # (N, D)
        z_1, z_2 = self.projector(h_1), self.projector(h_2)  # (N, 2048)
        p_1, p_2 = self.predictor(z_1), self.predictor(z_2)
        loss = (negative_cosine(p_1, z_2) + negative_cosine(p_2, z_1)) / 2
        return Output(loss, embedding=h_1.detach(), projection=z_1.detach())
