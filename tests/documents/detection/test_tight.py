"""Boxes that end where ink does."""

from __future__ import annotations

import numpy as np
import pytest

from densessl.documents.detection.tight import tightened
from tests.documents.detection.conftest import small_detector


@pytest.fixture(scope="module")
def page() -> np.ndarray:
    """A page of 1200 x 900, drawn at a third: a line of text, a ruled table below and a blot at the right edge."""
    page = np.full((400, 300, 3), 250, np.uint8)
    page[50:60, 40:200:3] = 20
    page[100:200, 50:250] = 250
    page[[100, 130, 160, 199], 50:250] = 30
    page[110:120, 60:240:4] = 30
    page[300:340, 280:300] = 0
    return page.repeat(3, 0).repeat(3, 1)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((46, 95, 256, 204), (50, 100, 250, 200)),  # too large: to the ink
        ((53, 100.4, 246, 199.6), (50, 100, 250, 200)),  # cuts through rules: out to the paper
        ((38, 53, 202, 57), (40, 50, 200, 60)),  # half a line of text
        ((277, 297, 300, 343), (280, 300, 300, 340)),  # ink up to the edge of the page
        ((60, 220, 200, 280), (60, 220, 200, 280)),  # nothing there: left alone
        ((20, 61, 180, 95), (20, 61, 180, 95)),  # ink that is too far away
    ],
)
def test_sides_move_to_where_ink_ends(page, box, expected):
    found = tightened(page, 3 * np.array([box], np.float32))[0]
    assert found.tolist() == pytest.approx([3 * each for each in expected], abs=1)


def test_boxes_that_are_none_and_no_boxes_are_left_as_they_are(page):
    flat = np.array([[10.2, 20.4, 10.9, 90.0]], np.float32)
    assert np.array_equal(tightened(page, flat), flat)
    assert tightened(page, np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_a_detector_does_so_when_it_is_told_but_not_with_masks(page):
    plain, tight = (small_detector(score=0.0, most=10, tight=each).eval().find(page) for each in (False, True))
    assert np.allclose(tightened(page, plain.boxes.numpy()), tight.boxes.numpy())
    masks = [small_detector(score=0.0, most=10, masks=True, tight=each).eval().find(page) for each in (False, True)]
    assert np.array_equal(masks[0].boxes.numpy(), masks[1].boxes.numpy())
