"""head.safetensors: the layers behind a backbone that a run keeps, so that fine-tuning can begin inside of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from densessl.backbones import weights
from densessl.backbones.saved import WEIGHTS
from densessl.errors import UserError

HEAD = "head.safetensors"
_KEY = "densessl"


def head_file(head: nn.Sequential) -> bytes:
    """What head.safetensors holds: the weights, and in its metadata what the layers are."""
    state = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
    text = json.dumps(describe_layers(head))
    return save(state, metadata={"format": "pt", _KEY: text})


def load_head(spec: str | Path) -> nn.Sequential | None:
    """The layers, with their weights, that a run keeps behind the backbone `spec`; None where there are none.

    spec: a run's folder, or backbone.safetensors in it; anything else has no head. Raises `UserError` for a damaged
    file.
    """
    path = Path(spec).expanduser()
    path = path.parent / HEAD if path.name == WEIGHTS else path / HEAD
    if not path.is_file():
        return None
    state, metadata = weights.read_safetensors(path)
    try:
        head = build_layers(json.loads(metadata[_KEY]))
        head.load_state_dict(state)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{path} holds no head that can be read: let the run write it again.") from error
    return head


def describe_layers(layers: nn.Sequential) -> list[dict[str, Any]]:
    """What must be known to build linear layers, batch norms and ReLUs again, in order."""
    return [_described(layer) for layer in layers]


def build_layers(description: list[dict[str, Any]]) -> nn.Sequential:
    """The layers that `describe_layers` told of, with random weights; `KeyError` or `ValueError` for others."""
    return nn.Sequential(*(_built(each) for each in description))


def first_layers(head: nn.Sequential, count: int) -> nn.Sequential:
    """The first `count` linear layers of a head, each with the norm and the ReLU that follow it."""
    starts = [place for place, layer in enumerate(head) if isinstance(layer, nn.Linear)] + [len(head)]
    return head[: starts[count]]


def depth(head: nn.Sequential) -> int:
    """The number of linear layers of a head."""
    return sum(isinstance(layer, nn.Linear) for layer in head)


def width(layers: nn.Sequential, inputs: int) -> int:
    """Channels of what the layers return, of `inputs` channels."""
    return [inputs, *(layer.out_features for layer in layers if isinstance(layer, nn.Linear))][-1]


def _described(layer: nn.Module) -> dict[str, Any]:
    if isinstance(layer, nn.Linear):
        return {"linear": [layer.in_features, layer.out_features], "bias": layer.bias is not None}
    if isinstance(layer, _BatchNorm):
        return {"batch_norm": layer.num_features, "epsilon": layer.eps, "affine": layer.affine}
    if isinstance(layer, nn.ReLU):
        return {"relu": True}
    raise TypeError(f"a head of linear layers, batch norms and ReLUs can be kept, not a {type(layer).__name__}")


def _built(description: dict[str, Any]) -> nn.Module:
    if "linear" in description:
        inputs, outputs = description["linear"]
        return nn.Linear(int(inputs), int(outputs), bias=bool(description["bias"]))
    if "batch_norm" in description:
        return nn.BatchNorm1d(
            int(description["batch_norm"]), eps=float(description["epsilon"]), affine=bool(description["affine"])
        )
    if "relu" in description:
        return nn.ReLU()
    raise ValueError(f"a layer of no known kind: {sorted(description)}")
