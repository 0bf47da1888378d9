"""Views on the device: what `densessl.data.augment.render` does for one image, for a batch in tensor operations.

A worker sends each decoded image once, shrunk to fit a canvas of a stated longest side (`to_canvas`), with the draws of
all its views in canvas pixels; `render_batch` makes the views where the batch lies. Crop, resize and flip are two
batched matrix products with a weight matrix per sample and axis, and so is the blur: products are what a GPU is good
at, where grouped convolutions with a kernel per sample are slow. Nothing here waits for the device.

Where an image fits the canvas the pixels are those of `render`, but for rounding. An image that was shrunk first is
resampled twice, which softens views whose box is smaller than the view; with the canvas at twice the view, SimCLR's
views of larger photographs differ by 0.7 to 0.8 levels of 255 on average, and by 2.5 where the box is smallest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import pi

import cv2
import numpy as np
import torch
from torch import Tensor

from densessl.data.augment import HUE_BEFORE_CONTRAST, HUE_BEFORE_SATURATION, LUMA, SMALLEST_SIGMA
from densessl.data.views import Draw, PatchSides

CHUNK = 64  # samples rendered at once; bounds the float copy of the canvases: 154 MB for 448 x 448 px
PATCH_CHUNK = 16  # of views in patches, which hold more pixels than the view does: 39 MB for 7 x 7 of 64 px


def to_canvas(image: np.ndarray, draws: Sequence[Draw], side: int) -> tuple[np.ndarray, np.ndarray]:
    """Shrink an image to a longest side of `side` px, and move its draws along.

    image (H, W, 3) uint8 -> (h, w, 3) uint8 with h, w <= side; draws -> (V, 13) float32, one row a view, the boxes in
    pixels of the canvas. An image that fits is returned as it is.
    """
    numbers = np.array(draws, np.float32).reshape(-1, len(Draw._fields))
    height, width = image.shape[:2]
    if max(height, width) <= side:
        return image, numbers
    new = (max(1, round(width * side / max(height, width))), max(1, round(height * side / max(height, width))))
    across, down = new[0] / width, new[1] / height
    numbers[:, :4] *= np.array((across, down, across, down), np.float32)
    return cv2.resize(image, new, interpolation=cv2.INTER_AREA), numbers


@torch.no_grad()
def render_batch(canvas: Tensor, draws: Tensor, size: int) -> Tensor:
    """One view per canvas: canvas (B, 3, Hc, Wc) uint8, draws (B, 13), columns as
    `Draw`'s fields -> (B, 3, size, size) uint8.

    The boxes are in pixels of the canvas; what lies outside a box is not read, so padding has no part. On the device
    of the canvas, in channels_last memory format.
    """
    draws = draws.to(canvas.device, torch.float32, non_blocking=True)
    # In a run's bf16 the weights would have 8 bits.
    with torch.autocast(canvas.device.type, enabled=False):
        parts = [_render(part, rows, size) for part, rows in zip(canvas.split(CHUNK), draws.split(CHUNK), strict=True)]
    return torch.cat(parts).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def render_patches(canvas: Tensor, draws: Tensor, sides: PatchSides) -> Tensor:
    """The patches of one view per canvas: draws (B, 1 + P, 13), the first row the view's own, its box in pixels of the
    canvas, the others the patches', in pixels of the view -> (B, P, 3, s, s) uint8, each patch channels_last.
    """
    draws = draws.to(canvas.device, torch.float32, non_blocking=True)
    with torch.autocast(canvas.device.type, enabled=False):
        pairs = zip(canvas.split(PATCH_CHUNK), draws.split(PATCH_CHUNK), strict=True)
        parts = [_render_patches(part, rows, sides) for part, rows in pairs]
    made = torch.cat(parts).contiguous(memory_format=torch.channels_last)
    return made.unflatten(0, (len(canvas), -1))


def _render_patches(canvas: Tensor, draws: Tensor, sides: PatchSides) -> Tensor:
    views, patches = _resized(canvas, draws[:, 0], sides.whole), draws[:, 1:]
    return _finished(_cut(views, patches, sides.patch), patches.flatten(0, 1))


def _cut(views: Tensor, draws: Tensor, size: int) -> Tensor:
    """views (B, 3, S, S), draws (B, P, 13) with boxes in their pixels -> (B * P, 3, s, s), flipped where drawn."""
    column = dict(zip(Draw._fields, draws.unbind(2), strict=True))
    pixels = torch.arange(size, device=views.device)
    down, across = (column[axis].long()[:, :, None] + pixels for axis in ("y", "x"))  # (B, P, s)
    across = torch.where(column["flip"].bool()[:, :, None], across.flip(2), across)
    batch = torch.arange(len(views), device=views.device)[:, None, None, None]
    patches = views.permute(0, 2, 3, 1)[batch, down[:, :, :, None], across[:, :, None, :]]  # (B, P, s, s, 3)
    return patches.flatten(0, 1).permute(0, 3, 1, 2)


def _render(canvas: Tensor, draws: Tensor, size: int) -> Tensor:
    return _finished(_resized(canvas, draws, size), draws)


def _resized(canvas: Tensor, draws: Tensor, size: int) -> Tensor:
    """Crops of their final size, flipped where drawn: (B, 3, size, size) float."""
    column = dict(zip(Draw._fields, draws.unbind(1), strict=True))
    resize = _resize_case(column["width"], column["height"], size)
    across = resize_weights(column["x"], column["width"], canvas.shape[3], size, *resize)
    down = resize_weights(column["y"], column["height"], canvas.shape[2], size, *resize)
    across = torch.where(column["flip"].bool()[:, None, None], across.flip(1), across)
    return _separable(canvas.float(), down, across)


def _finished(views: Tensor, draws: Tensor) -> Tensor:
    """Colours, blur and solarization: (B, 3, s, s) float -> uint8."""
    column = dict(zip(Draw._fields, draws.unbind(1), strict=True))
    matrix = colour_matrices(draws, views.mean((2, 3)))
    views = torch.einsum("bij,bjhw->bihw", matrix[:, :, :3], views) + matrix[:, :, 3, None, None]
    blur = blur_weights(column["sigma"], views.shape[2])
    views = _separable(views.clamp(0, 255), blur, blur).round()
    solarized = column["solarize"].bool()[:, None, None, None] & (views >= 128)
    return torch.where(solarized, 255 - views, views).to(torch.uint8)


def _separable(images: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """images (B, 3, H, W), down (B, h, H), across (B, w, W) -> (B, 3, h, w)."""
    return down[:, None] @ (images @ across.transpose(1, 2)[:, None])


def _resize_case(width: Tensor, height: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which boxes shrink, and which of those by no more than 2: (B,) bool each, as `augment` decides it."""
    shrinks = (torch.minimum(width, height) >= size) & (torch.maximum(width, height) > size)
    return shrinks, torch.maximum(width, height) <= 2 * size


def resize_weights(start: Tensor, length: Tensor, source: int, size: int, shrinks: Tensor, doubled: Tensor) -> Tensor:
    """Weights (B, size, source) of one axis: row i holds what output pixel i takes from each input pixel.

    start, length (B,): the box along this axis; shrinks, doubled (B,) bool: the case of `augment`'s docstring. Each row
    sums to 1.
    """
    pixels = torch.arange(source, device=start.device, dtype=torch.float32)
    once = _linear_weights(start, length, pixels, size)
    twice = _linear_weights(start, length, pixels, 2 * size).unflatten(1, (size, 2)).mean(2)
    edges = start[:, None] + torch.arange(size + 1, device=start.device) / size * length[:, None]
    overlap = torch.minimum(edges[:, 1:, None], pixels + 1) - torch.maximum(edges[:, :-1, None], pixels)
    area = overlap.clamp(min=0)
    area = area / area.sum(2, keepdim=True).clamp(min=1e-6)
    return torch.where(shrinks[:, None, None], torch.where(doubled[:, None, None], twice, area), once)


def _linear_weights(start: Tensor, length: Tensor, pixels: Tensor, samples: int) -> Tensor:
    """Bilinear weights (B, samples, source) at evenly spaced samples of the box, reading nothing outside it."""
    steps = (torch.arange(samples, device=start.device) + 0.5) / samples
    last = (length - 1).clamp(min=0)[:, None]
    within = torch.minimum((steps * length[:, None] - 0.5).clamp(min=0), last)
    return (1 - (start[:, None] + within)[:, :, None].sub(pixels).abs()).clamp(min=0)


def blur_weights(sigma: Tensor, size: int) -> Tensor:
    """Gaussian blur of one axis as a matrix (B, size, size), mirrored at the borders without repeating the edge.

    sigma (B,) in pixels; rows of a sigma below `SMALLEST_SIGMA` are the identity.
    """
    sigma = sigma[:, None, None]
    blurs = sigma >= SMALLEST_SIGMA
    safe = torch.where(blurs, sigma, 1.0)
    radius = (3 * safe).ceil()

    def bell(distance: Tensor) -> Tensor:
        return torch.exp(-0.5 * (distance / safe) ** 2) * (distance.abs() <= radius)

    pixel = torch.arange(size, device=sigma.device, dtype=torch.float32)
    row, column, last = pixel[:, None], pixel[None, :], size - 1
    weights = bell(row - column)
    weights = weights + bell(row + column) * (column > 0) + bell(row + column - 2 * last) * (column < last)
    return torch.where(blurs, weights / weights.sum(2, keepdim=True), torch.eye(size, device=sigma.device))


def colour_matrices(draws: Tensor, mean: Tensor) -> Tensor:
    """`augment.colour_matrix` for a batch: draws (B, 13), mean (B, 3) of RGB in [0, 255] -> (B, 3, 4)."""
    column = dict(zip(Draw._fields, draws.unbind(1), strict=True))
    order = column["order"].long()
    luma, hue_before_saturation, hue_before_contrast = _constants(draws.device)
    luma = luma.expand_as(mean)
    angle = 2 * pi * column["hue"]
    third, turn = (1 - angle.cos()) / 3, angle.sin() / 3**0.5
    a, b, c = 1 - 2 * third, third - turn, third + turn
    rotation = torch.stack((a, b, c, c, a, b, b, c, a), 1).unflatten(1, (3, 3))
    turned = torch.einsum("bi,bij->bj", luma, rotation)
    blend = (torch.where(hue_before_contrast[order][:, None], turned, luma) * mean).sum(1)
    offset = (1 - column["contrast"]) * column["brightness"] * blend
    gain, keep = column["brightness"] * column["contrast"], column["saturation"][:, None, None]
    towards = torch.where(hue_before_saturation[order][:, None], turned, luma)[:, None, :]
    linear = gain[:, None, None] * (keep * rotation + (1 - keep) * towards)
    grey = torch.einsum("bi,bij->bj", luma, linear)[:, None, :].expand_as(linear)
    linear = torch.where(column["grey"].bool()[:, None, None], grey, linear)
    return torch.cat((linear, offset[:, None, None].expand(-1, 3, 1)), 2)


@lru_cache
def _constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Kept on the device, because sending them anew would wait for it."""
    tables = (LUMA, HUE_BEFORE_SATURATION, HUE_BEFORE_CONTRAST)
    return tuple(torch.tensor(table, device=device) for table in tables)
