"""Folders as Hugging Face's hub has them, written by transformers and by timm."""

from __future__ import annotations

import json

import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf

from densessl.backbones import load_backbone, save_backbone
from densessl.errors import UserError

from .conftest import disturb

SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96}
PIXELS = {"image_size": 32, "patch_size": 8}
MODELS = {
    "vit": (transformers.ViTConfig, transformers.ViTModel),
    "dinov2": (transformers.Dinov2Config, transformers.Dinov2Model),
    "dinov2_with_registers": (transformers.Dinov2WithRegistersConfig, transformers.Dinov2WithRegistersModel),
    "beit": (transformers.BeitConfig, transformers.BeitModel),
    "dinov3_vit": (transformers.DINOv3ViTConfig, transformers.DINOv3ViTModel),
}


def _written(kind, folder, **more):
    config, model = MODELS[kind]
    model = disturb(model(config(**SMALL, **PIXELS, **more)).eval())
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("kind", sorted(MODELS))
@pytest.mark.parametrize("spec", ["{}", "hf:{}"])
def test_transformers_networks_give_what_transformers_gives(kind, spec, tmp_path):
    more = {"dinov3_vit": {"num_register_tokens": 4}, "beit": {"use_relative_position_bias": True}}.get(kind, {})
    model = _written(kind, tmp_path, **more)
    backbone = load_backbone(spec.format(tmp_path)).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        tokens = model(images).last_hidden_state
        if kind == "beit":
            tokens = model.pooler.layernorm(tokens)
        patches = tokens[:, -16:].reshape(2, 4, 4, 48).permute(0, 3, 1, 2)
        torch.testing.assert_close(backbone.feature_maps(images)[0], patches, rtol=1e-4, atol=1e-5)
        expected = patches.mean((2, 3)) if backbone.model.global_pool == "avg" else tokens[:, 0]
        if kind == "beit":
            expected = model(images).pooler_output
        torch.testing.assert_close(backbone(images), expected, rtol=1e-4, atol=1e-5)
    assert (backbone.stride, backbone.channels, backbone.image_size) == (8, 48, 32)


@pytest.mark.parametrize("kind", sorted(set(MODELS) - {"beit"}))
@pytest.mark.parametrize("memory", [False, True])
def test_a_single_file_tells_what_it_is_by_its_names(kind, memory, tmp_path):
    config, network = MODELS[kind]
    more = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536, "patch_size": 16, "image_size": 64}
    more |= {"num_register_tokens": 4} if kind == "dinov3_vit" else {}
    model = disturb(network(config(**SMALL | more)).eval())
    model.save_pretrained(tmp_path / "folder")
    file = tmp_path / "alone.pth"
    torch.save(model.state_dict() if memory else load_file(tmp_path / "folder" / "model.safetensors"), file)
    images = torch.randn(1, 3, 64, 64)
    alone, whole = (load_backbone(each).eval() for each in (file, tmp_path / "folder"))
    with torch.no_grad():
        patches = model(images).last_hidden_state[:, -16:].reshape(1, 4, 4, 384).permute(0, 3, 1, 2)
        torch.testing.assert_close(alone.feature_maps(images)[0], patches, rtol=1e-4, atol=1e-5)
        assert torch.equal(alone(images), whole(images))


@pytest.mark.parametrize("shared", [False, True])
def test_a_beit_that_pools_its_class_token(shared, tmp_path):
    bias = {"use_shared_relative_position_bias": shared, "use_relative_position_bias": not shared}
    model = _written("beit", tmp_path, use_mean_pooling=False, **bias)
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = model(images).last_hidden_state[:, 0]
        torch.testing.assert_close(load_backbone(tmp_path).eval()(images), expected, rtol=1e-4, atol=1e-5)


def test_an_activation_that_timm_has_not_is_refused(tmp_path):
    _written("vit", tmp_path, hidden_act="relu")
    with pytest.raises(UserError, match="uses relu instead of gelu"):
        load_backbone(tmp_path)


def test_the_gated_mlp_of_dinov2s_giant(tmp_path):
    model = _written("dinov2", tmp_path, use_swiglu_ffn=True)
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = model(images).last_hidden_state[:, 0]
        torch.testing.assert_close(load_backbone(tmp_path).eval()(images), expected, rtol=1e-4, atol=1e-5)


def test_with_a_classifier_the_names_have_a_prefix(tmp_path):
    config = transformers.ViTConfig(**SMALL, **PIXELS, num_labels=5)
    model = disturb(transformers.ViTForImageClassification(config).eval())
    model.save_pretrained(tmp_path)
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = model.vit(images).last_hidden_state[:, 0]
        torch.testing.assert_close(load_backbone(tmp_path).eval()(images), expected, rtol=1e-4, atol=1e-5)


def test_pixels_are_normalised_as_the_repository_says(tmp_path):
    _written("vit", tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    backbone = load_backbone(tmp_path)
    assert backbone.mean == (0.5,) * 3 and backbone.std == (0.25,) * 3


def test_it_can_be_saved_as_our_own(tmp_path):
    _written("dinov2_with_registers", tmp_path)
    backbone = load_backbone(tmp_path).eval()
    save_backbone(backbone, tmp_path / "run", {})
    images = torch.randn(1, 3, 64, 32)
    assert torch.equal(load_backbone(tmp_path / "run").eval()(images), backbone(images))


@pytest.mark.parametrize(
    "name, options",
    [
        ("test_vit", {}),
        ("resnet18", {"channels": [8, 16, 24, 32]}),
        ("test_convnext", {}),
        ("beit_base_patch16_224", {"depth": 1}),
    ],
)
def test_timms_repositories(name, options, tmp_path):
    model = disturb(timm.create_model(name, num_classes=7, **options).eval())
    save_for_hf(model, tmp_path, model_args=options, safe_serialization=True)
    backbone = load_backbone(tmp_path).eval()
    model.reset_classifier(0)
    size = backbone.image_size
    images = torch.randn(1, 3, size, size)
    torch.testing.assert_close(backbone(images), model(images), rtol=1e-5, atol=1e-5)
    assert backbone.mean == tuple(model.pretrained_cfg["mean"])


def test_the_cache_of_the_hub_is_used_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr("densessl.backbones.huggingface.offline", lambda: True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--someone--vit"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0123")
    model = _written("vit", folder / "snapshots" / "0123")
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = model(images).last_hidden_state[:, 0]
        torch.testing.assert_close(load_backbone("hf:someone/vit").eval()(images), expected, rtol=1e-4, atol=1e-5)


def test_a_mistake_gets_one_sentence(tmp_path):
    def folder(name, config, state=None):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        if state is not None:
            save_file(state, tmp_path / name / "model.safetensors")
        return tmp_path / name

    zeros = {"x": torch.zeros(1)}
    for path, sentence in [
        (folder("a", {"model_type": "vit"}), "config.json and model.safetensors must be there"),
        (folder("b", {"model_type": "bert"}, zeros), "is a bert, which is not read"),
        (folder("c", {}, zeros), "model of no known kind"),
        (folder("d", {"model_type": "vit"}, zeros), "do not belong together"),
        (folder("e", {"architecture": "resnet81"}, zeros), "no model 'resnet81'"),
        (folder("f", {"architecture": "resnet18"}, zeros), "lacks .* tensors of resnet18"),
        (folder("g", {"architecture": "resnet18", "model_args": {"checkpoint_path": "x"}}, zeros), "cannot be set"),
    ]:
        with pytest.raises(UserError, match=sentence):
            load_backbone(path)
