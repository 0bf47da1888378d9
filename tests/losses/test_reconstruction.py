"""MAE's loss is its paper's formula."""

from __future__ import annotations

import math

import pytest
import torch

from densessl.losses import masked_reconstruction
from tests.losses.slow import assert_equal, batch, memory_of, value_and_gradients


def by_loops(prediction, target, mask, normalise: bool) -> torch.Tensor:
    total, hidden = 0.0 * prediction.sum(), 0
    for image in range(len(target)):
        for patch in range(target.shape[1]):
            if not mask[image, patch]:
                continue
            hidden += 1
            wanted = [float(value) for value in target[image, patch]]
            if normalise:
                mean = sum(wanted) / len(wanted)
                variance = sum((value - mean) ** 2 for value in wanted) / (len(wanted) - 1)
                wanted = [(value - mean) / math.sqrt(variance + 1e-6) for value in wanted]
            said = prediction[image, patch]
            total = total + sum((a - b) ** 2 for a, b in zip(said, wanted, strict=True)) / len(wanted)
    return total / max(1, hidden)


@pytest.mark.parametrize("normalise", [True, False])
def test_masked_reconstruction_equals_the_formula(normalise):
    target, mask = batch(3, 4, 6, seed=1) * 3 + 1, batch(3, 4, seed=2) > 0
    target[0, 0], mask[0, 0] = 0.7, True  # a patch of one colour
    target[1, 1], mask[1, 1] = target[1, 1] * 1e-3, True  # and one where the 1e-6 counts
    assert_equal(
        lambda p: masked_reconstruction(p, target, mask, normalise),
        lambda p: by_loops(p, target, mask, normalise),
        batch(3, 4, 6),
    )


def test_it_equals_lightlys():
    from lightly.models.utils import normalize_mean_var

    prediction, target, mask = batch(3, 4, 6), batch(3, 4, 6, seed=1), batch(3, 4, seed=2) > 0
    theirs = torch.nn.functional.mse_loss(prediction[mask], normalize_mean_var(target)[mask])
    assert float(masked_reconstruction(prediction, target, mask)) == pytest.approx(float(theirs), rel=1e-12)


def test_what_was_seen_does_not_count_and_the_target_gets_no_gradient():
    prediction, target, mask = batch(3, 4, 6), batch(3, 4, 6, seed=1), batch(3, 4, seed=2) > 0
    gradient = value_and_gradients(lambda p: masked_reconstruction(p, target, mask), prediction)[1]
    assert (gradient[~mask] == 0).all() and (gradient[mask] != 0).all()
    masked_reconstruction(prediction.requires_grad_(), target.requires_grad_(), mask).backward()
    assert target.grad is None
    nothing = value_and_gradients(lambda p: masked_reconstruction(p, target, mask & False), prediction)
    assert all(float(each.abs().max()) == 0 for each in nothing)


def test_its_chance_level():
    target = batch(20, 10, 12)
    value = masked_reconstruction(torch.zeros_like(target), target, torch.ones(20, 10))
    assert float(value) == pytest.approx(11 / 12, rel=1e-4)


def test_it_keeps_one_array_and_goes_backward_twice():
    n, p, v = 8, 64, 48
    prediction, target = batch(n, p, v, dtype=torch.float32), batch(n, p, v, seed=1, dtype=torch.float32)
    mask = batch(n, p, seed=2) > 0
    kept, largest = memory_of(lambda p: masked_reconstruction(p, target, mask), prediction)
    assert kept <= 4 * (n * p * v + n * p) and largest == n * p * v
    prediction.requires_grad_()
    loss = masked_reconstruction(prediction, target, mask)
    (once,) = torch.autograd.grad(loss, prediction, retain_graph=True)
    assert torch.equal(once, torch.autograd.grad(loss, prediction)[0])
