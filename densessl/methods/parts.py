"""What several papers share: heads, views, a momentum copy, queue and bank, batch norm in parts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from densessl.data.views import ViewSpec
from densessl.distributed import from_first, gather, rank, world_size
from densessl.errors import require
from densessl.methods.registry import Progress


def mlp(
    sizes: Sequence[int],
    *,
    hidden_bias: bool,
    last_bias: bool,
    hidden_norm: bool,
    last_norm: bool,
    last_affine: bool = True,
) -> nn.Sequential:
    """Linear layers of these sizes with ReLU between them; batch norm after the hidden ones, the last, or neither.

    last_affine: whether the last batch norm learns a scale and a shift.
    """
    layers: list[nn.Module] = []
    for place, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        last = place == len(sizes) - 2
        layers.append(nn.Linear(inputs, outputs, bias=last_bias if last else hidden_bias))
        if last_norm if last else hidden_norm:
            layers.append(nn.BatchNorm1d(outputs, affine=last_affine or not last))
        if not last:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class PrototypeHead(nn.Module):
    """(N, D) -> (N, K): DINO's perceptron of three layers, unit vectors, and their cosines with K prototypes.

    bottleneck: dimension of the unit vectors. batch_norm: in the hidden layers. learn_gain: a learned length for each
    prototype, which is 1 otherwise.
    """

    def __init__(
        self, channels: int, hidden: int, bottleneck: int, prototypes: int, *, batch_norm: bool, learn_gain: bool
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (channels, hidden):
            norm = [nn.BatchNorm1d(hidden)] if batch_norm else []
            layers += [nn.Linear(inputs, hidden), *norm, nn.GELU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden, bottleneck))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.prototypes = nn.Linear(bottleneck, prototypes, bias=False)
        # Weight norm: its gain is fixed at 1 ("norm_last_layer") or begins there.
        self.gain = nn.Parameter(torch.ones(prototypes, 1)) if learn_gain else None

    def forward(self, h: Tensor) -> Tensor:
        return self.compare(self.embed(h))

    def embed(self, h: Tensor) -> Tensor:
        """(N, D) -> (N, bottleneck), of length 1."""
        return F.normalize(self.mlp(h), dim=1, eps=1e-6)

    def compare(self, z: Tensor) -> Tensor:
        """(..., bottleneck) -> (..., K)."""
        prototypes = F.normalize(self.prototypes.weight, dim=1)
        return F.linear(z, prototypes if self.gain is None else self.gain * prototypes)

    def freeze(self) -> None:
        """Take the gradient of the prototypes away: None, not zero, or weight decay and momentum would move them."""
        self.prototypes.weight.grad = None
        if self.gain is not None:
            self.gain.grad = None


def byol_view(blur: float, solarize: float = 0.0, **changes: Any) -> ViewSpec:
    """A view with BYOL's colours (arXiv 2006.07733, table 6), on which several papers build."""
    return ViewSpec(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, blur=blur, solarize=solarize, **changes)


def moco_views() -> ViewSpec:
    """Two views of MoCo v2 (arXiv 2003.04297): SimCLR's at half the strength, of a fifth of the image at least."""
    return ViewSpec(count=2, scale=(0.2, 1.0), brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)


def momentum_copy(module: nn.Module) -> nn.Module:
    """A copy that gradients never reach; `move_towards` moves it. It stays in training mode, as the papers' does."""
    copy = deepcopy(module).requires_grad_(False)
    for part in copy.modules():
        if isinstance(part, DropPath):  # stochastic depth belongs to the student alone
            part.drop_prob = 0.0
    return copy


@torch.no_grad()
def move_towards(copy: nn.Module, module: nn.Module, momentum: float) -> None:
    """copy <- momentum * copy + (1 - momentum) * module, parameters only.

    Buffers stay out, as in every official code: a copy's batch statistics come from its own forward passes.
    """
    ours, theirs = list(copy.parameters()), [parameter.detach() for parameter in module.parameters()]
    torch._foreach_lerp_(ours, theirs, 1 - momentum)


def cosine_ramp(start: float, end: float, fraction: float) -> float:
    """From `start` to `end` along half a cosine as `fraction` goes from 0 to 1."""
    return end - (end - start) * (math.cos(math.pi * min(1.0, fraction)) + 1) / 2


def warm_up(start: float, end: float, epochs: float, progress: Progress) -> float:
    """From `start` to `end` in a straight line over so many epochs, 0.3 of the run at most."""
    epochs = min(epochs, 0.3 * progress.total_steps / progress.steps_per_epoch)
    share = min(1.0, progress.epoch / epochs) if epochs > 0 else 1.0
    return start + share * (end - start)


def half_of_data(notes: list[str], setting: str, asked: int, data_size: int) -> int:
    """`asked`, or half of the images where that is less, 1 at least; then `notes` get a sentence for the user."""
    most = max(1, data_size // 2)
    if asked > most:
        notes.append(f"{setting} is {most} here, half of the images, in the place of {asked}.")
    return min(asked, most)


class Queue(nn.Module):
    """The last `length` keys, first in first out; it starts as random unit vectors. A persistent buffer.

    keys: (length, D), unit rows.
    """

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(length, dim), dim=1))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Put (N, D) unit keys in the place of the oldest; the end wraps, whatever N is."""
        length = len(self.keys)
        keys = keys[-length:].to(self.keys.dtype)
        places = (self.position + torch.arange(len(keys), device=keys.device)) % length
        self.keys[places] = keys
        self.position.copy_((self.position + len(keys)) % length)


class MemoryBank(nn.Module):
    """A vector per image of the data, the same on every process; it starts as random unit vectors. A persistent buffer.

    rows: (size, D), unit rows.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", from_first(F.normalize(torch.randn(size, dim), dim=1)))

    @torch.no_grad()
    def update(self, index: Tensor, vectors: Tensor, momentum: float) -> None:
        """row <- the direction of momentum * row + (1 - momentum) * direction of the vector, for all processes' images.

        index: (N,) of this process's images; vectors: (N, D), of any lengths.
        """
        index, new = gather(index), gather(F.normalize(vectors.to(self.rows.dtype), dim=1))
        mixed = momentum * self.rows[index] + (1 - momentum) * new
        self.rows[index] = F.normalize(mixed, dim=1)

    @torch.no_grad()
    def others(self, count: int, index: Tensor) -> Tensor:
        """(K, D) rows of images drawn at random without replacement, none of them in any process's batch.

        The same on all processes; K is `count`, or what is left of the data when that is less.
        """
        index, size = gather(index), len(self.rows)
        left = size - len(index)
        require(left > 0, f"A batch of {len(index)} leaves none of {size} images to compare with: lower batch_size.")
        numbers = torch.rand(size, device=index.device)
        numbers[index] = -1
        return self.rows[from_first(numbers.topk(min(count, left), sorted=False).indices)]


def in_parts(network: nn.Module, images: Tensor, parts: int) -> Tensor:
    """Run equal parts of the batch one after another, so that batch norm sees each part alone.

    images: (N, ...) of this process -> (N, D). parts: of the batch of all processes, so that one process stands in for
        that many GPUs and several for as many together; two images a part at least. The running statistics move at the
        pace of whole batches.
    """
    parts = min(parts // world_size(), len(images) // 2)
    if parts <= 1:
        return network(images)
    with _slow_batch_norm(network, parts):
        return torch.cat([network(part) for part in images.tensor_split(parts)])


@contextmanager
def _slow_batch_norm(network: nn.Module, parts: int) -> Iterator[None]:
    """Let `parts` updates of the running statistics weigh as much as one does."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.momentum is not None]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1 - (1 - norm.momentum) ** (1 / parts)
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


@torch.no_grad()
def shuffled(images: Tensor) -> tuple[Tensor, Tensor]:
    """Deal the images of all processes anew, so that batch norm groups keys otherwise than queries.

    images (N, ...) -> this process's (N, ...) of the shuffled whole, and the order, for `unshuffled`.
    """
    everyone = gather(images)
    order = from_first(torch.randperm(len(everyone), device=images.device))
    return everyone[order.chunk(world_size())[rank()]], order


@torch.no_grad()
def unshuffled(rows: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Undo `shuffled` on what was made of it: this process's rows (N, D) and those of all processes, in order."""
    everyone = torch.empty_like(gathered := gather(rows))
    everyone[order] = gathered
    return everyone.chunk(world_size())[rank()], everyone
