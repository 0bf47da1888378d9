"""BEiT's bias at other grids, against timm's own resizing once and for all."""

from __future__ import annotations

import pytest
import torch

from densessl.backbones import create_backbone

from .conftest import PLAIN, disturb

SIZES = [(128, 128), (64, 192), (192, 64), (224, 96), (32, 32), (256, 256)]


def _pair(**more):
    options = {**PLAIN, **more}
    ours = disturb(create_backbone("beit_base_patch16_224", 128, options).eval())
    theirs = create_backbone("beit_base_patch16_224", 128, options).eval()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs.model


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shared", [False, True])
def test_the_bias_on_the_way_equals_timms_resized_table(size, shared):
    more = {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True} if shared else {}
    ours, theirs = _pair(**more)
    images = torch.randn(1, 3, *size)
    result = ours(images)
    theirs.set_input_size(img_size=size)
    for block in theirs.blocks:
        block.attn.grid = theirs.patch_embed.grid_size
    if shared:
        theirs.rel_pos_bias.grid = theirs.patch_embed.grid_size
    torch.testing.assert_close(result, theirs(images), rtol=1e-4, atol=1e-5)


def test_sizes_may_change_from_call_to_call():
    ours, _ = _pair()
    images = {size: torch.randn(1, 3, *size) for size in SIZES}
    first = {size: ours(each) for size, each in images.items()}
    assert all(torch.equal(first[size], ours(images[size])) for size in reversed(SIZES))


def test_it_can_be_trained_after_it_was_used_in_inference_mode():
    ours, _ = _pair()
    images = torch.randn(1, 3, 96, 160)
    with torch.inference_mode():
        ours(images)
    ours(images).sum().backward()
    assert ours.model.blocks[0].attn.relative_position_bias_table.grad.abs().sum() > 0


def test_the_bias_matters():
    ours, _ = _pair()
    images = torch.randn(1, 3, 64, 192)
    before = ours(images)
    with torch.no_grad():
        ours.model.blocks[0].attn.relative_position_bias_table.mul_(-1)
    assert not torch.allclose(ours(images), before)
