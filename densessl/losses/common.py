"""What the losses share: directions, tiles, float32 under autocast, checks of their arguments."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Elements of a tile. On 2 idle cores of an EPYC 512**2 is the fastest and 2048**2 about a tenth slower. But where other
# processes want the cores too (loader workers, say), every operation waits for a thread that was put aside, and few
# large tiles took a third to a quarter of the time of many small ones. The figure for a GPU is an estimate.
CPU_TILE = 2048**2
GPU_TILE = 4096**2


def first_derivative_only(backward: Callable) -> Callable:
    """`once_differentiable`, which alone lets a gradient pass as a constant when the one that comes in is constant."""
    once = once_differentiable(backward)

    def refusing(ctx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return once(ctx, *(each.detach().requires_grad_(torch.is_grad_enabled()) for each in gradients))

    return refusing


def directions(z: Tensor) -> Tensor:
    """The rows of `z` (N, D) at length 1, in float32 or wider; a row without a direction becomes zeros."""
    # Shorter rows would get gradients that only float32 and wider can hold.
    shortest = 1e-6 if z.dtype in (torch.float16, torch.bfloat16) else 1e-12
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    norm = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    # Asked this way round, NaN stays NaN, and a run that has gone wrong is found out.
    return torch.where(norm <= shortest, 0.0, z / norm.clamp_min(shortest))


def tile_elements(like: Tensor) -> int:
    return CPU_TILE if like.device.type == "cpu" else GPU_TILE


def no_autocast(like: Tensor) -> torch.autocast:
    return torch.autocast(like.device.type, enabled=False)


def check_pair(loss: str, first: str, a: Tensor, second: str, b: Tensor) -> None:
    fine = a.ndim == 2 and a.shape == b.shape and len(a) > 0
    shapes = f"{first} is {tuple(a.shape)} and {second} {tuple(b.shape)}"
    check(fine, f"{loss} needs two batches of one shape (N, D) with N of 1 or more; {shapes}.")


def check_queue(loss: str, queue: Tensor, query: Tensor) -> None:
    fits = queue.ndim == 2 and len(queue) > 0 and queue.shape[1] == query.shape[1]
    check(fits, f"{loss} needs a queue (K, {query.shape[1]}) as wide as the queries; it is {tuple(queue.shape)}.")


def check_temperature(name: str, value: float) -> None:
    check(0 < value < math.inf, f"The {name} must be above 0; it is {value}.")


def check_groups(loss: str, groups: tuple[Tensor, Tensor] | None, query: Tensor, others: Tensor) -> None:
    if groups is not None:
        shapes, wanted = [tuple(group.shape) for group in groups], [(len(query),), (len(others),)]
        check(shapes == wanted, f"{loss} needs groups of shapes {wanted}, a number for each vector; they are {shapes}.")


def check(fine: bool, sentence: str) -> None:
    if not fine:
        raise ValueError(sentence)
