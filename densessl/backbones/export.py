"""`densessl export`: a backbone in the names and files of others."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from timm.models.beit import Beit
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer

from densessl.backbones import transformers
from densessl.backbones.backbone import Backbone
from densessl.backbones.load import load_backbone
from densessl.backbones.saved import DESCRIPTION, backbone_file
from densessl.backbones.split import SplitBackbone
from densessl.config import nearest
from densessl.errors import UserError, require
from densessl.files import output_folder, write_bytes, write_text

WAYS = ("timm", "transformers", "official", "safetensors")
_OURS = ("stem", "norm", "sobel")  # options of ours that make a network timm does not know


def export_backbone(backbone: Backbone | str | Path, to: str, out: str | Path) -> str:
    """Write a backbone, or what `load_backbone` finds, so that others can read it; the sentence to be told.

    to: "timm" and "transformers" make a folder in the layout of the hub (`timm.create_model("local-dir:OUT")`,
        `AutoModel.from_pretrained("OUT")`), "official" a .pth as the papers' codes read it, {"model": weights},
        "safetensors" one file of ours.
    Of DiT and BEiT the head that predicts tokens is no part of a backbone and is not written.
    Raises `UserError` for an unknown `to`, and for an architecture that the other side does not have.
    """
    require(to in WAYS, f"--to {to} is not one of: {', '.join(WAYS)}{nearest(to, WAYS)}")
    backbone = backbone if isinstance(backbone, Backbone) else load_backbone(backbone)
    out = Path(out).expanduser()
    said = WRITERS[to](backbone, out)
    if backbone.options.get("positions") and to != "safetensors":
        said += " Its positions=official is not said there: at other sizes than that of training features differ."
    return said


def _timm(backbone: Backbone, out: Path) -> str:
    _refuse_ours(backbone, "timm")
    options = {key: value for key, value in backbone.options.items() if key not in ("norm_eps", "positions")}
    model = backbone.model
    size = [3, backbone.image_size, backbone.image_size]
    about = {
        "architecture": backbone.architecture.partition(".")[0],
        "num_classes": 0,
        "num_features": backbone.channels,
        "global_pool": getattr(model, "global_pool", "avg"),
        "model_args": options,
        "pretrained_cfg": {
            "num_classes": 0,
            "input_size": size,
            "fixed_input_size": bool(backbone.fixed_size),
            "mean": list(backbone.mean),
            "std": list(backbone.std),
            "interpolation": "bicubic",
            "crop_pct": 1.0,
        },
    }
    if not isinstance(about["global_pool"], str):
        del about["global_pool"]
    _write_folder(out)
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_bytes(out / "model.safetensors", save(weights, metadata={"format": "pt"}))
    write_text(out / "config.json", json.dumps(about, indent=2) + "\n")
    eps = backbone.options.get("norm_eps")
    other = f" Its norms add {eps:g} to the variance, and timm's as many as it thinks right." if eps is not None else ""
    return f'{out} holds it as timm.create_model("local-dir:{out}", pretrained=True) takes it.{other}'


def _transformers(backbone: Backbone, out: Path) -> str:
    transformers.config(backbone)
    _write_folder(out)
    transformers.write_folder(backbone, out)
    return f'{out} holds it as transformers.AutoModel.from_pretrained("{out}") takes it.'


def _official(backbone: Backbone, out: Path) -> str:
    _suffix(out, ".pth", "official")
    _refuse_ours(backbone, "official")
    model = backbone.model
    plain = isinstance(model, VisionTransformer) and getattr(model, "reg_token", None) is None
    if not (isinstance(model, (Beit, ResNet)) or plain):
        raise UserError(
            f"{backbone.architecture} has no official names that densessl writes, which are those of BEiT, DiT, ViTs "
            "without registers and torchvision's ResNets: give --to timm or --to safetensors."
        )
    held: dict[str, Any] = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    data = io.BytesIO()
    torch.save({"model": held}, data)
    write_bytes(out, data.getvalue())
    return f"{out} holds {len(held)} tensors under the official names, in model."


def _safetensors(backbone: Backbone, out: Path) -> str:
    _suffix(out, ".safetensors", "safetensors")
    write_bytes(out, backbone_file(backbone, backbone.record))
    return f"{out} holds weights and description; densessl takes it wherever it wants a backbone."


WRITERS = {"timm": _timm, "transformers": _transformers, "official": _official, "safetensors": _safetensors}


def _refuse_ours(backbone: Backbone, to: str) -> None:
    ours = [key for key in _OURS if backbone.options.get(key) and backbone.options[key] != "standard"]
    if isinstance(backbone, SplitBackbone):
        ours = ["split"]
    require(
        not ours,
        f"{backbone.architecture} was built with {ours[0] if ours else ''}, which --to {to} cannot say: give --to "
        "safetensors.",
    )


def _write_folder(out: Path) -> None:
    require(not (out / DESCRIPTION).exists(), f"{out} is the folder of a run: give another for what is exported.")
    output_folder(out)


def _suffix(out: Path, suffix: str, to: str) -> None:
    require(out.suffix == suffix, f"--out {out} must end in {suffix} with --to {to}.")
    output_folder(out.parent)
