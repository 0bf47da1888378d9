"""Tokens of plain transformers, against timm's own forward pass."""

from __future__ import annotations

import pytest
import torch

from densessl.backbones import create_backbone
from densessl.backbones.tokens import (
    features,
    grid_of,
    is_transformer,
    normed,
    patches,
    pooled,
    prefix_tokens,
)

from .conftest import ARCHITECTURES, PLAIN, disturb, small

CASES = ["vit", "vit, small", "dinov2, registers", "dinov3", "eva02", "beit", "deit3", "distilled", "siglip"]
MORE = {
    "rope of each block": ("vit_small_patch16_rope_mixed_224", PLAIN),
    "clip": ("vit_base_patch16_clip_224", PLAIN),
    "shared bias": ("beit_base_patch16_224", PLAIN | {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}),
}


@pytest.fixture(params=[*CASES, *MORE])
def backbone(request):
    if request.param in CASES:
        return disturb(small(request.param))
    name, options = MORE[request.param]
    return disturb(create_backbone(name, 128, options).eval())


@pytest.mark.parametrize("stretch", [(1, 1), (1, 2)])
def test_whole_images_give_what_timm_gives(backbone, stretch):
    side = 4 * backbone.stride
    images = torch.randn(2, 3, side * stretch[0], side * stretch[1])
    expected = backbone(images)  # sets BEiT's grid too
    all_tokens = backbone.model.forward_features(images)
    ours = features(backbone, patches(backbone, images), grid_of(backbone, images))
    torch.testing.assert_close(ours, all_tokens)
    torch.testing.assert_close(pooled(backbone, ours), expected)
    # `feature_maps` states its norm by itself, layer by layer.
    places = normed(backbone, ours)[:, prefix_tokens(backbone) :]
    (maps,) = backbone.feature_maps(images)
    torch.testing.assert_close(places, maps.flatten(2).transpose(1, 2))


def test_patches_stand_row_by_row(backbone):
    side = backbone.stride
    images = torch.randn(1, 3, 2 * side, 3 * side)
    last = images[:, :, side:, 2 * side :]
    torch.testing.assert_close(patches(backbone, images)[:, 5], patches(backbone, last)[:, 0], rtol=1e-4, atol=1e-5)


def test_kept_patches_bring_their_places_and_the_others_are_not_seen(backbone):
    images = torch.randn(2, 3, 4 * backbone.stride, 4 * backbone.stride)
    tokens, grid, prefix = patches(backbone, images), (4, 4), prefix_tokens(backbone)
    order = torch.stack([torch.randperm(16), torch.randperm(16)])
    if "beit" in backbone.architecture:
        with pytest.raises(ValueError, match="relative positions"):
            features(backbone, tokens, grid, order)
        return
    whole = features(backbone, tokens, grid)
    dealt = features(backbone, tokens, grid, order)
    torch.testing.assert_close(dealt[:, :prefix], whole[:, :prefix], rtol=1e-4, atol=1e-5)
    for row in range(2):
        torch.testing.assert_close(dealt[row, prefix:], whole[row, prefix:][order[row]], rtol=1e-4, atol=1e-5)
    kept = order[:, :6]
    some = features(backbone, tokens, grid, kept)
    assert some.shape == (2, prefix + 6, tokens.shape[2])
    hidden = torch.ones_like(tokens, dtype=torch.bool).scatter(
        1, kept[..., None].expand(-1, -1, tokens.shape[2]), False
    )
    torch.testing.assert_close(features(backbone, tokens + 100 * hidden, grid, kept), some)
    assert not torch.allclose(features(backbone, tokens, grid, kept.flip(0)), some)


def test_what_does_not_fit_is_told():
    backbone = small("vit, small")
    tokens = torch.randn(1, 16, 32)
    with pytest.raises(ValueError, match=r"needs tokens \(B, 15, D\); they are \(1, 16, 32\)"):
        features(backbone, tokens, (3, 5))
    fixed = create_backbone("vit_tiny_patch16_224", 32, PLAIN | {"dynamic_img_size": False})
    with pytest.raises(ValueError, match=r"a grid of \(8, 8\) alone, not \(4, 4\)"):
        features(fixed, tokens, (4, 4))
    dropping = create_backbone("vit_tiny_patch16_224", 32, PLAIN | {"patch_drop_rate": 0.5})
    with pytest.raises(ValueError, match="leave patch_drop_rate at 0"):
        features(dropping, tokens, (4, 4))


def test_networks_of_other_kinds_are_refused():
    plain = {case for case in ARCHITECTURES if is_transformer(small(case))}
    assert plain == {"vit", "vit, patch 8", "vit, small", "dinov2", *CASES}
    with pytest.raises(ValueError, match="resnet18 is no plain transformer"):
        patches(small("resnet"), torch.randn(1, 3, 64, 64))
