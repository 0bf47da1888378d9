"""How many segments there are: clusterings into 2, 3, 4 ... of tokens that are kept already, judged without labels.

A number's score is the mean silhouette (Rousseeuw, 1987), with 1 - cosine as the distance, of the spherical k-means
that makes segments, less what it is by chance: in tokens of a Gaussian with the same mean and covariance. (So does the
gap statistic for another measure; Tibshirani, Walther, Hastie, 2001.) The least number that comes near the best is
chosen.

What several criteria chose from 2 to 20, a number per seed. Colours and gradients of mosaics, pictures of 3, 5, 8 and
12 textures, each seed with its own; of generated scenes (8 classes); of CamVid's training frames (11 classes), all with
window=1:

                                   3          5         8          12        scenes     CamVid
    ours                     10   4   5    6  5  5    9  8  8   12 10 13    15 15  2    5  5  5
    its highest score        15   5   5    9  5  5   14  9 10   20 11 16    15 18 18   11  5  5
    silhouette, highest      13   5   4    8  5  5   15  8  9   14 12 19     2  2  2    2  2  2
    elbow of mean cosines     6   7   6    6  6  5    7  7  8    8  8  8     6  7  8    6  5  6
    stability of halves       2   2   2    7  3  5    2  2  3    3  2  2     3  3  3    2  2  2
    prediction strength       9   3   4    7  6  5    3  2  3    2  2  3     3  3  4    3  5  5
    gap, uniform box         17  12  11   10 13 15    7 18 11    9  9 18    14  4 10    6 14  5
    eigengap                  2   2   2    5  2  2    2  4  2    5  2  2     2  2  2    2  2  2

Stability is the adjusted Rand index of clusterings learned on two halves. What comes near was set on 3, 5 and 8 and on
the last two, before 12 was seen. Where textures are clusters, ours comes nearest to their number over all; where
classes are no clusters, as in the last two, it is a guess, as others are. The elbow is never far off since it hardly
moves from the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.special import stdtrit
from torch import Tensor

from densessl.errors import UserError
from densessl.progress import Report, silent
from densessl.segmentation.features.kept import Features
from densessl.segmentation.kmeans import best_spherical_kmeans
from densessl.segmentation.outputs.plots import png

MOST = 20  # segments that are tried
SAMPLE = 2048  # tokens of a repeat
REPEATS = 4
RESTARTS = 8
ENOUGH = 0.95  # of the best score


@dataclass(frozen=True)
class Sweep:
    """classes: the numbers of segments that were tried, ascending. scores: of each number, one for each repeat."""

    classes: tuple[int, ...]
    scores: tuple[tuple[float, ...], ...]

    @property
    def best(self) -> tuple[float, ...]:
        """The highest score of each number: k-means may end in an optimum that is poor, never in one too good."""
        return tuple(max(each) for each in self.scores)

    @property
    def chosen(self) -> int:
        """The least number that is about as good as the best."""
        enough = ENOUGH * max(self.best)
        return next((k for k, best in zip(self.classes, self.best, strict=True) if best >= enough), self.classes[0])

    @property
    def rivals(self) -> tuple[int, ...]:
        """Numbers that fit as well as the chosen one as far as the repeats can tell, its neighbours left out.

        Every repeat tries all numbers on a sample of its own. A number is behind where the chosen one's score less its
        own is above 0 by a t-test over the repeats (one-sided, 5 %); of one repeat nothing can be told.
        """
        if len(self.scores[0]) < 2:
            return ()
        lead = torch.tensor(self.scores[self.classes.index(self.chosen)]) - torch.tensor(self.scores)  # (k, repeat)
        noise = lead.std(dim=1) / lead.shape[1] ** 0.5
        behind = lead.mean(dim=1) > stdtrit(lead.shape[1] - 1, 0.95) * noise
        beside = torch.tensor([abs(each - self.chosen) <= 1 for each in self.classes])
        return tuple(each for each, out in zip(self.classes, behind | beside, strict=True) if not out)

    @property
    def doubt(self) -> str:
        """What speaks against the chosen number, as a sentence; empty where nothing does."""
        if max(self.best) <= 0:
            return f"No number fits better than it does by chance, so that {self.chosen} says nothing: choose one."
        told = []
        if self.rivals:
            told.append(
                f"{self.chosen} is no clear choice: {_ranges(self.rivals)} would do as well, as far as "
                f"{len(self.scores[0])} samples of the places can tell."
            )
        if self.best[-1] > max(self.best[:-1], default=0.0):
            told.append(f"The curve still rises at {self.classes[-1]}: more may fit better, by --classes.")
        return " ".join(told)

    def rows(self) -> list[dict[str, float]]:
        """The curve, for a table or JSON: number of segments, best score, and the least of the repeats."""
        return [
            {"classes": k, "score": max(each), "least": min(each)}
            for k, each in zip(self.classes, self.scores, strict=True)
        ]

    def picture(self) -> bytes:
        """PNG of the curve: the best of the repeats, a band down to the least, and a line at the chosen number."""
        figure = Figure(figsize=(5.6, 3.8), layout="constrained")
        axes = figure.subplots()
        axes.plot(self.classes, self.best, marker="o", markersize=4)
        axes.fill_between(self.classes, [min(each) for each in self.scores], self.best, alpha=0.2, linewidth=0)
        axes.axvline(self.chosen, color="0.5", linestyle=":", label=f"chosen: {self.chosen}")
        axes.set(xlabel="segments", ylabel="silhouette above chance")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="best", fontsize=8, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        return png(figure)


def sweep(
    features: Features,
    most: int = MOST,
    seed: int = 0,
    progress: Report = silent,
    codes: Callable[[Tensor], Tensor] | None = None,
) -> Sweep:
    """Try 2 to `most` segments on these features; no picture is read and no backbone runs.

    Each repeat clusters a sample of its own, as many tokens from each picture, some 2,048 in all; the same seed gives
    the same curve. codes: from tokens (T, C) to what is clustered in their place, (T, D) on the CPU. Raises `UserError`
    when there are too few tokens or pictures to choose from.
    """
    check_choice(features, most)
    generator = torch.Generator().manual_seed(seed)
    scores: list[list[float]] = []
    for repeat in range(REPEATS):
        points = features.sampled(_share(features), generator, codes)
        numbers = range(2, most + 1)
        found, done = [], repeat * len(numbers)
        for each in curve(points, numbers, generator, RESTARTS):
            found.append(each)
            note = f"sample {repeat + 1} of {REPEATS}"
            progress("Trying numbers of segments", done + len(found), REPEATS * len(numbers), note)
        # Where there is nothing to find, one start is as good as another.
        chance = curve(unclustered(points, SAMPLE, generator), numbers, generator, 1)
        scores.append([one - other for one, other in zip(found, chance, strict=True)])
    return Sweep(tuple(range(2, most + 1)), tuple(zip(*scores, strict=True)))


def check_choice(features: Features, most: int = MOST) -> None:
    """Raise `UserError` where there is nothing to choose, or too little to choose from."""
    if most < 2:
        raise UserError(f"At most {most} segments are no choice: give 2 or more.")
    places = sum(min(_share(features), height * width) for height, width in features.shapes)
    # A cluster of one token has no silhouette to speak of.
    if places < 2 * most:
        raise UserError(
            f"{places} places are too few to choose from 2 to {most} segments: give the number with --classes, or more "
            "pictures, or a larger image_size."
        )


def _share(features: Features) -> int:
    return -(-SAMPLE // features.looked_at)


def unclustered(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Unit points (count, D) of the Gaussian that has the mean and the covariance of `points` (N, D)."""
    mean = points.mean(dim=0)
    variances, axes = torch.linalg.eigh(torch.cov(points.T, correction=0))
    spread = torch.randn(count, len(mean), generator=generator).to(points) * variances.clamp(min=0).sqrt()
    return F.normalize(mean + spread @ axes.T, dim=1)


def curve(points: Tensor, classes: Iterable[int], generator: torch.Generator, restarts: int) -> Iterator[float]:
    """The mean silhouette of the unit points (N, D) in each of these numbers of clusters, one after another."""
    for each in classes:
        centres = best_spherical_kmeans(points, each, generator, restarts)[0]
        yield float(silhouette(points, (points @ centres.T).argmax(dim=1)).mean())


def _ranges(numbers: Sequence[int]) -> str:
    """(2, 5, 6, 7) -> "2 and 5 to 7"."""
    runs: list[list[int]] = []
    for each in numbers:
        if runs and each == runs[-1][-1] + 1:
            runs[-1].append(each)
        else:
            runs.append([each])
    told = [f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def silhouette(points: Tensor, assigned: Tensor) -> Tensor:
    """(N,) from -1 to 1, of unit points (N, D) in clusters (N,) int64, with 1 - cosine as the distance.

    (b - a) / max(a, b) with a the mean distance to the other points of the same cluster and b that to the points of the
    nearest other one; 0 for a point that is alone. The mean distance to some unit points is 1 minus the product with
    their mean, so that no pair is ever looked at.
    """
    numbers, assigned = assigned.unique(return_inverse=True)
    if len(numbers) < 2:
        return points.new_zeros(len(points))
    counts = torch.bincount(assigned).to(points)
    sums = points.new_zeros(len(numbers), points.shape[1]).index_add_(0, assigned, points)
    products, own = points @ sums.T, assigned[:, None]
    itself = points.square().sum(dim=1)
    # Below 0 is rounding, where points coincide.
    inside = (1 - (products.gather(1, own)[:, 0] - itself) / (counts[assigned] - 1).clamp(min=1)).clamp(min=0)
    outside = (1 - products / counts).clamp(min=0).scatter(1, own, torch.inf).amin(dim=1)
    found = (outside - inside) / torch.maximum(outside, inside).clamp(min=1e-12)
    return torch.where(counts[assigned] > 1, found, 0)
