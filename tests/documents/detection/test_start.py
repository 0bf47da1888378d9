"""Detectors that begin with the weights of another, for other classes."""

from __future__ import annotations

import json

import pytest
import torch

from densessl.documents.detection import load_detector, save_detector, train
from densessl.documents.detection.config import resolve
from densessl.documents.detection.train import create_detector
from densessl.errors import UserError
from tests.documents.detection.conftest import SMALL, small_detector, write_set

PAGES = torch.rand(1, 3, 64, 64)


@pytest.fixture
def base(tmp_path):
    detector = small_detector(("Table", "text", "list"), head="cascade", masks=True)
    save_detector(detector, tmp_path, {})
    return detector.eval()


def begun(folder, classes, *more):
    config = resolve("quick", ["data=coco:somewhere", f"weights={folder}", *more])
    torch.manual_seed(1)
    return create_detector(config, classes).eval(), config


def test_classes_of_the_same_name_keep_what_was_learned_of_them_in_any_order(base, tmp_path):
    detector, config = begun(tmp_path, ["stamp", "TEXT", "table"], "detector.masks=true")
    assert config.detector.head == "cascade" and config.detector.hidden == base.config.hidden
    places = [1, 0, 3]  # text, Table and nothing in the heads of the first
    for mine, theirs in zip(detector.objects.boxes, base.objects.boxes, strict=True):
        assert torch.equal(mine.score.weight[[1, 2, 3]], theirs.score.weight[places])
        assert torch.equal(mine.score.bias[[1, 2, 3]], theirs.score.bias[places])
        assert not torch.equal(mine.score.weight[0], theirs.score.weight[2])
    masks = detector.objects.masks[-1].weight
    assert torch.equal(masks[[1, 2]], base.objects.masks[-1].weight[places[:2]])
    assert detector.notes == [f"It begins with the detector {tmp_path}; new are stamp."]


def test_with_the_same_classes_it_finds_the_same(base, tmp_path):
    detector, _ = begun(tmp_path, base.classes, "detector.masks=true", "detector.proposals=20")
    ours, theirs = (each(PAGES, [(64, 64)])[0] for each in (detector, base))
    assert len(ours.boxes) > 1 and torch.equal(ours.boxes, theirs.boxes) and torch.equal(ours.masks, theirs.masks)


def test_a_run_goes_on_from_another_and_says_what_is_new(tmp_path, base):
    pages, said = write_set(tmp_path / "set"), []
    settings = [f"data=coco:{pages}", f"out={tmp_path / 'run'}", "steps=2", *SMALL, f"weights={tmp_path}"]
    out = train("quick", settings, say=said.append)
    assert any(str(tmp_path) in each and each.endswith(".") and "begins with" in each for each in said)
    assert load_detector(out).config.head == "cascade"
    assert train("quick", settings, say=said.append) == out and "finished already" in said[-1]


def test_a_file_that_is_no_detector_is_told_before_anything_is_written(tmp_path):
    pages = write_set(tmp_path / "set")
    (tmp_path / "other.safetensors").write_bytes(json.dumps({}).encode())
    settings = [f"data=coco:{pages}", f"out={tmp_path / 'run'}", *SMALL, f"weights={tmp_path / 'other.safetensors'}"]
    with pytest.raises(UserError, match=r"other\.safetensors cannot be read as safetensors"):
        train("quick", settings)
    assert not (tmp_path / "run" / "config.yaml").exists()
