"""Masks without specks: what is smaller than one looks at goes to the segment that lies around it.

A mask is taken as its runs, stretches of one segment in a row of pixels. There are far fewer of them than pixels, and
all is told by them: which are connected, how large each part is, and how long the border is that it shares with others.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from densessl.segmentation.features.tiles import TileFrame
from densessl.segmentation.features.transform import Frame


def least_pixels(share: float, size: tuple[int, int], frame: Frame | None = None) -> int:
    """How many pixels a share of a picture (H, W) is or, of one that a frame shows through tiles, a share of a tile."""
    seen = frame.tile**2 / math.prod(frame.size(*size)) if isinstance(frame, TileFrame) else 1.0
    return math.ceil(share * min(1.0, seen) * math.prod(size))


def without_specks(labels: np.ndarray, least: int) -> np.ndarray:
    """The mask (H, W) with every connected part of fewer than `least` pixels given to a segment beside it.

    Pixels are connected by their sides. A part goes to the segment with which it shares the longest border, counted in
    sides of pixels, among those beside it that are large enough or were given away in an earlier round; the lowest of
    equals. Rounds go on until no part is too small, so that a speck within specks goes with what surrounds them. Where
    no part is large enough the largest one counts as such, the first in reading order of equals.
    """
    if least <= 1 or not labels.size:
        return labels
    starts, values, lengths = _runs(labels)
    above, below, touching = _pairs(starts, *labels.shape)
    same = values[above] == values[below]
    size = len(starts)
    graph = coo_array((np.ones(int(same.sum()), dtype=bool), (above[same], below[same])), shape=(size, size))
    count, part = connected_components(graph, directed=False)
    area = np.bincount(part, weights=lengths, minlength=count)
    settled = area >= least
    if settled.all():
        return labels
    settled[area.argmax()] = True
    segment = np.zeros(count, dtype=np.int64)
    segment[part] = values
    beside = np.flatnonzero(starts[1:] % labels.shape[1])  # runs whose next one is in the same row
    one = np.concatenate((above[~same], beside))
    other = np.concatenate((below[~same], beside + 1))
    border = np.concatenate((touching[~same], np.ones(len(beside), dtype=np.int64)))
    _give(segment, settled, part[np.concatenate((one, other))], part[np.concatenate((other, one))], np.tile(border, 2))
    return np.repeat(segment[part].astype(labels.dtype), lengths).reshape(labels.shape)


def _give(segment: np.ndarray, settled: np.ndarray, part: np.ndarray, other: np.ndarray, border: np.ndarray) -> None:
    """Change the segment of the parts that are not settled, round by round.

    part, other, border: for each stretch of border both of its sides, in either order, and its length.
    """
    kinds = int(segment.max()) + 1
    while not settled.all():
        open_ = ~settled[part]
        part, other, border = part[open_], other[open_], border[open_]
        known = settled[other]
        pair, where = np.unique(part[known] * kinds + segment[other[known]], return_inverse=True)
        shared = np.bincount(where, weights=border[known])
        given, chosen = np.divmod(pair, kinds)
        order = np.lexsort((chosen, -shared, given))
        first = order[np.unique(given[order], return_index=True)[1]]
        segment[given[first]] = chosen[first]
        settled[given[first]] = True


def _runs(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first place of each run in the flattened mask, its segment and its length."""
    flat = labels.reshape(-1)
    begins = np.empty(labels.shape, dtype=bool)
    begins[:, 0] = True
    np.not_equal(labels[:, 1:], labels[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    return starts, flat[starts], np.diff(starts, append=flat.size)


def _pairs(starts: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The runs that lie over each other, the upper one, the lower one, and along how many pixels."""
    upper = starts[starts < (height - 1) * width]
    lower = starts[starts >= width] - width
    places = np.union1d(upper, lower)
    above = np.searchsorted(starts, places, side="right") - 1
    below = np.searchsorted(starts, places + width, side="right") - 1
    return above, below, np.diff(places, append=(height - 1) * width)
