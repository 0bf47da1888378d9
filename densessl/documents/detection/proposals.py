"""Where objects may lie: a region proposal network (Faster R-CNN, arXiv 1506.01497, section 3.1) for pages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms

from densessl.documents.detection.boxes import anchors, assigned, clipped, decode, encode, padded, picked, sampled
from densessl.documents.detection.config import DetectorConfig

HIGH, LOW = 0.5, 0.3  # IoU from which on an anchor counts for an object, and below which it is none
POSITIVE = 0.5  # of the anchors in the loss, at most
OVERLAP = 0.7  # proposals of one map that overlap by more than this IoU are one
BETA = 1 / 9  # where the loss of deltas changes from square to linear
PLAIN = (1.0, 1.0, 1.0, 1.0)  # weights of deltas


class Proposals(nn.Module):
    """Maps -> boxes that may hold an object of any class, and the losses of how well that is told."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        count = len(config.sides) * len(config.ratios)
        self.conv = nn.Conv2d(config.channels, config.channels, 3, padding=1)
        self.objectness = nn.Conv2d(config.channels, count, 1)
        self.deltas = nn.Conv2d(config.channels, 4 * count, 1)
        for layer in (self.conv, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(
        self, maps: Sequence[Tensor], sizes: Sequence[tuple[int, int]], targets: Sequence[dict[str, Tensor]] | None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Boxes (N, 4) per image, best first, and losses where there are targets; sizes: (h, w) of the images."""
        # Not channels last, for which convolutions to a few channels crash in some kernels of torch 2.14.
        hidden = [F.relu(self.conv(each)).contiguous() for each in maps]
        # In float32 whatever the precision: boxes of 800 px have steps of 4 px in bfloat16.
        scores = [_rows(self.objectness(each), 1)[..., 0].float() for each in hidden]  # (B, N of the map)
        deltas = [_rows(self.deltas(each), 4).float() for each in hidden]  # (B, N of the map, 4)
        shapes = [tuple(each.shape[2:]) for each in maps]
        config = self.config
        places = anchors(shapes, config.strides, config.sides, config.ratios).to(maps[0].device)
        most = config.proposals if targets is None else config.train_proposals
        with torch.no_grad():
            boxes = self._best(scores, deltas, places, sizes, most)
        if targets is None:
            return boxes, {}
        return boxes, self._losses(torch.cat(scores, dim=1), torch.cat(deltas, dim=1), places, targets)

    def _best(
        self, scores: list[Tensor], deltas: list[Tensor], places: Tensor, sizes: Sequence[tuple[int, int]], most: int
    ) -> list[Tensor]:
        """Of each image at most so many boxes (n, 4), best first; those below a pixel, if any, at the end."""
        boxes, values, levels = [], [], []
        start = 0
        for level, (score, delta) in enumerate(zip(scores, deltas, strict=True)):
            value, rows = score.topk(min(2 * most, score.shape[1]))
            boxes.append(decode(places[start + rows], picked(delta, rows), PLAIN))
            values.append(value)
            levels.append(torch.full_like(rows[0], level))
            start += score.shape[1]
        found, level = clipped(torch.cat(boxes, dim=1), sizes), torch.cat(levels)
        whole = ((found[..., 2:] - found[..., :2]) >= 1).all(dim=2)
        value = torch.cat(values, dim=1).masked_fill(~whole, -torch.inf)
        return [each[batched_nms(each, rank, level, OVERLAP)[:most]] for each, rank in zip(found, value, strict=True)]

    def _losses(
        self, scores: Tensor, deltas: Tensor, places: Tensor, targets: Sequence[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """scores: (B, N); deltas: (B, N, 4). Where a class is unknown on a page, what is no object may be one of it:
        the anchors there that count for nothing are left out."""
        pairs = [assigned(places, target, HIGH, LOW, each_once=True) for target in targets]
        found, kind = (torch.stack(part) for part in zip(*pairs, strict=True))
        unknown = ~torch.stack([target["known"] for target in targets]).all(dim=1)
        kind = kind.masked_fill((kind == 0) & unknown[:, None], -1)
        rows, drawn = sampled(kind, self.config.anchors, POSITIVE)
        objects = drawn & (kind.gather(1, rows) == 1)
        score = scores.gather(1, rows)
        telling = F.binary_cross_entropy_with_logits(score, objects.to(score.dtype), reduction="none")
        wanted = picked(padded([target["boxes"] for target in targets]), found.gather(1, rows))
        goals = encode(places[rows], wanted, PLAIN)
        moving = F.smooth_l1_loss(picked(deltas, rows), goals, beta=BETA, reduction="none").sum(dim=2)
        # Of all that might have been drawn, as detectron2 has it: pages on which few anchors count weigh no more.
        count = len(targets) * self.config.anchors
        return {"objectness": (telling * drawn).sum() / count, "proposals": (moving * objects).sum() / count}


def _rows(values: Tensor, width: int) -> Tensor:
    """(B, A * width, h, w) -> (B, h * w * A, width), in the order of `anchors`."""
    batch, _, height, wide = values.shape
    return values.view(batch, -1, width, height, wide).permute(0, 3, 4, 1, 2).reshape(batch, -1, width)
