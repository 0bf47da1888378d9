"""Lines in a detector's box of a table that are none of it: the end of the text above, a caption, the text below.

They stand at an edge of the box, on the other side of the outermost line that is drawn over the table's width, and all
words of each stand together, as those of a row of cells do not. Where upright lines begin at that line, nothing beyond
it is of the table. Else names of columns may stand there, so that the lines go only where they are a caption, or go on
with the lines outside of the box as those of a paragraph do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from densessl.documents.parsing.layout.lines import boxed, em, gap, holds, lines_of, overlap
from densessl.documents.parsing.layout.missed import CAPTION, continued
from densessl.documents.parsing.model import Box, Line, Word
from densessl.documents.parsing.tables.phrases import WIDEST, boxes_of
from densessl.documents.parsing.tables.rules import Crop, Rule, find_lines

MOST = 4  # lines at an edge that are none of a table
WIDTH = 0.8  # of what stands beyond it, that an outermost line is drawn over
NEAR = 2.5  # points between the end of an upright line and the one that it ends at
INWARDS = 3.0  # ems behind lines at an edge in which what is drawn is looked for
AROUND = 8.0  # ems outside of a box in which lines of a paragraph are looked for


def without_strangers(bbox: Box, words: Sequence[Word], picture: np.ndarray, scale: float) -> Box:
    """The box of a table, in points, less lines that are none of it at its upper and its lower edge.

    words: of the page. picture: of it, (H, W, 3) uint8 RGB. scale: pixels a point.
    """
    own = [word for word in words if holds(bbox, word.bbox)]
    for below in (False, True):
        lines = _alone(own, words, below) if own else []
        taken = {id(word) for line in lines for word in line}
        rest = boxes_of([word for word in own if id(word) not in taken])
        if not lines or not len(rest):
            continue
        crop = Crop.of(picture, _edge(bbox, lines, below), scale)
        across, upright = find_lines(crop, boxes_of(own)) if crop is not None else ([], [])
        at = _outermost(across, rest, below)
        lines = [line for line in lines if at is not None and _beyond(line, at, below)]
        if lines and (_framed(upright, at, below) or _goes_on(lines, own, words, below)):
            bbox = (*bbox[:3], at + 1.0) if below else (bbox[0], at - 1.0, *bbox[2:])
    return bbox


def _edge(bbox: Box, lines: Sequence[Sequence[Word]], below: bool) -> Box:
    """The part of a box that lines at its edge are in, and the next few."""
    size = max(word.size or word.bbox[3] - word.bbox[1] for line in lines for word in line)
    top = min(word.bbox[1] for line in lines for word in line) - INWARDS * size
    bottom = max(word.bbox[3] for line in lines for word in line) + INWARDS * size
    return (bbox[0], max(top, bbox[1]), *bbox[2:]) if below else (*bbox[:3], min(bottom, bbox[3]))


def _alone(own: Sequence[Word], words: Sequence[Word], below: bool) -> list[list[Word]]:
    """The lines from an edge of a box inwards whose words stand together, up to `MOST`.

    own: words that the box has, of those of the page. Lines are whole, though the edge may run through them.
    """
    left = sorted(own, key=lambda word: -word.bbox[3] if below else word.bbox[1])
    found: list[list[Word]] = []
    while left and len(found) < MOST:
        row = sorted((word for word in words if overlap(word.bbox, left[0].bbox) > 0.5), key=lambda word: word.bbox[0])
        here = {id(word) for word in left} & {id(word) for word in row}
        lines = [run for run in _runs(row) if any(id(word) in here for word in run)]
        if len(lines) > 1:
            break
        found += lines
        left = [word for word in left if id(word) not in here]
    return found


def _runs(row: Sequence[Word]) -> list[list[Word]]:
    """Words of a row from left to right, parted at gaps that are wider than blanks."""
    widest = WIDEST * max(word.size or word.bbox[3] - word.bbox[1] for word in row)
    runs = [[row[0]]]
    for word in row[1:]:
        if word.bbox[0] - max(each.bbox[2] for each in runs[-1]) > widest:
            runs.append([])
        runs[-1].append(word)
    return runs


def _outermost(across: Sequence[Rule], rest: np.ndarray, below: bool) -> float | None:
    """Where the outermost line lies that is drawn over the width of the rest of a table."""
    low, high = float(rest[:, 0].min()), float(rest[:, 2].max())
    return max(
        (rule.at for rule in across if rule.covers(low, high) >= WIDTH),
        key=lambda at: at if below else -at,
        default=None,
    )


def _beyond(line: Sequence[Word], at: float, below: bool) -> bool:
    """Whether a line of words stands on the outer side of a line that is drawn."""
    if below:
        return all((word.bbox[1] + word.bbox[3]) / 2 > at + 1.0 for word in line)
    return all((word.bbox[1] + word.bbox[3]) / 2 < at - 1.0 for word in line)


def _framed(upright: Sequence[Rule], at: float, below: bool) -> bool:
    """Whether two upright lines or more begin at this height, and none reaches beyond it."""
    ends = [rule.high if below else rule.low for rule in upright]
    beyond = any(end > at + NEAR if below else end < at - NEAR for end in ends)
    return not beyond and sum(abs(end - at) <= NEAR for end in ends) >= 2


def _goes_on(strangers: Sequence[Sequence[Word]], own: Sequence[Word], words: Sequence[Word], below: bool) -> bool:
    """Whether lines of words, from the edge inwards, are a caption or go on with those outside, which no table does."""
    lines = [Line(list(line), boxed([Line([word], word.bbox) for word in line])) for line in strangers]
    lines = lines[::-1] if below else lines
    if CAPTION.match(lines[0].text):
        return True
    inner = {id(word) for word in (*own, *(word for line in strangers for word in line))}
    box, size = boxed(lines), em(lines[0])
    near = [word for word in words if id(word) not in inner and gap(word.bbox, box, 1) <= AROUND * size]
    beside = [line for line in lines_of(near) if gap(line.bbox, box, 0) < 0]
    beside = [line for line in beside if (line.bbox[1] >= box[3] - 1 if below else line.bbox[3] <= box[1] + 1)]
    return bool(beside) and continued(beside, lines[-2:] if below else lines[:2])
