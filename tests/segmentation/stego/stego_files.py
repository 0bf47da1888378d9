"""Checkpoints in the names, shapes and wrapping of STEGO's official code, and its forward pass written plainly."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor

MEAN, STD = (torch.tensor(each).view(3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def weights(width: int = 384, depth: int = 2, patch: int = 8, dim: int = 20, classes: int = 27, extra: int = 0) -> dict:
    """The state dict of a LitUnsupervisedSegmenter with random weights; a head for codes of `dim`."""
    generator = torch.Generator().manual_seed(width + dim)

    def random(*shape: int, scale: float = 0.0) -> Tensor:
        return torch.randn(shape, generator=generator) * (scale or 1 / math.sqrt(shape[-1]))

    vit = {"cls_token": random(1, 1, width), "pos_embed": random(1, 1 + (224 // patch) ** 2, width, scale=0.3)}
    vit |= {
        "patch_embed.proj.weight": random(width, 3, patch, patch, scale=0.05),
        "patch_embed.proj.bias": random(width),
    }
    for index in range(depth):
        block = f"blocks.{index}."
        for name, out, inside in (("attn.qkv", 3 * width, width), ("attn.proj", width, width)):
            vit |= {f"{block}{name}.weight": random(out, inside), f"{block}{name}.bias": random(out)}
        for name, out, inside in (("mlp.fc1", 4 * width, width), ("mlp.fc2", width, 4 * width)):
            vit |= {f"{block}{name}.weight": random(out, inside), f"{block}{name}.bias": random(out)}
        for name in ("norm1", "norm2"):
            vit |= {f"{block}{name}.weight": 1 + random(width, scale=0.1), f"{block}{name}.bias": random(width)}
    vit |= {"norm.weight": 1 + random(width, scale=0.1), "norm.bias": random(width, scale=0.1)}
    state = {f"net.model.{name}": value for name, value in vit.items()}
    for name, out in (("cluster1.0", dim), ("cluster2.0", width), ("cluster2.2", dim)):
        state[f"net.{name}.weight"] = random(out, width, 1, 1, scale=1 / math.sqrt(width))
        state[f"net.{name}.bias"] = random(out)
    state["train_cluster_probe.clusters"] = random(classes, dim)
    state["cluster_probe.clusters"] = random(classes + extra, dim)
    state |= {"linear_probe.weight": random(classes, dim, 1, 1, scale=0.5), "linear_probe.bias": random(classes)}
    state |= {"decoder.weight": random(width, dim, 1, 1, scale=0.1), "decoder.bias": random(width)}
    return state


def save(path: Path, state: dict[str, Tensor], zipped: bool = True, **settings: Any) -> Path:
    """Write what Lightning 1.x writes of it: optimizers, callbacks by their class, settings as omegaconf's."""
    config = {"dataset_name": "cocostuff27", "model_type": "vit_small", "arch": "dino", "dino_patch_size": 8}
    config |= {"dino_feat_type": "feat", "projection_type": "nonlinear", "dim": 20, "continuous": True, "crops": [1, 2]}
    config = OmegaConf.create(config | {"pretrained_weights": None, "lr": 5e-4} | settings)
    OmegaConf.set_struct(config, True)
    # The classes by whose names such files remember callbacks are those of a package that need not be there.
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
    sys.modules[module.__name__] = module
    try:
        content = {
            "epoch": 3,
            "global_step": 5000,
            "pytorch-lightning_version": "1.5.10",
            "state_dict": state,
            "callbacks": {module.ModelCheckpoint: {"monitor": "test/cluster/mIoU", "best_model_score": torch.ones(1)}},
            "optimizer_states": [{"state": {0: {"step": 5000, "exp_avg": torch.zeros(3)}}, "param_groups": []}] * 3,
            "lr_schedulers": [],
            "hparams_name": "kwargs",
            "hyper_parameters": {"n_classes": 27, "cfg": config},
        }
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    finally:
        del sys.modules[module.__name__]
    return path


def features(state: dict[str, Tensor], image: Tensor, heads: int, patch: int = 8, kind: str = "feat") -> Tensor:
    """uint8 (3, H, W) -> (h * w, C): DINO's tokens behind the last norm, or the keys of its last block."""
    vit = {name.removeprefix("net.model."): value for name, value in state.items() if name.startswith("net.model.")}
    x = F.conv2d(
        ((image / 255 - MEAN) / STD)[None], vit["patch_embed.proj.weight"], vit["patch_embed.proj.bias"], patch
    )
    x = torch.cat([vit["cls_token"][0], x.flatten(2)[0].T]) + positions(vit["pos_embed"], image.shape[1:], patch)
    width = x.shape[1]
    depth = sum(name.endswith("norm1.weight") for name in vit)
    for index in range(depth):
        own = {name.removeprefix(f"blocks.{index}."): value for name, value in vit.items()}
        q, k, v = linear(normed(x, own, "norm1"), own, "attn.qkv").split(width, dim=1)
        keys = k[1:]
        mixed = []
        for head in range(heads):
            part = slice(head * width // heads, (head + 1) * width // heads)
            share = (q[:, part] @ k[:, part].T / math.sqrt(width // heads)).softmax(1)
            mixed.append(share @ v[:, part])
        x = x + linear(torch.cat(mixed, dim=1), own, "attn.proj")
        x = x + linear(F.gelu(linear(normed(x, own, "norm2"), own, "mlp.fc1")), own, "mlp.fc2")
    return keys if kind == "KK" else normed(x, vit, "norm")[1:]


def positions(table: Tensor, size: tuple[int, int], patch: int) -> Tensor:
    """(1 + h w, C): bicubic by a factor of (h + 0.1) / side, unless the size is that of the table."""
    side = math.isqrt(table.shape[1] - 1)
    rows, columns = (each // patch for each in size)
    if (rows, columns) == (side, side):
        return table[0]
    places = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factor = ((rows + 0.1) / side, (columns + 0.1) / side)
    places = F.interpolate(places, scale_factor=factor, mode="bicubic")
    assert places.shape[2:] == (rows, columns)
    return torch.cat([table[0, :1], places.flatten(2)[0].T])


def codes(state: dict[str, Tensor], tokens: Tensor, kind: str | None = "nonlinear") -> Tensor:
    """(T, C) -> (T, dim) by 1 x 1 convolutions."""
    if kind is None:
        return tokens
    map_ = tokens.T[None, :, :, None]

    def convolve(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, state[f"net.{name}.weight"], state[f"net.{name}.bias"])

    found = convolve(map_, "cluster1.0")
    if kind == "nonlinear":
        found = found + convolve(F.relu(convolve(map_, "cluster2.0")), "cluster2.2")
    return found[0, :, :, 0].T


def linear(x: Tensor, own: dict[str, Tensor], name: str) -> Tensor:
    return x @ own[f"{name}.weight"].T + own[f"{name}.bias"]


def normed(x: Tensor, own: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    return (
        centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt() * own[f"{name}.weight"] + own[f"{name}.bias"]
    )
