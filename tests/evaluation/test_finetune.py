"""The protocol is `densessl finetune` on the training images, judged on the test images, once per seed."""

from __future__ import annotations

import statistics

import pytest
import torch

from densessl.backbones import create_backbone, save_backbone
from densessl.classification import classify, finetune
from densessl.errors import UserError
from densessl.evaluation import evaluate
from densessl.evaluation.finetune import FinetuneProtocol, evaluate_finetune
from tests.evaluation.test_knn import write_images

OPTIONS = {"channels": [16, 16, 16, 16], "layers": [1, 1, 1, 1], "stem_width": 16, "stem": "small"}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(3)
    save_backbone(create_backbone("resnet18", 16, OPTIONS), folder, {"method": "none"})
    return str(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_images(folder / "train", 20)
    write_images(folder / "test", 10, seed=1)
    return folder


def judge(backbone, data, **settings):
    return evaluate_finetune(FinetuneProtocol(backbone, str(data), workers=0, devices="cpu", **settings))


def test_it_says_what_the_command_says_of_the_same_images(backbone, data, tmp_path):
    settings = {"labels": 0.5, "epochs": 8, "batch_size": 10}
    record = judge(backbone, data, seed=5, seeds=1, **settings)
    overrides = [f"data={data}", f"out={tmp_path / 'out'}", "seed=5", "workers=0", "devices=cpu"]
    run = finetune(
        backbone, [*overrides, *(f"{key}={value}" for key, value in settings.items())], say=lambda said: None
    )
    said = classify(run, [str(data / "test")], tmp_path / "found.csv")
    assert f"Of the 20 that have a label of these classes, {100 * record['figures']['top1']:.1f} %" in said
    assert record["figures"]["labelled_images"] == 20 and record["figures"]["deviation_over_seeds"] is None


def test_seeds_and_baselines_stand_in_the_record(backbone, data):
    record = judge(backbone, data, seeds=2, epochs=2, batch_size=10, baselines=True)
    figures = record["figures"]
    assert len(figures["top1_of_each_seed"]) == 2
    assert figures["top1"] == pytest.approx(statistics.fmean(figures["top1_of_each_seed"]))
    assert "random weights" in record["baselines"]["untrained"]["what"]
    assert record["data"]["train"].startswith("40 images") and record["data"]["test"] == "20 images, split test"
    assert "100 % of the training labels" in record["rule"] and "mean over 2 seeds" in record["rule"]
    assert {"command", "environment", "seconds", "settings", "backbone", "seed"} <= record.keys()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["labels=0"], "labels=0.0 is a share"),
        (["seeds=0"], "seeds=0 is too small"),
        (["epochs=0"], "epochs=0 is too small"),
        (["optimizer.name=adamv"], "adamv"),
        (["finetune.head_layer=1"], "keeps none"),
        (["lrr=1"], "did you mean 'lr'"),
    ],
)
def test_mistakes_are_sentences(backbone, data, overrides, words):
    with pytest.raises(UserError, match=words):
        evaluate(backbone, "finetune", str(data), ["workers=0", "devices=cpu", *overrides])
