"""Generated scenes: exact, alike for a seed, varied, and written whole."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from densessl.data.synthetic import CLASSES, scene, write_scenes
from densessl.data.synthetic.canvas import ROAD, SKY, WATER, Canvas, Dice
from densessl.data.synthetic.scenes import _reduce


def test_a_scene_is_a_picture_and_a_class_for_each_pixel():
    image, labels = scene(3, size=(96, 120))
    assert image.shape == (96, 120, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
    assert labels.shape == (96, 120) and labels.dtype == np.uint8
    assert labels.max() < len(CLASSES)
    assert len(np.unique(labels)) >= 3


def test_the_same_seed_gives_the_same_scene_whatever_was_made_before():
    first = scene(11, size=(64, 80))
    scene(12, size=(64, 80))
    again = scene(11, size=(64, 80))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_seeds_give_other_scenes():
    pictures = {scene(seed, size=(64, 80))[0].tobytes() for seed in range(12)}
    assert len(pictures) == 12


def test_every_class_is_common_and_none_fills_half_of_the_pixels():
    counts = np.zeros(len(CLASSES))
    for seed in range(100):
        counts += np.bincount(scene(seed, size=(48, 60))[1].ravel(), minlength=len(CLASSES))
    shares = counts / counts.sum()
    assert shares.min() > 0.015, dict(zip(CLASSES, shares, strict=True))
    assert shares.max() < 0.5, dict(zip(CLASSES, shares, strict=True))


def test_colour_alone_does_not_tell_the_class():
    """The best class per colour, chosen in hindsight on 60 scenes, is wrong for many pixels of 60 others."""
    cells, counts = 8, None
    for seed in range(120):
        image, labels = scene(seed, size=(48, 60))
        colours = (image.astype(int) * cells // 256) @ np.array([cells * cells, cells, 1])
        if counts is None:
            counts, right, total = np.zeros((cells**3, len(CLASSES))), 0, 0
        if seed < 60:
            np.add.at(counts, (colours.ravel(), labels.ravel()), 1)
        else:
            right, total = right + (counts.argmax(axis=1)[colours] == labels).sum(), total + labels.size
    assert right / total < 0.65


def test_strokes_paint_picture_and_classes_together():
    canvas = Canvas(40, 60)
    canvas.labels[:] = SKY
    canvas.polygon([(10, 10), (30, 10), (30, 20), (10, 20)], (1.0, 0.0, 0.0), ROAD)
    canvas.disc(45, 20, 6, (0.0, 1.0, 0.0), WATER)
    np.testing.assert_array_equal(canvas.labels == ROAD, canvas.image[..., 0] == 1)
    np.testing.assert_array_equal(canvas.labels == WATER, canvas.image[..., 1] == 1)
    assert (canvas.labels == WATER).sum() == pytest.approx(np.pi * 36, rel=0.15)


def test_a_pixel_has_the_class_that_covers_most_of_it():
    fine = np.random.default_rng(0).integers(0, 3, size=(40, 60)).astype(np.uint8)
    reduced = _reduce(fine)
    for row in range(20):
        for column in range(30):
            counts = np.bincount(fine[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel(), minlength=3)
            assert counts[reduced[row, column]] == counts.max()


def test_dice_draw_what_they_are_asked_for():
    dice = Dice(5)
    draws = [dice.whole(2, 4) for _ in range(300)]
    assert set(draws) == {2, 3, 4}
    assert all(-1 <= dice(-1, 3) < 3 for _ in range(300))
    assert {dice.pick("a b c") for _ in range(100)} == {"a", "b", "c"}


def test_scenes_are_written_as_pictures_labels_and_names_of_classes(tmp_path):
    names = write_scenes(tmp_path / "scenes", 3, seed=7, size=(64, 80))
    assert len(names) == len(set(names)) == 3
    assert json.loads((tmp_path / "scenes" / "classes.json").read_text()) == list(CLASSES)
    for i, name in enumerate(names):
        image, labels = scene(7 + i, size=(64, 80))
        read = cv2.imread(str(tmp_path / "scenes" / "images" / f"{name}.png"))[..., ::-1]
        np.testing.assert_array_equal(read, image)
        read = cv2.imread(str(tmp_path / "scenes" / "labels" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(read, labels)
    assert len(list((tmp_path / "scenes" / "images").iterdir())) == 3


def test_a_scene_too_small_to_show_anything_is_refused():
    with pytest.raises(ValueError, match="32 pixels"):
        scene(0, size=(16, 200))
