"""The names that others give to the weights of an architecture, turned into timm's.

Each function takes a state dict and returns a new one; what it does not know it leaves as it is, so that `weights.fit`
can tell of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

State = dict[str, Tensor]

# Of the copies of a network that a checkpoint of a method may hold, the one its paper evaluates.
_PREFERRED = ("teacher", "encoder_q", "base_encoder", "online", "backbone", "encoder", "student")
_COPIES = ("momentum", "encoder_k", "key_encoder", "target", "ema", "decoder")
ANCHORS = (
    "patch_embed.proj.weight",
    "layer1.0.conv1.weight",
    "stages.0.blocks.0.conv_dw.weight",
    "stages.0.0.dwconv.weight",
)


def find_prefix(state: State, anchors: Sequence[str] = ANCHORS) -> str | None:
    """What stands before the names of the backbone's weights ("module.encoder_q."), None when there is no backbone."""
    prefixes = {
        name[: -len(anchor)]
        for name in state
        for anchor in anchors
        if name.endswith(anchor) and (name == anchor or name[-len(anchor) - 1] == ".")
    }
    return min(prefixes, key=_rank) if prefixes else None


def is_transformers(state: State) -> bool:
    """Whether a transformer's weights have the names that they have in transformers, on disk or in memory."""
    return find_prefix(state, ("embeddings.cls_token",)) is not None


def strip(state: State, prefix: str) -> tuple[State, list[str]]:
    """The weights under a prefix without it, and the names of all others."""
    inside = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
    return inside, [name for name in state if not name.startswith(prefix)]


def to_timm(state: State) -> State:
    """Official DINOv2, DINOv3 and ConvNeXt names as timm's; anything else unchanged."""
    if "storage_tokens" in state:
        return from_dinov3(state)
    if "stages.0.0.dwconv.weight" in state:
        return from_convnext(state)
    if "patch_embed.proj.weight" in state:
        return from_dinov2(state)
    return state


def from_dinov2(state: State) -> State:
    """facebookresearch/dinov2; of DINO, MAE and DeiT, whose names are timm's, nothing changes.

    Blocks may come in chunks (`blocks.0.3.`). With registers timm keeps no position for the class token, which is
    therefore added to it.
    """
    renamed = {re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", name): value for name, value in state.items()}
    renamed = {
        name.replace(".mlp.w12.", ".mlp.fc1.").replace(".mlp.w3.", ".mlp.fc2."): value
        for name, value in renamed.items()
    }
    if "register_tokens" in renamed:
        renamed["reg_token"] = renamed.pop("register_tokens")
        positions = renamed["pos_embed"]
        renamed["cls_token"] = renamed["cls_token"] + positions[:, :1]
        renamed["pos_embed"] = positions[:, 1:]
    return renamed


def from_dinov3(state: State) -> State:
    """facebookresearch/dinov3's ViTs; a bias of the keys is masked to zero there and has no place in timm."""
    renamed: State = {}
    for name, value in state.items():
        if name.endswith((".bias_mask", ".periods")) or name == "mask_token":
            continue
        if name.endswith("attn.qkv.bias"):
            query, _, third = value.chunk(3)
            stem = name.removesuffix("qkv.bias")
            renamed[f"{stem}q_bias"], renamed[f"{stem}v_bias"] = query, third
            continue
        name = (
            name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2").replace("storage_tokens", "reg_token")
        )
        renamed[name] = value
    return _without_zero_biases(renamed)


def from_convnext(state: State) -> State:
    """facebookresearch/ConvNeXt and ConvNeXt-V2."""
    renamed: State = {}
    for name, value in state.items():
        name = name.replace("downsample_layers.0.", "stem.")
        name = re.sub(r"stages\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2.", name)
        name = re.sub(r"downsample_layers\.(\d+)\.(\d+)\.", r"stages.\1.downsample.\2.", name)
        name = name.replace("dwconv", "conv_dw").replace("pwconv1", "mlp.fc1").replace("pwconv2", "mlp.fc2")
        name = name.replace("grn.beta", "mlp.grn.bias").replace("grn.gamma", "mlp.grn.weight")
        name = re.sub(r"^norm\.", "head.norm.", name)
        renamed[name] = value.reshape(-1) if ".grn." in name else value
    return renamed


def from_transformers(state: State, heads_prefix: str = "") -> State:
    """transformers' ViT, ViT-MAE, BEiT, DINOv2 (with registers) and DINOv3: query, key and value become one matrix.

    Names may be those of its files or those that its networks have in memory since version 5. Any prefix before
    `embeddings.` is taken away ("vit.", "dinov2."). Of BEiT with a head for masked images, the norm before that head
    is the final one.
    """
    prefix = find_prefix(state, ("embeddings.cls_token",)) or heads_prefix
    inside, others = strip(state, prefix)
    renamed = {_renamed(name): value for name, value in inside.items()} | {name: state[name] for name in others}
    if prefix and not any(name in renamed for name in ("norm.weight", "fc_norm.weight")):
        renamed |= {
            f"norm.{part}": renamed.pop(f"layernorm.{part}") for part in _PARTS if f"layernorm.{part}" in renamed
        }
    for name in [name for name in renamed if ".attn.query." in name]:
        parts = [
            renamed.pop(name.replace("query", part))
            for part in ("query", "key", "value")
            if name.replace("query", part) in renamed
        ]
        if len(parts) == 3:
            renamed[name.replace("query", "qkv")] = torch.cat(parts)
        elif len(parts) == 2:
            # The keys have no bias (DINOv3, BEiT), which timm keeps as two.
            stem = name.removesuffix("query.bias")
            renamed[f"{stem}q_bias"], renamed[f"{stem}v_bias"] = parts
    if "reg_token" in renamed and "pos_embed" in renamed:
        renamed["register_tokens"] = renamed.pop("reg_token")
        renamed = from_dinov2(renamed)
    if "blocks.0.attn.q_bias" in renamed and "reg_token" in renamed:
        renamed = {re.sub(r"ls([12])\.gamma", r"gamma_\1", name): value for name, value in renamed.items()}
        renamed = _without_zero_biases(renamed)
    return renamed


_PARTS = ("weight", "bias")
_TRANSFORMERS = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.mask_token$", "mask_token"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.(projection\.)?", "patch_embed.proj."),
    (r"^((encoder\.)?relative|shared)_position_bias\.", "rel_pos_bias."),
    (r"^pooler\.layernorm\.", "fc_norm."),
    (r"^(encoder\.|model\.)?layers?\.(\d+)\.", r"blocks.\2."),
    (r"\.attention\.(attention\.)?(query|q_proj)\.", ".attn.query."),
    (r"\.attention\.(attention\.)?(key|k_proj)\.", ".attn.key."),
    (r"\.attention\.(attention\.)?(value|v_proj)\.", ".attn.value."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"^(blocks\.\d+)\.(attention\.)*relative_position_bias\.", r"\1.attn."),
    (r"\.lambda_([12])$", r".gamma_\1"),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.(intermediate\.dense|mlp\.up_proj|mlp\.weights_in)\.", ".mlp.fc1."),
    (r"(blocks\.\d+)\.(output\.dense|mlp\.down_proj|mlp\.weights_out)\.", r"\1.mlp.fc2."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"^(layernorm|norm)\.", "norm."),
)


def _renamed(name: str) -> str:
    for pattern, replacement in _TRANSFORMERS:
        name = re.sub(pattern, replacement, name)
    return name


def _without_zero_biases(state: State) -> State:
    """DINOv3's distilled models have biases that are all zero, and timm has its models with and without them."""
    biases = [name for name in state if name.endswith(("attn.q_bias", "attn.v_bias"))]
    if any(state[name].any() for name in biases):
        return state
    return {name: value for name, value in state.items() if name not in biases}


def _rank(prefix: str) -> tuple[bool, int, int]:
    words = prefix.split(".")
    preferred = next((rank for rank, word in enumerate(_PREFERRED) if word in words), len(_PREFERRED))
    return any(copy in word for copy in _COPIES for word in words), preferred, len(prefix)
