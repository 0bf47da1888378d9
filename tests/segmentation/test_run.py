"""`segment`: a folder in, masks of the pictures' own sizes out; a saved model repeats them; mistakes are sentences."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from densessl.config import build, read_yaml, recipes
from densessl.errors import UserError
from densessl.progress import Progress, silent
from densessl.segmentation import SegmentConfig, segment
from densessl.segmentation.checks import check
from densessl.segmentation.config import StegoConfig, resolve
from densessl.segmentation.features.colour import ColourBackbone
from densessl.segmentation.model import load_model, save_model
from densessl.segmentation.refinement.crf import CRFConfig


@pytest.fixture
def folder(scenes, tmp_path) -> Path:
    """Four pictures, one in a subfolder and two of one stem, and a broken one."""
    names = ["a.jpg", "a.png", "sub/b.jpg", "c.jpg"]
    for name, image in zip(names, scenes[0].images, strict=True):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    (tmp_path / "pictures" / "broken.jpg").write_text("this is text")
    return tmp_path / "pictures"


def settings(folder: Path, out: Path, **changes) -> SegmentConfig:
    config = SegmentConfig(data=str(folder), out=str(out), classes=3, steps=5, image_size=64, devices="cpu")
    config.backbone = None if "model" in changes else "colour"
    for key, value in changes.items():
        setattr(config, key, value)
    return config


def masks(out: Path) -> dict[str, np.ndarray]:
    return {
        path.relative_to(out / "labels").as_posix(): cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        for path in sorted((out / "labels").rglob("*.png"))
    }


def test_four_pictures_of_any_shape_and_a_broken_one(folder, scenes, tmp_path):
    out = tmp_path / "out"
    summary = segment(settings(folder, out), progress=silent)
    assert (summary.pictures, summary.unreadable, summary.learned) == (4, 1, True)
    assert sum(summary.shares) == pytest.approx(1) and "colours and gradients" in str(summary)
    found = masks(out)
    assert list(found) == ["a.jpg.png", "a.png.png", "c.png", "sub/b.png"]
    sizes = {"a.jpg.png": 0, "a.png.png": 1, "sub/b.png": 2, "c.png": 3}
    for name, index in sizes.items():
        assert found[name].dtype == np.uint8
        assert found[name].shape == scenes[0].images[index].shape[:2]
        shown = cv2.imread(str((out / "overlays" / name).with_suffix(".jpg")))
        assert shown.shape == scenes[0].images[index].shape
    assert "broken.jpg" in (out / "unreadable.txt").read_text()
    written = json.loads((out / "segments.json").read_text())
    assert sum(each["pixels"] for each in written["classes"]) == sum(each.size for each in found.values())
    assert not list(out.rglob(".*"))


def test_a_saved_model_repeats_the_masks_of_its_run(folder, tmp_path):
    segment(settings(folder, tmp_path / "one"), progress=silent)
    model = str(tmp_path / "one" / "model.safetensors")
    summary = segment(settings(folder, tmp_path / "two", model=model, image_size=None, workers=2), progress=silent)
    assert not summary.learned
    one, two = masks(tmp_path / "one"), masks(tmp_path / "two")
    assert list(one) == list(two) and all(np.array_equal(one[name], two[name]) for name in one)
    segment(settings(folder / "sub", tmp_path / "three", model=str(tmp_path / "two"), image_size=None), progress=silent)
    assert np.array_equal(masks(tmp_path / "three")["b.png"], one["sub/b.png"])


def test_spectral_joins_the_tokens_of_a_picture_and_its_model_does_so_again(folder, tmp_path):
    for method in ("kmeans", "spectral"):
        segment(settings(folder, tmp_path / method, method=method, refine="none"), progress=silent)
    model = str(tmp_path / "spectral")
    segment(settings(folder, tmp_path / "again", model=model, image_size=None, refine="none"), progress=silent)
    plain, joined, again = (masks(tmp_path / name) for name in ("kmeans", "spectral", "again"))
    assert any(not np.array_equal(plain[name], joined[name]) for name in plain)
    assert all(np.array_equal(again[name], joined[name]) for name in joined)


def test_a_model_keeps_the_window_that_its_features_are_averaged_over(folder, tmp_path):
    for name, window in (("plain", 1), ("wide", 5)):
        segment(settings(folder, tmp_path / name, window=window, refine="none"), progress=silent)
    model = str(tmp_path / "wide")
    segment(settings(folder, tmp_path / "again", model=model, image_size=None, refine="none"), progress=silent)
    plain, wide, again = (masks(tmp_path / name) for name in ("plain", "wide", "again"))
    assert any(not np.array_equal(plain[name], wide[name]) for name in plain)
    assert all(np.array_equal(again[name], wide[name]) for name in wide)


def test_unless_told_segments_are_clusters_of_means_of_3_by_3_places(folder, tmp_path):
    segment(settings(folder, tmp_path / "out", refine="none"), progress=silent)
    model, saved = load_model(tmp_path / "out")
    assert model.head is None and (saved.config["method"], saved.window) == ("kmeans", 3)
    segment(settings(folder, tmp_path / "told", refine="none", method="kmeans", window=3), progress=silent)
    out, told = masks(tmp_path / "out"), masks(tmp_path / "told")
    assert out.keys() == told.keys() and all(np.array_equal(out[name], told[name]) for name in out)
    assert not list(tmp_path.rglob("correspondences.*"))


def test_the_saved_config_runs_again_to_the_same_masks(folder, tmp_path):
    segment(settings(folder, tmp_path / "one"), progress=silent)
    config = build(SegmentConfig, read_yaml(tmp_path / "one" / "config.yaml", "segment"))
    config.out = str(tmp_path / "two")
    segment(config, progress=silent)
    one, two = masks(tmp_path / "one"), masks(tmp_path / "two")
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_learning_from_some_pictures_still_writes_all_masks(folder, tmp_path):
    (folder / "broken.jpg").unlink()
    assert segment(settings(folder, tmp_path / "out", learn_from=2), progress=silent).pictures == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": 1}, "classes=1"),
        ({"classes": 5000}, "fewer with --classes"),
        ({"classes": "many"}, r"^classes=many is neither a whole number nor auto\.$"),
        ({"classes": "auot"}, "did you mean 'auto'"),
        ({"classes": "auto", "model": "/nowhere"}, "those of /nowhere are learned already: leave one of the two out"),
        ({"restarts": 0}, "restarts=0 is too small: give at least 1"),
        ({"cache_size": -1}, "cache_size=-1 is too small"),
        ({"method": "stegoo"}, "did you mean 'stego'"),
        ({"precision": "16"}, "precision=16"),
        ({"layers": 99}, "layers=99, but the backbone colour has 1 layer: give one of -1 to 0"),
        ({"devices": "cpu:2"}, "devices=cpu:2, but segments are found by one process: give cpu"),
        ({"devices": "gpus"}, "devices=gpus is not one of"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"window": 2}, "window=2 has no middle: give an odd number"),
        ({"window": 0}, "window=0 has no middle: give an odd number"),
        ({"unreadable": 7.0}, "unreadable=7.0 is no share: give 0 to 1"),
        ({"lr": 0.0}, "lr=0 learns nothing"),
        ({"sharpness": float("inf")}, "sharpness=inf is no number to reckon with: give a finite one"),
        ({"stego": StegoConfig(neg_inter_shift=float("nan"))}, "stego.neg_inter_shift=nan is no number"),
        ({"stego": StegoConfig(pos_intra_weight=-5)}, "stego.pos_intra_weight=-5 is too small: give at least 0"),
        (
            {"crf": CRFConfig(colour_deviation=0.003)},
            "crf.colour_deviation=0.003 and crf.colour_reach=67 are too small",
        ),
        ({"model": "/nowhere/model.safetensors"}, "no model at"),
        ({"out": "/proc/nothing/here"}, "could not be written"),
    ],
)
def test_mistakes_are_sentences_and_write_no_mask(folder, tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        segment(settings(folder, **{"out": tmp_path / "out", **changes}), progress=silent)
    assert not (tmp_path / "out" / "labels").exists()


@pytest.mark.parametrize("name", recipes("segment"))
def test_every_recipe_is_a_checked_config(name):
    check(resolve(["photos"], {"out": "masks"}, name))


def test_the_recipe_of_stegos_paper_says_its_method_and_takes_each_token_as_it_is():
    config = resolve(["photos"], {"out": "masks"}, "stego-cocostuff27-vits8")
    assert (config.method, config.window, config.steps, config.stego.centre) == ("stego", 1, 5000, False)


def test_what_trains_a_head_is_said_to_be_idle_without_one_and_may_change(folder, tmp_path):
    said: list[str] = []
    asked = settings(folder, tmp_path / "out", method="kmeans", steps=7, stego=StegoConfig(dim=5))
    segment(asked, silent, said.append)
    assert said[0].startswith("method=kmeans trains no head, so that steps=7, stego.dim=5 changes nothing")
    asked.steps, asked.stego, said = SegmentConfig.steps, StegoConfig(), []
    segment(asked, silent, said.append)  # and the folder is not refused for it
    assert not any("trains no head" in sentence for sentence in said)


def test_a_recipe_that_is_not_there_is_told_which_are():
    with pytest.raises(UserError, match="no recipe 'stego', neither a file nor one of: stego-cocostuff27-vits8"):
        resolve(["photos"], {"out": "masks"}, "stego")


def test_what_a_model_does_not_heed_is_said(folder, tmp_path):
    segment(settings(folder, tmp_path / "one", refine="none"), silent)
    given, said = {"model": str(tmp_path / "one"), "refine": "none", "image_size": None}, []
    segment(settings(folder, tmp_path / "two", **given), silent, said.append)
    assert said == []
    asked = {"classes": 9, "method": "spectral", "layers": [5], "window": 5, "stego": StegoConfig(dim=9)}
    segment(settings(folder, tmp_path / "two", **given, **asked), silent, said.append)
    assert said == [
        f"The segments are those that {tmp_path / 'one'} has learned, with its own settings: classes=9, "
        "method=spectral, layers=[5], window=5, stego.dim=9 changes nothing."
    ]


def test_a_model_refuses_another_backbone(folder, tmp_path):
    segment(settings(folder, tmp_path / "one"), progress=silent)
    model, saved = load_model(tmp_path / "one")
    save_model(tmp_path / "other.safetensors", model, saved.__class__(saved.backbone, "0" * 64, 64, {}))
    given = {"model": str(tmp_path / "other.safetensors")}
    with pytest.raises(UserError, match="the backbone colour as it was before its weights were replaced"):
        segment(settings(folder, tmp_path / "two", **given), progress=silent)
    with pytest.raises(UserError, match="another backbone than box: its own was colour"):
        segment(settings(folder, tmp_path / "two", backbone="box", **given), progress=silent)


def test_nothing_readable_is_a_sentence(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.jpg").write_text("text")
    with pytest.raises(UserError):
        segment(settings(tmp_path / "pictures", tmp_path / "out", unreadable=1.0), progress=silent)


@pytest.fixture(scope="module")
def one_size(tmp_path_factory) -> Path:
    """The folder of a backbone that takes images of 240 x 240 pixels alone."""
    from densessl.backbones import create_backbone, save_backbone

    backbone = create_backbone("crossvit_9_240")
    assert backbone.fixed_size == (240, 240)
    folder = tmp_path_factory.mktemp("backbones") / "one size"
    save_backbone(backbone, folder, {})
    return folder


def test_a_backbone_of_one_size_segments_pictures_of_every_size(folder, one_size, scenes, tmp_path):
    changes = {"backbone": str(one_size), "image_size": None, "steps": 2}
    segment(settings(folder, tmp_path / "one", **changes), progress=silent)
    one = masks(tmp_path / "one")
    assert one["sub/b.png"].shape == scenes[0].images[2].shape[:2]
    model = str(tmp_path / "one" / "model.safetensors")
    segment(settings(folder, tmp_path / "two", model=model, image_size=None), progress=silent)
    two = masks(tmp_path / "two")
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_the_layers_of_a_backbone_are_counted_in_the_sentence(folder, one_size, tmp_path):
    for layer in (6, -7):
        with pytest.raises(UserError, match=rf"^layers={layer}, but .* has 6 layers: give one of -6 to 5\.$"):
            segment(settings(folder, tmp_path / "out", backbone=str(one_size), image_size=None, layers=layer))


def test_a_model_finds_its_backbone_again_at_the_size_that_was_asked_for(folder, tmp_path, monkeypatch):
    asked = []

    def load(spec, image_size, positions):
        asked.append(image_size)
        return ColourBackbone()

    monkeypatch.setattr("densessl.segmentation.run._backbone", load)
    segment(settings(folder, tmp_path / "one", image_size=72), progress=silent)
    segment(settings(folder, tmp_path / "two", image_size=None), progress=silent)
    for name in ("one", "two"):
        model = str(tmp_path / name / "model.safetensors")
        segment(settings(folder, tmp_path / f"{name} again", model=model, image_size=None), progress=silent)
    assert asked == [72, None, 72, None]


@pytest.mark.parametrize(("broken", "words"), [(1, "1 picture could not be read and has none: see "), (0, None)])
def test_the_summary_says_what_could_not_be_read(folder, tmp_path, broken, words):
    if not broken:
        (folder / "broken.jpg").unlink()
    lines = str(segment(settings(folder, tmp_path / "out"), progress=silent)).splitlines()
    assert lines[0].startswith("4 masks by kmeans on the features of colours") and lines[0].endswith(" s.")
    found = [line for line in lines if "could not be read" in line]
    assert found == ([f"{words}{tmp_path / 'out' / 'unreadable.txt'}."] if words else [])


def test_what_a_killed_run_left_in_the_folder_is_removed(folder, tmp_path):
    left = tmp_path / "out" / "labels" / ".densessl-a-abcdefgh.png"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    os.utime(left, (1, 1))
    segment(settings(folder, tmp_path / "out"), progress=silent)
    assert not left.exists()


@pytest.mark.parametrize(("stage", "workers"), [("Reading features", 1), ("Learning segments", 0)])
def test_ctrl_c_ends_with_a_sentence_and_no_traceback(folder, tmp_path, stage, workers):
    """As a terminal does it: the signal reaches the command and its workers at once."""
    for number in range(200):
        shutil.copy(folder / "a.jpg", folder / f"copy-{number}.jpg")
    # Every step is told, so that the signal comes in the middle of the stage, while workers live.
    program = (
        "from densessl import cli, progress; progress.Progress.__init__.__defaults__ = (None, 0.0);"
        f"import sys; sys.argv = ['densessl', 'segment', {str(folder)!r}, '--out', {str(tmp_path / 'out')!r},"
        f" '--method', 'stego', 'devices=cpu', 'image_size=64', 'steps=100000', 'workers={workers}']; cli.main()"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        told = ""
        while not told.startswith(stage):
            told = running.stderr.readline()
            assert told, "it ended before that stage"
        os.killpg(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=60)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    rest = [line for line in err.splitlines() if not line.startswith(stage)]
    assert rest == ["Stopped."] and out == "" and running.returncode == 130
    assert not (tmp_path / "out" / "labels").exists()


def test_plain_lines_are_printed_where_there_is_no_terminal(capsys):
    progress = Progress(seconds=0)
    for step in range(1, 4):
        progress("Learning", step, 3, "loss 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and lines[0].startswith("Learning: 1/3") and "loss 0.5" in lines[-1]


def test_segments_without_a_pixel_are_told(tmp_path):
    (tmp_path / "plain").mkdir()
    cv2.imwrite(str(tmp_path / "plain" / "a.png"), np.full((64, 64, 3), 120, np.uint8))
    told = str(segment(settings(tmp_path / "plain", tmp_path / "out", method="kmeans"), silent, [].append))
    assert "2 of the 3 segments have no pixel: the pictures hold fewer kinds of places, --classes 2 will do." in told
