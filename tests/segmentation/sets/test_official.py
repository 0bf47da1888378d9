"""The squares of STEGO's official code against torchvision's transforms, which it uses."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from densessl.segmentation.sets.official import centre_square


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (33, 97), (20, 20)])
@pytest.mark.parametrize("size", [32, 40])
def test_squares_are_those_of_torchvision(shape, size):
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
    transform = Compose([Resize(size, InterpolationMode.NEAREST), CenterCrop(size)])
    np.testing.assert_array_equal(centre_square(image, size), np.asarray(transform(Image.fromarray(image))))
    labels = random.integers(-1, 30, shape).astype(np.int16)
    expected = np.asarray(transform(Image.fromarray(labels.astype(np.int32))))
    found = centre_square(labels, size)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.int16
