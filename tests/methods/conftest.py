"""Small networks and batches for the suite that every method runs through."""

from __future__ import annotations

import tempfile
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from densessl.backbones import create_backbone
from densessl.backbones.dvae import Decoder
from densessl.backbones.tokenizer import DiscreteVAE, tokenizer_files
from densessl.data.views import ViewSpec
from densessl.methods import Entry, methods
from densessl.methods.registry import Progress

SIZE = 16
# Widths and counts are made small by their names, so that a new method's config needs no entry here.
SMALL = {
    "hidden": 16,
    "dim": 8,
    "bottleneck": 8,
    "prototypes": 24,
    "queue": 12,
    "queue_epoch": 0,
    "clusters": 8,
    "decoder_dim": 32,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "local_crops": 2,
    "batch_norm_splits": 2,
    "grid": 4,
    "vocabulary": 24,
    "width": 8,
    "blocks": 1,
    "negatives": 24,
}
NETWORKS = {
    "resnet": ("resnet18", {"channels": [8, 8, 16, 16], "layers": [1, 1, 1, 1], "stem_width": 8, "stem": "small"}),
    "vit": ("vit_tiny_patch16_224", {"embed_dim": 24, "depth": 2, "num_heads": 2, "patch_size": 4}),
}


@cache
def tokenizer_folder() -> tempfile.TemporaryDirectory:
    """A folder with a small tokenizer, as a run of dvae leaves it; the same weights in every process."""
    folder = tempfile.TemporaryDirectory(prefix="densessl-tokenizer-")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = create_backbone("dvae_encoder", SIZE, {"width": 8, "groups": 2, "blocks": 1})
        vae = DiscreteVAE(backbone, SMALL["vocabulary"], Decoder(SMALL["vocabulary"], 2, 6, 8, 1, 8))
        for name, data in tokenizer_files(vae).items():
            (Path(folder.name) / name).write_bytes(data)
    return folder


def small_values(entry: Entry) -> dict[str, object]:
    """What makes the method's config small, and what it cannot do without."""
    known = {field.name for field in fields(entry.config)}
    small = {name: value for name, value in SMALL.items() if name in known}
    return small | ({"tokenizer": tokenizer_folder().name} if "tokenizer" in known else {})


def config_of(entry: Entry, **changes: object) -> object:
    """The method's config, small."""
    small = small_values(entry)
    return replace(entry.config(), **(small | changes))


def networks_of(name: str) -> list[str]:
    """Which of the small networks the method takes."""
    return ["vit"] if "transformer" in methods()[name].needs else list(NETWORKS)


def build(name: str, network: str | None = None, data_size: int = 64, seed: int = 0, **changes: object) -> nn.Module:
    """The method of that name on a small network; None takes the first that it takes."""
    torch.manual_seed(seed)
    architecture, options = NETWORKS[network or networks_of(name)[0]]
    entry = methods()[name]
    backbone = create_backbone(architecture, SIZE, options)
    method = entry.cls(backbone, config_of(entry, **changes), data_size).train()
    begin_epoch(method, progress(), data_size)
    return method


class RandomImages:
    """Stands for the run's images where a method looks at all of them: noise, the same for the same index."""

    def __init__(self, method: nn.Module, size: int) -> None:
        self.method, self.size = method, size

    def __len__(self) -> int:
        return self.size

    @torch.no_grad()
    def vectors(self, network, views) -> torch.Tensor:
        like, rows = next(self.method.parameters()), []
        for number, spec in enumerate(each for each in views for _ in range(each.count)):
            generator = torch.Generator().manual_seed(number)
            images = torch.randn(self.size, *shape_of(spec), generator=generator).to(like)
            rows.append(network(images).float())
        return torch.stack(rows, dim=1)

    def advance(self, stage: str, done: int, total: int) -> None:
        assert 0 < done <= total


def shape_of(spec: ViewSpec) -> tuple[int, ...]:
    """Of one image's view, as a method is given it."""
    if spec.patches:
        return (spec.patches.count, 3, spec.patches.size, spec.patches.size)
    return (3, spec.side(SIZE), spec.side(SIZE))


def begin_epoch(method: nn.Module, at: Progress, data_size: int = 64) -> None:
    if hasattr(method, "epoch_start"):
        method.epoch_start(at, RandomImages(method, data_size))


def batch_for(method: nn.Module, count: int = 8, seed: int = 0) -> dict:
    """Random views of the sizes and in the number that the method asks for."""
    generator = torch.Generator().manual_seed(seed)
    specs: list[ViewSpec] = [spec for spec in method.views for _ in range(spec.count)]
    views = [torch.randn(count, *shape_of(spec), generator=generator) for spec in specs]
    return {"views": views, "index": torch.arange(count), "target": torch.arange(count) % 3}


def progress(step: int = 0, total: int = 100) -> Progress:
    return Progress(step, total, 10)


def moment(method: nn.Module, name: str, at: Progress) -> None:
    if hasattr(method, name):
        getattr(method, name)(at)


def one_step(method: nn.Module, optimizer: torch.optim.Optimizer, batch: dict, at: Progress) -> torch.Tensor:
    """A step with every moment in its place, as the training loop does it; the loss."""
    moment(method, "before_step", at)
    loss = method(batch).loss
    optimizer.zero_grad()
    loss.backward()
    moment(method, "after_backward", at)
    optimizer.step()
    moment(method, "after_step", at)
    return loss.detach()


@pytest.fixture(params=list(methods()))
def name(request: pytest.FixtureRequest) -> str:
    """Every registered method in turn."""
    return request.param
