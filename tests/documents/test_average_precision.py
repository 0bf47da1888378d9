"""COCO's figures through pycocotools are those of the definition, written out slowly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from densessl.documents.average_precision import average_precision
from densessl.documents.detections import Detections
from densessl.errors import UserError

from .conftest import made

THRESHOLDS = [0.5 + 0.05 * step for step in range(10)]
RECALLS = [point / 100 for point in range(101)]


def iou(one, other, crowd=False):
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, wide) * max(0, high)
    first, second = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (first if crowd else first + second - shared)


def slow(pages, detections, kind, threshold, most=100):
    """AP and the recall reached, of one class at one IoU, by the words of COCO's description; None without objects."""
    outcomes, wanted = [], 0
    for page in range(len(pages)):
        if not pages.labelled[page, kind]:
            continue
        objects, found = pages.on(page), detections.on(page)
        truth = [place for place in range(len(objects)) if objects.classes[place] == kind]
        free = {place: not (objects.crowd[place] or objects.ignored[place]) for place in truth}
        wanted += sum(free.values())
        mine = [place for place in range(len(found)) if found.classes[place] == kind][:most]
        matched = set()
        for place in mine:
            best, chosen = threshold - 1e-10, None
            for wanted_first in (True, False):  # what need not be found is taken only where nothing else is
                for other in truth:
                    if free[other] != wanted_first or (other in matched and not objects.crowd[other]):
                        continue
                    value = iou(found.boxes[place], objects.boxes[other], objects.crowd[other])
                    if value >= best:
                        best, chosen = value, other
                if chosen is not None:
                    break
            matched.add(chosen)
            if chosen is None or free[chosen]:
                outcomes.append((-found.scores[place], chosen is not None))
    if not wanted:
        return None
    outcomes.sort(key=lambda each: each[0])
    precisions, recalls, right = [], [], 0
    for count, (_, hit) in enumerate(outcomes, start=1):
        right += hit
        precisions.append(right / count)
        recalls.append(right / wanted)
    points = []
    for point in RECALLS:
        reached = [place for place, recall in enumerate(recalls) if recall >= point]
        points.append(max(precisions[reached[0] :]) if reached else 0.0)
    return sum(points) / 101, right / wanted


def mean(values):
    values = [value for value in values if value is not None]
    return sum(values) / len(values)


def scene(seed, pages=12, classes=("text", "title", "table")):
    """Pages with objects, some crowded or ignored, and detections near them, some doubled, and some anywhere."""
    random = np.random.default_rng(seed)
    rows, found = [], []
    for page in range(pages):
        for _ in range(random.integers(0, 7)):
            x, y = random.integers(0, 60, 2)
            wide, high = random.integers(8, 40, 2)
            kind = int(random.integers(0, len(classes)))
            flag = random.choice(["", "", "", "", "crowd", "ignored"])
            rows.append((page, kind, x, y, x + wide, y + high, flag))
            for _ in range(random.integers(0, 3)):
                box = np.array([x, y, x + wide, y + high]) + random.normal(0, 2.5, 4)
                found.append((page, box, kind if random.random() < 0.9 else 0, random.random()))
        for _ in range(random.integers(0, 3)):
            x, y = random.uniform(0, 60, 2)
            found.append((page, [x, y, x + 20, y + 20], int(random.integers(0, len(classes))), random.random()))
    columns = zip(*found, strict=True)
    page, boxes, kinds, scores = columns
    return made(rows, classes, pages), Detections.sorted(pages, page, np.array(boxes), kinds, scores)


@pytest.mark.parametrize("seed", range(4))
def test_ap_and_ar_are_those_of_the_definition_to_1e_9(seed):
    pages, detections = scene(seed)
    found = average_precision(pages, detections)
    table = [[slow(pages, detections, kind, threshold) for threshold in THRESHOLDS] for kind in range(3)]
    for kind, name in enumerate(pages.classes):
        figures = found.classes[name]
        assert figures.ap == pytest.approx(mean([each[0] for each in table[kind]]), abs=1e-9)
        assert figures.ap50 == pytest.approx(table[kind][0][0], abs=1e-9)
        assert figures.ap75 == pytest.approx(table[kind][5][0], abs=1e-9)
        assert figures.ar == pytest.approx(mean([each[1] for each in table[kind]]), abs=1e-9)
    assert found.overall.ap == pytest.approx(mean([each[0] for row in table for each in row]), abs=1e-9)
    assert 0.02 < found.overall.ap < 0.9


def test_a_class_without_objects_has_no_figures_and_does_not_count_in_the_mean():
    pages = made([(0, 0, 10, 10, 50, 50)])
    found = average_precision(pages, Detections.sorted(1, [0, 0], [[10, 10, 50, 50], [1, 1, 9, 9]], [0, 1], [0.9, 0.9]))
    assert found.overall.ap == pytest.approx(1) and np.isnan(found.classes["table"].ap)
    assert found.record()["classes"]["table"]["ap"] is None


def test_detections_of_a_class_that_is_unknown_on_a_page_are_no_false_alarms_there():
    rows = [(0, 0, 10, 10, 50, 50), (1, 1, 10, 10, 50, 50)]
    pages = made(rows, count=2)
    right = [(0, [10, 10, 50, 50], 0, 0.5), (1, [10, 10, 50, 50], 1, 0.5)]
    stray = [(1, [10, 10, 50, 50], 0, 0.9)]
    both = Detections.sorted(2, *zip(*(right + stray), strict=True))
    assert average_precision(pages, both).classes["text"].ap == pytest.approx(0.5)
    tables_only = replace(pages, labelled=np.array([[True, True], [False, True]]))
    assert average_precision(tables_only, both).overall.ap == pytest.approx(1)


def test_only_the_best_of_each_page_count():
    boxes = [[x, 0, x + 8, 8] for x in range(0, 80, 10)]
    pages = made([(0, 0, *box) for box in boxes])
    detections = Detections.sorted(1, [0] * 8, boxes, [0] * 8, np.linspace(0.9, 0.1, 8))
    assert average_precision(pages, detections).overall.ar == 1
    assert average_precision(pages, detections, most=2).overall.ar == pytest.approx(2 / 8)


def test_masks_are_compared_pixel_by_pixel():
    strip = [np.array([[10.0, 10.0], [35.0, 10.0], [35.0, 50.0], [10.0, 50.0]])]
    pages = made([(0, 0, 10, 10, 50, 50)], shapes=(strip,))
    box = ([0], [[10, 10, 50, 50]], [0], [0.9])
    square = Detections.sorted(1, *box, shapes=[None])
    same = Detections.sorted(1, *box, shapes=[strip])
    assert average_precision(pages, same, masks=True).overall.ap == pytest.approx(1)
    # The mask is five eighths of the square that the box would be: a hit at .5, .55 and .6 of ten thresholds.
    assert average_precision(pages, square, masks=True).overall.ap == pytest.approx(0.3)
    assert average_precision(pages, square).overall.ap == pytest.approx(1)
    with pytest.raises(UserError, match="the detections have none"):
        average_precision(pages, Detections.sorted(1, *box), masks=True)


def test_no_detections_at_all_are_zero():
    found = average_precision(made([(0, 0, 1, 1, 9, 9)]), Detections.sorted(1, [], [], [], []))
    assert (found.overall.ap, found.overall.ar) == (0, 0)


def test_detections_of_other_pages_or_classes_or_without_numbers_are_refused():
    pages = made([(0, 0, 1, 1, 9, 9)])
    with pytest.raises(UserError, match="are of 2 pages and made has 1"):
        average_precision(pages, Detections.sorted(2, [], [], [], []))
    with pytest.raises(UserError, match="classes beyond the 2"):
        average_precision(pages, Detections.sorted(1, [0], [[1, 1, 2, 2]], [2], [0.5]))
    with pytest.raises(UserError, match="no finite numbers"):
        average_precision(pages, Detections.sorted(1, [0], [[1, 1, np.nan, 2]], [0], [0.5]))
