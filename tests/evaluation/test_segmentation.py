"""Matching and scores against brute force and scikit-learn."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import jaccard_score

from densessl.evaluation.segmentation import confusion_matrix, hungarian, segmentation_scores


def drawn(clusters: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predictions that follow the labels 60 % of the time."""
    random = np.random.default_rng(seed)
    target = random.integers(0, classes, (20, 30))
    return np.where(
        random.random(target.shape) < 0.6, (target + 1) % clusters, random.integers(0, clusters, target.shape)
    ), target


def test_the_confusion_matrix_counts_as_scikit_learn_does_and_adds_up():
    prediction, target = drawn(5, 5)
    ours = confusion_matrix(prediction, target, 5, 5)
    assert ours.dtype == np.int64
    np.testing.assert_array_equal(ours.T, sklearn_confusion(target.ravel(), prediction.ravel()))
    np.testing.assert_array_equal(
        ours, sum(confusion_matrix(prediction[i], target[i], 5, 5) for i in range(len(target)))
    )


def test_pixels_without_a_label_are_ignored():
    target = np.array([0, 1, 11, 255])
    assert confusion_matrix(np.array([0, 1, 2, 2], dtype=np.uint8), target, 3, 2).sum() == 2


def test_wrong_shapes_and_clusters_are_refused():
    with pytest.raises(ValueError, match="shape"):
        confusion_matrix(np.zeros((2, 3)), np.zeros((3, 2)), 2, 2)
    with pytest.raises(ValueError, match="outside"):
        confusion_matrix(np.array([2]), np.array([0]), 2, 2)


@pytest.mark.parametrize(("clusters", "classes"), [(4, 4), (6, 4), (3, 5)])
def test_the_matching_is_the_best_of_all(clusters, classes):
    confusion = confusion_matrix(*drawn(clusters, classes), clusters, classes)
    best = 0
    if clusters >= classes:
        for chosen in permutations(range(clusters), classes):
            best = max(best, sum(confusion[cluster, each] for each, cluster in enumerate(chosen)))
    else:
        for chosen in permutations(range(classes), clusters):
            best = max(best, sum(confusion[cluster, each] for cluster, each in enumerate(chosen)))
    assignment = hungarian(confusion)
    matched = assignment[assignment >= 0]
    assert len(set(matched.tolist())) == len(matched) == min(clusters, classes)
    assert segmentation_scores(confusion).accuracy == pytest.approx(best / confusion.sum())


def test_the_scores_equal_scikit_learns_after_matching():
    prediction, target = drawn(5, 5)
    scores = segmentation_scores(confusion_matrix(prediction, target, 5, 5))
    named = scores.assignment[prediction]
    np.testing.assert_allclose(scores.iou, jaccard_score(target.ravel(), named.ravel(), average=None))
    assert scores.miou == pytest.approx(jaccard_score(target.ravel(), named.ravel(), average="macro"))
    assert scores.accuracy == pytest.approx((named == target).mean())


def test_clusters_beyond_the_classes_count_as_wrong():
    confusion = np.array([[3, 0], [0, 3], [2, 2]])
    scores = segmentation_scores(confusion)
    assert scores.assignment.tolist() == [0, 1, -1]
    assert scores.accuracy == pytest.approx(0.6)
    np.testing.assert_allclose(scores.iou, [3 / 5, 3 / 5])


def test_classes_beyond_the_clusters_count_as_missed():
    scores = segmentation_scores(np.array([[4, 0, 1]]))
    assert scores.miou == pytest.approx((4 / 5 + 0 * 1) / 2)
    assert np.isnan(scores.iou[1])


def test_absent_classes_are_left_out_or_count_as_zero_as_asked():
    confusion = np.array([[4, 0, 0], [0, 4, 0], [0, 2, 0]])
    present, everything = (segmentation_scores(confusion, absent=policy).miou for policy in ("present", "all"))
    assert present == pytest.approx((1 + 4 / 6) / 2)
    assert everything == pytest.approx((1 + 4 / 6) / 3)
    with pytest.raises(ValueError, match="absent"):
        segmentation_scores(confusion, absent="nan")


def test_nothing_labelled_gives_nan_not_an_error():
    scores = segmentation_scores(np.zeros((2, 2), dtype=np.int64))
    assert np.isnan(scores.miou) and np.isnan(scores.accuracy)


def test_counts_beyond_float32_lose_no_pixel():
    confusion = np.array([[2**24 + 1, 0], [0, 2**24 + 1]])
    assert segmentation_scores(confusion).accuracy == 1.0
    assert segmentation_scores(confusion + np.array([[0, 1], [0, 0]])).accuracy < 1.0


def test_the_official_policy_is_that_of_stegos_code():
    # Class 2 is neither labelled nor predicted, class 3 is predicted alone; cluster 4 is matched to no class.
    confusion = np.array([[6, 0, 0, 0], [1, 5, 0, 0], [0, 0, 0, 0], [0, 2, 0, 0], [3, 0, 0, 0]])
    assignment = np.array([0, 1, 2, 3, -1])
    official = segmentation_scores(confusion, assignment, absent="official", unmatched="out")
    np.testing.assert_allclose(official.iou, [6 / 7, 5 / 8, np.nan, 0])
    assert official.accuracy == pytest.approx(11 / 14)
    assert official.miou == pytest.approx((6 / 7 + 5 / 8 + 0) / 3)
    strict = segmentation_scores(confusion, assignment, absent="all")
    np.testing.assert_allclose(strict.iou, [6 / 10, 5 / 8, 0, 0])
    assert strict.accuracy == pytest.approx(11 / 17) and strict.miou == pytest.approx((6 / 10 + 5 / 8) / 4)
    present = segmentation_scores(confusion, assignment, absent="present")
    assert present.miou == pytest.approx((6 / 10 + 5 / 8) / 2)
