"""Pages that a small detector learns from within seconds, and the settings of runs that small."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from densessl.backbones import create_backbone
from densessl.documents.detection import Detector, DetectorConfig

NETWORK = {"channels": [16, 16, 16, 16], "layers": [1, 1, 1, 1], "stem_width": 16}
HEADS = {"channels": 16, "hidden": 16, "proposals": 20, "train_proposals": 20, "samples": 16, "anchors": 32}
SMALL = [
    "backbone_options={channels: [16, 16, 16, 16], layers: [1, 1, 1, 1], stem_width: 16}",
    *(f"detector.{name}={value}" for name, value in HEADS.items()),
    "image_size=64",
    "batch_size=2",
    "workers=0",
    "devices=cpu",
    "log_steps=1",
]


def write_set(folder: Path, count: int = 4) -> Path:
    """A COCO folder of white pages of 60 x 80 px, each with a dark table below a grey line of text."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(1, count + 1):
        page, top = np.full((80, 60, 3), 255, np.uint8), int(rng.integers(20, 40))
        boxes = {1: [6, 6, 40, 5], 2: [10, top, 36, 24]}
        for kind, (x, y, wide, high) in boxes.items():
            page[y : y + high, x : x + wide] = 120 if kind == 1 else 30
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": kind, "bbox": [x, y, wide, high]}
            )
        cv2.imwrite(str(folder / "images" / f"{number}.png"), page)
        images.append({"id": number, "file_name": f"{number}.png", "width": 60, "height": 80})
    categories = [{"id": 1, "name": "text"}, {"id": 2, "name": "table"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def pages_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("pages") / "set")


def small_detector(classes: tuple[str, ...] = ("text", "table"), **options) -> Detector:
    torch.manual_seed(0)
    config = DetectorConfig(**(HEADS | options))
    return Detector(create_backbone("resnet18", 64, NETWORK), config, classes, 64)
