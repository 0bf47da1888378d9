"""A classifier from few labels: where it begins, what is trained, what is left, and how it goes on."""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from densessl.backbones import create_backbone, load_backbone
from densessl.backbones.heads import first_layers, load_head
from densessl.classification import classify, finetune, load_classifier
from densessl.classification.classifier import Classifier
from densessl.classification.config import FinetuneConfig, FinetuneSection, resolve
from densessl.classification.finetune import Finetune, set_drop_path
from densessl.classification.labels import balanced, matched
from densessl.config import recipes
from densessl.data.sources import open_source
from densessl.data.vectors import prepare
from densessl.errors import UserError
from densessl.training import pretrain
from densessl.training.callbacks import Checkpoints
from densessl.training.optimizer import create_optimizer
from tests.classification.conftest import NETWORK, SMALL, draw


def tune(run: Path, data: Path, out: Path, *overrides: str) -> Path:
    return finetune(run, [f"data={data}", f"out={out}", *SMALL, *overrides], say=lambda sentence: None)


def started(run: Path, layer: int, classes: int = 3) -> Classifier:
    return Classifier(load_backbone(run), first_layers(load_head(run), layer), [str(name) for name in range(classes)])


def test_a_run_keeps_its_head_whole(run):
    head, state = load_head(run), torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    kinds = [type(layer).__name__ for layer in head]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    for name, value in head.state_dict().items():
        assert torch.equal(value, state[f"method.projector.{name}"]), name
    assert any(value.ne(0).any() for name, value in head.state_dict().items() if "running_mean" in name)


def test_it_begins_with_the_first_layer_of_the_head_and_no_opinion(run):
    """f_task(x) = W_task ReLU(BN(W_1 f(x))), the norm's statistics included, and W_task is zero."""
    state = load_file(run / "head.safetensors")
    images = torch.randn(4, 3, 16, 16)
    for layer in (0, 1, 2):
        classifier = started(run, layer).eval()
        found = classifier.layers(classifier.backbone(images))
        expected = classifier.backbone(images)
        for each in range(layer):
            place = 3 * each
            weight, norm = state[f"{place}.weight"], f"{place + 1}."
            x = expected @ weight.T
            deviation = (state[norm + "running_var"] + 1e-5).sqrt()
            x = (x - state[norm + "running_mean"]) / deviation * state[norm + "weight"] + state[norm + "bias"]
            expected = x.clamp_min(0)
        torch.testing.assert_close(found, expected)
    config = resolve(FinetuneConfig, "backbone", str(run), ["data=x"])
    assert config.finetune.head_layer is None and config.finetune.view.scale == (0.08, 1.0)
    assert (config.finetune.view.jitter, config.finetune.view.grey, config.finetune.view.blur) == (0, 0, 0)


def test_what_it_leaves(run, data, tmp_path):
    out = tune(run, data, tmp_path / "out", "epochs=12", "labels=0.5", "batch_size=9")
    classifier = load_classifier(out)
    assert classifier.classes == ["blue", "green", "red"] and len(classifier.layers) == 3
    assert load_classifier(out / "classifier.safetensors").backbone.image_size == 16
    assert torch.equal(load_backbone(out).model.conv1.weight, classifier.backbone.model.conv1.weight)
    rows = list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))
    source = open_source(data)
    assert [row["name"] for row in rows] == [source.name(index) for index in range(len(source))]
    images = torch.from_numpy(np.stack([prepare(source.read(index), 16) for index in range(len(source))]))
    with torch.no_grad():
        normalised = classifier.backbone.normalise(images.permute(0, 3, 1, 2))
        expected = classifier.eval()(normalised).softmax(1)
    assert [row["class"] for row in rows] == [classifier.classes[each] for each in expected.argmax(1)]
    assert [float(row["probability"]) for row in rows] == pytest.approx(expected.amax(1).tolist(), abs=1e-3)
    right = [row["name"].startswith(row["class"]) for row in rows]
    assert sum(right) > 0.8 * len(right)
    # All weights were trained, the head's and the backbone's too.
    before, after = started(run, 1), classifier
    for part in ("backbone.model.conv1.weight", "layers.0.weight"):
        assert not torch.equal(before.state_dict()[part], after.state_dict()[part])


def test_it_goes_on_where_it_was_and_ends_with_the_same_bits(run, data, tmp_path, monkeypatch):
    settings = ("steps=7", "batch_size=9", "labels=0.5")
    whole = tune(run, data, tmp_path / "whole", *settings)
    save = Checkpoints.on_train_batch_end

    class Stop(Exception):
        pass

    def die(self, trainer, module, *rest):
        self.seconds = 0 if module.steps_done == 3 else 1e9
        save(self, trainer, module, *rest)
        if module.steps_done == 5:
            raise Stop

    monkeypatch.setattr(Checkpoints, "on_train_batch_end", die)
    with pytest.raises(Stop):
        tune(run, data, tmp_path / "again", *settings)
    monkeypatch.undo()
    again = tune(run, data, tmp_path / "again", *settings)
    one, two = (load_file(each / "classifier.safetensors") for each in (whole, again))
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_other_labels_than_it_began_with_are_refused(run, data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    tune(run, tmp_path / "data", tmp_path / "out", "steps=1")
    names = [path.relative_to(tmp_path / "data") for path in sorted((tmp_path / "data").rglob("*.png"))]
    rows = [f"{name},{'blue' if number % 2 else 'red'}" for number, name in enumerate(names)]
    (tmp_path / "data" / "labels.csv").write_text("\n".join(["name,class", *rows]))
    with pytest.raises(UserError, match="other labels of the same images"):
        tune(run, tmp_path / "data", tmp_path / "out", "steps=1")


def test_a_folder_in_which_a_table_labels_some_images(run, data, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number, path in enumerate(sorted(data.rglob("*.png"))):
        shutil.copy(path, folder / f"{number:02}.png")
    rows = [f"{number:02}.png,{('b', 'g', 'r')[number // 12]}" for number in range(0, 36, 3)]
    (folder / "labels.csv").write_text("\n".join(["name,class", *rows]))
    out = tune(run, folder, tmp_path / "out", "steps=2")
    assert load_classifier(out).classes == ["b", "g", "r"]
    assert len((out / "predictions.csv").read_text().splitlines()) == 37
    assert "images: 12" in (out / "data.json").read_text().replace('"', "")


def test_any_backbone_will_do_and_begins_at_its_own_output_without_a_head(run, data, tmp_path):
    assert load_head(run / "backbone.safetensors") is not None
    settings = [f"data={data}", f"out={tmp_path / 'byol'}", "image_size=16", "batch_size=8", "steps=1", NETWORK]
    heads = ["byol.hidden=16", "byol.dim=8"]
    plain = pretrain("byol-cifar", [*settings, *heads, *SMALL], say=lambda sentence: None)
    assert not (plain / "head.safetensors").exists()
    out = tune(plain, data, tmp_path / "out", "steps=1")
    assert len(load_classifier(out).layers) == 0
    with pytest.raises(UserError, match="keeps none"):
        tune(plain, data, tmp_path / "other", "steps=1", "finetune.head_layer=1")


def test_the_loss_is_the_cross_entropy_and_chance_is_no_opinion(run):
    method = Finetune(started(run, 1), FinetuneSection(), lars=True).train()
    batch = {"views": [torch.randn(6, 3, 16, 16)], "target": torch.arange(6) % 3}
    nn.init.zeros_(method.classifier.linear.weight)
    assert float(method(batch).loss.detach()) == pytest.approx(math.log(3)) == pytest.approx(method.chance(6))
    nn.init.normal_(method.classifier.linear.weight)
    scores = method.classifier(batch["views"][0]).detach()
    by_hand = -sum(float(row.softmax(0)[label].log()) for row, label in zip(scores, batch["target"], strict=True)) / 6
    assert float(method(batch).loss.detach()) == pytest.approx(by_hand, rel=1e-5)
    assert method(batch).embedding is None


def test_lars_scales_every_weight_but_the_linear_layers_though_none_decays(run):
    """One step of the official rule: lr * 0.001 |w| / |g| * g where LARS holds, lr * g elsewhere."""
    config = resolve(FinetuneConfig, "backbone", str(run), ["data=x"])
    assert config.optimizer.name == "lars" and config.optimizer.weight_decay == 0
    assert config.lr * math.sqrt(1024 / 256) == pytest.approx(0.16) and config.optimizer.warmup_epochs == 0
    method = Finetune(started(run, 1), config.finetune, lars=True)
    optimizer = create_optimizer(method, config.optimizer, 0.5)
    F.cross_entropy(method.classifier(torch.randn(6, 3, 16, 16)), torch.arange(6) % 3).backward()
    before = {name: each.detach().clone() for name, each in method.named_parameters()}
    gradients = {name: each.grad.clone() for name, each in method.named_parameters()}
    optimizer.step()
    for name, each in method.named_parameters():
        weight, gradient = before[name], gradients[name]
        adapted = each.ndim > 1 and "linear" not in name
        ratio = 0.001 * weight.norm() / gradient.norm() if adapted else 1.0
        torch.testing.assert_close(each, weight - 0.5 * ratio * gradient, rtol=1e-4, atol=1e-7, msg=name)


def test_labels_are_drawn_alike_of_each_class_and_smaller_shares_lie_in_larger_ones():
    labels = np.array([0] * 50 + [1] * 30 + [2] * 3 + [-1] * 17)
    half = balanced(labels, 0.5, seed=4)
    assert np.bincount(labels[half]).tolist() == [14, 14, 3] and (np.diff(half) > 0).all()
    tenth = balanced(labels, 0.1, seed=4)
    assert np.bincount(labels[tenth]).tolist() == [3, 3, 3] and set(tenth) <= set(half)
    assert np.bincount(labels[balanced(labels, 1e-9, seed=4)]).tolist() == [1, 1, 1]
    assert set(balanced(labels, 1, seed=4)) == set(range(83))
    assert set(balanced(labels, 0.1, seed=5)) != set(tenth)


def test_labels_of_other_images_are_matched_by_name(data):
    source = open_source(data)
    assert matched(source, ["red", "yellow", "blue"]).tolist() == [2] * 12 + [-1] * 12 + [0] * 12


def test_new_images_are_classified_and_judged_where_they_have_labels(run, data, tmp_path):
    out = tune(run, data, tmp_path / "out", "epochs=12", "batch_size=9")
    more = draw(tmp_path / "more", 5, seed=7)
    said = classify(out, [str(more)], tmp_path / "found.csv")
    assert "The classes of 15 images" in said and "Of the 15 that have a label" in said
    share = float(said.rsplit(", ", 1)[1].split(" ")[0])
    assert share > 80
    lines = (tmp_path / "found.csv").read_text().splitlines()
    right = sum(line.split("/")[0] == line.split(",")[1] for line in lines[1:])
    assert share == pytest.approx(100 * right / 15, abs=0.1)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["labels=0"], "labels=0.0 is a share"),
        (["labels=1.5"], "labels=1.5"),
        (["finetune.head_layer=4"], "more than the 3 layers"),
        (["finetune.head_layer=-1"], "below 0"),
        (["finetune.heads=1"], "did you mean 'finetune.head_layer'"),
        (["backbone=resnet18"], "given twice"),
        (["method=simclr"], "cannot be set"),
        (["optimizer.decay_all=true"], "decay_all"),
        (["image_size=17"], "17"),
        (["backbone_options.x=1"], "built as it was"),
    ],
)
def test_mistakes_are_sentences_and_write_nothing(run, data, tmp_path, overrides, words):
    with pytest.raises(UserError, match=words) as caught:
        tune(run, data, tmp_path / "out", "steps=1", *overrides)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_missing_labels_and_single_classes_are_sentences(run, data, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(data / "red", bare)
    with pytest.raises(UserError, match="None of the 12 images .* labels.csv"):
        tune(run, bare, tmp_path / "out")
    (bare / "labels.csv").write_text("name,class\n00.png,red\n01.png,red\n")
    with pytest.raises(UserError, match="one class only"):
        tune(run, bare, tmp_path / "out")
    with pytest.raises(UserError, match="There is no classifier"):
        classify(run, [str(bare)], tmp_path / "found.csv")


@pytest.mark.parametrize("name", list(recipes("finetune")))
def test_every_recipe_is_valid_and_states_its_aim(name):
    config = resolve(FinetuneConfig, "backbone", "timm:resnet50", ["data=x"], name)
    assert config.out == "runs/timm-resnet50-finetune"
    text = recipes("finetune")[name].read_text(encoding="utf-8")
    assert text.startswith("#") and "Aims at" in text


def test_the_rates_of_a_transformers_blocks_fall_towards_the_pixels():
    options = {"embed_dim": 24, "depth": 3, "num_heads": 2}
    classifier = Classifier(create_backbone("beit_base_patch16_224", 32, options), nn.Sequential(), ["a", "b"])
    names = {id(value): name for name, value in classifier.named_parameters()}
    groups = classifier.parameter_groups(False, layer_decay=0.5)
    rates = {names[id(each)]: group["lr_scale"] for group in groups for each in group["params"]}
    assert len(rates) == len(names) and rates["linear.weight"] == rates["backbone.model.fc_norm.bias"] == 1
    assert rates["backbone.model.blocks.2.attn.qkv.weight"] == rates["backbone.model.blocks.2.gamma_1"] == 0.5
    assert rates["backbone.model.blocks.0.mlp.fc1.bias"] == 0.125
    assert rates["backbone.model.cls_token"] == rates["backbone.model.patch_embed.proj.weight"] == 0.0625
    flat = Classifier(create_backbone("resnet18", 32, {"channels": [8, 8, 8, 8]}), nn.Sequential(), ["a", "b"])
    with pytest.raises(UserError, match="layer_decay=0.5 is of the blocks"):
        flat.parameter_groups(False, layer_decay=0.5)


def test_stochastic_depth_rises_along_the_blocks():
    backbone = create_backbone("beit_base_patch16_224", 32, {"embed_dim": 24, "depth": 3, "num_heads": 2})
    set_drop_path(backbone, 0.2)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in backbone.model.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2])
