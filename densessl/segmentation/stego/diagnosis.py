"""What STEGO's weights and shifts do on the pictures at hand: pairs of places, before and after training.

For each kind of pair (a picture with itself, with a near neighbour, with another picture of the batch), over a few
batches: the cosines of the features, without the mean over the pictures where `stego.centre` takes it, and as the loss
has them, which centres them once more; the share of pairs that attract, that is lie above the shift; the cosines of the
codes that were learned. As the paper's author advises (github.com/mhamilton723/STEGO/issues/23), codes of random pairs
should mostly be near 0 or below, as of different things, and part of those within a picture and with its neighbours
near 1. What is wrong, and what to change, is said by `densessl.segmentation.stego.verdict`.
"""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

from densessl.files import write_bytes, write_text
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.correspondence import feature_correspondence, target_correspondence
from densessl.segmentation.features.kept import Features
from densessl.segmentation.outputs.plots import png
from densessl.segmentation.stego.head import StegoHead
from densessl.segmentation.stego.train import Trainer
from densessl.segmentation.stego.verdict import Verdict, judge

BATCHES = 4
LIMIT, BINS = 2.0, 200  # histograms from -2 to 2: centred cosines may leave the range of a cosine
ALIKE = 0.5  # cosine of codes that are more one than two
APART, SAME = 0.2, 0.8  # codes "near 0" (or below, which the loss does not see) and "near 1"
ATTRACTS, REPELS, LINE, INK = "#2a78b5", "#c9cdd2", "#e08a2e", "#26282e"
FILE = "correspondences"  # .png and .json in the run's folder
TITLES = {
    "pos_intra": "a picture with itself",
    "pos_inter": "a picture with a near neighbour",
    "neg_inter": "a picture with any other",
}


@dataclass
class Kind:
    """Pairs of places of one kind, counted.

    name: "pos_intra", "pos_inter" or "neg_inter", with the weight and the shift of that name.
    raw, target, codes: (BINS,) pairs by the cosine of their features, by the same as the loss has it (centred, if it
        centres), and by the cosine of their codes; ends hold what lies beyond.
    attracting: pairs above the shift. alike: pairs whose codes have a cosine above `ALIKE`; both: of the attracting.
    apart, same: pairs whose codes are near 0 or below, and near 1. totals: sums of raw, target and codes.
    """

    name: str
    weight: float
    shift: float
    raw: np.ndarray = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    target: np.ndarray = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    codes: np.ndarray = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    attracting: int = 0
    alike: int = 0
    both: int = 0
    apart: int = 0
    same: int = 0
    totals: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def add(self, raw: Tensor, target: Tensor, codes: Tensor) -> None:
        """Count pairs, by their three cosines of one shape."""
        for histogram, values in ((self.raw, raw), (self.target, target), (self.codes, codes)):
            # A cosine of 1 belongs below the edge there, whichever way it is rounded.
            place = ((values - 1e-6 + LIMIT) * (BINS / (2 * LIMIT))).long().clamp(0, BINS - 1)
            histogram += torch.bincount(place.flatten(), minlength=BINS).cpu().numpy()
        attracts, alike = target > self.shift, codes > ALIKE
        self.attracting += int(attracts.sum())
        self.alike += int(alike.sum())
        self.both += int((attracts & alike).sum())
        self.apart += int((codes < APART).sum())
        self.same += int((codes > SAME).sum())
        self.totals += [float(values.double().sum()) for values in (raw, target, codes)]

    @property
    def pairs(self) -> int:
        return int(self.codes.sum())

    @property
    def attract(self) -> float:
        """Share of the pairs that attract."""
        return self.attracting / self.pairs

    @property
    def share_alike(self) -> float:
        """Share of the pairs with alike codes."""
        return self.alike / self.pairs

    @property
    def followed(self) -> tuple[float, float]:
        """Share with alike codes of the pairs that attract, and of those that repel; 0 where there are none."""
        repelling = self.pairs - self.attracting
        return self.both / max(1, self.attracting), (self.alike - self.both) / max(1, repelling)

    def above(self, threshold: float) -> float:
        """Share of the pairs whose features, as the loss has them, exceed a threshold; even within a bin."""
        counted = np.concatenate([[0], self.target.cumsum()]) / self.pairs
        return float(1 - np.interp(threshold, edges(), counted))

    def threshold(self, share: float) -> float:
        """The cosine that this share of the pairs exceeds; the inverse of `above`."""
        counted = np.concatenate([[0], self.target.cumsum()]) / self.pairs
        # Where it is flat no pair lies: any value has the same share.
        rising = np.concatenate([[True], np.diff(counted) > 0])
        return float(np.interp(1 - share, counted[rising], edges()[rising]))

    def record(self) -> dict:
        """For JSON."""
        attracted, repelled = self.followed
        means = dict(zip(("features", "target", "codes"), (self.totals / self.pairs).tolist(), strict=True))
        return {
            "weight": self.weight,
            "shift": self.shift,
            "pairs": self.pairs,
            "attract": self.attract,
            "codes_alike": self.share_alike,
            "codes_alike_of_attracting": attracted,
            "codes_alike_of_repelling": repelled,
            "codes_near_0_or_below": self.apart / self.pairs,
            "codes_near_1": self.same / self.pairs,
            "means": means,
            "histograms": {"features": self.raw.tolist(), "target": self.target.tolist(), "codes": self.codes.tolist()},
        }


def edges() -> np.ndarray:
    """(BINS + 1,) of the histograms."""
    return np.linspace(-LIMIT, LIMIT, BINS + 1)


@torch.no_grad()
def measure(
    features: Features, head: StegoHead, config: SegmentConfig, device: str = "cpu", steps: int = BATCHES
) -> list[Kind]:
    """The kinds of pairs that training compares, with the codes of this head, over the batches of some steps.

    Batches and places are drawn as training draws them, from the same seed; no channel is dropped.
    """
    config = dataclasses.replace(config, stego=dataclasses.replace(config.stego, clusters="kmeans"))
    trainer = Trainer(features, config, torch.Generator().manual_seed(config.seed), device)
    trainer.head = head.eval()
    kinds: dict[str, Kind] = {}
    for anchors in islice(trainer.order(), steps):
        tokens, layout = features.batch(anchors.tolist())
        tokens = tokens.to(device)
        for each in trainer.compared(anchors, tokens, layout, head(tokens)):
            if each.kind not in kinds:
                weight, shift = (getattr(config.stego, f"{each.kind}_{what}") for what in ("weight", "shift"))
                kinds[each.kind] = Kind(each.kind, weight, shift)
            target = target_correspondence(each.f, each.g, config.stego.pointwise)
            codes = feature_correspondence(each.s, each.t)
            kinds[each.kind].add(feature_correspondence(each.f, each.g), target, codes)
    return list(kinds.values())


def write_diagnosis(
    folder: Path, features: Features, head: StegoHead, config: SegmentConfig, device: str = "cpu"
) -> Verdict:
    """Measure, and write `correspondences.json` and `correspondences.png` into the folder."""
    kinds = measure(features, head, config, device)
    verdict = judge(kinds, config.classes)
    record = {
        "verdict": list(verdict.sentences),
        "state": verdict.state,
        "change": verdict.change,
        "effective_shift": verdict.effective_shift,
        "kinds": {kind.name: kind.record() for kind in kinds},
        "edges": [round(each, 6) for each in edges().tolist()],
    }
    write_text(folder / f"{FILE}.json", json.dumps(record))
    write_bytes(folder / f"{FILE}.png", picture(kinds, verdict))
    return verdict


def read_verdict(folder: Path) -> str:
    """The first sentence of what `write_diagnosis` wrote into this folder; empty where it did not."""
    try:
        return json.loads((folder / f"{FILE}.json").read_text(encoding="utf-8"))["verdict"][0]
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def picture(kinds: Sequence[Kind], verdict: Verdict) -> bytes:
    """PNG: above, the features' cosines of each kind with the shifts; below, those of the codes; the verdict on top."""
    figure = Figure(figsize=(4.2 * max(2, len(kinds)), 6.6), layout="constrained")
    grid = figure.subplots(2, max(2, len(kinds)), squeeze=False, sharex="row", sharey="row")
    for column, kind in enumerate(kinds):
        _draw_features(grid[0, column], kind, verdict)
        _draw_codes(grid[1, column], kind)
    for unused in grid[:, len(kinds) :].flat:
        unused.axis("off")
    for row in grid:
        row[0].set(ylabel="pairs", ylim=(0, 1.18 * row[0].get_ylim()[1]))
    grid[0, 0].legend(loc="upper left", fontsize=8, frameon=False)
    first = verdict.sentences[0]
    figure.suptitle("\n".join(textwrap.wrap(first, 36 * max(2, len(kinds)))), x=0.01, ha="left", fontsize=12)
    return png(figure)


def _draw_features(axes: Axes, kind: Kind, verdict: Verdict) -> None:
    _fill(axes, kind.target / kind.pairs, kind.shift)
    axes.stairs(kind.raw / kind.pairs, edges(), color=LINE, linewidth=0.9, label="before centring")
    axes.axvline(kind.shift, color=INK, linewidth=1.4, label="shift")
    if verdict.effective_shift is not None:
        axes.axvline(verdict.effective_shift, color=INK, linewidth=1.2, linestyle=":", label="effective shift of all")
    axes.set(title=TITLES[kind.name], xlabel="cosine of features, as the loss has it", xlim=(-1.05, 1.25))
    _finish(axes, f"{kind.attract:.0%} attract")


def _draw_codes(axes: Axes, kind: Kind) -> None:
    _fill(axes, kind.codes / kind.pairs, ALIKE)
    axes.set(xlabel="cosine of codes", xlim=(-1.05, 1.05))
    _finish(axes, f"{kind.share_alike:.0%} alike")


def _fill(axes: Axes, shares: np.ndarray, threshold: float) -> None:
    """A histogram in two colours, of the bins below a cosine and of those above."""
    above = (edges()[:-1] + edges()[1:]) / 2 > threshold
    for chosen, colour in ((~above, REPELS), (above, ATTRACTS)):
        axes.stairs(np.where(chosen, shares, 0), edges(), fill=True, color=colour)


def _finish(axes: Axes, share: str) -> None:
    axes.text(0.98, 0.97, share, color=ATTRACTS, transform=axes.transAxes, ha="right", va="top", fontsize=11)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5], integer=False))
    axes.spines[["top", "right"]].set_visible(False)
