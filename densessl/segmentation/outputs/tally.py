"""What the masks of a folder hold, counted from its files, so that it is right however often the run was stopped."""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from densessl.files import write_text
from densessl.segmentation.outputs.names import Classes

LOOKED_AT = 256  # pixels of the longest side of a mask in which regions are looked for


@dataclass(frozen=True, order=True)
class Region:
    """A connected part of a segment in a picture.

    share: of the picture. rank: minus the picture's number, so that the first of equals is the greatest. box: left,
    top, right, bottom as shares of the picture's sides. group: of the picture; of each one region is shown.
    """

    share: float
    rank: int
    box: tuple[float, float, float, float]
    group: int = field(default=-1, compare=False)

    @property
    def picture(self) -> int:
        return -self.rank


class Tally:
    """Pixels and pictures per segment and per class, and the largest regions of each segment, one per group.

    crops: how many regions are kept per segment, which is all the memory it takes.
    """

    def __init__(self, classes: Classes, crops: int) -> None:
        self.classes, self.crops, self.table = classes, crops, classes.table()
        self.pixels, self.images = (np.zeros(len(self.table), dtype=np.int64) for _ in range(2))
        self.class_images = np.zeros(len(classes.members), dtype=np.int64)
        self.best: list[list[Region]] = [[] for _ in self.table]

    def add(self, picture: int, labels: np.ndarray, group: int | None = None) -> None:
        """labels: (H, W) segments of this picture. group: of pictures that are alike; None: it is one of its own."""
        counts = np.bincount(labels.reshape(-1), minlength=len(self.pixels))
        self.pixels += counts
        self.images += counts > 0
        self.class_images[np.unique(self.table[counts > 0])] += 1
        if not self.crops:
            return
        scale = min(1.0, LOOKED_AT / max(labels.shape))
        size = [max(1, round(side * scale)) for side in labels.shape[::-1]]
        small = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        for segment, count in enumerate(np.bincount(small.reshape(-1))):
            kept = self.best[segment]
            # All of the segment in this picture would have to be one region to be among the largest.
            if not count or (len(kept) == self.crops and count / small.size < kept[0].share):
                continue
            self._keep(kept, _largest(small == segment, picture, picture if group is None else group))

    def _keep(self, kept: list[Region], region: Region) -> None:
        alike = [each for each in kept if each.group == region.group]
        if alike and alike[0] > region:
            return
        for each in alike:
            kept.remove(each)
            heapq.heapify(kept)
        heapq.heappush(kept, region)
        if len(kept) > self.crops:
            heapq.heappop(kept)

    def regions(self, segment: int) -> list[Region]:
        """The largest regions of a segment, largest first."""
        return sorted(self.best[segment], reverse=True)

    @property
    def shares(self) -> np.ndarray:
        """(K) share of all pixels per segment."""
        return self.pixels / max(1, self.pixels.sum())

    @property
    def class_shares(self) -> np.ndarray:
        return np.array([self.shares[members].sum() for members in self.classes.members])


def _largest(inside: np.ndarray, picture: int, group: int) -> Region:
    _, _, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
    left, top, width, height, area = (int(each) for each in stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()])
    high, wide = inside.shape
    box = (left / wide, top / high, (left + width) / wide, (top + height) / high)
    return Region(area / inside.size, -picture, box, group)


def write_segments(path: Path, tally: Tally, files: dict[str, str]) -> None:
    """Write `segments.json`: per class name, colour, pixels, share, images and segments; the mask of each picture."""
    classes = tally.classes
    rows = zip(classes.members, classes.class_colours, tally.class_shares, tally.class_images, strict=True)
    entries = [
        {
            "index": index,
            "name": classes.names[members[0]],
            "colour": list(colour),
            "pixels": int(tally.pixels[members].sum()),
            "share": round(float(share), 6),
            "images": int(images),
            "segments": members,
        }
        for index, (members, colour, share, images) in enumerate(rows)
    ]
    write_text(path, json.dumps({"classes": entries, "files": files}, indent=1))
