"""A folder of small pictures of two kinds, a run that keeps its head, and the settings of runs that take seconds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from densessl.training import pretrain

NETWORK = "backbone_options={channels: [16, 16, 32, 32], layers: [1, 1, 1, 1], stem_width: 16, stem: small}"
SMALL = ["workers=0", "devices=cpu", "log_steps=1"]


def draw(folder: Path, per_class: int, seed: int = 0) -> Path:
    """A folder per class of noise in blue, green or red, which a small network can tell apart within seconds."""
    rng = np.random.default_rng(seed)
    tints = {"blue": (170, 90, 80), "green": (80, 170, 90), "red": (90, 80, 170)}
    for name, tint in tints.items():
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            image = rng.normal(tint, 40, (16, 16, 3)).clip(0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / name / f"{number:02}.png"), image)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("pictures") / "data", 12)


@pytest.fixture(scope="session")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of SimCLRv2."""
    out = tmp_path_factory.mktemp("run") / "run"
    heads = ["simclrv2.hidden=24", "simclrv2.dim=8", "simclrv2.queue=8"]
    settings = [f"data={data}", f"out={out}", "image_size=16", "batch_size=8", "steps=2", NETWORK, *heads, *SMALL]
    return pretrain("simclrv2-cifar", settings, say=lambda sentence: None)
