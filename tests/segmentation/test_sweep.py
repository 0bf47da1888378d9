"""The number of segments: planted ones are counted, silhouettes are scikit-learn's, and no backbone is needed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import ttest_rel
from sklearn.metrics import silhouette_samples

from densessl.errors import UserError
from densessl.segmentation import sweep as sweeps
from densessl.segmentation.features.kept import Features
from densessl.segmentation.sweep import Sweep, silhouette, sweep, unclustered


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(sweeps, "SAMPLE", 400)
    monkeypatch.setattr(sweeps, "RESTARTS", 4)


def planted(groups: int, noise: float, seed: int, pictures: int = 5, channels: int = 24) -> Features:
    """Pictures of 8 x 10 tokens, of lengths that differ, about random directions; groups of unequal size."""
    random = np.random.default_rng(seed)
    directions = random.normal(size=(groups, channels))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    share = np.linspace(1, 3, groups) / np.linspace(1, 3, groups).sum()
    features = Features()
    for index in range(pictures):
        tokens = directions[random.choice(groups, 80, p=share)]
        tokens = tokens + noise * random.normal(size=tokens.shape) / np.sqrt(channels)
        features.indices.append(index)
        features.shapes.append((8, 10))
        features.arrays.append((tokens * random.uniform(0.5, 20, (80, 1))).astype(np.float32))
    return features


@pytest.mark.parametrize(("groups", "seed"), [(2, 0), (3, 1), (5, 2), (8, 3)])
def test_planted_clusters_are_counted(groups, seed):
    found = sweep(planted(groups, noise=0.6, seed=seed), most=10, seed=seed)
    assert found.classes == tuple(range(2, 11))
    assert found.chosen == groups


def test_tokens_without_clusters_have_a_low_curve():
    features = planted(4, noise=0.6, seed=0)
    noise = Features([0], [(20, 20)], [np.random.default_rng(0).normal(size=(400, 24)).astype(np.float32)])
    assert max(sweep(noise, most=6).best) < 0.05 < 0.3 < max(sweep(features, most=6).best)


@pytest.mark.parametrize("clusters", [2, 7])
def test_silhouettes_are_those_of_scikit_learn(clusters):
    generator = torch.Generator().manual_seed(0)
    points = F.normalize(torch.randn(90, 5, generator=generator, dtype=torch.float64), dim=1)
    # Numbers with gaps, and a cluster of one point.
    assigned = 3 * torch.randint(clusters, (90,), generator=generator)
    assigned[4] = 100
    expected = silhouette_samples(points.numpy(), assigned.numpy(), metric="cosine")
    np.testing.assert_allclose(silhouette(points, assigned).numpy(), expected, atol=1e-12)
    assert silhouette(points, assigned)[4] == 0


def test_one_cluster_has_no_silhouette_and_that_of_points_that_coincide_is_finite():
    points = F.normalize(torch.rand(1, 70, generator=torch.Generator().manual_seed(0)), dim=1).expand(60, -1)
    assert silhouette(points, torch.zeros(60, dtype=torch.int64)).tolist() == [0] * 60
    assert silhouette(points, torch.arange(60) % 3).abs().max() <= 1


def test_the_same_seed_gives_the_same_curve_and_another_seed_another():
    features = planted(4, noise=1.5, seed=0, pictures=60)
    first, again, other = (sweep(features, most=4, seed=seed) for seed in (0, 0, 1))
    assert first == again and first != other


def test_a_sample_has_as_many_tokens_of_each_picture():
    features = planted(3, noise=0.1, seed=0)
    features.arrays[2] = np.full((80, 24), 7, dtype=np.float32)
    points = features.sampled(20, torch.Generator().manual_seed(0))
    assert points.shape == (100, 24)
    torch.testing.assert_close(points.norm(dim=1), torch.ones(100))
    assert (points - 24**-0.5).abs().amax(dim=1).lt(1e-6).sum() == 20
    assert len(features.sampled(10**6, torch.Generator())) == 400


def test_the_curve_is_data_and_a_picture():
    found = Sweep((2, 3, 4), ((0.1, 0.3), (0.5, 0.3), (0.4, 0.4)))
    assert found.best == (0.3, 0.5, 0.4)
    assert found.rows()[1] == {"classes": 3, "score": 0.5, "least": 0.3}
    image = cv2.imdecode(np.frombuffer(found.picture(), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[0] > 300 and image.std() > 5


@pytest.mark.parametrize(("best", "chosen"), [((0.1, 0.5, 0.4), 3), ((0.1, 0.48, 0.5), 3), ((0.1, 0.46, 0.5), 4)])
def test_the_least_of_numbers_that_are_about_as_good_is_chosen(best, chosen):
    assert Sweep((2, 3, 4), tuple((each, each - 0.3) for each in best)).chosen == chosen


def test_numbers_that_samples_cannot_tell_from_the_chosen_one_are_told():
    scores = [[0.30, 0.31, 0.29, 0.30], [0.50, 0.52, 0.51, 0.50], [0.49, 0.50, 0.52, 0.50]]
    scores += [[0.45, 0.53, 0.50, 0.49], [0.40, 0.43, 0.41, 0.40]]
    found = Sweep((2, 3, 4, 5, 6), tuple(map(tuple, scores)))
    assert found.chosen == 3
    behind = [ttest_rel(scores[1], each, alternative="greater").pvalue < 0.05 for each in scores]
    assert behind == [True, False, False, False, True] and found.rivals == (5,)  # 4 is beside 3
    assert found.doubt == "3 is no clear choice: 5 would do as well, as far as 4 samples of the places can tell."
    assert Sweep((2, 3, 4, 5), tuple(map(tuple, [*scores[:3], scores[4]]))).doubt == ""
    flat = Sweep(tuple(range(2, 9)), tuple((0.1, 0.2 + 0.001 * k, 0.1, 0.2) for k in range(7)))
    assert flat.rivals == (4, 5, 6, 7, 8) and "2 is no clear choice: 4 to 8 would do" in flat.doubt
    assert Sweep((2, 3, 4), ((0.3,), (0.2,), (0.3,))).doubt == ""  # of one sample nothing can be told
    assert "The curve still rises at 4" in Sweep((2, 3, 4), ((0.2,), (0.25,), (0.3,))).doubt
    assert "No number fits better than it does by chance" in Sweep((2, 3), ((-0.2,), (-0.1,))).doubt


def test_a_planted_number_is_chosen_without_a_doubt_and_noise_with_one():
    assert sweep(planted(5, noise=0.6, seed=2), most=10, seed=2).doubt == ""
    noise = Features([0], [(20, 20)], [np.random.default_rng(0).normal(size=(400, 24)).astype(np.float32)])
    assert sweep(noise, most=10).doubt


def test_progress_counts_the_numbers_that_were_tried(monkeypatch):
    monkeypatch.setattr(sweeps, "REPEATS", 2)
    told = []
    sweep(planted(3, noise=0.6, seed=0), most=4, progress=lambda *each: told.append(each[1:]))
    samples = ["sample 1 of 2"] * 3 + ["sample 2 of 2"] * 3
    assert told == [(done, 6, sample) for done, sample in enumerate(samples, start=1)]


def test_where_nothing_is_better_than_chance_two_are_chosen():
    assert Sweep((2, 3), ((-0.2,), (-0.1,))).chosen == 2


def test_chance_has_the_mean_and_the_covariance_of_the_tokens_and_no_clusters():
    # Two clusters that are narrow beside their distance from the origin, so that lengths hardly matter.
    generator = torch.Generator().manual_seed(0)
    points = torch.tensor([1.0, 0.0, 0.0]) + 0.01 * torch.randn(4000, 3, generator=generator)
    points[:1000, 1] += 0.1
    points = F.normalize(points, dim=1)
    drawn = unclustered(points, 20000, generator)
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(20000))
    torch.testing.assert_close(drawn.mean(dim=0), points.mean(dim=0), rtol=0, atol=2e-3)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(points.T), rtol=0, atol=1e-4)
    middle = [((each[:, 1] > 0.04) & (each[:, 1] < 0.06)).float().mean() for each in (points, drawn)]
    assert middle[0] < 0.001 and middle[1] > 0.05


def test_too_little_to_choose_from_is_the_users_to_mend():
    features = planted(2, noise=0.1, seed=0, pictures=1)
    with pytest.raises(UserError, match="80 places are too few to choose from 2 to 41"):
        sweep(features, most=41)
    with pytest.raises(UserError, match="no choice"):
        sweep(features, most=1)
