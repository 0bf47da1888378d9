"""Each set in its publisher's layout: which images it has, and which class each stored value becomes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densessl.errors import UserError
from densessl.segmentation.sets import open_labelled

CAMVID = Path(__file__).parents[3].parent / "shared" / "data" / "camvid"

# COCO-Stuff's labels by their coarse class. Official ids: the things in this order from 1, the stuff by the alphabet.
THINGS = {
    "person": "person",
    "vehicle": "bicycle, car, motorcycle, airplane, bus, train, truck, boat",
    "outdoor": "traffic light, fire hydrant, street sign, stop sign, parking meter, bench",
    "animal": "bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe",
    "accessory": "hat, backpack, umbrella, shoe, eye glasses, handbag, tie, suitcase",
    "sports": "frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, "
    "tennis racket",
    "kitchen": "bottle, plate, wine glass, cup, fork, knife, spoon, bowl",
    "food-things": "banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake",
    "furniture-things": "chair, couch, potted plant, bed, mirror, dining table, window, desk, toilet, door",
    "electronic": "tv, laptop, mouse, remote, keyboard, cell phone",
    "appliance": "microwave, oven, toaster, sink, refrigerator, blender",
    "indoor": "book, clock, vase, scissors, teddy bear, hair drier, toothbrush, hair brush",
}
STUFF = {
    "ceiling": "ceiling-other, ceiling-tile",
    "floor": "carpet, floor-marble, floor-other, floor-stone, floor-tile, floor-wood",
    "food-stuff": "food-other, fruit, salad, vegetable",
    "furniture-stuff": "cabinet, counter, cupboard, desk-stuff, door-stuff, furniture-other, light, mirror-stuff, "
    "shelf, stairs, table",
    "rawmaterial": "cardboard, metal, paper, plastic",
    "textile": "banner, blanket, cloth, clothes, curtain, mat, napkin, pillow, rug, textile-other, towel",
    "wall": "wall-brick, wall-concrete, wall-other, wall-panel, wall-stone, wall-tile, wall-wood",
    "window": "window-blind, window-other",
    "building": "bridge, building-other, house, roof, skyscraper, tent",
    "ground": "dirt, gravel, ground-other, mud, pavement, platform, playingfield, railroad, road, sand, snow",
    "plant": "branch, bush, flower, grass, leaves, moss, plant-other, straw, tree",
    "sky": "clouds, sky-other",
    "solid": "hill, mountain, rock, solid-other, stone, wood",
    "structural": "cage, fence, net, railing, structural-other",
    "water": "fog, river, sea, water-other, waterdrops",
}
COARSE_27 = [
    *("electronic", "appliance", "food-things", "furniture-things", "indoor", "kitchen", "accessory", "animal"),
    *("outdoor", "person", "sports", "vehicle", *STUFF),
]

TRAIN_IDS = {  # labelId: trainId, of the official helpers/labels.py
    **{7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14},
    **{28: 15, 31: 16, 32: 17, 33: 18},
}


def official_coco() -> dict[int, tuple[str, str]]:
    """Official id: (label, coarse class)."""
    things = [(label, coarse) for coarse, labels in THINGS.items() for label in labels.split(", ")]
    stuff = sorted((label, coarse) for coarse, labels in STUFF.items() for label in labels.split(", "))
    return dict(enumerate(things + stuff, 1))


def stored(values) -> np.ndarray:
    """A label map that holds each of these values in a column of its own."""
    return np.repeat(np.asarray(list(values), np.uint8)[None], 4, axis=0)


def coco(tree, values, height: int = 360) -> None:
    """val2017 with one image, 42: the values in its first row, sea below."""
    rows = np.full((height, 360), 154, np.uint8)
    rows[0, : len(values)] = values
    tree.image("images/val2017/000000000042.jpg", height, 360)
    tree.map("annotations/val2017/000000000042.png", rows)


def test_the_official_list_has_the_ids_that_are_known_by_heart():
    official = official_coco()
    named = {1: "person", 25: "giraffe", 90: "toothbrush", 92: "banner", 149: "road", 169: "tree", 182: "wood"}
    named |= {44: "bottle", 62: "chair", 72: "tv", 124: "grass", 157: "sky-other", 178: "water-other"}
    assert {number: official[number][0] for number in named} == named
    assert len(official) == 182 and official[91][0] == "hair brush"


def test_cocostuff27_gives_each_of_182_labels_its_coarse_class(tree):
    coco(tree, [*range(182), 255])
    opened = open_labelled(f"cocostuff27:{tree}")
    assert opened.name == "cocostuff27" and list(opened.classes) == COARSE_27 and opened.colours is None
    row = opened.labels(0)[0, :183]
    assert row.dtype == np.int16 and row[182] == -1
    for number, (label, coarse) in official_coco().items():
        assert opened.classes[row[number - 1]] == coarse, label


def test_cocostuff15_and_3_ignore_the_things(tree):
    coco(tree, [*range(182), 255])
    fifteen = open_labelled(f"cocostuff15:{tree}")
    assert list(fifteen.classes) == COARSE_27[12:]
    row = fifteen.labels(0)[0, :183]
    assert (row[:91] == -1).all() and row[182] == -1
    assert (row[91:182] == open_labelled(f"cocostuff27:{tree}").labels(0)[0, 91:182] - 12).all()

    tree.text("curated/val2017/Coco164kFew_Stuff_6.txt", "000000000042")
    three = open_labelled(f"cocostuff3:{tree}")
    assert three.classes == ("sky", "plant", "ground")
    row = three.labels(0)[0]
    official = official_coco()
    assert {official[i + 1][1] for i in np.flatnonzero(row[:182] == 0)} == {"sky"}
    assert [(row[:182] == number).sum() for number in range(3)] == [2, 9, 11]
    assert (row == -1).sum() == 360 - 22


def test_an_image_of_cocostuff_needs_three_quarters_of_stuff_and_360_pixels_on_each_side(tree):
    maps = "stuffthingmaps/train2017"
    sky, person, unlabelled = 156, 0, 255

    def add(name, height, width, rest, rows):
        values = np.full((height, width), sky, np.uint8)
        values[:rows] = rest
        tree.map(f"{maps}/{name}.png", values)
        tree.image(f"train2017/{name}.jpg", height, width)

    add("exact", 360, 360, person, 90)
    add("less", 360, 360, person, 91)
    add("unlabelled", 360, 360, unlabelled, 91)
    add("low", 359, 400, person, 0)
    add("narrow", 400, 359, person, 0)
    add("whole", 400, 400, person, 0)
    said = []
    opened = open_labelled(f"cocostuff27:{tree}", "train", progress=lambda *args: said.append(args))
    assert [opened.source.name(index) for index in range(len(opened))] == ["exact.jpg", "whole.jpg"]
    assert said == [("COCO-Stuff's list", 6, 6, "2 taken")]

    add("wall", 400, 400, 170, 400)
    assert len(open_labelled(f"cocostuff27:{tree}", "train")) == 3
    few = open_labelled(f"cocostuff3:{tree}", "train")
    assert [few.source.name(index) for index in range(len(few))] == ["exact.jpg", "whole.jpg"]


def test_the_published_list_of_cocostuff_is_taken_where_it_lies(tree):
    for name in ("a", "b"):
        tree.image(f"images/val2017/{name}.jpg")
        tree.map(f"annotations/val2017/{name}.png", stored([0] * 6))
    tree.text("curated/val2017/Coco164kFull_Stuff_Coarse_7.txt", "b")
    opened = open_labelled(f"cocostuff27:{tree}")
    assert len(opened) == 1 and opened.source.name(0) == "b.jpg"


def test_the_derived_list_of_cocostuff_is_kept_until_the_maps_change(tree, tmp_path):
    coco(tree, [0])
    said = []

    def count() -> int:
        said.clear()
        cache = tmp_path / "cache"
        return len(open_labelled(f"cocostuff27:{tree}", cache=cache, progress=lambda *args: said.append(args)))

    assert count() == 1 and said
    assert count() == 1 and not said
    tree.image("images/val2017/000000000043.jpg", 360, 360)
    tree.map("annotations/val2017/000000000043.png", np.full((360, 360), 154, np.uint8))
    assert count() == 2 and said

    folder = tree.path("annotations/val2017/000000000043.png").parent
    tree.map("annotations/val2017/000000000043.png", np.zeros((360, 360), np.uint8))
    os.utime(folder, (1, 1))  # as when a file was put in place of another
    assert count() == 1 and said


@pytest.mark.parametrize("classes", [27, 19])
def test_cityscapes_counts_label_ids(tree, classes):
    name = "frankfurt/frankfurt_000000_000294"
    values = [*range(34), 255]
    tree.image(f"leftImg8bit/val/{name}_leftImg8bit.png", 4, 35)
    tree.map(f"gtFine/val/{name}_gtFine_labelIds.png", stored(values))
    tree.map(f"gtFine/val/{name}_gtFine_color.png", np.zeros((4, 35, 4), np.uint8))
    tree.map(f"gtFine/val/{name}_gtFine_instanceIds.png", stored(values).astype(np.uint16))
    opened = open_labelled(f"cityscapes{classes}:{tree}")
    assert len(opened) == 1 and len(opened.classes) == classes == len(opened.colours)
    row = opened.labels(0)[0]
    expected = TRAIN_IDS if classes == 19 else {number: number - 7 for number in range(7, 34)}
    assert row.tolist() == [expected.get(value, -1) for value in values]
    colours = dict(zip(opened.classes, opened.colours, strict=True))
    assert colours["road"] == (128, 64, 128) and colours["bicycle"] == (119, 11, 32) and colours["car"] == (0, 0, 142)
    some = {7: "road", 11: "building", 17: "pole", 24: "person", 31: "train", 33: "bicycle"}
    assert {value: opened.classes[row[value]] for value in some} == some
    assert ("caravan" in opened.classes) == (classes == 27)


def test_potsdam_reads_iics_mat_files(tree):
    values = np.array([[0, 1, 2, 3, 4, 5, 255]] * 4, np.int32)
    image = np.random.default_rng(0).integers(0, 256, (4, 7, 4), dtype=np.uint8)
    for name in ("17", "4", "9"):
        tree.mat(f"imgs/{name}.mat", img=image)
        tree.mat(f"gt/{name}.mat", gt=values)
    tree.text("labelled_train.txt", "9")
    tree.text("labelled_test.txt", "17", "4")
    opened = open_labelled(f"potsdam3:{tree}")
    assert [opened.source.name(index) for index in range(len(opened))] == ["17.mat", "4.mat"]
    assert opened.classes == ("roads and cars", "buildings and clutter", "vegetation and trees")
    assert (opened.labels(1) == [0, 1, 2, 2, 0, 1, -1]).all()
    assert (opened.source.read(0) == image[:, :, :3]).all()
    assert len(open_labelled(f"potsdam3:{tree}", "train")) == 1


@pytest.mark.parametrize(("images", "maps"), [("val", "valannot"), ("images/val", "labels/val")])
def test_camvid_in_both_layouts(tree, images, maps):
    tree.image(f"{images}/0016E5_07959.png", 4, 12)
    tree.map(f"{maps}/0016E5_07959.png", stored(range(12)))
    opened = open_labelled(f"camvid:{tree}")
    assert (opened.labels(0) == [*range(11), -1]).all()
    assert ", ".join(opened.classes) == (
        "sky, building, pole, road, pavement, tree, sign symbol, fence, car, pedestrian, bicyclist"
    )
    assert opened.colours[0] == (128, 128, 128) and opened.colours[10] == (0, 128, 192)


@pytest.mark.skipif(not CAMVID.is_dir(), reason="needs ../shared/data/camvid")
def test_the_shared_camvid():
    opened = open_labelled(f"camvid:{CAMVID}", "val")
    assert len(opened) == 101 and len(open_labelled(f"camvid:{CAMVID}", "train")) == 367
    for index in (0, 50, 100):
        labels = opened.labels(index)
        path = CAMVID / "labels" / "val" / f"{opened.source.name(index)[:-4]}.png"
        assert labels.shape == opened.source.read(index).shape[:2] == (360, 480)
        assert (np.where(labels < 0, 11, labels) == np.asarray(Image.open(path))).all()


@pytest.mark.parametrize("at", ["VOCdevkit/VOC2012", "VOC2012", "."])
def test_voc_reads_palettes_and_ignores_boundaries(tree, at):
    for name in ("2007_000033", "2007_000042"):
        tree.image(f"{at}/JPEGImages/{name}.jpg", 4, 22)
        tree.map(f"{at}/SegmentationClass/{name}.png", stored([*range(21), 255]), palette=True)
    tree.image(f"{at}/JPEGImages/2012_000001.jpg")
    tree.text(f"{at}/ImageSets/Segmentation/val.txt", "2007_000042")
    tree.text(f"{at}/ImageSets/Segmentation/trainval.txt", "2007_000033", "2007_000042")
    opened = open_labelled(f"voc:{tree}")
    assert len(opened) == 1 and len(opened.classes) == 21
    assert (opened.labels(0) == [*range(21), -1]).all()
    some = {0: "background", 1: "aeroplane", 11: "dining table", 15: "person", 16: "potted plant", 20: "tv/monitor"}
    assert {index: opened.classes[index] for index in some} == some
    # As the development kit draws them.
    colours = {0: (0, 0, 0), 1: (128, 0, 0), 7: (128, 128, 128), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {index: opened.colours[index] for index in colours} == colours
    assert len(open_labelled(f"voc:{tree}", "trainval")) == 2


def test_ade20k_ignores_zero_and_counts_from_one(tree):
    tree.image("ADEChallengeData2016/images/validation/ADE_val_00000001.jpg", 4, 151)
    tree.map("ADEChallengeData2016/annotations/validation/ADE_val_00000001.png", stored(range(151)))
    opened = open_labelled(f"ade20k:{tree}")
    assert (opened.labels(0) == range(-1, 150)).all()
    assert len(set(opened.classes)) == 150 and opened.colours is None
    official = {1: "wall", 2: "building", 13: "person", 60: "stairway", 128: "bicycle", 150: "flag"}
    assert {number: opened.classes[number - 1] for number in official} == official


@pytest.mark.parametrize("bits", [8, 16])  # 16 as it is published, 8 as it comes out of most programs
def test_labelmefacade_reads_colours(tree, bits):
    colours = "0:0:0 128:0:0 128:0:128 128:128:0 128:128:128 128:64:0 0:128:128 0:128:0 0:0:128"  # of its README
    names = "building car door pavement road sky vegetation window"
    row = np.array([[*map(int, colour.split(":")), 255] for colour in colours.split()], np.uint8)
    row = row if bits == 8 else row.astype(np.uint16) * 257
    for name in ("a", "b", "c"):
        tree.image(f"images/{name}.jpg", 4, 9)
        tree.map(f"labels/{name}.png", np.repeat(row[None], 4, axis=0))
    tree.text("train.txt", "images/b.jpg")
    tree.text("test.txt", "images/c.jpg", "images/a.jpg")
    opened = open_labelled(f"labelmefacade:{tree}")
    assert [opened.source.name(index) for index in range(len(opened))] == ["c.jpg", "a.jpg"]
    assert " ".join(opened.classes) == names
    assert (opened.labels(0) == range(-1, 8)).all()
    assert opened.colours[4] == (128, 64, 0)
    assert len(open_labelled(f"labelmefacade:{tree}", "test")) == 2
    assert open_labelled(f"labelmefacade:{tree}", "train").source.name(0) == "b.jpg"


def test_a_colour_that_labelmefacade_does_not_have_is_named(tree):
    values = np.zeros((4, 6, 3), np.uint8)
    values[2, 5] = 128, 0, 1
    tree.image("images/a.jpg")
    tree.map("labels/a.png", values)
    tree.text("test.txt", "images/a.jpg")
    with pytest.raises(UserError, match=r"a\.png holds \[128, 0, 1\] at column 5 of row 2, which is no class"):
        open_labelled(f"labelmefacade:{tree}").labels(0)
