"""Checkpoints in the names and wrappings of their papers, written here from random networks."""

from __future__ import annotations

import argparse
import os
import re

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.data import IMAGENET_DEFAULT_MEAN

from densessl.backbones import create_backbone, guess, load_backbone
from densessl.errors import UserError

from .conftest import PLAIN, disturb

CLASSIFIER = {"fc.weight": torch.zeros(10, 4), "fc.bias": torch.zeros(10)}


def _vit(name="vit_tiny_patch16_224", **options):
    return disturb(timm.create_model(name, num_classes=0, **{"depth": 2, "dynamic_img_size": True, **options}).eval())


def _same(backbone, model, size=64):
    images = torch.randn(1, 3, size, 2 * size)
    with torch.no_grad():
        torch.testing.assert_close(backbone.eval()(images), model(images), rtol=1e-4, atol=1e-4)
    assert backbone.mean == IMAGENET_DEFAULT_MEAN


def _prefixed(state, prefix):
    return {f"{prefix}{name}": value for name, value in state.items()}


@pytest.mark.parametrize("patch", [8, 16])
@pytest.mark.parametrize("width, name, heads", [(384, "vit_small", 6), (768, "vit_base", 12)])
def test_dino_vits_are_told_from_names_and_shapes(tmp_path, patch, width, name, heads):
    model = _vit(f"{name}_patch{patch}_224", depth=1)
    torch.save(model.state_dict(), tmp_path / "dino.pth")
    backbone = load_backbone(tmp_path / "dino.pth")
    assert (backbone.channels, backbone.stride, backbone.image_size) == (width, patch, 224)
    assert backbone.options["num_heads"] == heads == model.blocks[0].attn.num_heads
    _same(backbone, model)


def test_of_a_dino_training_checkpoint_the_teacher_is_taken(tmp_path):
    student, teacher = _vit(), _vit()
    with torch.no_grad():
        student.cls_token.add_(1)
    head = {"module.head.mlp.0.weight": torch.zeros(4, 4)}
    saved = {
        "student": _prefixed(student.state_dict(), "module.backbone."),
        "teacher": _prefixed(teacher.state_dict(), "backbone.") | {"head.last_layer.weight_v": torch.zeros(4, 4)},
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_tiny", lr=0.1),
    }
    saved["student"] |= head
    torch.save(saved, tmp_path / "checkpoint.pth")
    backbone = load_backbone(tmp_path / "checkpoint.pth")
    _same(backbone, teacher)
    assert any("One tensor of" in note and "head" in note for note in backbone.notes)
    assert any("under backbone of" in note for note in backbone.notes)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_torchvisions_resnets(tmp_path, name):
    model = disturb(getattr(torchvision.models, name)(weights=None).eval())
    torch.save(model.state_dict(), tmp_path / "resnet.pth")
    backbone = load_backbone(tmp_path / "resnet.pth")
    assert any("fc" in note for note in backbone.notes)
    model.fc = torch.nn.Identity()
    _same(backbone, model)


@pytest.mark.parametrize(
    "name", ["resnet34", "resnet101", "resnet152", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2"]
)
def test_larger_resnets_are_told_by_their_shapes(name):
    with torch.device("meta"):
        state = getattr(torchvision.models, name)(weights=None).state_dict()
        found = guess.architecture(state)
        model = timm.create_model(found.name, num_classes=0, **found.options).state_dict()
    assert {key: state[key].shape for key in model} == {key: value.shape for key, value in model.items()}


def test_of_moco_v2_the_query_encoder_is_taken(tmp_path):
    query, key = (disturb(torchvision.models.resnet18(weights=None).eval()) for _ in range(2))
    for model in (query, key):
        model.fc = torch.nn.Sequential(torch.nn.Linear(512, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8))
    with torch.no_grad():
        key.conv1.weight.zero_()
    state = _prefixed(key.state_dict(), "module.encoder_k.") | _prefixed(query.state_dict(), "module.encoder_q.")
    state |= {"module.queue": torch.zeros(8, 4), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    torch.save({"epoch": 200, "arch": "resnet50", "state_dict": state}, tmp_path / "moco.pth.tar")
    backbone = load_backbone(tmp_path / "moco.pth.tar")
    query.fc = torch.nn.Identity()
    _same(backbone, query)
    assert any("module.encoder_q" in note for note in backbone.notes)


def test_moco_v3s_small_vit_has_12_heads(tmp_path):
    model = _vit("vit_small_patch16_224", num_heads=12)
    state = _prefixed(model.state_dict(), "module.base_encoder.")
    state |= _prefixed(_vit("vit_small_patch16_224").state_dict(), "module.momentum_encoder.")
    torch.save({"state_dict": state, "arch": "vit_small"}, tmp_path / "vit-s-300ep.pth.tar")
    backbone = load_backbone(tmp_path / "vit-s-300ep.pth.tar")
    assert backbone.options["num_heads"] == 12
    _same(backbone, model)


@pytest.mark.parametrize("registers", [0, 4])
def test_dinov2_in_its_official_names(tmp_path, registers):
    name = "vit_small_patch14_reg4_dinov2" if registers else "vit_small_patch14_dinov2"
    model = _vit(name, img_size=70)
    state = dict(model.state_dict())
    if registers:
        # The official model adds a position to the class token, which timm has put into the token itself.
        position = torch.randn(1, 1, 384)
        state["register_tokens"] = state.pop("reg_token")
        state["cls_token"] = state["cls_token"] - position
        state["pos_embed"] = torch.cat([position, state["pos_embed"]], 1)
    state["mask_token"] = torch.zeros(1, 384)
    state = {re.sub(r"^blocks\.", "blocks.0.", key): value for key, value in state.items()}
    torch.save(state, tmp_path / "dinov2.pth")
    backbone = load_backbone(tmp_path / "dinov2.pth")
    assert (backbone.stride, backbone.image_size) == (14, 70)
    _same(backbone, model, 70)


@pytest.mark.parametrize("biased", [False, True])
def test_dinov3_in_its_official_names(tmp_path, biased):
    model = _vit("vit_small_patch16_dinov3_qkvb" if biased else "vit_small_patch16_dinov3")
    state = {}
    for name, value in model.state_dict().items():
        if name.endswith(("q_bias", "v_bias")):
            continue
        state[
            name.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma").replace("reg_token", "storage_tokens")
        ] = value
    for index, block in enumerate(model.blocks):
        parts = (block.attn.q_bias, torch.randn(384), block.attn.v_bias) if biased else (torch.zeros(384),) * 3
        state[f"blocks.{index}.attn.qkv.bias"] = torch.cat([part.detach() for part in parts])
        state[f"blocks.{index}.attn.qkv.bias_mask"] = torch.ones(3 * 384)
    state |= {"mask_token": torch.zeros(1, 384), "rope_embed.periods": torch.zeros(16)}
    torch.save(state, tmp_path / "dinov3.pth")
    _same(load_backbone(tmp_path / "dinov3.pth"), model)


def test_mae_in_its_official_wrapping(tmp_path):
    model = _vit("vit_base_patch16_224", depth=1)
    decoder = {"decoder_blocks.0.attn.qkv.weight": torch.zeros(3, 3), "mask_token": torch.zeros(1, 1, 512)}
    torch.save({"model": model.state_dict() | decoder}, tmp_path / "mae.pth")
    backbone = load_backbone(tmp_path / "mae.pth")
    _same(backbone, model)
    assert any("decoder_blocks, mask_token" in note for note in backbone.notes)


@pytest.mark.parametrize("name", ["convnext_tiny", "convnextv2_atto"])
def test_convnext_in_its_official_names(tmp_path, name):
    model = disturb(timm.create_model(name, num_classes=0).eval())
    torch.save({"model": _official_convnext(model.state_dict())}, tmp_path / "convnext.pth")
    backbone = load_backbone(tmp_path / "convnext.pth")
    assert backbone.architecture == name
    _same(backbone, model)


def _official_convnext(state):
    renamed = {}
    for name, value in state.items():
        name = name.replace("stem.", "downsample_layers.0.").replace("head.norm.", "norm.")
        name = re.sub(r"stages\.(\d)\.downsample\.", r"downsample_layers.\1.", name)
        name = re.sub(r"stages\.(\d)\.blocks\.(\d+)\.", r"stages.\1.\2.", name)
        name = name.replace("conv_dw", "dwconv").replace("mlp.fc1", "pwconv1").replace("mlp.fc2", "pwconv2")
        name = name.replace("mlp.grn.weight", "grn.gamma").replace("mlp.grn.bias", "grn.beta")
        if "pwconv" in name and name.endswith("weight"):
            value = value.reshape(value.shape[:2])
        renamed[name] = value.reshape(1, 1, 1, -1) if "grn" in name else value
    return renamed


def test_a_file_in_timms_own_names_with_a_classifier(tmp_path):
    model = disturb(timm.create_model("resnet26", num_classes=10).eval())
    save_file(model.state_dict(), tmp_path / "mine.safetensors")
    with pytest.raises(UserError, match="no ResNet with .2, 2, 2, 2. blocks.*mine.safetensors@NAME"):
        load_backbone(tmp_path / "mine.safetensors")
    backbone = load_backbone(f"{tmp_path}/mine.safetensors@resnet26")
    model.reset_classifier(0)
    _same(backbone, model)


def test_what_cannot_be_told_may_be_said(tmp_path):
    model = disturb(create_backbone("vit_tiny_patch16_224", 32, PLAIN).eval())
    file = tmp_path / "tiny.pth"
    torch.save({"state_dict": _prefixed(model.model.state_dict(), "module.")}, file)
    with pytest.raises(UserError, match="width 32 may have any number of heads"):
        load_backbone(file)
    images = torch.randn(1, 3, 32, 64)
    told = load_backbone(f"{file}@vit_tiny_patch16_224,embed_dim=32,depth=2,num_heads=2,patch_size=4").eval()
    assert torch.equal(told(images), model(images)) and told.image_size == 32
    with pytest.raises(UserError, match="has patches of 4 pixels, and vit_tiny_patch16_224 of 16"):
        load_backbone(f"{file}@vit_tiny_patch16_224,embed_dim=32,depth=2,num_heads=2")
    with pytest.raises(UserError, match="no place, such as blocks.1"):
        load_backbone(f"{file}@vit_tiny_patch16_224,embed_dim=32,depth=1,num_heads=2,patch_size=4")
    with pytest.raises(UserError, match="lacks .* such as blocks.2"):
        load_backbone(f"{file}@vit_tiny_patch16_224,embed_dim=32,depth=3,num_heads=2,patch_size=4")
    with pytest.raises(UserError, match="no model 'vit_tinny"):
        load_backbone(f"{file}@vit_tinny_patch16_224")
    with pytest.raises(UserError, match="not of the form option=value"):
        load_backbone(f"{file}@vit_tiny_patch16_224,depth")


def test_a_small_stem_is_not_guessed_but_may_be_said(tmp_path):
    model = disturb(create_backbone("resnet18", 32).eval())
    torch.save(model.model.state_dict(), tmp_path / "cifar.pth")
    with pytest.raises(UserError, match="@resnet18,stem=small"):
        load_backbone(tmp_path / "cifar.pth")
    images = torch.randn(1, 3, 32, 32)
    told = load_backbone(f"{tmp_path}/cifar.pth@resnet18,stem=small", image_size=32).eval()
    assert torch.equal(told(images), model(images)) and told.stride == 8


def test_swin_and_beit_may_be_said(tmp_path):
    for name, options in [
        ("swin_tiny_patch4_window7_224", {"depths": [1, 1, 1, 1]}),
        ("beit_base_patch16_224", {"depth": 1}),
    ]:
        model = create_backbone(name, None, options).eval()
        torch.save({"model": model.model.state_dict()}, tmp_path / "x.pth")
        at = ",".join([name, *(f"{key}={value}" for key, value in options.items())])
        backbone = load_backbone(f"{tmp_path}/x.pth@{at}").eval()
        images = torch.randn(1, 3, 64, 96)
        assert torch.equal(backbone(images), model(images))


def test_no_file_is_unpickled(tmp_path):
    proof = tmp_path / "proof"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {proof}",)

    for name, content in [("a.pth", Evil()), ("b.pth", {"state_dict": {"conv1.weight": Evil()}})]:
        torch.save(content, tmp_path / name)
        with pytest.raises(UserError, match="holds more than weights.*not unpickled"):
            load_backbone(tmp_path / name)
    torch.save(Evil(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(UserError):
        load_backbone(tmp_path / "old.pt")
    assert not proof.exists()


@pytest.mark.parametrize(("data", "what"), [(b"", "empty"), (b"PNG not weights" * 99, "something else")])
def test_what_is_no_checkpoint_is_not_said_to_hold_code(data, what, tmp_path):
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(UserError, match=f"no checkpoint of PyTorch: it is {what}"):
        load_backbone(tmp_path / "x.pth")


def test_a_whole_pickled_network_is_not_unpickled(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "network.pth")
    with pytest.raises(UserError, match="holds more than weights"):
        load_backbone(tmp_path / "network.pth")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"hello, I am a text file\n", b"PK\x03\x04", b"\x80\x02", b"\xff\xd8\xff\xe0" * 50]
)
def test_a_file_that_is_none_is_refused(tmp_path, suffix, content):
    file = tmp_path / f"file{suffix}"
    file.write_bytes(content)
    with pytest.raises(UserError, match=f"file{suffix} ") as error:
        load_backbone(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_checkpoint_is_refused(tmp_path, share, zipped):
    file = tmp_path / "cut.pth"
    torch.save(_vit(depth=1).state_dict(), file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match="cut.pth"):
        load_backbone(file)


@pytest.mark.parametrize(
    "content", [{}, [], 3, {"state_dict": {}}, {"epoch": 3}, torch.zeros(3), {"state_dict": {"epoch": 3}}]
)
def test_a_checkpoint_without_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "empty.pth")
    with pytest.raises(UserError, match="holds no weights"):
        load_backbone(tmp_path / "empty.pth")


def test_weights_of_something_else_are_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "linear.pth")
    with pytest.raises(UserError, match=r"its names \(weight, bias, \.\.\.\) are those of no"):
        load_backbone(tmp_path / "linear.pth")


@pytest.mark.parametrize("lost", ["norm.weight", "blocks.1.attn.qkv.bias", "cls_token", "patch_embed.proj.bias"])
def test_a_weight_that_is_missing_is_refused(tmp_path, lost):
    state = dict(_vit().state_dict())
    del state[lost]
    torch.save(state, tmp_path / "holes.pth")
    with pytest.raises(UserError, match="holes.pth"):
        load_backbone(tmp_path / "holes.pth")


def test_an_image_size_that_does_not_fit_is_refused(tmp_path):
    torch.save(_vit().state_dict(), tmp_path / "vit.pth")
    assert load_backbone(tmp_path / "vit.pth", image_size=320).image_size == 320
    with pytest.raises(UserError, match="image_size=321 is no multiple of 16"):
        load_backbone(tmp_path / "vit.pth", image_size=321)
