"""Edges for colours: the filters, and backbones that carry them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from densessl.backbones import create_backbone, load_backbone, save_backbone
from densessl.backbones.sobel import edges, give_edges
from densessl.errors import UserError

SMALL = {"channels": [8, 8, 16, 16], "layers": [1, 1, 1, 1]}
NETWORKS = {
    "resnet18": SMALL,
    "vit_tiny_patch16_224": {"embed_dim": 24, "depth": 2, "num_heads": 2},
    "convnext_atto": {"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 16]},
}


def test_edges_are_the_sobel_filters_of_the_mean_of_the_channels():
    images = torch.randn(2, 3, 7, 9, dtype=torch.float64)
    grey = F.conv2d(images, torch.full((1, 3, 1, 1), 1 / 3, dtype=torch.float64))
    right = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], dtype=torch.float64)
    expected = F.conv2d(grey, torch.stack([right, right.T])[:, None], padding=1)
    torch.testing.assert_close(edges(images), expected)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        torch.testing.assert_close(edges(images.contiguous(memory_format=memory_format)), expected)


def test_a_plain_image_has_no_edges_but_its_border():
    assert not edges(torch.ones(1, 3, 8, 8))[:, :, 1:-1, 1:-1].any()


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_backbone_that_sees_edges_takes_rgb_and_survives_a_file(name, tmp_path):
    backbone = create_backbone(name, 32, {**NETWORKS[name], "sobel": True}).eval()
    images = torch.randn(2, 3, 32, 32)
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(backbone(images), backbone(grey), rtol=1e-4, atol=1e-5)
    save_backbone(backbone, tmp_path, {})
    again = load_backbone(tmp_path).eval()
    assert torch.equal(again(images), backbone(images))
    assert torch.equal(again.feature_maps(images)[0], backbone.feature_maps(images)[0])


def test_edges_are_given_once():
    backbone = create_backbone("resnet18", 32, SMALL)
    give_edges(backbone)
    convolution = backbone.model.conv1
    give_edges(backbone)
    assert backbone.model.conv1 is convolution and backbone.options["sobel"] and len(backbone.notes) == 2
    before = create_backbone("resnet18", 32, {**SMALL, "sobel": True})
    give_edges(before)
    assert len(before.notes) == 1


def test_a_network_that_begins_otherwise_is_refused_with_a_sentence():
    with pytest.raises(UserError, match="resnetv2_50x1_bit does not begin with a plain convolution"):
        create_backbone("resnetv2_50x1_bit", 32, {"sobel": True})
