"""A run: what it leaves, how it goes on after any end, and what becomes of mistakes and of NaN."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from densessl import files
from densessl.backbones import load_backbone
from densessl.errors import RunStopped, UserError
from densessl.methods import methods
from densessl.training import callbacks, pretrain
from densessl.training.callbacks import Checkpoints
from tests.training.conftest import SMALL, heads, images_for, recipe, small


def run(method: str, data: Path, out: Path, *overrides: str) -> Path:
    settings = [f"data={data}", f"out={out}", *small(method), *heads(method), *overrides]
    return pretrain(recipe(method), settings, say=lambda sentence: None)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All weights and buffers of the run's last checkpoint, heads and queues included."""
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))


def assert_same(one: Path, two: Path) -> None:
    a, b = weights(one), weights(two)
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key
    a, b = (load_file(each / "backbone.safetensors") for each in (one, two))
    assert all(torch.equal(a[key], b[key]) for key in a)


class Stop(Exception):
    pass


@pytest.mark.parametrize(
    ("method", "at", "accumulate"),
    # In the midst of an epoch of three steps, at its end, and with each step in two parts.
    [(method, *rest) for method in methods() for rest in ((2, 1), (3, 1), (2, 2), (3, 2))],
)
def test_a_run_that_died_ends_with_the_same_bits(method, at, accumulate, pictures, tmp_path, monkeypatch):
    settings = ("steps=7", f"accumulate={accumulate}")
    data = images_for(method, pictures)
    whole = run(method, data, tmp_path / "whole", *settings)
    save = Checkpoints.on_train_batch_end

    def die(self, trainer, module, *rest):
        self.seconds = 0 if module.steps_done == at else 1e9
        save(self, trainer, module, *rest)
        if module.steps_done == at + 2:
            raise Stop  # two steps after the checkpoint

    monkeypatch.setattr(Checkpoints, "on_train_batch_end", die)
    with pytest.raises(Stop):
        run(method, data, tmp_path / "again", *settings)
    monkeypatch.undo()
    free = [f"workers={2 if at == 2 else 0}"]
    if (at, accumulate) == (3, 1):
        # Pictures drawn after each step change nothing either.
        monkeypatch.setattr(callbacks, "DRAW_SECONDS", 0)
        free.append("checkpoint_minutes=0")
    again = run(method, data, tmp_path / "again", *settings, *free)
    assert_same(whole, again)
    one, two = (rows_of(each) for each in (whole, again))
    assert [row["step"] for row in two] == [str(step) for step in range(1, 8)]
    assert [row["loss"] for row in one] == [row["loss"] for row in two]


def test_a_method_of_patches_refuses_a_network_without(pictures, tmp_path):
    with pytest.raises(UserError, match=r"mae works on the patches of a plain transformer, and resnet18 is none: give"):
        pretrain("mae", [f"data={pictures}", f"out={tmp_path}", *SMALL], say=lambda sentence: None)


def test_a_limit_trains_on_so_many_images(pictures, tmp_path):
    folder = run("simclr", pictures, tmp_path / "run", "epochs=1", "limit=17")
    assert json.loads((folder / "data.json").read_text())["images"] == 17 and len(rows_of(folder)) == 2
    with pytest.raises(UserError, match="batch_size=8 is larger than the data"):
        run("simclr", pictures, tmp_path / "few", "limit=5")


def test_moments_are_told_the_step_that_they_are_about(pictures, tmp_path, monkeypatch):
    told = []
    for name in ("before_step", "after_backward", "after_step"):
        monkeypatch.setattr(
            methods()["byol"].cls,
            name,
            lambda self, progress, name=name: told.append((name, progress.step)),
            raising=False,
        )
    run("byol", pictures, tmp_path / "run", "steps=3", "accumulate=2")
    assert told == [(name, step) for step in range(3) for name in ("before_step", "after_backward", "after_step")]


def test_pictures_are_drawn_on_the_way(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "DRAW_SECONDS", 0)

    def stopped(progress):
        if progress.step == 2:
            drawn = {path.name for path in (tmp_path / "run" / "pictures").iterdir()}
            assert drawn == {"views.png", "features.png", "pretext.png"}
            raise Stop

    monkeypatch.setattr(
        methods()["pirl"].cls, "after_backward", lambda self, progress: stopped(progress), raising=False
    )
    with pytest.raises(Stop):
        run("pirl", pictures, tmp_path / "run", "steps=4", "checkpoint_minutes=0")


def test_what_a_run_leaves(pictures, tmp_path):
    folder = run("simclr", pictures, tmp_path / "run", "epochs=2", "checkpoint_steps=4")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    wanted = {
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "checkpoints/last.ckpt",
        "checkpoints/step-4.ckpt",
        "backbone.safetensors",
        "backbone.json",
        "pictures/views.png",
        "pictures/features.png",
    }
    assert wanted <= names and any(name.startswith("events.out.tfevents") for name in names)
    assert not [name for name in names if "/." in name or name.startswith(".")]
    rows = rows_of(folder)
    assert len(rows) == 6 and {"loss", "learning_rate", "images_per_second", "waiting_for_data"} <= rows[0].keys()
    assert all(0 <= float(row["waiting_for_data"]) <= 1 for row in rows)
    assert float(rows[-1]["rankme"]) >= 1
    assert json.loads((folder / "environment.json").read_text())["versions"]["torch"]
    backbone = load_backbone(folder)
    assert backbone(torch.randn(1, 3, 16, 16)).shape == (1, backbone.channels)
    again = pretrain(folder / "config.yaml", [f"out={tmp_path / 'again'}"], say=lambda sentence: None)
    assert_same(folder, again)


def test_a_finished_run_is_left_alone_and_other_settings_are_refused(pictures, tmp_path):
    folder = run("simclr", pictures, tmp_path / "run", "steps=2")
    before = (folder / "backbone.safetensors").stat().st_mtime_ns
    run("simclr", pictures, tmp_path / "run", "steps=2")
    assert (folder / "backbone.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"other settings \(lr"):
        run("simclr", pictures, tmp_path / "run", "steps=2", "lr=9")


def test_two_commands_do_not_train_in_one_folder(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "WAIT", 0.0)
    with (
        files.claimed(tmp_path / "run"),
        pytest.raises(UserError, match="Another densessl command is at work in .*run"),
    ):
        run("simsiam", pictures, tmp_path / "run")


def test_other_images_and_a_folder_among_the_images_are_refused(pictures, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(pictures, data)
    run("moco", data, tmp_path / "run", "steps=2")
    shutil.copy(data / "00.jpg", data / "more.jpg")
    with pytest.raises(UserError, match="26 images of other names than the 27"):
        run("moco", data, tmp_path / "run", "steps=2")
    with pytest.raises(UserError, match="lies in the data folder"):
        run("moco", data, data / "run", "steps=2")


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"junk"])
def test_a_damaged_checkpoint_is_named(damage, pictures, tmp_path):
    folder = run("simclr", pictures, tmp_path / "run", "steps=1")
    (folder / "backbone.json").unlink()
    last = folder / "checkpoints" / "last.ckpt"
    last.write_bytes(damage(last.read_bytes()))
    with pytest.raises(UserError, match=r"last.ckpt is damaged: delete it"):
        run("simclr", pictures, folder, "steps=1")


def test_a_start_that_failed_does_not_stand_in_the_way(pictures, tmp_path):
    with pytest.raises(RunStopped):
        run("simclr", pictures, tmp_path / "run", "steps=1", "lr=1e38", "optimizer.lr_scaling=none")
    assert run("simclr", pictures, tmp_path / "run", "steps=1")


def test_a_run_goes_on_from_a_run_and_a_file(pictures, tmp_path):
    first = run("simclr", pictures, tmp_path / "first", "steps=2")
    for number, spec in enumerate((first, first / "backbone.safetensors")):
        second = run("byol", pictures, tmp_path / f"second{number}", "steps=1", "lr=0", f"backbone={spec}")
        a, b = load_file(first / "backbone.safetensors"), load_file(second / "backbone.safetensors")
        assert all(torch.equal(a[key], b[key]) for key in a if "running" not in key and "num_batches" not in key)


def test_a_network_with_few_channels_runs(pictures, tmp_path):
    """With channels_last, torch 2.14 on a CPU ends the process in the backward pass of this one."""
    options = "backbone_options={channels: [8, 16, 16, 32], layers: [1, 1, 1, 1]}"
    assert run("simclr", pictures, tmp_path / "run", "steps=2", "image_size=64", options)


@pytest.mark.parametrize("method", ["simclr", "pirl"])
def test_views_made_on_the_device_train_as_well(method, pictures, tmp_path, monkeypatch):
    from densessl.training import run as module

    made = module.ViewDataset

    def on_device(source, views, size, seed, device_views):
        return made(source, views, size, seed, device_views=True)

    monkeypatch.setattr(module, "ViewDataset", on_device)
    on = run(method, pictures, tmp_path / "on", "steps=2")
    monkeypatch.undo()
    off = run(method, pictures, tmp_path / "off", "steps=2")
    losses = [float(rows_of(each)[0]["loss"]) for each in (on, off)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["batch_size=100"], "larger than the data.*26 images"),
        (["accumulate=3"], "cannot be cut into 3"),
        (["devices=gpu:9"], "GPU"),
        (["devices=tpu"], "devices=tpu"),
        (["precision=16"], "precision=16 needs a GPU"),
        (["simclr.view.size=30"], "views of 30 px"),
        (["simclr.view.patches={grid: 2, size: 8, step: 8}"], "simclr takes whole views"),
        (["simclr.dim=0"], "simclr.dim=0 must be 1 or more"),
        (["optimizer.clip=0"], "clip=0"),
        (["lr=nan"], "lr=nan"),
        (["backbone=resnet81"], "resnet"),
        (["backbone=nowhere.pth"], "nowhere.pth"),
        (["data=/nowhere"], "/nowhere"),
        (["out=/proc/nothing"], "could not be written"),
    ],
)
def test_mistakes_cost_a_sentence_and_write_nothing(pictures, tmp_path, overrides, words):
    with pytest.raises(UserError, match=words) as caught:
        run("simclr", pictures, tmp_path / "run", "steps=1", *overrides)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_a_method_that_needs_labels_says_which_image_has_none(pictures, tmp_path):
    with pytest.raises(
        UserError,
        match=r"supcon needs a label for every image, and 00.jpg of .* has none: sort them into a folder per class",
    ):
        run("supcon", pictures, tmp_path / "run", "steps=1")
    some = tmp_path / "some.txt"
    some.write_text("".join(f"{path}\tcat\n" for path in sorted(pictures.iterdir())[:20]) + f"{pictures / '20.jpg'}\n")
    with pytest.raises(UserError, match="and 20.jpg of .* has none"):
        run("supcon", some, tmp_path / "run", "steps=1")
    assert not (tmp_path / "run").exists()


def test_patches_that_the_backbone_cannot_take_are_a_sentence(pictures, tmp_path):
    with pytest.raises(UserError, match="cannot take patches of 12 px: .* multiple"):
        run("cpc", pictures, tmp_path / "run", "steps=1", "cpc.view.patches={grid: 4, size: 12, step: 6}")


def test_pirl_leaves_a_picture_of_its_jigsaws_and_cpc_a_backbone_without_batch_norm(pictures, tmp_path):
    assert (run("pirl", pictures, tmp_path / "pirl", "steps=1") / "pictures" / "pretext.png").is_file()
    backbone = load_backbone(run("cpc", pictures, tmp_path / "cpc", "steps=1"))
    assert backbone.options["norm"] == "layer" and not [key for key in backbone.state_dict() if "running" in key]
    assert backbone(torch.randn(1, 3, 16, 16)).shape == (1, backbone.channels)


def test_unreadable_pictures_are_listed_and_too_many_end_the_run(pictures, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for index, path in enumerate(sorted(pictures.iterdir())):
        (data / path.name).write_bytes(path.read_bytes() if index % 9 else b"no picture")
    folder = run("simclr", data, tmp_path / "run", "steps=4", "unreadable=0.2")
    assert "00.jpg" in (folder / "unreadable.txt").read_text()
    with pytest.raises(UserError, match="jpg"):
        run("simclr", data, tmp_path / "strict", "steps=4", "unreadable=0.05")


def test_a_loss_that_is_not_finite_keeps_the_batch_and_the_weights(pictures, tmp_path):
    with pytest.raises(RunStopped, match="not-finite"):
        run("simclr", pictures, tmp_path / "run", "steps=40", "lr=1e38", "optimizer.lr_scaling=none")
    state = torch.load(tmp_path / "run" / "not-finite" / "state.pt", weights_only=True)
    assert state["batches"][-1]["views"][0].shape == (8, 3, 16, 16) and len(state["batches"][-1]["index"]) == 8
    assert state["weights"] and state["optimizer"]


def test_weights_that_are_not_finite_are_never_saved(pictures, tmp_path):
    with pytest.raises(RunStopped, match="weight became NaN"):
        run("simclr", pictures, tmp_path / "run", "steps=1", "lr=1e38", "optimizer.lr_scaling=none")
    assert not list((tmp_path / "run").glob("checkpoints/*.ckpt")) and not (tmp_path / "run" / "backbone.json").exists()


def test_a_folder_of_broken_pictures_is_a_sentence(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for index in range(12):
        (data / f"{index:02}.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"can(not)? be read|No image"):
        run("simclr", data, tmp_path / "run", "steps=1", "unreadable=1")


def test_going_on_with_another_method_or_seed_names_it(pictures, tmp_path):
    folder = run("simclr", pictures, tmp_path / "run", "steps=1", "limit=16")
    with pytest.raises(UserError, match="holds a run of simclr, not of simsiam"):
        run("simsiam", pictures, folder, "steps=1", "limit=16")
    with pytest.raises(UserError, match="other settings .*seed: 0, now 3"):
        run("simclr", pictures, folder, "steps=1", "limit=16", "seed=3")


def test_limits_that_small_data_set_are_said(pictures, tmp_path):
    said = []
    settings = [f"data={pictures}", f"out={tmp_path / 'run'}", *small("moco"), *heads("moco"), "steps=1"]
    pretrain(recipe("moco"), [*settings, "moco.queue=4096"], say=said.append)
    assert "moco.queue is 13 here, half of the images, in the place of 4096." in said
