"""A run's backbone goes into a box, and comes out as `densessl segment` sees with it."""

import json
import runpy
import sys

import pytest
import torch

from densessl.backbones.create import create_backbone
from densessl.backbones.load import load_backbone
from densessl.backbones.saved import save_backbone
from densessl.box import LAYERS, SIDE
from densessl.documents.detection import load_detector, save_detector
from tests.documents.detection.conftest import small_detector


def box(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["densessl.box", *arguments])
    runpy.run_module("densessl.box", run_name="__main__")


def test_the_backbone_of_a_run_is_packed_with_layers_and_size_and_without_its_data(tmp_path, monkeypatch):
    made = create_backbone("resnet10t", 64)
    save_backbone(made, tmp_path / "run", {"data": {"data": "/home/me/photos"}, "method": "simclr"})
    box(monkeypatch, str(tmp_path / "run"), "--out", str(tmp_path / "box"))
    record = json.loads((tmp_path / "box" / "backbone.json").read_text())
    assert record["layers"] == LAYERS and record["image_size"] == SIDE and record["method"] == "simclr"
    assert "data" not in record
    images = torch.randn(1, 3, 64, 64)
    for weight in made.parameters():
        if weight.ndim > 1:
            weight.data = weight.data.half().float()
    with torch.inference_mode():
        assert torch.equal(load_backbone(tmp_path / "box").eval()(images), made.eval()(images))


def test_a_run_that_is_none_is_a_sentence(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="2"):
        box(monkeypatch, str(tmp_path / "nothing"), "--out", str(tmp_path / "box"))
    assert "nothing" in capsys.readouterr().err and not (tmp_path / "box").exists()


def test_a_run_of_a_detector_is_packed_as_one(tmp_path, monkeypatch):
    made = small_detector(head="cascade")
    save_detector(made, tmp_path / "run", {"data": "/home/me/pages", "method": "detect"})
    box(monkeypatch, str(tmp_path / "run"), "--out", str(tmp_path / "box"))
    packed = load_detector(tmp_path / "box")
    assert packed.classes == made.classes and "data" not in packed.backbone.record
    assert not (tmp_path / "box" / "backbone.safetensors").exists()
    for one, other in zip(packed.parameters(), made.parameters(), strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other.half().float() if other.ndim > 1 else other)
    sizes = [(each / "detector.safetensors").stat().st_size for each in (tmp_path / "box", tmp_path / "run")]
    assert sizes[0] < 0.6 * sizes[1]
