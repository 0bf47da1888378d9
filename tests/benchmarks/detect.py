"""A page of 800 px through a small backbone: thin heads beside torchvision's stock ones, in one process.

    python tests/benchmarks/detect.py [--side 800] [--repeat 3] [--dit]

Stock: torchvision's Faster R-CNN on the same backbone and neck of 256 channels from stride 4 on, 1,000 proposals, two
layers of 1,024 in the box head, anchors of 32 to 512 px. Weights are random, so that all have as many proposals as
they may; a trained detector has fewer objects. Prints the best of the repeats in seconds, and the most memory so far.

--dit: DiT-B instead, with thin heads and as its authors have it for PubLayNet (`publaynet_cascade.py`, Cascade R-CNN
with masks, through detectron2).
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from densessl.backbones import Backbone, create_backbone
from densessl.documents.detection import Detector, DetectorConfig
from densessl.documents.detection.necks import create_neck

STRIDES = [4, 8, 16, 32, 64]
NETWORKS = ("vit_tiny_patch16_224", "resnet18")


class Maps(nn.Module):
    """A backbone with its neck as torchvision wants them."""

    def __init__(self, backbone: Backbone, out_channels: int) -> None:
        super().__init__()
        self.backbone, self.neck, self.out_channels = (
            backbone,
            create_neck(backbone, STRIDES, out_channels),
            out_channels,
        )

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        maps = self.neck(self.backbone.feature_maps(images, self.neck.layers))
        return OrderedDict((str(place), each) for place, each in enumerate(maps))


def stock(backbone: Backbone, side: int) -> Callable[[np.ndarray], object]:
    anchors = AnchorGenerator(tuple((each,) for each in (32, 64, 128, 256, 512)), ((0.5, 1.0, 2.0),) * 5)
    pool = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    model = FasterRCNN(Maps(backbone, 256), 6, side, side, rpn_anchor_generator=anchors, box_roi_pool=pool).eval()

    def run(page: np.ndarray) -> object:
        with torch.inference_mode():
            return model([torch.from_numpy(page).permute(2, 0, 1).float() / 255])

    return run


def thin(backbone: Backbone, side: int, **options) -> Callable[[np.ndarray], object]:
    return Detector(backbone, DetectorConfig(**options), ["text", "title", "list", "table", "figure"], side).eval().find


def as_published() -> Callable[[np.ndarray], object]:
    """DiT-B Cascade of PubLayNet through detectron2, with random weights."""
    from detectron2.config import instantiate

    from densessl.documents.detectron2 import run as detectron2

    config, _ = detectron2.read("publaynet_cascade.py")
    model = instantiate(config.model).eval()

    def run(page: np.ndarray) -> object:
        image = torch.from_numpy(page).permute(2, 0, 1)
        with torch.inference_mode():
            return model([{"image": image, "height": page.shape[0], "width": page.shape[1]}])

    return run


def seconds(run: Callable[[np.ndarray], object], page: np.ndarray, repeat: int) -> float:
    run(page)
    times = []
    for _ in range(repeat):
        begun = time.perf_counter()
        run(page)
        times.append(time.perf_counter() - begun)
    return min(times)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=800)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dit", action="store_true")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    given = parser.parse_args(arguments)
    page = np.random.default_rng(0).integers(0, 256, (given.side, given.side * 77 // 100, 3), dtype=np.uint8)
    print(
        f"one page of {page.shape[1]} x {page.shape[0]} px, {torch.get_num_threads()} threads, best of {given.repeat}"
    )
    if given.dit:
        torch.manual_seed(0)
        options = {"use_abs_pos_emb": True, "use_rel_pos_bias": False, "init_values": 0.1}
        backbone = create_backbone("beit_base_patch16_224", 224, options).eval()
        told("DiT-B: backbone alone", partial(_alone, backbone), page, given.repeat)
        told("DiT-B: thin cascade", thin(backbone, given.side, head="cascade"), page, given.repeat)
        told("DiT-B: as published", as_published(), page, given.repeat)
        return
    for name in given.networks:
        torch.manual_seed(0)
        backbone = create_backbone(name, 224).eval()
        runs = {
            "backbone alone": partial(_alone, backbone),
            "thin faster": thin(backbone, given.side, head="faster"),
            "thin cascade": thin(backbone, given.side, head="cascade"),
            "stock Faster R-CNN": stock(backbone, given.side),
        }
        for what, run in runs.items():
            told(f"{name}: {what}", run, page, given.repeat)


def told(what: str, run: Callable[[np.ndarray], object], page: np.ndarray, repeat: int) -> None:
    took, memory = seconds(run, page, repeat), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:44} {took:6.2f} s   {memory:6.0f} MiB", flush=True)


@torch.inference_mode()
def _alone(backbone: Backbone, page: np.ndarray) -> list[Tensor]:
    stride = backbone.stride
    height, width = (side // stride * stride for side in page.shape[:2])
    image = torch.from_numpy(page[:height, :width].copy()).permute(2, 0, 1)[None]
    return backbone.feature_maps(backbone.normalise(image), (-1,))


if __name__ == "__main__":
    main()
