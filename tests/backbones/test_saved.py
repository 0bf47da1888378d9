"""What is written is what is read, and what is damaged is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from densessl.backbones import create_backbone, load_backbone, save_backbone
from densessl.errors import UserError

from .conftest import ARCHITECTURES, disturb, small

RECORD = {"method": "dino", "data": {"images": 50, "source": "photos"}}


@pytest.fixture
def run(tmp_path):
    save_backbone(small("resnet, small"), tmp_path / "run", RECORD)
    return tmp_path / "run"


@pytest.mark.parametrize("case", sorted(ARCHITECTURES))
def test_a_reload_gives_the_same_outputs_bit_for_bit(case, tmp_path):
    backbone = disturb(small(case))
    save_backbone(backbone, tmp_path, RECORD)
    again = load_backbone(str(tmp_path)).eval()
    images = torch.randn(1, 3, 2 * backbone.stride, 4 * backbone.stride)
    assert torch.equal(again(images), backbone(images))
    for ours, theirs in zip(again.feature_maps(images, (0, -1)), backbone.feature_maps(images, (0, -1)), strict=True):
        assert torch.equal(ours, theirs)
    for name in ("architecture", "options", "image_size", "mean", "std", "channels", "stride", "notes", "fixed_size"):
        assert getattr(again, name) == getattr(backbone, name)
    assert again.record == RECORD
    assert backbone.fresh and not again.fresh  # no method begins loaded weights anew


def test_the_names_in_the_file_are_timms(run):
    assert "layer1.0.conv1.weight" in load_file(run / "backbone.safetensors")
    assert json.loads((run / "backbone.json").read_text())["method"] == "dino"


def test_a_file_that_travels_alone_is_still_known(run, tmp_path):
    alone = tmp_path / "sent by mail.safetensors"
    alone.write_bytes((run / "backbone.safetensors").read_bytes())
    assert load_backbone(alone).options["stem"] == "small"


def test_a_file_with_json_beside_it_is_known(run):
    assert load_backbone(run / "backbone.safetensors").architecture == "resnet18"


def test_the_stem_stays_whatever_the_size_it_is_loaded_for(run):
    backbone = load_backbone(run, image_size=224)
    assert backbone.image_size == 224 and backbone.stride == 8


def test_positions_are_kept_as_they_are_when_loaded_for_another_size(tmp_path):
    backbone = small("vit, small")
    save_backbone(backbone, tmp_path, {})
    larger = load_backbone(tmp_path, image_size=64)
    assert torch.equal(larger.model.pos_embed, backbone.model.pos_embed)
    save_backbone(larger, tmp_path / "again", {})
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(load_backbone(tmp_path / "again").eval()(images), backbone(images))


def test_weights_in_channels_last_are_saved_too(tmp_path):
    backbone = small("resnet").to(memory_format=torch.channels_last)
    save_backbone(backbone, tmp_path, {})
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(load_backbone(tmp_path).eval()(images), backbone(images))


def test_a_full_disk_leaves_the_old_files_and_is_a_sentence(run):
    before = (run / "backbone.safetensors").read_bytes()
    program = f"""
import resource
from densessl.backbones import load_backbone, save_backbone
from densessl.errors import UserError
backbone = load_backbone({str(run)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    save_backbone(backbone, {str(run)!r}, {{}})
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert re.fullmatch(r"The disk is full.*backbone\.safetensors could not be written\. .*\n", done.stdout), done
    assert len(before) > 20_000 and (run / "backbone.safetensors").read_bytes() == before
    assert sorted(path.name for path in run.iterdir()) == ["backbone.json", "backbone.safetensors"]


@pytest.mark.parametrize("keep", [0, 5, 100, -1, 0.5])
def test_a_truncated_file_is_refused(run, keep):
    file = run / "backbone.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(UserError, match="backbone.safetensors cannot be read as safetensors"):
        load_backbone(run)


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"architecture": "resnet9999"}, "no model 'resnet9999'"),
        ({"architecture": None}, "'architecture' is missing"),
        ({"options": {"checkpoint_path": "/etc/passwd"}}, "checkpoint_path .* cannot be set"),
        ({"options": {"pretrained": True}}, "pretrained .* cannot be set"),
        ({"options": {"channels": [8, 16, 24, 40]}}, "has the shape"),
        ({"options": {"channels": "many"}}, "cannot be built"),
        ({"image_size": -1}, "image_size=-1 is no size"),
        ({"image_size": 33}, "image_size=33 is no multiple of 8"),
        ({"mean": [1]}, "three numbers"),
        ({"architecture": "resnet34"}, "lacks .* tensors of resnet34"),
        ({"architecture": "resnet10t"}, "resnet10t"),
    ],
)
def test_a_description_that_is_wrong_is_refused(run, change, sentence):
    described = json.loads((run / "backbone.json").read_text()) | change
    (run / "backbone.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match=sentence):
        load_backbone(run)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00"])
def test_a_description_that_is_none_is_refused(run, text):
    (run / "backbone.json").write_text(text)
    with pytest.raises(UserError, match="backbone.json"):
        load_backbone(run)


def test_a_weight_that_is_missing_is_named(run):
    state = load_file(run / "backbone.safetensors")
    del state["layer3.1.conv2.weight"]
    save_file(state, run / "backbone.safetensors")
    with pytest.raises(UserError, match="lacks 1 of the .* such as layer3.1.conv2.weight"):
        load_backbone(run)


def test_a_weight_too_many_is_named(run):
    state = load_file(run / "backbone.safetensors")
    save_file({**state, "layer4.2.conv1.weight": torch.zeros(1)}, run / "backbone.safetensors")
    with pytest.raises(UserError, match="no place, such as layer4.2.conv1.weight"):
        load_backbone(run)


def test_what_is_not_there_is_told(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    for spec, sentence in [
        (tmp_path / "nothing", "There is no backbone"),
        (tmp_path / "note.txt", "did you mean 'notes.txt'"),
        (tmp_path / "notes.txt", "is no backbone"),
        (tmp_path, "holds no backbone"),
        (tmp_path / "run", "let it end"),
        ("resnet50", "give timm:resnet50"),
        ("timm:resnet81", "no model 'resnet81'"),
        ("timm:vit_tiny_patch16_384.augreg", "no weights 'augreg' of .* It has augreg_in21k_ft_in1k"),
        ("timm:resnet200", "no pretrained weights of resnet200"),
        ("", "holds no backbone|no backbone"),
    ]:
        with pytest.raises(UserError, match=sentence):
            load_backbone(spec)


def test_without_a_network_the_hub_is_not_asked_in_vain(monkeypatch, tmp_path):
    monkeypatch.setattr("densessl.backbones.huggingface.offline", lambda: True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for spec in ("timm:vit_tiny_patch16_224", "hf:nobody/nothing-of-that-name"):
        with pytest.raises(UserError, match="not in the local cache, and there is no network"):
            load_backbone(spec)


def test_timms_cache_is_used_without_a_network(monkeypatch, tmp_path):
    monkeypatch.setattr("densessl.backbones.huggingface.offline", lambda: True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    expected = disturb(create_backbone("test_vit.r160_in1k").eval())
    folder = tmp_path / "models--timm--test_vit.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0123")
    (folder / "snapshots" / "0123").mkdir(parents=True)
    head = {"head.weight": torch.zeros(1000, expected.channels), "head.bias": torch.zeros(1000)}
    save_file({**expected.model.state_dict(), **head}, folder / "snapshots" / "0123" / "model.safetensors")
    backbone = load_backbone("timm:test_vit.r160_in1k", image_size=320).eval()
    images = torch.randn(1, 3, 320, 160)
    assert torch.equal(backbone(images), expected(images)) and backbone.image_size == 320
