"""Scores averaged along the motion: calmer where things stay, and nothing where what was before says nothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from densessl.segmentation.films.stable import SIDE, Stable, motion, moved
from tests.segmentation.filming import scenery


def textured(t: float) -> tuple[np.ndarray, np.ndarray]:
    """A frame of a view that moves by 3 px right and 2 down a frame, and its true scores (2, h, w): two halves."""
    view = cv2.warpAffine(scenery(7, 400, 500), np.float32([[1, 0, -3 * t], [0, 1, -2 * t]]), (240, 180))
    x = np.mgrid[:180, :240][1] + 3 * t
    left = (x < 130).astype(np.float32)
    return view, np.stack((left, 1 - left))


def test_what_moves_is_found_where_it_was():
    (before, scores), (now, truth) = textured(0), textured(1)
    small = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (now, before)]
    back, trusted = motion(*small)
    inner = back[20:-20, 20:-20]
    assert np.abs(inner - (3, 2)).mean() < 0.1 and trusted[20:-20, 20:-20].mean() > 0.98
    brought = moved(torch.from_numpy(scores), back).numpy()
    assert np.abs(brought - truth)[:, 20:-20, 20:-20].mean() < 0.005
    halved = moved(torch.from_numpy(scores[:, ::2, ::2].copy()), back).numpy()
    assert np.abs(halved - truth[:, ::2, ::2])[:, 10:-10, 10:-10].mean() < 0.02


def test_the_average_is_the_exponential_one_and_calms_noise():
    random, stable, spread = np.random.default_rng(0), Stable(0.5), []
    image, truth = textured(0)
    expected = None
    for _ in range(8):
        noisy = torch.from_numpy(truth + random.normal(0, 0.3, truth.shape).astype(np.float32))
        expected = noisy if expected is None else 0.5 * noisy + 0.5 * expected
        found = stable(noisy, image)
        spread.append(float((found - torch.from_numpy(truth)).std()))
    # A view that stands still: nothing is moved but for the flow's rounding.
    assert (found - expected).abs().mean() < 0.02
    # The variance of an exponential average of independent noise is (1 - s) / (1 + s) of the noise's.
    assert spread[0] == pytest.approx(0.3, abs=0.01) and spread[-1] < 0.3 * (1 / 3) ** 0.5 + 0.01


def test_along_the_motion_labels_stay_with_what_moves():
    random, shares = np.random.default_rng(0), {}
    for share in (0.0, 0.7):
        stable, wrong = Stable(share), []
        for t in range(10):
            image, truth = textured(t)
            noisy = torch.from_numpy(truth + random.normal(0, 0.6, truth.shape).astype(np.float32))
            wrong.append((stable(noisy, image).argmax(0).numpy() != truth.argmax(0))[20:-20, 20:-20].mean())
        shares[share] = np.mean(wrong[5:])
    assert shares[0.7] < 0.25 * shares[0.0]


def test_a_cut_and_another_size_forget_what_was_before():
    stable = Stable(0.9)
    stable(torch.ones(2, 18, 24), textured(0)[0])
    after = torch.zeros(2, 18, 24)
    assert torch.equal(stable(after, np.ascontiguousarray(scenery(8, 180, 240))), after)
    assert torch.equal(stable(torch.ones(2, 9, 24), scenery(8, 90, 240)), torch.ones(2, 9, 24))


def test_what_comes_into_sight_is_not_told_by_what_was_there():
    scene, thing = scenery(1, 180, 240), scenery(2, 60, 60)
    views, stable = [], Stable(0.9)
    for left in (60, 66):
        view = scene.copy()
        view[60:120, left : left + 60] = thing
        views.append(view)
    before, after = torch.zeros(1, 180, 240), torch.zeros(1, 180, 240)
    before[:, 60:120, 60:120] = 1
    stable(before, views[0])
    found = stable(after, views[1])
    # Uncovered are six columns that the thing has left; its scores must not stay on most of them.
    assert found[0, 65:115, 61:65].mean() < 0.3 and found[0, 70:110, 80:110].mean() > 0.85


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (12, 300), (17, 2000)])
def test_frames_of_any_shape_can_be_followed(size):
    stable, image = Stable(0.5), np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    for _ in range(2):
        assert stable(torch.ones(2, 4, 4), image).shape == (2, 4, 4)


def test_what_is_kept_of_an_average_goes_on_with_it_to_the_bit(tmp_path):
    views = [textured(t) for t in range(6)]
    whole = Stable(0.7)
    expected = [whole(torch.from_numpy(scores), image) for image, scores in views][-1]
    first = Stable(0.7)
    for image, scores in views[:3]:
        first(torch.from_numpy(scores), image)
    first.save(tmp_path / "kept.safetensors")
    second = Stable.load(tmp_path / "kept.safetensors", 0.7, torch.device("cpu"))
    assert second.frames == 3
    for image, scores in views[3:]:
        found = second(torch.from_numpy(scores), image)
    assert torch.equal(found, expected) and min(whole.grey.shape) == SIDE
    (tmp_path / "kept.safetensors").write_bytes(b"half of i")
    assert Stable.load(tmp_path / "kept.safetensors", 0.7, torch.device("cpu")).frames == 0
