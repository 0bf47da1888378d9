"""From a source of images to batches of views.

A batch is a dict: `views`, a list of uint8 tensors (B, 3, s, s) in channels_last memory format, one per view in the
order of the specs, (B, P, 3, s, s) for one in patches; `index` (B,) int64; `target` (B,) int64 when every image has a
label; `unreadable`, a list of (index, reason) of images that were passed over. Where the source has layers
(`densessl.data.sources.layers`), also `layers`, a list of uint8 tensors (B, c, s, s) cut as the first view is, and
`group` (B,) int64, the video of each image. What is drawn depends on (seed, epoch, index) alone.

A batch that cannot be made has `failed` in place of views and targets: a sentence for the user. It is data because
torch buries an exception of a worker under its traceback; whoever takes the batch raises `UserError(batch["failed"])`.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.utils.data import Dataset

from densessl.data import augment_device
from densessl.data.augment import cut, render, render_patches
from densessl.data.augment_device import render_batch, to_canvas
from densessl.data.images import UnreadableImage
from densessl.data.sources.layers import Layer
from densessl.data.views import Draw, PatchSides, ViewSpec, draw, draw_patches, generator
from densessl.errors import UserError

MOST_UNREADABLE = 100  # in a row, before the run ends with a sentence


class ImageSource(Protocol):
    """What `ViewDataset` asks of a source; those in `densessl.data.sources` fit."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB; raises `UnreadableImage`."""

    def name(self, index: int) -> str: ...

    def label(self, index: int) -> int | None: ...


class ViewDataset(Dataset):
    """Views of the images of `source`, asked for by (epoch, index).

    views: the method's specs; a size of None is `image_size`. seed: of the run.
    device_views: hand over each image once, with the draws of its views, for `render_views` to make them on the device.
        Images are shrunk to a longest side of `canvas` px, twice the largest view unless given.

    sizes: of each view its side, or `PatchSides`.

    An item is a dict: `index`, `target` when there is a label, `unreadable`, and `views`, a list of (s, s, 3) uint8,
    (P, s, s, 3) in patches; with device_views instead of them `canvas` (h, w, 3) uint8 and `draws`, a list of (1, 13)
    float32, (1 + P, 13) in patches. An unreadable image is replaced by the next readable one, of another document, and
    `index` is that one's. When `MOST_UNREADABLE` follow on each other, or the source raises `UserError`, the item is
    `failed` (a sentence), `index` (the one asked for) and `unreadable`.
    """

    def __init__(
        self,
        source: ImageSource,
        views: Sequence[ViewSpec],
        image_size: int,
        seed: int,
        device_views: bool = False,
        canvas: int | None = None,
    ) -> None:
        self.source = source
        self.image_size = image_size
        self.seed = seed
        self.device_views = device_views
        each = [spec for spec in views for _ in range(spec.count)]
        self.views = [replace(spec, size=spec.side(image_size), count=1) for spec in each]
        self.sizes = [spec.sides(image_size) for spec in self.views]
        self.canvas = canvas or 2 * max(spec.size for spec in self.views)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, asked = key
        unreadable: list[tuple[int, str]] = []
        try:
            image, layers, index = self._read(asked, unreadable)
            # The place asked for seeds the views, so that a neighbour that stands in does not come twice with the same.
            rng = generator(self.seed, epoch, asked)
            draws = [self._draw(spec, image, rng) for spec in self.views]
            cuts = [self._cut(*each, image.shape[:2], draws[0][0], rng) for each in layers]
            label = self.source.label(index)
        except UserError as error:
            return {"failed": str(error), "index": asked, "unreadable": unreadable}
        item: dict[str, Any] = {"index": index, "unreadable": unreadable}
        if self.device_views:
            item["canvas"], crops = to_canvas(image, [crop for crop, _ in draws], self.canvas)
            item["draws"] = [
                np.array([row, *patches], np.float32) for row, (_, patches) in zip(crops, draws, strict=True)
            ]
        else:
            item["views"] = [
                render_patches(image, crop, patches, size) if patches else render(image, crop, size)
                for (crop, patches), size in zip(draws, self.sizes, strict=True)
            ]
        if label is not None:
            item["target"] = label
        if layers:
            item["layers"], item["group"] = cuts, self.source.group(index)
        return item

    @staticmethod
    def _draw(spec: ViewSpec, image: np.ndarray, rng: Generator) -> tuple[Draw, list[Draw]]:
        """The crop of one view and, when it is cut into patches, theirs."""
        crop = draw(spec, *image.shape[:2], rng, spec.size)
        return crop, draw_patches(spec, rng) if spec.patches else []

    def _cut(self, layer: Layer, values: np.ndarray, of: tuple[int, int], drawn: Draw, rng: Generator) -> np.ndarray:
        """A layer of an image of size `of`, cut as the first view of it, or as that view would be if drawn again."""
        if layer.drawn_anew:
            drawn = draw(self.views[0], *of, rng, self.sizes[0])
        found = cut(values, drawn, self.sizes[0], of, layer.nearest)
        return layer.flipped(found) if drawn.flip else found

    def _read(
        self, asked: int, unreadable: list[tuple[int, str]]
    ) -> tuple[np.ndarray, list[tuple[Layer, np.ndarray]], int]:
        """The first readable image from `asked` on, its layers and its index; those passed over go to `unreadable`.

        Tiles of a picture and pages of a document are passed over together: their neighbours have the same trouble.
        """
        layered, index = getattr(self.source, "layers", ()), asked
        for _ in range(min(len(self), MOST_UNREADABLE)):
            try:
                image = self.source.read(index)
                return image, [(layer, self.source.read_layer(layer, index, image)) for layer in layered], index
            except UnreadableImage as error:
                unreadable.append((index, str(error)))
                index = self._after(index)
        names = ", ".join(self.source.name(index) for index, _ in unreadable[:3])
        reason = unreadable[0][1] if unreadable else "there is none"
        raise UserError(
            f"{len(unreadable)} images in a row cannot be read, among them {names} ({reason}); "
            "check the files, or give another data=."
        )

    def _after(self, index: int) -> int:
        after = getattr(self.source, "after", lambda index: index + 1)
        return after(index) % len(self)


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Items of `ViewDataset` -> one batch; see the module docstring.

    With device_views: `canvas` (B, 3, H, W) uint8, padded with zeros to the largest of the batch, and `draws`, per view
    (B, 1, 13) float32, (B, 1 + P, 13) in patches, in place of `views`. When an item has failed: `failed`, `index` and
    `unreadable` alone.
    """
    batch: dict[str, Any] = {
        "index": torch.tensor([item["index"] for item in items], dtype=torch.int64),
        "unreadable": [pair for item in items for pair in item["unreadable"]],
    }
    failed = [item["failed"] for item in items if "failed" in item]
    if failed:
        return batch | {"failed": failed[0]}
    if all("target" in item for item in items):
        batch["target"] = torch.tensor([item["target"] for item in items], dtype=torch.int64)
    if "layers" in items[0]:
        batch["layers"] = [_channels_first(np.stack(same)) for same in zip(*(i["layers"] for i in items), strict=True)]
        batch["group"] = torch.tensor([item["group"] for item in items], dtype=torch.int64)
    if "canvas" in items[0]:
        batch["canvas"] = _padded([item["canvas"] for item in items])
        draws = zip(*(item["draws"] for item in items), strict=True)
        batch["draws"] = [torch.from_numpy(np.stack(same)) for same in draws]
    else:
        views = zip(*(item["views"] for item in items), strict=True)
        batch["views"] = [_channels_first(np.stack(same)) for same in views]
    return batch


def render_views(batch: dict[str, Any], sizes: Sequence[int | PatchSides]) -> dict[str, Any]:
    """A batch of device_views -> the batch dict with `views`, made where its tensors lie; sizes: `ViewDataset.sizes`.

    A batch that already has its views, or has failed, is returned as it is.
    """
    if "views" in batch or "failed" in batch:
        return batch
    canvas, views = batch["canvas"], []
    for draws, size in zip(batch["draws"], sizes, strict=True):
        if isinstance(size, PatchSides):
            views.append(augment_device.render_patches(canvas, draws, size))
        else:
            views.append(render_batch(canvas, draws[:, 0], size))
    return {key: value for key, value in batch.items() if key not in ("canvas", "draws")} | {"views": views}


def worker_init(worker_id: int) -> None:
    """`worker_init_fn` of a DataLoader: one thread a worker, and signals left to the main process, which ends them.

    A terminal, `timeout` or a scheduler sends them to the whole group, and the main process saves first.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _padded(images: Sequence[np.ndarray]) -> Tensor:
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    canvas = np.zeros((len(images), height, width, 3), np.uint8)
    for place, image in zip(canvas, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    return _channels_first(canvas)


def _channels_first(images: np.ndarray) -> Tensor:
    """(..., H, W, c) -> (..., c, H, W): the same memory, which is what channels_last means."""
    return torch.from_numpy(images).movedim(-1, -3)
