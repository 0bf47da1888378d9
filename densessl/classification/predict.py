"""What a classifier says of images, and predictions.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from densessl.classification.classifier import Classifier, load_classifier
from densessl.classification.labels import matched, opened
from densessl.data.sources import Source, Unreadable
from densessl.data.vectors import Vectors, vectors
from densessl.errors import UserError
from densessl.files import output_folder, write_text
from densessl.hardware import Hardware
from densessl.progress import Progress
from densessl.training.config import PretrainConfig

PREDICTIONS = "predictions.csv"


@dataclass
class Settings:
    """How images are run through a classifier; see `densessl.training.config.PretrainConfig`."""

    batch_size: int = 256
    workers: int | None = None
    devices: str = "auto"
    unreadable: float = 0.1

    @classmethod
    def of(cls, run: PretrainConfig) -> Settings:
        """Those of a run."""
        return cls(run.batch_size, run.workers, run.devices, run.unreadable)


def probabilities(
    classifier: Classifier, source: Source, indices: Sequence[int], settings: Settings, title: str = "Predicting"
) -> Vectors:
    """The classes' probabilities (N, C) of these images, prepared as for an evaluation; the classifier comes back on
    the CPU, in evaluation.

    Raises `UserError` when more than the share `unreadable` of the images cannot be read.
    """
    hardware, progress = Hardware.of(settings.devices), Progress()
    device = "cuda" if hardware.accelerator == "gpu" else "cpu"
    classifier.to(device).eval()

    def encode(images: Tensor) -> Tensor:
        return classifier(classifier.backbone.normalise(images)).float().softmax(1)

    found = vectors(
        source,
        indices,
        encode,
        classifier.backbone.image_size,
        settings.batch_size,
        hardware.workers(settings.workers),
        device,
        lambda done: progress(title, done, len(indices), ""),
    )
    classifier.cpu()
    unreadable = Unreadable()
    for index, reason in found.unreadable:
        unreadable.add(source.name(index), reason)
    unreadable.check(len(indices), settings.unreadable)
    return found


def write_predictions(
    classifier: Classifier,
    source: Source,
    path: str | Path,
    settings: Settings,
    labels: np.ndarray,
    whose: str,
    given: str = "their own",
) -> str:
    """Write name, class and probability of every image that can be read; what came of it, in words.

    labels: (N,) by which the predictions are judged, -1 for none. whose: these images, and given: whose class
        theirs is held against, in words.
    """
    found = probabilities(classifier, source, range(len(source)), settings)
    sure, best = found.z.max(dim=1)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("name", "class", "probability"))
    for index, label, probability in zip(found.indices.tolist(), best.tolist(), sure.tolist(), strict=True):
        table.writerow((source.name(index), classifier.classes[label], f"{probability:.4f}"))
    write_text(path, text.getvalue().encode("utf-8", "backslashreplace").decode("utf-8"))
    counts = np.bincount(best.numpy(), minlength=len(classifier.classes))
    told = ", ".join(f"{counts[place]} {classifier.classes[place]}" for place in np.argsort(-counts, kind="stable")[:5])
    more = " and others" if np.count_nonzero(counts) > 5 else ""
    share, judged = accuracy(found, labels)
    right = f" Of the {judged} {whose}, {100 * share:.1f} % get {given}." if judged else ""
    return f"The classes of {len(best)} images ({told}{more}) are in {path}.{right}"


def accuracy(found: Vectors, labels: np.ndarray) -> tuple[float, int]:
    """Share of the labelled images (-1 is none) whose most probable class is their label, and their count."""
    wanted = torch.from_numpy(labels)[found.indices]
    known = wanted >= 0
    count = int(known.sum())
    return (float((found.z.argmax(1)[known] == wanted[known]).double().mean()) if count else float("nan")), count


def classify(
    spec: str | Path,
    images: Sequence[str],
    out: str | Path = PREDICTIONS,
    settings: Settings | None = None,
    split: str | None = None,
) -> str:
    """Write the classes of images to a CSV file; returns the sentence to be told, with the accuracy where images have
    labels of these classes.

    spec: of `load_classifier`. images: places of images, or one set of pages by kind, such as rvlcdip:FOLDER. split: of
    these. Raises `UserError` for whatever the user can mend.
    """
    classifier = load_classifier(spec)
    source, settings = opened(list(images) if len(images) > 1 else images[0], split), settings or Settings()
    out = Path(out).expanduser()
    if out.is_dir():
        raise UserError(f"{out} is a folder: name the file of the predictions, such as --out {out / PREDICTIONS}.")
    output_folder(out.parent)
    labels = matched(source, classifier.classes)
    return write_predictions(classifier, source, out, settings, labels, "that have a label of these classes")
