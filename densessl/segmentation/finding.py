"""How a run of `segment` finds its segments, and what of that earlier runs on the same pictures have left to it.

Features come from the backbone or the cache; STEGO's head, where the method has it, from its training, the cache or an
earlier start in the same folder; the segments are clusters of features or of the head's codes, found by each run that
asks for another number of them. The training draws nothing that depends on their number, so that all of these ways lead
to the same segments.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save

from densessl.data.sources import Unreadable
from densessl.errors import UserError
from densessl.files import write_bytes, write_text
from densessl.progress import Report, Say, tell
from densessl.segmentation.clusters import check_enough, cluster
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.features.cache import Cache
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.features.kept import Blocks, Features, features_key
from densessl.segmentation.features.remade import features_of
from densessl.segmentation.features.squares import Squares
from densessl.segmentation.films.items import Items
from densessl.segmentation.model import Saved, Segmenter, codes_of
from densessl.segmentation.stego.diagnosis import write_diagnosis
from densessl.segmentation.stego.head import StegoHead
from densessl.segmentation.stego.train import VERSION, Trained, train
from densessl.segmentation.sweep import Sweep, check_choice, sweep

# What the trained head depends on, beside features. The rest of the settings says how its codes are clustered.
TRAINING = ("batch_size", "epochs", "steps", "lr", "seed", "stego")
CLUSTERING = ("classes", "restarts")
SWEEP = ("sweep.png", "sweep.json")
# Pictures below which STEGO's head is not advised. Measured: far behind k-means with 13, level or ahead with 120
# (tests/benchmarks/heads.md); nothing in between, so that the bound is on the side of what is known to work.
FEW = 100


@dataclass
class Found:
    """The segments, and the features that they were found in.

    head: whether there is one and it was "trained" here or "kept" from an earlier run; None for methods without.
    seconds: that were spent once features and head were there.
    """

    model: Segmenter
    saved: Saved
    features: Features
    head: str | None
    seconds: float


@dataclass
class Finding:
    """What segments are found with.

    key: what features of the pictures depend on, told once, so that a picture that is changed meanwhile confuses
    nothing; of squares it is told here. former: the model of an earlier start in the same folder, whose head serves if
    it was trained from this.
    """

    source: Items
    extractor: Extractor
    spec: str
    config: SegmentConfig
    folder: Path
    cache: Cache | None
    key: str
    former: tuple[Segmenter, Saved] | None
    unreadable: Unreadable
    progress: Report
    say: Say = tell

    def __post_init__(self) -> None:
        self.indices = learned_from(self.source, self.config)
        self.pictures, self.seeing, self.count = self.source, self.extractor, len(self.indices)
        if self.extractor.tiled:
            self.pictures = Squares(self.source, self.extractor.frame, self.indices, self.config.seed)
            self.indices, self.seeing = list(range(len(self.pictures))), self.extractor.of_tiles()
            self.key = features_key(self.seeing, self.pictures)

    def __call__(self) -> Found:
        config, device = self.config, str(self.extractor.device)
        features = self._features()
        if config.classes == "auto":
            check_choice(features)
        else:
            check_enough(features, config.classes)
        head, probe, how, key, begun = None, None, None, None, time.monotonic()
        if config.method == "stego" and config.stego.clusters == "probe":
            trained = self._train(features)
            head, probe, how = trained.head, trained.probe, "trained"
        elif config.method == "stego":
            key = self._head_key(features)
            head, how = self._head(features, key)
            begun = time.monotonic()
        counted = dataclasses.replace(config, classes=self._count(features, head))
        self.progress("Finding segments", 0, 1, "")
        model = cluster(features, head, counted, device, probe)
        self.progress("Finding segments", 1, 1, "")
        seconds = time.monotonic() - begun
        if model.head is not None:
            counted = dataclasses.replace(config, classes=model.classes)
            write_diagnosis(self.folder, features, model.head, counted, device)
        size = self.extractor.frame.image_size
        settings = dataclasses.asdict(config) | {"layers": list(self.extractor.layers)}
        saved = Saved(self.spec, self.extractor.weights, size, settings, head=key)
        return Found(model, saved, features, how, seconds)

    def _features(self) -> Features:
        indices = self.indices

        def advance(done: int) -> None:
            self.progress("Reading features", done, len(indices), "")

        kept = features_of(
            self.pictures,
            self.seeing,
            indices,
            self.config.workers,
            self.cache,
            spill=self.folder,
            advance=advance,
            key=self.key,
            keep=self.config.keep_size,
            elsewhere="another --out",
            say=self.say,
        )
        for name, reason in kept.unreadable:
            self.unreadable.add(name, reason)
        if kept.unreadable:
            self.unreadable.write(self.folder)
        self.unreadable.check(self.count, self.config.unreadable)
        if not len(kept):
            raise UserError(
                f"None of the {self.count} pictures in {self.config.data} can be read: see "
                f"{self.folder / 'unreadable.txt'}."
            )
        return kept

    def _head(self, features: Features, key: str) -> tuple[StegoHead, str]:
        kept = self._head_of_cache(key, features.channels) or self._head_of_folder(key)
        if kept is not None:
            return kept.to(self.extractor.device).eval(), "kept"
        head = self._train(features).head
        if self.cache is not None:
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
            self.cache.keep(key, "head.bin", save(tensors), {})
        return head, "trained"

    def _train(self, features: Features) -> Trained:
        if len(features) < FEW:
            self.say(
                f"STEGO's head learns from {len(features)} pictures here; of fewer than {FEW} it tends to make a "
                "segment each, and --method kmeans is better for them."
            )
        return train(features, self.config, str(self.extractor.device), self.progress)

    def _head_key(self, features: Features) -> str:
        """Of all that the head depends on: of the pictures those that could be read."""
        features = Blocks(None, self.key, features.indices).key
        settings = json.dumps(_training(dataclasses.asdict(self.config)))
        return hashlib.sha256(f"{features} {settings} training {VERSION}".encode()).hexdigest()[:32]

    def _head_of_cache(self, key: str, channels: int) -> StegoHead | None:
        kept = self.cache and self.cache.read(key, "head.bin")
        if not kept:
            return None
        head = StegoHead.empty(channels=channels, dim=self.config.stego.dim, dropout=self.config.stego.dropout)
        weights = {name: each.clone() for name, each in load(kept.data()).items()}  # as in `load_model`
        head.load_state_dict(weights, assign=True)
        return head

    def _head_of_folder(self, key: str) -> StegoHead | None:
        if self.former is None:
            return None
        model, saved = self.former
        return model.head if saved.head == key else None

    def _count(self, features: Features, head: StegoHead | None) -> int:
        if self.config.classes != "auto":
            if _record_of_sweep(self.folder).get("chosen") != self.config.classes:
                for name in SWEEP:
                    (self.folder / name).unlink(missing_ok=True)
            return self.config.classes

        def codes(tokens: torch.Tensor) -> torch.Tensor:
            return codes_of(head, tokens, self.extractor.device).cpu()

        found = sweep(features, seed=self.config.seed, progress=self.progress, codes=codes)
        write_sweep(self.folder, found, "features" if head is None else "codes")
        return found.chosen


def learned_from(source: Items, config: SegmentConfig) -> list[int]:
    """The numbers of the pictures that the segments are found in: all or `learn_from` of them, and of films few."""
    return source.sample(config.learn_from, config.seed)


def same_clustering(saved: Saved, config: SegmentConfig) -> bool:
    """Whether a model's segments were found as this config asks for."""
    defaults = SegmentConfig(data="", out="")
    return all(saved.config.get(key, getattr(defaults, key)) == getattr(config, key) for key in CLUSTERING)


def write_sweep(folder: Path, found: Sweep, of: str) -> None:
    """Write `sweep.png`, the curve, and `sweep.json`, its numbers; of: "features" or "codes"."""
    write_bytes(folder / "sweep.png", found.picture())
    record = {"chosen": found.chosen, "of": of, "score": "silhouette above chance", "curve": found.rows()}
    write_text(folder / "sweep.json", json.dumps(record | {"doubt": found.doubt}, indent=1))


def read_doubt(folder: Path) -> str:
    """What speaks against the number that a sweep chose, as its record has it; empty where nothing does."""
    return str(_record_of_sweep(folder).get("doubt", ""))


def _record_of_sweep(folder: Path) -> dict:
    try:
        record = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _training(settings: dict) -> dict:
    """Of the resolved settings of a run those that its head depends on."""
    found = {key: settings.get(key) for key in TRAINING}
    found["stego"] = {key: value for key, value in found["stego"].items() if key not in ("clusters", "cluster_lr")}
    return found
