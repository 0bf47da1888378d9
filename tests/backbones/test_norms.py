"""Layer norm in the place of batch norm: what it computes, and that a saved backbone keeps it."""

from __future__ import annotations

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from densessl.backbones import create_backbone, load_backbone, save_backbone
from densessl.backbones.norms import replace_batch_norm, without_batch_norm
from densessl.errors import UserError

from .conftest import PLAIN

NARROW = {"channels": [8, 16, 24, 32], "layers": [1, 1, 1, 1]}


def test_it_normalises_all_channels_and_places_of_one_image():
    model = nn.Sequential(nn.BatchNorm2d(3, eps=1e-3))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
        model[0].bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    x = torch.randn(4, 3, 5, 5) * 2 + 1
    scale, offset = (each.detach().view(1, 3, 1, 1) for each in (model[0].weight, model[0].bias))
    assert replace_batch_norm(model) == 1
    mean, variance = x.mean((1, 2, 3), keepdim=True), x.var((1, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(model(x), (x - mean) / (variance + 1e-3).sqrt() * scale + offset)


def test_an_activation_in_the_batch_norm_is_kept():
    model = nn.Sequential(BatchNormAct2d(3))
    replace_batch_norm(model)
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(model(x), nn.functional.group_norm(x, 1).relu())


@pytest.mark.parametrize(
    ("name", "options"), [("resnet18", NARROW), ("regnety_002", {}), ("mobilenetv3_small_050", {})]
)
def test_no_image_sees_another(name, options):
    backbone = without_batch_norm(create_backbone(name, 64, options)).train()
    assert not any(isinstance(part, _BatchNorm) for part in backbone.modules())
    assert backbone.options["norm"] == "layer" and "layer norm" in backbone.notes[-1]
    images = torch.randn(3, 3, 64, 64)
    torch.manual_seed(0)
    torch.testing.assert_close(backbone(images)[:1], backbone(images[:1]), rtol=1e-4, atol=1e-5)


def test_it_is_an_option_and_a_saved_backbone_has_it_again(tmp_path):
    backbone = create_backbone("resnet18", 32, {**NARROW, "norm": "layer"})
    assert "norm" in backbone.options and not any(isinstance(part, _BatchNorm) for part in backbone.modules())
    save_backbone(backbone, tmp_path, {})
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(load_backbone(tmp_path)(images), backbone(images))


def test_a_backbone_without_batch_norm_is_left_alone():
    backbone = without_batch_norm(create_backbone("vit_tiny_patch16_224", 32, PLAIN))
    assert "norm" not in backbone.options and not any("layer norm" in note for note in backbone.notes)


@pytest.mark.parametrize(
    ("name", "norm", "words"),
    [("resnet18", "group", "give layer"), ("vit_tiny_patch16_224", "layer", "has no batch norm")],
)
def test_mistakes_are_named(name, norm, words):
    with pytest.raises(UserError, match=words):
        create_backbone(name, 32, {"norm": norm})
