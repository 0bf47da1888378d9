"""Backbones from Hugging Face's hub, or from a folder in its layout: config.json and model.safetensors.

timm's own repositories say their architecture; of transformers' models, ViT, ViT-MAE, ViT-MSN, BEiT, DINOv2 (with
registers) and DINOv3 are read, their weights renamed to timm's, so that transformers is not needed to run them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from huggingface_hub import constants, hf_hub_download
from torch import nn

from densessl.backbones import guess, naming, weights
from densessl.backbones.backbone import Backbone
from densessl.backbones.create import build, check_name
from densessl.errors import UserError

_FILES = ("model.safetensors", "pytorch_model.bin")
_VITS = ("vit", "vit_mae", "vit_msn", "dinov2", "dinov2_with_registers")
_KINDS = (*_VITS, "beit", "dinov3_vit")


def load(repo: str, image_size: int | None = None) -> Backbone:
    """The backbone of a repository on the hub, or of a folder in its layout. Raises `UserError`."""
    folder = Path(repo).expanduser()
    if folder.is_dir():
        return load_folder(folder, image_size)
    try:
        with quick():
            config = Path(hf_hub_download(repo, "config.json"))
            preprocessing = _optional(repo, "preprocessor_config.json")
            file = _optional(repo, _FILES[0]) or Path(hf_hub_download(repo, _FILES[1]))
    # huggingface_hub's errors have no common class: a wrong name, no such repository, no network, a time out.
    except Exception as error:
        raise download_failed(f"hf:{repo}", error) from error
    return _load(config, file, preprocessing, f"hf:{repo}", image_size)


def from_model(model: nn.Module, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> Backbone:
    """The backbone of a network of transformers that is in memory, such as a BeitModel; its weights are copied.

    mean, std: of the pixels in [0, 1] that it wants to see, which such a network does not say; None are 0.5 and
        0.5 for a BEiT, and ImageNet's for others.
    Raises `UserError` as `load`.
    """
    if not hasattr(getattr(model, "config", None), "to_dict"):
        raise UserError(f"A {type(model).__name__} is no network of transformers: give one, such as a BeitModel.")
    pixels = None if mean is None or std is None else (list(mean), list(std))
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    backbone = _from_transformers(model.config.to_dict(), state, pixels, type(model).__name__)
    backbone.fresh = False
    return backbone


def load_folder(folder: Path, image_size: int | None = None) -> Backbone:
    """The same from a folder with config.json and the weights."""
    file = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if file is None or not (folder / "config.json").is_file():
        raise UserError(f"{folder} is no model in Hugging Face's layout: config.json and {_FILES[0]} must be there.")
    preprocessing = folder / "preprocessor_config.json"
    return _load(
        folder / "config.json", file, preprocessing if preprocessing.is_file() else None, str(folder), image_size
    )


def load_beside(path: Path, state: naming.State, image_size: int | None = None) -> Backbone | None:
    """The backbone of a file by the config.json beside it; None where none lies there that is of these weights.

    state: what the file holds, in transformers' names. Raises `UserError`.
    """
    config, preprocessing = path.with_name("config.json"), path.with_name("preprocessor_config.json")
    if not config.is_file():
        return None
    described, renamed = weights.read_json(config), naming.from_transformers(state)
    sizes = renamed["cls_token"].shape[-1], guess.count_blocks(renamed)
    if (described.get("hidden_size"), described.get("num_hidden_layers")) != sizes:
        return None
    pixels = _pixels(preprocessing if preprocessing.is_file() else None)
    backbone = _from_transformers(described, state, pixels, str(path))
    backbone.image_size = image_size or backbone.image_size
    return backbone


def download_failed(spec: str, error: Exception) -> UserError:
    """The sentence for weights that could not be fetched."""
    text = str(error).strip().splitlines()
    first = text[0].rstrip(".") if text else type(error).__name__
    if offline():
        return UserError(
            f"The weights of {spec} are not in the local cache, and there is no network to download them: connect, or "
            "give a file or a run's folder."
        )
    return UserError(
        f"The weights of {spec} could not be downloaded ({first}): check the name and the network, or give a file."
    )


def offline() -> bool:
    """True when the hub's name cannot be resolved and no proxy is set, so that asking it is a waste of a minute."""
    if constants.HF_HUB_OFFLINE:
        return True
    if any(
        os.environ.get(name)
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy")
    ):
        return False
    try:
        socket.getaddrinfo(urlparse(constants.ENDPOINT).hostname, 443)
        return False
    except OSError:
        return True


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Look into the cache alone when there is no network, instead of five retries per file; say nothing of retries."""
    logger = logging.getLogger("huggingface_hub")
    level, before = logger.level, constants.HF_HUB_OFFLINE
    logger.setLevel(logging.ERROR)
    constants.HF_HUB_OFFLINE = before or offline()
    try:
        yield
    finally:
        logger.setLevel(level)
        constants.HF_HUB_OFFLINE = before


def _load(config: Path, file: Path, preprocessing: Path | None, where: str, image_size: int | None) -> Backbone:
    described = weights.read_json(config)
    if file.suffix == ".safetensors":
        state, _ = weights.read_safetensors(file)
    else:
        state = weights.state_dict_of(weights.read_torch(file), str(file))
    if "architecture" in described:
        backbone = _from_timm(described, state, where)
    else:
        backbone = _from_transformers(described, state, _pixels(preprocessing), where)
    backbone.image_size = image_size or backbone.image_size
    return backbone


def _from_timm(described: dict[str, Any], state: naming.State, where: str) -> Backbone:
    pretrained = described.get("pretrained_cfg") or {}
    size = pretrained.get("input_size") or (3, 224, 224)
    pixels = (pretrained["mean"], pretrained["std"]) if "mean" in pretrained and "std" in pretrained else None
    options = dict(described.get("model_args") or {})
    options = {key: value for key, value in options.items() if key not in ("num_classes", "in_chans")}
    # How a ViT pools decides where its norm stands; networks of convolutions all take the mean.
    if described.get("global_pool") and "vit" in described["architecture"]:
        options.setdefault("global_pool", described["global_pool"])
    backbone = build(check_name(described["architecture"]), int(size[-1]), options, pixels=pixels)
    backbone.notes += weights.fit(backbone.model, state, where, backbone.architecture).sentences(where)
    return backbone


def _from_transformers(described: dict[str, Any], state: naming.State, pixels: Any, where: str) -> Backbone:
    kind = described.get("model_type")
    if kind not in _KINDS:
        raise UserError(
            f"{where} is a {kind or 'model of no known kind'}, which is not read from transformers' layout (only "
            f"{', '.join(_KINDS)}): give a timm model or a timm repository instead."
        )
    if described.get("hidden_act", "gelu") != "gelu":
        raise UserError(
            f"{where} uses {described['hidden_act']} instead of gelu, which timm's {kind} has not: choose another."
        )
    state = naming.from_transformers(state)
    if "patch_embed.proj.weight" not in state or "blocks.0.norm1.weight" not in state:
        raise UserError(
            f"{where} lacks the weights of a {kind}: its config.json and its weights do not belong together."
        )
    found = {"dinov3_vit": _dinov3, "beit": _beit}.get(kind, _vit)(described, state)
    usual = guess.HALVES if kind == "beit" else guess.IMAGENET
    backbone = build(found.name, found.image_size, found.options, pixels=pixels or usual)
    if pixels is None:
        whose = "those of BEiT, 0.5 and 0.5," if kind == "beit" else "ImageNet's mean and deviation"
        backbone.notes.append(f"{where} does not say how it wants pixels normalised: {whose} are used.")
    backbone.notes += weights.fit(backbone.model, state, where, backbone.architecture).sentences(where)
    return backbone


def _vit(described: dict[str, Any], state: naming.State) -> guess.Guess:
    """The options of a plain ViT from transformers' config and, where that says too little, from the shapes."""
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    side = guess.image_side(state) or int(described.get("image_size", 224))
    hidden, back = state["blocks.0.mlp.fc1.weight"].shape[0], state["blocks.0.mlp.fc2.weight"].shape[1]
    gated = hidden != back
    options: dict[str, Any] = {
        "img_size": side,
        "patch_size": patch,
        "embed_dim": width,
        "depth": int(described["num_hidden_layers"]),
        "num_heads": int(described["num_attention_heads"]),
        "mlp_ratio": hidden / width,
        "norm_eps": float(described.get("layer_norm_eps", 1e-6)),
    }
    if "blocks.0.attn.qkv.bias" not in state:
        options["qkv_bias"] = False
    if "blocks.0.ls1.gamma" in state:
        options["init_values"] = 1e-5
    if "reg_token" in state:
        options |= {"reg_tokens": state["reg_token"].shape[1], "no_embed_class": True}
    return guess.Guess("vit_giant_patch14_dinov2" if gated else "vit_base_patch16_224", options, side)


def _beit(described: dict[str, Any], state: naming.State) -> guess.Guess:
    side = guess.image_side(state) or int(described.get("image_size", 224))
    heads, depth = int(described["num_attention_heads"]), int(described["num_hidden_layers"])
    options = guess.beit_options(state, depth, heads, side)
    options["norm_eps"] = float(described.get("layer_norm_eps", 1e-12))
    return guess.Guess("beit_base_patch16_224", options, side)


def _dinov3(described: dict[str, Any], state: naming.State) -> guess.Guess:
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    options: dict[str, Any] = {
        "patch_size": patch,
        "embed_dim": width,
        "depth": int(described["num_hidden_layers"]),
        "num_heads": int(described["num_attention_heads"]),
        "mlp_ratio": state["blocks.0.mlp.fc1.weight"].shape[0] / width,
        "num_reg_tokens": state["reg_token"].shape[1],
        "norm_eps": float(described.get("layer_norm_eps", 1e-5)),
    }
    name = "vit_base_patch16_dinov3_qkvb" if "blocks.0.attn.q_bias" in state else "vit_base_patch16_dinov3"
    return guess.Guess(name, options, int(described.get("image_size", 224)))


def _pixels(preprocessing: Path | None) -> tuple[list[float], list[float]] | None:
    described = weights.read_json(preprocessing) if preprocessing else {}
    mean, std = described.get("image_mean"), described.get("image_std")
    return (mean, std) if isinstance(mean, list) and isinstance(std, list) and len(mean) == len(std) == 3 else None


def _optional(repo: str, name: str) -> Path | None:
    from huggingface_hub.utils import EntryNotFoundError

    try:
        return Path(hf_hub_download(repo, name))
    except EntryNotFoundError:
        return None
