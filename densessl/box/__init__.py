"""The backbone in the box: what `densessl segment` sees with when it is given no other. See MODEL_CARD.md beside it.

    densessl pretrain box data='[tiny-imagenet-200/train, photos, camvid/images/train]' out=runs/box precision=bf16
    python -m densessl.box runs/box

trains it and puts it here.
"""

from __future__ import annotations

from pathlib import Path

from densessl.backbones.load import BOX, load_backbone
from densessl.backbones.saved import save_backbone

LAYERS = ["colour", -1, -1]  # whose channels, side by side, are the features of a place: the last layer counts twice
SIDE = 320  # short side in pixels at which it is shown pictures


def pack(run: str | Path, folder: str | Path = BOX) -> None:
    """Write the backbone of a run into `folder`, to see pictures as its features were judged.

    Its convolutions are rounded to half precision, which halves the file; they are float32 again once they are read.
    """
    backbone = load_backbone(run, SIDE)
    backbone.notes = []
    for weight in backbone.model.parameters():
        if weight.ndim > 1:
            weight.data = weight.data.half()
    record = {key: value for key, value in backbone.record.items() if key != "data"}
    save_backbone(backbone, folder, record | {"layers": LAYERS})
