"""The two faces, for one small network of each family."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from densessl.backbones import create_backbone

from .conftest import ARCHITECTURES, FIXED, PLAIN, disturb, small

CASES = sorted(ARCHITECTURES)


@pytest.mark.parametrize("case", CASES)
def test_both_faces_have_the_shapes_they_promise_at_any_size_the_stride_divides(case):
    backbone = small(case)
    assert backbone.stride == ARCHITECTURES[case][3]
    for height, width in [(3, 5), (4, 2)]:
        images = torch.randn(2, 3, height * backbone.stride, width * backbone.stride)
        vector = backbone(images)
        maps = backbone.feature_maps(images, (-1, 0))
        assert vector.shape == (2, backbone.channels) and vector.isfinite().all()
        assert maps[0].shape == (2, backbone.layer_channels[-1], height, width)
        assert maps[1].shape[:2] == (2, backbone.layer_channels[0])
        assert maps[1].shape[2] * width == maps[1].shape[3] * height
        assert all(each.isfinite().all() for each in maps)


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_gets_a_gradient_from_the_vector(case):
    backbone = small(case).train()
    backbone(torch.randn(2, 3, 2 * backbone.stride, 4 * backbone.stride)).sum().backward()
    assert [name for name, value in backbone.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto"])
def test_every_parameter_of_a_network_of_full_size_gets_a_gradient(name):
    backbone = create_backbone(name)
    backbone(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(value.grad is not None for value in backbone.parameters())


@pytest.mark.parametrize("case", CASES)
def test_a_copy_gives_the_same_and_shares_nothing(case):
    backbone = small(case)
    copied = copy.deepcopy(backbone)
    images = torch.randn(1, 3, 2 * backbone.stride, 4 * backbone.stride)
    before = backbone(images)
    assert torch.equal(copied(images), before)
    with torch.no_grad():
        for value in copied.parameters():
            value.zero_()
    assert torch.equal(backbone(images), before)


@pytest.mark.parametrize("case", CASES)
def test_a_size_that_the_stride_does_not_divide_is_refused_with_a_sentence(case):
    backbone = small(case)
    images = torch.zeros(1, 3, 2 * backbone.stride, 2 * backbone.stride + 1)
    for face in (backbone, backbone.feature_maps):
        with pytest.raises(
            ValueError, match=f"cells of {backbone.stride} x {backbone.stride} pixels.*give sides such as"
        ):
            face(images)


@pytest.mark.parametrize("case", ["resnet", "vit", "beit", "swin"])
def test_layers_come_in_the_order_asked_for_and_negative_ones_count_from_the_end(case):
    backbone = small(case)
    count = len(backbone.layer_channels)
    images = torch.randn(1, 3, 2 * backbone.stride, 2 * backbone.stride)
    last, first, again = backbone.feature_maps(images, (count - 1, -count, -1))
    assert torch.equal(last, again)
    assert torch.equal(first, backbone.feature_maps(images, [0])[0])
    assert backbone.feature_maps(images, []) == []
    for wrong in (count, -count - 1):
        with pytest.raises(ValueError, match=f"has no layer {wrong}"):
            backbone.feature_maps(images, [wrong])


@pytest.mark.parametrize("case", ["resnet", "resnet, small", "resnet, bottleneck", "regnet"])
def test_the_vector_of_a_convolutional_network_is_the_mean_of_its_last_map(case):
    backbone = small(case)
    images = torch.randn(2, 3, 2 * backbone.stride, 3 * backbone.stride)
    torch.testing.assert_close(backbone(images), backbone.feature_maps(images)[0].mean((2, 3)))


def test_the_vector_of_convnext_is_the_normed_mean_of_its_last_map():
    backbone = small("convnext")
    images = torch.randn(2, 3, 64, 96)
    mean = backbone.feature_maps(images)[0].mean((2, 3), keepdim=True)
    torch.testing.assert_close(backbone(images), backbone.model.head.norm(mean).flatten(1))


@pytest.mark.parametrize("case", ["vit", "dinov2, registers", "dinov3"])
def test_the_last_map_of_a_vit_is_its_patch_tokens_after_the_final_norm(case):
    backbone = disturb(small(case))
    images = torch.randn(2, 3, 4 * backbone.stride, 4 * backbone.stride)
    tokens = backbone.model.forward_features(images)
    prefix = backbone.model.num_prefix_tokens
    assert prefix == {"vit": 1}.get(case, 5)
    rows = tokens[:, prefix:].reshape(2, 4, 4, -1).permute(0, 3, 1, 2)
    if case == "dinov3":
        rows = backbone.model.fc_norm(rows.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(backbone.feature_maps(images)[0], rows)
    if case == "vit":
        torch.testing.assert_close(backbone(images), tokens[:, 0])


@pytest.mark.parametrize("case", ["beit", "eva02"])
def test_where_the_norm_stands_behind_the_pooling_the_map_is_normed_per_token(case):
    backbone = small(case)
    images = torch.randn(1, 3, 4 * backbone.stride, 4 * backbone.stride)
    each = backbone.feature_maps(images)[0]
    torch.testing.assert_close(each.mean(1), torch.zeros_like(each[:, 0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_evaluation_is_the_same_twice_and_alone_as_in_a_batch(case):
    backbone = small(case)
    images = torch.randn(2, 3, 2 * backbone.stride, 2 * backbone.stride)
    with torch.no_grad():
        assert torch.equal(backbone(images), backbone(images))
        torch.testing.assert_close(backbone(images[:1]), backbone(images)[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["resnet, small", "vit, small", "beit", "dinov3", "convnext", "swin, small"])
def test_it_runs_under_autocast(case):
    backbone = small(case).train()
    with torch.autocast("cpu", torch.bfloat16):
        vector = backbone(torch.randn(2, 3, 4 * backbone.stride, 2 * backbone.stride))
    vector.float().sum().backward()
    assert vector.isfinite().all()


@pytest.mark.parametrize("case", ["vit", "vit, small", "dinov2, registers", "deit3"])
def test_positions_are_those_of_the_table_turned_with_the_picture(case):
    """A picture and its transpose have transposed maps when the weights know no direction."""
    backbone = small(case)
    model = backbone.model
    with torch.no_grad():
        model.patch_embed.proj.weight.copy_(model.patch_embed.proj.weight.mean((2, 3), keepdim=True))
        prefix = model.pos_embed.shape[1] - model.patch_embed.num_patches
        side = model.patch_embed.grid_size[0]
        table = model.pos_embed[:, prefix:].reshape(1, side, side, -1)
        symmetric = ((table + table.transpose(1, 2)) / 2).reshape(1, side * side, -1)
        model.pos_embed.copy_(torch.cat([model.pos_embed[:, :prefix], symmetric], 1))
    images = torch.randn(1, 3, 2 * backbone.stride, 6 * backbone.stride)
    straight, turned = backbone.feature_maps(images)[0], backbone.feature_maps(images.transpose(2, 3))[0]
    torch.testing.assert_close(straight, turned.transpose(2, 3), rtol=1e-4, atol=1e-4)


def test_normalise_is_that_of_the_architecture_and_keeps_the_memory_format():
    backbone = small("resnet")
    assert backbone.mean == IMAGENET_DEFAULT_MEAN and backbone.std == IMAGENET_DEFAULT_STD
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8).to(memory_format=torch.channels_last)
    ready = backbone.normalise(images)
    assert ready.dtype == torch.float32 and ready.is_contiguous(memory_format=torch.channels_last)
    expected = (images[0, 2, 3, 4].item() / 255 - backbone.mean[2]) / backbone.std[2]
    assert ready[0, 2, 3, 4].item() == pytest.approx(expected, abs=1e-6)


def test_the_pixels_statistics_are_not_among_the_weights():
    assert all(name.startswith("model.") for name in small("resnet").state_dict())


@pytest.mark.parametrize("case", sorted(FIXED))
def test_a_network_that_takes_one_size_says_so(case):
    name, size, options = FIXED[case]
    backbone = create_backbone(name, size, options).eval()
    assert backbone.fixed_size == (size, size)
    assert backbone.feature_maps(torch.randn(1, 3, size, size))[0].shape[2:] == (size // 32, size // 32)
    with pytest.raises(ValueError, match=f"built for images of {size} x {size} pixels"):
        backbone(torch.randn(1, 3, 2 * size, size))


def test_it_compiles_without_a_break():
    backbone = small("vit, small")
    images = torch.randn(1, 3, 32, 32)
    compiled = torch.compile(backbone, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), backbone(images))


def test_it_can_be_sent_to_another_process():
    backbone = small("beit")
    images = torch.randn(1, 3, 64, 96)
    assert torch.equal(pickle.loads(pickle.dumps(backbone))(images), backbone(images))


def test_a_step_down_the_gradient_changes_the_vector_of_a_beit_at_another_size():
    backbone = small("beit").train()
    table = backbone.model.blocks[0].attn.relative_position_bias_table
    F.mse_loss(backbone(torch.randn(2, 3, 64, 96)), torch.ones(2, PLAIN["embed_dim"])).backward()
    assert table.grad.abs().sum() > 0
