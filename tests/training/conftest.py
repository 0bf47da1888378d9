"""A folder of small pictures, and the settings of a run that takes a second."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

SMALL = [
    "image_size=16",
    "batch_size=8",
    "backbone=resnet18",
    "backbone_options={channels: [8, 8, 16, 16], layers: [1, 1, 1, 1], stem_width: 8}",
    "workers=0",
    "devices=cpu",
    "log_steps=1",
    "precision=32",
]
# Heads of every method, small.
HEADS = {
    "simclr": ["simclr.hidden=16", "simclr.dim=8"],
    "moco": ["moco.hidden=16", "moco.dim=8", "moco.queue=12", "moco.batch_norm_splits=2"],
    "byol": ["byol.hidden=16", "byol.dim=8"],
    "dino": ["dino.hidden=16", "dino.bottleneck=8", "dino.prototypes=24", "dino.local_crops=2"],
}


def recipe(method: str) -> str:
    return {"dino": "dino-small"}.get(method, f"{method}-cifar")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """26 smooth random pictures of several sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for index in range(26):
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (40 + index, 60 - index), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{index:02}.jpg"), image)
    return folder
