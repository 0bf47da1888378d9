"""A folder of small pictures, and the settings of a run that takes a second."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from densessl.config import read_yaml, recipes
from densessl.methods import methods
from tests.methods.conftest import small_values

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


TRANSFORMER = [
    "backbone=vit_tiny_patch16_224",
    "backbone_options={embed_dim: 24, depth: 2, num_heads: 2, patch_size: 4}",
]


def small(method: str) -> list[str]:
    """The settings for a run of this method, on a network that it takes."""
    if "transformer" not in methods()[method].needs:
        return SMALL
    return [setting for setting in SMALL if not setting.startswith("backbone")] + TRANSFORMER


def heads(method: str) -> list[str]:
    """Settings that make the method's head small, whatever it is."""
    return [f"{method}.{name}={value}" for name, value in small_values(methods()[method]).items()]


def recipe(method: str) -> str:
    """A recipe of the method; one that keeps local crops where there is one."""
    known = [name for name in recipes("pretrain") if read_yaml(name, "pretrain")["method"] == method]
    return next((name for name in known if name == f"{method}-small"), known[-1])


def images_for(method: str, pictures: Path) -> Path:
    """The folder, or a list of its images with labels for a method that needs them."""
    if "target" not in methods()[method].needs:
        return pictures
    labelled = pictures.with_suffix(".txt")
    paths = sorted(pictures.iterdir())
    labelled.write_text("".join(f"{path}\tclass {number % 3}\n" for number, path in enumerate(paths)))
    return labelled


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
