"""The protocol of segments, short enough for tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from densessl.data.synthetic import CLASSES, scene
from densessl.evaluation import evaluate


def write_scenes(root: Path, count: int, size: tuple[int, int], void: int = 0) -> Path:
    """`count` scenes of this size (h, w) in each of two parts, with label maps whose first `void` rows are no class."""
    for split, first in (("train", 0), ("val", 100)):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True)
        for seed in range(first, first + count):
            image, labels = scene(seed, size)
            labels = labels.astype(np.uint8)
            labels[:void] = 255
            cv2.imwrite(str(root / "images" / split / f"{seed}.png"), image[:, :, ::-1])
            cv2.imwrite(str(root / "labels" / split / f"{seed}.png"), labels)
    (root / "classes.txt").write_text("\n".join(map(str, CLASSES)))
    return root


def judge(data, *settings, backbone="colour"):
    return evaluate(backbone, "segments", f"folder:{data}", ["devices=cpu", "steps=5", "refine_size=80", *settings])
