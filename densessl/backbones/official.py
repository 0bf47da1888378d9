"""Checkpoints as papers publish them: .pth, .pt, .ckpt, and .safetensors with nothing beside.

A file of transformers' weights by itself is read too, whatever of its names it has them under.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

from densessl.backbones import guess, huggingface, naming, weights
from densessl.backbones.backbone import Backbone
from densessl.backbones.create import build, check_name, native_size
from densessl.errors import UserError


def load(path: Path, at: str = "", image_size: int | None = None) -> Backbone:
    """The backbone of a checkpoint; `at` is `NAME` or `NAME,option=value` where names and shapes do not tell.

    Recognised are DINO, iBOT, DINOv2, DINOv3, MAE, DeiT and MoCo v3 ViTs, BEiT, BEiT v2 and DiT, torchvision's ResNets
    (MoCo v2, DINO, SwAV, Barlow Twins, VICReg) and ConvNeXts, and what timm or our own training names the same; of
    transformers ViT, BEiT, DINOv2 and DINOv3, with a config.json beside the file or without. Pixels
    are normalised by ImageNet's mean and deviation, and for BEiT and DiT by 0.5 and 0.5, with which they were
    published (but for BEiT v2's fine-tuned ones, which nothing tells from BEiT's: give FILE@beitv2_base_patch16_224);
    with `at`, as timm does for that name. At another size than
    the table of positions was made for, timm's resizing is used (bicubic with antialiasing), which differs from DINO's
    official one by some per cent (at 320 pixels from 224: 5 % in relative norm on a smooth table);
    `positions=official` gives the latter.
    """
    if path.suffix == ".safetensors":
        state, _ = weights.read_safetensors(path)
    else:
        state = weights.state_dict_of(weights.read_torch(path), str(path))
    foreign = naming.is_transformers(state)
    backbone = huggingface.load_beside(path, state, image_size) if foreign and not at else None
    if backbone is not None:
        return backbone
    if foreign:
        state = naming.from_transformers(state)
    return _named(state, at, path, image_size) if at else _recognised(state, path, image_size, foreign)


def _recognised(state: naming.State, path: Path, image_size: int | None, foreign: bool) -> Backbone:
    prefix = naming.find_prefix(state)
    if prefix is None:
        raise UserError(
            _unsure(path, f"its names ({', '.join(list(state)[:3])}, ...) are those of no ResNet, ConvNeXt or ViT")
        )
    inside, others = naming.strip(state, prefix)
    inside = naming.to_timm(inside)
    try:
        found = guess.of_transformers(inside) if foreign else guess.architecture(inside, prefix)
    except guess.Unsure as reason:
        raise UserError(_unsure(path, str(reason))) from None
    return laid(inside, found, str(path), prefix, others, image_size)


def laid(
    state: naming.State, found: guess.Guess, where: str, prefix: str, others: list[str], image_size: int | None
) -> Backbone:
    """A backbone of the architecture that was found, with these weights (in timm's names)."""
    backbone = build(found.name, found.image_size, found.options, pixels=found.pixels)
    report = weights.fit(backbone.model, state, where, backbone.architecture)
    report.unused += others
    told = ", ".join(f"{key}={value}" for key, value in found.options.items())
    backbone.notes.append(f"{where} was taken for a {found.name}" + (f" with {told}." if told else "."))
    return _finished(backbone, report, where, prefix, image_size)


def _named(state: naming.State, at: str, path: Path, image_size: int | None) -> Backbone:
    name, options = _parse(at)
    side = guess.image_side(naming.strip(state, naming.find_prefix(state) or "")[0])
    backbone = build(name, options.get("img_size") or side or native_size(name), options)
    anchor = next(iter(dict(backbone.model.named_parameters())))
    prefix = naming.find_prefix(state, (*naming.ANCHORS, anchor)) or ""
    inside, others = naming.strip(state, prefix)
    inside = naming.to_timm(inside)
    _check_patch(inside, backbone, path)
    if not set(dict(backbone.model.named_parameters())) <= set(inside):
        inside = _filtered(inside, backbone)
    report = weights.fit(backbone.model, inside, str(path), name)
    report.unused += others
    return _finished(backbone, report, str(path), prefix, image_size)


def _finished(backbone: Backbone, report: weights.Report, where: str, prefix: str, image_size: int | None) -> Backbone:
    if prefix:
        backbone.notes.append(f"The weights under {prefix.rstrip('.')} of {where} were taken.")
    backbone.notes += report.sentences(where)
    backbone.image_size = image_size or backbone.image_size
    return backbone


def _filtered(state: naming.State, backbone: Backbone) -> naming.State:
    """The weights renamed by what timm has beside the model for its original checkpoints, if it has."""
    modules = [sys.modules[kind.__module__] for kind in type(backbone.model).__mro__]
    rename = next((each.checkpoint_filter_fn for each in modules if hasattr(each, "checkpoint_filter_fn")), None)
    if rename is None:
        return state
    try:
        return rename(dict(state), backbone.model)
    # It is made for one kind of file and fails in any way on others, whose own names then tell what is missing.
    except Exception:
        return state


def _check_patch(state: naming.State, backbone: Backbone, path: Path) -> None:
    # timm's filter would resize the patches without a word, and the backbone would be another one.
    key = "patch_embed.proj.weight"
    own = backbone.model.state_dict().get(key)
    if own is not None and key in state and state[key].ndim == 4 and state[key].shape[-2:] != own.shape[-2:]:
        size = state[key].shape[-1]
        raise UserError(
            f"{path} has patches of {size} pixels, and {backbone.architecture} of {own.shape[-1]}: give another "
            f"name, or {path.name}@{backbone.architecture},patch_size={size}."
        )


def _parse(at: str) -> tuple[str, dict[str, Any]]:
    name, *pairs = re.split(r",(?![^\[]*\])", at)
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"{pair!r} in @{at} is not of the form option=value, such as stem=small.")
        options[key.strip()] = yaml.safe_load(value)
    return check_name(name.strip()), options


def _unsure(path: Path, reason: str) -> str:
    return (
        f"The architecture of {path} cannot be told: {reason}. Give it as {path.name}@NAME with a timm name, such as "
        f"{path}@vit_small_patch16_224."
    )
