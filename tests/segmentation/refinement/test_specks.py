"""Specks of a mask go to the segment around them: against a flood fill, pixel by pixel."""

from __future__ import annotations

import json
import math
from collections import Counter

import cv2
import numpy as np
import pytest

from densessl.progress import silent
from densessl.segmentation import segment
from densessl.segmentation.refinement.specks import without_specks
from tests.segmentation.runs import settings, unsaid


def flooded(labels: np.ndarray) -> list[set[tuple[int, int]]]:
    """The connected parts, each the set of its pixels, in reading order of their first ones."""
    seen, parts = set(), []
    for start in np.ndindex(labels.shape):
        if start in seen:
            continue
        part, front = {start}, [start]
        while front:
            for near in around(labels, front.pop()):
                if near not in part and labels[near] == labels[start]:
                    part.add(near)
                    front.append(near)
        seen |= part
        parts.append(part)
    return parts


def around(labels: np.ndarray, place: tuple[int, int]) -> list[tuple[int, int]]:
    y, x = place
    near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
    return [(v, u) for v, u in near if 0 <= v < labels.shape[0] and 0 <= u < labels.shape[1]]


def slowly(labels: np.ndarray, least: int) -> np.ndarray:
    found, parts = labels.copy(), flooded(labels)
    large = [part for part in parts if len(part) >= least] or [max(parts, key=len)]
    settled = set().union(*large)
    waiting = [part for part in parts if part not in large]
    while waiting:
        given = []
        for part in waiting:
            beside = Counter(
                int(found[near]) for place in part for near in around(labels, place) if near in settled - part
            )
            if beside:
                given.append((part, min(beside, key=lambda each: (-beside[each], each))))
        for part, kind in given:
            for place in part:
                found[place] = kind
            settled |= part
            waiting.remove(part)
    return found


def noisy(seed: int, height: int, width: int, segments: int) -> np.ndarray:
    """Areas of several sizes, with specks in and between them."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, segments, (4, 5)).astype(np.uint8)
    labels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)
    specks = random.random(labels.shape) < 0.3
    labels[specks] = random.integers(0, segments, int(specks.sum()))
    return labels


@pytest.mark.parametrize("least", [2, 5, 20, 10_000])
@pytest.mark.parametrize(("seed", "height", "width", "segments"), [(0, 23, 31, 3), (1, 17, 40, 8), (2, 1, 50, 4)])
def test_it_equals_a_flood_fill_pixel_by_pixel(seed, height, width, segments, least):
    labels = noisy(seed, height, width, segments)
    before = labels.copy()
    found = without_specks(labels, least)
    assert found.dtype == labels.dtype and np.array_equal(found, slowly(labels, least))
    assert np.array_equal(labels, before)


@pytest.mark.parametrize("seed", range(3))
def test_no_part_is_too_small_afterwards_and_no_segment_is_new(seed):
    labels = noisy(seed, 30, 40, 5)
    found = without_specks(labels, 12)
    assert min(map(len, flooded(found))) >= 12
    large = [part for part in flooded(labels) if len(part) >= 12]
    assert all(found[place] == labels[place] for part in large for place in part)
    assert np.array_equal(without_specks(found, 12), found)


def test_a_speck_goes_to_the_segment_with_which_it_shares_the_longest_border():
    labels = np.zeros((8, 8), dtype=np.uint16)
    labels[:, 4:] = 700
    labels[3:5, 3:6] = 5  # of its ten sides six are beside 700
    found = without_specks(labels, 7)
    assert (found[3:5, 3:6] == 700).all() and found.dtype == np.uint16
    assert np.array_equal(without_specks(labels, 6), labels)


def test_pixels_that_touch_by_a_corner_are_apart():
    labels = np.zeros((6, 6), dtype=np.uint8)
    labels[1, 1] = labels[2, 2] = 1
    assert not without_specks(labels, 2).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (6, 1)])
def test_a_picture_smaller_than_a_speck_becomes_its_largest_part(size):
    labels = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size) // 2
    assert np.array_equal(without_specks(labels, 100), np.zeros_like(labels))


def test_masks_are_written_without_specks_and_probabilities_as_they_were(png_folder, tmp_path):
    given = {"method": "kmeans", "cache": "none", "probabilities": True, "coco": True, "classes": 6}
    segment(settings(png_folder, tmp_path / "plain", least_area=0, **given), silent, unsaid)
    segment(settings(png_folder, tmp_path / "out", least_area=0.15, **given), silent, unsaid)
    changed, areas = 0, {}
    for path in sorted((tmp_path / "plain" / "labels").rglob("*.png")):
        name = path.relative_to(tmp_path / "plain" / "labels")
        plain, found = cv2.imread(str(path), -1), cv2.imread(str(tmp_path / "out" / "labels" / name), -1)
        assert np.array_equal(found, without_specks(plain, math.ceil(0.15 * plain.size)))
        changed += int((plain != found).sum())
        for each, count in zip(*np.unique(found, return_counts=True), strict=True):
            areas[int(each)] = areas.get(int(each), 0) + int(count)
        shares = [np.load(tmp_path / out / "probabilities" / f"{name.with_suffix('.npz')}") for out in ("plain", "out")]
        assert np.array_equal(*(each["probabilities"] for each in shares))
    assert changed
    told = json.loads((tmp_path / "out" / "segments.json").read_text())["classes"]
    assert {each["index"]: each["pixels"] for each in told if each["pixels"]} == areas
    coco = json.loads((tmp_path / "out" / "coco.json").read_text())["annotations"]
    assert sum(each["area"] for each in coco) == sum(areas.values())
    assert {each["category_id"] - 1 for each in coco} == areas.keys()


def test_through_tiles_the_share_is_that_of_a_tile(png_folder, tmp_path):
    given = {"method": "kmeans", "cache": "none", "tile": 32, "image_size": None, "classes": 6}
    segment(settings(png_folder, tmp_path / "plain", least_area=0, **given), silent, unsaid)
    segment(settings(png_folder, tmp_path / "out", least_area=0.6, **given), silent, unsaid)
    changed = 0
    for name in ("a.png", "b.png", "sub/c.png", "d.png"):
        plain, found = (cv2.imread(str(tmp_path / out / "labels" / name), -1) for out in ("plain", "out"))
        least = math.ceil(0.6 * 32 * 32 * plain.size / math.prod(round(side / 8) * 8 for side in plain.shape))
        assert np.array_equal(found, without_specks(plain, least))
        changed += int((plain != found).sum())
    assert changed
