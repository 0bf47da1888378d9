"""The monitor of collapse speaks when a method is broken on purpose, and is silent beside its intact twin.

Real trainings of a small network on 64 structured pictures; each is seen in two random views at every step.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from densessl.backbones import create_backbone
from densessl.methods import methods, simsiam
from densessl.training.monitors import FLAT, SAME, CollapseMonitor
from tests.methods.conftest import SIZE, config_of, one_step, progress

COUNT, SIDE, LOOK = 64, 24, 20  # pictures, their side in pixels, steps between looks of the monitor
SEEDS = [0, 1, 2]
NETWORK = {"channels": [8, 8, 16, 16], "layers": [1, 1, 1, 1], "stem_width": 8, "stem": "half"}


def pictures() -> torch.Tensor:
    """Smooth patches of colour, (COUNT, 3, SIDE, SIDE), always the same."""
    coarse = torch.rand(COUNT, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    return F.interpolate(coarse, size=SIDE, mode="bicubic")


def view(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random crop of SIZE of each, flipped or not, each colour stretched and shifted."""
    corners = torch.randint(0, SIDE - SIZE + 1, (COUNT, 2), generator=generator).tolist()
    crops = [image[:, y : y + SIZE, x : x + SIZE] for image, (y, x) in zip(images, corners, strict=True)]
    flip = torch.rand(COUNT, 1, 1, 1, generator=generator) < 0.5
    gain, shift = torch.rand(2, COUNT, 3, 1, 1, generator=generator)
    seen = torch.stack(crops)
    return torch.where(flip, seen.flip(3), seen) * (0.6 + 0.8 * gain) + 0.8 * shift - 0.4


def train(method: nn.Module, steps: int, lr: float, seed: int) -> tuple[dict[str, float], list[str]]:
    """What the monitor measures in the end, and all that it said on the way."""
    images, generator = pictures(), torch.Generator().manual_seed(seed)
    learning = [parameter for parameter in method.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=lr, momentum=0.9, weight_decay=5e-4)
    monitor, said, figures = CollapseMonitor(window=4 * COUNT), [], {}
    method.register_forward_hook(lambda module, inputs, output: monitor.update(output.projection))
    for step in range(steps):
        views = [view(images, generator) for _ in range(2)]
        one_step(method, optimizer, {"views": views, "index": torch.arange(COUNT)}, progress(step, steps))
        if (step + 1) % LOOK == 0:
            figures, sentence = monitor.check()
            said += [sentence] if sentence else []
    return figures, said


def build(name: str, seed: int, **changes: object) -> nn.Module:
    torch.manual_seed(seed)
    entry = methods()[name]
    return entry.cls(create_backbone("resnet18", SIZE, NETWORK), config_of(entry, **changes), COUNT).train()


def train_simsiam(seed: int) -> tuple[dict[str, float], list[str]]:
    return train(build("simsiam", seed, projector_layers=2, hidden=32, dim=32), steps=100, lr=0.25, seed=seed)


def train_byol(seed: int, predictor: bool) -> tuple[dict[str, float], list[str]]:
    method = build("byol", seed, hidden=64, dim=32, momentum=0.9)
    if not predictor:
        method.predictor = nn.Identity()
    return train(method, steps=40, lr=0.2, seed=seed)


def healthy(figures: dict[str, float], said: list[str]) -> bool:
    """Silent, and far from either threshold."""
    return not said and figures["embedding_std"] > 5 * SAME and figures["rankme"] > 2 * FLAT


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_simsiam_collapses_without_its_stop_of_gradients(seed, monkeypatch):
    """Onto a line: its last batch norm has no shift, so that not all embeddings of a batch can be the same."""
    intact, said = train_simsiam(seed)
    assert healthy(intact, said)
    monkeypatch.setattr(simsiam, "negative_cosine", lambda p, z: -F.cosine_similarity(p, z).mean())
    broken, said = train_simsiam(seed)
    assert len(said) == 1 and "collapsed onto a line" in said[0]
    assert broken["rankme"] < intact["rankme"] / 2 and broken["embedding_std"] < 0.75 * intact["embedding_std"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_byol_collapses_without_its_predictor(seed):
    """To a point."""
    assert healthy(*train_byol(seed, predictor=True))
    figures, said = train_byol(seed, predictor=False)
    assert len(said) == 1 and "the same vector" in said[0] and figures["embedding_std"] < SAME
