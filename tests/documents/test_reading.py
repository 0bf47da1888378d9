"""Detections in COCO's form are brought to the pages and classes of a set by their names."""

from __future__ import annotations

import pytest

from densessl.documents.reading import read_detections
from densessl.errors import UserError

from .conftest import coco, made


def test_pages_and_classes_are_told_by_name_and_rows_come_by_page_and_falling_score(tree):
    pages = made([], count=3, names=["a/1.png", "b/1.png", "b/2.png"])
    images = [{"file_name": "2.png", "id": 5}, {"file_name": "a/1.png", "id": 2}]
    rows = [
        {"image_id": 5, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5},
        {"image_id": 2, "category_id": 1, "score": 0.25},
        {"image_id": 5, "category_id": 1, "score": 1},
    ]
    tree.json("found.json", coco(images, rows, names=("TABLE", "text")))
    found = read_detections(tree.path("found.json"), pages)
    assert found.page.tolist() == [0, 2, 2] and found.scores.tolist() == [0.25, 1, 0.5]
    assert [pages.classes[kind] for kind in found.classes] == ["table", "table", "text"]
    assert found.boxes[2].tolist() == [1, 2, 4, 6] and found.pages == 3 and found.shapes is None


def test_masks_are_read_where_they_are_asked_for(tree):
    polygon = [[1, 1, 9, 1, 9, 9]]
    tree.json("found.json", coco([{"file_name": "page-0.png"}], [{"score": 0.5, "segmentation": polygon}]))
    found = read_detections(tree.path("found.json"), made([]), masks=True)
    assert found.shapes[0][0].tolist() == [[1, 1], [9, 1], [9, 9]]


def test_masks_are_cut_near_their_page_and_refused_where_they_are_none_of_it(tree):
    def found(mask):
        tree.json("found.json", coco([{"file_name": "page-0.png"}], [{"score": 0.5, "segmentation": mask}]))
        return read_detections(tree.path("found.json"), made([]), masks=True).shapes[0]

    assert found([[0, 0, 3e7, 0, 0, 3e7]])[0].max() < 2000
    for mask, what in (
        ([[200, 0, 210, 0, 210, 9]], "lie outside"),
        ({"size": [100, 100], "counts": "04"}, "be read"),
        ([], "be read"),
    ):
        with pytest.raises(UserError, match=f"Masks that .*{what}.*: 1 .annotation in place 0"):
            found(mask)


def test_all_that_does_not_fit_the_set_is_told_at_once(tree):
    pages = made([], count=2, names=["a/1.png", "b/1.png"])
    images = [{"file_name": "a/1.png"}, {"file_name": "1.png"}]
    rows = [
        {"image_id": 2, "score": 1},  # which of the two is not told
        {"category_id": 2, "score": 1},
        {},
        *({"score": score} for score in (float("nan"), 7, -0.1, 10**400, "1", [])),
        *({"bbox": [1, 2, 3, wide], "score": 1} for wide in (float("nan"), 10**400, "4")),
    ]
    tree.json("found.json", coco(images, rows, names=("text", "chart")))
    with pytest.raises(UserError, match="for 4 reasons") as told:
        read_detections(tree.path("found.json"), pages)
    for said in (
        "not in the set: 1 (1.png)",
        "does not have: 1 (chart)",
        r"score in [0, 1]: 7 (",
        "finite numbers: 3 (",
    ):
        assert said in str(told.value)


@pytest.mark.parametrize("content", [[], {"images": []}, coco([{"file_name": "a"}], [{"image_id": [1], "score": 1}])])
def test_what_is_no_coco_file_is_a_sentence(tree, content):
    tree.json("found.json", content)
    with pytest.raises(UserError, match="cannot be read as detections"):
        read_detections(tree.path("found.json"), made([]))
