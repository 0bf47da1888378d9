"""Positions at other sizes as DINO's official code has them, and keys of a ViT's attention, against their formulas."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import timm
import torch

from densessl.backbones import create_backbone, load_backbone, save_backbone
from densessl.backbones.keys import has_keys, key_maps
from densessl.backbones.positions import OfficialPositions, resized, set_positions
from densessl.errors import UserError
from densessl.segmentation.features.colour import ColourBackbone
from densessl.segmentation.features.extractor import Extractor

from .conftest import PLAIN, disturb, small


def cubic(x: float) -> float:
    """Keys' convolution kernel with a = -0.75, which torch uses."""
    x, a = abs(x), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def weights_of(place: int, side: int, factor: float) -> list[float]:
    """What each of `side` old places gives to a new one: pixel centres aligned, the last place repeated outside."""
    source = (place + 0.5) / factor - 0.5
    found = [0.0] * side
    for near in range(math.floor(source) - 1, math.floor(source) + 3):
        found[min(max(near, 0), side - 1)] += cubic(source - near)
    return found


def test_official_resizing_is_bicubic_by_the_factor_that_is_a_tenth_of_a_place_too_large():
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(1, 1 + 4 * 4, 3, generator=generator, dtype=torch.float32)
    found = resized(table, (4, 4), (7, 5))
    rows = torch.tensor([weights_of(place, 4, 7.1 / 4) for place in range(7)])
    columns = torch.tensor([weights_of(place, 4, 5.1 / 4) for place in range(5)])
    slow = torch.einsum("is,jt,std->ijd", rows, columns, table[0, 1:].view(4, 4, 3)).reshape(1, 35, 3)
    torch.testing.assert_close(found, torch.cat([table[:, :1], slow], dim=1), rtol=0, atol=1e-5)
    assert resized(table, (4, 4), (4, 4)) is table
    # 16 places as well, but another grid.
    assert not torch.equal(resized(table, (4, 4), (2, 8)), table)


@pytest.mark.parametrize("case", ["vit", "dinov2", "dinov2, registers", "deit3"])
def test_a_vit_takes_the_resized_table_and_at_its_own_size_nothing_changes(case):
    backbone, official = disturb(small(case)), disturb(set_positions(small(case), "official"))
    stride, size = backbone.stride, backbone.model.patch_embed.img_size[0]
    own = torch.randn(1, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(official(own), backbone(own))
        other = torch.randn(2, 3, 3 * stride, 5 * stride)
        model = backbone.model
        prefix = 0 if model.no_embed_class else model.num_prefix_tokens
        table = resized(model.pos_embed, model.patch_embed.grid_size, (3, 5), prefix)
        assert not torch.allclose(official.feature_maps(other)[0], backbone.feature_maps(other)[0], atol=1e-5)
        # The same network, whose table has that grid: timm then leaves it as it is.
        model.pos_embed.data, model.patch_embed.grid_size = table, (3, 5)
        torch.testing.assert_close(official.feature_maps(other)[0], backbone.feature_maps(other)[0])
        torch.testing.assert_close(official(other), backbone(other))


def test_the_way_is_remembered_by_options_files_and_the_key_of_features(tmp_path):
    torch.manual_seed(0)
    backbone = create_backbone("vit_tiny_patch16_224", 224, {**PLAIN, "positions": "official"}).eval()
    save_backbone(backbone, tmp_path, {})
    images = torch.randn(1, 3, 96, 96)
    again = load_backbone(tmp_path).eval()
    assert again.options["positions"] == "official" and type(again.model) is OfficialPositions
    assert torch.equal(again(images), backbone(images))
    usual = load_backbone(tmp_path, positions="timm").eval()
    assert "positions" not in usual.options and not torch.equal(usual(images), backbone(images))
    assert len({Extractor(each, 96).key() for each in (again, usual)}) == 2
    assert Extractor(usual, 96).key() != Extractor(usual, 96, facet="keys").key()


def test_an_official_file_may_be_loaded_so_and_be_named_so(tmp_path):
    model = disturb(timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=1, dynamic_img_size=True))
    torch.save(model.state_dict(), tmp_path / "dino.pth")
    images = torch.randn(1, 3, 96, 64)
    one = load_backbone(tmp_path / "dino.pth", positions="official").eval()
    two = load_backbone(f"{tmp_path}/dino.pth@vit_tiny_patch16_224,depth=1,positions=official").eval()
    assert torch.equal(one(images), two(images))
    assert not torch.allclose(one(images), load_backbone(tmp_path / "dino.pth").eval()(images), atol=1e-4)


def test_what_is_no_vit_with_such_a_table_stays_and_says_so():
    for case in ("resnet", "dinov3", "distilled"):
        backbone = set_positions(small(case), "official")
        assert "changes nothing" in backbone.notes[-1] and "positions" not in backbone.options
    with pytest.raises(UserError, match="positions=oficial.*did you mean 'official'"):
        set_positions(small("vit"), "oficial")


@pytest.mark.parametrize("case", ["vit", "dinov2, registers"])
def test_keys_are_the_second_third_of_the_attentions_first_layer(case):
    backbone = disturb(small(case)).eval()
    images = torch.randn(2, 3, 3 * backbone.stride, 4 * backbone.stride)
    model = backbone.model
    with torch.no_grad():
        first, last = key_maps(backbone, images, (0, -1))
        tokens = model.norm_pre(model._pos_embed(model.patch_embed(images)))
        for found, block in ((first, model.blocks[0]), (last, model.blocks[1])):
            normed = block.norm1(tokens)[:, model.num_prefix_tokens :]
            slow = normed @ block.attn.qkv.weight[32:64].T + block.attn.qkv.bias[32:64]
            torch.testing.assert_close(found, slow.transpose(1, 2).reshape(2, 32, 3, 4), rtol=1e-4, atol=1e-5)
            tokens = block(tokens)
    assert not model.blocks[0].attn.qkv._forward_hooks


def test_threads_that_share_a_network_have_the_keys_of_their_own_images():
    backbone = disturb(small("vit")).eval()
    images = torch.randn(48, 1, 3, 48, 64)

    @torch.no_grad()
    def keys(image: torch.Tensor) -> torch.Tensor:
        return key_maps(backbone, image)[0]

    expected = [keys(image) for image in images]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(keys, images))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_what_has_no_keys_is_refused():
    assert not has_keys(small("resnet")) and not has_keys(ColourBackbone())
    with pytest.raises(ValueError, match="no plain ViT"):
        key_maps(small("resnet"), torch.zeros(1, 3, 64, 64))
