"""What is written beside the masks: sheets, legend, probabilities, COCO."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ImageDraw

from densessl.progress import silent
from densessl.segmentation import SegmentConfig, segment
from densessl.segmentation.outputs.names import Classes
from densessl.segmentation.outputs.overlay import palette
from densessl.segmentation.outputs.sheets import COLUMNS, CROP, PAPER, crop, draw_legend, draw_sheet
from densessl.segmentation.outputs.tally import Region, Tally


def blocks(*sides: int) -> np.ndarray:
    """(60, 80) zeros with a square of ones of each side, apart from each other."""
    labels = np.zeros((60, 80), dtype=np.uint8)
    for number, side in enumerate(sides):
        labels[5 : 5 + side, 5 + 35 * number : 5 + 35 * number + side] = 1
    return labels


def test_the_pictures_with_the_largest_regions_are_kept_in_order():
    tally = Tally(Classes.unnamed(3), crops=2)
    for picture, sides in enumerate([(10, 10), (30,), (4,), (20, 3), (30,)]):
        tally.add(picture, blocks(*sides))
    found = tally.regions(1)
    assert [each.picture for each in found] == [1, 4] and found[0].share == pytest.approx(900 / 4800)
    assert found[0].box == (5 / 80, 5 / 60, 35 / 80, 35 / 60)
    assert tally.regions(2) == [] and tally.images.tolist() == [5, 5, 0]


def test_of_pictures_that_are_alike_the_largest_region_is_kept():
    tally = Tally(Classes.unnamed(2), crops=2)
    for picture, (side, group) in enumerate([(10, 0), (14, 0), (12, 0), (30, 3), (29, 3), (4, 5)]):
        tally.add(picture, blocks(side), group)
    assert [each.picture for each in tally.regions(1)] == [3, 1]
    assert tally.images.tolist() == [6, 6]


def test_a_region_of_a_large_mask_lies_where_it_does_in_the_mask():
    labels = np.zeros((2000, 1000), dtype=np.uint16)
    labels[500:1500, 100:300] = 299
    tally = Tally(Classes.unnamed(300), crops=1)
    tally.add(0, labels)
    assert np.allclose(tally.regions(299)[0].box, (0.1, 0.25, 0.3, 0.75), atol=1 / 120)


def test_a_crop_shows_the_segment_as_it_is_and_all_else_pale():
    labels, image = blocks(20), np.full((60, 80, 3), (200, 40, 40), dtype=np.uint8)
    box = (5 / 80, 5 / 60, 25 / 80, 25 / 60)
    shown = crop(image, labels, 1, Region(0.1, 0, box), (0, 0, 255)).astype(int)
    assert shown.shape == (CROP[1], CROP[0], 3)
    as_it_is = (np.abs(shown - (200, 40, 40)).max(axis=2) < 3).mean()
    pale = (np.abs(shown - np.array(PAPER)).max(axis=2) < 80).mean()
    outline = (shown[..., 2] - shown[..., 0] > 100).any()
    # A window of 30 rows by 37.5 columns around 20 by 20.
    assert as_it_is == pytest.approx(400 / (30 * 37.5), abs=0.05) and pale > 0.55 and outline


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3)])
def test_pictures_of_any_shape_fit_a_crop(size):
    image, labels = np.zeros((*size, 3), dtype=np.uint8), np.ones(size, dtype=np.uint8)
    assert crop(image, labels, 1, Region(1.0, 0, (0, 0, 1, 1)), (9, 9, 9)).shape == (CROP[1], CROP[0], 3)


def test_sheets_and_legends_of_many_few_and_no_places(tmp_path):
    names = ("Зима " * 20, *(None,) * 69)
    tally = Tally(Classes(names, palette(70)), crops=5)
    for picture in range(6):
        tally.add(picture, blocks(10 + picture))

    def read(picture):
        return None if picture == 5 else (np.zeros((60, 80, 3), np.uint8), blocks(10 + picture))

    heights = []
    for segment_ in (0, 1, 2):
        draw_sheet(tmp_path / "sheet.png", segment_, tally, read)
        heights.append(cv2.imread(str(tmp_path / "sheet.png")).shape[0])
    # Five places, four since a picture is gone, and none.
    assert COLUMNS == 4 and heights[0] - heights[1] > CROP[1] and heights[1] == heights[2]
    draw_legend(tmp_path / "legend.png", tally)
    legend = cv2.imread(str(tmp_path / "legend.png"))[..., ::-1]
    assert all((legend == colour).all(axis=2).any() for colour in palette(70))


def test_a_legend_of_a_thousand_classes_shows_the_largest_at_a_size_that_can_be_read(tmp_path):
    tally = Tally(Classes.unnamed(1000), crops=0)
    tally.add(0, np.repeat(np.arange(1000, dtype=np.uint16), np.arange(1000) + 1)[None])
    draw_legend(tmp_path / "legend.png", tally)
    legend = cv2.imread(str(tmp_path / "legend.png"))[..., ::-1]
    assert legend.shape[0] <= 1800 and legend.shape[1] == 6 * 460
    swatches = legend[28 + 40 + 20 :: 40, 28 + 22 :: 460][:40].transpose(1, 0, 2).reshape(-1, 3)
    assert swatches.tolist() == [list(colour) for colour in palette(1000)[-240:]]


def test_a_legend_and_a_sheet_of_merged_segments_say_which_a_class_holds(tmp_path, monkeypatch):
    written, plain = [], ImageDraw.ImageDraw.text

    def text(self, place, words, *more, **named):
        written.append(words)
        return plain(self, place, words, *more, **named)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    for classes in (Classes(("sky", "tree", "sky"), palette(3)), Classes.unnamed(3)):
        tally = Tally(classes, crops=1)
        tally.add(0, blocks(10, 20))
        draw_legend(tmp_path / "legend.png", tally)
        draw_sheet(tmp_path / "sheet.png", 2, tally, lambda picture: None)
        sheet = cv2.imread(str(tmp_path / "sheet.png"))[28 + 18, 28 + 18, ::-1]
        assert tuple(sheet) == palette(3)[0 if classes.given else 2]  # as in the overlays
    merged, unnamed = written[: written.index("Values in labels/")], written[written.index("Values in labels/") :]
    assert {"Values in classes/, with their segments", "sky", "segments 0 and 2", "tree", "segment 1"} <= set(merged)
    assert {"segment 2: sky", "Class 0, sky, holds segments 0 and 2."} <= set(merged)
    assert {"segment 0", "segment 1", "segment 2"} <= set(unnamed) and not any("class" in each for each in unnamed)


@pytest.fixture
def folder(scenes, tmp_path) -> Path:
    (tmp_path / "pictures").mkdir()
    for name, image in zip("abcd", scenes[0].images, strict=True):
        cv2.imwrite(str(tmp_path / "pictures" / f"{name}.jpg"), image)
    return tmp_path / "pictures"


def test_sheets_are_those_of_the_largest_segments_and_the_summary_says_how_to_get_the_others(folder, tmp_path):
    out = tmp_path / "out"
    config = SegmentConfig(str(folder), str(out), classes=6, method="kmeans", image_size=64, devices="cpu")
    config.backbone, config.refine, config.sheets = "colour", "none", 2
    summary = segment(config, silent)
    pixels = [each["pixels"] for each in json.loads((out / "segments.json").read_text())["classes"]]
    largest = sorted(sorted(range(6), key=lambda index: -pixels[index])[:2])
    assert sorted(path.name for path in (out / "sheets").iterdir()) == [f"segment-0{index}.png" for index in largest]
    assert f"{out / 'sheets'} shows the 2 largest segments, and not the other 4: sheets=6 draws all." in str(summary)
    config.sheets = 6
    assert "largest segments" not in str(segment(config, silent)) and len(list((out / "sheets").iterdir())) == 6
    config.sheets = 1
    (out / "names.txt").write_text("0: sky\n5: sky\n")
    before = {path: path.read_bytes() for path in (out / "sheets").iterdir()}
    segment(config, silent)
    assert all(path.read_bytes() != data for path, data in before.items())  # all of them say so


@pytest.mark.parametrize("refine", ["none", "guided", "crf"])
def test_all_outputs_of_a_run_agree_with_its_masks(folder, scenes, tmp_path, refine):
    out = tmp_path / "out"
    config = SegmentConfig(
        str(folder), str(out), classes=3, method="kmeans", image_size=64, devices="cpu", backbone="colour"
    )
    config.refine, config.refine_size = refine, 150
    segment(config, silent)
    assert not (out / "coco.json").exists() and not (out / "probabilities").exists()
    before = {path: path.read_bytes() for path in (out / "labels").iterdir()}
    config.coco, config.probabilities, config.crops = True, True, 2
    segment(config, silent)
    assert {path: path.read_bytes() for path in (out / "labels").iterdir()} == before
    assert {path.name for path in (out / "sheets").iterdir()} == {f"segment-0{index}.png" for index in range(3)}
    assert (out / "legend.png").exists()
    coco = json.loads((out / "coco.json").read_text())
    counts = json.loads((out / "segments.json").read_text())["classes"]
    for entry in counts:
        areas = [each["area"] for each in coco["annotations"] if each["category_id"] == entry["index"] + 1]
        assert (sum(areas), len(areas)) == (entry["pixels"], entry["images"])
    (out / "names.txt").write_text("0: sky\n1: sky\n")
    config.coco = False
    segment(config, silent)
    assert [each["name"] for each in json.loads((out / "coco.json").read_text())["categories"]] == ["sky", "segment 2"]
    for name, image in zip("abcd", scenes[0].images, strict=True):
        shares = np.load(out / "probabilities" / f"{name}.npz")["probabilities"]
        assert shares.dtype == np.float16 and shares.min() >= 0
        np.testing.assert_allclose(shares.astype(np.float32).sum(axis=0), 1, atol=2e-3)
        if refine == "none":
            assert shares.shape[0] == 3 and min(shares.shape[1:]) == 8
            continue
        labels = cv2.imread(str(out / "labels" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        assert shares.shape == (3, *image.shape[:2])
        assert (shares.argmax(axis=0) == labels).mean() > 0.99
