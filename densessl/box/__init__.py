"""What the package brings: the backbone of `densessl segment` and the detector of `densessl detect predict`, for when
they are given no other. MODEL_CARD.md and DETECTOR_CARD.md beside them say what they are.

    densessl pretrain box data='[tiny-imagenet-200/train, photos, camvid/images/train]' out=runs/box precision=bf16
    python -m densessl.box runs/box

trains the backbone and puts it here; a run of `densessl detect train` is put here by the same command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from densessl.backbones import Backbone
from densessl.backbones.load import BOX, load_backbone
from densessl.backbones.saved import save_backbone
from densessl.documents.detection.detector import DETECTOR, load_detector, save_detector

LAYERS = ["colour", -1, -1]  # whose channels, side by side, are the features of a place: the last layer counts twice
SIDE = 320  # short side in pixels at which it is shown pictures


def pack(run: str | Path, folder: str | Path = BOX) -> None:
    """Write the detector of a run into `folder`, else its backbone, to see pictures as its features were judged.

    What is no bias and no norm is rounded to half precision, which halves the file, and is float32 again once it is
    read. Raises `UserError` for a run that left neither.
    """
    if (Path(run) / DETECTOR).is_file():
        detector = load_detector(run)
        _halve(detector)
        save_detector(detector, folder, _record(detector.backbone))
        return
    backbone = load_backbone(run, SIDE)
    _halve(backbone.model)
    save_backbone(backbone, folder, _record(backbone) | {"layers": LAYERS})


def _halve(model: nn.Module) -> None:
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.data = weight.data.half()


def _record(backbone: Backbone) -> dict[str, Any]:
    """What is known of a backbone, but for where its data lay."""
    backbone.notes = []
    return {key: value for key, value in backbone.record.items() if key != "data"}
