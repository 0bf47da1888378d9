"""Boxes on maps: anchors, what lies beneath a box, and which boxes an object counts for.

Boxes are (N, 4) float32 x0, y0, x1, y1 in pixels of the image that the network sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_area, box_iou

AROUND = 0.5  # share of a box that must lie in a crowd, or in what is ignored, for it to count as neither


def anchors(
    shapes: Sequence[tuple[int, int]], strides: Sequence[int], sides: Sequence[float], ratios: Sequence[float]
) -> Tensor:
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
    16 are 14 places, with half a pixel less, so that cell centres are where they are (ROIAlign, "aligned"; each value
    is the mean of 2 x 2 samples). As torchvision's `roi_align` has it to rounding, but as one weighted sum of rows of a
    table of all maps, whose gradient takes a fifth of the time on a CPU.
    """
    # In float32 whatever the precision: boxes of 800 px have steps of 4 px in bfloat16.
    table = torch.cat([each.permute(0, 2, 3, 1).reshape(-1, each.shape[1]) for each in maps]).float()
    every = torch.cat(list(boxes))
    image = torch.cat([torch.full((len(each),), place) for place, each in enumerate(boxes)]).to(every.device)
    level = level_of(every, strides)
    shapes = torch.tensor([each.shape[2:] for each in maps], device=every.device)  # (levels, 2)
    starts = torch.tensor([0, *(each.shape[0] * each.shape[2] * each.shape[3] for each in maps)][:-1]).cumsum(0)
    height, width = shapes[level].unbind(1)
    first = starts.to(every.device)[level] + image * height * width
    scaled = every / torch.tensor(strides, device=every.device)[level, None] - 0.5
    rows, down = _samples(scaled[:, 1], scaled[:, 3], height, size)
    columns, across = _samples(scaled[:, 0], scaled[:, 2], width, size)
    places = (first[:, None, None] + rows * width[:, None, None])[:, :, None, :, None] + columns[:, None, :, None, :]
    weights = down[:, :, None, :, None] * across[:, None, :, None, :]
    with torch.autocast(table.device.type, enabled=False):
        read = F.embedding_bag(
            places.flatten(3).flatten(0, 2), table, per_sample_weights=weights.flatten(3).flatten(0, 2), mode="sum"
        )
    return read.view(len(every), size, size, table.shape[1]).permute(0, 3, 1, 2)


def _samples(low: Tensor, high: Tensor, length: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Along one side of boxes (N,), in places of a map that has `length` (N,): which places each of `size` parts is
    read from, int64, and by which weights, both (N, size, 4): two samples between two places each."""
    steps = (torch.arange(2 * size, device=low.device) + 0.5) / (2 * size)
    at = low[:, None] + (high - low)[:, None] * steps  # (N, 2 size)
    last = length[:, None] - 1
    within = (at >= -1) & (at <= last + 1)
    at = torch.minimum(at.clamp(min=0), last.to(at.dtype))
    before = at.floor()
    share = at - before
    places = torch.stack([before.long(), torch.minimum(before.long() + 1, last)], dim=2)
    weights = torch.stack([1 - share, share], dim=2) * within[..., None] / 2
    return places.view(len(low), size, 4), weights.view(len(low), size, 4)


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
    """Rows drawn at random from each image: those that count as objects, at most the share `positive`, then others.

    kind: (B, N) of `assigned`. Returns rows (B, n), n at most `count`, and whether each was drawn, since there may be
    fewer to draw from. Nothing here waits for a GPU: what is drawn has one size whatever is there.
    """
    noise = torch.rand(kind.shape, device=kind.device)
    most = int(count * positive)
    objects, first = torch.where(kind == 1, noise, -1.0).topk(min(most, kind.shape[1]))
    others, rest = torch.where(kind == 0, noise, -1.0).topk(min(count, kind.shape[1]))
    left = count - (objects >= 0).sum(dim=1, keepdim=True)
    room = torch.arange(others.shape[1], device=kind.device) < left
    drawn = torch.cat([objects >= 0, (others >= 0) & room], dim=1)
    order = drawn.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, : min(count, kind.shape[1])]
    return torch.cat([first, rest], dim=1).gather(1, order), drawn.gather(1, order)


def padded(rows: Sequence[Tensor], value: float = 0) -> Tensor:
    """(n_b, ...) of each image -> (B, n, ...), filled up with `value`; n is 1 or more."""
    longest = max(1, *(len(each) for each in rows))
    full = rows[0].new_full((len(rows), longest, *rows[0].shape[1:]), value)
    for place, each in zip(full, rows, strict=True):
        place[: len(each)] = each
    return full


def picked(values: Tensor, rows: Tensor) -> Tensor:
    """Rows (B, n) of values (B, N, ...): (B, n, ...)."""
    return values[torch.arange(len(values), device=values.device)[:, None], rows]


def clipped(boxes: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Boxes (B, N, 4) within their images of (h, w)."""
    ends = torch.tensor([[width, height] * 2 for height, width in sizes], dtype=boxes.dtype)
    return torch.minimum(boxes.clamp(min=0), ends.to(boxes.device, non_blocking=True)[:, None])


def _shares(boxes: Tensor, others: Tensor) -> Tensor:
    """(N, 4), (M, 4) -> (N, M): how much of each box lies in each of the others."""
    low = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return (high - low).clamp(min=0).prod(dim=2) / box_area(boxes).clamp(min=1e-6)[:, None]


LARGEST = 4.135166556742356  # of a logarithm of a scale, log(1000 / 16): no box grows by more at a time


def encode(boxes: Tensor, objects: Tensor, weights: Sequence[float]) -> Tensor:
    """What leads from boxes to objects, (..., 4): shifts in sides of the box, logarithms of scales, by the weights."""
    centre, size = _centred(boxes)
    towards, wanted = _centred(objects)
    factors = boxes.new_tensor(weights)
    return torch.cat([(towards - centre) / size, (wanted / size).log()], dim=-1) * factors


def decode(boxes: Tensor, deltas: Tensor, weights: Sequence[float]) -> Tensor:
    """The boxes that deltas (..., 4) lead to; the inverse of `encode`."""
    centre, size = _centred(boxes)
    deltas = deltas / deltas.new_tensor(weights)
    centre = centre + deltas[..., :2] * size
    half = deltas[..., 2:].clamp(max=LARGEST).exp() * size / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def _centred(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centres and sizes, (..., 2) each; a box without a width has one of a thousandth of a pixel."""
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3)
    return boxes[..., :2] + size / 2, size
