"""Noise-contrastive estimation and the masked softmax against their formulas written slowly, in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from densessl.losses import common, info_nce, log_partition, nce
from tests.losses.slow import assert_equal, batch, cosine, memory_of

N, DATA, T = 5, 40, 0.3


def unit(*shape: int, seed: int) -> torch.Tensor:
    return F.normalize(batch(*shape, seed=seed), dim=1)


def slow_nce(query, positive, negatives, log_z, groups=None):
    """-log h(positive) - sum of log(1 - h(negative)), h = P / (P + K / N), P = exp(cos / T) / Z; mean over queries."""
    total = 0.0
    for i in range(len(query)):
        others = [v for k, v in enumerate(negatives) if groups is None or groups[0][i] != groups[1][k]]
        noise = len(others) / DATA

        def h(v, i=i, noise=noise):
            p = torch.exp(cosine(query[i], v) / T) / math.exp(log_z)
            return p / (p + noise)

        total = total - torch.log(h(positive[i])) - sum(torch.log(1 - h(v)) for v in others)
    return total / len(query)


@pytest.fixture
def vectors():
    groups = (torch.tensor([0, 1, 2, 3, 9]), torch.arange(23) % 4)
    return batch(N, 6), unit(N, 6, seed=1), unit(23, 6, seed=2), groups


@pytest.mark.parametrize("tile", [2048**2, 1])
def test_nce_is_the_formula_in_one_tile_and_in_many(vectors, tile, monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", tile)
    query, positive, negatives, groups = vectors
    negatives = torch.cat([negatives] * 4)  # more than the 64 that a tile holds at least
    groups = (groups[0], torch.cat([groups[1]] * 4))
    for own in (None, groups):
        assert_equal(
            lambda q, own=own: nce(q, positive, negatives, T, DATA, 0.7, own),
            lambda q, own=own: slow_nce(q, positive, negatives, 0.7, own),
            query,
        )


def test_the_softmax_leaves_out_what_is_of_the_querys_group(vectors):
    query, positive, negatives, (mine, theirs) = vectors

    def slow(query):
        total = 0.0
        for i in range(N):
            right = torch.exp(cosine(query[i], positive[i]) / T)
            others = [torch.exp(cosine(query[i], v) / T) for k, v in enumerate(negatives) if theirs[k] != mine[i]]
            total = total - torch.log(right / (right + sum(others)))
        return total / N

    assert_equal(lambda q: info_nce(q, positive, negatives, T, (mine, theirs)), slow, query)


def test_with_every_negative_left_out_the_losses_are_0_and_finite(vectors):
    query, positive, negatives, _ = vectors
    groups = (torch.zeros(N), torch.zeros(len(negatives)))
    query.requires_grad_()
    for loss in (info_nce(query, positive, negatives, T, groups), nce(query, positive, negatives, T, DATA, 0, groups)):
        (gradient,) = torch.autograd.grad(loss, query)
        assert float(loss.detach()) == 0 and not gradient.any()


def test_the_partition_is_the_data_times_the_mean_over_positives_and_negatives(vectors):
    query, positive, negatives, groups = vectors
    for own in (None, groups):
        scores = [math.exp(float(cosine(q, v)) / T) for q, v in zip(query, positive, strict=True)]
        for i, q in enumerate(query):
            kept = [v for k, v in enumerate(negatives) if own is None or own[0][i] != own[1][k]]
            scores += [math.exp(float(cosine(q, v)) / T) for v in kept]
        found = log_partition(query, positive, negatives, T, DATA, own)
        assert float(found) == pytest.approx(math.log(DATA * sum(scores) / len(scores)), rel=1e-12)


def test_nce_at_chance_is_ln_of_k_and_1_more():
    """Every p is 1 / N: all vectors alike, and Z as estimated from them."""
    same = torch.ones(7, 4, dtype=torch.float64)
    negatives = F.normalize(torch.ones(100, 4, dtype=torch.float64), dim=1)
    log_z = log_partition(same, same, negatives, 0.07, 1000)
    found = float(nce(same, same, negatives, 0.07, 1000, log_z))
    assert found == pytest.approx(math.log(101) + 100 * math.log(1 + 1 / 100))
    assert found == pytest.approx(math.log(101) + 1, abs=0.01)


def test_the_negatives_are_swept_in_tiles_and_not_kept(monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", 64**2)
    query, positive, negatives = batch(32, 8), unit(32, 8, seed=1), unit(5000, 8, seed=2)
    kept, largest = memory_of(lambda q: nce(q, positive, negatives, T, DATA), query)
    assert largest <= len(negatives) * 8 and kept < 4 * 32 * 5000
