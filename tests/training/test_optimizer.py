"""Rates at the steps where they can be worked out by hand, groups, and clipping."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from densessl.training.config import OptimizerConfig
from densessl.training.optimizer import Schedule, clip_gradients, create_optimizer, parameter_groups


def schedule(lr: float = 0.1, batch_size: int = 512, **settings: object) -> Schedule:
    return Schedule(OptimizerConfig(**settings), lr, batch_size, total_steps=1000, steps_per_epoch=10)


def test_the_rate_rises_linearly_and_falls_along_a_cosine():
    found = schedule(warmup_epochs=10)
    assert found.peak == pytest.approx(0.2)
    assert found.learning_rate(0) == pytest.approx(0.002) and found.learning_rate(49) == pytest.approx(0.1)
    assert found.learning_rate(100) == pytest.approx(0.2) and found.learning_rate(550) == pytest.approx(0.1)
    assert found.learning_rate(999) == pytest.approx(0, abs=1e-5)


def test_a_warm_up_is_a_part_of_the_run_at_most():
    found = schedule(warmup_epochs=90)
    assert found.learning_rate(150) == pytest.approx(0.2) and found.learning_rate(140) < 0.2


def test_a_warm_up_of_steps_is_as_long_on_a_set_of_any_size():
    for per_epoch in (1, 10, 1000):
        found = replace(schedule(warmup_epochs=10, warmup_steps=8), steps_per_epoch=per_epoch)
        rates = [found.learning_rate(step) for step in range(10)]
        assert rates[:8] == pytest.approx([found.peak * (step + 1) / 8 for step in range(8)]) and rates[9] < rates[8]


@pytest.mark.parametrize(("rule", "peak"), [("linear", 0.2), ("sqrt", 0.1 * 2**0.5), ("none", 0.1)])
def test_scaling_with_the_batch(rule, peak):
    assert schedule(lr_scaling=rule).peak == pytest.approx(peak)


def test_weight_decay_follows_its_cosine_and_spares_biases_and_norms():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    found = schedule(name="adamw", weight_decay=0.04, weight_decay_end=0.4, warmup_epochs=0)
    optimizer = create_optimizer(network, found.config, found.peak)
    found.apply(optimizer, 500)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays[id(network[0].weight)] == pytest.approx(0.22)
    assert decays[id(network[0].bias)] == decays[id(network[1].weight)] == 0
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_decay_all_has_one_group_and_frozen_weights_have_none():
    network = nn.Linear(3, 4)
    network.bias.requires_grad_(False)
    assert [len(group["params"]) for group in parameter_groups(network, decay_all=True)] == [1]
    assert [len(group["params"]) for group in parameter_groups(network, decay_all=False)] == [1]


class Grouped(nn.Module):
    """A method with groups of its own: a layer with a slower rate, one whose rate is fixed, a third without decay."""

    def __init__(self) -> None:
        super().__init__()
        self.slow, self.fixed, self.free = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(3, 4)

    def parameter_groups(self) -> list[dict]:
        groups = ({"lr_scale": 0.1}, {"fixed_lr": True}, {"decays": False})
        layers = (self.slow, self.fixed, self.free)
        return [{"params": list(layer.parameters())} | group for layer, group in zip(layers, groups, strict=True)]


@pytest.mark.parametrize("decay_all", [True, False])
def test_a_methods_own_groups_have_their_rates_and_are_parted_by_what_decays(decay_all):
    method, found = Grouped(), schedule(weight_decay=0.1, decay_all=decay_all, warmup_epochs=10)
    optimizer = create_optimizer(method, found.config, found.peak)
    for step, rate in ((0, 0.002), (550, 0.1)):
        found.apply(optimizer, step)
        groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        for layer, expected in ((method.slow, 0.1 * rate), (method.fixed, 0.2), (method.free, rate)):
            weight, bias = groups[id(layer.weight)], groups[id(layer.bias)]
            assert weight["lr"] == bias["lr"] == pytest.approx(expected)
            assert weight["weight_decay"] == (0 if layer is method.free else 0.1)
            assert bias["weight_decay"] == (0.1 if decay_all and layer is not method.free else 0)


def test_groups_that_forget_a_parameter_are_refused():
    class Forgetful(Grouped):
        def parameter_groups(self) -> list[dict]:
            return super().parameter_groups()[:2]

    with pytest.raises(ValueError, match="Forgetful.* leaves out free.weight, free.bias, which would not learn"):
        parameter_groups(Forgetful(), decay_all=False)


@pytest.mark.parametrize(("name", "moved"), [("lars", 4.0 * 0.02 / 2), ("larc", 0.02 / 2)])
def test_trust_sets_the_pace_of_lars_and_clips_in_larc(name, moved):
    """By hand, |w| 1, |g| 2: LARS moves by lr trust |w| / |g| times g, LARC by the lesser of lr and trust |w| / |g|."""
    weight = nn.Parameter(torch.tensor([[0.6, 0.8]]))
    config = OptimizerConfig(name=name, trust=0.02, momentum=0.0, weight_decay=0.0)
    optimizer = create_optimizer(nn.ParameterList([weight]), config, 4.0)
    weight.grad = torch.tensor([[2.0, 0.0]])
    before = weight.detach().clone()
    optimizer.step()
    torch.testing.assert_close(before - weight.detach(), moved * weight.grad)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
def test_timms_optimizers_take_our_settings(name):
    network = nn.Linear(3, 4)
    optimizer = create_optimizer(network, OptimizerConfig(name=name), 0.1)
    network(torch.randn(2, 3)).sum().backward()
    before = network.weight.detach().clone()
    optimizer.step()
    assert not torch.equal(before, network.weight)


def test_clipping_all_together_or_each():
    a, b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    a.grad, b.grad = torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4])
    clip_gradients([a, b, nn.Parameter(torch.zeros(1))], 1.0, each=True)
    torch.testing.assert_close(a.grad, torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(b.grad, torch.tensor([0.3, 0.4]))
    a.grad, b.grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    clip_gradients([a, b], 1.0, each=False)
    torch.testing.assert_close(torch.cat((a.grad, b.grad)).norm(), torch.tensor(1.0))
