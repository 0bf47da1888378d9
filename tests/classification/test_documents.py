"""Documents by their kind, as RVL-CDIP has them: from a run of DiT to the share of pages that are right."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from densessl import cli
from densessl.classification import finetune
from densessl.config import recipes
from densessl.training import pretrain
from tests.classification.conftest import SMALL

KINDS = {"letter": 0, "invoice": 11}  # of lines, or of columns
VIT = "backbone_options={embed_dim: 32, depth: 2, num_heads: 2, use_abs_pos_emb: true, use_rel_pos_bias: false}"


@pytest.fixture(scope="module")
def rvlcdip(tmp_path_factory) -> Path:
    root, rng = tmp_path_factory.mktemp("rvl-cdip"), np.random.default_rng(0)
    (root / "images" / "a").mkdir(parents=True)
    (root / "labels").mkdir()
    for split, count in (("train", 16), ("test", 8)):
        lines = []
        for number in range(count):
            kind = list(KINDS)[number % 2]
            page = rng.normal(230, 10, (64, 48)).clip(0, 255).astype(np.uint8)
            page[(slice(None, None, 6),) if kind == "letter" else (slice(None), slice(None, None, 6))] = 20
            cv2.imwrite(str(root / "images" / "a" / f"{split}{number}.tif"), page)
            lines.append(f"a/{split}{number}.tif {KINDS[kind]}")
        (root / "labels" / f"{split}.txt").write_text("\n".join(lines))
    return root


def test_dit_is_fine_tuned_on_kinds_of_documents_and_judged_on_others(rvlcdip, tmp_path, monkeypatch, capsys):
    pages = f"data={rvlcdip / 'images'}"
    small = ["image_size=32", "batch_size=8", *SMALL]
    shrunk = ["backbone_options.width=16", "dvae.width=16", "dvae.vocabulary=16", "tile=null", "steps=2", *small]
    tokens = pretrain("dit-tokenizer-small", [pages, f"out={tmp_path / 'tokens'}", *shrunk], say=lambda each: None)
    run = pretrain(
        "dit-tiny",
        [pages, f"out={tmp_path / 'dit'}", f"beit.tokenizer={tokens}", VIT, "tile=null", "steps=2", *small],
        say=lambda each: None,
    )
    settings = ["batch_size=8", "epochs=40", "lr=2e-3", "optimizer.warmup_epochs=0", "finetune.layer_decay=1", *small]
    finetune(
        run,
        [f"data=rvlcdip:{rvlcdip}", "split=train", f"out={tmp_path / 'kinds'}", *settings],
        say=lambda each: None,
        recipe="rvlcdip-dit-base",
    )
    out = tmp_path / "predictions.csv"
    command = ["densessl", "classify", str(tmp_path / "kinds"), f"rvlcdip:{rvlcdip}", "split=test", "--out", str(out)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    said = capsys.readouterr().out
    assert "Of the 8 that have a label of these classes, " in said
    share = float(said.split("of these classes, ")[1].split(" %")[0])
    assert share >= 75 and len(out.read_text().splitlines()) == 9
    assert "rvlcdip-dit-base" in recipes("finetune")


def test_a_setting_that_classify_lacks_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["densessl", "classify", str(tmp_path), "rvlcdip:somewhere", "spilt=test"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "densessl classify has no setting spilt, only split=" in capsys.readouterr().err
