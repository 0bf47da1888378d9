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

from densessl.documents.detection.boxes import assigned, clipped, decode, encode, padded, picked, pool, sampled
from densessl.documents.detection.config import DetectorConfig

# Of each stage: IoU from which on a box counts for an object, and the weights of its deltas.
FASTER = ((0.5, (10.0, 10.0, 5.0, 5.0)),)
CASCADE = (*FASTER, (0.6, (20.0, 20.0, 10.0, 10.0)), (0.7, (30.0, 30.0, 15.0, 15.0)))
POSITIVE = 0.25  # of the boxes in the loss, at most
PLACES, MASK_PLACES = 7, 14  # sides of what is read from the maps for a box, and for a mask


@dataclass
class Found:
    """Of one image: boxes (n, 4), classes (n,) int64, scores (n,), best first; masks (n, 28, 28) of the boxes, in
    [0, 1], where there is a mask head. runners_up: the most probable of the other classes, and how probable it is, (n,)
    each, where the detector tells."""

    boxes: Tensor
    classes: Tensor
    scores: Tensor
    masks: Tensor | None = None
    runners_up: tuple[Tensor, Tensor] | None = None


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
        given = [torch.cat([each, target["boxes"]]) for each, target in zip(boxes, targets, strict=True)]
        goals, classes = padded([target["boxes"] for target in targets]), padded([t["classes"] for t in targets])
        known = torch.stack([target["known"] for target in targets])
        found, kind = _assigned(given, targets, self.stages[0][0])
        rows, drawn = sampled(kind, self.config.samples, POSITIVE)
        places, found, kind = picked(padded(given), rows), found.gather(1, rows), kind.gather(1, rows)
        losses: dict[str, Tensor] = {}
        for number, (head, (overlap, weights)) in enumerate(zip(self.boxes, self.stages, strict=True)):
            if number:
                found, kind = _assigned(places, targets, overlap)
                # A later stage of a cascade draws none: all boxes count that a stage before had and that are boxes.
                drawn = drawn & (kind >= 0) & (places[..., 2:] > places[..., :2]).all(dim=2)
            objects = drawn & (kind == 1)
            if not number:
                chosen = objects, places, found
            read = pool(maps, self.config.strides, list(places), PLACES)
            score, deltas = head(_scaled_gradient(read, 1 / len(self.stages)))
            count = drawn.sum().clamp(min=1)
            label = torch.where(objects, classes.gather(1, found), known.shape[1])
            named = partial_cross_entropy(score.unflatten(0, drawn.shape), label, known[:, None])
            deltas = deltas.unflatten(0, drawn.shape)
            moved = (deltas - encode(places, picked(goals, found), weights)).abs().sum(dim=2)
            losses |= {
                f"class_{number}": (named * drawn).sum() / count,
                f"box_{number}": (moved * objects).sum() / count,
            }
            if number + 1 < len(self.stages):
                places = clipped(decode(places, deltas.detach(), weights), sizes)
        if self.masks is not None:
            objects, places, found = chosen
            parts = zip(places, found, objects, strict=True)
            losses["mask"] = self._mask_loss(maps, [(each[on], of[on]) for each, of, on in parts], targets)
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
        whole = (boxes[rows, 2:] > boxes[rows, :2]).all(dim=1)
        rows, classes = rows[whole], classes[whole]
        boxes, scores = boxes[rows], shares[rows, classes]
        kept = batched_nms(boxes, scores, classes, config.overlap)[: config.most]
        rows, classes = rows[kept], classes[kept]
        others = shares[rows, :-1].scatter(1, classes[:, None], 0).max(dim=1)
        return Found(boxes[kept], classes, scores[kept], runners_up=(others.indices, others.values))

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
    """Of each row -log of the probability that what is known is so, (...).

    scores: (..., K + 1), of nothing last. classes: (...), K for nothing. known: (..., K) bool, whether the class is
    labelled where the row is from. Of a row that is nothing, all that is known is that it is no known class.
    """
    nothing = classes == known.shape[-1]
    allowed = F.one_hot(classes, scores.shape[-1]).bool()
    unknown = F.pad(nothing[..., None] & ~known, (0, 1))
    right = scores.masked_fill(~(allowed | unknown), -torch.inf).logsumexp(dim=-1)
    return scores.logsumexp(dim=-1) - right


def _assigned(boxes: Sequence[Tensor] | Tensor, targets: Sequence[dict], overlap: float) -> tuple[Tensor, Tensor]:
    """For the boxes of each image the object that it overlaps most, and what it counts as: `assigned`, both (B, N)."""
    pairs = [assigned(each, target, overlap, overlap) for each, target in zip(boxes, targets, strict=True)]
    found, kind = zip(*pairs, strict=True)
    return padded(found), padded(kind, -1)


def _moved(
    boxes: Sequence[Tensor], deltas: Tensor, weights: Sequence[float], sizes: Sequence[tuple[int, int]]
) -> list[Tensor]:
    """Boxes where deltas of all images lead them, within each image."""
    parts = deltas.split([len(each) for each in boxes])
    return [
        clip_boxes_to_image(decode(each, part, weights), size)
        for each, part, size in zip(boxes, parts, sizes, strict=True)
    ]
