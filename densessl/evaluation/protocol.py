"""What every protocol shares: its settings, the labelled images that are trained on and judged, vectors of them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from omegaconf import MISSING
from torch import Tensor, nn

from densessl.backbones import Backbone
from densessl.data.pages import SIDE
from densessl.data.sources import Source, Unreadable, open_source
from densessl.data.sources.subset import drawn
from densessl.data.vectors import Encoder, Vectors, vectors
from densessl.errors import UserError
from densessl.progress import Report

TEST_SPLITS = ("test", "val", "validation", "valid")  # looked for in this order when none is named
HELD_OUT = 5  # one image in so many is held out where there is no test set


@dataclass
class ProtocolConfig:
    """What every protocol can be told.

    backbone: a spec of `load_backbone`. data: labelled images; see `densessl.data.sources`.
    split: of the images that are learned from; None is train where there is one, else all.
    test: other images to be judged; None: those of `test_split` in `data`. test_split: None is test or val where there
        is one; without any, a fifth of the images is held out by the hash of their names, or of their documents.
    page_side: longest side in pixels of pages of PDFs.
    image_size: None is the backbone's own. limit: images per split, drawn by the seed; None for all.
    baselines: also judge what was not pretrained.
    batch_size: images that the backbone is shown at a time. seed: of all that is drawn.
    workers: None chooses. devices: "auto", "cpu" or "gpu"; one process. precision: "32", or "bf16" for the backbone.
    unreadable: share of the images that may be unreadable.
    """

    backbone: str = MISSING
    data: Any = MISSING
    split: str | None = None
    test: str | None = None
    test_split: str | None = None
    page_side: int = SIDE
    image_size: int | None = None
    batch_size: int = 256
    workers: int | None = None
    devices: str = "auto"
    precision: str = "32"
    seed: int = 0
    baselines: bool = False
    limit: int | None = None
    unreadable: float = 0.1


def check(config: ProtocolConfig, **least: float) -> None:
    """Raise `UserError` for a value that cannot be; least: the smallest values of further settings."""
    bounds = {"batch_size": 1, "seed": 0, "workers": 0, "limit": 2, "image_size": 1, **least}
    for key, bound in bounds.items():
        value = getattr(config, key)
        if value is not None and value < bound:
            raise UserError(f"{key}={value} is too small: give {key}={bound} or more.")
    if str(config.precision) not in ("32", "bf16"):
        raise UserError(f"precision={config.precision} is not one of: 32, bf16.")
    if not 0 <= config.unreadable <= 1:
        raise UserError(f"unreadable={config.unreadable} is a share: give a number from 0 to 1.")


def record_of(
    protocol: str,
    config: ProtocolConfig,
    backbone: Backbone,
    sets: tuple[LabelledSet, LabelledSet],
    figures: dict[str, Any],
    rule: str,
) -> dict[str, Any]:
    """What a protocol says of a backbone: figures, and all that they hang on. sets: learned from, and judged.

    rule: the protocol in one sentence. Baselines and surroundings are added by the protocol.
    """
    train, test = sets
    return {
        "protocol": protocol,
        "figures": figures,
        "backbone": about(config.backbone, backbone),
        "data": {"data": str(config.data), "train": train.describe(), "test": test.describe()}
        | ({"notes": list(train.source.notes)} if train.source.notes else {}),
        "settings": dataclasses.asdict(config) | {"image_size": backbone.image_size},
        "rule": rule,
        "seed": config.seed,
    }


@dataclass
class LabelledSet:
    """Labelled images: of a source those at `indices`, with their classes; how they were found, in words."""

    source: Source
    indices: np.ndarray
    labels: np.ndarray
    how: str
    unlabelled: int = 0

    def describe(self) -> str:
        left_out = f", {self.unlabelled} without a label left out" if self.unlabelled else ""
        return f"{len(self.indices)} images, {self.how}{left_out}"


class Reader:
    """Vectors and classes of labelled images by one encoder after another.

    classes: how many there are in both sets.
    """

    def __init__(
        self, config: ProtocolConfig, train: LabelledSet, test: LabelledSet, device: str, workers: int, report: Report
    ) -> None:
        self.config, self.train, self.test = config, train, test
        self.device, self.workers, self.report = device, workers, report
        self.classes = int(max(train.labels.max(), test.labels.max())) + 1

    def read(self, encode: Encoder, size: int, title: str) -> tuple[Vectors, Tensor, Vectors, Tensor]:
        """Vectors and classes (N,) int64 of the training images, and of the test images."""
        return (
            *self._vectors(self.train, encode, size, f"Training images, {title}"),
            *self._vectors(self.test, encode, size, f"Test images, {title}"),
        )

    def look(self, encode: Encoder, size: int, count: int) -> None:
        """Show an encoder some of the training images."""
        order = torch.randperm(len(self.train.indices), generator=torch.Generator().manual_seed(self.config.seed))
        batch = max(2, self.config.batch_size)
        count = min(count, len(order))
        # A batch norm takes no statistics of a batch of one.
        chosen = self.train.indices[order[: count - (count % batch == 1)].numpy()]
        vectors(self.train.source, chosen, encode, size, batch, self.workers, self.device)

    def _vectors(self, images: LabelledSet, encode: Encoder, size: int, title: str) -> tuple[Vectors, Tensor]:
        def advance(done: int) -> None:
            self.report(title, done, len(images.indices), "")

        config = self.config
        found = vectors(
            images.source, images.indices, encode, size, config.batch_size, self.workers, self.device, advance
        )
        unreadable = Unreadable()
        for index, reason in found.unreadable:
            unreadable.add(images.source.name(index), reason)
        unreadable.check(len(images.indices), config.unreadable)
        if not bool(torch.isfinite(found.z).all()):
            raise UserError(
                f"{title}: the vectors hold NaN or infinity, so there is nothing to judge; try precision=32."
            )
        label_of = dict(zip(images.indices.tolist(), images.labels.tolist(), strict=True))
        return found, torch.tensor([label_of[index] for index in found.indices.tolist()])


def find_sets(config: ProtocolConfig) -> tuple[LabelledSet, LabelledSet]:
    """The images that are learned from and those that are judged, no image among both."""
    source = open_source(config.data, config.split, config.page_side)
    how = f"split {config.split}" if config.split else "split train where there is one, else all"
    learned = _labelled(source, config.data, how)
    other, how = _test_source(config, source)
    if other is None:
        train, test = _held_out(learned)
    else:
        train, test = learned, _labelled(other, config.test or config.data, how)
        test.labels = _in_classes(test.labels, other.classes, source.classes)
    if len(np.unique(train.labels)) < 2:
        raise UserError(f"{config.data} has images of one class only: a protocol needs two or more.")
    return _limited(train, config), _limited(test, config)


def _test_source(config: ProtocolConfig, source: Source) -> tuple[Source | None, str]:
    """The source of the images to be judged and how it was found; None where some must be held out."""
    if config.test is not None or config.test_split is not None:
        place = config.data if config.test is None else config.test
        other = open_source(place, config.test_split, config.page_side)
        if other.fingerprint() == source.fingerprint():
            raise UserError(
                f"The test images are the training images, {config.data}: name another place with test=PATH or another "
                "part with test_split=NAME."
            )
        return other, f"split {config.test_split}" if config.test is None else str(config.test)
    for split in TEST_SPLITS:
        try:
            other = open_source(config.data, split, config.page_side)
        except UserError:
            continue
        if other.fingerprint() != source.fingerprint():
            return other, f"split {split}"
    return None, ""


def _labelled(source: Source, data: Any, how: str) -> LabelledSet:
    """The images of a source that have a label; `UserError` when none has."""
    labels = [source.label(index) for index in range(len(source))]
    indices = np.array([index for index, label in enumerate(labels) if label is not None], np.int64)
    if not len(indices):
        noted = "".join(f" {note}" for note in source.notes)
        raise UserError(
            f"A protocol needs labels, and none of the {len(source)} images in {data} ({how}) has one: sort them into "
            f"a folder per class, or write a labels.csv with the columns name and class into the folder.{noted}"
        )
    found = np.array([labels[index] for index in indices], np.int64)
    return LabelledSet(source, indices, found, how, len(source) - len(indices))


def _held_out(images: LabelledSet) -> tuple[LabelledSet, LabelledSet]:
    """A fifth of the images, by the hash of their names: the same whatever the seed, and for whoever asks.

    Pages of a document go together, by the hash of its name.
    """
    source, indices = images.source, images.indices.tolist()
    names = [source.document(index) for index in indices]
    hashes = [hashlib.sha256(name.encode("utf-8", "replace")).digest() for name in names]
    order = sorted(range(len(hashes)), key=hashes.__getitem__)
    if len(order) < 3:
        raise UserError(f"{len(order)} labelled images are too few to hold some out: give a test set with test=PATH.")
    between = [place for place in range(1, len(order)) if hashes[order[place]] != hashes[order[place - 1]]]
    if not between:
        raise UserError(f"All labelled images are pages of {names[0]}: give a test set with test=PATH.")
    wanted = max(1, round(len(order) / HELD_OUT))
    count = min(between, key=lambda place: abs(place - wanted))
    by = "names" if names == [source.name(index) for index in indices] else "documents' names"
    how = f"1 in {HELD_OUT} of the images held out by the hash of their {by}, as there is no test set"
    parts = ((order[count:], f"what remains of {len(order)}"), (order[:count], how))
    return tuple(
        LabelledSet(images.source, images.indices[np.sort(part)], images.labels[np.sort(part)], text, images.unlabelled)
        for part, text in parts
    )


def _in_classes(labels: np.ndarray, own: Sequence[str] | None, known: Sequence[str] | None) -> np.ndarray:
    """Labels of the test images as numbers of the training images' classes, matched by name where both have names."""
    if not own or not known or list(own) == list(known):
        return labels
    strange = sorted({own[label] for label in np.unique(labels)} - set(known))
    if strange:
        raise UserError(f"The test images have a class {strange[0]!r}, which the training images lack.")
    return np.array([list(known).index(own[label]) for label in labels], np.int64)


def _limited(images: LabelledSet, config: ProtocolConfig) -> LabelledSet:
    """At most `limit` images, drawn by the seed."""
    if config.limit is None or config.limit >= len(images.indices):
        return images
    chosen = drawn(len(images.indices), config.limit, config.seed)
    how = f"drawn by seed {config.seed} from {len(images.indices)}: {images.how}"
    return LabelledSet(images.source, images.indices[chosen], images.labels[chosen], how, images.unlabelled)


def encoder(network: nn.Module, backbone: Backbone, device: str, precision: str) -> Encoder:
    """uint8 images -> vectors; `backbone` says how pixels are centred and scaled."""

    def encode(images: Tensor) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=str(precision) == "bf16"):
            return network(backbone.normalise(images))

    return encode


def about(spec: str, backbone: Backbone) -> dict[str, Any]:
    return {
        "spec": str(spec),
        "architecture": backbone.architecture,
        "dimensions": backbone.channels,
        "image_size": backbone.image_size,
        "notes": list(backbone.notes),
        "trained": dict(getattr(backbone, "record", {})),
    }
