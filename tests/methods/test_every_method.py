"""What holds for every registered method; a new file in densessl/methods is tested here the day it is added."""

from __future__ import annotations

import copy
import inspect
import math
from dataclasses import fields, is_dataclass
from statistics import fmean

import pytest
import torch

from densessl.config import read_yaml, recipes
from densessl.describe import describe, meanings, table
from densessl.methods import methods
from tests.methods.conftest import batch_for, build, config_of, moment, networks_of, one_step, progress

NAMES_AND_NETWORKS = [(name, network) for name in methods() for network in networks_of(name)]


def learning(method: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: each for name, each in method.named_parameters() if each.requires_grad}


@pytest.mark.parametrize(("name", "network"), NAMES_AND_NETWORKS)
@pytest.mark.parametrize("count", [2, 7, 8])
def test_it_gives_a_finite_loss_and_an_embedding_for_any_batch(name, network, count):
    method = build(name, network)
    moment(method, "before_step", progress())
    output = method(batch_for(method, count))
    assert output.loss.ndim == 0 and torch.isfinite(output.loss)
    assert output.embedding.shape == (count, method.backbone.channels) and not output.embedding.requires_grad
    assert all(torch.isfinite(value).all() for value in output.metrics.values())


def test_it_needs_no_labels_unless_it_says_so(name):
    method = build(name)
    batch = batch_for(method)
    if "target" not in methods()[name].needs:
        del batch["target"]
    assert torch.isfinite(method(batch).loss)


@pytest.mark.parametrize(("name", "network"), NAMES_AND_NETWORKS)
def test_every_weight_that_learns_gets_a_gradient_and_no_other_does(name, network):
    method = build(name, network)
    at = progress(step=50)
    moment(method, "before_step", at)
    method(batch_for(method)).loss.backward()
    moment(method, "after_backward", at)
    for key, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key
        else:
            assert parameter.grad is None, key
    # What is trained is what learns: some gradient reaches the first layer, or the first block where that is frozen.
    weights = [each for each in learning(method).values() if each.ndim in (2, 4)]
    first = next((each for each in weights if each.ndim == 4), weights[0])
    assert first.grad.abs().max() > 0


@pytest.mark.parametrize(("name", "network"), NAMES_AND_NETWORKS)
def test_what_moves_by_momentum_starts_as_a_copy_and_moves(name, network):
    """How it moves is each paper's own, in test_papers.py.

    What papers fix for good is where a transformer begins, a tokenizer, and shifts at 0.
    """
    method = build(name, network)
    still = {key: each.clone() for key, each in method.named_parameters() if not each.requires_grad and each.any()}
    sources = [each.detach().clone() for each in learning(method).values()]
    fixed = {
        key: each
        for key, each in still.items()
        if key.startswith("tokenizer.") or not any(torch.equal(each, source) for source in sources)
    }
    assert all(key.startswith("tokenizer.") or "pos_embed" in key or "patch_embed" in key for key in fixed), list(fixed)
    frozen = {key: each for key, each in still.items() if key not in fixed}
    optimizer = torch.optim.SGD(learning(method).values(), lr=0.1)
    for step in range(3):
        one_step(method, optimizer, batch_for(method, seed=step), progress(step))
    # A bias before a batch norm has no gradient, so its copy stands still with it.
    moved = [key for key, before in frozen.items() if not torch.equal(method.get_parameter(key), before)]
    assert len(moved) >= 0.5 * len(frozen)
    assert all(torch.equal(method.get_parameter(key), before) for key, before in fixed.items())


def test_all_that_must_survive_a_restart_is_in_the_state_dict(name):
    """Two steps, then two more: in one go, or by way of a state dict into a method from another seed."""
    one = build(name)
    first = torch.optim.SGD(learning(one).values(), lr=0.05)
    for step in range(2):
        one_step(one, first, batch_for(one, seed=step), progress(step))
    state = copy.deepcopy(one.state_dict())
    torch.manual_seed(99)
    two = build(name)
    with torch.no_grad():
        for tensor in two.state_dict().values():
            tensor.copy_(torch.rand_like(tensor.double()) + 0.5)
    two.load_state_dict(state)
    second = torch.optim.SGD(learning(two).values(), lr=0.05)
    for step in range(2, 4):
        losses = []
        for method, optimizer in ((one, first), (two, second)):
            torch.manual_seed(step)
            losses.append(one_step(method, optimizer, batch_for(method, seed=step), progress(step)))
        assert torch.equal(*losses)
    for key, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[key]), key


def test_it_learns_a_batch_by_heart(name):
    """Seeing the same views again and again, the loss falls clearly below where it soon was."""
    method = build(name)
    optimizer = torch.optim.Adam(learning(method).values(), lr=3e-3)
    batch = batch_for(method, 16)
    losses = []
    for _ in range(50):
        torch.manual_seed(0)
        losses.append(float(one_step(method, optimizer, batch, progress(20))))
    # A queue of random keys, or a centre of zeros, makes the first steps easier than those that follow.
    highest = max(losses[:10])
    assert fmean(losses[-10:]) < highest - 0.1 * max(0.5, abs(highest)), losses[::5]


def test_bfloat16_autocast_stays_near_float32(name):
    method = build(name)
    batch = batch_for(method)
    twin = copy.deepcopy(method)
    for each in (method, twin):
        moment(each, "before_step", progress())
    torch.manual_seed(1)
    exact = method(batch).loss
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = twin(batch).loss
    assert rough.dtype == torch.float32
    assert float(rough.detach()) == pytest.approx(float(exact.detach()), rel=0.05, abs=0.05)


def test_its_chance_level_is_the_loss_of_a_network_that_sees_nothing(name):
    """Views of pure noise have nothing in common, so no method gets clearly below the level that it states.

    A queue or a centre is given some steps to fill; every batch is of other images, which a bank could tell by their
    index. Above it they may well be: spread embeddings at a low temperature are sure of the wrong things.
    """
    method = build(name)
    stated = method.chance(8)
    assert math.isfinite(stated)
    for seed in range(6):
        moment(method, "before_step", progress(20))
        batch = batch_for(method, 8, seed=seed)
        with torch.no_grad():
            loss = float(method(batch | {"index": batch["index"] + 8 * seed}).loss)
    assert loss > stated - 0.3 * max(1, abs(stated))
    assert stated > 0.2 * loss - 0.3, "a level that is far too low would never be seen"


def test_its_config_is_frozen_and_its_paper_named(name):
    entry = methods()[name]
    assert entry.config.__dataclass_params__.frozen
    assert config_of(entry) != entry.config()
    assert entry.arxiv.split(".")[0].isdigit() and entry.year > 2015


def test_its_file_says_what_it_is(name):
    text = describe(name)
    entry = methods()[name]
    assert entry.arxiv in text and "differ" in text and f"{name}." in text
    chance = " ".join(inspect.getdoc(entry.cls.chance).split())
    assert len(chance) > 5 and f"Chance level of the loss: {chance}" in text and "blur_sigma" in text
    assert name in table() and entry.title in table()


def test_its_settings_have_meanings(name):
    """A comment behind each, which `densessl methods NAME` prints."""
    config = methods()[name].config
    plain = {field.name for field in fields(config) if not is_dataclass(getattr(config(), field.name))}
    assert plain <= meanings(config).keys()


def test_it_has_a_recipe(name):
    assert any(read_yaml(recipe, "pretrain").get("method") == name for recipe in recipes("pretrain"))
