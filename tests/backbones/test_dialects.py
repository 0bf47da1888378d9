"""BEiT and DiT in the names of their authors, of timm and of transformers on disk and in memory, both ways."""

from __future__ import annotations

import argparse
import json

import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from densessl.backbones import create_backbone, export_backbone, load_backbone
from densessl.backbones import transformers as dialect
from densessl.backbones.guess import architecture
from densessl.backbones.huggingface import from_model
from densessl.cli import app
from densessl.errors import UserError

from .conftest import PLAIN, disturb

WIDTH, DEPTH, HEADS, PATCH, SIDE, WORDS = 192, 2, 3, 16, 64, 40
GRID = SIDE // PATCH


def shapes(width=WIDTH, depth=DEPTH, heads=HEADS, side=SIDE, words=WORDS, positions="absolute", tuned=0):
    """Names and shapes as the released files have them; tuned: classes of a fine-tuned one, which has other ends."""
    grid = side // PATCH
    offsets = (2 * grid - 1) ** 2 + 3
    found = {"cls_token": (1, 1, width), "patch_embed.proj.weight": (width, 3, PATCH, PATCH)}
    found["patch_embed.proj.bias"] = (width,)
    if positions == "absolute":
        found["pos_embed"] = (1, grid * grid + 1, width)
    if positions == "shared":
        found["rel_pos_bias.relative_position_bias_table"] = (offsets, heads)
        found["rel_pos_bias.relative_position_index"] = (grid * grid + 1, grid * grid + 1)
    for place in range(depth):
        block = f"blocks.{place}."
        for name in ("gamma_1", "gamma_2", "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            found[block + name] = (width,)
        found |= {block + "attn.q_bias": (width,), block + "attn.v_bias": (width,)}
        if positions == "own":
            found[block + "attn.relative_position_bias_table"] = (offsets, heads)
            found[block + "attn.relative_position_index"] = (grid * grid + 1, grid * grid + 1)
        layers = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
        layers |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
        for name, shape in layers.items():
            found[f"{block}{name}.weight"] = shape
            if name != "attn.qkv":
                found[f"{block}{name}.bias"] = shape[:1]
    if tuned:
        found |= {"fc_norm.weight": (width,), "fc_norm.bias": (width,)}
        return found | {"head.weight": (tuned, width), "head.bias": (tuned,)}
    found |= {"mask_token": (1, 1, width), "norm.weight": (width,), "norm.bias": (width,)}
    return found | {"lm_head.weight": (words, width), "lm_head.bias": (words,)}


def drawn(**options) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    state = {}
    for name, shape in shapes(**options).items():
        state[name] = torch.randn(shape, generator=generator) * 0.1
        if name.endswith("index"):
            state[name] = torch.zeros(shape, dtype=torch.int64)
        if "norm" in name and name.endswith("weight"):
            state[name] += 1
    return state


KINDS = {
    "dit pretrained": ({"positions": "absolute"}, "model"),
    "dit on rvl-cdip": ({"positions": "absolute", "tuned": 16}, "model"),
    "beit pretrained": ({"positions": "shared"}, "model"),
    "beit fine-tuned": ({"positions": "own", "tuned": 10}, "module"),
}
NO_BACKBONE = ("mask_token", "lm_head.", "head.")


def written(kind, folder):
    """The file of a kind, with what its authors' code saves beside the weights."""
    options, key = KINDS[kind]
    state = drawn(**options)
    saved = {key: state, "epoch": 7, "args": argparse.Namespace(model="beit_base", drop_path=0.1)}
    torch.save(saved, folder / "official.pth")
    return folder / "official.pth", state


def backbone_part(state):
    return {k: v for k, v in state.items() if not k.startswith(NO_BACKBONE) and not k.endswith("index")}


def tokens_of(backbone, images):
    return backbone.feature_maps(images)[0].flatten(2).transpose(1, 2)


def same(backbone, model, images):
    """Features and vector are those of transformers' network, whose pooler is a part of it."""
    with torch.no_grad():
        found = model.eval()(images)
        tokens = found.last_hidden_state[:, 1:]
        if backbone.norm_behind_pooling() is not None:
            tokens = model.pooler.layernorm(tokens)
        torch.testing.assert_close(tokens_of(backbone, images), tokens, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(backbone(images), found.pooler_output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_each_dialect_reads_what_another_wrote_with_equal_features(kind, tmp_path):
    path, state = written(kind, tmp_path)
    backbone = load_backbone(path).eval()
    assert backbone.mean == backbone.std == (0.5,) * 3
    images = torch.randn(2, 3, SIDE, SIDE)
    export_backbone(backbone, "transformers", tmp_path / "disk")
    model, report = transformers.BeitModel.from_pretrained(tmp_path / "disk", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    same(backbone, model, images)
    memory = transformers.BeitModel(transformers.BeitConfig(**dialect.config(backbone)))
    dialect.load_into(memory, backbone)
    same(backbone, memory, images)
    again = from_model(memory, (0.5,) * 3, (0.5,) * 3)
    export_backbone(again, "official", tmp_path / "again.pth")
    export_backbone(load_backbone(tmp_path / "disk"), "official", tmp_path / "disk.pth")
    for file in ("again.pth", "disk.pth"):
        read = torch.load(tmp_path / file, weights_only=True)["model"]
        assert read.keys() == backbone_part(state).keys()
        assert all(torch.equal(value, state[name]) for name, value in read.items())


@pytest.mark.parametrize("kind", KINDS)
def test_timm_and_our_own_file_give_the_same_network(kind, tmp_path):
    backbone = load_backbone(written(kind, tmp_path)[0]).eval()
    images = torch.randn(2, 3, SIDE, SIDE)
    export_backbone(backbone, "timm", tmp_path / "timm")
    model = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True, num_classes=0).eval()
    export_backbone(backbone, "safetensors", tmp_path / "own.safetensors")
    with torch.no_grad():
        assert torch.equal(model(images), backbone(images))
        for again in (load_backbone(tmp_path / "timm"), load_backbone(tmp_path / "own.safetensors")):
            assert torch.equal(again.eval()(images), backbone(images))
            assert torch.equal(tokens_of(again, images), tokens_of(backbone, images))
            assert again.mean == backbone.mean


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin", "memory.pth"])
def test_a_single_file_of_transformers_is_read_by_names_with_a_config_beside_it_or_without(kind, file, tmp_path):
    backbone = load_backbone(written(kind, tmp_path)[0]).eval()
    config = transformers.BeitConfig(**dialect.config(backbone) | {"layer_norm_eps": 1e-12})  # as those of the hub
    model = disturb(transformers.BeitModel(config).eval())
    (tmp_path / "alone").mkdir()
    state, write = model.state_dict(), save_file if file.endswith("tensors") else torch.save
    if file != "memory.pth":
        model.save_pretrained(tmp_path / "disk")
        state = load_file(tmp_path / "disk" / "model.safetensors")
        assert "encoder.layer.0.attention.attention.query.weight" in state  # those in memory are called otherwise
    write(state, tmp_path / "alone" / file)
    images = torch.randn(2, 3, SIDE, SIDE)
    for beside in (False, True):
        if beside:
            config.save_pretrained(tmp_path / "alone")
        read = load_backbone(tmp_path / "alone" / file).eval()
        same(read, model, images)
        assert read.image_size == SIDE and read.mean == read.std == (0.5,) * 3


def test_heads_are_those_of_the_config_beside_a_file_where_it_is_of_the_file(tmp_path):
    backbone = load_backbone(written("dit pretrained", tmp_path)[0])
    config = transformers.BeitConfig(**dialect.config(backbone) | {"num_attention_heads": 6})
    model = disturb(transformers.BeitModel(config).eval())
    torch.save(model.state_dict(), tmp_path / "memory.pth")
    config.save_pretrained(tmp_path)
    images = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        read = load_backbone(tmp_path / "memory.pth").eval()
        same(read, model, images)
    assert load_backbone(tmp_path / "memory.pth", 96).image_size == 96
    said = load_backbone(
        f"{tmp_path}/memory.pth@beit_base_patch16_224,embed_dim={WIDTH},depth={DEPTH},num_heads=6,"
        "use_abs_pos_emb=true,use_rel_pos_bias=false,init_values=0.1,global_pool=token,norm_eps=1e-6"
    ).eval()
    with torch.no_grad():
        assert torch.equal(said(images), read(images))
    transformers.BeitConfig(**dialect.config(backbone) | {"num_hidden_layers": 7}).save_pretrained(tmp_path)
    assert load_backbone(tmp_path / "memory.pth").options["num_heads"] == 3  # a config.json of something else


def test_a_network_in_memory_is_no_path_and_the_sentence_says_what_takes_it():
    with pytest.raises(UserError, match="A Linear is no place of a backbone: .*from_model"):
        load_backbone(torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match="A Linear is no network of transformers"):
        from_model(torch.nn.Linear(2, 2))


def test_of_a_network_for_masked_images_the_norm_before_its_head_is_kept(tmp_path):
    config = transformers.BeitConfig(
        **{"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96},
        **{"image_size": 32, "patch_size": 8, "use_absolute_position_embeddings": True, "use_mask_token": True},
    )
    model = disturb(transformers.BeitForMaskedImageModeling(config).eval())
    model.save_pretrained(tmp_path)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model.layernorm(model.beit(images).last_hidden_state)[:, 1:]
        for backbone in (load_backbone(tmp_path), from_model(model)):
            torch.testing.assert_close(tokens_of(backbone.eval(), images), expected, rtol=1e-5, atol=1e-5)
            # What it lacks in memory it keeps, and what it has is exchanged.
            other = transformers.BeitForMaskedImageModeling(model.config)
            head = other.lm_head.weight.clone()
            with pytest.raises(UserError, match="no place for 2 tensors .* layernorm"):
                dialect.load_into(other, backbone)
            assert torch.equal(other.lm_head.weight, head)


@pytest.mark.parametrize(
    ("width", "depth", "heads", "million"), [(768, 12, 12, 86), (1024, 24, 16, 304)], ids=["base", "large"]
)
def test_dit_in_its_published_size_is_told_by_its_names(width, depth, heads, million):
    sizes = {"width": width, "depth": depth, "heads": heads, "side": 224, "words": 8192}
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in shapes(**sizes).items()}
        found = architecture(state)
        model = timm.create_model(found.name, num_classes=0, **found.options).state_dict()
    assert {name: value.shape for name, value in model.items()} == {
        name: value.shape for name, value in backbone_part(state).items()
    }
    assert found.options["num_heads"] == heads and found.image_size == 224
    # The published 86 M and 304 M are without the 8192 words.
    assert round(sum(value.numel() for value in model.values()) / 1e6) in (million, million - 1)


def test_absolute_positions_go_to_other_sizes_as_dits_detector_brings_them_there(tmp_path):
    path, state = written("dit pretrained", tmp_path)
    backbone = load_backbone(path).eval()
    images = torch.randn(1, 3, 96, 160)
    table = state["pos_embed"][:, 1:].reshape(1, GRID, GRID, WIDTH).permute(0, 3, 1, 2)
    table = torch.nn.functional.interpolate(table, (6, 10), mode="bicubic")
    other = state | {"pos_embed": torch.cat([state["pos_embed"][:, :1], table.flatten(2).transpose(1, 2)], 1)}
    options = {"img_size": (96, 160), "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "use_abs_pos_emb": True}
    options |= {"use_rel_pos_bias": False, "init_values": 0.1, "global_pool": "token", "num_classes": 0}
    model = timm.create_model("beit_base_patch16_224", **options).eval()
    model.load_state_dict(backbone_part(other))
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), model(images), rtol=1e-5, atol=1e-5)
        square = torch.randn(1, 3, SIDE, SIDE)
        assert backbone(square).isfinite().all() and backbone.model.pos_embed.shape == state["pos_embed"].shape
    backbone(images).sum().backward()
    assert dict(backbone.model.named_parameters())["pos_embed"].grad.abs().sum() > 0


def test_a_plain_vit_goes_to_transformers_too(tmp_path):
    backbone = disturb(create_backbone("vit_tiny_patch16_224", 64, {**PLAIN, "patch_size": 8}).eval())
    export_backbone(backbone, "transformers", tmp_path / "vit")
    model = transformers.ViTModel.from_pretrained(tmp_path / "vit").eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        tokens = model(images).last_hidden_state
        torch.testing.assert_close(tokens_of(backbone, images), tokens[:, 1:], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(backbone(images), tokens[:, 0], rtol=1e-5, atol=1e-5)
        assert torch.equal(load_backbone(tmp_path / "vit").eval()(images), backbone(images))
    processor = json.loads((tmp_path / "vit" / "preprocessor_config.json").read_text())
    assert processor["image_mean"] == list(backbone.mean) and processor["size"] == {"height": 64, "width": 64}


def test_what_the_other_side_has_not_is_refused(tmp_path):
    small = create_backbone("resnet18", 32, {"channels": [8, 16, 24, 32]})
    registers = create_backbone("vit_small_patch14_reg4_dinov2", 56, PLAIN)
    for backbone, to, out, sentence in [
        (small, "transformers", "x", "resnet18 is no network that densessl writes for transformers"),
        (small, "official", "x.pth", "built with stem, which --to official cannot say"),
        (registers, "official", "x.pth", "has no official names"),
        (registers, "transformers", "x", "is no network"),
        (registers, "official", "x", "must end in .pth"),
        (registers, "safetensor", "x", "not one of: timm, .*did you mean 'safetensors'"),
    ]:
        with pytest.raises(UserError, match=sentence):
            export_backbone(backbone, to, tmp_path / out)
    assert not list(tmp_path.iterdir())


def test_the_command_says_where_it_lies(tmp_path):
    path, _ = written("dit pretrained", tmp_path)
    result = CliRunner().invoke(app, ["export", str(path), "--to", "timm", "--out", str(tmp_path / "timm")])
    assert result.exit_code == 0 and "local-dir:" in result.output
    assert (tmp_path / "timm" / "config.json").is_file()
