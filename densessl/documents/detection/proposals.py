"""Where objects may lie: a region proposal network (Faster R-CNN, arXiv 1506.01497, section 3.1) for pages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms, clip_boxes_to_image

from densessl.documents.detection.boxes import anchors, assigned, decode, encode, sampled
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
        hidden = [F.relu(self.conv(each)) for each in maps]
        # In float32 whatever the precision: boxes of 800 px have steps of 4 px in bfloat16.
        scores = [_rows(self.objectness(each), 1)[..., 0].float() for each in hidden]  # (B, N of the map)
        deltas = [_rows(self.deltas(each), 4).float() for each in hidden]  # (B, N of the map, 4)
        shapes = [tuple(each.shape[2:]) for each in maps]
        config = self.config
        places = anchors(shapes, config.strides, config.sides, config.ratios).to(maps[0].device)
        most = config.proposals if targets is None else config.train_proposals
        with torch.no_grad():
            boxes = [
                self._best([each[place] for each in scores], [each[place] for each in deltas], places, size, most)
                for place, size in enumerate(sizes)
            ]
        if targets is None:
            return boxes, {}
        return boxes, self._losses(torch.cat(scores, dim=1), torch.cat(deltas, dim=1), places, targets)

    def _best(
        self, scores: list[Tensor], deltas: list[Tensor], places: Tensor, size: tuple[int, int], most: int
    ) -> Tensor:
        boxes, values, levels = [], [], []
        start = 0
        for level, (score, delta) in enumerate(zip(scores, deltas, strict=True)):
            value, rows = score.topk(min(2 * most, len(score)))
            boxes.append(decode(places[start + rows], delta[rows], PLAIN))
            values.append(value)
            levels.append(torch.full_like(rows, level))
            start += len(score)
        found = clip_boxes_to_image(torch.cat(boxes), size)
        value, level = torch.cat(values), torch.cat(levels)
        whole = ((found[:, 2:] - found[:, :2]) >= 1).all(dim=1)
        found, value, level = found[whole], value[whole], level[whole]
        return found[batched_nms(found, value, level, OVERLAP)[:most]]

    def _losses(
        self, scores: Tensor, deltas: Tensor, places: Tensor, targets: Sequence[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """scores: (B, N); deltas: (B, N, 4). Where a class is unknown on a page, what is no object may be one of it:
        the anchors there that count for nothing are left out."""
        telling, moving = [], []
        for score, delta, target in zip(scores, deltas, targets, strict=True):
            found, kind = assigned(places, target, HIGH, LOW, each_once=True)
            if not target["known"].all():
                kind[kind == 0] = -1
            objects, rest = sampled(kind, self.config.anchors, POSITIVE)
            rows = torch.cat([objects, rest])
            wanted = (kind[rows] == 1).to(score.dtype)
            telling.append(F.binary_cross_entropy_with_logits(score[rows], wanted, reduction="sum"))
            goal = encode(places[objects], target["boxes"][found[objects]], PLAIN)
            moving.append(F.smooth_l1_loss(delta[objects], goal, beta=BETA, reduction="sum"))
        # Of all that might have been drawn, as detectron2 has it: pages on which few anchors count weigh no more.
        count = len(targets) * self.config.anchors
        return {"objectness": sum(telling) / count, "proposals": sum(moving) / count}


def _rows(values: Tensor, width: int) -> Tensor:
    """(B, A * width, h, w) -> (B, h * w * A, width), in the order of `anchors`."""
    batch, _, height, wide = values.shape
    return values.view(batch, -1, width, height, wide).permute(0, 3, 4, 1, 2).reshape(batch, -1, width)
