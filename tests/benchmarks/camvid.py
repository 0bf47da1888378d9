"""Segments found without labels on CamVid, scored: `python tests/benchmarks/camvid.py [--backbone RUN_OR_FILE]`.

Learns on the 367 training frames and scores all labelled pixels of the 101 validation frames at their own 480 x 360,
11 classes, one Hungarian matching per run over the whole set. Rows: STEGO's head and k-means on the backbone's
features, k-means on colour and gradients, the latter also with the head. Mean and standard deviation over
seeds.
Without a backbone a small network with random weights stands in, which shows what the architecture alone gives.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from densessl.data.sources import open_source
from densessl.evaluation.segmentation import confusion_matrix, segmentation_scores
from densessl.segmentation.colour import ColourBackbone
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.features import Extractor, Features, extract
from densessl.segmentation.overlay import overlay
from densessl.segmentation.predict import mask
from densessl.segmentation.train import learn

CLASSES = 11


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    sources = {part: open_source(str(arguments.data / "images" / part)) for part in (arguments.learn_on, "val")}
    truths = labels(sources["val"], arguments.data / "labels" / "val")
    print(f"{arguments.learn_on}: {len(sources[arguments.learn_on])} frames, val: {len(truths)} frames")
    print(f"always the commonest class: {majority(truths)}")
    networks = {arguments.backbone or "untrained": backbone(arguments.backbone, arguments.image_size)}
    networks["colour"] = ColourBackbone()
    print(f"\n{'features':28} {'method':12} {'mIoU %':>16} {'accuracy %':>16} {'s/run':>6}")
    for name, network in networks.items():
        extractor = Extractor(network, arguments.image_size, arguments.device)
        kept = {part: extract(source, extractor, range(len(source))) for part, source in sources.items()}
        for method in ("kmeans", "probe", "stego"):
            run(name, method, kept[arguments.learn_on], kept["val"], truths, arguments, sources["val"])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2].parent / "shared" / "data" / "camvid")
    parser.add_argument("--backbone", help="a run's folder, a file, timm:NAME; none: untrained")
    parser.add_argument("--image-size", type=int, default=224, help="short side in pixels")
    parser.add_argument("--learn-on", choices=("train", "val"), default="train")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pictures", type=Path, help="folder for some overlays of the first seed")
    return parser.parse_args()


def backbone(spec: str | None, image_size: int) -> nn.Module:
    """The backbone asked for, or a small ResNet with random weights."""
    from densessl.backbones import create_backbone, load_backbone

    if spec is not None:
        return load_backbone(spec, image_size)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return create_backbone("resnet18", image_size)


def labels(source, folder: Path) -> list[np.ndarray]:
    """(H, W) of each frame, 11 where unlabelled."""
    paths = [(folder / source.name(i)).with_suffix(".png") for i in range(len(source))]
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths]


def majority(truths: list[np.ndarray]) -> str:
    counts = np.bincount(np.concatenate([truth.ravel() for truth in truths]), minlength=CLASSES + 1)[None, :CLASSES]
    scores = segmentation_scores(counts)
    return f"mIoU {100 * scores.miou:.1f}, accuracy {100 * scores.accuracy:.1f}"


def run(
    name: str,
    method: str,
    train: Features,
    val: Features,
    truths: list[np.ndarray],
    arguments: argparse.Namespace,
    source,
) -> None:
    """Learn and score once per seed, and print a line of the table."""
    figures, begun = [], time.monotonic()
    for seed in range(arguments.seeds):
        config = SegmentConfig(data="", out="", classes=CLASSES, seed=seed, steps=arguments.steps)
        config.method = "kmeans" if method == "kmeans" else "stego"
        config.stego.clusters = "probe" if method == "probe" else "kmeans"
        model = learn(train, config, arguments.device).model.eval()
        confusion = np.zeros((CLASSES, CLASSES), dtype=np.int64)
        for row, truth in enumerate(truths):
            found = mask(model, val.tokens(row), val.shapes[row], truth.shape)
            confusion += confusion_matrix(found, truth, CLASSES, CLASSES)
            if arguments.pictures and seed == 0 and row % 25 == 0:
                picture = overlay(source.read(row), found, CLASSES)
                arguments.pictures.mkdir(parents=True, exist_ok=True)
                path = arguments.pictures / f"{Path(name).name}-{method}-{row:03}.png"
                cv2.imwrite(str(path), picture[..., ::-1])
        scores = segmentation_scores(confusion)
        figures.append((100 * scores.miou, 100 * scores.accuracy))
    seconds = (time.monotonic() - begun) / arguments.seeds
    mean, spread = np.mean(figures, axis=0), np.std(figures, axis=0, ddof=1 if len(figures) > 1 else 0)
    label = {"kmeans": "k-means", "probe": "head, probe", "stego": "head"}[method]
    cells = [f"{mean[i]:.1f} +- {spread[i]:.1f}" for i in range(2)]
    print(f"{name[-28:]:28} {label:12} {cells[0]:>16} {cells[1]:>16} {seconds:6.0f}", flush=True)


if __name__ == "__main__":
    main()
