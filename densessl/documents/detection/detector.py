"""A two-stage detector of pages on any backbone: Faster R-CNN, Mask R-CNN or Cascade R-CNN with thin heads.

A target, of one image, is a dict of what is marked on it:
    boxes (M, 4) float32 in pixels of the image, classes (M,) int64, known (K,) bool, whether the class is labelled on
    this page; aside (A, 4), boxes of crowds and of what is ignored; with masks also masks (M, H, W) uint8.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from densessl.backbones import Backbone, weights
from densessl.backbones.load import BOX
from densessl.backbones.saved import describe, rebuild
from densessl.data.resize import resize
from densessl.documents.detection.config import DetectorConfig
from densessl.documents.detection.necks import create_neck
from densessl.documents.detection.objects import Found, ObjectHeads
from densessl.documents.detection.proposals import Proposals
from densessl.documents.detection.rates import backbone_groups
from densessl.documents.detection.tight import tightened
from densessl.errors import UserError
from densessl.files import write_bytes

DETECTOR = "detector.safetensors"
PAPER = 255  # of the pixels with which pages are filled up
_KEY = "densessl"


class Detector(nn.Module):
    """`detector(images, sizes, targets)` gives losses, `detector(images, sizes)` what was found.

    classes: K names. image_size: pixels of a page's longest side. freeze_norms: keep the statistics of the backbone's
    batch norms as they are, since a batch of a few pages tells little.
    """

    def __init__(
        self,
        backbone: Backbone,
        config: DetectorConfig,
        classes: Sequence[str],
        image_size: int,
        freeze_norms: bool = True,
    ) -> None:
        super().__init__()
        self.backbone, self.config, self.classes, self.image_size = backbone, config, list(classes), image_size
        self.freeze_norms = freeze_norms
        self.notes: list[str] = []  # what a user should know of how it began
        self.neck = create_neck(backbone, config.strides, config.channels)
        self.proposals = Proposals(config)
        self.objects = ObjectHeads(config, len(self.classes))

    def forward(
        self, images: Tensor, sizes: Sequence[tuple[int, int]], targets: Sequence[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[Found]:
        """images: (B, 3, H, W), normalised, of `canvas`; sizes: (h, w) of the page in each, from its upper left."""
        maps = self.neck(self.backbone.feature_maps(images, self.neck.layers))
        boxes, losses = self.proposals(maps, sizes, targets)
        if targets is None:
            return self.objects(maps, boxes, sizes)
        return losses | self.objects.losses(maps, boxes, sizes, targets)

    def train(self, mode: bool = True) -> Detector:
        """As any module, but for the batch norms of the backbone."""
        super().train(mode)
        if self.freeze_norms:
            for module in self.backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def canvas(self, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """The (H, W) that holds images of these sizes and that the backbone takes."""
        if self.backbone.fixed_size:
            return self.backbone.fixed_size
        stride = self.backbone.stride
        return tuple(-(-max(size[axis] for size in sizes) // stride) * stride for axis in (0, 1))

    def find(self, page: np.ndarray) -> Found:
        """What is on a page (H, W, 3) uint8 RGB, boxes in its own pixels; on the device of the weights."""
        return self.find_all([page])[0]

    @torch.inference_mode()
    def find_all(self, pages: Sequence[np.ndarray]) -> list[Found]:
        """As `find`, of several pages in one batch, whatever their sizes: the smaller ones get a white margin."""
        shown = [
            resize(page, *shown_size(*page.shape[:2], self.image_size, self.backbone.fixed_size)) for page in pages
        ]
        sizes = [each.shape[:2] for each in shown]
        device = next(self.parameters()).device
        images = self.backbone.normalise(filled(shown, self.canvas(sizes)).to(device))
        results = self(images, sizes)
        for found, page, size in zip(results, pages, sizes, strict=True):
            height, width = page.shape[:2]
            found.boxes = found.boxes * found.boxes.new_tensor([width / size[1], height / size[0]] * 2)
            if self.config.tight and found.masks is None:
                found.boxes = torch.from_numpy(tightened(page, found.boxes.cpu().numpy())).to(device)
        return results

    def parameter_groups(self, decay: float) -> list[dict[str, Any]]:
        """Weights that decay and others (biases, norms, positions), with `lr_scale` of each layer.

        decay: the rate of a layer of the backbone is this times that of the one behind it; see `rates.py`.
        """
        groups = [{**each, **_decaying(each["decays"])} for each in backbone_groups(self.backbone, decay)]
        rest = list(self._behind())
        for decays in (True, False):
            groups.append({"params": [each for each in rest if (each.ndim > 1) == decays], **_decaying(decays)})
        return groups

    def _behind(self) -> Iterator[nn.Parameter]:
        for part in (self.neck, self.proposals, self.objects):
            yield from part.parameters()


def _decaying(decays: bool) -> dict[str, Any]:
    return {"decays": True} if decays else {"decays": False, "weight_decay": 0.0}


def shown_size(height: int, width: int, image_size: int, fixed: tuple[int, int] | None = None) -> tuple[int, int]:
    """The (h, w) at which a page of this size is shown: its longest side is `image_size`, or it fits into `fixed`."""
    scale = min(fixed[0] / height, fixed[1] / width) if fixed else image_size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def filled(pages: Sequence[np.ndarray], canvas: tuple[int, int]) -> Tensor:
    """Pages (h, w, 3) uint8, each in the upper left of a white canvas (H, W): (B, 3, H, W) uint8."""
    images = np.full((len(pages), *canvas, 3), PAPER, np.uint8)
    for place, page in zip(images, pages, strict=True):
        place[: page.shape[0], : page.shape[1]] = page
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def save_detector(detector: Detector, folder: str | Path, record: dict[str, Any]) -> Path:
    """Write detector.safetensors, whole or not at all; what it is, and the names of its classes, are its metadata.

    record: what else is to be known of it.
    """
    about = {
        "backbone": {**record, **describe(detector.backbone)},
        "detector": asdict(detector.config),
        "classes": detector.classes,
        "image_size": detector.image_size,
    }
    state = {name: value.detach().cpu().contiguous() for name, value in detector.state_dict().items()}
    path = Path(folder) / DETECTOR
    write_bytes(path, save(state, metadata={"format": "pt", _KEY: json.dumps(about)}))
    return path


def load_detector(spec: str | Path) -> Detector:
    """The detector of a run's folder or of a detector.safetensors, or "box", the one that the package brings.

    Raises `UserError` when there is none.
    """
    spec = BOX if spec == "box" else spec
    path, state, about = weights.read_described(spec, DETECTOR, _KEY, "detector", "densessl detect train")
    try:
        classes, size = [str(name) for name in about["classes"]], int(about["image_size"])
        config = DetectorConfig(**about["detector"])
    except (KeyError, ValueError, TypeError) as error:
        raise weights.not_described(path, "detector") from error
    detector = Detector(rebuild(about["backbone"], str(path)), config, classes, size)
    weights_there = {name: value.shape for name, value in detector.state_dict().items()}
    if {name: value.shape for name, value in state.items()} != weights_there:
        raise UserError(f"{path} does not hold the weights of the detector that it describes: it is damaged.")
    detector.load_state_dict(state)
    return detector.eval()


def written(path: Path) -> dict[str, Any] | None:
    """What a detector.safetensors says of itself; None where there is none."""
    try:
        return json.loads(weights.read_metadata(path)[_KEY])
    except (UserError, KeyError, ValueError):
        return None
