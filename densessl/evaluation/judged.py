"""A set of label maps that is judged one way, and what the masks of a model are worth on it.

Both ways are described in `densessl.evaluation.segments`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from densessl.evaluation.cooccurrence import Pairs, across, sample_places, within
from densessl.evaluation.segmentation import SegmentationScores, confusion_matrix, hungarian, segmentation_scores
from densessl.segmentation.features.kept import MEMORY, Features
from densessl.segmentation.features.tables import Holder
from densessl.segmentation.model import Segmenter
from densessl.segmentation.predict import Refinement, mask
from densessl.segmentation.refinement.specks import without_specks
from densessl.segmentation.sets import LabelledImages
from densessl.segmentation.spectral import spectral_tokens

if TYPE_CHECKING:
    from densessl.evaluation.candidates import Candidate

PLACES = 100  # of an image, whose pairs are counted
PARTNERS = 5  # other images that an image's places are compared with
POLICIES = {
    "honest": {"absent": "all", "unmatched": "wrong"},
    "official": {"absent": "official", "unmatched": "out"},
}


@dataclass
class Masks:
    """Of one model, refined one way: (segments, classes) pixels of all images, and the masks of some, by index."""

    confusion: np.ndarray
    shown: dict[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def none(cls, segments: int, classes: int) -> Masks:
        return cls(np.zeros((segments, classes), dtype=np.int64))

    def as_classes(self, named: bool) -> dict[int, np.ndarray]:
        """Segments as the classes that they are matched to; those of none become a number above all classes."""
        if named:
            return self.shown
        assignment = hungarian(self.confusion)
        assignment = np.where(assignment < 0, self.confusion.shape[1], assignment)
        return {index: assignment[labels] for index, labels in self.shown.items()}


@dataclass
class Judged:
    """The set that is judged one way: its features, of mirrored pictures too where codes are averaged with theirs.

    key: of all that these features and the labels depend on. least: the pixels that a connected part of a mask of this
    size (H, W) must have; see `without_specks`.
    """

    way: str
    labelled: LabelledImages
    kept: Features
    mirrored: Features | None = None
    key: str = ""
    least: Callable[[tuple[int, int]], int] = lambda size: 0

    def truth(self, row: int) -> np.ndarray:
        return self.labelled.labels(self.kept.indices[row])

    @torch.inference_mode()
    def codes(self, model: Segmenter | None, row: int, spectral: tuple[np.ndarray, int] | None = None) -> Tensor:
        """(h * w, D) of an image: what the model makes of its tokens, or the tokens.

        spectral: the image and a seed, where the tokens are joined into segments of the image first.
        """
        shape, tokens = self.kept.shapes[row], self.kept.tokens(row)
        if model is None:
            return tokens
        if spectral:
            image, seed = spectral
            tokens = spectral_tokens(tokens, shape, image, seed=seed)
        codes = model.codes(tokens.to(model.centres.device))
        if self.mirrored is None:
            return codes
        tokens = self.mirrored.tokens(row)
        if spectral:
            tokens = spectral_tokens(tokens, shape, np.ascontiguousarray(image[:, ::-1]), seed=seed)
        turned = model.codes(tokens.to(codes)).unflatten(0, shape)
        return (codes + turned.flip(1).flatten(0, 1)) / 2

    def scores(self, confusion: np.ndarray, named: bool = False) -> dict[str, float]:
        """mIoU and accuracy of a confusion matrix (segments, classes); named: segment i is class i, none is matched."""
        found = self._scored(confusion, named)
        return {"miou": found.miou, "accuracy": found.accuracy}

    def per_class(self, confusion: np.ndarray, named: bool = False) -> np.ndarray:
        """(classes,) the IoU of each, whose mean is mIoU; NaN for one that the way of judging leaves out."""
        return self._scored(confusion, named).iou

    def _scored(self, confusion: np.ndarray, named: bool) -> SegmentationScores:
        if self.way == "official":
            confusion = confusion[: confusion.shape[1]]
        assignment = np.arange(len(confusion)) if named else None
        return segmentation_scores(confusion, assignment, **POLICIES[self.way])

    def judge(
        self,
        candidates: Sequence[Candidate],
        refinements: Mapping[str, Refinement | None],
        pictured: Collection[int],
        report: Callable[[int, int, str], None] = lambda *told: None,
        rows: Sequence[int] | None = None,
    ) -> dict[tuple[str, str], Masks]:
        """The masks of all candidates, by title and refinement: each image is read once for all of them, and so are its
        labels; its lattice is made once.

        pictured: images whose masks are kept. report: told the images done, of how many. rows: of the
        features; None for all.
        """
        size, found = len(self.labelled.classes), {}
        for each, name in product(candidates, refinements):
            found[each.title, name] = Masks.none(each.model.classes, size)
        if not found:
            return found
        refinement = next(filter(None, refinements.values()), None)
        for row in range(len(self.kept)) if rows is None else rows:
            index = self.kept.indices[row]
            truth, image, guide = self.truth(row), None, None
            if refinement or any(each.spectral is not None for each in candidates):
                image = self.labelled.source.read(index)
            for each in candidates:
                codes = self.codes(each.model, row, None if each.spectral is None else (image, each.spectral))
                if refinement and guide is None:
                    guide = refinement.guide(image, codes.device, self.kept.shapes[row])
                for name, refine in refinements.items():
                    labels = mask(each.model.of_codes(), codes, self.kept.shapes[row], truth.shape, guide, refine)
                    labels = without_specks(labels, self.least(truth.shape))
                    masks = found[each.title, name]
                    masks.confusion += confusion_matrix(labels, truth, *masks.confusion.shape)
                    if index in pictured:
                        masks.shown[index] = labels
            report(row + 1, len(self.kept), "")
        return found

    def commonest(self) -> dict[str, float]:
        """The scores of one segment that is everything."""
        classes = len(self.labelled.classes)
        truths = (self.truth(row) for row in range(len(self.kept)))
        return self.scores(sum(np.bincount(truth[truth >= 0], minlength=classes) for truth in truths)[None])

    def pairs(
        self,
        model: Segmenter | None,
        seed: int,
        report: Callable[[int, int, str], None] = lambda *told: None,
        memory: int = MEMORY,
    ) -> dict[str, Pairs]:
        """Pairs of places within images and across, by the features or a model's codes; the same places for both.

        report: told the images done, of how many. memory: bytes of the places' vectors; more lie in a file.
        """
        generator, holder = torch.Generator().manual_seed(seed), Holder(None, memory)
        places, found = [], {"within images": Pairs(), "across images": Pairs()}
        count = len(self.kept)
        for row in range(count):
            map_ = self.codes(model, row).float().cpu().T.unflatten(1, self.kept.shapes[row])
            vectors, labels = sample_places(map_, self.truth(row), PLACES, generator)
            within(found["within images"], vectors, labels)
            places.append((holder.hold(np.ascontiguousarray(vectors)), labels))
            report(row + 1, count, "")

        def held(row: int) -> tuple[Tensor, Tensor]:
            vectors, labels = places[row]
            return torch.from_numpy(np.array(vectors)), labels

        for row in range(count):
            own = held(row)
            for partner in (torch.randperm(count - 1, generator=generator)[:PARTNERS] + row + 1) % count:
                across(found["across images"], *own, *held(int(partner)))
        return found


def precisions(found: dict[str, Pairs]) -> dict[str, float]:
    """Average precision of each kind of pairs, beside what an order that knows nothing would have."""
    figures = {}
    for kind, pairs in found.items():
        if not (pairs.same.any() or pairs.other.any()):
            continue  # one image has no pairs with others
        figures |= {f"ap_{kind.split()[0]}": pairs.average_precision, f"chance_{kind.split()[0]}": pairs.chance}
    return figures


def mean_of_classes(runs: Sequence[np.ndarray], classes: Sequence[str]) -> dict[str, float]:
    """The mean IoU of each class by its name, over the runs (classes,) that do not leave it out; NaN where all do."""
    counts = np.isfinite(runs).sum(0)
    means = np.where(counts > 0, np.nansum(runs, 0) / np.maximum(counts, 1), np.nan)
    return dict(zip(classes, means.tolist(), strict=True))


def over_runs(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure, and its deviation where there are several runs."""
    found = {}
    for key in runs[0]:
        values = [run[key] for run in runs]
        found[key] = statistics.fmean(values)
        if len(values) > 1 and not key.startswith("chance"):
            found[f"{key}_deviation"] = statistics.stdev(values)
    return found
