"""What detectron2 0.6 lacks for fine-tuning transformers: rates by layer, and the gradient's norm cut as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from densessl.backbones import Backbone
from densessl.documents.detection.rates import backbone_groups


class ClippedAdamW(torch.optim.AdamW):
    """AdamW whose steps begin by cutting the norm of all gradients together to `clip`; None leaves them."""

    def __init__(self, params: Any, clip: float | None = None, **settings: Any) -> None:
        super().__init__(params, **settings)
        self.clip = clip

    def step(self, closure: Callable | None = None) -> Any:
        if self.clip is not None:
            weights = [each for group in self.param_groups for each in group["params"]]
            nn.utils.clip_grad_norm_(weights, self.clip)
        return super().step(closure)


def parameter_groups(
    model: nn.Module, lr: float, layer_decay: float = 1.0, decay_all: bool = False
) -> list[dict[str, Any]]:
    """The parameters of a detector as an optimizer takes them, each once.

    lr: of what is behind the backbone; a layer of the backbone has the rate of the one behind it times `layer_decay`
    (`densessl.documents.detection.rates`).
    decay_all: weight decay on every parameter, as DiT has it; else none on biases, norms and positions.
    """
    backbone = next(part for part in model.modules() if isinstance(part, Backbone))
    groups = [
        {"params": each["params"], "lr": lr * each["lr_scale"], **_decay(decay_all or each["decays"])}
        for each in backbone_groups(backbone, layer_decay)
    ]
    taken = {id(each) for each in backbone.parameters()}
    rest = [each for each in model.parameters() if id(each) not in taken and each.requires_grad]
    for many in (True, False):
        groups.append(
            {"params": [each for each in rest if (each.ndim > 1) == many], "lr": lr, **_decay(decay_all or many)}
        )
    return [group for group in groups if group["params"]]


def _decay(decays: bool) -> dict[str, float]:
    return {} if decays else {"weight_decay": 0.0}
