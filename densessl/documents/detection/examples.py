"""Labelled pages as a detector learns from them: resized, in other light, worn, and mirrored only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.utils.data import Dataset

from densessl.data.images import UnreadableImage
from densessl.data.resize import resize
from densessl.data.synthetic.pages.degrade import compressed
from densessl.data.views import generator
from densessl.documents.average_precision import run_lengths
from densessl.documents.detection.config import DetectConfig
from densessl.documents.detection.detector import filled, shown_size
from densessl.documents.pages import LabelledPages

MOST_UNREADABLE = 100  # in a row, before the run ends with a sentence


class PageDataset(Dataset):
    """Pages asked for by (epoch, index): what is drawn depends on (seed, epoch, index) alone.

    An item is a dict: `index`, `unreadable` (list of (index, reason) of pages that were passed over for it), `page` (h,
    w, 3) uint8 and `target`, as `densessl.documents.detection.detector` has it; or `failed`, a sentence.
    """

    def __init__(self, pages: LabelledPages, config: DetectConfig, fixed: tuple[int, int] | None) -> None:
        self.pages, self.config, self.fixed = pages, config, fixed

    @property
    def source(self):
        return self.pages.source

    def __len__(self) -> int:
        return len(self.pages)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, asked = key
        unreadable: list[tuple[int, str]] = []
        for step in range(min(len(self), MOST_UNREADABLE)):
            index = (asked + step) % len(self)
            try:
                page = self.pages.read(index)
            except UnreadableImage as error:
                unreadable.append((index, str(error)))
                continue
            rng = generator(self.config.seed, epoch, asked)
            page, target = self._made(page, index, rng)
            return {"index": index, "unreadable": unreadable, "page": page, "target": target}
        names = ", ".join(self.source.name(index) for index, _ in unreadable[:3])
        said = f"{len(unreadable)} pages in a row cannot be read, among them {names} ({unreadable[0][1]}); check them."
        return {"failed": said, "index": asked, "unreadable": unreadable}

    def _made(self, page: np.ndarray, index: int, rng: Generator) -> tuple[np.ndarray, dict[str, Tensor]]:
        config = self.config
        share = rng.uniform(*config.scales)
        stretch = np.exp(rng.uniform(-config.stretch, config.stretch) / 2)  # equal parts narrower and wider
        height, width = page.shape[0] * stretch, page.shape[1] / stretch
        size = shown_size(height, width, max(32, round(config.image_size * share)), self.fixed)
        page = lit(resize(page, *size), rng, config.grey, config.light)
        if rng.random() < config.worn:
            page = worn(page, rng)
        target = target_of(self.pages, index, size, config.detector.masks)
        return mirrored(page, target) if rng.random() < config.flip else (page, target)


def target_of(pages: LabelledPages, index: int, size: tuple[int, int], masks: bool) -> dict[str, Tensor]:
    """What is marked on a page that is shown at (h, w); see `densessl.documents.detection.detector`."""
    objects = pages.on(index)
    width, height = pages.sizes[index].tolist()
    scales = np.array([size[1] / width, size[0] / height] * 2)
    aside = objects.crowd | objects.ignored
    target = {
        "boxes": torch.from_numpy((objects.boxes[~aside] * scales).astype(np.float32)),
        "classes": torch.from_numpy(objects.classes[~aside].astype(np.int64)),
        "known": torch.from_numpy(pages.labelled[index].copy()),
        "aside": torch.from_numpy((objects.boxes[aside] * scales).astype(np.float32)),
    }
    if masks:
        target["masks"] = _masks(objects[~aside], (width, height), size)
    return target


def _masks(objects, whole: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """(M, h, w) uint8 of the objects of a page of width and height `whole`, shown at `size` (h, w)."""
    from pycocotools import mask

    found = np.zeros((len(objects), *size), np.uint8)
    shapes = objects.shapes or (None,) * len(objects)
    scale = np.array([size[1] / whole[0], size[0] / whole[1]])
    for place, (shape, box) in enumerate(zip(shapes, objects.boxes, strict=True)):
        if isinstance(shape, dict):
            found[place] = cv2.resize(mask.decode(shape), size[::-1], interpolation=cv2.INTER_NEAREST)
            continue
        x0, y0, x1, y1 = box * np.tile(scale, 2)
        scaled = None if shape is None else [polygon * scale for polygon in shape]
        found[place] = mask.decode(run_lengths(scaled, [x0, y0, x1 - x0, y1 - y0], size[::-1]))
    return torch.from_numpy(found)


def lit(page: np.ndarray, rng: Generator, grey: float, light: float) -> np.ndarray:
    """A page (h, w, 3) uint8 in other light: perhaps without colours, paler or darker, with more or less contrast."""
    if rng.random() < grey:
        page = cv2.cvtColor(cv2.cvtColor(page, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    contrast, brightness = rng.uniform(-light, light, 2)
    # Around white: a page stays a page, and ink becomes paler or the paper darker.
    table = 255 + (np.arange(256) - 255) * (1 + contrast) + 128 * min(brightness, 0)
    return cv2.LUT(page, table.clip(0, 255).round().astype(np.uint8))


def worn(page: np.ndarray, rng: Generator) -> np.ndarray:
    """A page (h, w, 3) uint8 as a poor scan has it: on tinted paper, out of focus, with noise, then as a JPEG."""
    tint = 255 - rng.uniform(0, 40) * np.sort(rng.random(3))
    page = page * (tint / 255).astype(np.float32)
    if rng.random() < 0.5:
        page = cv2.GaussianBlur(page, (0, 0), rng.uniform(0.3, 1.2))
    if rng.random() < 0.5:
        page = page + rng.normal(0, rng.uniform(2, 14), (*page.shape[:2], 1)).astype(np.float32)
    page = page.clip(0, 255).astype(np.uint8)
    return compressed(page, int(rng.integers(25, 90))) if rng.random() < 0.5 else page


def mirrored(page: np.ndarray, target: dict[str, Tensor]) -> tuple[np.ndarray, dict[str, Tensor]]:
    """A page and what is marked on it, left for right."""
    width = page.shape[1]
    turned = dict(target)
    for name in ("boxes", "aside"):
        boxes = target[name].clone()
        boxes[:, [0, 2]] = width - target[name][:, [2, 0]]
        turned[name] = boxes
    if "masks" in target:
        turned["masks"] = target["masks"].flip(-1)
    return np.ascontiguousarray(page[:, ::-1]), turned


def collate(items: Sequence[dict[str, Any]], canvas: Callable[[Sequence], tuple[int, int]]) -> dict[str, Any]:
    """Items -> a batch: `views`, one (B, 3, H, W) uint8, `sizes`, `targets`, `index` (B,) int64 and `unreadable`.

    canvas: `Detector.canvas`.
    """
    batch: dict[str, Any] = {
        "index": torch.tensor([item["index"] for item in items]),
        "unreadable": [pair for item in items for pair in item["unreadable"]],
    }
    failed = [item["failed"] for item in items if "failed" in item]
    if failed:
        return batch | {"failed": failed[0]}
    pages = [item["page"] for item in items]
    sizes = [page.shape[:2] for page in pages]
    images = filled(pages, canvas(sizes))
    return batch | {"views": [images], "sizes": sizes, "targets": [item["target"] for item in items]}
