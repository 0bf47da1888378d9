"""From images to a tokenizer, and from there to BEiT: two runs, one after the other."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from densessl.backbones import load_backbone, load_tokenizer
from densessl.errors import UserError
from densessl.methods.dvae import DVAE
from densessl.training import pretrain
from densessl.training.callbacks import Checkpoints
from tests.training.conftest import heads, recipe, small
from tests.training.test_run import rows_of

ENCODER = ["backbone=dvae_encoder", "backbone_options={width: 8, groups: 3, blocks: 1}"]
RESNET = ["backbone=resnet18"]


def run(method: str, data: Path, out: Path, *overrides: str, backbone: Sequence[str] = ()) -> Path:
    """As in test_run, with another backbone in the place of the small one."""
    settings = [each for each in small(method) if not (backbone and each.startswith("backbone"))]
    settings += [f"data={data}", f"out={out}", *backbone, *heads(method), *overrides]
    return pretrain(recipe(method), settings, say=lambda sentence: None)


def test_a_run_leaves_a_tokenizer_that_beit_learns_from(pictures, tmp_path):
    first = run("dvae", pictures, tmp_path / "tokens", "steps=4", backbone=ENCODER)
    assert (first / "pictures" / "reconstructions.png").exists() and (first / "pictures" / "features.png").exists()
    tokenizer = load_tokenizer(first)
    assert (tokenizer.vocabulary, tokenizer.stride) == (24, 4) and 1 <= tokenizer.perplexity <= 24
    assert {"codebook_perplexity", "kl", "reconstruction", "temperature"} <= rows_of(first)[0].keys()
    # The backbone it leaves is the tokenizer's encoder.
    backbone, images = load_backbone(first), torch.rand(1, 3, 16, 16)
    (features,) = backbone.feature_maps(backbone.normalise(255 * images))
    torch.testing.assert_close(tokenizer.head(features), tokenizer.logits(images))
    second = run("beit", pictures, tmp_path / "beit", "steps=3", f"beit.tokenizer={first}")
    assert (second / "pictures" / "predictions.png").exists()
    assert load_backbone(second)(torch.randn(1, 3, 16, 16)).shape == (1, 24)


def test_a_tokenizer_that_is_not_written_leaves_the_run_unfinished(pictures, tmp_path, monkeypatch):
    """A disk that is full at the very end: the same command writes what is missing."""

    def full(self):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(DVAE, "files", full)
        with pytest.raises(OSError, match="No space"):
            run("dvae", pictures, tmp_path / "run", "steps=2", backbone=ENCODER)
    assert not (tmp_path / "run" / "backbone.json").exists()
    with pytest.raises(UserError, match="let it end"):
        load_tokenizer(tmp_path / "run")
    assert load_tokenizer(run("dvae", pictures, tmp_path / "run", "steps=2", backbone=ENCODER))


def test_a_restart_goes_on_with_the_tokens_it_began_with(pictures, tmp_path, monkeypatch):
    """Another tokenizer under the old name changes nothing in a run that was killed."""
    first = run("dvae", pictures, tmp_path / "tokens", "steps=2", backbone=ENCODER)
    other = run("dvae", pictures, tmp_path / "other", "steps=2", "seed=1", backbone=ENCODER)
    settings = ("steps=4", f"beit.tokenizer={first}")
    whole = run("beit", pictures, tmp_path / "whole", *settings)
    save = Checkpoints.on_train_batch_end

    def die(self, trainer, module, *rest):
        self.seconds = 0
        save(self, trainer, module, *rest)
        if module.steps_done == 2:
            raise KeyError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "on_train_batch_end", die)
        with pytest.raises(KeyError, match="killed"):
            run("beit", pictures, tmp_path / "again", *settings)
    shutil.copy(other / "tokenizer.safetensors", first / "tokenizer.safetensors")
    again = run("beit", pictures, tmp_path / "again", *settings)
    assert [row["loss"] for row in rows_of(again)] == [row["loss"] for row in rows_of(whole)]


@pytest.mark.parametrize(
    ("method", "overrides", "backbone", "words"),
    [
        ("beit", ["beit.tokenizer="], (), "densessl pretrain dvae"),
        ("beit", ["beit.tokenizer=/nowhere"], (), "There is no tokenizer /nowhere"),
        ("beit", [], RESNET, "plain transformer, and resnet18 is none"),
        ("dvae", ["dvae.reconstruction=psnr"], (), "dvae.reconstruction=psnr"),
        ("dvae", ["image_size=30"], ENCODER, "no multiple of 4"),
    ],
)
def test_mistakes_cost_a_sentence_and_write_nothing(pictures, tmp_path, method, overrides, backbone, words):
    with pytest.raises(UserError, match=words) as caught:
        run(method, pictures, tmp_path / "run", "steps=1", *overrides, backbone=backbone)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()
