"""Average precision of correspondences against scikit-learn's, and where places are taken."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score

from densessl.evaluation.cooccurrence import Pairs, across, sample_places, within


def test_average_precision_is_scikit_learns():
    generator = torch.Generator().manual_seed(0)
    same = torch.rand(5000, generator=generator) < 0.3
    cosines = (0.3 * torch.randn(5000, generator=generator) + 0.3 * same).clamp(-1, 1)
    pairs = Pairs()
    for part, truth in zip(cosines.split(700), same.split(700), strict=True):
        pairs.add(part, truth)
    expected = average_precision_score(same.numpy(), cosines.numpy())
    assert pairs.average_precision == pytest.approx(expected, abs=1e-3)
    assert pairs.chance == pytest.approx(float(same.double().mean()))
    precision, recall, cosine = pairs.curve()
    assert recall[-1] == 1 and precision[-1] == pytest.approx(pairs.chance) and (np.diff(cosine) < 0).all()


def test_a_perfect_order_has_1_and_a_constant_one_has_chance():
    same = torch.tensor([True, True, False, False, False])
    perfect, constant = Pairs(), Pairs()
    perfect.add(torch.tensor([1.0, 0.5, 0.4, -0.2, -1.0]), same)
    constant.add(torch.full((5,), 0.7), same)
    assert perfect.average_precision == 1 and constant.average_precision == constant.chance == 0.4
    assert math.isnan(Pairs().average_precision) and math.isnan(Pairs().chance)


def test_pairs_within_and_across_are_each_counted_once():
    features = F.normalize(torch.randn(7, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    inside, between = Pairs(), Pairs()
    within(inside, features, labels)
    assert (inside.same.sum(), inside.other.sum()) == (3 + 1 + 1, 21 - 5)
    across(between, features[:3], labels[:3], features[2:], labels[2:])
    assert (between.same.sum(), between.other.sum()) == (3, 12)


def test_places_are_labelled_pixels_with_their_own_features():
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    features = torch.stack((x + 1, y + 1))  # a map as large as the image: no interpolation
    labels = np.arange(48).reshape(6, 8) - 20
    found, numbers = sample_places(features, labels, 100, torch.Generator().manual_seed(0))
    assert sorted(numbers.tolist()) == list(range(28))
    pixel = numbers + 20
    expected = F.normalize(torch.stack((pixel % 8 + 1.0, pixel // 8 + 1.0), dim=1), dim=1)
    torch.testing.assert_close(found, expected)
    few, _ = sample_places(features, labels, 5, torch.Generator().manual_seed(0))
    assert len(few) == 5 and len(sample_places(features, np.full((6, 8), -1), 5, torch.Generator())[0]) == 0


def test_coarse_maps_are_interpolated_with_pixel_centres_aligned():
    features, labels = torch.rand(3, 3, 4), np.zeros((9, 8), dtype=np.int64)
    found, _ = sample_places(features, labels, 72, torch.Generator().manual_seed(0))
    whole = F.normalize(F.interpolate(features[None], (9, 8), mode="bilinear")[0].flatten(1).T, dim=1)
    # The same vectors, in another order.
    assert float((found @ whole.T).amax(1).min()) > 1 - 1e-6
