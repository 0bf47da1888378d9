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
    """Groups of the parameters that learn: those that decay, and biases and norms (one dimension or less).

    The method's own groups are parted alike, but for those that say themselves whether they `decays`.
    """
    learning = {name: parameter for name, parameter in method.named_parameters() if parameter.requires_grad}
    groups = method.parameter_groups() if hasattr(method, "parameter_groups") else [{"params": learning.values()}]
    groups = [group | {"params": list(group["params"])} for group in groups]
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    left = [name for name, parameter in learning.items() if id(parameter) not in grouped]
    if left:
        name = type(method).__name__
        raise ValueError(f"{name}.parameter_groups() leaves out {', '.join(left)}, which would not learn")
    return [part for group in groups for part in _by_decay(group, decay_all) if part["params"]]


def _by_decay(group: dict, decay_all: bool) -> list[dict]:
    if group.get("decays", decay_all):
        return [group]
    still = {"weight_decay": 0.0, "decays": False}
    if "decays" in group:
        return [still | group]
    weights, others = ([p for p in group["params"] if (p.ndim > 1) == weight] for weight in (True, False))
    return [group | {"params": weights}, group | {"params": others} | still]


def create_optimizer(method: nn.Module, config: OptimizerConfig, lr: float) -> torch.optim.Optimizer:
    """timm's optimizer of that name over the method's groups."""
    options = {"betas": tuple(config.betas)} if "adam" in config.name or "lamb" in config.name else {}
    groups = parameter_groups(method, config.decay_all)
    if config.name in ("lars", "larc", "nlars", "nlarc"):
        options["trust_coeff"] = config.trust
        # timm's own rule is to adapt what has a weight decay now, so that with one of 0 steps would have full length.
        groups = [{"always_adapt": group.get("decays", True)} | group for group in groups]
    # timm's "sgd" is Nesterov's; the papers' is plain, which timm calls "momentum".
    name = "momentum" if config.name == "sgd" else config.name
    return create_optimizer_v2(
        groups, opt=name, lr=lr, weight_decay=config.weight_decay, momentum=config.momentum, **options
    )


LONGEST_WARMUP = 0.15  # of a run; that of MoCo v3, the longest of the papers', is 40 of 300 epochs


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
        config = self.config
        wanted = config.warmup_epochs * self.steps_per_epoch if config.warmup_steps is None else config.warmup_steps
        warmup = min(wanted, LONGEST_WARMUP * self.total_steps)
        if step < warmup:
            return self.peak * (step + 1) / math.ceil(warmup)
        share = (step - warmup) / max(1, self.total_steps - warmup)
        return cosine_ramp(self.peak, self._scaled(self.config.lr_end), share)

    def weight_decay(self, step: int) -> float:
        """Along half a cosine from `weight_decay` to `weight_decay_end`."""
        end = self.config.weight_decay if self.config.weight_decay_end is None else self.config.weight_decay_end
        return cosine_ramp(self.config.weight_decay, end, step / max(1, self.total_steps))

    def apply(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Set both on the optimizer.

        A group with `decays` False keeps its weight decay, one with `fixed_lr` the peak; its `lr_scale` is a factor.
        """
        for group in optimizer.param_groups:
            rate = self.peak if group.get("fixed_lr", False) else self.learning_rate(step)
            group["lr"] = rate * group.get("lr_scale", 1.0)
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
