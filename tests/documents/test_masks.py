"""Masks are handed on only where pycocotools can draw them, and mean then what it means by them."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask

from densessl.documents.sets.masks import MARGIN, filled_runs, near_page, uncompressed


def code(runs: list[int]) -> str:
    """COCO's compressed counts, written number by number."""
    text = ""
    for place, run in enumerate(runs):
        rest, more = run - (runs[place - 2] if place > 2 else 0), True
        while more:
            five, rest = rest & 31, rest >> 5
            more = rest != (-1 if five & 16 else 0)
            text += chr(five + 32 * more + 48)
    return text


def test_compressed_runs_are_those_that_pycocotools_has_compressed():
    rng = np.random.default_rng(0)
    for share in (0, 0.01, 0.5, 1):
        pixels = (rng.random((90, 70)) < share).astype(np.uint8)
        pixels[20:60] |= pixels[20:60, :1]
        runs = uncompressed(mask.encode(np.asfortranarray(pixels))["counts"].decode())
        assert np.array_equal(np.repeat(np.arange(len(runs)) % 2, runs), pixels.T.reshape(-1))


def test_runs_in_a_list_become_the_same_mask_as_compressed_ones():
    runs = [5, 100, 3000, 0, 600, 1095]
    listed, compressed = (filled_runs({"size": [80, 60], "counts": each}, (60, 80)) for each in (runs, code(runs)))
    assert np.array_equal(mask.decode(listed), mask.decode(compressed)) and mask.area(compressed) == 1195
    assert uncompressed(code(runs)).tolist() == runs


@pytest.mark.parametrize(
    "counts",
    [
        "04",
        "",
        "garbage!!",
        "\x00",
        "é",
        "PP",  # a number that goes on, and ends
        "P" * 40 + "0",
        code([10, 20, 30]),
        code([4790, 20]),
        code([4810, -10]),
        code([4000, 900, 100, -200]),
        [4810, -10],
        [4799.5, 0.5],
        [True] * 4800,
        [10**400],
        [[4800]],
        4800,
        None,
    ],
)
def test_runs_that_do_not_fill_the_page_are_no_mask(counts):
    assert filled_runs({"size": [80, 60], "counts": counts}, (60, 80)) is None


@pytest.mark.parametrize("size", [[60, 80], 5, None, "80", [80], [80, 60, 1], {}])
def test_runs_of_another_size_are_no_mask(size):
    assert filled_runs({"size": size, "counts": [4800]}, (60, 80)) is None


PAGE = (60, 80)


def drawn(shape, size=PAGE) -> np.ndarray:
    """What polygons cover on a page, by pycocotools."""
    flat = [polygon.reshape(-1).tolist() for polygon in shape]
    return mask.decode(mask.merge(mask.frPyObjects(flat, size[1], size[0])))


def test_polygons_that_reach_far_out_are_cut_near_the_page_and_cover_the_same_of_it():
    rng, covered = np.random.default_rng(1), []
    for reach in (1500, 4000, 9000) * 5:
        polygon = rng.uniform(0, 60, (int(rng.integers(4, 9)), 2))
        polygon[::2] += rng.uniform(-reach, reach, polygon[::2].shape)
        cut = near_page([polygon], PAGE)
        assert all((each >= -MARGIN).all() and (each <= np.array(PAGE) + MARGIN).all() for each in cut)
        whole = drawn([polygon])
        # pycocotools draws from fifth to fifth of a pixel, so that a side with a new corner may lie that much aside.
        assert np.mean(whole != drawn(cut)) <= 0.02
        covered.append(whole.mean())
    assert 0.2 < np.mean(covered) < 0.8


@pytest.mark.parametrize("far", [3e7, 1e300, 1.7e308])
def test_corners_out_of_all_bounds_cost_no_memory(far):
    across = np.array([[-far, 20], [far, 20], [far, 50], [-far, 50]])
    (cut,) = near_page([across], PAGE)
    assert np.abs(cut).max() <= 80 + MARGIN
    assert drawn([cut]).any(axis=1).tolist() == [20 <= row < 50 for row in range(80)] and drawn([cut])[20:50].all()


def test_polygons_within_the_margin_stay_as_they_are_and_those_beside_the_page_go():
    over, beside = np.array([[-9.5, 3], [999, 3], [70, 90.25]]), np.array([[61.0, 3], [70, 3], [70, 9]])
    kept = near_page([over, beside], PAGE)
    assert len(kept) == 1 and kept[0] is over
