"""The optimizer, and what its rates are at each step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from timm.optim import create_optimizer_v2
from torch import nn

from densessl.methods.parts import cosine_ramp
from densessl.training.config import OptimizerConfig


def parameter_groups(method: nn.Module, decay_all: bool) -> list[dict]:
    """Two groups of the parameters that learn: those that decay, and biases and norms (one dimension or less)."""
    if hasattr(method, "parameter_groups"):
        return method.parameter_groups()
    learning = [parameter for parameter in method.parameters() if parameter.requires_grad]
    if decay_all:
        return [{"params": learning}]
    groups = [
        {"params": [parameter for parameter in learning if parameter.ndim > 1]},
        {"params": [parameter for parameter in learning if parameter.ndim <= 1], "weight_decay": 0.0, "decays": False},
    ]
    return [group for group in groups if group["params"]]


def create_optimizer(method: nn.Module, config: OptimizerConfig, lr: float) -> torch.optim.Optimizer:
    """timm's optimizer of that name over the method's groups."""
    options = {"betas": tuple(config.betas)} if "adam" in config.name or "lamb" in config.name else {}
    groups = parameter_groups(method, config.decay_all)
    # timm's "sgd" is Nesterov's; the papers' is plain, which timm calls "momentum".
    name = "momentum" if config.name == "sgd" else config.name
    return create_optimizer_v2(
        groups, opt=name, lr=lr, weight_decay=config.weight_decay, momentum=config.momentum, **options
    )


@dataclass(frozen=True)
class Schedule:
    """Learning rate and weight decay as functions of the step, 0 to total_steps - 1."""

    config: OptimizerConfig
    lr: float
    batch_size: int
    total_steps: int
    steps_per_epoch: int

    @property
    def peak(self) -> float:
        return self._scaled(self.lr)

    def learning_rate(self, step: int) -> float:
        """Linear to the peak, then half a cosine to `lr_end`."""
        warmup = min(self.config.warmup_epochs * self.steps_per_epoch, self.total_steps / 10)
        if step < warmup:
            return self.peak * (step + 1) / math.ceil(warmup)
        share = (step - warmup) / max(1, self.total_steps - warmup)
        return cosine_ramp(self.peak, self._scaled(self.config.lr_end), share)

    def weight_decay(self, step: int) -> float:
        """Along half a cosine from `weight_decay` to `weight_decay_end`."""
        end = self.config.weight_decay if self.config.weight_decay_end is None else self.config.weight_decay_end
        return cosine_ramp(self.config.weight_decay, end, step / max(1, self.total_steps))

    def apply(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Set both on the optimizer; a group with `decays` False keeps its weight decay, its `lr_scale` is a factor."""
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate(step) * group.get("lr_scale", 1.0)
            if group.get("decays", True):
                group["weight_decay"] = self.weight_decay(step)

    def _scaled(self, lr: float) -> float:
        factors = {"linear": self.batch_size / 256, "sqrt": math.sqrt(self.batch_size / 256), "none": 1.0}
        return lr * factors[self.config.lr_scaling]


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float, each: bool) -> None:
    """Scale gradients down to a norm of `limit`: all together, or each parameter's by itself (DINO's official code)."""
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    if not each:
        torch.nn.utils.clip_grad_norm_(parameters, limit)
        return
    norms = torch._foreach_norm([parameter.grad for parameter in parameters])
    factors = [(limit / (norm + 1e-6)).clamp(max=1.0) for norm in norms]
    torch._foreach_mul_([parameter.grad for parameter in parameters], factors)
