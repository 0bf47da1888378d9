"""A table's rows and cells, from its words and the lines that are drawn in it.

Columns are told by upright lines, else by gaps (`gaps`); rows by horizontal lines and edges of backgrounds where each
row has them, else by lines of words between those that there are (`textrows`). Everything is done with the table made
level: a scan may be skewed by two degrees.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from densessl.documents.parsing.layout.lines import holds
from densessl.documents.parsing.model import Box, Table, Word
from densessl.documents.parsing.tables.cells import cells_of
from densessl.documents.parsing.tables.grid import Grid
from densessl.documents.parsing.tables.phrases import boxes_of, laid, turned, words_slope
from densessl.documents.parsing.tables.rules import SKEWED, Crop, Rules, drawn_slope, find_rules


def read_table(words: Sequence[Word], bbox: Box, picture: np.ndarray, scale: float) -> Table:
    """The table in `bbox` (points): each of its words, those whose middle lies in it, is in one cell's text.

    words: of the page, in points. picture: (H, W, 3) uint8 RGB of the whole page. scale: pixels a point. A table
    without words has the cells that are drawn, at least one.
    """
    bbox = tuple(float(each) for each in np.nan_to_num(np.asarray(bbox, np.float64), posinf=1e6, neginf=-1e6))
    bbox = min(bbox[0], bbox[2]), min(bbox[1], bbox[3]), max(bbox[0], bbox[2]), max(bbox[1], bbox[3])
    own = laid([word for word, box in zip(words, boxes_of(words), strict=True) if holds(bbox, box)])
    boxes = boxes_of(own)
    crop = Crop.of(picture, bbox, scale) if scale > 0 and np.isfinite(scale) else None
    slope = drawn_slope(crop, boxes) if crop is not None else None
    slope = words_slope(boxes) if slope is None else slope
    middle = crop.middle if crop is not None else ((bbox[0] + bbox[2]) / 2, (bbox[1] + bbox[3]) / 2)
    skewed = abs(slope) > SKEWED
    if skewed:
        boxes = turned(boxes, slope, middle)
        crop = crop.turned(slope) if crop is not None else None
    rules = find_rules(crop, boxes, bbox) if crop is not None else Rules()
    grid = Grid.of(own, boxes, bbox, rules)
    table = cells_of(grid)
    if skewed:
        places = turned(np.array([cell.bbox for cell in table.cells]), -slope, middle)
        for cell, place in zip(table.cells, places.tolist(), strict=True):
            cell.bbox = tuple(place)
    return table
