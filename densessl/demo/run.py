"""What `densessl demo` does, step by step, and the figures it prints."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import torch

from densessl.data.images import read_image
from densessl.data.synthetic import CLASSES, write_scenes
from densessl.demo.sheet import SHOWN, draw_sheet
from densessl.evaluation.segmentation import SegmentationScores, confusion_matrix, segmentation_scores
from densessl.files import output_folder, write_image, write_text

TRAIN, VALIDATION = 360, 64  # scenes
TRAIN_SEED, VALIDATION_SEED = 0, 1_000_000
PHOTOGRAPH_CLASSES = 6
CLOSE_UP = 64  # side in pixels of the pieces of scenes that the network is pretrained on
LAYER, SEEN_AT = -1, 128  # which feature map, and the short side in pixels at which the network sees a picture
# Maps of scenes are small: means of 3 x 3 places, as elsewhere, cost the network 3.7 points of mIoU (20.8 to 17.1).
WINDOW = 1
Figures = dict[str, tuple[float, float]]


def demo(out: str | Path, say: Callable[[str], None] = print) -> None:
    """Write scenes, a run, masks, `figures.json` and `demo.png` below `out`, and print the figures.

    Called again on the same folder it keeps scenes and a finished run, goes on with one that was stopped, and does
    the rest anew. Raises `UserError` when `out` cannot be written.
    """
    begun = time.monotonic()
    out = output_folder(out)
    scenes = out / "scenes"
    _write(scenes / "train", TRAIN, TRAIN_SEED, say)
    _write(scenes / "validation", VALIDATION, VALIDATION_SEED, say)
    _write_close_ups(scenes / "train" / "images", scenes / "close-ups")
    run = _pretrain(scenes / "close-ups", out / "run", say)
    _save_untrained(run, scenes / "close-ups", out / "untrained")

    say("Segmenting the validation scenes with four kinds of features, and photographs with the backbone in the box.")
    validation = scenes / "validation"
    scores = {}
    networks = {"box": "box", "pretrained": run, "untrained": out / "untrained", "colour": "colour"}
    for name, backbone in networks.items():
        _segment(validation / "images", out / "segments" / name, str(backbone), len(CLASSES))
        scores[name] = score(out / "segments" / name / "labels", validation / "labels")
    photographs = Path(str(resources.files("densessl"))) / "photographs"
    _segment(photographs, out / "segments" / "photographs", None, PHOTOGRAPH_CLASSES)

    figures = {name: (each.miou, each.accuracy) for name, each in scores.items()}
    figures |= chance(validation / "labels")
    write_text(out / "figures.json", json.dumps({name: list(pair) for name, pair in figures.items()}, indent=1))
    draw_sheet(out, {name: scores[name].assignment for name in SHOWN}, photographs, headline(figures))
    say(table(figures))
    say(f"Look at {out / 'demo.png'} first; every picture lies in {out / 'segments'}.")
    say(f"Done in {time.monotonic() - begun:.0f} s; nothing was downloaded.")


def score(predicted: Path, truth: Path) -> SegmentationScores:
    """Hungarian scores of the label maps in one folder against those of the same names in another."""
    confusion = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    for path in sorted(truth.glob("*.png")):
        confusion += confusion_matrix(_labels(predicted / path.name), _labels(path), len(CLASSES), len(CLASSES))
    return segmentation_scores(confusion)


def chance(truth: Path) -> Figures:
    """What needs no picture: all pixels to the commonest class, and a random class for each pixel."""
    rng = np.random.default_rng(0)
    majority, random = (np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64) for _ in range(2))
    for path in sorted(truth.glob("*.png")):
        labels = _labels(path)
        majority += confusion_matrix(np.zeros_like(labels), labels, len(CLASSES), len(CLASSES))
        drawn = rng.integers(0, len(CLASSES), size=labels.shape)
        random += confusion_matrix(drawn, labels, len(CLASSES), len(CLASSES))
    each = {"majority": segmentation_scores(majority), "random": segmentation_scores(random)}
    return {name: (scores.miou, scores.accuracy) for name, scores in each.items()}


ROWS = {
    "box": "the backbone in the box",
    "pretrained": "the network pretrained here",
    "untrained": "the same network, untrained",
    "colour": "colour and gradients",
    "majority": "chance: the commonest class",
    "random": "chance: random labels",
}


def table(figures: Figures) -> str:
    """The figures as lines of text, in per cent."""
    width = max(map(len, ROWS.values()))
    lines = [f"{'Segments of scenes it has not seen':{width}}   mIoU   accuracy"]
    for name, title in ROWS.items():
        miou, accuracy = figures[name]
        lines.append(f"{title:{width}}   {miou:5.1%}   {accuracy:5.1%}")
    return "\n".join(["", *lines, "(k-means on each kind of features, segments matched to classes as agrees best)", ""])


def headline(figures: Figures) -> str:
    """The figures as one line."""
    short = {
        "box": "the backbone in the box",
        "pretrained": "pretrained here",
        "untrained": "untrained",
        "colour": "colour k-means",
        "random": "chance",
    }
    return "mIoU without a label: " + ", ".join(f"{title} {figures[name][0]:.0%}" for name, title in short.items())


def _write(folder: Path, count: int, seed: int, say: Callable[[str], None]) -> None:
    """The scenes, unless they all lie there; `classes.json` is written last."""
    written = len(list((folder / "labels").glob("*.png"))) if (folder / "classes.json").exists() else 0
    if written == count:
        say(f"{count} scenes lie in {folder}.")
        return
    begun = time.monotonic()
    write_scenes(folder, count, seed)
    say(f"{count} scenes written to {folder} in {time.monotonic() - begun:.0f} s.")


def _write_close_ups(images: Path, folder: Path) -> None:
    """Cut every scene into squares that cover it.

    Two views of a whole scene have its light in common, and little else: a network would learn to tell the hour. Two
    views of a close-up have what grows or stands there in common.
    """
    paths = sorted(images.glob("*.png"))
    for path in paths:
        image = read_image(path)
        rows, columns = (_starts(side) for side in image.shape[:2])
        for i, (y, x) in enumerate((y, x) for y in rows for x in columns):
            target = folder / f"{path.stem}-{i}.png"
            if not target.exists():
                write_image(target, image[y : y + CLOSE_UP, x : x + CLOSE_UP])


def _starts(side: int) -> list[int]:
    count = -(-side // CLOSE_UP)
    return np.linspace(0, side - CLOSE_UP, count).round().astype(int).tolist()


def _pretrain(images: Path, run: Path, say: Callable[[str], None]) -> Path:
    from densessl.training import pretrain

    begun = time.monotonic()
    say("Pretraining a small network on them, without a label: about a minute on two cores.")
    pretrain("demo", [f"data={images}", f"out={run}"])
    say(f"Pretrained in {time.monotonic() - begun:.0f} s.")
    return run


def _save_untrained(run: Path, images: Path, folder: Path) -> None:
    """The architecture of the run with weights as they are drawn, and batch norms that have seen the images."""
    from densessl.backbones import create_backbone, load_backbone, save_backbone
    from densessl.data.sources import open_source
    from densessl.data.sources.subset import drawn
    from densessl.evaluation.baselines import FITTED, fit_batch_norms
    from densessl.evaluation.twins import look
    from densessl.progress import silent
    from densessl.segmentation.features.extractor import Extractor

    trained = load_backbone(str(run))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        untrained = create_backbone(trained.architecture, trained.image_size, trained.options)
    source, extractor = open_source(images), Extractor(untrained, CLOSE_UP)
    shown = drawn(len(source), FITTED, 0)
    fit_batch_norms(untrained, lambda: look(extractor, source, shown, silent))
    save_backbone(untrained, folder, {"method": "none"})


def _segment(images: Path, folder: Path, backbone: str | None, classes: int) -> None:
    """With None as anyone's pictures are, by the backbone in the box; with another as scenes are."""
    from densessl.segmentation import SegmentConfig, segment

    config = SegmentConfig(data=str(images), out=str(folder), classes=classes, method="kmeans")
    if backbone is not None:
        config.backbone, config.window, config.image_size = backbone, WINDOW, SEEN_AT
        config.layers = None if backbone == "box" else LAYER
    segment(config)


def _labels(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
