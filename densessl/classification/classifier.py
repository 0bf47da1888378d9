"""A classifier: a backbone, the first layers of the head it was pretrained with, and a linear layer of class scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from densessl.backbones import Backbone, weights
from densessl.backbones.heads import build_layers, describe_layers, width
from densessl.backbones.saved import describe, rebuild
from densessl.errors import UserError
from densessl.files import write_bytes

CLASSIFIER = "classifier.safetensors"
_KEY = "densessl"


class Classifier(nn.Module):
    """Images (B, 3, H, W), normalised -> class scores (B, C), in float32 or wider.

    layers: of the head, from its first; empty for none. classes: C names.
    """

    def __init__(self, backbone: Backbone, layers: nn.Sequential, classes: Sequence[str]) -> None:
        super().__init__()
        self.backbone, self.layers, self.classes = backbone, layers, list(classes)
        self.linear = nn.Linear(width(layers, backbone.channels), len(self.classes))
        nn.init.zeros_(self.linear.bias)

    def forward(self, images: Tensor) -> Tensor:
        scores = self.linear(self.layers(self.backbone(images)))
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def parameter_groups(self, lars: bool, layer_decay: float = 1.0) -> list[dict[str, Any]]:
        """Weights that decay, and those that do not: biases and norms.

        layer_decay: below 1, block i of L blocks learns at layer_decay^(L - i) of the rate, i from 1, what stands
            before the blocks at layer_decay^(L + 1), and all behind them at the rate (BEiT's fine-tuning).
            Raises `UserError` for a backbone without blocks.

        lars: as the official code has it, where that optimizer scales the steps of all weights but the linear layer's,
        whether or not they decay, and leaves the linear layer without decay.
        """
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        plain = [each for each in learning if each.ndim <= 1 or (lars and each is self.linear.weight)]
        rest = [each for each in learning if all(each is not other for other in plain)]
        groups = [{"params": rest}, {"params": plain, "weight_decay": 0.0, "decays": False}]
        return groups if layer_decay == 1 else self._by_layer(groups, layer_decay)

    def _by_layer(self, groups: list[dict[str, Any]], decay: float) -> list[dict[str, Any]]:
        blocks = getattr(self.backbone.model, "blocks", None)
        if blocks is None:
            raise UserError(
                f"finetune.layer_decay={decay} is of the blocks of a transformer, which {self.backbone.architecture} "
                "has not: leave it at 1."
            )
        layer = {id(each): 0 for each in self.backbone.parameters()}
        for place, block in enumerate(blocks, start=1):
            layer |= {id(each): place for each in block.parameters()}
        for name in ("norm", "fc_norm"):
            norm = getattr(self.backbone.model, name, None)
            layer |= {id(each): len(blocks) + 1 for each in (norm.parameters() if norm is not None else ())}
        parted = []
        for group in groups:
            for place in range(len(blocks) + 2):
                inside = [each for each in group["params"] if layer.get(id(each), len(blocks) + 1) == place]
                if inside:
                    parted.append({**group, "params": inside, "lr_scale": decay ** (len(blocks) + 1 - place)})
        return parted


def save_classifier(classifier: Classifier, folder: str | Path, record: dict[str, Any]) -> Path:
    """Write classifier.safetensors, whole or not at all; what it is, and the names of its classes, are its metadata.

    record: what else is to be known of it.
    """
    about = {
        "backbone": {**record, **describe(classifier.backbone)},
        "layers": describe_layers(classifier.layers),
        "classes": classifier.classes,
    }
    state = {name: value.detach().cpu().contiguous() for name, value in classifier.state_dict().items()}
    path = Path(folder) / CLASSIFIER
    write_bytes(path, save(state, metadata={"format": "pt", _KEY: json.dumps(about)}))
    return path


def load_classifier(spec: str | Path, image_size: int | None = None) -> Classifier:
    """The classifier of a run's folder or of a classifier.safetensors.

    image_size: pixels of a side; None is the size it was trained at. Raises `UserError` when there is none.
    """
    run = "densessl finetune or densessl distill"
    path, state, about = weights.read_described(spec, CLASSIFIER, _KEY, "classifier", run)
    try:
        layers, classes = build_layers(about["layers"]), [str(name) for name in about["classes"]]
    except (KeyError, ValueError, TypeError) as error:
        raise weights.not_described(path, "classifier") from error
    backbone = rebuild(about["backbone"], str(path), image_size)
    classifier = Classifier(backbone, layers, classes)
    try:
        classifier.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit what it says it is: it is damaged.") from error
    return classifier


@torch.no_grad()
def small_random(linear: nn.Linear) -> None:
    """Weights of deviation 0.01, with which the official code begins a linear layer."""
    nn.init.normal_(linear.weight, std=0.01)
