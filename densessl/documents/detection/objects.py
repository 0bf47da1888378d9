"""What lies in each proposal: box heads, one or a cascade of three (arXiv 1712.00726), and a mask head.

Where a class is not labelled on a page, nobody knows whether a region without an object shows one of it. Its loss there
is then of what is known, -log(p(nothing) + sum of p(c) over the unknown classes c): that it is none of the others. A
page on which nothing is labelled teaches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms, clip_boxes_to_image, roi_align

from densessl.documents.detection.boxes import assigned, decode, encode, pool, sampled
from densessl.documents.detection.config import DetectorConfig

# Of each stage: IoU from which on a box counts for an object, and the weights of its deltas.
FASTER = ((0.5, (10.0, 10.0, 5.0, 5.0)),)
CASCADE = (*FASTER, (0.6, (20.0, 20.0, 10.0, 10.0)), (0.7, (30.0, 30.0, 15.0, 15.0)))
POSITIVE = 0.25  # of the boxes in the loss, at most
PLACES, MASK_PLACES = 7, 14  # sides of what is read from the maps for a box, and for a mask


@dataclass
class Found:
    """Of one image: boxes (n, 4), classes (n,) int64, scores (n,), best first; masks (n, 28, 28) of the boxes, in
    [0, 1], where there is a mask head."""

    boxes: Tensor
    classes: Tensor
    scores: Tensor
    masks: Tensor | None = None


class BoxHead(nn.Module):
    """(N, C, 7, 7) -> scores (N, K + 1), of nothing in the last place as detectron2 has it, and deltas (N, 4), the same
    whatever the class."""

    def __init__(self, channels: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels * PLACES**2, hidden), nn.Linear(hidden, hidden)
        self.score, self.deltas = nn.Linear(hidden, classes + 1), nn.Linear(hidden, 4)
        for layer, deviation in ((self.score, 0.01), (self.deltas, 0.001)):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)

    def forward(self, read: Tensor) -> tuple[Tensor, Tensor]:
        hidden = F.relu(self.fc2(F.relu(self.fc1(read.flatten(1)))))
        return self.score(hidden).float(), self.deltas(hidden).float()


class MaskHead(nn.Sequential):
    """(N, C, 14, 14) -> one mask a class, (N, K, 28, 28)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, channels, 2, 2),
            nn.ReLU(),
            nn.Conv2d(channels, classes, 1),
        )


class ObjectHeads(nn.Module):
    """Proposals -> objects, or the losses of how well they are told."""

    def __init__(self, config: DetectorConfig, classes: int) -> None:
        super().__init__()
        self.config = config
        self.stages = CASCADE if config.head == "cascade" else FASTER
        self.boxes = nn.ModuleList(BoxHead(config.channels, config.hidden, classes) for _ in self.stages)
        self.masks = MaskHead(config.channels, classes) if config.masks else None

    def losses(
        self, maps: Sequence[Tensor], boxes: list[Tensor], sizes: Sequence[tuple[int, int]], targets: Sequence[dict]
    ) -> dict[str, Tensor]:
        """boxes: proposals per image. targets: see `densessl.documents.detection.detector`."""
        # The objects themselves are proposals too, so that there is always one to learn from.
        boxes = [torch.cat([each, target["boxes"]]) for each, target in zip(boxes, targets, strict=True)]
        losses: dict[str, Tensor] = {}
        chosen: list[tuple[Tensor, Tensor]] = []
        for number, (head, (overlap, weights)) in enumerate(zip(self.boxes, self.stages, strict=True)):
            if not number:
                drawn = [_drawn(*each, overlap, self.config.samples) for each in zip(boxes, targets, strict=True)]
            else:
                drawn = [_all(*each, overlap) for each in zip(boxes, targets, strict=True)]
            boxes = [each for each, _, _ in drawn]
            read = pool(maps, self.config.strides, boxes, PLACES)
            score, deltas = head(_scaled_gradient(read, 1 / len(self.stages)))
            named, moved = _box_losses(score, deltas, drawn, targets, weights)
            losses |= {f"class_{number}": named, f"box_{number}": moved}
            if not number:
                chosen = [(each[kind == 1], found[kind == 1]) for each, found, kind in drawn]
            if number + 1 < len(self.stages):
                boxes = _moved(boxes, deltas.detach(), weights, sizes)
        if self.masks is not None:
            losses["mask"] = self._mask_loss(maps, chosen, targets)
        return losses

    def forward(self, maps: Sequence[Tensor], boxes: list[Tensor], sizes: Sequence[tuple[int, int]]) -> list[Found]:
        """The objects of each image, boxes in its pixels; the classes' probabilities are means over the stages."""
        total: Tensor | float = 0.0
        for head, (_, weights) in zip(self.boxes, self.stages, strict=True):
            score, deltas = head(pool(maps, self.config.strides, boxes, PLACES))
            total = total + score.softmax(dim=1) / len(self.stages)
            boxes = _moved(boxes, deltas, weights, sizes)
        counts = [len(each) for each in boxes]
        found = [self._kept(each, shares) for each, shares in zip(boxes, total.split(counts), strict=True)]
        if self.masks is not None:
            read = self.masks(pool(maps, self.config.strides, [each.boxes for each in found], MASK_PLACES))
            for each, shapes in zip(found, read.split([len(each.boxes) for each in found]), strict=True):
                each.masks = shapes[torch.arange(len(shapes), device=shapes.device), each.classes].float().sigmoid()
        return found

    def _kept(self, boxes: Tensor, shares: Tensor) -> Found:
        """boxes: (N, 4); shares: (N, K + 1), probabilities."""
        config = self.config
        rows, classes = torch.where(shares[:, :-1] >= config.score)
        boxes, scores = boxes[rows], shares[rows, classes]
        whole = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        boxes, scores, classes = boxes[whole], scores[whole], classes[whole]
        kept = batched_nms(boxes, scores, classes, config.overlap)[: config.most]
        return Found(boxes[kept], classes[kept], scores[kept])

    def _mask_loss(self, maps: Sequence[Tensor], chosen: Sequence[tuple[Tensor, Tensor]], targets: Sequence) -> Tensor:
        """chosen: per image boxes that count for objects, and which; their masks are held against the object's."""
        boxes = [each for each, _ in chosen]
        read = self.masks(pool(maps, self.config.strides, boxes, MASK_PLACES)).float()
        wanted = [
            masks_on_boxes(target["masks"], each, found, read.shape[-1])
            for (each, found), target in zip(chosen, targets, strict=True)
        ]
        classes = torch.cat([target["classes"][found] for (_, found), target in zip(chosen, targets, strict=True)])
        own = read[torch.arange(len(read), device=read.device), classes]
        return F.binary_cross_entropy_with_logits(own, torch.cat(wanted), reduction="sum") / max(1, own.numel())


def _scaled_gradient(values: Tensor, share: float) -> Tensor:
    """The same values; what goes back to them is this share of it: the stages of a cascade teach the maps as one."""
    return values if share == 1 else values * share + values.detach() * (1 - share)


def masks_on_boxes(masks: Tensor, boxes: Tensor, found: Tensor, size: int) -> Tensor:
    """Masks (M, H, W) uint8 of an image as seen through boxes (N, 4): (N, size, size) of 0 and 1.

    found: (N,) the mask for each box.
    """
    if not len(boxes):
        return boxes.new_zeros(0, size, size)
    rows = torch.cat([found[:, None].to(boxes), boxes], dim=1)
    return (roi_align(masks[:, None].to(boxes), rows, size, 1.0, aligned=True)[:, 0] >= 0.5).to(boxes)


def partial_cross_entropy(scores: Tensor, classes: Tensor, known: Tensor) -> Tensor:
    """The sum over rows of -log of the probability that what is known is so.

    scores: (N, K + 1), of nothing last. classes: (N,), K for nothing. known: (N, K) bool, whether the class is labelled
    where the row is from. Of a row that is nothing, all that is known is that it is no known class.
    """
    nothing = classes == known.shape[1]
    allowed = F.one_hot(classes, scores.shape[1]).bool()
    allowed[:, :-1] |= nothing[:, None] & ~known
    right = scores.masked_fill(~allowed, -torch.inf).logsumexp(dim=1)
    return (scores.logsumexp(dim=1) - right).sum()


def _drawn(boxes: Tensor, target: dict[str, Tensor], overlap: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Some of the boxes, the object of each, and whether they count for it (1) or for nothing (0)."""
    found, kind = assigned(boxes, target, overlap, overlap)
    rows = torch.cat(sampled(kind, count, POSITIVE))
    return boxes[rows], found[rows], kind[rows]


def _all(boxes: Tensor, target: dict[str, Tensor], overlap: float) -> tuple[Tensor, Tensor, Tensor]:
    """The same of all boxes that count: a later stage of a cascade draws none."""
    found, kind = assigned(boxes, target, overlap, overlap)
    rows = torch.where((kind >= 0) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1))[0]
    return boxes[rows], found[rows], kind[rows]


def _box_losses(
    scores: Tensor, deltas: Tensor, drawn: Sequence[tuple], targets: Sequence[dict], weights: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Of one stage: of the classes and of the deltas, both for a row that was drawn."""
    classes, known, goals, objects = [], [], [], []
    for (boxes, found, kind), target in zip(drawn, targets, strict=True):
        label = torch.full_like(found, len(target["known"]))
        label[kind == 1] = target["classes"][found[kind == 1]]
        classes.append(label)
        known.append(target["known"].expand(len(boxes), -1))
        goals.append(encode(boxes[kind == 1], target["boxes"][found[kind == 1]], weights))
        objects.append(kind == 1)
    count = max(1, len(scores))
    named = partial_cross_entropy(scores, torch.cat(classes), torch.cat(known)) / count
    moved = (deltas[torch.cat(objects)] - torch.cat(goals)).abs().sum() / count
    return named, moved


def _moved(
    boxes: Sequence[Tensor], deltas: Tensor, weights: Sequence[float], sizes: Sequence[tuple[int, int]]
) -> list[Tensor]:
    """Boxes where deltas of all images lead them, within each image."""
    parts = deltas.split([len(each) for each in boxes])
    return [
        clip_boxes_to_image(decode(each, part, weights), size)
        for each, part, size in zip(boxes, parts, sizes, strict=True)
    ]
