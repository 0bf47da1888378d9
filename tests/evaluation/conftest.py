"""Small scenes with label maps, in two parts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from densessl.data.synthetic import CLASSES, scene


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    for split, first in (("train", 0), ("val", 100)):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True)
        for seed in range(first, first + 6):
            image, labels = scene(seed, (64, 80))
            cv2.imwrite(str(root / "images" / split / f"{seed}.png"), image[:, :, ::-1])
            labels = labels.astype(np.uint8)
            labels[:4] = 255
            cv2.imwrite(str(root / "labels" / split / f"{seed}.png"), labels)
    (root / "classes.txt").write_text("\n".join(map(str, CLASSES)))
    return root
