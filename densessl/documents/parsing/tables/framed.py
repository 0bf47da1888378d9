"""Which tables are in one region: frames below each other with headings between them, as forms have them.

A frame is what lines that are drawn make together, with upright ones at both of its edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import cv2
import numpy as np

from densessl.documents.parsing.drawings import LINE, USUAL, ink_of, straight
from densessl.documents.parsing.layout.lines import boxed, em, gap, lines_of
from densessl.documents.parsing.model import Box, Line, Word

WIDE = 0.5  # of the region's width, that a frame has at least
LOW = 1.2  # ems that it is high, at least
CLOSED = 0.8  # of its height, over which its edges are drawn
EDGE = 3  # pixels from its box to them
WHOLE = 3.0  # ems between the parts of what stands in a row of a table


def parts_of(picture: np.ndarray, box: Box, words: Sequence[Word], scale: float) -> list[Box]:
    """The boxes of the tables in a region, from top to bottom, [box] where it is one.

    It is several where there are two frames or more with words between, and each line of these is in one piece. Other
    lines outside of frames make up tables of their own. picture: of the page, (H, W, 3) uint8 RGB. box: in points.
    words: in it. scale: pixels a point.
    """
    frames = _frames(picture, box, words, scale)
    if len(frames) < 2:
        return [box]
    outside = [word for word in words if not any(_beside(word.bbox, frame) for frame in frames)]
    lines = lines_of(outside, WHOLE)
    alone = [line for line in lines if not any(line is not each and _beside(line.bbox, each.bbox) for each in lines)]
    inner = [line for line in alone if frames[0][3] < line.bbox[1] and line.bbox[3] < frames[-1][1]]
    if not inner:
        return [box]
    known = {id(line) for line in alone}
    rest = _stacks([line for line in lines if id(line) not in known], [*frames, *(line.bbox for line in alone)])
    return sorted([*frames, *rest], key=lambda each: each[1])


def _frames(picture: np.ndarray, box: Box, words: Sequence[Word], scale: float) -> list[Box]:
    """From top to bottom."""
    size = scale * median([word.size or word.bbox[3] - word.bbox[1] for word in words] or [USUAL])
    ink = ink_of(picture, box, words, scale)
    if min(ink.shape) < 2 * EDGE:
        return []
    across, upright = (straight(ink, max(3, round(LINE * size)), axis) for axis in (0, 1))
    if not upright.any():
        return []
    drawn = cv2.dilate(across | upright, np.ones((3, 3), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(drawn, connectivity=8)
    left, top = max(box[0], 0.0), max(box[1], 0.0)
    found = []
    for place in np.flatnonzero((stats[1:, 2] >= WIDE * ink.shape[1]) & (stats[1:, 3] >= LOW * size)) + 1:
        x, y, width, height = stats[place, :4].tolist()
        own = upright[y : y + height, x : x + width] & (labels[y : y + height, x : x + width] == place)
        edges = own[:, : 2 * EDGE], own[:, -2 * EDGE :]
        if min(float(edge.any(1).mean()) for edge in edges) >= CLOSED:
            found.append((left + x / scale, top + y / scale, left + (x + width) / scale, top + (y + height) / scale))
    found.sort(key=lambda each: each[1])
    return found if all(gap(a, b, 1) >= 0 for a, b in zip(found, found[1:], strict=False)) else []


def _beside(box: Box, other: Box) -> bool:
    """Whether the middle of a box is at the height of another."""
    return other[1] <= (box[1] + box[3]) / 2 <= other[3]


def _stacks(lines: Sequence[Line], others: Sequence[Box]) -> list[Box]:
    """The boxes around lines below each other with nothing else between them."""
    stacks: list[list[Line]] = []
    for line in sorted(lines, key=lambda each: each.bbox[1]):
        last = stacks[-1][-1].bbox[3] if stacks else 0.0
        if stacks and not any(last - em(line) / 2 <= other[1] < line.bbox[1] for other in others):
            stacks[-1].append(line)
        else:
            stacks.append([line])
    return [boxed(stack) for stack in stacks]
