"""Which detections of a page are hits and which false alarms, and which objects were missed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densessl.documents.average_precision import check_detections
from densessl.documents.detections import Detections
from densessl.documents.pages import LabelledPages

IOU, SCORE = 0.5, 0.5


@dataclass(frozen=True)
class Match:
    """Of one page. hits: (n, 2) a detection's and an object's place on the page. misses: places of objects.
    false_alarms: places of detections. aside: places of detections that nobody can judge, of classes that are not
    labelled here, or on what is crowded or ignored; and of those below the score."""

    hits: np.ndarray
    misses: np.ndarray
    false_alarms: np.ndarray
    aside: np.ndarray

    @property
    def wrong(self) -> int:
        return len(self.misses) + len(self.false_alarms)


def match(pages: LabelledPages, detections: Detections, index: int, *, iou: float = IOU, score: float = SCORE) -> Match:
    """The detections of a page against its objects: by falling score each takes the object of its class that it
    overlaps most, of those that are left, where their IoU is at least `iou`."""
    objects, found = pages.on(index), detections.on(index)
    plain = ~(objects.crowd | objects.ignored)
    same = found.classes[:, None] == objects.classes[None, :]
    overlaps = np.where(same, ious(found.boxes, objects.boxes), -1.0)
    inside = np.where(same & ~plain, shares(found.boxes, objects.boxes), -1.0)
    left = plain.copy()
    hits, false_alarms, aside = [], [], []
    for place in range(len(found)):
        free = np.where(left, overlaps[place], -1.0)
        best = int(free.argmax()) if len(free) else -1
        if found.scores[place] < score or not pages.labelled[index, found.classes[place]]:
            aside.append(place)
        elif best >= 0 and free[best] >= iou:
            left[best] = False
            hits.append((place, best))
        elif inside[place].max(initial=-1.0) >= iou:
            aside.append(place)
        else:
            false_alarms.append(place)
    places = (np.array(hits, np.int64).reshape(-1, 2), np.flatnonzero(left), false_alarms, aside)
    return Match(*(np.asarray(each, np.int64) for each in places))


@dataclass(frozen=True)
class Counts:
    """Over all pages, with the shares that follow; those that would divide by nothing are 0."""

    hits: int
    misses: int
    false_alarms: int

    @property
    def precision(self) -> float:
        return self.hits / (self.hits + self.false_alarms) if self.hits else 0.0

    @property
    def recall(self) -> float:
        return self.hits / (self.hits + self.misses) if self.hits else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.hits / (2 * self.hits + self.misses + self.false_alarms) if self.hits else 0.0


def counts(pages: LabelledPages, detections: Detections, *, iou: float = IOU, score: float = SCORE) -> Counts:
    """Hits, misses and false alarms over all pages, as FUNSD's text detection is measured; see `match`."""
    check_detections(pages, detections)
    found = [match(pages, detections, index, iou=iou, score=score) for index in range(len(pages))]
    return Counts(*(sum(len(getattr(each, name)) for each in found) for name in ("hits", "misses", "false_alarms")))


def worst(
    pages: LabelledPages, detections: Detections, most: int, *, iou: float = IOU, score: float = SCORE
) -> list[int]:
    """The pages with most misses and false alarms, at most so many, the worst first; none without either."""
    wrong = [match(pages, detections, index, iou=iou, score=score).wrong for index in range(len(pages))]
    order = sorted(range(len(pages)), key=lambda index: (-wrong[index], index))
    return [index for index in order[:most] if wrong[index]]


def ious(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, 4), (m, 4) -> (n, m)."""
    both = _shared(boxes, others)
    union = _areas(boxes)[:, None] + _areas(others)[None, :] - both
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)


def shares(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, 4), (m, 4) -> (n, m): how much of each box lies in each of the others."""
    both, own = _shared(boxes, others), _areas(boxes)[:, None]
    return np.divide(both, own, out=np.zeros_like(both), where=own > 0)


def _shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.clip(high - low, 0, None).prod(axis=2)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
