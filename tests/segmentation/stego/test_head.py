"""Head, probe and k-means do what their papers say."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans

from densessl.segmentation import kmeans
from densessl.segmentation.kmeans import best_spherical_kmeans, plus_plus
from densessl.segmentation.stego.head import ClusterProbe, StegoHead


def directions(count: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (3 * count, 5) around three directions at different lengths, and which one each is around."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.arange(3).repeat_interleave(count)
    points = torch.eye(3, 5)[truth] + 0.1 * torch.randn(3 * count, 5, generator=generator)
    return points * torch.rand(3 * count, 1, generator=generator).add(0.5), truth


def test_the_head_is_the_sum_of_two_branches_of_1x1_convolutions():
    head = StegoHead(6, 4, dropout=0.1).eval()
    map_ = torch.randn(2, 6, 3, 5)
    straight = F.conv2d(map_, head.linear.weight[..., None, None], head.linear.bias)
    hidden = F.relu(F.conv2d(map_, head.hidden.weight[..., None, None], head.hidden.bias))
    slow = straight + F.conv2d(hidden, head.out.weight[..., None, None], head.out.bias)
    tokens = map_.flatten(2).transpose(1, 2).reshape(-1, 6)
    codes = head(tokens).view(2, 15, 4).transpose(1, 2).view(2, 4, 3, 5)
    torch.testing.assert_close(codes, slow)


def test_dropout_drops_whole_channels_of_a_picture_and_keeps_the_mean():
    head = StegoHead(400, 4, dropout=0.25).train()
    owner = torch.tensor([0, 0, 0, 1, 1])
    dropped = head.drop(torch.ones(5, 400), owner, torch.Generator().manual_seed(0))
    assert (dropped[0] == dropped[1]).all() and (dropped[3] == dropped[4]).all()
    assert not (dropped[0] == dropped[3]).all()
    assert dropped.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert dropped.mean() == pytest.approx(1, abs=0.1)
    assert (head.eval().drop(torch.ones(5, 400), owner) == 1).all()


def test_the_branches_have_masks_of_their_own():
    head = StegoHead(1, 1, dropout=0.5).train()
    for layer in (head.linear, head.hidden, head.out):
        torch.nn.init.ones_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    generator = torch.Generator().manual_seed(0)
    found = {float(head(torch.ones(1, 1), None, generator).detach()) for _ in range(60)}
    assert found == {0.0, 2.0, 4.0}
    assert len({float(head.drop(torch.ones(1, 1), None, generator)) for _ in range(60)}) == 2


def test_the_probe_loss_is_minus_the_mean_of_the_best_cosine_and_spares_the_codes():
    codes = torch.randn(7, 4, requires_grad=True)
    probe = ClusterProbe(3, 4)
    cosine = F.cosine_similarity(codes[:, None], probe.centres[None], dim=2)
    one_hot = F.one_hot(cosine.argmax(dim=1), 3)
    loss = probe.loss(codes)
    torch.testing.assert_close(loss, -(one_hot * cosine).sum(dim=1).mean())
    loss.backward()
    assert codes.grad is None and probe.centres.grad.abs().sum() > 0


def test_spherical_kmeans_finds_the_directions_and_matches_scikit_learn():
    points, truth = directions()
    centres, quality = best_spherical_kmeans(points, 3, torch.Generator().manual_seed(0))
    found = (F.normalize(points, dim=1) @ centres.T).argmax(dim=1)
    assert all(len(found[truth == each].unique()) == 1 for each in range(3)) and len(found.unique()) == 3
    unit = F.normalize(points, dim=1)
    other = torch.from_numpy(KMeans(3, n_init=5, random_state=0).fit(unit.numpy()).cluster_centers_)
    assert quality == pytest.approx(float((unit @ F.normalize(other, dim=1).T).amax(dim=1).mean()), abs=1e-4)
    torch.testing.assert_close(centres.norm(dim=1), torch.ones(3))


def test_kmeans_fills_every_cluster_and_refuses_more_clusters_than_points():
    points, _ = directions(20)
    centres, _ = best_spherical_kmeans(points, 12, torch.Generator().manual_seed(0), restarts=2)
    found = (F.normalize(points, dim=1) @ centres.T).argmax(dim=1)
    assert len(found.unique()) == 12
    with pytest.raises(ValueError, match="cannot form"):
        best_spherical_kmeans(points[:5], 6, torch.Generator())


def test_points_that_coincide_do_not_stop_kmeans():
    points = torch.ones(10, 3)
    assert plus_plus(F.normalize(points, dim=1), 4, torch.Generator()).shape == (4, 3)
    centres, quality = best_spherical_kmeans(points, 4, torch.Generator(), restarts=1)
    assert torch.isfinite(centres).all() and quality == pytest.approx(1)


@pytest.mark.parametrize(("clusters", "threads"), [(3, 1), (30, 2)])
def test_small_products_are_one_threads_and_afterwards_there_are_as_many_as_before(monkeypatch, clusters, threads):
    monkeypatch.setattr(kmeans, "LARGE", 200 * 5 * 30)
    plain, seen, before = kmeans.plus_plus, [], torch.get_num_threads()

    def plus_plus(*arguments):
        seen.append(torch.get_num_threads())
        if len(seen) == 2:
            raise RuntimeError("no memory")
        return plain(*arguments)

    torch.set_num_threads(2)
    try:
        monkeypatch.setattr(kmeans, "plus_plus", plus_plus)
        with pytest.raises(RuntimeError, match="no memory"):
            best_spherical_kmeans(torch.rand(200, 5), clusters, torch.Generator().manual_seed(0))
        assert torch.get_num_threads() == 2 and seen == [threads, threads]
    finally:
        torch.set_num_threads(before)
