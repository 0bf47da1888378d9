"""What a run of `segment` learns: codes of tokens, and the directions that are its segments; saved and read back."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from densessl.errors import UserError
from densessl.files import write_bytes
from densessl.segmentation.features.layers import Layers
from densessl.segmentation.stego.head import StegoHead

FORMAT = "densessl-segment-2"  # to be counted up with every change of what a file holds


class Segmenter(nn.Module):
    """Tokens (T, C) of a backbone -> scores (T, K); the best score is the segment.

    head: tokens -> codes; None where the features themselves are the codes.
    centres: (K, dim) directions; with a bias the weights of a linear probe, which labels have taught.
    bias: (K,) of a linear probe; None where segments are the directions that codes are nearest to.
    """

    def __init__(self, head: StegoHead | None, centres: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.head = head
        centres = centres.detach().clone()
        self.register_buffer("centres", F.normalize(centres, dim=1) if bias is None else centres)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    @property
    def classes(self) -> int:
        return len(self.centres)

    def of_codes(self) -> Segmenter:
        """The same for codes instead of tokens."""
        return Segmenter(None, self.centres, self.bias)

    def codes(self, tokens: Tensor) -> Tensor:
        """(T, C) -> (T, dim)."""
        return tokens if self.head is None else self.head(tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores (T, K): the codes' products with the unit centres, or what the linear probe makes of them.

        The code is not normalised: its length changes no place's nearest centre, and this way scores may be
        interpolated between tokens exactly as if the codes had been.
        """
        scores = self.codes(tokens) @ self.centres.T
        return scores if self.bias is None else scores + self.bias

    def log_odds(self, codes: Tensor, sharpness: float) -> Tensor:
        """(B, dim, ...) -> (B, K, ...), whose softmax are probabilities, as STEGO's evaluation has them.

        They are `sharpness` times the cosines with the centres; a linear probe's are its scores, as it was taught.
        """
        if self.bias is None:
            return sharpness * torch.einsum("bd...,kd->bk...", F.normalize(codes, dim=1), self.centres)
        scores = torch.einsum("bd...,kd->bk...", codes, self.centres)
        return scores + self.bias.view(-1, *[1] * (codes.ndim - 2))


@dataclass(frozen=True)
class Saved:
    """What a model file says of its origin.

    backbone: the spec it was given by; weights: the hash of its weights; config: the run's, resolved. image_size: None
    where pictures were seen at their own size, through tiles.
    names: of the segments, where they are known. head: a hash of all that the head was trained from, where it is known.
    """

    backbone: str
    weights: str
    image_size: int | None
    config: dict
    names: tuple[str, ...] | None = None
    head: str | None = None

    @property
    def layers(self) -> Layers:
        """Which of the backbone's feature maps it was learned on."""
        return tuple(self.config.get("layers", (-1,)))

    @property
    def facet(self) -> str:
        """What of that layer: its tokens, or the keys of its attention."""
        return str(self.config.get("facet", "tokens"))

    @property
    def tile(self) -> int | None:
        """The side of the tiles through which pictures were seen, if they were."""
        return self.config.get("tile")

    @property
    def positions(self) -> str | None:
        """How the backbone resizes its positions; see `load_backbone`."""
        return self.config.get("positions")

    @property
    def spectral(self) -> int | None:
        """The seed by which each picture is cut into segments of its own first; None where it is not."""
        return int(self.config.get("seed", 0)) if self.config.get("method") == "spectral" else None

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
        "names": saved.names,
        "trained": saved.head,
        "classes": model.classes,
        "head": None if head is None else head.settings,
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
            metadata = file.metadata() or {}
            _check_format(metadata.get("format", ""), path)
            record = json.loads(metadata["densessl"])
            # Copies: in the file they begin anywhere, and some processors' products differ in the last bit by where.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        head = None if record["head"] is None else StegoHead.empty(**record["head"])
        model = Segmenter(head, tensors["centres"], tensors.get("bias"))
        model.load_state_dict(tensors, assign=True)
        names = record.get("names")
        saved = Saved(
            backbone=record["backbone"],
            weights=record["weights"],
            image_size=None if record["image_size"] is None else int(record["image_size"]),
            config=dict(record["config"]),
            names=tuple(map(str, names)) if names else None,
            head=record.get("trained"),
        )
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise UserError(
            f"{path} is not a model that `densessl segment` wrote ({str(error).splitlines()[0][:120]}). "
            "Give a model.safetensors from the folder of such a run."
        ) from None
    return model.eval(), saved


def _check_format(found: str, path: Path) -> None:
    if found != FORMAT and re.fullmatch(r"densessl-segment-\d+", found):
        raise UserError(f"{path} is of format {found}, where this release reads {FORMAT}: learn its segments anew.")


def codes_of(head: StegoHead | None, tokens: Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Tokens (T, C) -> codes (T, dim) on the device, in evaluation and without gradient; without a head themselves."""
    tokens = tokens.to(device)
    if head is None:
        return tokens
    with torch.inference_mode():
        return head.to(device).eval()(tokens)
