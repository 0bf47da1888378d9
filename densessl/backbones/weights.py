"""Weights from files: read without unpickling, unwrapped, and laid into a model whole or not at all."""

from __future__ import annotations

import argparse
import json
import pickle
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from densessl.backbones import inert
from densessl.errors import UserError

# Names of what stands on top of a backbone: not missed when a file's are left out.
_HEADS = ("head", "fc", "classifier", "head_dist", "heads", "mask_token", "decoder", "pre_logits")
_PROTOCOLS = (b"\x02", b"\x03", b"\x04", b"\x05")  # of pickle, after its first byte
_COMPUTED = ("num_batches_tracked", "relative_position_index", "attn_mask", "relative_coords_table", "k_bias")


@dataclass
class Report:
    """What of a file was not used."""

    unused: list[str] = field(default_factory=list)

    def sentences(self, where: str) -> list[str]:
        """One sentence, or none."""
        if not self.unused:
            return []
        tops = sorted({name.split(".")[0] for name in self.unused})
        many = f"{len(self.unused)} tensors" if len(self.unused) > 1 else "One tensor"
        return [f"{many} of {where} left out, being no part of the backbone: {_some(tops)}."]


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a .safetensors file, and its metadata; `UserError` when it is damaged or none."""
    metadata = read_metadata(path)
    try:
        return load_file(path), metadata
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise _no_safetensors(path, error) from error


def read_described(spec: str | Path, name: str, key: str, what: str, run: str) -> tuple[Path, dict[str, Tensor], dict]:
    """The path, tensors and description of a network that a run has written.

    spec: the run's folder, or the file. name: of the file in a folder. key: of the description in its metadata, JSON.
    what: the network is, and run: the commands whose run writes it, in words. Raises `UserError` when there is none.
    """
    path = Path(spec).expanduser()
    path = path / name if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"There is no {what} {path}: give the folder of a run of {run} that has ended, or its {name}.")
    state, metadata = read_safetensors(path)
    try:
        about = json.loads(metadata[key])
    except (KeyError, ValueError) as error:
        raise not_described(path, what) from error
    return path, state, about


def not_described(path: Path, what: str) -> UserError:
    """What is wrong with a file whose description is not one of such a network."""
    return UserError(f"{path} describes no {what}: it is damaged, or the weights of something else.")


def read_metadata(path: Path) -> dict[str, str]:
    """What a .safetensors file says of itself, its tensors unread; `UserError` when it is damaged or none."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise _no_safetensors(path, error) from error


def _no_safetensors(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} cannot be read as safetensors: {_first_line(error)} It may be cut short or something else."
    )


def read_torch(path: Path, stand_ins: Sequence[type] = ()) -> Any:
    """What `torch.load` finds in a .pth file when it may build nothing but tensors and plain containers.

    stand_ins: classes without code that take the place of the file's own of the same module and name; the settings in
    a checkpoint of Lightning get some by themselves (`densessl.backbones.inert`).
    `UserError` when the file holds anything else (which could run code), or is damaged.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(2)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    # Bytes that are neither would be refused below as if they were code.
    if start != b"PK" and not (start[:1] == b"\x80" and start[1:] in _PROTOCOLS):
        raise UserError(f"{path} is no checkpoint of PyTorch: it is {'empty' if not start else 'something else'}.")
    try:
        # DINO's, iBOT's and MAE's full checkpoints carry the arguments of their run; a Namespace holds them, no more.
        known = [argparse.Namespace, *inert.stand_ins(path), *stand_ins]
        with torch.serialization.safe_globals(known), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, on files that are refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if re.search(r"Unsupported (global|class|operand)|not an allowed global|GLOBAL|persistent_load", str(error)):
            raise UserError(
                f"{path} holds more than weights, and what is not weights is not unpickled, since it could run code. "
                "Save its state_dict as .safetensors where you trust it, and give that."
            ) from error
        raise UserError(f"{path} is no checkpoint of PyTorch: {_first_line(error)}") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} cannot be read as a checkpoint of PyTorch: {_first_line(error)} It may be cut short "
            "or something else."
        ) from error


def state_dict_of(loaded: Any, where: str) -> dict[str, Tensor]:
    """The state dict in what a checkpoint holds: the teacher's where there are two, else that of the model.

    `UserError` when there is none.
    """
    for _ in range(4):
        if not isinstance(loaded, dict):
            break
        tensors = {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}
        inside = next((key for key in _WRAPPERS if isinstance(loaded.get(key), dict)), None)
        if inside is None:
            if tensors:
                return tensors
            break
        loaded = loaded[inside]
    raise UserError(f"{where} holds no weights of a network: give a checkpoint with a state_dict.")


_WRAPPERS = (
    "teacher",
    "state_dict",
    "model",
    "model_state_dict",
    "model_state",
    "student",
    "module",
    "network",
    "encoder",
)


def fit(model: nn.Module, state: dict[str, Tensor], where: str, architecture: str) -> Report:
    """Load `state` into `model`, every weight of the model from it; say what was not used.

    `UserError`, with the model untouched, when a weight of the model is missing or has another shape, or when the
    file has weights of the model's own parts for which it has no place (more blocks, other registers).
    """
    own = model.state_dict()
    missing = [name for name in own if name not in state and not name.endswith(_COMPUTED)]
    if missing:
        raise UserError(
            f"{where} lacks {len(missing)} of the {len(own)} tensors of {architecture}, such as {_some(missing)}: "
            "it is another architecture, or no backbone. Say which with FILE@NAME, such as "
            f"{Path(where).name}@vit_small_patch16_224."
        )
    wrong = [name for name in own if name in state and state[name].shape != own[name].shape]
    if wrong:
        name = wrong[0]
        raise UserError(
            f"{name} of {where} has the shape {tuple(state[name].shape)}, where {architecture} has "
            f"{tuple(own[name].shape)}: it is another architecture or size. Say which with FILE@NAME,option=value."
        )
    report = Report(sorted(name for name in state if name not in own and not name.endswith(_COMPUTED)))
    parts = {name.split(".")[0] for name in own} - set(_HEADS)
    misfits = [name for name in report.unused if name.split(".")[0] in parts]
    if misfits:
        raise UserError(
            f"{where} has {len(misfits)} tensors for which {architecture} has no place, such as {_some(misfits)}: it "
            "is another architecture. Say which with FILE@NAME."
        )
    model.load_state_dict({name: value for name, value in state.items() if name in own}, strict=False)
    return report


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; `UserError` when the file holds none."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {_first_line(error)}") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path} holds no JSON object: it describes no backbone.")
    return loaded


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") + "." if lines else type(error).__name__ + "."
