"""A set of label maps that is judged one way, and what the masks of a model are worth on it.

Both ways are described in `densessl.evaluation.segments`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from densessl.evaluation.cooccurrence import Pairs, across, sample_places, within
from densessl.evaluation.segmentation import confusion_matrix, hungarian, segmentation_scores
from densessl.progress import Report
from densessl.segmentation.features import Features
from densessl.segmentation.model import Segmenter
from densessl.segmentation.predict import Refinement, mask
from densessl.segmentation.sets import LabelledImages

PLACES = 100  # of an image, whose pairs are counted
PARTNERS = 5  # other images that an image's places are compared with
PICTURED = 4  # images whose masks are kept
POLICIES = {
    "honest": {"absent": "all", "unmatched": "wrong"},
    "official": {"absent": "official", "unmatched": "out"},
}


@dataclass
class Judged:
    """The set that is judged one way: its features, of mirrored pictures too where codes are averaged with theirs."""

    way: str
    labelled: LabelledImages
    kept: Features
    mirrored: Features | None = None

    def truth(self, row: int) -> np.ndarray:
        return self.labelled.labels(self.kept.indices[row])

    @torch.inference_mode()
    def codes(self, model: Segmenter | None, row: int) -> Tensor:
        """(h * w, D) of an image: what the model makes of its tokens, or the tokens."""
        if model is None:
            return self.kept.tokens(row)
        codes = model.codes(self.kept.tokens(row).to(model.centres.device))
        if self.mirrored is None:
            return codes
        turned = model.codes(self.mirrored.tokens(row).to(codes)).unflatten(0, self.kept.shapes[row])
        return (codes + turned.flip(1).flatten(0, 1)) / 2

    def scores(self, confusion: np.ndarray, named: bool = False) -> dict[str, float]:
        """mIoU and accuracy of a confusion matrix (segments, classes); named: segment i is class i, none is matched."""
        assignment = np.arange(len(confusion)) if named else None
        found = segmentation_scores(confusion, assignment, **POLICIES[self.way])
        return {"miou": found.miou, "accuracy": found.accuracy}

    def confusion(
        self, model: Segmenter, refinement: Refinement | None, progress: Report, title: str
    ) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """(segments, classes) pixels of all images that are judged, and the masks of some, by index."""
        total = np.zeros((model.classes, len(self.labelled.classes)), dtype=np.int64)
        of_codes = model.of_codes()
        count, masks = len(self.kept), {}
        shown = set(np.linspace(0, count - 1, min(PICTURED, count)).astype(int).tolist())
        for row in range(count):
            truth, index = self.truth(row), self.kept.indices[row]
            image = self.labelled.source.read(index) if refinement else None
            codes = self.codes(model, row)
            found = mask(of_codes, codes, self.kept.shapes[row], truth.shape, image, refinement)
            total += confusion_matrix(found, truth, *total.shape)
            if row in shown:
                masks[index] = found
            progress(f"Masks, {title}", row + 1, count, refinement.method if refinement else "")
        return total, masks

    def commonest(self) -> dict[str, float]:
        """The scores of one segment that is everything."""
        classes = len(self.labelled.classes)
        truths = (self.truth(row) for row in range(len(self.kept)))
        return self.scores(sum(np.bincount(truth[truth >= 0], minlength=classes) for truth in truths)[None])

    def pairs(self, model: Segmenter | None, seed: int) -> dict[str, Pairs]:
        """Pairs of places within images and across, by the features or a model's codes; the same places for both."""
        generator = torch.Generator().manual_seed(seed)
        places, found = [], {"within images": Pairs(), "across images": Pairs()}
        for row in range(len(self.kept)):
            map_ = self.codes(model, row).float().cpu().T.unflatten(1, self.kept.shapes[row])
            places.append(sample_places(map_, self.truth(row), PLACES, generator))
        for row, (features, labels) in enumerate(places):
            within(found["within images"], features, labels)
            for partner in (torch.randperm(len(places) - 1, generator=generator)[:PARTNERS] + row + 1) % len(places):
                across(found["across images"], features, labels, *places[int(partner)])
        return found


def as_classes(masks: dict[int, np.ndarray], confusion: np.ndarray, named: bool) -> dict[int, np.ndarray]:
    """Segments as the classes that they are matched to; those of none become a number above all classes."""
    if named:
        return masks
    assignment = hungarian(confusion)
    assignment = np.where(assignment < 0, confusion.shape[1], assignment)
    return {row: assignment[labels] for row, labels in masks.items()}


def precisions(found: dict[str, Pairs]) -> dict[str, float]:
    """Average precision of each kind of pairs, beside what an order that knows nothing would have."""
    figures = {}
    for kind, pairs in found.items():
        figures |= {f"ap_{kind.split()[0]}": pairs.average_precision, f"chance_{kind.split()[0]}": pairs.chance}
    return figures


def over_runs(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure, and its deviation where there are several runs."""
    found = {}
    for key in runs[0]:
        values = [run[key] for run in runs]
        found[key] = statistics.fmean(values)
        if len(values) > 1 and not key.startswith("chance"):
            found[f"{key}_deviation"] = statistics.stdev(values)
    return found
