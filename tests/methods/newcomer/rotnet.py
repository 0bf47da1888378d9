"""RotNet: unsupervised representation learning by predicting image rotations (Gidaris et al., arXiv 1803.07728).

    L = 1/4 sum over y of -log p(y | f(rotate(x, 90 y degrees)))

All four rotations of each image go through the network (section 3.2). Where we differ from the official code: the view
is cropped at random, where theirs of CIFAR-10 is the whole image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import torch
import torch.nn.functional as F
from torch import nn

from densessl.data.views import ViewSpec
from densessl.methods.registry import Output, register


@dataclass(frozen=True)
class RotNetConfig:
    hidden: int = 256  # width of the classifier's hidden layer
    view: ViewSpec = field(default_factory=lambda: ViewSpec(scale=(0.5, 1.0), jitter=0, grey=0, blur=0))


@register(
    "rotnet",
    config=RotNetConfig,
    title="Unsupervised Representation Learning by Predicting Image Rotations",
    arxiv="1803.07728",
    year=2018,
    published="38.7 % on ImageNet, linear on conv3 (AlexNet)",
)
class RotNet(nn.Module):
    sync_batch_norm = True

    def __init__(self, backbone: nn.Module, config: RotNetConfig, data_size: int) -> None:
        super().__init__()
        self.backbone, self.views = backbone, [config.view]
        self.classifier = nn.Sequential(
            nn.Linear(backbone.channels, config.hidden), nn.ReLU(), nn.Linear(config.hidden, 4)
        )

    def chance(self, batch_size: int) -> float:
        """ln 4: every rotation as likely."""
        return log(4)

    def forward(self, batch: dict) -> Output:
        (x,) = batch["views"]
        h = self.backbone(torch.cat([x.rot90(turns, (2, 3)) for turns in range(4)]))  # (4N, D)
        y = torch.arange(4, device=x.device).repeat_interleave(len(x))
        return Output(F.cross_entropy(self.classifier(h), y), embedding=h.detach()[: len(x)])
