"""Several feature maps side by side as the features of a place."""

import pytest
import torch
import torch.nn.functional as F

from densessl.backbones import create_backbone
from densessl.errors import UserError
from densessl.segmentation.features.colour import ColourBackbone
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.features.layers import Maps, chosen


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return create_backbone("resnet18", 64, {"channels": [8, 16, 24, 32], "layers": [1, 1, 1, 1]}).eval()


@pytest.fixture
def images():
    return torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_one_layer_is_left_as_it_is(backbone, images):
    with torch.no_grad():
        expected = backbone.feature_maps(backbone.normalise(images), (-2,))[0]
        assert torch.equal(Maps(backbone, (-2,))(images), expected)
        colours = ColourBackbone()
        assert torch.equal(Maps(backbone, ("colour",))(images), colours.feature_maps(colours.normalise(images))[0])


@pytest.mark.parametrize("layers", [("colour", -1, 2), (2, "colour", -1)])
def test_several_stand_in_the_order_given_each_of_length_1_on_the_grid_of_the_first(backbone, images, layers):
    with torch.no_grad():
        found = Maps(backbone, layers)(images)
        alone = [Maps(backbone, (layer,))(images) for layer in layers]
    size = alone[0].shape[2:]
    parts = found.split([each.shape[1] for each in alone], dim=1)
    for part, map_ in zip(parts, alone, strict=True):
        shrinks = map_.shape[2] > size[0]
        wide = F.interpolate(map_, size=size, mode="bilinear", align_corners=False, antialias=shrinks)
        length = wide.norm(dim=1, keepdim=True)
        torch.testing.assert_close(part, wide / length.where(length > 0, 1))  # 0 where no unit of a map speaks
    assert {tuple(each.shape[2:]) for each in alone} == {(8, 12), (32, 48)}


def test_the_cosine_of_two_places_is_the_mean_of_the_layers_cosines(backbone, images):
    with torch.no_grad():
        both = Maps(backbone, ("colour", -1))(images).flatten(2)
        alone = [Maps(backbone, (layer,))(images) for layer in ("colour", -1)]
    wide = [F.interpolate(each, size=(8, 12), mode="bilinear", align_corners=False).flatten(2) for each in alone]
    speaks = [(wide[0][i].norm(dim=0) > 0) & (wide[1][i].norm(dim=0) > 0) for i in (0, 1)]

    def cosines(features):
        first, second = (F.normalize(features[i][:, speaks[i]], dim=0) for i in (0, 1))
        return first.T @ second

    expected = (cosines(wide[0]) + cosines(wide[1])) / 2
    torch.testing.assert_close(cosines(both), expected, atol=1e-5, rtol=0)


def test_a_layer_named_twice_counts_as_two_and_is_kept_once(backbone, images):
    with torch.no_grad():
        twice = Maps(backbone, ("colour", -1, -1))(images)
        colour, last = Maps(backbone, ("colour", -1))(images).split([42, 32], dim=1)
    copies = torch.cat([colour, last, last], dim=1)
    assert twice.shape[1] == 42 + 32
    cosines = [F.normalize(each[0].flatten(1), dim=0) for each in (twice, copies)]
    torch.testing.assert_close(*(each.T @ each for each in cosines), atol=1e-5, rtol=0)


def test_sides_are_multiples_of_the_strides_of_all(backbone):
    assert Maps(backbone, (-1, "colour")).stride == max(backbone.stride, 8)
    assert Extractor(backbone, 64, layers=("colour", 0)).frame.stride == max(backbone.stride, 8)


def test_other_layers_are_other_features_in_the_cache(backbone):
    keys = {Extractor(backbone, 64, layers=layers).key() for layers in [(-1,), (-2,), ("colour", -1), (-1, "colour")]}
    assert len(keys) == 4


def test_without_a_wish_the_backbone_says_which(backbone):
    assert chosen(None, backbone, "b") == (-1,)
    backbone.record["layers"] = ["colour", -1]
    assert chosen(None, backbone, "b") == ("colour", -1)
    assert chosen(-3, backbone, "b") == (-3,)
    assert chosen(["colour", -5, -1], backbone, "b") == ("colour", -5, -1)
    del backbone.record["layers"]


def test_a_layer_is_the_same_whichever_end_it_is_counted_from(backbone):
    assert chosen([4, "colour", -1, 0], backbone, "b") == (-1, "colour", -1, -5)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (7, "layers=7, but the backbone b has 5 layers: give one of -5 to 4"),
        (["colour", 9], "layers=9, but the backbone b has 5 layers"),
        ("colours", r"'colours' is no layer: give numbers and colour"),
        ([1.5], r"1\.5 is no layer"),
        ([True], "True is no layer"),
        ([], r"layers=\[\] are no features"),
    ],
)
def test_what_is_no_layer_is_told(backbone, given, sentence):
    with pytest.raises(UserError, match=sentence):
        chosen(given, backbone, "b")
