"""What a method asks for, and what is drawn for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torchvision.transforms import ColorJitter, RandomResizedCrop

from densessl.config import build
from densessl.data.views import ORDERS, Draw, PatchSides, PatchSpec, ViewSpec, draw, draw_patches, generator
from densessl.errors import UserError


@dataclass
class Recipe:
    view: ViewSpec = field(default_factory=ViewSpec)


def drawn(spec: ViewSpec, count: int, height: int = 375, width: int = 500, size: int = 224) -> dict[str, np.ndarray]:
    """Many draws, a column per field."""
    rows = [draw(spec, height, width, generator(0, 0, index), size) for index in range(count)]
    return {name: np.array(column) for name, column in zip(Draw._fields, zip(*rows, strict=True), strict=True)}


def test_lists_of_a_yaml_file_become_tuples():
    schema = OmegaConf.structured(Recipe)
    OmegaConf.set_readonly(schema.view, False)
    config = OmegaConf.merge(schema, {"view": {"scale": [0.2, 0.9], "count": 2}})
    assert OmegaConf.to_object(config).view == ViewSpec(scale=(0.2, 0.9), count=2)


def test_a_wrong_value_of_a_yaml_file_is_a_sentence():
    schema = OmegaConf.structured(Recipe)
    OmegaConf.set_readonly(schema.view, False)
    with pytest.raises(UserError, match="flip is 1.5; it must be a probability between 0 and 1"):
        OmegaConf.to_object(OmegaConf.merge(schema, {"view": {"flip": 1.5}}))


def test_patches_of_a_recipe_are_those_that_it_gives():
    config = build(Recipe, OmegaConf.create({"view": {"patches": {"grid": 6, "size": 80}}}))
    assert config.view.patches == PatchSpec(grid=6, size=80)
    saved = OmegaConf.create(OmegaConf.to_yaml(OmegaConf.structured(config)))
    again = build(Recipe, saved, OmegaConf.create({"view": {"patches": {"step": 36}}}))
    assert again.view.patches == PatchSpec(grid=6, size=80, step=36)
    assert build(Recipe, saved, OmegaConf.create({"view": {"patches": None}})).view == ViewSpec()
    assert build(Recipe, OmegaConf.create({"view": {"patches": None}})).view == ViewSpec()
    with pytest.raises(UserError, match="A view's patches.step is 0; it must be 1 px or more"):
        build(Recipe, OmegaConf.create({"view": {"patches": {"step": 0}}}))
    with pytest.raises(UserError, match="'view.patches.stop'.*; did you mean 'view.patches.step'"):
        build(Recipe, OmegaConf.create({"view": {"patches": {"stop": 1}}}))


def test_a_spec_with_lists_is_hashable():
    assert hash(ViewSpec(scale=[0.1, 1.0])) == hash(ViewSpec(scale=(0.1, 1.0)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.2},
        {"grey": -0.1},
        {"blur": float("nan")},
        {"scale": (0.0, 1.0)},
        {"scale": (0.9, 0.5)},
        {"scale": (0.5, 1.5)},
        {"ratio": (0.0, 1.0)},
        {"ratio": (1.0,)},
        {"hue": 0.6},
        {"brightness": -1.0},
        {"contrast": float("inf")},
        {"blur_sigma": (-1.0, 2.0)},
        {"blur_sigma": (1.0, 65.0)},
        {"size": 4},
        {"count": 0},
        {"size": 200, "patches": PatchSpec()},
        {"blur_sigma": (0.1, 20.0), "patches": PatchSpec()},
    ],
)
def test_a_value_outside_its_range_is_named(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        ViewSpec(**wrong)


def test_the_same_seed_epoch_and_index_draw_the_same():
    assert generator(3, 1, 7).random(5).tolist() == generator(3, 1, 7).random(5).tolist()


def test_another_seed_epoch_or_index_draws_something_else():
    firsts = {
        generator(*key).random()
        for key in ((3, 1, 7), (4, 1, 7), (3, 2, 7), (3, 1, 8), (1, 3, 7), (7, 1, 3), (-3, 1, 7))
    }
    assert len(firsts) == 7


def test_neighbouring_indices_are_not_correlated():
    rows = np.array([generator(0, 0, index).random(8) for index in range(4000)])
    assert abs(np.corrcoef(rows[:-1, 0], rows[1:, 0])[0, 1]) < 0.05
    assert abs(rows.mean() - 0.5) < 0.01


@pytest.mark.parametrize(("height", "width"), [(375, 500), (32, 32), (100, 400)])
def test_boxes_are_distributed_as_those_of_random_resized_crop(height, width):
    torch.manual_seed(0)
    image = torch.zeros(3, height, width)
    theirs = np.array([RandomResizedCrop.get_params(image, [0.08, 1.0], [0.75, 4 / 3]) for _ in range(3000)])
    ours = drawn(ViewSpec(), 3000, height, width)
    pairs = [(ours["y"], theirs[:, 0]), (ours["x"], theirs[:, 1])]
    pairs += [(ours["height"], theirs[:, 2]), (ours["width"], theirs[:, 3])]
    pairs += [(ours["height"] * ours["width"], theirs[:, 2] * theirs[:, 3])]
    for mine, other in pairs:
        # 0.045 is the 1 in 200 level of Kolmogorov and Smirnov's distance for two samples of 3000.
        assert distance_of_distributions(mine, other) < 0.045


def distance_of_distributions(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov and Smirnov's: the largest gap between the two cumulative distributions."""
    places = np.unique(np.concatenate([a, b]))
    below = [np.searchsorted(np.sort(sample), places, "right") / len(sample) for sample in (a, b)]
    return np.abs(below[0] - below[1]).max()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1), (7, 5), (375, 500)])
def test_a_box_lies_inside_the_image(height, width):
    ours = drawn(ViewSpec(), 300, height, width)
    assert (ours["width"] >= 1).all() and (ours["height"] >= 1).all() and (ours["x"] >= 0).all()
    assert (ours["x"] + ours["width"] <= width).all() and (ours["y"] + ours["height"] <= height).all()


def test_scale_and_ratio_of_one_are_the_centre_square():
    spec = ViewSpec(scale=(1, 1), ratio=(1, 1))
    assert draw(spec, 300, 401, generator(0, 0, 0), 224)[:4] == (50, 0, 300, 300)
    assert draw(spec, 301, 200, generator(0, 0, 0), 224)[:4] == (0, 50, 200, 200)


def test_each_operation_is_drawn_with_its_probability():
    ours = drawn(ViewSpec(flip=0.3, jitter=0.8, grey=0.2, blur=0.5, solarize=0.1), 5000)
    shares = [ours["flip"], ours["hue"] != 0, ours["grey"], ours["sigma"] > 0, ours["solarize"]]
    # Four standard deviations of a share of 5000.
    np.testing.assert_allclose([share.mean() for share in shares], [0.3, 0.8, 0.2, 0.5, 0.1], atol=0.028)


def test_colour_factors_are_distributed_as_those_of_color_jitter():
    torch.manual_seed(0)
    jitter = ColorJitter(0.4, 1.4, 0.8, 0.2)
    strengths = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    theirs = [ColorJitter.get_params(*strengths) for _ in range(3000)]
    ours = drawn(ViewSpec(jitter=1.0, brightness=0.4, contrast=1.4, saturation=0.8, hue=0.2), 3000)
    for column, name in enumerate(("brightness", "contrast", "saturation", "hue"), start=1):
        assert distance_of_distributions(ours[name], np.array([row[column] for row in theirs])) < 0.045
    counts = np.bincount(ours["order"], minlength=24)
    assert len(ORDERS) == 24 and counts.min() > 125 - 4 * math.sqrt(125)


def test_sigma_is_uniform_and_grows_with_the_view():
    spec = ViewSpec(blur=0.5, blur_sigma=(0.5, 2.0))
    large, small = drawn(spec, 4000)["sigma"], drawn(spec, 4000, size=112)["sigma"]
    np.testing.assert_allclose(small, large / 2)
    blurred = large[large > 0]
    assert blurred.min() >= 0.5 and blurred.max() <= 2.0
    np.testing.assert_allclose(np.quantile(blurred, [0.25, 0.5, 0.75]), [0.875, 1.25, 1.625], atol=0.06)


def test_views_of_one_image_are_drawn_apart():
    rng = generator(0, 0, 0)
    assert draw(ViewSpec(), 375, 500, rng, 224) != draw(ViewSpec(), 375, 500, rng, 224)


def test_a_spec_without_anything_leaves_the_image_as_it_is():
    plain = replace(ViewSpec(), scale=(1, 1), ratio=(1, 1), flip=0, jitter=0, grey=0, blur=0)
    rest = draw(plain, 64, 64, generator(0, 0, 0), 64)
    assert rest == Draw(0, 0, 64, 64, False, 1.0, 1.0, 1.0, 0.0, 0, False, 0.0, False)


@pytest.mark.parametrize("wrong", [{"grid": 1}, {"size": 3}, {"step": 0}, {"wander": -1}, {"flip": 2.0}])
def test_a_value_of_patches_outside_its_range_is_named(wrong):
    with pytest.raises(UserError, match=f"patches.{next(iter(wrong))}"):
        PatchSpec(**wrong)


def test_a_view_in_patches_is_as_large_as_they_make_it():
    jigsaw = ViewSpec(patches=PatchSpec(grid=3, size=64, step=85, wander=21))
    assert jigsaw.side(32) == 255 and jigsaw.sides(32) == PatchSides(255, 64)
    assert ViewSpec().side(32) == ViewSpec().sides(32) == 32 and ViewSpec(size=16).sides(32) == 16


def test_of_a_view_in_patches_the_crop_has_a_flip_and_no_colours():
    spec = ViewSpec(patches=PatchSpec())
    for index in range(50):
        whole = draw(replace(spec, patches=None), 300, 400, generator(0, 0, index), 256)
        crop = draw(spec, 300, 400, generator(0, 0, index), 256)
        assert crop == Draw(*whole[:5], 1.0, 1.0, 1.0, 0.0, 0, False, 0.0, False)


def test_patches_lie_row_by_row_anywhere_in_their_cells():
    spec = ViewSpec(patches=PatchSpec(grid=3, size=64, step=85, wander=21))
    rows = [draw_patches(spec, generator(0, 0, index)) for index in range(400)]
    for number in range(9):
        row, column = divmod(number, 3)
        x, y = (np.array([getattr(each[number], axis) for each in rows]) for axis in ("x", "y"))
        for place, cell in ((x, column), (y, row)):
            assert set(place - 85 * cell) == set(range(22))
        assert all(each[number][2:4] == (64, 64) for each in rows)
        assert abs(np.corrcoef(x, y)[0, 1]) < 0.2


def test_each_patch_has_colours_blur_and_flip_of_its_own():
    spec = ViewSpec(flip=0.0, jitter=0.8, grey=0.25, blur=0.5, patches=PatchSpec(flip=0.3))
    found = [patch for index in range(60) for patch in draw_patches(spec, generator(0, 0, index))]
    shares = [
        np.mean(column) for column in zip(*((p.flip, p.hue != 0, p.grey, p.sigma > 0) for p in found), strict=True)
    ]
    # Four standard deviations of a share of 2940.
    np.testing.assert_allclose(shares, [0.3, 0.8, 0.25, 0.5], atol=0.037)
    sigmas = [patch.sigma for patch in found if patch.sigma]
    assert 2.0 < max(sigmas) <= 2.0 * 256 / 224  # in pixels of the whole, which has 256
    neighbours = np.array([[a.hue, b.hue] for a, b in zip(found, found[1:], strict=False)])
    assert abs(np.corrcoef(neighbours.T)[0, 1]) < 0.08


def test_views_that_follow_patches_are_drawn_anew_for_each_image():
    spec, rng = ViewSpec(patches=PatchSpec()), generator(0, 0, 0)
    draw(spec, 300, 400, rng, 256)
    first, second = draw_patches(spec, rng), draw_patches(spec, rng)
    assert first != second and len(first) == 49
