"""Masks as COCO annotations: per picture and class one mask, run-length encoded as pycocotools does it.

The counts of a mask are the lengths of its runs in column order, of zeros first. Compressed, each count from the fourth
on is told as the difference to the one before the last, in groups of five bits, the lowest first, as printable letters:
the sixth bit says that more follow, and 48 is added.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from densessl.files import writing

GROUPS = 13  # of five bits in a number of 64


def encode(labels: np.ndarray) -> dict[int, dict]:
    """Per value of a map (H, W) its annotation: segmentation, area, bbox [x, y, width, height]."""
    high, wide = labels.shape
    flat = labels.T.reshape(-1)
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    ends, values = np.append(starts[1:], len(flat)), flat[starts]
    found = {}
    for value in np.unique(values):
        start, end = starts[values == value], ends[values == value]
        edges = np.stack((start, end), axis=1).reshape(-1)
        counts = np.diff(edges, prepend=0, append=len(flat))
        counts = counts[:-1] if counts[-1] == 0 else counts
        found[int(value)] = {
            "segmentation": {"size": [high, wide], "counts": compress(counts)},
            "area": int((end - start).sum()),
            "bbox": _box(start, end - 1, high),
        }
    return found


def compress(counts: np.ndarray) -> str:
    """Run lengths -> the letters that stand for them in COCO's files."""
    rest = counts.astype(np.int64)
    rest[3:] -= counts[1:-2]
    letters, more = np.zeros((len(rest), GROUPS), dtype=np.uint8), np.ones(len(rest), dtype=bool)
    for group in range(GROUPS):
        bits = rest & 31
        rest = rest >> 5
        follows = np.where(bits & 16, rest != -1, rest != 0)
        letters[:, group] = np.where(more, bits + 32 * follows + 48, 0)
        more = more & follows
    return letters[letters > 0].tobytes().decode("ascii")


def _box(first: np.ndarray, last: np.ndarray, high: int) -> list[int]:
    """[x, y, width, height] around runs given by their first and last place in column order."""
    left, right = int(first.min()) // high, int(last.max()) // high
    # A run that goes over from one column into the next covers the foot of the one and the head of the other.
    over = bool((first // high != last // high).any())
    top, bottom = (0, high - 1) if over else (int((first % high).min()), int((last % high).max()))
    return [left, top, right - left + 1, bottom - top + 1]


def write_coco(path: Path, names: Sequence[str], pictures: Iterable[tuple[str, np.ndarray]]) -> None:
    """Write one COCO file, whole or not at all; otherwise as `stream_coco`."""
    with writing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        stream_coco(file, names, pictures)


def stream_coco(file: TextIO, names: Sequence[str], pictures: Iterable[tuple[str, np.ndarray]]) -> None:
    """Write COCO's JSON to an open file, a picture at a time.

    names: of the classes, whose category ids are their index + 1. pictures: the name and the classes (H, W) of each.
    """
    categories = [{"id": index + 1, "name": name, "supercategory": ""} for index, name in enumerate(names)]
    images, number = [], 0
    file.write('{"annotations": [')
    for image, (name, labels) in enumerate(pictures, start=1):
        images.append({"id": image, "file_name": name, "width": labels.shape[1], "height": labels.shape[0]})
        for value, annotation in encode(labels).items():
            number += 1
            entry = {"id": number, "image_id": image, "category_id": value + 1, "iscrowd": 0, **annotation}
            file.write(("" if number == 1 else ",") + "\n" + json.dumps(entry))
    file.write(f'\n],\n"images": {json.dumps(images)},\n"categories": {json.dumps(categories)}}}\n')
