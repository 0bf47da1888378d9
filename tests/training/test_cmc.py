"""Runs of CMC on videos and side files: what they leave, how they go on, what they say."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from densessl.backbones import SplitBackbone, load_backbone
from densessl.errors import UserError
from densessl.training import pretrain
from densessl.training.callbacks import Checkpoints
from tests.training.conftest import SMALL
from tests.training.test_run import assert_same

SETTINGS = [*SMALL, "steps=5", "cmc.dim=8", "cmc.negatives=12"]


def run(recipe: str, out: Path, *overrides: str) -> tuple[Path, list[str]]:
    said: list[str] = []
    return pretrain(recipe, [f"out={out}", *SETTINGS, *overrides], say=said.append), said


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with depth, normals and labels; two videos as folders of frames and as files."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for folder in ("images", "depth", "normals", "labels", "frames/a", "frames/b", "videos"):
        (root / folder).mkdir(parents=True)
    for number in range(16):
        image = cv2.resize(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8), (40, 30), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / "images" / f"{number:02}.png"), image)
        cv2.imwrite(str(root / "normals" / f"{number:02}.png"), image)
        cv2.imwrite(str(root / "depth" / f"{number:02}.png"), image[:, :, 0].astype(np.uint16) * 200)
        cv2.imwrite(str(root / "labels" / f"{number:02}.png"), image[:, :, 0] // 86)
    for video in "ab":
        wide = cv2.resize(rng.integers(0, 256, (9, 20, 3), dtype=np.uint8), (90, 40), interpolation=cv2.INTER_CUBIC)
        writer = cv2.VideoWriter(str(root / "videos" / f"{video}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (48, 40))
        for t in range(14):
            frame = np.ascontiguousarray(wide[:, 3 * t : 3 * t + 48])
            cv2.imwrite(str(root / "frames" / video / f"{t:02}.png"), frame)
            writer.write(frame)
        writer.release()
    return root


def beside(data: Path) -> list[str]:
    maps = [f"cmc.{name}={data / name}" for name in ("depth", "normals", "labels")]
    return [f"data={data / 'images'}", *maps, "cmc.label_classes=3", "cmc.graph=full"]


@pytest.mark.parametrize("kind", ["maps", "frames", "videos"])
def test_a_run_with_layers_that_died_ends_with_the_same_bits(kind, data, tmp_path, monkeypatch):
    recipe = "cmc" if kind == "maps" else "cmc-video"
    settings = beside(data) if kind == "maps" else [f"data={data / kind}", "cmc.later=2", "cmc.flow=2"]
    whole, said = run(recipe, tmp_path / "whole", *settings)
    assert {each.name for each in (whole / "pictures").iterdir()} >= {"views.png", "features.png"}
    if kind != "maps":
        assert sum("are left out" in each or "Left out" in each for each in said) == 2
    backbone = load_backbone(whole)
    assert isinstance(backbone, SplitBackbone) and len(backbone.encoders) == (2 if kind == "maps" else 1)
    assert backbone(torch.rand(1, 3, 16, 16)).shape == (1, backbone.channels)
    save = Checkpoints.on_train_batch_end

    class Stop(Exception):
        pass

    def die(self, trainer, module, *rest):
        self.seconds = 0 if module.steps_done == 2 else 1e9
        save(self, trainer, module, *rest)
        if module.steps_done == 3:
            raise Stop

    monkeypatch.setattr(Checkpoints, "on_train_batch_end", die)
    with pytest.raises(Stop):
        run(recipe, tmp_path / "again", *settings)
    monkeypatch.undo()
    again, _ = run(recipe, tmp_path / "again", *settings, "workers=2")
    assert_same(whole, again)


def test_a_run_goes_on_from_the_backbone_of_one(data, tmp_path):
    first, _ = run("cmc", tmp_path / "first", f"data={data / 'images'}")
    second, _ = run("cmc", tmp_path / "second", f"data={data / 'images'}", f"backbone={first}", "lr=0")
    weights = [dict(load_backbone(each).named_parameters()) for each in (first, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    other, _ = run("cmc", tmp_path / "other", f"data={data / 'images'}", "cmc.split=ycbcr")
    with pytest.raises(UserError, match="trained on"):
        run("cmc", tmp_path / "third", f"data={data / 'images'}", f"backbone={other}")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["cmc.depth=/nowhere"], "no folder /nowhere of depth"),
        (["cmc.depht=x"], "cmc.depth"),
        (["cmc.later=2"], "of one video"),
        (["cmc.later=99", "cmc.same_video=true"], "None of the 16 images has frame"),
        (["cmc.flow=ten"], "cmc.flow"),
    ],
)
def test_layers_that_do_not_fit_cost_a_sentence_and_write_nothing(data, tmp_path, overrides, words):
    with pytest.raises(UserError, match=words):
        run("cmc", tmp_path / "run", f"data={data / 'images'}", *overrides)
    assert not (tmp_path / "run").exists()


def test_broken_side_files_are_listed_as_unreadable_images(data, tmp_path):
    depth = tmp_path / "depth"
    depth.mkdir()
    for path in (data / "depth").iterdir():
        (depth / path.name).write_bytes(path.read_bytes() if path.stem != "03" else b"broken")
    folder, _ = run("cmc", tmp_path / "run", f"data={data / 'images'}", f"cmc.depth={depth}", "unreadable=0.2")
    assert "03.png\tits depth: " in (folder / "unreadable.txt").read_text()


def test_saved_paths_are_absolute(data, tmp_path, monkeypatch):
    monkeypatch.chdir(data)
    folder, _ = run("cmc", tmp_path / "run", "data=images", "cmc.depth=depth")
    assert f"depth: {data / 'depth'}" in (folder / "config.yaml").read_text()
