"""The terms of the discrete VAE are its paper's formulas."""

from __future__ import annotations

import math

import pytest
import torch

from densessl.losses import kl_to_uniform, logit_laplace
from tests.losses.slow import assert_equal, batch


def density(x: float, mean: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    scale = log_scale.exp()
    return torch.exp(-(math.log(x / (1 - x)) - mean).abs() / scale) / (2 * scale * x * (1 - x))


def test_logit_laplace_equals_the_formula():
    pixels = batch(2, 3, 2, 2, seed=2).sigmoid() * 0.8 + 0.1

    def formula(mean: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
        values = zip(pixels.flatten().tolist(), mean.flatten(), log_scale.flatten(), strict=True)
        return -sum(density(x, m, s).log() for x, m, s in values) / pixels.numel()

    assert_equal(lambda m, s: logit_laplace(m, s, pixels), formula, batch(2, 3, 2, 2), batch(2, 3, 2, 2, seed=1))
    pixels.requires_grad_()
    logit_laplace(batch(2, 3, 2, 2), batch(2, 3, 2, 2, seed=1), pixels)
    assert pixels.grad is None


@pytest.mark.parametrize(("mean", "log_scale"), [(0.0, 0.0), (1.5, -1.0), (-2.0, 0.7)])
def test_logit_laplace_is_a_density_over_the_unit_interval(mean, log_scale):
    """exp(-loss) integrates to 1."""
    # Even steps of the logit, so that both ends are reached.
    logits = torch.linspace(-25, 25, 20001, dtype=torch.float64)
    x = logits.sigmoid()
    one = torch.ones(1, dtype=torch.float64)
    heights = torch.stack([torch.exp(-logit_laplace(mean * one, log_scale * one, each.view(1))) for each in x])
    assert float(torch.trapezoid(heights, x)) == pytest.approx(1, rel=1e-3)


def test_kl_to_uniform_equals_the_formula():
    def formula(logits: torch.Tensor) -> torch.Tensor:
        total, places = 0.0, 0
        for image in logits:
            for place in image.flatten(1).T:
                q = place.exp() / place.exp().sum()
                total, places = total + sum(each * (each * len(q)).log() for each in q), places + 1
        return total / places

    assert_equal(kl_to_uniform, formula, batch(3, 5, 2, 2))


def test_kl_to_uniform_worked_by_hand():
    assert float(kl_to_uniform(torch.full((2, 7, 3, 3), 4.0))) == pytest.approx(0, abs=1e-6)
    sure = torch.zeros(1, 8, 2)
    sure[:, 3] = 1e4
    assert float(kl_to_uniform(sure)) == pytest.approx(math.log(8))
    half = torch.tensor([[0.0, 0.0, -1e4, -1e4]])
    assert float(kl_to_uniform(half)) == pytest.approx(math.log(2))
