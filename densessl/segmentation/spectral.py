"""Segments of single pictures by the eigenvectors of a graph of their tokens, without training.

After "Deep Spectral Methods" (Melas-Kyriazi et al., arXiv 2205.07839); EAGLE (arXiv 2403.01482) has such a graph too.
The weight between two tokens is

    w(a, b) = max(0, cos(f_a, f_b)) + colour * w_knn(a, b)

with w_knn(a, b) = max(0, 1 - |psi_a - psi_b|) where one is among the other's nearest in psi = (s cos h, s sin h, v, x,
y), colour and place, as in KNN matting (Chen, Li, Tang, "KNN Matting", 2012). Segments are clusters of the rows of the
first eigenvectors of L = I - D^-1/2 W D^-1/2, each row scaled to length 1 (Ng, Jordan, Weiss, "On Spectral Clustering",
2001).

Such segments mean nothing beyond their picture. `spectral_tokens` gives every token the mean feature of its segment,
and what takes tokens takes these: by a `Segmenter` whole segments get a class that is the same in all pictures, and the
refinements follow edges as ever. Its centres may be those of plain tokens, or be learned from such means, as in the
paper. mIoU and accuracy in % by k-means on colours and gradients at 224 pixels (window=1), on every eighth validation
frame of CamVid and on 24 generated scenes, 3 seeds (2 with the CRF):

                                       CamVid       with CRF     scenes       with CRF
    plain tokens                       26.9  53.1   31.6  61.5   28.0  46.1   30.9  49.3
    means of 60 segments               29.2  56.2   33.0  63.1   29.3  47.7   31.2  50.0
    the same, without colours          25.0  51.3
    means of 30, centres of the means  26.6  52.1   28.7  57.7   30.3  49.0

The gain is the colours', and the weight and the number were chosen on these very pictures. On others, 21 training
frames of CamVid and 16 more scenes, little is left of it without the CRF and nothing with it:

    plain tokens                       17.9  45.6   21.1  54.4   25.5  43.0   29.0  47.9
    means of 60 segments               18.0  45.8   20.5  53.2   26.5  44.6   28.9  48.0
    the same, centres of the means     16.2  41.1                30.5  48.2

Counting segments by the widest gap between eigenvalues finds two in nearly every picture (8.0 and 22.0 % on CamVid), so
that their number is given.

Where we differ from the paper: it describes a segment by running the network again on a crop around it, we by the mean
of the features at hand; it counts hue whatever the saturation, by which greys scatter; it clusters the eigenvectors as
they are, without the first, and into 15 segments or fewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh
from scipy.spatial import cKDTree
from torch import Tensor

from densessl.data.resize import resize
from densessl.errors import at_least
from densessl.segmentation.kmeans import best_spherical_kmeans

DENSE = 1600  # tokens up to which the graph has all of its edges
EDGES = 64  # most alike tokens that each keeps beyond that
BLOCK = 1 << 24  # cosines held at a time
RESTARTS = 4


@dataclass(frozen=True)
class SpectralConfig:
    """The graph of a picture, and how many segments are cut from it."""

    segments: int = 60
    colour: float = 10.0  # weight of the edges by colour, as in the paper; 0 for none
    neighbours: int = 10  # of a token in colour and place
    place: float = 1.0  # distance of the ends of the longer side, where that of black and white is 1

    def __post_init__(self) -> None:
        at_least(1, "spectral", self, "segments", "neighbours")
        at_least(0, "spectral", self, "colour", "place")


def spectral_segments(
    tokens: Tensor,
    shape: tuple[int, int],
    image: np.ndarray | None = None,
    config: SpectralConfig | None = None,
    seed: int = 0,
) -> Tensor:
    """(h * w,) int64 the segment of each token, the largest segment first.

    tokens: (h * w, C) of a map of `shape` (h, w) that covers the picture. image: (H, W, 3) uint8 RGB at any size; None
    leaves colours out. A picture has no more segments than tokens. On the CPU; the same seed gives the same segments.
    """
    config = config or SpectralConfig()
    if len(tokens) != shape[0] * shape[1]:
        raise ValueError(f"{len(tokens)} tokens are no map of {shape[0]} x {shape[1]}.")
    _, rows = eigenvectors(affinity(tokens, shape, image, config), min(config.segments, len(tokens)), seed)
    generator = torch.Generator().manual_seed(seed)
    centres = best_spherical_kmeans(rows, rows.shape[1], generator, RESTARTS)[0]
    found = (F.normalize(rows, dim=1) @ centres.T).argmax(dim=1)
    order = torch.bincount(found, minlength=len(centres)).argsort(descending=True, stable=True)
    return order.argsort()[found]


def spectral_tokens(
    tokens: Tensor,
    shape: tuple[int, int],
    image: np.ndarray | None = None,
    config: SpectralConfig | None = None,
    seed: int = 0,
) -> Tensor:
    """(h * w, C): each token replaced by the mean of the unit tokens of its segment, scaled to length 1."""
    segments = spectral_segments(tokens, shape, image, config, seed)
    return means_of(tokens, segments)[segments]


def means_of(tokens: Tensor, segments: Tensor) -> Tensor:
    """(S, C) unit: the mean direction of each segment's tokens (n, C); segments: (n,) below S."""
    unit = F.normalize(tokens.float(), dim=1)
    sums = unit.new_zeros(int(segments.max()) + 1, unit.shape[1]).index_add_(0, segments, unit)
    return F.normalize(sums, dim=1)


def affinity(
    tokens: Tensor, shape: tuple[int, int], image: np.ndarray | None, config: SpectralConfig
) -> Tensor | sparse.csr_array:
    """(n, n) symmetric weights of the graph: a tensor up to `DENSE` tokens, beyond it a sparse array."""
    unit = F.normalize(tokens.detach().float().cpu(), dim=1)
    colours = None
    if image is not None and config.colour > 0:
        colours = config.colour * colour_affinity(image, shape, config.neighbours, config.place)
    if len(unit) <= DENSE:
        weights = (unit @ unit.T).clamp_(min=0)
        return weights if colours is None else weights + torch.from_numpy(colours.toarray()).to(weights)
    weights = nearest_cosines(unit, EDGES)
    return weights if colours is None else (weights + colours).tocsr()


def colour_affinity(image: np.ndarray, shape: tuple[int, int], neighbours: int, place: float) -> sparse.csr_array:
    """(n, n) symmetric float32: 1 - distance in colour and place, of each token and its nearest; 0 for all others.

    image: (H, W, 3) uint8 RGB, whose mean colour in each of the h * w cells counts.
    """
    height, width = shape
    hsv = cv2.cvtColor(resize(image, height, width).astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hue, saturation, value = np.deg2rad(hsv[..., 0]), hsv[..., 1], hsv[..., 2]
    y, x = np.mgrid[:height, :width] * (place / max(1, max(shape) - 1))
    points = np.stack([saturation * np.cos(hue), saturation * np.sin(hue), value, x, y], axis=-1).reshape(-1, 5)
    distance, other = cKDTree(points).query(points, k=range(1, min(neighbours + 1, len(points)) + 1))
    distance, other = distance[:, 1:], other[:, 1:]  # nearest of all is the token itself
    weights = np.maximum(0, 1 - distance).astype(np.float32)
    owner = np.repeat(np.arange(len(points)), weights.shape[1])
    return _symmetric(weights.ravel(), owner, other.ravel(), len(points))


def nearest_cosines(unit: Tensor, edges: int) -> sparse.csr_array:
    """(n, n) symmetric float32: cosines above 0 of each unit token (n, C) and its `edges` most alike, itself too."""
    parts = [(part @ unit.T).topk(min(edges, len(unit)), dim=1) for part in unit.split(max(1, BLOCK // len(unit)))]
    weights = torch.cat([part.values for part in parts]).clamp(min=0).numpy()
    other = torch.cat([part.indices for part in parts]).numpy()
    owner = np.repeat(np.arange(len(unit)), weights.shape[1])
    return _symmetric(weights.ravel(), owner, other.ravel(), len(unit))


def _symmetric(weights: np.ndarray, rows: np.ndarray, columns: np.ndarray, n: int) -> sparse.csr_array:
    """An edge is there when either end has it."""
    table = sparse.coo_array((weights, (rows, columns)), shape=(n, n)).tocsr()
    return table.maximum(table.T).tocsr()


def eigenvectors(weights: Tensor | sparse.csr_array, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The least eigenvalues (count,) of the symmetric normalised Laplacian, and their vectors (n, count), float32.

    Of a dense graph by LAPACK, in a third of the time that all vectors take; of a sparse one by Lanczos, whose start is
    drawn by the seed. A token without edges has the eigenvalue 1.
    """
    if isinstance(weights, Tensor):
        scale = weights.double().sum(dim=1).clamp(min=1e-12).rsqrt()
        joined = (weights * scale * scale[:, None]).float().numpy()
        found, vectors = eigh(joined, subset_by_index=[len(joined) - count, len(joined) - 1], overwrite_a=True)
    else:
        degree = sparse.diags_array(np.maximum(weights.sum(axis=1), 1e-12).astype(np.float64) ** -0.5)
        joined = degree @ weights.astype(np.float64) @ degree
        start = np.random.default_rng(seed).standard_normal(joined.shape[0])
        found, vectors = eigsh(joined, count, which="LA", v0=start, tol=1e-6)
    order = np.argsort(-found, kind="stable")
    return torch.from_numpy(1 - found[order]).float(), torch.from_numpy(vectors[:, order]).float()
