"""STEGO's released checkpoints are read safely, give the official features, codes and masks, and are judged."""

from __future__ import annotations

import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf

from densessl.errors import UserError
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.model import load_model
from densessl.segmentation.run import extractor_of, segment
from densessl.segmentation.sets.cocostuff import COARSE
from densessl.segmentation.stego.released import is_model, open_model, open_models

from ..conftest import scene
from .stego_files import codes, features, save, weights


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("released") / "cocostuff27_vit_small_1.ckpt", weights())


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(2):
        cv2.imwrite(str(folder / f"{seed}.png"), scene(seed, 48, 64)[0])
    return folder


def extractor(path: Path, image_size: int) -> Extractor:
    _, saved = open_model(path)
    config = SegmentConfig(data="", out="", model=str(path), image_size=image_size, devices="cpu")
    return extractor_of(config, saved)[0]


def run(pictures: Path, out: Path, model: Path, **settings) -> Path:
    config = SegmentConfig(
        data=str(pictures),
        out=str(out),
        model=str(model),
        image_size=48,
        devices="cpu",
        refine="none",
        least_area=0,
        crops=0,
        **settings,
    )
    segment(config, lambda *told: None)
    return out


@pytest.mark.parametrize("kind", ["feat", "KK"])
@pytest.mark.parametrize("projection", ["nonlinear", "linear", None])
def test_codes_are_those_of_the_official_forward_pass(tmp_path, kind, projection):
    state = weights(dim=20 if projection else 384)
    path = save(tmp_path / "x.ckpt", state, dino_feat_type=kind, projection_type=projection)
    image = scene(1, 40, 64)[0]
    map_ = extractor(path, 40)([image])[0]
    slow = features(state, torch.from_numpy(image).permute(2, 0, 1), 6, kind=kind)
    assert map_.shape == (384, 5, 8)
    torch.testing.assert_close(map_.flatten(1).T, slow, rtol=0, atol=1e-5)
    model, _ = open_model(path)
    found = model.codes(map_.flatten(1).T)
    torch.testing.assert_close(found, codes(state, slow, projection), rtol=0, atol=1e-5)


def test_keys_of_a_vit_base_have_12_heads_and_official_positions_hold_at_320(tmp_path):
    state = weights(width=768, depth=1)
    for kind, size in (("feat", 320), ("KK", 40)):
        image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
        path = save(tmp_path / f"{kind}.ckpt", state, dino_feat_type=kind, model_type="vit_base")
        made = extractor(path, size)
        assert made.backbone.options["num_heads"] == 12
        slow = features(state, torch.from_numpy(image).permute(2, 0, 1), 12, kind=kind)
        torch.testing.assert_close(made([image])[0].flatten(1).T, slow, rtol=0, atol=1e-5)


@pytest.mark.parametrize("probe", ["cluster", "linear"])
def test_masks_are_those_of_the_official_probes(tmp_path, pictures, checkpoint, probe):
    out = run(pictures, tmp_path / "out", checkpoint, probe=probe)
    state = weights()
    for seed in range(2):
        image = scene(seed, 48, 64)[0]
        code = codes(state, features(state, torch.from_numpy(image).permute(2, 0, 1), 6))
        code = F.interpolate(code.T.reshape(1, -1, 6, 8), (48, 64), mode="bilinear", align_corners=False)
        if probe == "cluster":
            centres = F.normalize(state["cluster_probe.clusters"], dim=1)
            slow = torch.einsum("bdhw,kd->bkhw", F.normalize(code, dim=1), centres).argmax(1)[0]
        else:
            slow = F.conv2d(code, state["linear_probe.weight"], state["linear_probe.bias"]).argmax(1)[0]
        assert len(slow.unique()) > 2
        found = cv2.imread(str(out / "labels" / f"{seed}.png"), cv2.IMREAD_UNCHANGED)
        assert (found == slow.numpy()).mean() > 0.999


def test_the_linear_probes_classes_have_their_names_and_segments_have_none(tmp_path, pictures, checkpoint):
    linear = run(pictures, tmp_path / "linear", checkpoint, probe="linear")
    assert re.search("^ 9  #.*: person$", (linear / "names.txt").read_text(), re.MULTILINE)
    assert (linear / "classes" / "0.png").is_file()
    cluster = run(pictures, tmp_path / "cluster", checkpoint)
    with pytest.raises(UserError, match="clusters alone"):
        run(pictures, tmp_path / "other", cluster / "model.safetensors", probe="linear")
    assert "person" not in (cluster / "names.txt").read_text() and not (cluster / "classes").exists()
    # What was written beside the masks is a model as any other.
    model, saved = load_model(linear / "model.safetensors")
    assert saved.names == COARSE and saved.positions == "official"
    again = run(pictures, tmp_path / "again", linear / "model.safetensors")
    for name in ("0.png", "1.png"):
        assert (again / "labels" / name).read_bytes() == (linear / "labels" / name).read_bytes()


def test_the_crf_begins_with_the_linear_probes_own_probabilities(checkpoint):
    model, _ = open_model(checkpoint, "linear")
    code = torch.randn(2, 20, 3, 4)
    state = weights()
    slow = F.conv2d(code, state["linear_probe.weight"], state["linear_probe.bias"]).softmax(1)
    torch.testing.assert_close(model.log_odds(code, 2.0).softmax(1), slow)
    cluster, _ = open_model(checkpoint)
    centres = F.normalize(state["cluster_probe.clusters"], dim=1)
    slow = (2 * torch.einsum("bdhw,kd->bkhw", F.normalize(code, dim=1), centres)).softmax(1)
    torch.testing.assert_close(cluster.log_odds(code, 2.0).softmax(1), slow)


@pytest.mark.parametrize("zipped", [True, False])
def test_settings_are_read_and_code_in_the_file_is_not_run(tmp_path, zipped):
    proof = tmp_path / "proof"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {proof}",)

    class Other:
        def __reduce__(self):
            return eval, (f"open({str(proof)!r}, 'w')",)

    harmless = save(tmp_path / "a.ckpt", weights(depth=1), zipped, dino_feat_type="KK")
    assert open_model(harmless)[1].facet == "keys"
    # Code by way of a builtin becomes a thing without life; by way of the system it is refused.
    state = weights(depth=1) | {"more": Other()}
    assert open_model(save(tmp_path / "b.ckpt", state, zipped))[0].classes == 27
    with pytest.raises(UserError, match="holds more than weights"):
        open_model(save(tmp_path / "c.ckpt", weights(depth=1) | {"more": Evil()}, zipped))
    assert not proof.exists()


def test_extra_clusters_and_settings_as_a_plain_dict_or_in_sections_are_read(tmp_path):
    path = save(tmp_path / "a.ckpt", weights(depth=1, extra=5), dataset_name="directory")
    models = open_models(path)
    assert {title: model.classes for title, (model, _) in models.items()} == {"cluster probe": 32, "linear probe": 27}
    assert models["linear probe"][1].names is None
    loaded = {"state_dict": weights(depth=1), "pytorch-lightning_version": "2.0"}
    for settings, facet in (
        ({"cfg": {"dino_feat_type": "KK"}}, "keys"),
        ({"cfg": OmegaConf.create({"train": {"dino_feat_type": "KK"}})}, "keys"),
        ({}, "tokens"),
    ):
        torch.save(loaded | {"hyper_parameters": settings}, path)
        assert open_model(path)[1].facet == facet


def test_what_is_a_model_is_told_without_loading_it(tmp_path, checkpoint, pictures):
    torch.save({"state_dict": {"a": torch.zeros(2)}}, tmp_path / "other.ckpt")
    out = run(pictures, tmp_path / "out", checkpoint)
    assert is_model(checkpoint) and is_model(out) and is_model(out / "model.safetensors")
    assert not is_model(tmp_path / "other.ckpt") and not is_model(tmp_path / "missing.ckpt") and not is_model("colour")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cluster_probe.clusters": None}, "holds no segments"),
        ({"net.cluster2.2.weight": None}, "no whole checkpoint of STEGO"),
        ({"net.model.norm.weight": None}, "lacks 1 of"),
        ({"net.model.patch_embed.proj.weight": None}, "another backbone than DINO's"),
        ({"cluster_probe.clusters": torch.zeros(27, 3)}, "cluster probe .* codes of 3 numbers"),
        ({"linear_probe.weight": None, "linear_probe.bias": None}, "has no linear probe"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_a_sentence(tmp_path, change, words):
    state = {name: value for name, value in (weights(depth=1) | change).items() if value is not None}
    with pytest.raises(UserError, match=words):
        open_model(save(tmp_path / "x.ckpt", state), "linear")


def test_features_that_are_not_known_are_a_sentence(tmp_path):
    with pytest.raises(UserError, match="'salience', which are not read"):
        open_model(save(tmp_path / "x.ckpt", weights(depth=1), dino_feat_type="salience"))
