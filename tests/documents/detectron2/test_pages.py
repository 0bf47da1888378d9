"""Pages of our readers as data sets of detectron2, and what is wrong with them before anything is trained."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2", reason="detectron2 is not installed; .ci/run brings it")

import detectron2.data.transforms as T
from detectron2.data import DatasetCatalog, MetadataCatalog

from densessl.documents import open_pages
from densessl.documents.detectron2.pages import PageMapper, class_names, count_classes, dicts, learned_pages, opened
from densessl.errors import UserError
from tests.documents.conftest import coco, tree  # noqa: F401
from tests.documents.detection.conftest import write_set


def node(folder, **more) -> dict:
    return {"data": f"coco:{folder}", "val": f"coco:{folder}", **more}


def test_a_set_is_registered_with_its_classes_and_pages(pages_folder):
    learned = learned_pages(node(pages_folder))
    names = [name for name in DatasetCatalog.list() if name.startswith("set-")]
    assert any(DatasetCatalog.get(name) == learned for name in names)
    assert MetadataCatalog.get(names[0]).thing_classes == ["text", "table"]
    content = json.loads((pages_folder / "annotations.json").read_text())
    for image, entry in zip(content["images"], learned, strict=True):
        assert entry["file_name"] == str(pages_folder / "images" / image["file_name"])
        assert (entry["width"], entry["height"]) == (60, 80)
        boxes = [each["bbox"] for each in content["annotations"] if each["image_id"] == image["id"]]
        assert [each["bbox"] for each in entry["annotations"]] == [[x, y, x + w, y + h] for x, y, w, h in boxes]
        assert [each["category_id"] for each in entry["annotations"]] == [0, 1]
    assert count_classes(node(pages_folder)) == 2 and class_names(node("nowhere", classes=["a"])) == ["a"]


def test_several_sets_are_one_and_a_share_is_kept_apart(pages_folder, tmp_path):
    other = write_set(tmp_path / "other")
    found, apart = opened({"data": [f"coco:{pages_folder}", f"coco:{other}"], "val_share": 0.25})
    assert len(found) == 6 and len(apart) == 2
    assert all(entry["file_name"].endswith(".png") for entry in dicts(found))


@pytest.mark.parametrize("mask_format", ["bitmask", "polygon"])
def test_objects_lie_where_the_page_shows_them(pages_folder, mask_format):
    pages = open_pages(f"coco:{pages_folder}", masks=True)
    mapper = PageMapper(True, [T.ResizeShortestEdge(120, 160)], masks=True, mask_format=mask_format)
    made = mapper(dicts(pages)[0])
    image, instances = made["image"].numpy(), made["instances"]
    assert image.shape == (3, 160, 120) and image.dtype == np.uint8
    dark = np.argwhere(image[0] < 75)
    expected = [dark[:, 1].min(), dark[:, 0].min(), dark[:, 1].max() + 1, dark[:, 0].max() + 1]
    table = instances.gt_boxes.tensor[instances.gt_classes == 1][0]
    assert np.abs(table.numpy() - expected).max() <= 2
    seen = instances[instances.gt_classes == 1].gt_masks.crop_and_resize(table[None], 8)
    assert seen.float().mean() == 1


@pytest.mark.parametrize("mask_format", ["bitmask", "polygon"])
def test_masks_of_a_page_that_is_cropped_are_those_of_what_is_left(tree, mask_format):  # noqa: F811
    page, triangle = np.full((320, 240, 3), 255, np.uint8), np.array([[20, 20], [220, 20], [20, 300]])
    cv2.fillPoly(page, [triangle], (0, 0, 0))
    cv2.imwrite(str(tree.path("set/images/1.png")), page)
    one = {"bbox": [20, 20, 200, 280], "segmentation": [triangle.reshape(-1).tolist()]}
    tree.json("set/annotations.json", coco([{"file_name": "1.png", "width": 240, "height": 320}], [one]))
    (row,) = dicts(open_pages(f"coco:{tree.path('set')}", masks=True))
    crop = [T.RandomCrop("absolute", (160, 120)), T.ResizeShortestEdge(90, 120)]
    for seed in range(5):
        np.random.seed(seed)
        made = PageMapper(True, crop, masks=True, mask_format=mask_format)(row)
        (mask,), ink = made["instances"].gt_masks.tensor.numpy(), made["image"][0].numpy() < 128
        assert mask.shape == (120, 90) and ink.any() and (mask & ink).sum() / (mask | ink).sum() > 0.95


def test_masks_of_both_kinds_and_pages_without_objects_are_learned_from(tree):  # noqa: F811
    tree.image("set/images/1.png")
    tree.image("set/images/2.png")
    shapes = [{"segmentation": [[5, 5, 15, 5, 15, 25]]}, {"segmentation": {"size": [80, 60], "counts": [0, 100, 4700]}}]
    tree.json("set/annotations.json", coco([{"file_name": "1.png"}, {"file_name": "2.png"}], shapes))
    rows = dicts(open_pages(f"coco:{tree.path('set')}", masks=True))
    mapper = PageMapper(True, [T.ResizeShortestEdge(60, 80)], masks=True)
    full, empty = (mapper(row)["instances"] for row in rows)
    assert full.gt_masks.tensor.sum(dim=(1, 2)).tolist() == pytest.approx([100, 100], abs=15)
    assert len(empty) == 0 and empty.has("gt_masks")


def test_a_page_that_cannot_be_read_is_passed_over(pages_folder, tmp_path):
    row = dicts(open_pages(f"coco:{pages_folder}"))[0] | {"file_name": str(tmp_path / "broken.png")}
    (tmp_path / "broken.png").write_text("no picture")
    assert PageMapper(True, [])(row) is None
    # To be judged it counts, and nothing is on it.
    assert PageMapper(False, [])(row)["image"].shape == (3, 80, 60)


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    folder = write_set(tmp_path / "set")
    content = json.loads((folder / "annotations.json").read_text())
    content["annotations"][0]["category_id"] = 9
    content["annotations"][3]["image_id"] = 77
    (folder / "annotations.json").write_text(json.dumps(content))
    (folder / "images" / "2.png").unlink()
    with pytest.raises(UserError) as error:
        opened(node(folder))
    assert all(each in str(error.value) for each in ("category 9", "image 77", "2.png"))


def test_a_class_that_is_unknown_on_some_pages_is_refused(pages_folder, tmp_path):
    tables = write_set(tmp_path / "tables")
    content = json.loads((tables / "annotations.json").read_text())
    content["categories"] = [{"id": 2, "name": "table"}]
    content["annotations"] = [each for each in content["annotations"] if each["category_id"] == 2]
    (tables / "annotations.json").write_text(json.dumps(content))
    both = {"data": [f"coco:{pages_folder}", f"coco:{tables}"], "val": f"coco:{pages_folder}"}
    with pytest.raises(UserError, match="text of .* are not labelled on all pages"):
        opened(both)
    assert len(opened(both | {"classes": ["table"]})[0]) == 8


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"val": None}, "no pages to judge by"),
        ({"data": None}, "no pages to learn from"),
        ({"vals": 1}, "did you mean"),
    ],
)
def test_settings_that_cannot_be_are_told(pages_folder, settings, sentence):
    with pytest.raises(UserError, match=sentence):
        opened(node(pages_folder) | settings)
