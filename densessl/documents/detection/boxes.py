"""Boxes on maps: anchors, what lies beneath a box, and which boxes an object counts for.

Boxes are (N, 4) float32 x0, y0, x1, y1 in pixels of the image that the network sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor
from torchvision.ops import box_area, box_iou, roi_align

AROUND = 0.5  # share of a box that must lie in a crowd, or in what is ignored, for it to count as neither


def anchors(shapes: Sequence[tuple[int, int]], strides: Sequence[int], sides: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Anchors of all maps, one after another: row by row, place by place, side by side, ratio by ratio; (N, 4).

    shapes: (h, w) of the maps. sides: of square anchors, in strides. ratios: height / width; the area is that of the
    square. Centres lie where detectron2 has them, at the left upper corner of each cell.
    """
    found = []
    for (height, width), stride in zip(shapes, strides, strict=True):
        halves = torch.tensor(
            [[side / sqrt(ratio), side * sqrt(ratio)] for side in sides for ratio in ratios], dtype=torch.float32
        )
        halves *= stride / 2
        cells = torch.cat([-halves, halves], dim=1)
        y, x = torch.meshgrid(torch.arange(height) * stride, torch.arange(width) * stride, indexing="ij")
        centres = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
        found.append((centres + cells).reshape(-1, 4))
    return torch.cat(found)


def pool(maps: Sequence[Tensor], strides: Sequence[int], boxes: Sequence[Tensor], size: int) -> Tensor:
    """What lies beneath the boxes of each image: maps (B, C, ., .) -> (N, C, size, size), images one after another.

    A box is read from the map on which it is some `size` places high or wide: FPN's equation 1, whose 224 px on stride
    16 are 14 places, with half a pixel less, so that cell centres are where they are (ROIAlign, "aligned").
    """
    numbers = [boxes[0].new_full((len(each), 1), place) for place, each in enumerate(boxes)]
    rows = torch.cat([torch.cat(pair, dim=1) for pair in zip(numbers, boxes, strict=True)])
    level = level_of(rows[:, 1:], strides)
    # In float32 whatever the precision: boxes of 800 px have steps of 4 px in bfloat16.
    found = rows.new_zeros(len(rows), maps[0].shape[1], size, size)
    for place, (each, stride) in enumerate(zip(maps, strides, strict=True)):
        mine = torch.where(level == place)[0]
        if len(mine):
            read = roi_align(each.float(), rows[mine], size, 1 / stride, sampling_ratio=2, aligned=True)
            found = found.index_put((mine,), read)
    return found


def level_of(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """The place of the map for each box, int64: the one of stride 16 for 224 px (the root of its area), and so on."""
    side = box_area(boxes).clamp(min=1).sqrt()
    level = torch.log2(side / 224 * 16 / strides[0] + 1e-8).floor()
    return level.clamp(0, len(strides) - 1).long()


def assigned(
    boxes: Tensor, target: dict[str, Tensor], high: float, low: float, *, each_once: bool = False
) -> tuple[Tensor, Tensor]:
    """For each box the object that it overlaps most, (N,) int64, and what it counts as, (N,) int8.

    1: the object, from IoU `high` on; 0: nothing, below `low`; -1: neither, in between. Neither is also what lies in
    `target["aside"]`, objects that nobody asks for. each_once: the boxes that overlap an object more than all others
    count for it, however little, so that none goes without.
    """
    found, best = boxes.new_zeros(len(boxes), dtype=torch.int64), boxes.new_zeros(len(boxes))
    objects = target["boxes"]
    if len(objects):
        overlaps = box_iou(objects, boxes)
        best, found = overlaps.max(dim=0)
    kind = torch.full_like(found, -1, dtype=torch.int8)
    kind[best < low] = 0
    kind[best >= high] = 1
    if len(objects) and each_once:
        most = overlaps.max(dim=1, keepdim=True).values
        kind[((overlaps == most) & (most > 0)).any(dim=0)] = 1
    if len(target["aside"]) and len(boxes):
        inside = _shares(boxes, target["aside"]).amax(dim=1) >= AROUND
        kind[(kind == 0) & inside] = -1
    return found, kind


def sampled(kind: Tensor, count: int, positive: float) -> tuple[Tensor, Tensor]:
    """At most `count` rows at random: those that count as objects, at most the share `positive`, and as nothing."""
    objects, rest = torch.where(kind == 1)[0], torch.where(kind == 0)[0]
    objects = objects[torch.randperm(len(objects))[: int(count * positive)].to(objects.device)]
    rest = rest[torch.randperm(len(rest))[: count - len(objects)].to(rest.device)]
    return objects, rest


def _shares(boxes: Tensor, others: Tensor) -> Tensor:
    """(N, 4), (M, 4) -> (N, M): how much of each box lies in each of the others."""
    low = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return (high - low).clamp(min=0).prod(dim=2) / box_area(boxes).clamp(min=1e-6)[:, None]


LARGEST = 4.135166556742356  # of a logarithm of a scale, log(1000 / 16): no box grows by more at a time


def encode(boxes: Tensor, objects: Tensor, weights: Sequence[float]) -> Tensor:
    """What leads from boxes to objects, (N, 4): shifts in sides of the box, logarithms of scales, times the weights."""
    centre, size = _centred(boxes)
    towards, wanted = _centred(objects)
    factors = boxes.new_tensor(weights)
    return torch.cat([(towards - centre) / size, (wanted / size).log()], dim=1) * factors


def decode(boxes: Tensor, deltas: Tensor, weights: Sequence[float]) -> Tensor:
    """The boxes that deltas (N, 4) lead to; the inverse of `encode`."""
    centre, size = _centred(boxes)
    deltas = deltas / deltas.new_tensor(weights)
    centre = centre + deltas[:, :2] * size
    half = deltas[:, 2:].clamp(max=LARGEST).exp() * size / 2
    return torch.cat([centre - half, centre + half], dim=1)


def _centred(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centres and sizes, (N, 2) each; a box without a width has one of a thousandth of a pixel."""
    size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    return boxes[:, :2] + size / 2, size
