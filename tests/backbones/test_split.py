"""Colour spaces by the formulas of others, and backbones that see an image in parts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from densessl.backbones import SplitBackbone, create_backbone, load_backbone, save_backbone, split_backbone
from densessl.backbones.channels import SPACES, Split, convert, revert
from densessl.backbones.split import encoder_like, untrained_twin
from densessl.errors import UserError
from densessl.segmentation.features.extractor import Extractor

SMALL = {"channels": [8, 8, 16, 16], "layers": [1, 1, 1, 1]}


@pytest.fixture
def colours() -> np.ndarray:
    """RGB uint8 (1, 4096, 3): the corners, dark ones and random ones."""
    rng = np.random.default_rng(0)
    corners = [[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    dark = rng.integers(0, 14, (500, 3))
    return np.concatenate((corners, dark, rng.integers(0, 256, (4096 - 508, 3)))).astype(np.uint8)[None]


def converted(colours: np.ndarray, space: str) -> np.ndarray:
    images = torch.from_numpy(colours).permute(2, 0, 1)[None].double() / 255
    return convert(images, space)[0].permute(1, 2, 0).numpy()


def slow_lab(rgb: np.ndarray) -> tuple[float, float, float]:
    """One colour by the definitions of sRGB and CIELAB with their exact constants."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (rgb / 255.0).tolist()]
    rows = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
    ratios = [sum(m * c for m, c in zip(row, linear, strict=True)) / sum(row) for row in rows]
    x, y, z = (t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29 for t in ratios)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_lab_is_the_definition_and_opencvs(colours):
    """OpenCV interpolates in a table, which is off by up to 0.4."""
    found = converted(colours, "lab")
    np.testing.assert_allclose(found[0], [slow_lab(rgb) for rgb in colours[0]], atol=0.02)
    difference = np.abs(found - cv2.cvtColor(colours.astype(np.float32) / 255, cv2.COLOR_RGB2LAB))
    assert difference.max() < 0.5 and difference.mean() < 0.1


def test_lab_of_the_primaries_is_that_of_the_standard():
    """As tabled for sRGB under D65, such as in scikit-image's documentation and Lindbloom's calculator."""
    red, green, blue, white = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8).transpose(
        1, 0, 2
    )
    for colour, lab in {
        tuple(red[0]): (53.24, 80.09, 67.20),
        tuple(green[0]): (87.73, -86.18, 83.18),
        tuple(blue[0]): (32.30, 79.19, -107.86),
        tuple(white[0]): (100.0, 0.0, 0.0),
    }.items():
        np.testing.assert_allclose(converted(np.array([[colour]], np.uint8), "lab")[0, 0], lab, atol=0.02)


def test_the_range_of_lab_is_what_the_official_code_scales_by(colours):
    """[0, 100], [-86.183, 98.233], [-107.857, 94.478] become [-1, 1]."""
    levels = torch.linspace(0, 1, 33, dtype=torch.float64)
    cube = torch.cartesian_prod(levels, levels, levels).T[None, :, None]
    lightness, ab = Split("lab")(cube)
    for channel in (lightness, ab[:, :1], ab[:, 1:]):
        assert [float(channel.min()), float(channel.max())] == pytest.approx([-1, 1], abs=1e-3)


def test_ycbcr_is_that_of_the_standard(colours):
    """OpenCV's spans [0, 255]; BT.601 squeezes Y into [16, 235] and the others into [16, 240]."""
    full = cv2.cvtColor(colours.astype(np.float32) / 255, cv2.COLOR_RGB2YCrCb)
    luma, red, blue = full[..., 0], full[..., 1] - 0.5, full[..., 2] - 0.5
    expected = np.stack((16 + 219 * luma, 128 + 224 * blue, 128 + 224 * red), -1)
    assert np.abs(converted(colours, "ycbcr") - expected).max() < 0.15


def test_ydbdr_is_yuv_in_other_units(colours):
    """Dr = -1.902 (R - Y), Db = 1.505 (B - Y) (SECAM)."""
    rgb = colours / 255.0
    luma = rgb @ (0.299, 0.587, 0.114)
    expected = np.stack((luma, 1.505 * (rgb[..., 2] - luma), -1.902 * (rgb[..., 0] - luma)), -1)
    assert np.abs(converted(colours, "ydbdr") - expected).max() < 2e-3


@pytest.mark.parametrize("space", list(SPACES))
def test_colours_come_back(space):
    images = torch.rand(2, 3, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(revert(convert(images, space), space), images, atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("text", "space", "groups"),
    [
        ("lab", "lab", [[0], [1, 2]]),
        ("ycbcr", "ycbcr", [[0], [1, 2]]),
        ("rgb", "rgb", [[0], [1], [2]]),
        ("R, G|b", "rgb", [[0, 1], [2]]),
        ("a,b|l", "lab", [[1, 2], [0]]),
        ("r,g,b", "rgb", [[0, 1, 2]]),
        ("db|dr", "ydbdr", [[1], [2]]),
    ],
)
def test_a_split_is_read_as_written(text, space, groups):
    split = Split(text)
    assert (split.space, split.groups) == (space, groups)
    parts = split(torch.rand(2, 3, 4, 4))
    assert [part.shape[1] for part in parts] == [len(group) for group in groups]


@pytest.mark.parametrize("text", ["lob", "l|a|g", "l|l", "", "l|"])
def test_what_is_no_split_costs_a_sentence(text):
    with pytest.raises(UserError, match="splits no image"):
        Split(text)


def test_both_faces_are_those_of_the_encoders_one_after_another():
    backbone = split_backbone(create_backbone("resnet18", 32, SMALL), "lab").eval()
    images = backbone.normalise(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8))
    lightness, ab = backbone.groups(images)
    one, two = backbone.encoders
    assert one.model.conv1.in_channels == 1 and two.model.conv1.in_channels == 2
    torch.testing.assert_close(backbone(images), torch.cat((one(lightness), two(ab)), 1))
    assert backbone(images).shape == (2, backbone.channels) == (2, 32)
    for layer, found in zip((0, -1), backbone.feature_maps(images, (0, -1)), strict=True):
        expected = torch.cat((one.feature_maps(lightness, (layer,))[0], two.feature_maps(ab, (layer,))[0]), 1)
        torch.testing.assert_close(found, expected)
        assert found.shape[1] == backbone.layer_channels[layer]


def test_the_encoders_begin_apart():
    backbone = split_backbone(create_backbone("resnet18", 32, SMALL), "r|g|b")
    weights = [encoder.model.conv1.weight for encoder in backbone.encoders]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("vit_tiny_patch16_224", 32, {"embed_dim": 24, "depth": 2, "num_heads": 2}),
        ("convnext_atto", 32, {}),
        ("resnetv2_50", 32, {"layers": [1, 1, 1, 1], "channels": [32, 64, 64, 64]}),
        ("swin_tiny_patch4_window7_224", 64, {"embed_dim": 24, "depths": [1, 1, 1, 1]}),
    ],
)
def test_other_architectures_take_other_channels_with_their_small_stems(name, size, options):
    backbone = split_backbone(create_backbone(name, size, options), "lab").eval()
    images = torch.rand(1, 3, size, size)
    assert backbone(images).shape == (1, backbone.channels)
    (found,) = backbone.feature_maps(images)
    assert found.shape[1:] == (backbone.layer_channels[-1], size // backbone.stride, size // backbone.stride)


def test_it_comes_back_from_its_files(tmp_path):
    backbone = split_backbone(create_backbone("resnet18", 32, SMALL), "ycbcr").eval()
    save_backbone(backbone, tmp_path, {"method": "cmc"})
    images = torch.rand(2, 3, 32, 32)
    for spec in (tmp_path, tmp_path / "backbone.safetensors"):
        again = load_backbone(spec).eval()
        assert isinstance(again, SplitBackbone) and again.split == "y|cb,cr" and again.record == {"method": "cmc"}
        assert torch.equal(again(images), backbone(images)) and not again.fresh
    travelled = tmp_path / "other.safetensors"
    (tmp_path / "backbone.safetensors").rename(travelled)
    assert torch.equal(load_backbone(travelled).eval()(images), backbone(images))
    assert len(load_file(travelled)) == len(backbone.state_dict())


def test_what_was_loaded_is_taken_over_but_for_the_layer_that_sees_the_channels(tmp_path):
    plain = create_backbone("resnet18", 32, SMALL)
    save_backbone(plain, tmp_path / "plain", {})
    loaded = load_backbone(tmp_path / "plain")
    for encoder in split_backbone(loaded, "lab").encoders:
        assert torch.equal(encoder.model.layer1[0].conv1.weight, loaded.model.layer1[0].conv1.weight)
    fresh = encoder_like(plain, 4)
    assert not torch.equal(fresh.model.layer1[0].conv1.weight, plain.model.layer1[0].conv1.weight)
    split = split_backbone(loaded, "lab")
    assert split_backbone(split, "l|a,b") is split
    with pytest.raises(UserError, match=r"trained on l\|a,b, and the run asks for y\|cb,cr"):
        split_backbone(split, "ycbcr")


def test_dense_work_and_the_untrained_twin_take_it_as_any_backbone():
    backbone = split_backbone(create_backbone("resnet18", 32, SMALL), "lab")
    images = [np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)]
    (found,) = Extractor(backbone, 32)(images)
    assert found.shape[0] == backbone.layer_channels[-1]
    twin = untrained_twin(backbone)
    assert isinstance(twin, SplitBackbone) and twin.channels == backbone.channels
    assert {k: v.shape for k, v in twin.state_dict().items()} == {k: v.shape for k, v in backbone.state_dict().items()}


def test_pixels_undo_normalise():
    backbone = split_backbone(create_backbone("resnet18", 32, SMALL), "lab")
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    normalised = backbone.normalise(images)
    assert float(normalised.min()) >= 0 and float(normalised.max()) <= 1
    assert torch.equal(backbone.pixels(normalised), images)
