"""Spherical k-means for a few classes: clusters of directions, seeded by k-means++, the best of several starts.

`densessl.methods.kmeans` has the one for pretraining: thousands of clusters of all images, one start at random points,
where an empty cluster keeps its centroid, as the official code of DeepCluster-v2 has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

# Multiplications of a product from which several threads pay. Below, an operation takes some milliseconds, and threads
# that wait for each other after it, on processors that are busy, take many times as long.
LARGE = 1 << 31


def best_spherical_kmeans(
    points: Tensor, clusters: int, generator: torch.Generator, restarts: int = 8, iterations: int = 50
) -> tuple[Tensor, float]:
    """Unit centres (K, D) of points (N, D) and the mean cosine of a point with its centre, the best of several starts.

    Every start is seeded by k-means++ (Arthur and Vassilvitskii, 2007) with 1 - cosine as the distance; a cluster that
    loses all its points moves to the point that its restart serves worst. Ends when no start's mean cosine rises by
    1e-5. Raises `ValueError` when there are fewer points than clusters.
    """
    points = F.normalize(points, dim=1)
    if len(points) < clusters:
        raise ValueError(f"{len(points)} points cannot form {clusters} clusters.")
    with _threads_for(points.numel() * clusters):
        return _best(points, clusters, generator, restarts, iterations)


@contextmanager
def _threads_for(work: int) -> Iterator[None]:
    """One thread for products of so many multiplications, where they are small; as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if work < LARGE else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _best(
    points: Tensor, clusters: int, generator: torch.Generator, restarts: int, iterations: int
) -> tuple[Tensor, float]:
    centres = torch.stack([plus_plus(points, clusters, generator) for _ in range(restarts)])
    quality = points.new_full((restarts,), -2.0)
    for _ in range(iterations):
        updated = [_update(points, each) for each in centres]
        reached = torch.stack([cosine for _, cosine in updated])
        centres = torch.stack([centre for centre, _ in updated])
        if bool((reached - quality < 1e-5).all()):
            break
        quality = reached
    quality = torch.stack([(points @ each.T).amax(dim=1).mean() for each in centres])
    best = int(quality.argmax())
    return centres[best], float(quality[best])


def plus_plus(points: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """K of the unit points (N, D), each drawn with probability in proportion to its distance from those before it."""
    first = torch.randint(len(points), (1,), generator=generator)
    chosen = [int(first)]
    distance = (1 - points @ points[chosen[0]]).clamp(min=0)
    for _ in range(clusters - 1):
        total = distance.cumsum(0)
        # All points coincide with a centre: any point is as good as another.
        if total[-1] <= 0:
            total = torch.ones_like(distance).cumsum(0)
        draw = torch.rand(1, generator=generator).to(total) * total[-1]
        chosen.append(min(int(torch.searchsorted(total, draw)), len(points) - 1))
        distance = torch.minimum(distance, (1 - points @ points[chosen[-1]]).clamp(min=0))
    return points[chosen]


def _update(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    cosine, nearest = (points @ centres.T).max(dim=1)
    sums = torch.zeros_like(centres).index_add_(0, nearest, points)
    empty = torch.bincount(nearest, minlength=len(centres)) == 0
    if bool(empty.any()):
        sums[empty] = points[cosine.topk(int(empty.sum()), largest=False).indices]
    return F.normalize(sums, dim=1), cosine.mean()
