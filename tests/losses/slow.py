"""What the formulas written slowly share, and how they are compared with the losses."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode


def batch(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def value_and_gradients(loss, *inputs: torch.Tensor) -> list[torch.Tensor]:
    inputs = [each.detach().clone().requires_grad_() for each in inputs]
    value = loss(*inputs)
    return [value.detach(), *torch.autograd.grad(value, inputs)]


def assert_equal(loss, formula, *inputs: torch.Tensor, rtol: float = 1e-10) -> None:
    """Value and gradients agree; of gradients the largest difference is measured against the largest entry."""
    pairs = zip(value_and_gradients(loss, *inputs), value_and_gradients(formula, *inputs), strict=True)
    for ours, slow in pairs:
        assert ours.dtype == slow.dtype and ours.shape == slow.shape
        assert float((ours - slow).abs().max()) <= rtol * float(slow.abs().max())


def cosine(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return (u * v).sum() / ((u * u).sum().sqrt() * (v * v).sum().sqrt())


def cross_entropy(logits: list[torch.Tensor], right: torch.Tensor) -> torch.Tensor:
    """-log(exp(right) / sum exp(logits)), with the largest logit taken out of every exp, or float64 would overflow."""
    largest = max(float(each.detach()) for each in logits)
    return sum((each - largest).exp() for each in logits).log() - (right - largest)


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(each, torch.Tensor):
                self.elements = max(self.elements, each.numel())
        return result


def memory_of(loss, *inputs: torch.Tensor) -> tuple[int, int]:
    """Bytes kept for the backward pass, and elements of the largest tensor that either pass makes."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    inputs = [each.detach().clone().requires_grad_() for each in inputs]
    with LargestTensor() as largest, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(*inputs).backward()
    return sum(kept.values()), largest.elements
