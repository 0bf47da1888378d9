"""Weighted kNN: how far a backbone's vectors, as they are, tell classes apart.

The protocol of Wu et al. (arXiv 1805.01978, section 3.4), as DINO's `eval_knn.py` has it: cosine similarity s to all
training images, the k nearest vote for their class with weight exp(s / T); k = 200 and T = 0.1 unless told otherwise.
Nothing is trained and nothing is chosen by the test images.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import MISSING
from torch import Tensor, nn

from densessl.backbones import Backbone, load_backbone
from densessl.backbones.create import build
from densessl.data.sources import Source, Unreadable, open_source
from densessl.errors import UserError
from densessl.evaluation.record import surroundings
from densessl.evaluation.vectors import Encoder, Vectors, preparation, vectors
from densessl.hardware import Hardware
from densessl.progress import Progress, Report

ROWS, COLUMNS = 1024, 1 << 15  # of the block of similarities that is looked at: 128 MiB
TEST_SPLITS = ("test", "val", "validation", "valid")  # looked for in this order when none is named
HELD_OUT = 5  # one image in so many is held out where there is no test set
RAW = 32  # px of the raw pixels
FITTED = 1024  # images whose statistics the batch norms of an untrained network are given
RANKS = 5


@dataclass
class KnnConfig:
    """What `densessl evaluate --protocol knn` can be told.

    backbone: a spec of `load_backbone`. data: labelled images; see `densessl.data.sources`.
    split: of the images that vote; None is train where there is one, else all.
    test: other images to be judged; None: those of `test_split` in `data`. test_split: None is test or val where there
        is one; without any, a fifth of the images is held out by the hash of their names.
    image_size: None is the backbone's own. limit: images per split, drawn by the seed; None for all.
    baselines: also judge the same network untrained, and raw pixels.
    workers: None chooses. devices: "auto", "cpu" or "gpu"; one process. precision: "32", or "bf16" for the backbone.
    unreadable: share of the images that may be unreadable.
    """

    backbone: str = MISSING
    data: Any = MISSING
    split: str | None = None
    test: str | None = None
    test_split: str | None = None
    k: int = 200
    temperature: float = 0.1
    image_size: int | None = None
    batch_size: int = 256
    workers: int | None = None
    devices: str = "auto"
    precision: str = "32"
    seed: int = 0
    baselines: bool = False
    limit: int | None = None
    unreadable: float = 0.1


def knn_predict(train: Tensor, labels: Tensor, test: Tensor, k: int = 200, temperature: float = 0.1) -> Tensor:
    """The classes that get the most votes: (M, R) int64, best first, R = min(5, classes).

    train: (N, D), with labels (N,) int64 of 0 and more. test: (M, D). k is clipped to N. On the device of `train`, in
    float32. Of classes with equally many votes the one with the smaller number comes first.
    """
    train, test = F.normalize(train.float(), dim=1), F.normalize(test.float(), dim=1)
    labels = labels.to(train.device)
    classes, k = int(labels.max()) + 1, min(k, len(train))
    ranked = []
    with _exact_products():
        for rows in test.split(ROWS):
            similarity, neighbours = _nearest(rows.to(train.device), train, k)
            # A factor per row changes no ranking, and keeps exp finite at any temperature.
            weights = ((similarity - similarity[:, :1]) / temperature).exp()
            votes = weights.new_zeros(len(rows), classes).scatter_add_(1, labels[neighbours], weights)
            ranked.append(votes.sort(dim=1, descending=True, stable=True).indices[:, :RANKS])
    return torch.cat(ranked).cpu() if ranked else torch.empty(0, min(RANKS, classes), dtype=torch.int64)


def evaluate_knn(config: KnnConfig, progress: Report | None = None) -> dict[str, Any]:
    """Judge a backbone; returns its record, for `write_record` and `describe`.

    Raises `UserError` when labels are missing, and for whatever else the user can mend.
    """
    begun = time.monotonic()
    _check(config)
    hardware = Hardware.of(config.devices)
    device = "cuda" if hardware.accelerator == "gpu" else "cpu"
    train, test = _sets(config)
    backbone = load_backbone(config.backbone, config.image_size).to(device).eval()
    judge = _Judge(config, train, test, device, hardware.workers(config.workers), progress or Progress())
    figures = judge(_encoder(backbone, backbone, device, config.precision), backbone.image_size, "the backbone")
    record = {
        "protocol": "knn",
        "figures": figures,
        "backbone": _about(config.backbone, backbone),
        "data": {"data": str(config.data), "train": train.describe(), "test": test.describe()},
        "settings": dataclasses.asdict(config) | {"image_size": backbone.image_size},
        "rule": _rule(judge, backbone.image_size),
        "seed": config.seed,
    }
    if config.baselines:
        record["baselines"] = _baselines(judge, backbone, device)
    return record | {"seconds": round(time.monotonic() - begun, 1), "device": device, **surroundings()}


@dataclass
class _Set:
    """Labelled images: of a source those at `indices`, with their classes; how they were found, in words."""

    source: Source
    indices: np.ndarray
    labels: np.ndarray
    how: str
    unlabelled: int = 0

    def describe(self) -> str:
        left_out = f", {self.unlabelled} without a label left out" if self.unlabelled else ""
        return f"{len(self.indices)} images, {self.how}{left_out}"


class _Judge:
    """Vectors of both sets by one encoder, and the figures of their votes."""

    def __init__(self, config: KnnConfig, train: _Set, test: _Set, device: str, workers: int, progress: Report) -> None:
        self.config, self.train, self.test = config, train, test
        self.device, self.workers, self.progress = device, workers, progress
        self.classes = int(max(train.labels.max(), test.labels.max())) + 1
        self.k = config.k

    def __call__(self, encode: Encoder, size: int, title: str) -> dict[str, float]:
        train, labels = self._vectors(self.train, encode, size, f"Training images, {title}")
        test, truth = self._vectors(self.test, encode, size, f"Test images, {title}")
        self.k = min(self.config.k, len(train.z))
        z = train.z.to(self.device)
        ranked = knn_predict(z, labels, test.z, self.k, self.config.temperature)
        right = ranked == truth[:, None]
        figures = {"top1": float(right[:, 0].double().mean())}
        if self.classes > RANKS:
            figures["top5"] = float(right.any(dim=1).double().mean())
        unreadable = len(train.unreadable) + len(test.unreadable)
        majority = float((truth == labels.mode().values).double().mean())
        return figures | {"always_the_largest_class": majority, "unreadable_images": unreadable}

    def look(self, encode: Encoder, size: int, count: int) -> None:
        """Show an encoder some of the training images."""
        order = torch.randperm(len(self.train.indices), generator=torch.Generator().manual_seed(self.config.seed))
        batch = max(2, self.config.batch_size)
        count = min(count, len(order))
        # A batch norm takes no statistics of a batch of one.
        chosen = self.train.indices[order[: count - (count % batch == 1)].numpy()]
        vectors(self.train.source, chosen, encode, size, batch, self.workers, self.device)

    def _vectors(self, images: _Set, encode: Encoder, size: int, title: str) -> tuple[Vectors, Tensor]:
        def advance(done: int) -> None:
            self.progress(title, done, len(images.indices), "")

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


def _nearest(rows: Tensor, train: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Similarities and indices (m, k) of the nearest of `train`, nearest first, a block of it at a time."""
    best, where = rows.new_empty(len(rows), 0), torch.empty(len(rows), 0, dtype=torch.int64, device=rows.device)
    for start in range(0, len(train), COLUMNS):
        similarity = rows @ train[start : start + COLUMNS].T
        found, places = similarity.topk(min(k, similarity.shape[1]), dim=1)
        best, where = torch.cat([best, found], dim=1), torch.cat([where, places + start], dim=1)
        best, order = best.topk(min(k, best.shape[1]), dim=1)
        where = where.gather(1, order)
    return best, where


@contextmanager
def _exact_products() -> Iterator[None]:
    """Products of float32 in float32: TF32's 10 bits would reorder neighbours."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _check(config: KnnConfig) -> None:
    least = {"k": 1, "batch_size": 1, "workers": 0, "limit": 2, "image_size": 1}
    for key, bound in least.items():
        value = getattr(config, key)
        if value is not None and value < bound:
            raise UserError(f"{key}={value} is too small: give {key}={bound} or more.")
    if not config.temperature > 0:
        raise UserError(f"temperature={config.temperature} must be above 0, such as 0.1.")
    if str(config.precision) not in ("32", "bf16"):
        raise UserError(f"precision={config.precision} is not one of: 32, bf16.")
    if not 0 <= config.unreadable <= 1:
        raise UserError(f"unreadable={config.unreadable} is a share: give a number from 0 to 1.")


def _sets(config: KnnConfig) -> tuple[_Set, _Set]:
    """The images that vote and those that are judged, no image among both."""
    source = open_source(config.data, config.split)
    how = f"split {config.split}" if config.split else "split train where there is one, else all"
    voters = _labelled(source, config.data, how)
    other, how = _test_source(config, source)
    if other is None:
        train, test = _held_out(voters)
    else:
        train, test = voters, _labelled(other, config.test or config.data, how)
        test.labels = _in_classes(test.labels, other.classes, source.classes)
    if len(np.unique(train.labels)) < 2:
        raise UserError(f"{config.data} has images of one class only: kNN needs two or more.")
    return _limited(train, config), _limited(test, config)


def _test_source(config: KnnConfig, source: Source) -> tuple[Source | None, str]:
    """The source of the images to be judged and how it was found; None where some must be held out."""
    if config.test is not None or config.test_split is not None:
        other = open_source(config.data if config.test is None else config.test, config.test_split)
        if other.fingerprint() == source.fingerprint():
            raise UserError(
                f"The test images are the training images, {config.data}: name another place with test=PATH or another "
                "part with test_split=NAME."
            )
        return other, f"split {config.test_split}" if config.test is None else str(config.test)
    for split in TEST_SPLITS:
        try:
            other = open_source(config.data, split)
        except UserError:
            continue
        if other.fingerprint() != source.fingerprint():
            return other, f"split {split}"
    return None, ""


def _labelled(source: Source, data: Any, how: str) -> _Set:
    """The images of a source that have a label; `UserError` when none has."""
    labels = [source.label(index) for index in range(len(source))]
    indices = np.array([index for index, label in enumerate(labels) if label is not None], np.int64)
    if not len(indices):
        raise UserError(
            f"kNN needs labels, and none of the {len(source)} images in {data} ({how}) has one: sort them into a "
            "folder per class, or give a text file with a path, a tab and a label per line."
        )
    found = np.array([labels[index] for index in indices], np.int64)
    return _Set(source, indices, found, how, len(source) - len(indices))


def _held_out(images: _Set) -> tuple[_Set, _Set]:
    """A fifth of the images, by the hash of their names: the same whatever the seed, and for whoever asks."""
    hashes = [
        hashlib.sha256(images.source.name(int(index)).encode("utf-8", "replace")).digest() for index in images.indices
    ]
    order = sorted(range(len(hashes)), key=hashes.__getitem__)
    count = max(1, round(len(order) / HELD_OUT))
    if len(order) < 3:
        raise UserError(f"{len(order)} labelled images are too few to hold some out: give a test set with test=PATH.")
    how = f"1 in {HELD_OUT} of the images held out by the hash of their names, as there is no test set"
    parts = ((order[count:], f"what remains of {len(order)}"), (order[:count], how))
    return tuple(
        _Set(images.source, images.indices[np.sort(part)], images.labels[np.sort(part)], text, images.unlabelled)
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


def _limited(images: _Set, config: KnnConfig) -> _Set:
    """At most `limit` images, drawn by the seed."""
    if config.limit is None or config.limit >= len(images.indices):
        return images
    order = torch.randperm(len(images.indices), generator=torch.Generator().manual_seed(config.seed)).numpy()
    chosen = np.sort(order[: config.limit])
    how = f"drawn by seed {config.seed} from {len(images.indices)}: {images.how}"
    return _Set(images.source, images.indices[chosen], images.labels[chosen], how, images.unlabelled)


def _encoder(network: nn.Module, backbone: Backbone, device: str, precision: str) -> Encoder:
    """uint8 images -> vectors; `backbone` says how pixels are centred and scaled."""

    def encode(images: Tensor) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=str(precision) == "bf16"):
            return network(backbone.normalise(images))

    return encode


def _baselines(judge: _Judge, backbone: Backbone, device: str) -> dict[str, Any]:
    """Figures of the same network with random weights, and of the pixels themselves."""
    config, size = judge.config, backbone.image_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        untrained = build(backbone.architecture, size, backbone.options).to(device).eval()
    encode = _encoder(untrained, backbone, device, config.precision)
    normed = _fit_batch_norms(untrained, lambda: judge.look(encode, size, FITTED))
    what = f"{backbone.architecture} with random weights"
    figures = judge(encode, size, "untrained")

    def pixels(images: Tensor) -> Tensor:
        return backbone.normalise(images).flatten(1)

    raw = judge(pixels, RAW, "raw pixels")
    return {
        "untrained": figures | {"what": f"{what}, {normed}" if normed else what, "seed": config.seed},
        "raw_pixels": raw | {"what": f"{RAW} x {RAW} pixels, centred and scaled per channel, flattened"},
    }


def _fit_batch_norms(network: nn.Module, look: Callable[[], None]) -> str:
    """Give a network's batch norms the statistics of the images that `look` shows it; in words what was done.

    With those it begins with (mean 0, variance 1) an untrained network is worse than its weights are: an untrained
    ResNet-18 scores 25 % on CIFAR-10 (2,000 images), and 30 % with the data's own.
    """
    norms = [part for part in network.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return ""
    momenta = [part.momentum for part in norms]
    for part in norms:
        part.momentum = None  # a plain mean over batches
        part.train()
    look()
    for part, momentum in zip(norms, momenta, strict=True):
        part.momentum = momentum
        part.eval()
    return f"batch norms with the statistics of up to {FITTED} training images"


def _about(spec: str, backbone: Backbone) -> dict[str, Any]:
    return {
        "spec": str(spec),
        "architecture": backbone.architecture,
        "dimensions": backbone.channels,
        "image_size": backbone.image_size,
        "notes": list(backbone.notes),
        "trained": dict(getattr(backbone, "record", {})),
    }


def _rule(judge: _Judge, size: int) -> str:
    """The protocol in one sentence."""
    clipped = f" (of {judge.config.k} asked for)" if judge.k < judge.config.k else ""
    return (
        f"weighted kNN (arXiv 1805.01978): k = {judge.k}{clipped}, votes exp(cosine / {judge.config.temperature:g}), "
        f"float32; images: {preparation(size)}; vector: the backbone's own, in evaluation, precision "
        f"{judge.config.precision}"
    )
