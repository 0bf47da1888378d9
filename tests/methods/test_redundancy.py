"""What the papers and official codes of VICReg and Barlow Twins say and the suite cannot know."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
import torch
from torch import nn

from densessl.data.views import ViewSpec
from densessl.errors import UserError
from densessl.losses import barlow_twins, vicreg
from densessl.methods import methods
from densessl.methods.barlow import BarlowConfig
from densessl.methods.vicreg import VICRegConfig
from densessl.training.config import OptimizerConfig
from densessl.training.optimizer import Schedule, create_optimizer
from tests.methods.conftest import batch_for, build


def double(method: nn.Module) -> tuple[nn.Module, dict]:
    batch = batch_for(method)
    return method.double(), batch | {"views": [view.double() for view in batch["views"]]}


def off_diagonal(square: torch.Tensor) -> torch.Tensor:
    return square - square.diag().diag()


def test_vicreg_is_algorithm_1_on_views_that_batch_norm_saw_apart():
    method, batch = double(build("vicreg"))
    z = [method.expander(method.backbone(view)) for view in batch["views"]]
    n, d = z[0].shape
    expected = 25 * ((z[0] - z[1]) ** 2).mean()
    for each in z:
        centred = each - each.mean(0)
        covariance = centred.T @ centred / (n - 1)
        expected = expected + 25 / 2 * torch.relu(1 - (covariance.diag() + 1e-4).sqrt()).mean()
        expected = expected + off_diagonal(covariance).square().sum() / d
    assert float(method(batch).loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)


def test_barlow_twins_is_algorithm_1_on_views_that_batch_norm_saw_apart():
    method, batch = double(build("barlow"))
    norm = nn.BatchNorm1d(method.config.dim, affine=False).double()
    z_a, z_b = (norm(method.projector(method.backbone(view))) for view in batch["views"])
    c = z_a.T @ z_b / len(z_a)
    expected = (c.diag() - 1).square().sum() + 0.0051 * off_diagonal(c).square().sum()
    assert float(method(batch).loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)


def test_every_setting_of_the_configs_reaches_the_loss():
    vicreg_changes = {"invariance": 3.0, "variance": 3.0, "covariance": 30.0, "gamma": 2.0, "epsilon": 0.5}
    for name, changes in (("vicreg", vicreg_changes), ("barlow", {"redundancy": 0.5})):
        plain, batch = double(build(name))
        for key, value in changes.items():
            other = build(name, **{key: value}).double()
            assert float(other(batch).loss.detach()) != pytest.approx(float(plain(batch).loss.detach()), rel=1e-4), key


@pytest.mark.parametrize(
    ("name", "head", "hidden_bias"), [("vicreg", "expander", True), ("barlow", "projector", False)]
)
def test_the_heads_are_the_papers(name, head, hidden_bias):
    parts = list(getattr(build(name), head))
    assert [type(part) for part in parts] == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]
    assert [part.bias is not None for part in parts if isinstance(part, nn.Linear)] == [hidden_bias, hidden_bias, False]
    assert len(list(build("barlow", projector_layers=2).projector)) == 4


@pytest.mark.parametrize("name", ["lars", "sgd"])
def test_barlow_twins_biases_and_norms_have_a_rate_of_their_own_and_do_not_decay(name):
    method = build("barlow")
    config = OptimizerConfig(name=name, weight_decay=1e-6)
    schedule = Schedule(config, lr=0.2, batch_size=2048, total_steps=1000, steps_per_epoch=10)
    optimizer = create_optimizer(method, config, schedule.peak)
    schedule.apply(optimizer, 100)  # the end of the warm-up
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for key, parameter in method.named_parameters():
        group = groups[id(parameter)]
        expected = (1.6, 1e-6) if parameter.ndim > 1 else (0.0048 * 8, 0)
        assert (group["lr"], group["weight_decay"]) == pytest.approx(expected), key


def test_the_chance_level_of_barlow_twins_is_the_mean_over_all_pairings():
    method, z = build("barlow", dim=4, redundancy=0.5), torch.randn(2, 5, 4, dtype=torch.float64)
    losses = [float(barlow_twins(z[0], z[1][list(order)], 0.5)) for order in permutations(range(5))]
    assert sum(losses) / len(losses) == pytest.approx(method.chance(5), rel=1e-4)


def test_the_chance_level_of_vicreg_is_the_least_for_views_with_nothing_in_common():
    z_a, z_b = torch.randn(2, 20000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for changes in ({}, {"invariance": 1.0}, {"invariance": 100.0, "gamma": 2.0}):
        method = build("vicreg", **changes)
        c = method.config
        scales = torch.linspace(0.01, 2.5, 250).tolist()
        least = min(float(vicreg(s * z_a, s * z_b, c.invariance, c.variance, 0, c.gamma, 1e-12)) for s in scales)
        assert method.chance(8) == pytest.approx(least, rel=0.03), changes
    # Collapsed embeddings stand above it, so that the run says so.
    same = torch.ones(8, 3)
    assert float(vicreg(same, same)) > 1.1 * build("vicreg").chance(8)
    assert build("vicreg", invariance=0.0).chance(8) == 0


def test_the_defaults_are_the_papers():
    config = VICRegConfig()
    weights = (config.invariance, config.variance, config.covariance, config.gamma, config.epsilon)
    assert weights == (25, 25, 1, 1, 1e-4) and (config.hidden, config.dim) == (8192, 8192)
    # Appendix C.1: both views alike.
    colour = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
    assert config.view == ViewSpec(count=2, scale=(0.08, 1.0), blur=0.5, solarize=0.1, **colour)
    barlow, byol = BarlowConfig(), methods()["byol"].config()
    assert (barlow.redundancy, barlow.projector_layers, barlow.hidden, barlow.dim) == (0.0051, 3, 8192, 8192)
    assert barlow.bias_lr == pytest.approx(0.0048 / 0.2)
    assert (barlow.view_a, barlow.view_b) == (byol.view_a, byol.view_b)


@pytest.mark.parametrize(
    ("config", "changes", "words"),
    [
        (VICRegConfig, {"variance": -1.0}, "vicreg.variance=-1"),
        (VICRegConfig, {"epsilon": 0.0}, "vicreg.epsilon=0"),
        (VICRegConfig, {"view": ViewSpec()}, "vicreg.view.count=1"),
        (BarlowConfig, {"redundancy": -0.1}, "barlow.redundancy=-0.1"),
        (BarlowConfig, {"projector_layers": 0}, "barlow.projector_layers=0"),
        (BarlowConfig, {"view_b": ViewSpec(count=2)}, r"\(1, 2\)"),
    ],
)
def test_mistakes_name_their_key(config, changes, words):
    with pytest.raises(UserError, match=words):
        replace(config(), **changes)
