"""Necks against their description written slowly; what detectron2 is told of pixels; networks that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("detectron2", reason="detectron2 is not installed; .ci/run brings it")

from torch import nn

from densessl.backbones import create_backbone, save_backbone
from densessl.documents.detectron2.backbones import c4_head, c4_trunk, network, page_backbone
from densessl.documents.detectron2.learning import ClippedAdamW, parameter_groups
from densessl.documents.detectron2.model import page_rcnn
from densessl.errors import UserError
from tests.documents.detectron2.conftest import DIT, RESNET

BEIT, VIT = "beit_base_patch16_224", {"embed_dim": 32, "depth": 2, "num_heads": 2}


@torch.inference_mode()
def test_dit_taps_four_blocks_without_the_final_norm_and_joins_them_by_an_fpn():
    torch.manual_seed(0)
    made = page_backbone(BEIT, DIT, neck="dit", channels=8).eval()
    images = torch.randn(1, 3, 96, 64)
    maps, model, taps = made(images), made.bottom_up.backbone.model, made.bottom_up
    # By hand: blocks 2, 3, 4 and 6 of 6, counted from 1, are the ends of the thirds and of the half.
    model.grid = (6, 4)
    tokens, kept = model.patch_embed(images), []
    tokens = torch.cat([model.cls_token, tokens], dim=1) + model.pos_embed
    for number, block in enumerate(model.blocks, start=1):
        tokens = block(tokens)
        if number in (2, 3, 4, 6):
            kept.append(tokens[:, 1:].transpose(1, 2).reshape(1, -1, 6, 4))
    up, norm, _, again = taps.fpn1
    quarter = again(F.gelu(norm(up(kept[0]))))
    brought = [quarter, taps.fpn2[0](kept[1]), kept[2], F.max_pool2d(kept[3], 2, 2)]
    below, expected = None, {}
    for level in (5, 4, 3, 2):
        side = getattr(made, f"fpn_lateral{level}")(brought[level - 2])
        below = side if below is None else side + below.repeat_interleave(2, 2).repeat_interleave(2, 3)
        expected[f"p{level}"] = getattr(made, f"fpn_output{level}")(below)
    expected["p6"] = expected["p5"][..., ::2, ::2]
    assert list(maps) == ["p2", "p3", "p4", "p5", "p6"]
    for name, each in maps.items():
        torch.testing.assert_close(each, expected[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet18", RESNET), ("convnext_atto", {}), ("vit_tiny_patch16_224", VIT), (BEIT, DIT)],
)
def test_maps_of_any_network_have_the_strides_that_their_names_say(name, options):
    made = page_backbone(name, options, channels=8)
    shapes = made.output_shape()
    side = made.size_divisibility * -(-96 // made.size_divisibility)
    maps = made(torch.randn(1, 3, side, 2 * side))
    assert list(maps) == list(shapes) == ["p2", "p3", "p4", "p5", "p6"]
    for level, (name, each) in enumerate(maps.items(), start=2):
        assert shapes[name].stride == 2**level
        assert each.shape[1:] == (8, -(-side // 2**level), -(-2 * side // 2**level))


def test_a_model_sees_rgb_as_its_backbone_wants_it():
    made = page_backbone(BEIT, DIT, neck="dit")
    model = page_rcnn(made, nn.Identity(), nn.Identity())
    page = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8))
    seen = model.preprocess_image([{"image": page}]).tensor
    backbone = made.bottom_up.backbone
    torch.testing.assert_close(seen, backbone.normalise(page[None]))
    torch.testing.assert_close(seen, (page[None] / 255 - 0.5) / 0.5, atol=1e-5, rtol=1e-4)
    assert model.input_format == "RGB"


def test_a_run_of_ours_is_a_backbone_and_its_batch_norms_keep_their_statistics(tmp_path):
    saved = create_backbone("resnet18", 64, RESNET)
    save_backbone(saved, tmp_path, {})
    made = page_backbone(str(tmp_path), {"unknown": 1}, channels=8).train()
    inside = made.bottom_up.backbone.model
    assert all(torch.equal(value, inside.state_dict()[name]) for name, value in saved.model.state_dict().items())
    before = inside.bn1.running_mean.clone()
    made(torch.randn(2, 3, 64, 64) + 5)
    assert torch.equal(inside.bn1.running_mean, before) and inside.conv1.weight.requires_grad
    moved = page_backbone(str(tmp_path), channels=8, freeze_norms=False).train()
    moved(torch.randn(2, 3, 64, 64) + 5)
    assert not torch.equal(moved.bottom_up.backbone.model.bn1.running_mean, before)


@torch.inference_mode()
def test_the_trunk_and_the_head_of_c4_are_the_whole_network():
    torch.manual_seed(0)
    trunk = c4_trunk("resnet18", RESNET).eval()
    torch.manual_seed(0)
    head = c4_head("resnet18", RESNET).eval()
    torch.manual_seed(0)
    whole = create_backbone("resnet18", 224, RESNET).eval()
    images = torch.randn(1, 3, 64, 64)
    (middle,) = trunk(images).values()
    (last,) = whole.feature_maps(images)
    torch.testing.assert_close(head[0](middle), last)
    assert isinstance(head[1], nn.BatchNorm2d | nn.SyncBatchNorm) and trunk.output_shape()["res4"].stride == 16


def test_drop_path_grows_from_block_to_block():
    blocks = network(BEIT, DIT, drop_path=0.3).model.blocks
    assert [getattr(each.drop_path2, "drop_prob", 0.0) for each in blocks] == pytest.approx(
        [0, 0.06, 0.12, 0.18, 0.24, 0.3]
    )


def test_rates_fall_from_layer_to_layer_and_norms_do_not_decay_unless_asked():
    made = page_backbone("vit_tiny_patch16_224", VIT, channels=8)
    groups = parameter_groups(made, 1.0, 0.5)
    rates = {id(each): group["lr"] for group in groups for each in group["params"]}
    assert len(rates) == sum(1 for _ in made.parameters())
    model = made.backbone.model
    # The patches and two blocks are layers 0 to 2; the neck comes behind.
    assert rates[id(model.patch_embed.proj.weight)] == 0.5**3
    assert rates[id(model.blocks[0].mlp.fc1.weight)] == 0.5**2 and rates[id(model.blocks[1].mlp.fc1.weight)] == 0.5
    assert rates[id(made.neck.levels[0][0].weight)] == 1
    plain = {id(each) for group in groups if group.get("weight_decay") == 0 for each in group["params"]}
    assert id(model.pos_embed) in plain and id(model.blocks[0].norm1.weight) in plain
    assert id(model.blocks[0].mlp.fc1.weight) not in plain
    assert not any("weight_decay" in group for group in parameter_groups(made, 1.0, decay_all=True))


@pytest.mark.parametrize("neck", ["simple", "dit"])
def test_rates_of_a_beit_are_those_of_any_transformer_whatever_the_neck(neck):
    made = page_backbone(BEIT, DIT, neck=neck, channels=8)
    rates = {id(each): group["lr"] for group in parameter_groups(made, 1.0, 0.5) for each in group["params"]}
    model = next(part for part in made.modules() if hasattr(part, "patch_embed"))
    blocks = [rates[id(each.mlp.fc1.weight)] for each in model.blocks]
    assert blocks == [0.5 ** (6 - place) for place in range(6)] and rates[id(model.patch_embed.proj.weight)] == 0.5**7
    assert rates[id(model.pos_embed)] == rates[id(model.cls_token)] == 0.5**7


def test_the_norm_of_all_gradients_together_is_cut():
    weights = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(4))]
    optimizer = ClippedAdamW(weights, clip=1.0, lr=0.1)
    for each in weights:
        each.grad = torch.full_like(each, 10.0)
    optimizer.step()
    assert sum(float(each.grad.square().sum()) for each in weights) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "settings", "sentence"),
    [
        ("resnet18", RESNET, {"neck": "dit"}, "has stages, which neck=dit"),
        (BEIT, DIT, {"neck": "stages"}, "no stages, which neck=stages"),
        (BEIT, DIT, {"neck": "dits"}, "did you mean 'dit'"),
        (BEIT, DIT, {"neck": "dit", "finest": 8}, "neck=dit has maps"),
        (BEIT, DIT | {"depth": 2}, {"neck": "dit"}, "4 blocks or more"),
        ("resnet18", RESNET, {"drop_path": 0.1}, "transformers with blocks"),
    ],
)
def test_networks_that_do_not_fit_are_told_so(name, options, settings, sentence):
    with pytest.raises(UserError, match=sentence):
        page_backbone(name, options, **settings)
