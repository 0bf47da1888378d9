"""Weights of a detector from any file that has them under one of the names they go by.

A file of detectron2's own (`model_final.pth` of a run); one of DiT's released detectors (publaynet_dit-b_mrcnn.pth and
its like, whose network and neck lie under `backbone.bottom_up.backbone`); a detector.safetensors of `densessl detect`
(`twin.py` has the names). Nothing but tensors is unpickled.
"""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor, nn

from densessl.backbones import weights
from densessl.backbones.weights import read_json
from densessl.documents.detection.config import RECIPE
from densessl.documents.detection.detector import DETECTOR, written
from densessl.documents.detectron2 import twin
from densessl.errors import UserError

State = dict[str, Tensor]
DIT = "backbone.bottom_up.backbone."
SHOWN = 5  # names in a sentence
# Layers that are as wide as there are classes: of other classes they are learned anew.
_OF_CLASSES = re.compile(r"roi_heads\.(box_predictor(\.\d)?\.(cls_score|bbox_pred)|mask_head\.predictor)\.")
# Parts that the file may have and the model leave out, or whose values are made from the recipe.
_ASIDE = re.compile(r"roi_heads\.mask_head\.|pixel_(mean|std)$|.*anchor_generator|.*num_batches_tracked$")
_UNUSED = re.compile(rf"{re.escape(DIT)}(model\.)?(mask_token|norm\.|fc_norm\.|head\.|lm_head\.)")


def load_weights(model: nn.Module, path: str | Path) -> list[str]:
    """Lay the weights of a file into a detector of detectron2; what was not used or stays new, in sentences.

    Raises `UserError`, the model untouched, that names what does not match where more than the layers of the classes do
    not: it is a file of another architecture.
    """
    state, own = read_weights(path), model.state_dict()
    new = [name for name in own if name not in state or state[name].shape != own[name].shape]
    wrong = [name for name in new if not _OF_CLASSES.match(name) and not _ASIDE.match(name)]
    left = [name for name in state if name not in own]
    misfits = [name for name in left if not _ASIDE.match(name) and not _UNUSED.match(name)]
    if wrong or misfits:
        raise UserError(_mismatch(path, own, state, wrong, misfits))
    model.load_state_dict(
        {name: value for name, value in state.items() if name in own and name not in new}, strict=False
    )
    sentences = []
    if new := [name for name in new if not name.endswith("num_batches_tracked")]:
        shapes = [f"{name} ({_shape(state.get(name))} there, {_shape(own[name])} here)" for name in new]
        sentences.append(f"{path} is of other classes or parts, so these begin anew: {_some(shapes, len(shapes))}.")
    if told := [name for name in left if not name.endswith("num_batches_tracked")]:
        sentences.append(f"Of {path} these are not used: {_some(told)}.")
    return sentences


def read_weights(path: str | Path) -> State:
    """The tensors of a file under the names that detectron2's models have here; raises `UserError`."""
    path = Path(path).expanduser()
    if path.is_dir():
        path = next((path / name for name in ("model_final.pth", DETECTOR) if (path / name).is_file()), path)
    if not path.is_file():
        raise UserError(f"There are no weights {path}: give a .pth of detectron2 or of DiT, or a {DETECTOR}.")
    if path.suffix == ".safetensors":
        about = written(path)
        if about is None:
            raise UserError(
                f"{path} is no detector of densessl detect: give one, or a backbone as model.backbone.spec=."
            )
        return twin.to_detectron2(weights.read_safetensors(path)[0], about["detector"]["finest"])
    state = weights.state_dict_of(weights.read_torch(path), str(path))
    return from_dit(state) if f"{DIT}patch_embed.proj.weight" in state else state


def classes_of(path: str | Path) -> list[str] | None:
    """The names of a detector's classes, where its file or its run's folder says them."""
    path = Path(path).expanduser()
    folder = path if path.is_dir() else path.parent
    about = written(path) if path.suffix == ".safetensors" else None
    if about is None and (folder / RECIPE).is_file():
        about = read_json(folder / RECIPE)
    return None if about is None else list(about["classes"])


def from_dit(state: State) -> State:
    """The names of DiT's released detectors as ours: the neck lies beside its network, not within."""
    renamed = {}
    for name, value in state.items():
        if name.startswith(DIT):
            rest = name.removeprefix(DIT)
            name = f"backbone.bottom_up.{rest}" if re.match(r"fpn\d\.", rest) else f"{DIT}model.{rest}"
        renamed[name] = value
    return renamed


def _mismatch(path: str | Path, own: State, state: State, wrong: list[str], misfits: list[str]) -> str:
    parts = []
    if missing := [name for name in wrong if name not in state]:
        parts.append(f"lacks {len(missing)} of its tensors ({_some(missing)})")
    if other := [f"{name}: {_shape(state[name])} there, {_shape(own[name])} here" for name in wrong if name in state]:
        parts.append(f"has {len(other)} in another shape ({_some(other)})")
    if misfits:
        parts.append(f"has {len(misfits)} for which there is no place ({_some(misfits)})")
    return (
        f"{path} does not fit the detector of the recipe: it {'; it '.join(parts)}. Take the recipe of its "
        "architecture: backbone, neck, Mask or Cascade R-CNN."
    )


def _shape(value: Tensor | None) -> str:
    return "not" if value is None else " x ".join(map(str, value.shape)) or "one number"


def _some(names: list[str], most: int = SHOWN) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
