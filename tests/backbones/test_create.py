"""Names, options, sizes and the small stems."""

from __future__ import annotations

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from densessl.backbones import create_backbone
from densessl.errors import UserError

from .conftest import CONVNEXT, PLAIN

NARROW = {"channels": [8, 16, 24, 32]}


@pytest.mark.parametrize("size", [32, 64])
def test_a_resnet_for_small_pictures_has_a_3x3_stem_without_pooling_and_says_so(size):
    backbone = create_backbone("resnet18", size, NARROW)
    assert backbone.model.conv1.kernel_size == (3, 3) and backbone.model.conv1.stride == (1, 1)
    assert isinstance(backbone.model.maxpool, nn.Identity)
    assert backbone.stride == 8 and backbone.options["stem"] == "small"
    assert "3x3 convolution of stride 1 and no pooling" in backbone.notes[0] and str(size) in backbone.notes[0]
    assert backbone.feature_maps(torch.zeros(1, 3, size, size), [0])[0].shape[2:] == (size, size)


def test_a_resnet_for_larger_pictures_has_timms_stem_and_nothing_to_say():
    backbone = create_backbone("resnet18", 96, NARROW)
    assert backbone.model.conv1.kernel_size == (7, 7) and backbone.stride == 32 and "stem" not in backbone.options


def test_what_the_user_asks_for_is_kept():
    assert create_backbone("resnet18", 32, {**NARROW, "stem": "standard"}).stride == 32
    assert create_backbone("resnet18", 224, {**NARROW, "stem": "small"}).stride == 8
    assert create_backbone("vit_tiny_patch16_224", 32, {**PLAIN, "patch_size": 16}).stride == 16


@pytest.mark.parametrize("size, patch", [(32, 4), (48, 4), (64, 8), (96, 8), (128, 16), (224, 16)])
def test_the_patches_of_a_vit_are_at_most_an_eighth_of_the_picture(size, patch):
    backbone = create_backbone("vit_tiny_patch16_224", size, PLAIN)
    assert backbone.stride == patch
    assert bool(backbone.notes) == (patch != 16)


def test_a_vit_made_for_large_patches_keeps_them_at_its_own_size():
    assert create_backbone("vit_base_patch32_224", 224, PLAIN).stride == 32
    assert create_backbone("vit_base_patch32_224", None, PLAIN).stride == 32


@pytest.mark.parametrize("size, patch, stride", [(32, 1, 8), (64, 2, 16)])
def test_a_convnext_for_small_pictures_has_small_patches(size, patch, stride):
    backbone = create_backbone("convnext_atto", size, CONVNEXT)
    assert backbone.model.stem[0].stride == (patch, patch) and backbone.stride == stride
    assert f"patches of {patch} x {patch}" in backbone.notes[0]


def test_a_map_of_few_cells_is_told():
    assert "only 2 x 2 cells" in create_backbone("regnety_002", 64).notes[-1]


def test_a_size_that_nobody_asked_for_is_rounded_to_the_stride():
    assert create_backbone("xception41").image_size == 288


def test_options_may_come_from_a_recipe():
    options = OmegaConf.create({"channels": [8, 16, 24, 32], "drop_path_rate": 0.1})
    backbone = create_backbone("resnet18", 224, options)
    assert backbone.channels == 32 and backbone.options == {"channels": [8, 16, 24, 32], "drop_path_rate": 0.1}


def test_the_same_seed_gives_the_same_weights():
    torch.manual_seed(3)
    first = create_backbone("vit_tiny_patch16_224", 32, PLAIN).state_dict()
    torch.manual_seed(3)
    second = create_backbone("vit_tiny_patch16_224", 32, PLAIN).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "name, size, options, sentence",
    [
        ("resnet81", None, {}, "no model 'resnet81'; did you mean 'resnet"),
        ("", None, {}, "no model ''"),
        ("hf-hub:someone/something", None, {}, "no model 'hf-hub"),
        ("local-dir:/tmp", None, {}, "no model 'local-dir"),
        ("resnet18", None, {"chanels": [1]}, "cannot be built with chanels="),
        ("vit_tiny_patch16_224", None, {"depth": "two"}, "cannot be built with depth=two"),
        ("vit_tiny_patch16_224", 100, {"patch_size": 16}, "image_size=100 is no multiple of 16.*: give 96 or 112"),
        ("resnet18", 100, {}, "give 96 or 128"),
        ("resnet18", 0, {}, "image_size=0 is no size"),
        ("resnet18", None, {"stem": "tiny"}, "has no stem 'tiny'"),
        ("vit_tiny_patch16_224", None, {"stem": "small"}, "has no stem 'small'"),
        ("resnet18", None, {"checkpoint_path": "/x.pth"}, "option checkpoint_path .* cannot be set"),
        ("resnet18", None, {"pretrained": True}, "option pretrained .* cannot be set"),
    ],
)
def test_a_mistake_gets_one_sentence(name, size, options, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        create_backbone(name, size, options)
    assert "\n" not in str(error.value)
