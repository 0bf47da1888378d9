"""What a run of `segment` learns: codes of tokens, and the directions that are its segments; saved and read back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from densessl.errors import UserError
from densessl.files import write_bytes
from densessl.segmentation.head import StegoHead

FORMAT = "densessl-segment-1"


class Segmenter(nn.Module):
    """Tokens (T, C) of a backbone -> scores (T, K); the best score is the segment.

    head: tokens -> codes; None where the features themselves are the codes.
    centres: (K, dim) directions. unit: scale them to length 1; otherwise a longer one wins more ground.
    """

    def __init__(self, head: StegoHead | None, centres: Tensor, unit: bool = True) -> None:
        super().__init__()
        self.head = head
        centres = centres.detach().clone()
        self.register_buffer("centres", F.normalize(centres, dim=1) if unit else centres)

    @property
    def classes(self) -> int:
        return len(self.centres)

    def codes(self, tokens: Tensor) -> Tensor:
        """(T, C) -> (T, dim)."""
        return tokens if self.head is None else self.head(tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores (T, K): the codes' products with the centres.

        The code is not normalised: its length changes no place's best segment, and this way scores may be
        interpolated between tokens exactly as if the codes had been.
        """
        return self.codes(tokens) @ self.centres.T


@dataclass(frozen=True)
class Saved:
    """What a model file says of its origin.

    backbone: the spec it was given by; weights: the hash of its weights; config: the run's, resolved.
    """

    backbone: str
    weights: str
    image_size: int
    config: dict

    @property
    def layer(self) -> int:
        """Which of the backbone's feature maps it was learned on."""
        return int(self.config.get("layer", -1))

    @property
    def window(self) -> int:
        """Over how wide squares its features were averaged."""
        return int(self.config.get("window", 1))


def save_model(path: str | Path, model: Segmenter, saved: Saved) -> None:
    """Write `model` and its origin as safetensors, whole or not at all."""
    head = model.head
    record = {
        "backbone": saved.backbone,
        "weights": saved.weights,
        "image_size": saved.image_size,
        "config": saved.config,
        "classes": model.classes,
        "head": None
        if head is None
        else {"channels": head.linear.in_features, "dim": head.linear.out_features, "dropout": head.dropout},
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_bytes(path, save(tensors, metadata={"format": FORMAT, "densessl": json.dumps(record)}))


def load_model(path: str | Path) -> tuple[Segmenter, Saved]:
    """Read what `save_model` wrote. A run's folder stands for its model. Raises `UserError` for anything else."""
    path = Path(path).expanduser()
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"There is no model at {path}. Give the model.safetensors that `densessl segment` wrote.")
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})["densessl"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        head = None if record["head"] is None else StegoHead(**record["head"])
        model = Segmenter(head, tensors["centres"])
        model.load_state_dict(tensors)
        saved = Saved(record["backbone"], record["weights"], int(record["image_size"]), dict(record["config"]))
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise UserError(
            f"{path} is not a model that `densessl segment` wrote ({str(error).splitlines()[0][:120]}). "
            "Give a model.safetensors from the folder of such a run."
        ) from None
    return model.eval(), saved


def codes_of(model: Segmenter, tokens: Tensor) -> Tensor:
    """`model.codes` in evaluation, without gradient."""
    with torch.inference_mode():
        return model.eval().codes(tokens)
