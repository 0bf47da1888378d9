"""Five crops against torchvision's, and as a source of images like any other."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms.functional import five_crop

from densessl.errors import UserError
from densessl.segmentation.sets import FiveCrops, FiveCropSource, open_labelled

SIZES = [(4, 6), (5, 7), (6, 10), (7, 5), (9, 11), (1, 3)]


@pytest.fixture
def folder(tree):
    for number, (height, width) in enumerate(SIZES):
        tree.image(f"images/{number}.png", height, width, seed=number)
        tree.map(f"labels/{number}.png", np.arange(height * width, dtype=np.uint8).reshape(height, width))
    return open_labelled(f"folder:{tree}", classes=120)


@pytest.mark.parametrize("ratio", [0.5, 0.34, 0.8, 1.0])
def test_the_crops_are_torchvisions_in_its_order(folder, ratio):
    crops = FiveCrops(folder, ratio)
    assert len(crops) == len(crops.source) == 5 * len(SIZES)
    for number, (height, width) in enumerate(SIZES):
        image = torch.from_numpy(folder.source.read(number)).permute(2, 0, 1)
        labels = torch.from_numpy(folder.labels(number))[None]
        size = [max(1, int(height * ratio)), max(1, int(width * ratio))]
        for which in range(5):
            expected = five_crop(image, size)[which].permute(1, 2, 0).numpy()
            assert np.array_equal(crops.source.read(5 * number + which), expected)
            assert np.array_equal(crops.labels(5 * number + which), five_crop(labels, size)[which][0].numpy())


def test_each_crop_has_a_name_of_its_own_and_its_own_pixels(folder):
    source = FiveCrops(folder).source
    assert [source.name(index) for index in range(4, 7)] == ["0-crop4.png", "1-crop0.png", "1-crop1.png"]
    assert len({source.name(index) for index in range(len(source))}) == len(source)
    again = np.frombuffer(source.read_bytes(7), np.uint8)
    assert np.array_equal(cv2.imdecode(again, cv2.IMREAD_COLOR)[:, :, ::-1], source.read(7))
    before = source.read(7).copy()
    source.read(7)[:] = 0
    assert np.array_equal(source.read(7), before)


def test_the_fingerprint_tells_crops_from_images_and_ratios_from_each_other(folder):
    prints = [folder.source.fingerprint(), *(FiveCropSource(folder.source, r).fingerprint() for r in (0.5, 0.6))]
    assert len(set(prints)) == 3
    assert FiveCropSource(folder.source).fingerprint() == prints[1]


def test_five_crops_in_a_row_decode_their_image_once(folder, monkeypatch):
    reads = []
    plain = type(folder.source).read
    monkeypatch.setattr(type(folder.source), "read", lambda self, index: reads.append(index) or plain(self, index))
    source = FiveCropSource(folder.source)
    for index in range(10):
        source.read(index)
    assert reads == [0, 1]


def test_what_was_read_last_does_not_travel_to_workers(folder):
    crops = FiveCrops(folder)
    small = len(pickle.dumps(crops.source))
    crops.source._read._kept = (0, np.zeros(1 << 20, np.uint8))
    assert len(pickle.dumps(crops.source)) == small
    copy = pickle.loads(pickle.dumps(crops))
    assert np.array_equal(copy.labels(8), crops.labels(8)) and copy.classes == crops.classes


def test_it_has_the_classes_colours_and_name_of_its_set(folder):
    crops = FiveCrops(folder)
    assert crops.classes == folder.classes and crops.colours is None and crops.name == "data-fivecrop"
    with pytest.raises(IndexError):
        crops.labels(30)


@pytest.mark.parametrize("ratio", [0.0, 1.5, -1])
def test_a_ratio_that_is_none(folder, ratio):
    with pytest.raises(UserError, match=f"The ratio {ratio} of a crop"):
        FiveCropSource(folder.source, ratio)


def test_features_of_crops_are_extracted_and_cached(folder, tmp_path, monkeypatch):
    from densessl.segmentation.features.cache import GB, Cache
    from densessl.segmentation.features.colour import ColourBackbone
    from densessl.segmentation.features.extractor import Extractor
    from densessl.segmentation.features.kept import extract

    source, cache = FiveCrops(folder).source, Cache(tmp_path / "cache", GB)
    extractor = Extractor(ColourBackbone(32), 32, "cpu")
    kept = extract(source, extractor, range(5), cache=cache)
    monkeypatch.setattr(FiveCropSource, "read", lambda self, index: pytest.fail("a crop was read again"))
    again = extract(FiveCrops(folder).source, extractor, range(5), cache=cache)
    assert len(kept) == 5 and torch.equal(kept.tokens(4), again.tokens(4))
