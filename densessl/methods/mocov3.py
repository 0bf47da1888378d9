"""MoCo v3: an empirical study of training self-supervised vision transformers (Chen et al., arXiv 2104.02057),
Algorithm 1.

    L = ctr(q_1, k_2) + ctr(q_2, k_1),   ctr(q, k) = -2 tau mean_i log(exp(q_i.k_i / tau) / sum_j exp(q_i.k_j / tau))

over the keys j of the same batch, of all processes and without gradient; q = predictor(projector(f(x))), k =
projector'(f'(x)), both of length 1. f' <- m f' + (1 - m) f at every step, before the keys are computed, as the official
code has it (`builder.py`); m from 0.99 to 1 along a cosine. There is no queue.

Defaults are the paper's for ViT and the official code's: tau 0.2 (1.0 for ResNet-50); hidden layers of 4096, dimension
256, no biases; BYOL's views. A network with batch norm gets a projector of 2 layers and a predictor whose output is not
normalised, any other a projector of 3 layers and a predictor that ends in batch norm; a last batch norm learns no scale
and no shift (`builder.py`). Against instability a ViT's random patch projection stays as it began (section 4.2), its
positions are fixed sines and cosines, and its queries, keys and values begin Xavier-uniform as three layers.
Where we differ: a backbone that was loaded keeps its weights; its patch projection and positions stand still too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from densessl.backbones.initial import fix_positions, xavier_linear, xavier_patches
from densessl.backbones.tokens import is_transformer
from densessl.data.views import ViewSpec
from densessl.distributed import gather, rank
from densessl.errors import above_0, at_least, from_0_to_1, require
from densessl.losses import in_batch_nce
from densessl.methods.parts import byol_view, cosine_ramp, mlp, momentum_copy, move_towards
from densessl.methods.registry import Output, Progress, register


@dataclass(frozen=True)
class MoCoV3Config:
    temperature: float = 0.2  # tau; 1.0 for ResNet-50
    momentum: float = 0.99  # m at the start; 0.996 for 1000 epochs of ResNet-50
    hidden: int = 4096  # width of the hidden layers of projector and predictor
    dim: int = 256  # of q and k
    frozen_patches: bool = True  # a transformer's projection of patches gets no gradient
    view_a: ViewSpec = field(default_factory=lambda: byol_view(blur=1.0))
    view_b: ViewSpec = field(default_factory=lambda: byol_view(blur=0.1, solarize=0.2))

    def __post_init__(self) -> None:
        at_least(1, "mocov3", self, "hidden", "dim")
        above_0("mocov3", self, "temperature")
        from_0_to_1("mocov3", self, "momentum")
        counts = (self.view_a.count, self.view_b.count)
        require(counts == (1, 1), f"mocov3.view_a.count and view_b.count are {counts}, but it compares one of each.")


@register(
    "mocov3",
    config=MoCoV3Config,
    title="An Empirical Study of Training Self-Supervised Vision Transformers",
    arxiv="2104.02057",
    year=2021,
    published="76.7 % on ImageNet, linear (ViT-B/16, 300 epochs); 74.6 % (ResNet-50, 1000 epochs)",
)
class MoCoV3(nn.Module):
    sync_batch_norm = True

    def __init__(self, backbone: nn.Module, config: MoCoV3Config, data_size: int) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        if is_transformer(backbone):
            stabilise(backbone, config.frozen_patches)
        normed = any(isinstance(module, _BatchNorm) for module in backbone.modules())
        hidden = [config.hidden] * (1 if normed else 2)
        layers = {"hidden_bias": False, "last_bias": False, "hidden_norm": True, "last_affine": False}
        self.projector = mlp((backbone.channels, *hidden, config.dim), **layers, last_norm=True)
        self.predictor = mlp((config.dim, config.hidden, config.dim), **layers, last_norm=not normed)
        self.key = momentum_copy(self.query)

    @property
    def query(self) -> nn.Module:
        """What the key encoder follows; the predictor is the queries' own."""
        return nn.Sequential(self.backbone, self.projector)

    @property
    def views(self) -> list[ViewSpec]:
        return [self.config.view_a, self.config.view_b]

    def chance(self, batch_size: int) -> float:
        """4 tau ln N: the right key is no nearer than any of the batch, in both directions."""
        return 4 * self.config.temperature * log(batch_size)

    def before_step(self, progress: Progress) -> None:
        move_towards(self.key, self.query, cosine_ramp(self.config.momentum, 1.0, progress.fraction))

    def forward(self, batch: dict) -> Output:
        x_1, x_2 = batch["views"]
        # Batch norm sees each view by itself.
        h_1, h_2 = self.backbone(x_1), self.backbone(x_2)  # (N, D)
        z_1 = self.projector(h_1)
        q_1, q_2 = self.predictor(z_1), self.predictor(self.projector(h_2))  # (N, dim)
        with torch.no_grad():
            k_1, k_2 = self.key(x_1), self.key(x_2)
        loss = self.contrast(q_1, k_2) + self.contrast(q_2, k_1)
        return Output(loss, embedding=h_1.detach(), projection=z_1.detach())

    def contrast(self, q: Tensor, k: Tensor) -> Tensor:
        """ctr of this process's queries against the keys of all."""
        with torch.no_grad():
            keys = gather(k)
        return in_batch_nce(q, keys, rank() * len(q), self.config.temperature)


@torch.no_grad()
def stabilise(backbone: nn.Module, frozen_patches: bool) -> None:
    """Begin a transformer as the paper does, and hold what it holds still."""
    projection = backbone.model.patch_embed.proj
    fix_positions(backbone)
    if backbone.fresh:
        xavier_linear(backbone.model, split_qkv=True)
        xavier_patches(backbone)
        if projection.bias is not None:
            nn.init.zeros_(projection.bias)
    if frozen_patches:
        projection.requires_grad_(False)
