"""Pictures of two textures with exact masks, and a source of arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from densessl.data.images import UnreadableImage
from densessl.segmentation import finding
from densessl.segmentation.features.colour import ColourBackbone


@dataclass
class Arrays:
    """A source of pictures in memory; None stands for one that cannot be read."""

    images: list[np.ndarray | None]
    reads: list[int] = field(default_factory=list)
    mark: str = "arrays"

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> np.ndarray:
        self.reads.append(index)
        if self.images[index] is None:
            raise UnreadableImage("it is cut short")
        return self.images[index]

    def size(self, index: int) -> tuple[int, int]:
        return self.read(index).shape[:2]

    def name(self, index: int) -> str:
        return f"{index:03}.jpg"

    def fingerprint(self) -> str:
        return self.mark


def scene(seed: int, height: int = 96, width: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) of stripes above or left of blotches of the same mean grey, and which is where (H, W)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    cut = random.uniform(0.35, 0.65)
    truth = (y > cut * height) if seed % 2 else (x > cut * width)
    stripes = 128 + 60 * np.sign(np.sin((x + random.uniform(0, 9)) * 1.1))
    blotches = 128 + random.normal(0, 8, (height, width))
    grey = np.where(truth, blotches, stripes) + random.normal(0, 4, (height, width))
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2), truth.astype(np.uint8)


@pytest.fixture
def scenes() -> tuple[Arrays, list[np.ndarray]]:
    """Four pictures of different sizes, two of them upright, and their masks."""
    sizes = [(96, 128), (128, 96), (100, 150), (90, 90)]
    made = [scene(seed, *size) for seed, size in enumerate(sizes)]
    return Arrays([image for image, _ in made]), [truth for _, truth in made]


@pytest.fixture
def png_folder(scenes, tmp_path) -> Path:
    """The four pictures as files, one in a subfolder."""
    names = ["a.png", "b.png", "sub/c.png", "d.png"]
    for name, image in zip(names, scenes[0].images, strict=True):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    return tmp_path / "pictures"


@pytest.fixture
def counts(monkeypatch) -> dict[str, int]:
    """Pictures that the backbone saw, and trainings of a head."""
    found = {"backbone": 0, "training": 0}
    maps, training = ColourBackbone.feature_maps, finding.train

    def feature_maps(self, images, layers=(-1,)):
        found["backbone"] += len(images)
        return maps(self, images, layers)

    def trained(*arguments):
        found["training"] += 1
        return training(*arguments)

    monkeypatch.setattr(ColourBackbone, "feature_maps", feature_maps)
    monkeypatch.setattr(finding, "train", trained)
    return found
