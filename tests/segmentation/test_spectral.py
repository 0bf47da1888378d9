"""Segments by eigenvectors: known blocks, an independent solver, scikit-learn, loops, and pictures seen as one set."""

from __future__ import annotations

import colorsys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.sparse import csgraph
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from densessl.errors import UserError
from densessl.progress import silent
from densessl.segmentation import segment, spectral
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.features.kept import Features
from densessl.segmentation.learning import learn
from densessl.segmentation.predict import mask
from densessl.segmentation.spectral import (
    SpectralConfig,
    affinity,
    colour_affinity,
    eigenvectors,
    means_of,
    nearest_cosines,
    spectral_segments,
    spectral_tokens,
)
from tests.segmentation.runs import contents, settings, unsaid

SHAPE = (12, 10)


def planted(groups: int, noise: float = 0.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (120, 16) about `groups` orthogonal directions, and the group of each, at random places."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.arange(120)[torch.randperm(120, generator=generator)] % groups
    return torch.eye(16)[truth] + noise * torch.randn(120, 16, generator=generator), truth


def same(a, b) -> bool:
    """Whether two partitions are one, whatever their numbers."""
    return adjusted_rand_score(a, b) == 1


@pytest.mark.parametrize("groups", [2, 3, 7])
def test_blocks_of_a_graph_are_its_segments(groups):
    tokens, truth = planted(groups)
    config = SpectralConfig(segments=groups)
    assert same(spectral_segments(tokens, SHAPE, config=config), truth)
    values, _ = eigenvectors(affinity(tokens, SHAPE, None, config), 10)
    expected = torch.tensor([0.0] * groups + [1.0] * (10 - groups))
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dense", [True, False])
def test_eigenvectors_are_those_of_scipys_normalised_laplacian(dense, monkeypatch):
    monkeypatch.setattr(spectral, "DENSE", 1000 if dense else 10)
    tokens, _ = planted(5, noise=0.2)
    image = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    weights = affinity(tokens, SHAPE, image, SpectralConfig())
    assert isinstance(weights, torch.Tensor) == dense
    table = weights.double().numpy() if dense else weights.toarray().astype(np.float64)
    assert np.array_equal(table, table.T)
    laplacian, root = csgraph.laplacian(table - np.diag(np.diag(table)), normed=True, return_diag=True)
    # csgraph leaves the diagonal of the graph out; ours keeps it.
    degree = table.sum(axis=1)
    laplacian = np.eye(len(table)) - (np.eye(len(table)) - laplacian) * np.outer(root, root) / np.sqrt(
        np.outer(degree, degree)
    )
    laplacian -= np.diag(np.diag(table) / degree)
    expected, basis = np.linalg.eigh(laplacian)
    values, vectors = eigenvectors(weights, 6)
    np.testing.assert_allclose(values.numpy(), expected[:6], atol=2e-6)
    # The same space, and in it the same directions up to their sign.
    overlap = np.abs(basis[:, :6].T @ vectors.double().numpy())
    np.testing.assert_allclose(overlap, np.eye(6), atol=2e-3)


def test_segments_are_those_of_scikit_learn_on_the_same_graph():
    tokens, truth = planted(6, noise=0.2)
    config = SpectralConfig(segments=6)
    found = spectral_segments(tokens, SHAPE, config=config)
    weights = affinity(tokens, SHAPE, None, config).numpy()
    theirs = SpectralClustering(6, affinity="precomputed", random_state=0).fit_predict(weights)
    assert same(found, theirs) and same(found, truth)


def test_an_order_of_tokens_does_not_matter():
    tokens, _ = planted(5, noise=0.3)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(1))
    config = SpectralConfig(segments=5)
    assert same(
        spectral_segments(tokens, SHAPE, config=config)[order], spectral_segments(tokens[order], SHAPE, config=config)
    )


def test_the_same_seed_gives_the_same_segments_the_largest_first():
    tokens = torch.randn(120, 16, generator=torch.Generator().manual_seed(0))
    config = SpectralConfig(segments=15)
    first = spectral_segments(tokens, SHAPE, config=config, seed=3)
    assert torch.equal(first, spectral_segments(tokens, SHAPE, config=config, seed=3))
    counts = torch.bincount(first).tolist()
    assert counts == sorted(counts, reverse=True) and len(counts) == 15


def test_colours_join_as_the_formula_says():
    height, width, neighbours = 5, 4, 6
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    points = []
    for y, x in product(range(height), range(width)):
        h, s, v = colorsys.rgb_to_hsv(*(image[y, x] / 255))
        points.append((s * np.cos(2 * np.pi * h), s * np.sin(2 * np.pi * h), v, 0.5 * x / 4, 0.5 * y / 4))
    apart = np.array([[np.linalg.norm(np.subtract(a, b)) for b in points] for a in points])
    expected = np.zeros_like(apart)
    for token, row in enumerate(apart):
        for other in np.argsort(row)[1 : neighbours + 1]:
            expected[token, other] = expected[other, token] = max(0, 1 - row[other])
    found = colour_affinity(image, (height, width), neighbours, place=0.5).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_where_features_tell_nothing_colours_decide():
    image = np.zeros((24, 20, 3), dtype=np.uint8)
    image[:, :8], image[:, 8:] = (200, 40, 40), (40, 40, 200)
    tokens = torch.ones(120, 4)
    found = spectral_segments(tokens, SHAPE, image, SpectralConfig(segments=2))
    assert same(found, (np.arange(120) % 10 >= 4))


def test_all_nearest_cosines_are_the_dense_graph_and_few_of_them_find_the_same_segments(monkeypatch):
    tokens, truth = planted(4, noise=0.2)
    unit = F.normalize(tokens, dim=1)
    for block in (1 << 24, 700):
        monkeypatch.setattr(spectral, "BLOCK", block)
        np.testing.assert_allclose(nearest_cosines(unit, 200).toarray(), (unit @ unit.T).clamp(min=0), atol=1e-6)
    few = nearest_cosines(unit, 10).toarray()
    assert np.array_equal(few, few.T) and ((few > 0).sum(axis=1) >= 10).all() and (few > 0).mean() < 0.2
    monkeypatch.setattr(spectral, "DENSE", 100)
    assert same(spectral_segments(tokens, SHAPE, config=SpectralConfig(segments=4)), truth)


def test_tokens_become_the_mean_direction_of_their_segment():
    tokens, truth = planted(3, noise=0.1)
    tokens = tokens * torch.linspace(0.1, 9, 120)[:, None]
    found = spectral_tokens(tokens, SHAPE, config=SpectralConfig(segments=3))
    for group in range(3):
        expected = F.normalize(F.normalize(tokens[truth == group], dim=1).mean(dim=0), dim=0)
        torch.testing.assert_close(found[truth == group], expected.expand(40, -1))
    torch.testing.assert_close(means_of(tokens, truth)[truth], found)


def test_a_segment_has_the_same_class_in_all_pictures():
    # Each picture holds two of three materials, one of them more often than the other.
    generator = torch.Generator().manual_seed(0)
    features, truths = Features(), []
    for index, (left, right) in enumerate([(0, 1), (1, 2), (2, 0), (0, 2)]):
        truth = torch.where(torch.arange(120) % 10 < 4, left, right)
        tokens = torch.eye(16)[truth] + 0.2 * torch.randn(120, 16, generator=generator)
        features.indices.append(index)
        features.shapes.append(SHAPE)
        features.arrays.append(tokens.numpy())
        truths.append(truth)
    joined = [spectral_tokens(features.tokens(row), SHAPE, config=SpectralConfig(segments=2)) for row in range(4)]
    found = replace(features, arrays=[each.numpy() for each in joined])
    assert all(len(np.unique(each, axis=0)) == 2 for each in found.arrays)
    model = learn(found, SegmentConfig(data="", out="", method="kmeans", classes=3)).model
    masks = np.concatenate([mask(model, found.tokens(row), SHAPE, SHAPE).ravel() for row in range(4)])
    assert same(masks, torch.cat(truths))


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (4, 5)])
def test_small_flat_and_empty_pictures_have_segments_too(shape):
    n = shape[0] * shape[1]
    image = np.full((9, 9, 3), 77, dtype=np.uint8)
    for tokens in (torch.zeros(n, 3), torch.ones(n, 3), torch.randn(n, 3)):
        for seen in (image, None):
            found = spectral_segments(tokens, shape, seen, SpectralConfig(segments=15))
            assert found.shape == (n,) and 0 <= int(found.min()) <= int(found.max()) < n
            assert torch.isfinite(spectral_tokens(tokens, shape, seen, SpectralConfig(segments=15))).all()


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match="no map of 3 x 4"):
        spectral_segments(torch.ones(11, 3), (3, 4))
    with pytest.raises(UserError, match="spectral.neighbours=0"):
        SpectralConfig(neighbours=0)
    with pytest.raises(UserError, match="spectral.segments=0"):
        SpectralConfig(segments=0)


def test_the_masks_of_a_spectral_model_are_those_of_its_own_seed(png_folder, tmp_path):
    segment(settings(png_folder, tmp_path / "one", method="spectral", seed=3), silent)
    for seed in (0, 7):
        other = settings(png_folder, tmp_path / str(seed), model=str(tmp_path / "one"), seed=seed)
        segment(other, silent, unsaid)
        assert contents(tmp_path / str(seed)) == contents(tmp_path / "one")
