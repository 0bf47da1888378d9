"""Masks of objects as COCO files have them, polygons or run lengths, read so that whatever is handed on can be drawn.

pycocotools draws what it is given without a look at it: of run lengths that do not fill the page it leaves memory as it
was found, and a corner far outside of the page costs it the memory of the way there. So they are read here first.
"""

from __future__ import annotations

import numpy as np

CODE = 7  # characters of one run at most: 35 bits
MARGIN = 1000  # pixels around a page in which corners stay as they were marked: cTDaR is measured by them


def polygons(given: list) -> list[np.ndarray] | None:
    """COCO's [[x, y, x, y, ...], ...] -> polygons (P, 2) of three points or more; None where it is something else."""
    try:
        arrays = [np.array(each, np.float64).reshape(-1, 2) for each in given]
    except (TypeError, ValueError, OverflowError):
        return None
    return arrays if all(len(each) >= 3 and np.isfinite(each).all() for each in arrays) else None


def near_page(shape: list[np.ndarray], size: tuple[int, int]) -> list[np.ndarray]:
    """Polygons (P, 2), cut off `MARGIN` pixels outside of a page of width and height `size`: on it they cover the same.

    Those that lie outside of the page are left out.
    """
    found = []
    for polygon in shape:
        for axis, length in enumerate(size):
            polygon = _cut(_cut(polygon, axis, 1, length + MARGIN), axis, -1, MARGIN)
        if len(polygon) >= 3 and (polygon.max(axis=0) > 0).all() and (polygon.min(axis=0) < size).all():
            found.append(polygon)
    return found


def _cut(polygon: np.ndarray, axis: int, sign: int, limit: float) -> np.ndarray:
    """What of a polygon lies at sign * coordinate <= limit (Sutherland and Hodgman, 1974).

    The parts of one that is not convex stay joined along the limit.
    """
    inside = sign * polygon[:, axis] <= limit
    if inside.all():
        return polygon
    following = np.roll(polygon, -1, axis=0)
    begin, end = polygon[:, axis] / 2, following[:, axis] / 2  # halves: the way between two floats may be none
    with np.errstate(all="ignore"):  # of sides that do not cross the limit
        share = ((sign * limit / 2 - begin) / (end - begin))[:, None]
        crossing = polygon * (1 - share) + following * share
    crossing[:, axis] = sign * limit
    kept = np.stack([inside, inside != np.roll(inside, -1)], axis=1)
    return np.stack([polygon, crossing], axis=1)[kept]


def filled_runs(given: object, size: tuple[int, int]) -> dict | None:
    """COCO's {"size", "counts"}, counts in a list or compressed -> the same with compressed ones, in bytes.

    None where they are no runs that fill a page of width and height `size` to the last pixel.
    """
    from pycocotools import mask

    high, wide = int(size[1]), int(size[0])
    if not isinstance(given, dict) or given.get("size") != [high, wide]:
        return None
    counts = given.get("counts")
    if isinstance(counts, list):
        if not all(type(each) is int and each >= 0 for each in counts) or sum(counts) != high * wide:
            return None
        try:
            return mask.frPyObjects({"size": [high, wide], "counts": counts}, high, wide)
        except OverflowError:  # of a page with more pixels than 32 bits count
            return None
    runs = uncompressed(counts) if isinstance(counts, str) else None
    if runs is None or runs.min() < 0 or runs.max() > high * wide or runs.sum() != high * wide:
        return None
    return {"size": [high, wide], "counts": counts.encode("ascii")}


def uncompressed(counts: str) -> np.ndarray | None:
    """COCO's compressed counts -> (R,) int64 runs; None where there is no such code.

    A character less 48 holds five bits of a number, the lowest first, a sixth that says that more follow, and in the
    last character of a number the fifth bit is its sign. From the fourth number on it is the run less the one two
    before.
    """
    codes = np.array([ord(each) for each in counts], np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() >= 64 or codes[-1] & 32:
        return None
    ends = np.flatnonzero(codes & 32 == 0)
    begins = np.concatenate([[0], ends[:-1] + 1])
    if (ends - begins).max() >= CODE:
        return None
    place = np.arange(len(codes)) - np.repeat(begins, ends - begins + 1)
    runs = np.add.reduceat((codes & 31) << 5 * place, begins)
    runs -= np.where(codes[ends] & 16, 1 << 5 * (place[ends] + 1), 0)
    runs[1::2], runs[2::2] = runs[1::2].cumsum(), runs[2::2].cumsum()
    return runs
