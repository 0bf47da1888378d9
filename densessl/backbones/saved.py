"""Our own files: backbone.safetensors with timm's names, and backbone.json beside it, which rebuilds the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save

from densessl.backbones import weights
from densessl.backbones.backbone import Backbone
from densessl.backbones.create import build, check_image_size
from densessl.backbones.split import SplitBackbone, split_backbone
from densessl.errors import UserError
from densessl.files import write_bytes, write_text

WEIGHTS, DESCRIPTION = "backbone.safetensors", "backbone.json"
_KEY = "densessl"  # of the description in the metadata of the safetensors file, for a file that travels alone
_REQUIRED = {"architecture": str, "options": dict, "image_size": int, "mean": list, "std": list}


def save_backbone(backbone: Backbone, folder: str | Path, record: dict[str, Any]) -> None:
    """Write backbone.safetensors and backbone.json into `folder`, each whole or not at all.

    record: what else is to be known (method, training data summary, ...), kept as JSON. Raises `UserError` when the
    folder cannot be written.
    """
    write_bytes(Path(folder) / WEIGHTS, backbone_file(backbone, record))
    write_text(Path(folder) / DESCRIPTION, _text(backbone, record) + "\n")


def backbone_file(backbone: Backbone, record: dict[str, Any]) -> bytes:
    """What a .safetensors file of the backbone holds, which says by itself how to build it again."""
    state = {name: value.detach().cpu().contiguous() for name, value in backbone.model.state_dict().items()}
    return save(state, metadata={"format": "pt", _KEY: _text(backbone, record)})


def _text(backbone: Backbone, record: dict[str, Any]) -> str:
    return json.dumps({**record, **describe(backbone)}, indent=2)


def describe(backbone: Backbone) -> dict[str, Any]:
    """What must be known to build it again."""
    return {
        "architecture": backbone.architecture,
        "options": backbone.options,
        "image_size": backbone.image_size,
        "channels": backbone.channels,
        "stride": backbone.stride,
        "mean": list(backbone.mean),
        "std": list(backbone.std),
        "notes": backbone.notes,
    } | ({"split": backbone.split} if isinstance(backbone, SplitBackbone) else {})


def load_saved(path: Path, image_size: int | None = None) -> Backbone | None:
    """The backbone of a .safetensors file that `save_backbone` wrote; None when nothing says what it is."""
    beside = path.with_name(DESCRIPTION) if path.name == WEIGHTS else path.with_suffix(".json")
    state, metadata = weights.read_safetensors(path)
    if beside.is_file():
        description = weights.read_json(beside)
    elif _KEY in metadata:
        description = _parse(metadata[_KEY], path)
    else:
        return None
    backbone = rebuild(description, str(beside if beside.is_file() else path), image_size)
    weights.fit(backbone.model, state, str(path), backbone.architecture)
    return backbone


def rebuild(description: dict[str, Any], where: str, image_size: int | None = None) -> Backbone:
    """The network that a description tells of, with random weights; `UserError` when it tells of none."""
    for key, kind in _REQUIRED.items():
        if not isinstance(description.get(key), kind):
            raise UserError(f"{where} describes no backbone: {key!r} is missing or is no {kind.__name__}.")
    if any(
        len(description[key]) != 3 or not all(isinstance(x, (int, float)) for x in description[key])
        for key in ("mean", "std")
    ):
        raise UserError(f"{where} describes no backbone: mean and std must be three numbers each.")
    size = check_image_size(description["image_size"])
    pixels = (description["mean"], description["std"])
    fresh = build(description["architecture"], image_size or size, description["options"], pixels=pixels)
    if "split" in description:
        fresh = split_backbone(fresh, str(description["split"]))
    fresh.notes = [str(note) for note in description.get("notes", [])]
    fresh.record = {key: value for key, value in description.items() if key not in describe(fresh)}
    return fresh


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise UserError(f"The description inside {path} is damaged: give the file backbone.json beside it.") from error
