"""k-means over all images of a run, whitening before it, and what there is to see of the clusters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from densessl.methods.registry import Sheet
from densessl.progress import silent

TILE = 1 << 22  # products of points and centroids that are held at a time
FLATTEST = 1e-6  # share of the largest variance below which a direction is rounding and not whitened
NUDGE = 1e-3  # distance of a split cluster's new centroid from the old one, in its points' mean distance
Advance = Callable[[str, int, int], None]  # stage, done, total
SHOWN = 10  # clusters, and images of each, in a sheet


def whitened(vectors: Tensor, dim: int, device: torch.device) -> Tensor:
    """(N, D) on any device -> (N, min(dim, D)) on `device`: principal components of variance 1, rows of length 1.

    Directions without variance become zeros. In float32; the covariance is summed in float64.
    """
    rows = max(1, TILE // vectors.shape[1])
    mean = vectors.mean(0, dtype=torch.float64).float().to(device)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=device)
    for part in vectors.split(rows):
        part = part.to(device) - mean
        covariance += (part.T @ part).double()
    variances, axes = torch.linalg.eigh(covariance / len(vectors))
    variances, axes = variances.flip(0)[:dim], axes.flip(1)[:, :dim]
    scale = torch.where(variances > FLATTEST * variances[0], variances.clamp_min(1e-30).rsqrt(), 0.0)
    projection = (axes * scale).float()
    return torch.cat([F.normalize((part.to(device) - mean) @ projection, dim=1) for part in vectors.split(rows)])


def kmeans(points: Tensor, clusters: int, iterations: int, advance: Advance = silent) -> tuple[Tensor, Tensor]:
    """Clusters (N,) int64 of the points (N, D), and how far each point is from its centroid, (N,) squared.

    Lloyd's iterations from `clusters` points at random. An empty cluster takes a part of another, so that none is empty
    while points differ. Random numbers come from torch's global generator of the CPU. advance: called with the
    iterations done.
    """
    centroids = points[torch.randperm(len(points))[:clusters].to(points.device)]
    for done in range(iterations):
        centroids = means(points, split_empty(points, nearest(points, centroids), clusters), centroids)
        advance("Clustering", done + 1, iterations)
    assigned = split_empty(points, nearest(points, centroids), clusters)
    centroids = means(points, assigned, centroids)
    return assigned, (points - centroids[assigned]).square().sum(1)


def spherical_kmeans(
    points: Tensor, clusters: int, iterations: int, advance: Advance = silent
) -> tuple[Tensor, Tensor]:
    """Clusters (N,) int64 of the unit points (N, D) by cosine, and their unit centroids (clusters, D).

    One start from `clusters` points at random, with `advance` as in `kmeans`; a cluster that loses all its points keeps
    its centroid. The best of several starts, where a lost cluster moves, is `densessl.segmentation.kmeans`.
    """
    centroids = points[torch.randperm(len(points))[:clusters].to(points.device)]
    for done in range(iterations):
        centroids = F.normalize(means(points, nearest(points, centroids), centroids), dim=1)
        advance("Clustering", done + 1, iterations)
    return nearest(points, centroids), centroids


def nearest(points: Tensor, centroids: Tensor) -> Tensor:
    """(N,) int64: the centroid (K, D) nearest to each point (N, D), a part of the N x K products at a time."""
    half_squares = centroids.square().sum(1) / 2
    parts = points.split(max(1, TILE // len(centroids)))
    return torch.cat([torch.addmm(half_squares, part, centroids.T, beta=-1).argmax(1) for part in parts])


def means(points: Tensor, assigned: Tensor, centroids: Tensor) -> Tensor:
    """(K, D): the mean of each cluster's points; a cluster without any keeps its centroid."""
    counts = torch.bincount(assigned, minlength=len(centroids))[:, None]
    sums = torch.zeros_like(centroids).index_add_(0, assigned, points)
    return torch.where(counts > 0, sums / counts.clamp_min(1), centroids)


def split_empty(points: Tensor, assigned: Tensor, clusters: int) -> Tensor:
    """`assigned` (N,) with every empty cluster given a part of another, as DeepCluster's paper says (section 3.3).

    A non-empty cluster is drawn at random, in proportion to its points but one (as in faiss, whose k-means the authors
    use). Its centroid with a small random perturbation is the new one of the empty cluster, and its points go to the
    nearer of the two. Points that are all alike cannot be told apart, and their cluster is not split.
    """
    counts = torch.bincount(assigned, minlength=clusters).cpu()
    weights = (counts - 1).clamp_min(0).double()
    assigned = assigned.clone()
    for empty in (counts == 0).nonzero().flatten().tolist():
        while weights.any():
            chosen = int(torch.multinomial(weights, 1))
            members = (assigned == chosen).nonzero().flatten()
            offsets = points[members] - points[members].mean(0)
            direction = F.normalize(torch.randn(points.shape[1]), dim=0).to(points)
            step = NUDGE * offsets.norm(dim=1).mean()
            moved = members[offsets @ direction > step / 2]
            # None when all points are one, up to rounding.
            if 0 < len(moved) < len(members):
                assigned[moved] = empty
                weights[empty], weights[chosen] = len(moved) - 1, len(members) - len(moved) - 1
                break
            weights[chosen] = 0
    return assigned


def cluster_sheet(assigned: Tensor, closeness: Tensor, thumbnail: Callable[[int], np.ndarray]) -> Sheet:
    """A row per cluster with the images that are nearest to it, the nearest first, and how many it has beside it.

    assigned: (N,) int64, below 0 for images of no cluster. closeness: (N,), larger is nearer. Of more than `SHOWN`
    clusters, evenly chosen ones from the largest to the smallest of those that fill a row, or, where less than `SHOWN`
    do, of all that have two images; places that stay empty are white.
    """
    assigned, closeness = assigned.cpu(), closeness.cpu()
    counts = torch.bincount(assigned[assigned >= 0])
    by_size = counts.argsort(descending=True, stable=True)
    full = by_size[counts[by_size] >= SHOWN]
    candidates = full if len(full) >= SHOWN else by_size[counts[by_size] >= min(2, int(counts.max()))]
    shown = [candidates[place * len(candidates) // SHOWN] for place in range(SHOWN)]
    rows, labels = [], []
    for cluster in dict.fromkeys(map(int, shown)):
        members = (assigned == cluster).nonzero().flatten()
        order = members[closeness[members].argsort(descending=True, stable=True)][:SHOWN]
        found = [thumbnail(int(index)) for index in order]
        rows.append(found + [np.full_like(found[0], 255)] * (SHOWN - len(found)))
        labels.append(f"{cluster}: {int(counts[cluster])} images")
    return Sheet(rows, labels=labels)
