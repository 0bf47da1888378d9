"""Scores of segments found without labels: one matching over the whole set, then IoU and accuracy.

Clusters have no names, so each class is given at most one cluster such that the most pixels agree (Hungarian matching
on the confusion matrix of the whole set, as in IIC, PiCIE and STEGO). Clusters beyond the number of classes stay
unmatched and all their pixels count as wrong; the official STEGO code leaves those pixels out, which flatters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True)
class SegmentationScores:
    """Figures between 0 and 1.

    miou: mean of `iou` under the policy that was asked for. accuracy: share of the labelled pixels that are right.
    iou: (classes,); NaN for a class that the policy leaves out. assignment: (clusters,) class of each, or -1.
    """

    miou: float
    accuracy: float
    iou: np.ndarray
    assignment: np.ndarray


def confusion_matrix(prediction: np.ndarray, target: np.ndarray, clusters: int, classes: int) -> np.ndarray:
    """(clusters, classes) int64 counts of pixels; add up those of several pictures.

    prediction, target: whole numbers of one shape. Pixels whose target is not in [0, classes) are ignored. Raises
    `ValueError` on other shapes and on predictions outside [0, clusters).
    """
    prediction, target = np.asarray(prediction), np.asarray(target)
    if prediction.shape != target.shape:
        raise ValueError(f"The prediction has shape {prediction.shape}, the labels have {target.shape}.")
    prediction, target = prediction.astype(np.int64).ravel(), target.astype(np.int64).ravel()
    if prediction.size and not 0 <= prediction.min() <= prediction.max() < clusters:
        raise ValueError(f"A prediction lies outside of 0 to {clusters - 1}.")
    valid = (target >= 0) & (target < classes)
    cells = prediction[valid] * classes + target[valid]
    return np.bincount(cells, minlength=clusters * classes).reshape(clusters, classes)


def hungarian(confusion: np.ndarray) -> np.ndarray:
    """(clusters,) the class of each cluster, no class twice, -1 where none is left: the most pixels agree."""
    assignment = np.full(len(confusion), -1, dtype=np.int64)
    clusters, classes = linear_sum_assignment(confusion, maximize=True)
    assignment[clusters] = classes
    return assignment


def segmentation_scores(
    confusion: np.ndarray, assignment: np.ndarray | None = None, absent: str = "present", unmatched: str = "wrong"
) -> SegmentationScores:
    """Scores of a confusion matrix (clusters, classes).

    assignment: (clusters,) class of each cluster, or -1; None: by Hungarian matching.
    absent: what the mean IoU does with classes that have no pixel in the labels: "present" leaves them out; "all"
        counts each as 0; "official", as STEGO's code, leaves out those that were not predicted either.
    unmatched: pixels of clusters that no class is matched to are "wrong"; STEGO's code leaves them "out".
    """
    if absent not in ("present", "all", "official") or unmatched not in ("wrong", "out"):
        raise ValueError(
            f"absent must be present, all or official, and unmatched wrong or out, not {absent!r} and {unmatched!r}."
        )
    assignment = hungarian(confusion) if assignment is None else np.asarray(assignment)
    classes = confusion.shape[1]
    merged = np.zeros((classes, classes), dtype=np.int64)
    matched = assignment >= 0
    np.add.at(merged, assignment[matched], confusion[matched])
    counted = confusion if unmatched == "wrong" else confusion[matched]
    right, truth = np.diag(merged), counted.sum(axis=0)
    union = truth + merged.sum(axis=1) - right
    kept = {"all": np.full(classes, True), "present": truth > 0, "official": union > 0}[absent]
    iou = np.where(kept, right / np.maximum(union, 1), np.nan)
    total = int(truth.sum())
    return SegmentationScores(
        miou=float(np.nansum(iou) / kept.sum()) if kept.any() else float("nan"),
        accuracy=float(right.sum() / total) if total else float("nan"),
        iou=iou,
        assignment=assignment,
    )
