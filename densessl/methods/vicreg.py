"""VICReg: variance-invariance-covariance regularization (Bardes et al., arXiv 2105.04906), Algorithm 1.

    l(Z, Z') = lambda s(Z, Z') + mu [v(Z) + v(Z')] + nu [c(Z) + c(Z')]
    s: mean squared difference,   v: mean over j of max(0, gamma - sqrt(Var(z^j) + epsilon)),
    c: sum over i != j of C(Z)_ij^2, divided by D,   C: covariance over the batch

Defaults: lambda 25, mu 25, nu 1, gamma 1, epsilon 1e-4; an expander of three layers, 8192 wide, batch norm in the
hidden ones alone, no bias in the last (official code, `main_vicreg.py`). The views are appendix C.1's: BYOL's made
alike, with blur in half of them and solarization in a tenth. The terms are scaled as the official code has them: s is
averaged over D too, v halved, c not.
Batch norm sees each view by itself, and all three terms are of the whole batch, over all processes.
Where we differ from the official code: it takes s of each process's own rows, whose mean over processes is the same,
and so is the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from densessl.data.views import ViewSpec
from densessl.distributed import gather
from densessl.errors import above_0, at_least, require
from densessl.losses import vicreg
from densessl.methods.parts import byol_view, mlp
from densessl.methods.registry import Output, register


@dataclass(frozen=True)
class VICRegConfig:
    invariance: float = 25.0  # lambda
    variance: float = 25.0  # mu
    covariance: float = 1.0  # nu
    gamma: float = 1.0  # standard deviation that each dimension should have at least
    epsilon: float = 1e-4  # under the root
    hidden: int = 8192  # width of the expander's hidden layers
    dim: int = 8192  # of z
    view: ViewSpec = field(default_factory=lambda: byol_view(blur=0.5, solarize=0.1, count=2))

    def __post_init__(self) -> None:
        at_least(1, "vicreg", self, "hidden", "dim")
        at_least(0, "vicreg", self, "invariance", "variance", "covariance")
        above_0("vicreg", self, "gamma", "epsilon")
        require(self.view.count == 2, f"vicreg.view.count={self.view.count}, but VICReg compares 2 views.")


@register(
    "vicreg",
    config=VICRegConfig,
    title="VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
    arxiv="2105.04906",
    year=2021,
    published="73.2 % on ImageNet, linear (ResNet-50, 1000 epochs)",
)
class VICReg(nn.Module):
    sync_batch_norm = True

    def __init__(self, backbone: nn.Module, config: VICRegConfig, data_size: int) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        sizes = (backbone.channels, config.hidden, config.hidden, config.dim)
        self.expander = mlp(sizes, hidden_bias=True, last_bias=False, hidden_norm=True, last_norm=False)

    @property
    def views(self) -> list[ViewSpec]:
        return [self.config.view]

    def chance(self, batch_size: int) -> float:
        """2 lambda s^2 + mu (gamma - s) at its least: views with nothing in common and deviation s, free to choose s.

        21.9 with the defaults; embeddings that are all the same have 24.8.
        """
        c = self.config
        s = min(c.gamma, c.variance / (4 * c.invariance)) if c.invariance else c.gamma
        return 2 * c.invariance * s**2 + c.variance * (c.gamma - s)

    def forward(self, batch: dict) -> Output:
        x, x_prime = batch["views"]
        y, y_prime = self.backbone(x), self.backbone(x_prime)  # (N, D)
        z, z_prime = self.expander(y), self.expander(y_prime)  # (N, 8192)
        c = self.config
        loss = vicreg(gather(z), gather(z_prime), c.invariance, c.variance, c.covariance, c.gamma, c.epsilon)
        return Output(loss, embedding=y.detach(), projection=z.detach())
