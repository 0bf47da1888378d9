"""The command line: light to start, whole from any folder, and a sentence for each mistake."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import cv2
import numpy as np
import pytest

from densessl import cli, describe
from densessl.apps.config import AppConfig
from densessl.cli.detection import detect_predict, detect_train
from densessl.cli.shared import CONFIGS
from densessl.data.synthetic import write_scenes
from densessl.data.synthetic.pages import PagesConfig
from densessl.documents.detection.config import DetectConfig
from densessl.documents.detection.predict import PredictConfig
from densessl.documents.parsing import ParseConfig
from densessl.errors import RunStopped, UserError
from densessl.evaluation.finetune import FinetuneProtocol
from densessl.evaluation.knn import KnnConfig
from densessl.evaluation.linear import LinearConfig
from densessl.segmentation.config import CRFConfig, SegmentConfig, StegoConfig

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
HEAVY = ("torch", "timm", "lightning", "cv2", "numpy", "transformers", "omegaconf")


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "densessl", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """The command in this process, which is much faster than a new one."""
    monkeypatch.setattr(sys, "argv", ["densessl", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0


def test_help_imports_nothing_heavy():
    code = f"import sys, densessl.cli; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_every_command_has_help_with_an_example(tmp_path):
    listed = run("--help", cwd=tmp_path).stdout
    for name in (
        "pretrain",
        "segment",
        "evaluate",
        "finetune",
        "distill",
        "classify",
        "methods",
        "pages",
        "detect",
        "parse",
        "app",
        "demo",
    ):
        assert name in listed
        assert f"densessl {name}" in run(name, "--help", cwd=tmp_path).stdout


def test_evaluate_says_what_can_be_set():
    text = " ".join(cli.evaluate.__doc__.split())
    known = {field.name for config in (KnnConfig, LinearConfig, FinetuneProtocol) for field in fields(config)}
    said = set(re.findall(r"\w+", text[text.index("Settings of knn") :]))
    assert known - {"backbone", "data"} <= said


def test_parse_says_what_can_be_set():
    text = " ".join(cli.parse.__doc__.split())
    said = set(re.findall(r"\w+", text[text.index("Settings") :]))
    assert {field.name for field in fields(ParseConfig)} - {"documents", "out", "formats"} == said - {"Settings"}


def test_app_says_what_can_be_set():
    text = " ".join(cli.serve.__doc__.split())
    said = set(re.findall(r"\w+", text[text.index("Settings") :]))
    assert {field.name for field in fields(AppConfig)} == said - {"Settings"}


def test_pages_says_what_can_be_set():
    text = " ".join(cli.pages.__doc__.split())
    said = set(re.findall(r"\w+", text[text.index("Settings") :]))
    assert {field.name for field in fields(PagesConfig)} - {"out", "count", "seed", "version"} == said - {"Settings"}


@pytest.mark.parametrize(
    "command", ["segment", "pages", "evaluate", "pretrain", "finetune", "detect eval", "detect predict"]
)
def test_settings_are_listed_for_a_terminal_of_100_columns(monkeypatch, capsys, command):
    call(monkeypatch, *command.split(), "--settings")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    listed = {found[1] for line in lines if (found := re.match(r"  ([\w.]+)(=|  |$)", line))}
    place = CONFIGS[command.split()[-1]][-1]
    config = getattr(importlib.import_module(place.partition(":")[0]), place.partition(":")[2])
    assert {each.name for each in fields(config) if each.default_factory is MISSING} <= listed


def test_each_setting_of_segment_has_a_meaning():
    for config in (SegmentConfig, StegoConfig, CRFConfig):
        said = describe._said(config)
        assert all(said.get(each.name) for each in fields(config) if each.name not in ("stego", "crf"))
    text = describe.settings(SegmentConfig)
    assert "  lr=0.0005                 Adam, for the head" in text and "crf.iterations=10 " in text


def test_detect_says_what_can_be_set():
    for command, config in ((detect_train, DetectConfig), (detect_predict, PredictConfig)):
        said = set(re.findall(r"\w+", command.__doc__.partition("Settings:")[2]))
        left_out = (
            {"method", "data", "tile", "nodes", "page_side", "channels_last"} if config is DetectConfig else set()
        )
        assert {field.name for field in fields(config)} - left_out <= said


def test_pages_are_written_with_their_labels(monkeypatch, tmp_path, capsys):
    call(monkeypatch, "pages", "--out", tmp_path / "set", "--count", 2, "--seed", 1, "size=400", "workers=1")
    assert "2 pages of" in capsys.readouterr().out
    found = json.loads((tmp_path / "set" / "annotations.json").read_text())
    assert len(found["images"]) == 2 and len(found["categories"]) == 5
    assert all(cv2.imread(str(tmp_path / "set" / "images" / each["file_name"])) is not None for each in found["images"])


def test_from_pictures_to_a_backbone_masks_and_a_score(monkeypatch, tmp_path, capsys):
    write_scenes(tmp_path / "scenes", 9, seed=0, size=(48, 64))
    (tmp_path / "scenes" / "images" / "broken.jpg").write_text("no picture")
    data = tmp_path / "scenes" / "images"
    small = "backbone_options={channels: [8, 8, 16, 16], layers: [1, 1, 1, 1], stem_width: 8}"
    settings = ["image_size=32", "batch_size=4", "steps=2", "unreadable=0.5", "devices=cpu", small]
    call(monkeypatch, "pretrain", "simclr-cifar", f"data={data}", f"out={tmp_path / 'run'}", *settings)
    masks = tmp_path / "masks"
    call(monkeypatch, "segment", data, "--backbone", tmp_path / "run", "--out", masks, "--classes", 3, "steps=2")
    for path in data.glob("0*.*"):
        mask = cv2.imread(str(masks / "labels" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        assert mask.shape == cv2.imread(str(path)).shape[:2] and mask.max() < 3
    assert "broken.jpg" in (masks / "unreadable.txt").read_text()
    for index in range(20):
        folder = tmp_path / "labelled" / ("dark" if index % 2 else "light")
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(index).integers(0, 60, (32, 32, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), noise if index % 2 else noise + 190)
    arguments = ["--data", tmp_path / "labelled", "--out", tmp_path / "knn.json", "k=3"]
    call(monkeypatch, "evaluate", tmp_path / "run", *arguments)
    record = json.loads((tmp_path / "knn.json").read_text())
    assert 0 <= record["figures"]["top1"] <= 1 and record["protocol"] == "knn"
    assert "top1" in capsys.readouterr().out
    few, labelled = ["steps=2", "workers=0", "devices=cpu"], f"data={tmp_path / 'labelled'}"
    call(monkeypatch, "finetune", tmp_path / "run", labelled, f"out={tmp_path / 'few'}", "labels=0.5", *few)
    call(monkeypatch, "distill", tmp_path / "few", labelled, f"out={tmp_path / 'student'}", *few)
    call(monkeypatch, "classify", tmp_path / "student", data, "--out", tmp_path / "classes.csv")
    assert "9 images" in capsys.readouterr().out
    assert len((tmp_path / "classes.csv").read_text().splitlines()) == 10


def test_methods_are_listed_and_described(monkeypatch, capsys):
    call(monkeypatch, "methods")
    listed = capsys.readouterr().out
    assert "2002.05709" in listed and "dino-small" in listed
    call(monkeypatch, "methods", "moco")
    assert "moco.momentum" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UserError("The folder is empty."), 2, "The folder is empty."),
        (RunStopped("The loss became nan."), 1, "nan"),
        (OSError(28, "No space left on device", "/x/y"), 2, "/x/y"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_a_status(monkeypatch, capsys, error, status, words):
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == status and words in said and len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["segment", "missing", "--out", "masks"], "missing"),
        (["segment", "x", "--out", "masks", "stegoo.dim=3"], "did you mean 'stego'"),
        (["segment", "x", "--out", "masks", "--classes", "many"], "classes=many is neither a whole number nor auto."),
        (["segment", "x", "--out", "masks", "classes=2.5"], "2.5 is neither a whole number nor a word."),
        (["evaluate", "missing", "--data", "missing"], "missing"),
        (["evaluate", "x", "--data", "y", "--protocol", "kn"], "did you mean 'knn'"),
        (["finetune", "missing", "data=missing"], "missing"),
        (["finetune", "missing", "dat=x"], "did you mean 'data'"),
        (["distill", "missing", "data=missing"], "missing"),
        (["classify", "missing", "x"], "There is no classifier missing"),
        (["methods", "byo"], "did you mean 'byol'"),
        (["pages", "--out", "set", "degrad=1"], "did you mean 'degrade'"),
        (["pages", "--out", "set", "--count", "0"], "count=0 must be 1 or more"),
    ],
)
def test_mistakes_end_with_status_2(monkeypatch, capsys, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["densessl", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2 and words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
