"""Runs through detectron2 that were stopped or killed: the pages that come next, ends, and files that are whole."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

pytest.importorskip("detectron2", reason="detectron2 is not installed; .ci/run brings it")

from detectron2.modeling.meta_arch import GeneralizedRCNN

from densessl.documents.detectron2 import run
from tests.documents.detection.conftest import write_set
from tests.documents.detectron2.conftest import quick, silent


class Cut(Exception):
    pass


def learned_from(monkeypatch, settings: list[str], cut: int | None = None) -> list[list[str]]:
    """Train, perhaps until it is cut off before a step; the names of the pages of each step."""
    seen: list[list[str]] = []
    forward = GeneralizedRCNN.forward

    def step(self, batch):
        if self.training:
            if cut == len(seen):
                raise Cut
            seen.append([Path(each["file_name"]).name for each in batch])
        return forward(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(GeneralizedRCNN, "forward", step)
        with pytest.raises(Cut) if cut else nullcontext():
            run.train("quick.py", settings, silent)
    return seen


def test_a_run_that_was_stopped_goes_on_with_the_pages_that_come_next(tmp_path, monkeypatch):
    pages, out = write_set(tmp_path / "set", 6), tmp_path / "run"
    settings = ["train.max_iter=3", "train.checkpointer.period=1"]
    whole = learned_from(monkeypatch, quick(pages, tmp_path / "whole", *settings))
    # 3 steps of 2 of 6 pages: each once.
    assert len(whole) == 3 and len({name for names in whole for name in names}) == 6
    first = learned_from(monkeypatch, quick(pages, out, *settings), cut=2)
    assert (out / "last_checkpoint").read_text() == "model_0000001.pth"
    assert first + learned_from(monkeypatch, quick(pages, out, *settings)) == whole
    assert (out / "detector.safetensors").is_file()


def test_a_run_that_was_killed_behind_its_last_step_is_finished_when_it_is_called_again(
    pages_folder, tmp_path, monkeypatch
):
    settings = quick(pages_folder, tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr(run, "detector_of", lambda *_: (_ for _ in ()).throw(Cut))
        with pytest.raises(Cut):
            run.train("quick.py", settings, silent)
    final, names = tmp_path / "run" / "model_final.pth", ("detector.safetensors", "evaluation.json")
    before = final.read_bytes()
    assert not any((final.parent / name).exists() for name in names)
    assert learned_from(monkeypatch, settings) == [] and final.read_bytes() == before
    assert all((final.parent / name).is_file() for name in names)
    said: list[str] = []
    run.train("quick.py", settings, said.append)
    assert any("finished already" in sentence for sentence in said)


def test_a_run_that_was_killed_while_it_wrote_its_weights_has_the_ones_before(pages_folder, tmp_path, monkeypatch):
    settings, save = quick(pages_folder, tmp_path / "run", "train.checkpointer.period=1"), torch.save

    def half(state, path):
        save(state, path)
        if state["iteration"] == 1:
            path.write_bytes(path.read_bytes()[:1000])
            raise Cut

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", half)
        with pytest.raises(Cut):
            run.train("quick.py", settings, silent)
    assert not (tmp_path / "run" / "model_final.pth").exists()
    assert len(learned_from(monkeypatch, settings)) == 1
    assert torch.load(tmp_path / "run" / "model_final.pth")["iteration"] == 1
