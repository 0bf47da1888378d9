"""What several processes share. In one process each function returns what it was given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

_alone = False


@contextmanager
def alone() -> Iterator[None]:
    """For what one process does while the others do not: every function here acts as if there were no other."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def world_size() -> int:
    """Number of processes that train together; 1 without `torch.distributed`."""
    if _alone:
        return 1
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's place among them, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


class _Gather(torch.autograd.Function):
    """All ranks' rows, in order of rank; the gradient of this rank's rows is summed over all ranks' losses."""

    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        # A copy that keeps only this rank's slice, as several libraries had it, loses the others' losses.
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def gather(rows: Tensor) -> Tensor:
    """(N, ...) of this process -> (world * N, ...) of all; differentiable, every process must hold as many rows."""
    return rows if world_size() == 1 else _Gather.apply(rows)


class _Sum(torch.autograd.Function):
    """The sum over processes; since each loss hangs on every process's value, the gradient is a sum as well."""

    @staticmethod
    def forward(ctx, value: Tensor) -> Tensor:
        total = value.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient


def sum_over_processes(value: Tensor) -> Tensor:
    """The sum of every process's `value`; differentiable."""
    return value if world_size() == 1 else _Sum.apply(value)


@torch.no_grad()
def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of every process's `value`, without gradient."""
    if world_size() == 1:
        return value.detach()
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / world_size()


@torch.no_grad()
def from_first(value: Tensor) -> Tensor:
    """The first process's `value`, for numbers drawn at random that all must agree on."""
    if world_size() == 1:
        return value
    sent = value.contiguous().to(_device(value.device))
    dist.broadcast(sent, src=0)
    return sent.to(value.device)


def any_process(flag: bool) -> bool:
    """Whether `flag` is true in any process; all must call it, and all get the same answer."""
    if world_size() == 1:
        return flag
    found = torch.tensor([float(flag)], device=_device("cpu"))
    dist.all_reduce(found, op=dist.ReduceOp.MAX)
    return bool(found)


def _device(device: torch.device | str) -> torch.device | str:
    """Where a tensor must lie to be sent."""
    return "cuda" if dist.get_backend() == "nccl" else device


def from_all(value: object) -> list:
    """Every process's `value`, in order of rank; small objects of our own only, since they travel as pickles."""
    if world_size() == 1:
        return [value]
    values: list = [None] * world_size()
    dist.all_gather_object(values, value)
    return values
