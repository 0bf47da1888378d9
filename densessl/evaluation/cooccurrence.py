"""Do alike features lie on like things? Precision and recall of "these two places have the same label".

STEGO's ground (arXiv 2203.08414, section 3.1 and figure 2): take pairs of places, order them by the cosine of their
features, and see how well that order tells pairs of one class from others; within an image, and across images. The
precision at random is the share of pairs of one class, which differs from set to set: state it beside the figure.

Where we differ from the official script: places without a label are left out, where it has them as a class of their
own; labels are those of single pixels, where it interpolates and rounds towards 0; across images as well as within.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 1 << 14  # of the cosine; average precision then differs from that of all pairs in the fourth decimal


@dataclass
class Pairs:
    """Pairs of places, counted by the cosine of their features.

    same, other: (BINS,) pairs of one label and of two, from cosine -1 to 1.
    """

    same: np.ndarray = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    other: np.ndarray = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))

    def add(self, cosines: Tensor, same: Tensor) -> None:
        """Count pairs; cosines, and bool of the same shape that says whether a pair has one label."""
        place = ((cosines + 1) * (BINS / 2)).long().clamp_(0, BINS - 1)
        self.same += torch.bincount(place[same], minlength=BINS).cpu().numpy()
        self.other += torch.bincount(place[~same], minlength=BINS).cpu().numpy()

    def curve(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Precision, recall and cosine at each threshold that a pair has, from the highest down."""
        found, wrong = self.same[::-1].cumsum(), self.other[::-1].cumsum()
        kept = np.flatnonzero((self.same + self.other)[::-1])
        cosine = np.linspace(-1, 1, BINS + 1)[:-1][::-1]
        found, wrong = found[kept], wrong[kept]
        return found / (found + wrong), found / max(1, found[-1] if len(found) else 0), cosine[kept]

    @property
    def average_precision(self) -> float:
        """The sum over thresholds of the precision times what the recall gains; NaN without pairs of one label."""
        precision, recall, _ = self.curve()
        if not self.same.sum():
            return float("nan")
        return float((np.diff(recall, prepend=0) * precision).sum())

    @property
    def chance(self) -> float:
        """The share of pairs of one label: the average precision of an order that knows nothing."""
        total = int(self.same.sum() + self.other.sum())
        return float(self.same.sum() / total) if total else float("nan")


def sample_places(
    features: Tensor, labels: np.ndarray, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Unit features (n, C) and labels (n,) of at most `count` labelled pixels, drawn without replacement.

    features: (C, h, w), a map of the whole image, interpolated bilinearly to pixels (align_corners=False).
    labels: (H, W) whole numbers, below 0 where there is none.
    """
    places = torch.from_numpy(np.flatnonzero(labels >= 0))
    chosen = places[torch.randperm(len(places), generator=generator)[:count]]
    height, width = labels.shape
    x, y = chosen % width, chosen // width
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=1).to(features)
    found = F.grid_sample(features[None], grid[None, None], padding_mode="border", align_corners=False)
    return F.normalize(found[0, :, 0].T, dim=1), torch.from_numpy(labels.reshape(-1)[chosen.numpy()].astype(np.int64))


def within(pairs: Pairs, features: Tensor, labels: Tensor) -> None:
    """Count each pair of different places of an image once; features (n, C) of length 1, labels (n,)."""
    first, second = torch.triu_indices(len(features), len(features), offset=1)
    pairs.add((features @ features.T)[first, second], labels[first] == labels[second])


def across(pairs: Pairs, features: Tensor, labels: Tensor, others: Tensor, their_labels: Tensor) -> None:
    """Count each place of an image with each of another."""
    pairs.add((features @ others.T).flatten(), (labels[:, None] == their_labels).flatten())
