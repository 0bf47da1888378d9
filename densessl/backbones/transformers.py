"""BEiT, DiT and plain ViTs in the names of transformers, written: the inverse of `naming.from_transformers`.

transformers has two sets of names for one network: those of its files, which are as old as the models, and since
version 5 others of its modules in memory, between which it translates when it reads and writes. It is not imported
here: a folder is read by `BeitModel.from_pretrained`, and a network in memory by
`BeitModel(BeitConfig(**config(backbone)))` and `load_into`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from timm.layers import Mlp
from timm.models.beit import Beit
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from densessl.backbones.backbone import Backbone
from densessl.errors import UserError, require
from densessl.files import write_bytes, write_text

# timm's name -> in a file, in memory.
_OUTSIDE = (
    (r"^cls_token$", "embeddings.cls_token", "embeddings.cls_token"),
    (r"^pos_embed$", "embeddings.position_embeddings", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection.", "embeddings.patch_embeddings.projection."),
    (r"^rel_pos_bias\.", "encoder.relative_position_bias.", "shared_position_bias."),
    (r"^norm\.", "layernorm.", "layernorm."),
    (r"^fc_norm\.", "pooler.layernorm.", "pooler.layernorm."),
)
_INSIDE = (
    (r"^gamma_([12])$", r"lambda_\1", r"lambda_\1"),
    (r"^norm1\.", "layernorm_before.", "layernorm_before."),
    (r"^norm2\.", "layernorm_after.", "layernorm_after."),
    (r"^attn\.proj\.", "attention.output.dense.", "attention.o_proj."),
    (r"^attn\.(query|key|value)\.", r"attention.attention.\1.", r"attention.\1."),
    (r"^attn\.relative", "attention.attention.relative_position_bias.relative", "relative_position_bias.relative"),
    (r"^mlp\.fc1\.", "intermediate.dense.", "mlp.fc1."),
    (r"^mlp\.fc2\.", "output.dense.", "mlp.fc2."),
)
_SHORT = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}


def config(backbone: Backbone) -> dict[str, Any]:
    """What transformers' config.json says of it, but for the names of classes and of the kind.

    Raises `UserError` for what transformers' BEiT and ViT are not.
    """
    model = _known(backbone)
    norm = next(layer for layer in model.modules() if isinstance(layer, nn.LayerNorm))
    block, patches = model.blocks[0], model.patch_embed
    sides = [side * patch for side, patch in zip(patches.grid_size, patches.patch_size, strict=True)]
    found = {
        "hidden_size": backbone.channels,
        "num_hidden_layers": len(model.blocks),
        "num_attention_heads": block.attn.num_heads,
        "intermediate_size": block.mlp.fc1.out_features,
        "hidden_act": "gelu",
        "layer_norm_eps": norm.eps,
        "image_size": sides[0] if sides[0] == sides[1] else sides,
        "patch_size": patches.patch_size[0],
        "num_channels": 3,
    }
    if not isinstance(model, Beit):
        return found | {"qkv_bias": block.attn.qkv.bias is not None}
    return found | {
        "use_mask_token": False,
        "use_absolute_position_embeddings": model.pos_embed is not None,
        "use_relative_position_bias": block.attn.relative_position_bias_table is not None,
        "use_shared_relative_position_bias": model.rel_pos_bias is not None,
        "layer_scale_init_value": 0.0 if block.gamma_1 is None else 0.1,
        "use_mean_pooling": backbone.norm_behind_pooling() is not None,
    }


def state(backbone: Backbone, memory: bool = False) -> dict[str, Tensor]:
    """The weights under transformers' names: those of its files, or those in memory."""
    found: dict[str, Tensor] = {}
    for name, value in _known(backbone).state_dict().items():
        for part, each in _split(name, value.detach().cpu()):
            found[_renamed(part, memory)] = each.contiguous().clone()
    return found


def load_into(model: nn.Module, backbone: Backbone) -> None:
    """Give a network of transformers in memory, such as a BeitModel or one that has it in it, these weights.

    What it has besides (a classifier, a mask token) stays. Raises `UserError` when a weight has no place in it.
    """
    weights, own = state(backbone, memory=True), model.state_dict()
    anchor = "embeddings.cls_token"
    prefix = next((name.removesuffix(anchor) for name in own if name.endswith(anchor)), "")
    misfits = [name for name, value in weights.items() if getattr(own.get(prefix + name), "shape", None) != value.shape]
    require(
        not misfits,
        f"{type(model).__name__} has no place for {len(misfits)} tensors of {backbone.architecture}, such as "
        f"{', '.join(misfits[:2])}: build it with the settings of densessl.backbones.transformers.config.",
    )
    model.load_state_dict({prefix + name: value for name, value in weights.items()}, strict=False)


def write_folder(backbone: Backbone, folder: Path) -> None:
    """config.json, model.safetensors and preprocessor_config.json, which `AutoModel.from_pretrained` reads."""
    kind = "Beit" if isinstance(backbone.model, Beit) else "ViT"
    about = {"architectures": [f"{kind}Model"], "model_type": kind.lower(), "dtype": "float32", **config(backbone)}
    size = {"height": backbone.image_size, "width": backbone.image_size}
    pixels = {
        "image_processor_type": f"{kind}ImageProcessor",
        "do_resize": True,
        "size": size,
        "do_center_crop": False,
        "crop_size": size,
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(backbone.mean),
        "image_std": list(backbone.std),
    }
    write_bytes(folder / "model.safetensors", save(state(backbone), metadata={"format": "pt"}))
    write_text(folder / "preprocessor_config.json", json.dumps(pixels, indent=2) + "\n")
    write_text(folder / "config.json", json.dumps(about, indent=2) + "\n")


def _known(backbone: Backbone) -> nn.Module:
    model = backbone.model
    if isinstance(model, Beit):
        fits = all(type(block.mlp) is Mlp and isinstance(block.mlp.norm, nn.Identity) for block in model.blocks)
    else:
        # Names of transformers' DINOv2 and its like are read, not written.
        odd = ("reg_token", "norm_pre.weight", "blocks.0.ls1.gamma", "blocks.0.attn.q_norm.weight", "fc_norm.weight")
        fits = isinstance(model, VisionTransformer) and not set(odd) & set(model.state_dict())
        fits = fits and model.cls_token is not None and model.pos_embed is not None and not model.no_embed_class
        fits = fits and model.global_pool == "token" and type(model.blocks[0].mlp) is Mlp
    if not fits or backbone.options.get("sobel"):
        raise UserError(
            f"{backbone.architecture} is no network that densessl writes for transformers, which are BEiT, DiT and "
            "plain ViTs that give their class token: give --to timm or --to safetensors."
        )
    return model


def _split(name: str, value: Tensor) -> list[tuple[str, Tensor]]:
    """Queries, keys and values by themselves."""
    stem, _, last = name.rpartition("qkv.")
    if stem:
        return [(f"{stem}{part}.{last}", each) for part, each in zip(_SHORT, torch.chunk(value, 3), strict=True)]
    return [(re.sub(r"\.([qv])_bias$", lambda m: f".{'query' if m[1] == 'q' else 'value'}.bias", name), value)]


def _renamed(name: str, memory: bool) -> str:
    block = re.match(r"blocks\.(\d+)\.", name)
    prefix = (f"layers.{block[1]}." if memory else f"encoder.layer.{block[1]}.") if block else ""
    name = name[block.end() :] if block else name
    for pattern, in_file, in_memory in _INSIDE if block else _OUTSIDE:
        name, count = re.subn(pattern, in_memory if memory else in_file, name)
        if count:
            break
    if memory:
        name = re.sub(r"^attention\.(query|key|value)\.", lambda match: f"attention.{_SHORT[match[1]]}.", name)
    return prefix + name
