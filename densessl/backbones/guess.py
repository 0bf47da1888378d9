"""Which architecture a state dict in timm's names is of, told by names and shapes where they leave no doubt."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import timm
from timm.data import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    IMAGENET_INCEPTION_MEAN,
    IMAGENET_INCEPTION_STD,
)

from densessl.backbones.naming import State

IMAGENET = (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
HALVES = (IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD)  # 0.5 and 0.5

# Width -> timm's name and heads. Shapes do not tell the number of heads; all published plain ViTs of these widths have
# these, but for MoCo v3's ViT-S, which has 12 (see `_heads`).
_VITS = {
    192: ("vit_tiny_patch16_224", 3),
    384: ("vit_small_patch16_224", 6),
    768: ("vit_base_patch16_224", 12),
    1024: ("vit_large_patch16_224", 16),
    1280: ("vit_huge_patch14_224", 16),
}
_DINOV3 = {384: "vit_small_patch16_dinov3", 768: "vit_base_patch16_dinov3", 1024: "vit_large_patch16_dinov3"}
_RESNETS = {
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
    (True, (3, 8, 36, 3)): "resnet152",
}
_CONVNEXTS = {
    (2, 2, 6, 2, 40): "atto",
    (2, 2, 6, 2, 48): "femto",
    (2, 2, 6, 2, 64): "pico",
    (2, 2, 8, 2, 80): "nano",
    (3, 3, 9, 3, 96): "tiny",
    (3, 3, 27, 3, 96): "small",
    (3, 3, 27, 3, 128): "base",
    (3, 3, 27, 3, 192): "large",
    (3, 3, 27, 3, 256): "xlarge",
}


class Unsure(Exception):
    """Why names and shapes do not tell the architecture, as the end of a sentence."""


@dataclass
class Guess:
    """A timm name, the options that make the shapes fit, and what pictures it was trained on."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    image_size: int = 224
    pixels: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET  # mean and deviation of the pixels it wants to see


def architecture(state: State, prefix: str = "") -> Guess:
    """The architecture of `state`, in timm's names, that stood under `prefix`. Raises `Unsure`."""
    if "layer1.0.conv1.weight" in state and "conv1.weight" in state:
        return _resnet(state)
    if "stages.0.blocks.0.conv_dw.weight" in state:
        return _convnext(state)
    if "patch_embed.proj.weight" in state and "blocks.0.norm1.weight" in state:
        if "pos_embed" not in state and "reg_token" in state:
            return _dinov3(state)
        return _beit(state) if _is_beit(state) else _vit(state, prefix)
    raise Unsure("its names are those of no ResNet, ConvNeXt or ViT")


def image_side(state: State) -> int | None:
    """The side in pixels that the table of positions stands for, None when there is none or it is not square."""
    patch = state.get("patch_embed.proj.weight")
    if patch is None or patch.ndim != 4:
        return None
    tables = [name for name in state if name.endswith("relative_position_bias_table")]
    if "pos_embed" in state and state["pos_embed"].ndim == 3:
        tokens = state["pos_embed"].shape[1]
        side = math.isqrt(tokens)
        return side * patch.shape[-1] if tokens - side * side <= 5 else None
    if tables:
        side = math.isqrt(state[tables[0]].shape[0] - 3)
        return (side + 1) // 2 * patch.shape[-1] if side * side == state[tables[0]].shape[0] - 3 else None
    return None


def count_blocks(state: State) -> int:
    """How many blocks a transformer has."""
    return _count(state, r"blocks\.(\d+)\.")


def of_transformers(state: State) -> Guess:
    """The architecture of a file of transformers' weights, in timm's names, without its config. Raises `Unsure`.

    Its ViTs and BEiTs norm with an epsilon of their own, but for DINOv2 and DINOv3.
    """
    found = architecture(state)
    if "reg_token" not in state and "blocks.0.ls1.gamma" not in state:
        found.options["norm_eps"] = 1e-12
    return found


def _vit(state: State, prefix: str) -> Guess:
    odd = [key for key in ("norm_pre.weight", "blocks.0.attn.q_norm.weight", "blocks.0.attn.q_bias") if key in state]
    odd += [key for key in ("blocks.0.gamma_1", "attn_pool.latent", "dist_token", "fc_norm.weight") if key in state]
    if odd or "cls_token" not in state or "pos_embed" not in state:
        raise Unsure(f"it is no plain ViT ({odd[0] if odd else 'without a class token or positions'})")
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    depth = count_blocks(state)
    registers = state["reg_token"].shape[1] if "reg_token" in state else 0
    side = image_side(state)
    if side is None:
        raise Unsure("its table of positions is not square")
    hidden = state["blocks.0.mlp.fc1.weight"].shape[0]
    if hidden != state["blocks.0.mlp.fc2.weight"].shape[1]:
        if (width, patch, depth) != (1536, 14, 40):
            raise Unsure("its gated MLP is that of no ViT we know")
        return Guess(
            "vit_giant_patch14_reg4_dinov2" if registers else "vit_giant_patch14_dinov2", {"img_size": side}, side
        )
    if width not in _VITS:
        raise Unsure(f"a ViT of width {width} may have any number of heads")
    name, heads = _VITS[width]
    options: dict[str, Any] = {
        "img_size": side,
        "patch_size": patch,
        "depth": depth,
        "num_heads": _heads(width, heads, prefix),
    }
    if hidden != 4 * width:
        options["mlp_ratio"] = hidden / width
    if "blocks.0.attn.qkv.bias" not in state:
        options["qkv_bias"] = False
    if "blocks.0.ls1.gamma" in state:
        options["init_values"] = 1e-5
    if registers:
        options |= {"reg_tokens": registers, "no_embed_class": True}
    return Guess(name, options, side)


def beit_options(state: State, depth: int, heads: int, side: int) -> dict[str, Any]:
    """What makes timm's Beit the network of these weights, in its own names; side: of its images, in pixels."""
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    return {
        "img_size": side,
        "patch_size": patch,
        "embed_dim": width,
        "depth": depth,
        "num_heads": heads,
        "mlp_ratio": state["blocks.0.mlp.fc1.weight"].shape[0] / width,
        "init_values": 0.1 if "blocks.0.gamma_1" in state else None,
        "use_abs_pos_emb": "pos_embed" in state,
        "use_rel_pos_bias": "blocks.0.attn.relative_position_bias_table" in state,
        "use_shared_rel_pos_bias": "rel_pos_bias.relative_position_bias_table" in state,
        # A fine-tuned one norms the mean of the patches, a pretrained one every token.
        "global_pool": "avg" if "fc_norm.weight" in state else "token",
    }


def _is_beit(state: State) -> bool:
    """BEiT, BEiT v2 or DiT, in their official names, which are timm's: a bias of queries and values, none of keys."""
    own = ("blocks.0.gamma_1", "rel_pos_bias.relative_position_bias_table")
    own += ("blocks.0.attn.relative_position_bias_table",)
    needed = ("blocks.0.attn.q_bias", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight", "cls_token")
    return all(name in state for name in needed) and any(name in state for name in own)


def _beit(state: State) -> Guess:
    width, side = state["patch_embed.proj.weight"].shape[0], image_side(state)
    if side is None:
        raise Unsure("it looks like a BEiT whose table of positions is not square")
    tables = [value for name, value in state.items() if name.endswith("relative_position_bias_table")]
    if not tables and width not in _VITS and width % 64:
        raise Unsure(f"a BEiT of width {width} may have any number of heads")
    heads = tables[0].shape[1] if tables else _VITS[width][1] if width in _VITS else width // 64
    options = beit_options(state, count_blocks(state), heads, side)
    # BEiT v2's pretraining has more layers behind the class token, and saw pixels as ImageNet's networks do.
    second = any(name.startswith("cls_pt_layers.") for name in state)
    return Guess(
        "beitv2_base_patch16_224" if second else "beit_base_patch16_224", options, side, IMAGENET if second else HALVES
    )


def _dinov3(state: State) -> Guess:
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    if width not in _DINOV3 or "blocks.0.mlp.fc1.weight" not in state:
        raise Unsure(f"it looks like a DINOv3 of width {width}, of which there are several")
    name = _DINOV3[width] + ("_qkvb" if "blocks.0.attn.q_bias" in state else "")
    options = {
        "patch_size": patch,
        "depth": count_blocks(state),
        "num_reg_tokens": state["reg_token"].shape[1],
    }
    return Guess(name, options, 16 * patch)


def _resnet(state: State) -> Guess:
    bottleneck = "layer1.0.conv3.weight" in state
    depths = tuple(_count(state, rf"layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4))
    name = _RESNETS.get((bottleneck, depths))
    if name is None or state["conv1.weight"].ndim != 4:
        raise Unsure(f"there is no ResNet with {depths} blocks")
    if state["conv1.weight"].shape[-1] != 7:
        raise Unsure(
            "its first convolution is not 7 x 7, and shapes do not tell its stride nor whether pooling follows "
            f"(FILE@{name},stem=small is SimCLR's for small pictures)"
        )
    expansion = 4 if bottleneck else 1
    last = "conv3" if bottleneck else "conv2"
    channels = [state[f"layer{stage}.0.{last}.weight"].shape[0] // expansion for stage in (1, 2, 3, 4)]
    options: dict[str, Any] = {} if channels == [64, 128, 256, 512] else {"channels": channels}
    width = state["layer1.0.conv1.weight"].shape[0]
    groups = width // state["layer1.0.conv2.weight"].shape[1] if bottleneck else 1
    if groups != 1 or width != channels[0]:
        options |= {"cardinality": groups, "base_width": width * 64 // channels[0] // groups}
    return Guess(name, options)


def _convnext(state: State) -> Guess:
    depths = tuple(_count(state, rf"stages\.{stage}\.blocks\.(\d+)\.") for stage in range(4))
    width = state["stem.0.weight"].shape[0] if "stem.0.weight" in state else 0
    size = _CONVNEXTS.get((*depths, width))
    if size is None or state["stem.0.weight"].shape[-1] != 4:
        raise Unsure(f"there is no ConvNeXt of width {width} with {depths} blocks and patches of 4 pixels")
    second = "v2" if "stages.0.blocks.0.mlp.grn.weight" in state else ""
    options = {"conv_mlp": state["stages.0.blocks.0.mlp.fc1.weight"].ndim == 4}
    name = f"convnext{second}_{size}"
    if not timm.is_model(name):
        raise Unsure(f"timm has no {name}")
    return Guess(name, options)


def _heads(width: int, heads: int, prefix: str) -> int:
    # facebookresearch/moco-v3, vits.py: vit_small has 12 heads; its networks are named base_ and momentum_encoder.
    return 12 if width == 384 and re.search(r"(base|momentum)_encoder\.", prefix) else heads


def _count(state: State, pattern: str) -> int:
    numbers = {int(match.group(1)) for name in state if (match := re.match(pattern, name))}
    return len(numbers)
