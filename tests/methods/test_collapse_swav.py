"""Without its Sinkhorn iterations SwAV collapses, and the monitor of collapse says so; with them it is silent."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from densessl.methods import swav
from densessl.training.monitors import CollapseMonitor
from tests.methods.conftest import build, one_step, progress

IMAGES, BATCH, STEPS = 256, 32, 40


def softmax_codes(scores: torch.Tensor, epsilon: float, iterations: int) -> torch.Tensor:
    """Codes that nothing balances: each image's own softmax."""
    return (scores / epsilon).softmax(1)


def train(seed: int = 0) -> tuple[dict[str, float], str | None]:
    """What the monitor says of the last 256 images of a short run on smooth pictures with noise for views."""
    method = build("swav", queue=0, local_crops=0, frozen_epochs=0, hidden=64, dim=32, prototypes=100, data_size=IMAGES)
    generator, monitor = torch.Generator().manual_seed(seed), CollapseMonitor(window=256)
    pictures = F.interpolate(torch.randn(IMAGES, 3, 4, 4, generator=generator), size=(16, 16), mode="bilinear")
    optimizer = torch.optim.SGD(method.parameters(), lr=0.3, momentum=0.9, weight_decay=1e-6)
    method.register_forward_hook(lambda module, inputs, output: monitor.update(output.projection))
    for _ in range(STEPS):
        index = torch.randint(IMAGES, (BATCH,), generator=generator)
        x = pictures[index]
        views = [x + 0.3 * torch.randn(x.shape, generator=generator) for _ in range(2)]
        one_step(method, optimizer, {"views": views, "index": index}, progress(20))
    return monitor.check()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_monitor_speaks_without_sinkhorn_and_is_silent_with_it(seed, monkeypatch):
    figures, sentence = train(seed)
    assert sentence is None and figures["embedding_std"] > 0.5 and figures["rankme"] > 10
    monkeypatch.setattr(swav, "sinkhorn", softmax_codes)
    figures, sentence = train(seed)
    assert sentence is not None and "collapsed" in sentence and figures["embedding_std"] < 0.01
