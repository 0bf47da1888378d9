"""From a page and the owners of its pixels to what is written of each element: box, outline, text, cells.

Boxes are tight around ink. Outlines are PubLayNet's: of text the union of its lines, each as long as its ink, of
tables, figures and formulas the box. All are in pixels of the image, from its top left corner: a pixel of column i
reaches from i to i + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from densessl.data.synthetic.pages.owners import boxes
from densessl.data.synthetic.pages.page import Element

WHOLE = ("Table", "Picture", "Formula")  # whose outline is their box
SNAP = 0.03  # of a text's width; lines that end this close to its side end there


@dataclass
class Warp:
    """A map of the plane, (2, 3) float64, from pixels of the page to pixels of its picture."""

    matrix: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) -> (N, 2); corners of pixels, whereas OpenCV's matrices count from their centres."""
        return (points - 0.5) @ self.matrix[:, :2].T + self.matrix[:, 2] + 0.5


def describe(
    elements: Sequence[Element], owners: np.ndarray, scale: float, moved: tuple[np.ndarray, Warp] | None = None
) -> list[dict]:
    """A record of each element that has ink in the picture.

    owners: uint16 (H, W), of the page as it was drawn. scale: pixels per point. moved: where the page was warped, the
    owners of its picture and the map. Records have `number` (the owner's), `kind`, `bbox` [x, y, width, height],
    `segmentation` (polygons), `area` of those, `text`, and lists their `group`, tables their `table`.
    """
    plain = boxes(owners, len(elements))
    shown, warp = moved or (owners, None)
    places = plain if warp is None else boxes(shown, len(elements))
    records = []
    for number, (element, own, place) in enumerate(zip(elements, plain, places, strict=True), 1):
        if place[2] == 0:
            continue
        x0, y0, x1, y1 = own
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float64)
        outlines = [corners] if element.kind in WHOLE else outline(owners[y0:y1, x0:x1] == number, (x0, y0))
        if warp is not None:
            outlines = [_into(warp(each), place) for each in outlines]
        record = {
            "number": number,
            "kind": element.kind,
            "bbox": _numbers((place[0], place[1], place[2] - place[0], place[3] - place[1])),
            "segmentation": [_numbers(each.ravel()) for each in outlines],
            "area": round(sum(map(area, outlines)), 2),
            "text": element.text,
        }
        if element.group is not None:
            record["group"] = element.group
        if element.cells:
            record["table"] = structure(element, scale, warp)
        records.append(record)
    return records


def outline(mask: np.ndarray, origin: tuple[int, int]) -> list[np.ndarray]:
    """The union of the lines of a text, bool (h, w) tight, as polygons (N, 2) of whole pixels.

    Lines reach to the middle of the gap between them. Where two do not lie above each other at all, a polygon ends.
    """
    inked = mask.any(axis=1)
    steps = np.flatnonzero(np.diff(np.concatenate([[False], inked, [False]])))
    runs = _joined(steps.reshape(-1, 2))
    width = mask.shape[1]
    tops = [0, *((above[1] + below[0]) // 2 for above, below in zip(runs, runs[1:], strict=False)), mask.shape[0]]
    spans = []
    for first, last in runs:
        columns = np.flatnonzero(mask[first:last].any(axis=0))
        left, right = int(columns[0]), int(columns[-1]) + 1
        spans.append((0 if left <= SNAP * width else left, width if width - right <= SNAP * width else right))
    polygons, begun = [], 0
    for place in range(1, len(spans) + 1):
        apart = place == len(spans) or spans[place][0] >= spans[place - 1][1] or spans[place][1] <= spans[place - 1][0]
        if apart:
            polygons.append(_stairs(spans[begun:place], tops[begun : place + 1]) + np.array(origin, dtype=np.float64))
            begun = place
    return polygons


def _joined(runs: np.ndarray) -> list[tuple[int, int]]:
    """Rows of ink as lines: dots and accents, which are low, belong to the line next to them."""
    lines: list[tuple[int, int]] = []
    usual = np.median(runs[:, 1] - runs[:, 0])
    for first, last in runs.tolist():
        if lines and (first - lines[-1][1] <= 1 or min(last - first, lines[-1][1] - lines[-1][0]) < 0.4 * usual):
            lines[-1] = lines[-1][0], last
        else:
            lines.append((first, last))
    return lines


def _stairs(spans: Sequence[tuple[int, int]], tops: Sequence[int]) -> np.ndarray:
    """The outline of rectangles that stand on each other, (N, 2), without corners that are none."""
    right, left = [], []
    for (x0, x1), top, low in zip(spans, tops, tops[1:], strict=False):
        if right and right[-1][0] == x1:
            right.pop()
        else:
            right.append((x1, top))
        right.append((x1, low))
        if left and left[-1][0] == x0:
            left.pop()
        else:
            left.append((x0, top))
        left.append((x0, low))
    return np.array(right + left[::-1], dtype=np.float64)


def _into(points: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Points of a warped outline drawn into the box of the warped ink, whose sides they reach to a pixel."""
    low, high = place[:2].astype(np.float64), place[2:].astype(np.float64)
    return np.clip(points, low, high)


def area(points: np.ndarray) -> float:
    """Of a polygon (N, 2), by the shoelace formula."""
    x, y = points[:, 0], points[:, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def structure(element: Element, scale: float, warp: Warp | None) -> dict:
    """Rows, columns and cells of a table as the corners of quadrilaterals, clockwise from the top left."""

    def corners(x0: float, y0: float, x1: float, y1: float) -> list[float]:
        points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) * scale
        return _numbers((points if warp is None else warp(points)).ravel())

    rows, columns = element.rows, element.columns
    return {
        "rows": [corners(columns[0], top, columns[-1], low) for top, low in zip(rows, rows[1:], strict=False)],
        "columns": [corners(left, rows[0], right, rows[-1]) for left, right in zip(columns, columns[1:], strict=False)],
        "cells": [
            {
                "rows": [cell.row, cell.last_row],
                "columns": [cell.column, cell.last_column],
                "corners": corners(cell.box[0], cell.box[1], cell.box[0] + cell.box[2], cell.box[1] + cell.box[3]),
                "header": cell.header,
                "text": cell.text,
            }
            for cell in element.cells
        ],
    }


def ink(owners: np.ndarray, number: int) -> dict:
    """The pixels of an element as COCO's run lengths."""
    from pycocotools import mask

    encoded = mask.encode(np.asfortranarray(owners == number, dtype=np.uint8))
    return {"size": list(map(int, encoded["size"])), "counts": encoded["counts"].decode()}


def _numbers(values: Sequence[float]) -> list[float]:
    """Whole numbers as such, others with two decimals."""
    return [int(value) if float(value).is_integer() else round(float(value), 2) for value in values]
