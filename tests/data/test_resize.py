"""Whole images are resized without skipping pixels, whichever side shrinks or grows."""

from __future__ import annotations

import numpy as np
import pytest

from densessl.data.resize import fit, middle, resize


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_side_that_shrinks_is_averaged_whatever_the_other_does():
    image = noise(40, 24)
    rows = image.reshape(10, 4, 24, 3).astype(float).mean(1)
    np.testing.assert_allclose(resize(image, 10, 24), rows, atol=0.51)
    np.testing.assert_allclose(resize(image, 10, 6), rows.reshape(10, 6, 4, 3).mean(2), atol=0.51)
    # Twice as wide, linearly: pixel 2 i + 1 lies a quarter of the way from i to i + 1.
    wide = resize(image, 10, 48).astype(float)
    np.testing.assert_allclose(wide[:, 1:-1:2], 0.75 * rows[:, :-1] + 0.25 * rows[:, 1:], atol=1.01)


def test_a_side_that_grows_is_interpolated_whatever_the_other_does():
    ramp = np.repeat(np.arange(0, 240, 10, dtype=np.uint8)[:, None, None], 3, axis=2)
    ramp = np.ascontiguousarray(np.broadcast_to(ramp, (24, 40, 3)))
    for width in (40, 80, 10):
        grown = resize(ramp, 48, width)[1:-1, 0, 0].astype(int)
        assert np.diff(grown).min() >= 4 and np.diff(grown).max() <= 6


def test_an_image_of_the_size_is_left_as_it_is():
    image = noise(8, 9)
    assert resize(image, 8, 9) is image


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((100, 100), 4, (64, 64)),
        ((100, 150), 4, (64, 96)),
        ((360, 90), 4, (256, 64)),
        ((360, 90), 2, (128, 32)),
        ((5000, 50), 4, (256, 8)),
        ((1, 1), 2, (64, 64)),
    ],
)
def test_the_short_side_is_the_image_size_until_the_long_one_is_too_long(size, longest, expected):
    assert fit(*size, image_size=64, stride=8, longest=longest) == expected


def test_the_middle_leaves_as_much_on_either_side():
    image = noise(10, 21)
    np.testing.assert_array_equal(middle(image, 4, 5), image[3:7, 8:13])
