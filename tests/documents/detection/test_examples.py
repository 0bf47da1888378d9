"""What a page goes through before a detector learns from it, and that what is marked goes with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from densessl.documents import open_pages
from densessl.documents.detection.config import resolve
from densessl.documents.detection.examples import PageDataset, worn


def dataset(folder, *settings: str) -> PageDataset:
    pages = open_pages(f"coco:{folder}", masks=True)
    plain = ["detector.masks=true", "image_size=160", "scales=[1,1]", "light=0", "grey=0"]
    return PageDataset(pages, resolve("quick", [f"data=coco:{folder}", *plain, *settings]), None)


def dark_box(page: np.ndarray) -> list[int]:
    dark = np.argwhere(page[..., 0] < 75)
    return [dark[:, 1].min(), dark[:, 0].min(), dark[:, 1].max() + 1, dark[:, 0].max() + 1]


@pytest.mark.parametrize("settings", [(), ("flip=1",), ("stretch=0.5",), ("flip=1", "stretch=0.5", "scales=[0.5,2]")])
def test_boxes_and_masks_lie_on_their_objects(pages_folder, settings):
    for key in [(0, 0), (0, 1), (1, 2), (5, 3)]:
        item = dataset(pages_folder, *settings)[key]
        page, target = item["page"], item["target"]
        (place,) = torch.where(target["classes"] == 1)[0].tolist()
        assert np.abs(target["boxes"][place].numpy() - dark_box(page)).max() <= 2
        inside, dark = target["masks"][place].numpy() > 0, page[..., 0] < 75
        assert (inside & dark).sum() / (inside | dark).sum() > 0.85


def test_a_mirrored_page_is_the_page_left_for_right(pages_folder):
    plain, turned = dataset(pages_folder)[0, 0], dataset(pages_folder, "flip=1")[0, 0]
    assert np.array_equal(plain["page"][:, ::-1], turned["page"])
    assert torch.equal(plain["target"]["masks"].flip(-1), turned["target"]["masks"])


def test_a_stretched_page_has_another_shape_by_at_most_what_was_asked_for(pages_folder):
    shapes = [dataset(pages_folder, "stretch=0.3")[epoch, 0]["page"].shape for epoch in range(12)]
    shares = np.array([height / width for height, width, _ in shapes]) / (80 / 60)
    assert np.ptp(shares) > 0.1 and np.abs(np.log(shares)).max() < 0.3 + 0.02
    assert all(max(shape) == 160 for shape in shapes)


def test_a_worn_page_is_the_same_for_the_same_draw_and_still_legible():
    page = np.full((60, 80, 3), 255, np.uint8)
    page[20:40, 20:60] = 20
    for seed in range(8):
        first, again = (worn(page, np.random.default_rng(seed)) for _ in range(2))
        assert first.dtype == np.uint8 and first.shape == page.shape and np.array_equal(first, again)
        assert first[24:36, 24:56].mean() < 60 and first[:12].mean() > 180


def test_what_is_drawn_hangs_on_the_seed_the_epoch_and_the_page(pages_folder):
    settings = ("flip=0.5", "stretch=0.3", "worn=0.5", "scales=[0.6,1]", "light=0.2")
    first, again = (dataset(pages_folder, *settings)[3, 1] for _ in range(2))
    assert np.array_equal(first["page"], again["page"])
    other = dataset(pages_folder, *settings, "seed=1")[3, 1]
    assert first["page"].shape != other["page"].shape or not np.array_equal(first["page"], other["page"])
