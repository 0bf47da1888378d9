"""Small sets of pages: written as their publishers lay them out, or made in memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densessl.data.sources.files import Files
from densessl.documents.pages import LabelledPages, Objects
from tests.trees import Folder


class Tree(Folder):
    def image(self, name: str, width: int = 60, height: int = 80, shade: int = 255) -> None:
        Image.new("L", (width, height), shade).save(self.path(name))

    def text(self, name: str, text: str) -> None:
        self.path(name).write_text(text, encoding="utf-8")

    def json(self, name: str, content: object) -> None:
        self.text(name, json.dumps(content))


@pytest.fixture
def tree(tmp_path) -> Tree:
    return Tree(tmp_path / "data")


def coco(images: list[dict], annotations: list[dict], names: tuple[str, ...] = ("text", "table")) -> dict:
    """A COCO file; what images and annotations do not say is filled in: 60 x 80 pixels, category 1, ids in a row."""
    return {
        "images": [{"id": place, "width": 60, "height": 80, **each} for place, each in enumerate(images, start=1)],
        "annotations": [
            {"id": place, "image_id": 1, "category_id": 1, "bbox": [5, 5, 10, 20], **each}
            for place, each in enumerate(annotations, start=1)
        ],
        "categories": [{"id": place, "name": name} for place, name in enumerate(names, start=1)],
    }


def made(
    rows: list[tuple],
    classes: tuple[str, ...] = ("text", "table"),
    count: int = 1,
    *,
    size: tuple[int, int] = (100, 100),
    names: list[str] | None = None,
    root: Path | str = "nowhere",
    shapes: tuple | None = None,
) -> LabelledPages:
    """Pages in memory. rows: page, class, x0, y0, x1, y1 and perhaps "crowd" or "ignored", by page."""
    flags = [row[6] if len(row) > 6 else "" for row in rows]
    return LabelledPages(
        name="made",
        source=Files(root, names or [f"page-{index}.png" for index in range(count)]),
        sizes=np.tile(np.array(size, np.int32), (count, 1)),
        classes=classes,
        labelled=np.ones((count, len(classes)), bool),
        objects=Objects(
            page=np.array([row[0] for row in rows], np.int32),
            boxes=np.array([row[2:6] for row in rows], np.float64).reshape(-1, 4),
            classes=np.array([row[1] for row in rows], np.int16),
            crowd=np.array([flag == "crowd" for flag in flags], bool),
            ignored=np.array([flag == "ignored" for flag in flags], bool),
            shapes=shapes,
        ),
        documents=(None,) * count,
    )
