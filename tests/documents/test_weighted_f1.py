"""cTDaR's weighted F1 in both readings is the rule of its official tool, written out plainly."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from densessl.documents.detections import Detections
from densessl.documents.sets import read_tables
from densessl.documents.submission import write_submission, write_truth
from densessl.documents.weighted_f1 import overlap, weighted_f1
from densessl.errors import UserError

from .conftest import made


def iou(one, other):
    """Of boxes of whole pixels, by counting pixels."""
    pixels = [{(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])} for box in (one, other)]
    return len(pixels[0] & pixels[1]) / len(pixels[0] | pixels[1])


def plain(pages, detections, reading):
    """F1 by threshold: the files that are handed in and the marked ones, as the tool goes through them."""
    marked = {f"page-{page}.xml": [tuple(map(int, box)) for box in pages.on(page).boxes] for page in range(len(pages))}
    handed = {}
    for row in range(len(detections)):
        if detections.scores[row] >= 0.7:
            name = f"page-{detections.page[row]}.xml"
            handed.setdefault(name, []).append(tuple(int(each) for each in detections.boxes[row]))
    missing = sorted(set(marked) - set(handed))
    if reading == "published":
        for name in missing:  # which changes what it goes through, as the tool does
            missing.remove(name)
    total = sum(len(marked[name]) for name in [*handed, *missing])
    found = sum(map(len, handed.values()))
    figures = []
    for threshold in (0.6, 0.7, 0.8, 0.9):
        right = 0
        for name, boxes in handed.items():
            left = list(boxes)
            for table in marked[name]:
                for box in left:
                    if iou(table, box) >= threshold:
                        left.remove(box)
                        right += 1
                        break
        precision, recall = right / found, right / total
        figures.append(2 * precision * recall / (precision + recall))
    return figures


def scene(seed, count=14):
    random = np.random.default_rng(seed)
    rows, found = [], []
    for page in range(count):
        for place in range(random.integers(1, 4)):
            x, y = 5 + random.integers(0, 20), 5 + 30 * place
            box = np.array([x, y, x + random.integers(20, 60), y + random.integers(10, 26)])
            rows.append((page, 1, *box))
            if page % 3:  # every third page gets nothing
                for _ in range(random.integers(1, 3)):
                    found.append((page, box + random.normal(0, 1.2, 4), 1, random.uniform(0.6, 1)))
    return made(rows, count=count), Detections.sorted(count, *zip(*found, strict=True))


@pytest.mark.parametrize("reading", ["published", "fixed"])
@pytest.mark.parametrize("seed", range(3))
def test_both_readings_are_the_rule_written_out_plainly(seed, reading):
    pages, detections = scene(seed)
    expected = plain(pages, detections, reading)
    found = weighted_f1(pages, detections, reading)
    assert found.f1 == pytest.approx(expected, abs=1e-12)
    weights = (0.6, 0.7, 0.8, 0.9)
    assert found.weighted == pytest.approx(np.dot(weights, expected) / 3, abs=1e-12)
    assert 0.1 < found.f1[-1] < found.f1[0] < 1


def test_the_published_reading_loses_every_other_page_without_a_result_beginning_with_the_first():
    # Pages 1 to 3 have nothing handed in, with 2, 4 and 8 tables: of these only the second one's 4 are counted.
    boxes = [(10 * place, 0, 10 * place + 9, 9) for place in range(8)]
    rows = [(0, 1, *boxes[0])] + [(page, 1, *box) for page in (1, 2, 3) for box in boxes[: 2**page]]
    pages, detections = made(rows, count=4), Detections.sorted(4, [0], [boxes[0]], [1], [0.9])
    assert weighted_f1(pages, detections, "fixed").tables == 15
    assert weighted_f1(pages, detections, "published").tables == 5
    assert weighted_f1(pages, detections, "published").recall == pytest.approx((1 / 5,) * 4)


def test_a_table_takes_the_first_detection_that_fits_and_not_the_best():
    # By falling score come three quarters of the page, and all of it. The first table is all of it, and at .7 takes the
    # former, though the latter fits it better; so nothing is left for the second, of which the former is .8.
    detections = Detections.sorted(1, [0, 0], [[0, 0, 100, 75], [0, 0, 100, 100]], [1, 1], [0.9, 0.8])
    large, small = (0, 1, 0, 0, 100, 100), (0, 1, 0, 0, 100, 60)
    assert weighted_f1(made([large, small]), detections).correct == (2, 1, 2, 1)
    assert weighted_f1(made([small, large]), detections).correct == (2, 2, 2, 1)


def test_detections_below_the_score_and_of_other_classes_do_not_count_and_boxes_are_cut_to_whole_pixels():
    pages = made([(0, 1, 0, 0, 10, 10)])
    boxes = [[0.9, 0.9, 10.9, 9.99], [0, 0, 10, 10], [0, 0, 10, 10]]
    found = weighted_f1(pages, Detections.sorted(1, [0] * 3, boxes, [1, 1, 0], [0.7, 0.69, 0.99]))
    assert found.found == 1 and found.correct == (1, 1, 1, 1)  # 0, 0, 10, 9: exactly .9
    assert weighted_f1(pages, Detections.sorted(1, [], [], [], [])).weighted == 0


def test_pages_on_which_tables_are_not_labelled_do_not_count():
    pages = made([(0, 1, 0, 0, 10, 10), (1, 0, 0, 0, 10, 10)], count=2)
    detections = Detections.sorted(2, [0, 1], [[0, 0, 10, 10], [0, 0, 10, 10]], [1, 1], [0.9, 0.9])
    assert weighted_f1(pages, detections).found == 2
    pages.labelled[1, 1] = False
    assert weighted_f1(pages, detections).weighted == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_the_overlap_of_a_polygon_and_a_box_is_what_fine_pixels_say(seed):
    random = np.random.default_rng(seed)
    angles = np.sort(random.uniform(0, 2 * np.pi, 7))
    polygon = 50 + (random.uniform(15, 45, 7)[:, None] * np.stack((np.cos(angles), np.sin(angles)), axis=1)).round()
    box = (30, 25, 80, 60)
    scale = 40
    mask = np.zeros((100 * scale, 100 * scale), np.uint8)
    cv2.fillPoly(mask, [np.int32(polygon * scale)], 1)
    inside = int(mask[box[1] * scale : box[3] * scale, box[0] * scale : box[2] * scale].sum())
    union = int(mask.sum()) + (box[2] - box[0]) * (box[3] - box[1]) * scale**2 - inside
    assert overlap(polygon, box) == pytest.approx(inside / union, abs=2e-3)
    assert overlap(polygon[::-1], box) == pytest.approx(overlap(polygon, box), abs=1e-12)


def test_a_polygon_with_a_bay_that_the_box_takes_apart_has_the_area_of_both_arms():
    horseshoe = np.array([[0, 0], [30, 0], [30, 30], [20, 30], [20, 10], [10, 10], [10, 30], [0, 30]], np.float64)
    # The box 0, 20, 30, 30 has 300, of which the arms cover 200; all of the polygon is 700.
    assert overlap(horseshoe, (0, 20, 30, 30)) == pytest.approx(200 / 800)
    assert overlap(horseshoe, (40, 40, 50, 50)) == 0 and overlap(horseshoe, (5, 5, 5, 9)) == 0


def test_a_marked_table_is_measured_by_its_polygon():
    leaning = np.array([[0.0, 0.0], [60.0, 0.0], [100.0, 100.0], [40.0, 100.0]])
    pages = made([(0, 1, 0, 0, 100, 100)], shapes=([leaning],))
    found = weighted_f1(pages, Detections.sorted(1, [0], [[0, 0, 100, 100]], [1], [0.9]))
    assert found.correct == (1, 0, 0, 0)  # 6000 of 10000


def test_files_for_the_official_tool_hold_the_same_boxes_and_none_for_a_page_without_a_table(tmp_path):
    shapes = tuple([np.array([[1.0, 2.0], [1.0, 9.0], [8.0, 9.0], [8.0, 2.0]]) + page] for page in range(3))
    pages = made([(page, 1, 1, 2, 8, 9) for page in range(3)], count=3, shapes=shapes)
    boxes = [[1.9, 2.2, 8.7, 9.99], [3, 4, 5, 6], [10, 10, 20, 20]]
    detections = Detections.sorted(3, [0, 0, 2], boxes, [1, 1, 1], [0.8, 0.9, 0.6])
    assert write_submission(tmp_path / "found.tar.gz", pages, detections) == 1
    with tarfile.open(tmp_path / "found.tar.gz") as archive:
        assert archive.getnames() == ["page-0.xml"]
        root = ElementTree.fromstring(archive.extractfile("page-0.xml").read())
    assert root.get("filename") == "page-0.png"
    assert [each.get("points") for each in root.iter("Coords")] == ["3,4 3,6 5,6 5,4", "1,2 1,9 8,9 8,2"]
    write_truth(tmp_path / "truth", pages)
    written = read_tables(tmp_path / "truth" / "page-2.xml")
    assert len(list((tmp_path / "truth").iterdir())) == 3
    assert written[0].polygon.tolist() == [[3, 4], [3, 11], [10, 11], [10, 4]] and written[0].cells == ()


def test_what_the_official_tool_cannot_take_is_refused(tmp_path):
    pages, nothing = made([(0, 1, 0, 0, 9, 9)]), Detections.sorted(1, [], [], [], [])
    with pytest.raises(UserError, match=r"is to be a \.tar\.gz"):
        write_submission(tmp_path / "found.zip", pages, nothing)
    twins = made([], count=2, names=["a/1.png", "b/1.png"])
    with pytest.raises(UserError, match="several pages 1"):
        write_truth(tmp_path / "truth", twins)
    with pytest.raises(UserError, match="no reading 'fast'"):
        weighted_f1(pages, nothing, "fast")
    with pytest.raises(UserError, match="has no class 'table'"):
        weighted_f1(replace(pages, classes=("text", "chart")), nothing)
