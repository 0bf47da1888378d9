"""What a run of `densessl detect train` steps through: a detector under the sum of its losses."""

from __future__ import annotations

from typing import Any

from torch import nn

from densessl.backbones import Backbone
from densessl.documents.detection.detector import Detector
from densessl.methods.registry import Output


class Learning(nn.Module):
    """A detector as `densessl.training.module.PretrainModule` takes it."""

    def __init__(self, detector: Detector, layer_decay: float) -> None:
        super().__init__()
        self.detector, self.layer_decay = detector, layer_decay

    @property
    def backbone(self) -> Backbone:
        return self.detector.backbone

    def parameter_groups(self) -> list[dict]:
        return self.detector.parameter_groups(self.layer_decay)

    def forward(self, batch: dict[str, Any]) -> Output:
        losses = self.detector(batch["views"][0], batch["sizes"], batch["targets"])
        return Output(sum(losses.values()), {name: value.detach() for name, value in losses.items()})
