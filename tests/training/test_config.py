"""Recipes and overrides become one checked config; mistakes are sentences that name the nearest right thing."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from densessl.config import differences, read_yaml, recipes, save
from densessl.data.views import ViewSpec
from densessl.errors import UserError
from densessl.methods import methods
from densessl.training.config import FREE, resolve


@pytest.mark.parametrize("name", list(recipes("pretrain")))
def test_every_shipped_recipe_is_valid_and_states_its_aim(name):
    config = resolve(name, ["data=somewhere"])
    assert config.method in methods() and config.out == f"runs/{name}"
    text = recipes("pretrain")[name].read_text(encoding="utf-8")
    assert text.startswith("#")


def test_overrides_reach_into_the_method_and_its_views():
    config = resolve("simclr", ["data=x", "simclr.temperature=0.2", "simclr.view.scale=[0.3, 1]", "optimizer.name=sgd"])
    assert config.simclr.temperature == 0.2 and config.simclr.view == ViewSpec(count=2, scale=(0.3, 1.0))
    assert config.optimizer.name == "sgd" and config.data == "x"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data=x", "simclr.temprature=1"], "did you mean 'simclr.temperature'"),
        (["data=x", "batchsize=3"], "did you mean 'batch_size'"),
        (["data=x", "byol.momentum=0.9"], "Unknown key 'byol'"),
        (["data=x", "lr=fast"], "lr"),
        (["data=x", "simclr=3"], "simclr"),
        (["data=x", "lr"], "key=value"),
        (["data=x", "batch_size=1"], "batch_size=1"),
        (["data=x", "steps=0"], "steps=0"),
        (["data=x", "precision=8"], "precision=8"),
        (["data=x", "optimizer.name=adamv"], "adamv"),
        (["data=x", "method=simclrr"], "did you mean 'simclr'"),
        (["data=x", "simclr.view.blur=2"], "blur"),
        (["data=x", "simclr.view.count=3"], "compares 2 views"),
        (["data=x", "simclr.temperature=0"], "temperature=0"),
        (["data=x", "optimizer.betas=[0.9]"], "betas"),
        (["data=x", "out=${nope}"], "nope"),
        ([], "data"),
    ],
)
def test_mistakes_are_sentences(overrides, words):
    with pytest.raises(UserError, match=words) as caught:
        resolve("simclr", overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [("lr: 0.1", "names no method"), ("a: [", "cannot be read as YAML"), ("- 1", "holds no recipe"), ("", "method")],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, words):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        resolve(path, ["data=x"])


def test_options_of_a_backbone_go_with_it():
    assert "use_rel_pos_bias" in resolve("beit", ["data=x"]).backbone_options
    assert "use_rel_pos_bias" in resolve("beit", ["data=x", "backbone_options.depth=6"]).backbone_options
    other = resolve("beit", ["data=x", "backbone=vit_small_patch16_224", "backbone_options.depth=6"])
    assert other.backbone_options == {"depth": 6}


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'simclr'"):
        resolve("simcrl")


def test_a_saved_config_resolves_to_itself(tmp_path):
    config = resolve("dino-small", ["data=x", "out=here", "dino.local.scale=[0.1, 0.3]"])
    save(OmegaConf.structured(config), tmp_path / "config.yaml")
    again = resolve(tmp_path / "config.yaml")
    assert again == config


def test_differences_name_what_a_run_cannot_change_and_nothing_else():
    old = OmegaConf.structured(resolve("simclr", ["data=x"]))
    free = OmegaConf.structured(resolve("simclr", ["data=x", "workers=3", "log_steps=1", "checkpoint_minutes=1"]))
    assert differences(old, free, FREE) == []
    other = OmegaConf.structured(resolve("simclr", ["data=x", "lr=1", "simclr.temperature=1"]))
    assert differences(old, other, FREE) == ["lr: 0.3, now 1.0", "simclr.temperature: 0.1, now 1.0"]


def test_a_run_of_a_release_that_knew_fewer_settings_goes_on_with_their_defaults():
    old = OmegaConf.create(OmegaConf.to_yaml(OmegaConf.structured(resolve("simclr", ["data=x"]))))
    del old.optimizer["trust"], old.simclr["hidden"]
    new = ["data=x", "optimizer.trust=0.02", "simclr.hidden=64"]
    assert differences(old, OmegaConf.structured(resolve("simclr", ["data=x"])), FREE) == []
    assert differences(old, OmegaConf.structured(resolve("simclr", new)), FREE) == [
        "optimizer.trust: 0.001, now 0.02",
        "simclr.hidden: 2048, now 64",
    ]


def test_a_run_goes_on_whichever_way_omegaconf_keeps_pairs(tmp_path):
    """omegaconf 2.4 keeps tuples as tuples, and YAML has none."""
    config = resolve("byol", ["data=x", "out=here"])
    save(OmegaConf.structured(config), tmp_path / "config.yaml")
    assert differences(read_yaml(tmp_path / "config.yaml", "pretrain"), OmegaConf.structured(config), FREE) == []


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("ibot.mask_ratio=0.3", "it must be a list, such as"),
        ("epochs=[0]", "is not a whole number"),
        ("ibot.momentum=abc", "abc is not a number"),
        ("limit=x", "x is not a whole number"),
        ("ibot.whole=1", "hides nothing"),
        ("moco.momentum=2", "Unknown key"),
    ],
)
def test_wrong_values_are_named_without_the_parsers_types(setting, reason):
    with pytest.raises(UserError, match=reason) as caught:
        resolve("ibot-cifar", ["data=x", setting])
    assert "AnyNode" not in str(caught.value) and "ListConfig" not in str(caught.value)


def test_patches_are_given_in_one_place():
    with pytest.raises(UserError, match="cpc.grid=4 and cpc.view.patches of 6 a side: give one of the two"):
        resolve("cpc-cifar", ["data=x", "cpc.grid=4", "cpc.view.patches={grid: 6, size: 8, step: 4}"])
    assert resolve("cpc-cifar", ["data=x", "cpc.grid=4"]).cpc.grid == 4
