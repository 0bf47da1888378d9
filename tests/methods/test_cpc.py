"""What CPC's paper says and the suite cannot know: who sees whom, which rows are predicted, from which sides."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from densessl.backbones import create_backbone
from densessl.data.views import PatchSpec, ViewSpec, draw_patches, generator
from densessl.errors import UserError
from densessl.methods import methods
from densessl.methods.cpc import Context
from tests.methods.conftest import NETWORKS, batch_for, build


def test_the_loss_is_the_formula_from_all_four_sides():
    method = build("cpc").double()
    batch = batch_for(method, 3)
    batch["views"] = [view.double() for view in batch["views"]]
    with torch.no_grad():
        z = method.backbone(batch["views"][0].flatten(0, 1)).view(3, 4, 4, -1)  # (B, row, column, D)
        total, terms = 0.0, 0
        for turns, direction in enumerate(method.directions):
            turned = torch.stack([torch.rot90(each, turns, (0, 1)) for each in z])
            c = direction.context(turned.permute(0, 3, 1, 2))
            target = {
                (b, i, j): direction.target.weight[:, :, 0, 0] @ turned[b, i, j] + direction.target.bias
                for b in range(3)
                for i in range(4)
                for j in range(4)
            }
            for k, matrix in zip((2, 3), direction.predictions, strict=True):
                for b, i, j in target:
                    if i + k > 3:
                        continue
                    prediction = 0.1 * (matrix.weight[:, :, 0, 0] @ c[b, :, i, j] + matrix.bias)
                    logits = {place: float(prediction @ each) for place, each in target.items()}
                    total += math.log(sum(math.exp(each) for each in logits.values())) - logits[b, i + k, j]
                    terms += 1
    assert terms == 4 * 3 * 4 * (2 + 1)
    assert float(method(batch).loss.detach()) == pytest.approx(total / terms, rel=1e-9)


def test_a_context_sees_its_row_and_those_above_and_no_other():
    context = Context(6, methods()["cpc"].config(hidden=32, blocks=5)).double()
    z = torch.randn(1, 6, 7, 7, dtype=torch.float64, requires_grad=True)
    for row in range(7):
        (gradient,) = torch.autograd.grad(context(z)[:, :, row].square().sum(), z)
        seen = gradient.abs().amax((0, 1, 3)) > 0
        # Five blocks of two rows each reach five rows up.
        assert seen.tolist() == [row - 5 <= each <= row for each in range(7)]
    (gradient,) = torch.autograd.grad(context(z)[:, :, 6, 0].square().sum(), z)
    assert gradient[0, :, 6].abs().amax(0).bool().tolist() == [True] * 6 + [False]


@pytest.mark.parametrize(
    ("patches", "first"),
    [
        (PatchSpec(), 2),
        (PatchSpec(grid=6, size=80, step=36), 3),
        (PatchSpec(grid=4, size=8, step=8), 1),
        (PatchSpec(grid=5, size=8, step=6, wander=2), 2),
    ],
)
def test_no_pixel_of_what_is_predicted_is_in_what_is_seen(patches, first):
    spec = ViewSpec(patches=patches)
    method = build("cpc", view=spec, grid=patches.grid) if patches.size == 8 else None
    if method:
        assert list(method.steps) == list(range(first, patches.grid))
    ends, starts = [-1] * patches.grid, [10**6] * patches.grid
    for index in range(50):
        for number, drawn in enumerate(draw_patches(spec, generator(0, 0, index))):
            row = number // patches.grid
            ends[row] = max(ends[row], drawn.y + drawn.height)
            starts[row] = min(starts[row], drawn.y)
    assert all(ends[row] <= starts[row + first] for row in range(patches.grid - first))
    assert any(ends[row] > starts[row + first - 1] for row in range(patches.grid - first + 1)) or first == 1


def test_patches_of_the_paper_make_up_its_pictures():
    assert PatchSpec().whole == 256 and PatchSpec(grid=6, size=80, step=36).whole == 260


@pytest.mark.parametrize(
    ("image_size", "stem", "expected"),
    [(256, "standard", (64, 32, 256)), (224, "standard", (64, 32, 256)), (32, "small", (8, 4, 32))],
)
def test_patches_follow_the_size_of_the_image(image_size, stem, expected):
    entry = methods()["cpc"]
    backbone = create_backbone("resnet18", image_size, NETWORKS["resnet"][1] | {"stem": stem})
    method = entry.cls(backbone, entry.config(dim=8, hidden=8, blocks=1), 100)
    (spec,) = method.views
    assert (spec.patches.size, spec.patches.step, spec.patches.whole) == expected and spec.patches.grid == 7
    assert list(method.steps) == [2, 3, 4, 5, 6] and spec.patches.flip == 0.5
    assert method.chance(10) == pytest.approx(math.log(490))


def test_each_direction_and_each_offset_has_weights_of_its_own():
    method = build("cpc")
    assert len(method.directions) == 4 and all(len(each.predictions) == 2 for each in method.directions)
    storages = [parameter.data_ptr() for parameter in method.directions.parameters()]
    assert len(set(storages)) == len(storages)
    # What one direction is told has no part in another's loss.
    z = torch.randn(2, method.backbone.channels, 4, 4)
    method.directions[1](z).backward()
    assert all(each.grad is None for number in (0, 2, 3) for each in method.directions[number].parameters())


def test_targets_learn_as_well_as_predictions():
    method = build("cpc")
    method(batch_for(method)).loss.backward()
    for direction in method.directions:
        assert float(direction.target.weight.grad.abs().max()) > 0
        assert all(float(each.weight.grad.abs().max()) > 0 for each in direction.predictions)


@pytest.mark.parametrize("network", list(NETWORKS))
def test_no_patch_sees_another_before_the_context_does(network):
    method = build("cpc", network)
    assert not any(isinstance(part, _BatchNorm) for part in method.modules())
    x = batch_for(method, 4)["views"][0]
    alone, together = method.backbone(x[0, :1]), method.backbone(x.flatten(0, 1))[:1]
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", list(NETWORKS))
def test_the_backbone_is_used_on_whole_images(network):
    method = build("cpc", network).eval()
    images = torch.randn(2, 3, 32, 32)
    assert method.backbone(images).shape == (2, method.backbone.channels)
    side = 32 // method.backbone.stride
    assert method.backbone.feature_maps(images)[0].shape[2:] == (side, side)


def test_the_embedding_is_the_mean_over_patches():
    method = build("cpc")
    batch = batch_for(method, 3)
    with torch.no_grad():
        z = method.backbone(batch["views"][0].flatten(0, 1)).view(3, 16, -1)
        torch.testing.assert_close(method(batch).embedding, z.mean(1))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"first": 0}, "cpc.first=0"),
        ({"first": 3, "last": 2}, "cpc.last=2 must not be below cpc.first=3"),
        ({"scale": 0}, "cpc.scale=0"),
        ({"grid": 1}, "cpc.grid=1"),
        ({"view": ViewSpec(count=2)}, "cpc.view.count=2"),
    ],
)
def test_mistakes_name_their_key(wrong, words):
    with pytest.raises(UserError, match=words):
        methods()["cpc"].config(**wrong)


def test_a_grid_with_nothing_to_predict_is_a_sentence():
    with pytest.raises(UserError, match="predicts rows from 2 on, but there are none beyond 1"):
        build("cpc", grid=2)


def test_the_defaults_are_the_papers():
    config = methods()["cpc"].config()
    known = {"dim": 64, "hidden": 256, "blocks": 5, "scale": 0.1, "grid": 7}
    assert {key: getattr(config, key) for key in known} == known
    assert config.view.grey == 0.25 and config.view.blur == 0
