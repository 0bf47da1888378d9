"""Masks of objects as COCO files have them, polygons or run lengths, read so that whatever is handed on can be drawn.

pycocotools draws what it is given without a look at it: of run lengths that do not fill the page it leaves memory as it
was found. So they are read here first.
"""

from __future__ import annotations

import numpy as np

CODE = 7  # characters of one run at most: 35 bits


def polygons(given: list) -> list[np.ndarray] | None:
    """COCO's [[x, y, x, y, ...], ...] -> polygons (P, 2) of three points or more; None where it is something else."""
    try:
        arrays = [np.array(each, np.float64).reshape(-1, 2) for each in given]
    except (TypeError, ValueError, OverflowError):
        return None
    return arrays if all(len(each) >= 3 and np.isfinite(each).all() for each in arrays) else None


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
