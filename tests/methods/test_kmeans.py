"""k-means and whitening against scikit-learn, and what becomes of empty clusters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from densessl.methods import kmeans as module
from densessl.methods.kmeans import (
    cluster_sheet,
    kmeans,
    means,
    nearest,
    spherical_kmeans,
    split_empty,
    whitened,
)


def blobs(count: int = 40, dim: int = 5, per: int = 30, spread: float = 0.05) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(count, dim, generator=generator) * 3
    labels = torch.arange(count).repeat(per)
    return centres[labels] + spread * torch.randn(len(labels), dim, generator=generator), labels


def squared_error(points: torch.Tensor, assigned: torch.Tensor) -> float:
    centroids = means(points, assigned, torch.zeros(int(assigned.max()) + 1, points.shape[1]))
    return float((points - centroids[assigned]).square().sum())


def test_from_the_same_start_it_goes_as_scikit_learns():
    points, _ = blobs(spread=1.0)
    torch.manual_seed(1)
    start = points[torch.randperm(len(points))[:12]]
    torch.manual_seed(1)
    assigned, distances = kmeans(points, 12, 10)
    theirs = KMeans(12, init=start.numpy(), n_init=1, max_iter=10, tol=0, algorithm="lloyd").fit(points.numpy())
    assert np.array_equal(assigned.numpy(), theirs.labels_)
    torch.testing.assert_close(distances, (points - means(points, assigned, start)[assigned]).square().sum(1))


def test_the_nearest_centroid_is_the_nearest_a_tile_at_a_time(monkeypatch):
    points, centroids = torch.randn(50, 4), torch.randn(7, 4)
    expected = torch.cdist(points, centroids).argmin(1)
    for tile in (1, 7 * 9, 10**6):
        monkeypatch.setattr(module, "TILE", tile)
        assert torch.equal(nearest(points, centroids), expected)


def test_spherical_clusters_are_those_of_cosine_and_an_empty_one_keeps_its_centroid():
    torch.manual_seed(0)
    points = F.normalize(torch.randn(200, 6), dim=1)
    assigned, centroids = spherical_kmeans(points, 10, 10)
    torch.testing.assert_close(centroids.norm(dim=1), torch.ones(10))
    assert torch.equal(assigned, (points @ centroids.T).argmax(1))
    before = torch.randn(3, 6)
    assert torch.equal(means(points, torch.zeros(200, dtype=torch.int64), before)[1:], before[1:])


def test_an_empty_cluster_takes_a_part_of_one_and_leaves_the_others_alone():
    torch.manual_seed(0)
    points, labels = blobs(4, per=20)
    assigned = split_empty(points, labels, 5)
    moved = assigned != labels
    (old,) = labels[moved].unique().tolist()
    assert (assigned[moved] == 4).all() and 0 < int(moved.sum()) < 20
    # Cut through its centroid, so into two parts of which neither is a rest.
    assert 4 <= int(moved.sum()) <= 16
    assert squared_error(points, assigned) < squared_error(points, labels)
    direction = points[assigned == 4].mean(0) - points[assigned == old].mean(0)
    inside, outside = points[assigned == 4] @ direction, points[assigned == old] @ direction
    assert float(inside.mean()) > float(outside.mean())


def test_no_cluster_is_empty_in_the_end_even_from_the_worst_start():
    torch.manual_seed(0)
    points, _ = blobs(8, per=10)
    points[:60] = points[0] + 1e-3 * torch.randn(60, 5)
    assert (torch.bincount(kmeans(points, 30, 5)[0], minlength=30) > 0).all()
    assert (torch.bincount(split_empty(points, torch.zeros(80, dtype=torch.int64), 30), minlength=30) > 0).all()


def test_points_that_are_all_alike_stay_in_their_clusters():
    points = torch.ones(20, 3)
    points[10:] = 2
    assigned, distances = kmeans(points, 6, 3)
    assert len(assigned[:10].unique()) == len(assigned[10:].unique()) == 1 and not distances.any()


def test_another_seed_makes_other_clusters():
    points, _ = blobs(spread=2.0)
    torch.manual_seed(1)
    one = kmeans(points, 12, 3)[0]
    torch.manual_seed(2)
    assert not torch.equal(one, kmeans(points, 12, 3)[0])


@pytest.mark.parametrize("tile", [30, 1 << 22])
def test_whitening_is_scikit_learns_pca(tile, monkeypatch):
    monkeypatch.setattr(module, "TILE", tile)
    torch.manual_seed(0)
    vectors = torch.randn(300, 9) @ torch.randn(9, 9) + 5
    ours = whitened(vectors, 4, torch.device("cpu"))
    theirs = F.normalize(torch.from_numpy(PCA(4, whiten=True, svd_solver="full").fit_transform(vectors.numpy())), dim=1)
    # An axis has no sign.
    sign = (ours * theirs).sum(0).sign()
    torch.testing.assert_close(ours * sign, theirs, rtol=1e-3, atol=1e-4)


def test_directions_without_variance_are_not_blown_up():
    vectors = torch.randn(50, 3) @ torch.randn(3, 8)
    found = whitened(vectors, 6, torch.device("cpu"))
    assert found.shape == (50, 6) and torch.isfinite(found).all() and not found[:, 3:].any()
    assert not whitened(torch.ones(5, 4), 4, torch.device("cpu")).any()


def test_a_sheet_shows_the_nearest_first_and_full_rows_where_there_are_enough():
    assigned = torch.tensor([0] * 15 + [1] * 11 + [2] * 3 + [-1] * 4)
    closeness = torch.linspace(0, 1, len(assigned))
    asked: list[int] = []

    def thumbnail(index: int) -> np.ndarray:
        asked.append(index)
        return np.zeros((4, 4, 3), np.uint8)

    sheet = cluster_sheet(assigned, closeness, thumbnail)
    assert sheet.labels == ["0: 15 images", "1: 11 images", "2: 3 images"]
    assert asked == [*range(14, 4, -1), *range(25, 15, -1), 28, 27, 26]
    assert [len(row) for row in sheet.rows] == [10] * 3 and sheet.rows[2][3].min() == 255
    small = cluster_sheet(torch.tensor([0, 0, 1]), torch.zeros(3), thumbnail)
    assert small.labels == ["0: 2 images"] and len(small.rows[0]) == 10
    many = cluster_sheet(torch.arange(200) // 10 * (torch.arange(200) < 190), torch.zeros(200), thumbnail)
    assert {label.split(": ")[1] for label in many.labels} == {"10 images", "20 images"}, "clusters that fill a row"
