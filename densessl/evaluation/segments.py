"""Segments found without labels, held against label maps: one matching over the whole set, for several seeds.

The segments are learned from `learn_split` without its labels and written for `split`. Judged are two ways, beside each
other. "honest": whole pictures at their own size; every labelled pixel counts, every class that the labels have, and
every segment: those that no class is matched to are wrong. "official", as STEGO's code has it (eb4d6b5): the central
square at 320 px, codes averaged with those of the mirrored picture; pixels of segments without a class are left out,
and so are classes that are neither in the labels nor predicted. Nothing is chosen by labels: the last step is judged in
both (the official code keeps the step that scores best on the labels).

Beside mIoU and accuracy stands how well the cosine of features, and of what was learned from them, tells pairs of
places of one class from others (`cooccurrence`).
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import MISSING
from torch import Tensor, nn

from densessl.data.sources import Source
from densessl.data.sources.subset import drawn
from densessl.errors import UserError
from densessl.evaluation.baselines import random_twin
from densessl.evaluation.cooccurrence import Pairs, across, sample_places, within
from densessl.evaluation.panels import curves_picture, panel_picture
from densessl.evaluation.record import surroundings
from densessl.evaluation.segmentation import confusion_matrix, hungarian, segmentation_scores
from densessl.files import write_bytes
from densessl.progress import Progress, Report
from densessl.segmentation.cache import Cache
from densessl.segmentation.colour import ColourBackbone
from densessl.segmentation.config import SegmentConfig, StegoConfig
from densessl.segmentation.crf import CRFConfig
from densessl.segmentation.features import Extractor, Features, extract
from densessl.segmentation.model import Segmenter
from densessl.segmentation.predict import Refinement, mask
from densessl.segmentation.primaps import PrimapsConfig
from densessl.segmentation.run import check, extractor_of
from densessl.segmentation.sets import CentreSource, CentreSquares, FiveCrops, LabelledImages, open_labelled
from densessl.segmentation.train import learn

PLACES = 100  # of an image, whose pairs are counted
PARTNERS = 5  # other images that an image's places are compared with
PICTURED = 4  # images in the panel
SQUARE = 320  # pixels of a side of what the official way judges
RULES = {
    "honest": "whole pictures, one Hungarian matching per seed over all pixels with a label, every class of the labels "
    "and every segment counted, the last step",
    "official": f"central squares at {SQUARE} px, codes averaged with those of the mirrored picture, one Hungarian "
    "matching per seed, segments without a class left out, classes neither labelled nor predicted left out, the last "
    "step",
}


@dataclass
class SegmentsConfig:
    """What `densessl evaluate --protocol segments` can be told.

    backbone: a spec of `load_backbone`, or "colour". data: NAME:FOLDER of a set with label maps; see
        `densessl.segmentation.sets`.
    learn_split, split: learned from, and judged. limit: images of each, drawn by the seed; None for all.
    judge: "honest", "official", or both; see above. crops: learn from whole images, or from "five" crops of each, as
        the paper does.
    methods: of finding segments: kmeans, stego, primaps. classes: segments; None is as many as the set has classes.
    refine: "none", "crf", "guided", or several of them: masks are judged with each.
    seeds: runs, from `seed` on. baselines: also colours and gradients, and the same network with random weights.
    pictures: a folder for curves.png, precision over recall of features and codes, and panel.png, images with their
        labels and the first seed's masks; None for none.
    The others are those of `densessl segment`.
    """

    backbone: str = MISSING
    data: str = MISSING
    learn_split: str = "train"
    split: str = "val"
    limit: int | None = None
    judge: list[str] = field(default_factory=lambda: ["honest"])
    crops: str = "whole"
    methods: list[str] = field(default_factory=lambda: ["kmeans", "stego"])
    refine: list[str] = field(default_factory=lambda: ["none", "crf"])
    classes: int | None = None
    seeds: int = 3
    seed: int = 0
    baselines: bool = False
    pictures: str | None = None
    image_size: int | None = None
    layer: int = -1
    window: int = SegmentConfig.window
    batch_size: int = SegmentConfig.batch_size
    steps: int | None = SegmentConfig.steps
    epochs: int = SegmentConfig.epochs
    lr: float = SegmentConfig.lr
    refine_size: int = SegmentConfig.refine_size
    sharpness: float = SegmentConfig.sharpness
    workers: int = 0
    devices: str = "auto"
    precision: str = "32"
    cache: str | None = None
    stego: StegoConfig = field(default_factory=StegoConfig)
    primaps: PrimapsConfig = field(default_factory=PrimapsConfig)
    crf: CRFConfig = field(default_factory=CRFConfig)


@dataclass
class Judged:
    """The set that is judged one way: its features, of mirrored pictures too where codes are averaged with theirs."""

    way: str
    labelled: LabelledImages
    kept: Features
    mirrored: Features | None = None

    def truth(self, row: int) -> np.ndarray:
        return self.labelled.labels(self.kept.indices[row])

    @torch.inference_mode()
    def codes(self, model: Segmenter | None, row: int) -> Tensor:
        """(h * w, D) of an image: what the model makes of its tokens, or the tokens."""
        if model is None:
            return self.kept.tokens(row)
        codes = model.codes(self.kept.tokens(row).to(model.centres.device))
        if self.mirrored is None:
            return codes
        turned = model.codes(self.mirrored.tokens(row).to(codes)).unflatten(0, self.kept.shapes[row])
        return (codes + turned.flip(1).flatten(0, 1)) / 2

    def scores(self, confusion: np.ndarray) -> dict[str, float]:
        policy = {"absent": "official", "unmatched": "out"} if self.way == "official" else {}
        found = segmentation_scores(confusion, **policy)
        return {"miou": found.miou, "accuracy": found.accuracy}


def evaluate_segments(config: SegmentsConfig, progress: Report | None = None) -> dict[str, Any]:
    """Judge a backbone; returns its record, for `write_record` and `describe`.

    Raises `UserError` when label maps are missing or unfit, and for whatever else the user can mend.
    """
    begun, progress = time.monotonic(), progress or Progress()
    _check(config)
    train = open_labelled(config.data, config.learn_split, progress=progress)
    test = open_labelled(config.data, config.split, progress=progress)
    extractor, spec = extractor_of(_segment(config, "kmeans", config.seed, len(test.classes)))
    found = _judge(config, extractor, train, test, progress)
    baselines = {}
    if config.baselines:
        for name, other in _others(extractor.backbone, config.seed).items():
            frame, device = extractor.frame.image_size, str(extractor.device)
            layer = config.layer if name == "untrained" else -1
            twin = Extractor(other, frame, device, config.precision, layer, config.window)
            baselines[name] = _judge(config, twin, train, test, progress)
    if config.pictures:
        _draw(Path(config.pictures).expanduser(), test, found, baselines)
    record = {
        "protocol": "segments",
        "figures": found.figures,
        "backbone": {"spec": spec, "architecture": getattr(extractor.backbone, "architecture", "colour")},
        "data": {
            "data": config.data,
            "learned from": f"{len(train)} images of {config.learn_split}, without their labels",
            "judged": f"{len(test)} images of {config.split}, {len(test.classes)} classes",
        },
        "settings": dataclasses.asdict(config),
        "rule": {way: RULES[way] for way in config.judge},
        "seed": config.seed,
    }
    if baselines:
        record["baselines"] = {name: each.figures for name, each in baselines.items()}
    return record | {"seconds": round(time.monotonic() - begun, 1), **surroundings()}


def _others(backbone: nn.Module, seed: int) -> dict[str, nn.Module]:
    """Networks to hold a backbone against: the same with random weights, and colours and gradients."""
    if isinstance(backbone, ColourBackbone):
        return {}
    return {"untrained": random_twin(backbone, seed), "colours and gradients": ColourBackbone()}


def _check(config: SegmentsConfig) -> None:
    if config.crops not in ("whole", "five"):
        raise UserError(f"crops={config.crops} is not one of: whole, five.")
    choices = {
        "methods": ("kmeans", "stego", "primaps"),
        "refine": ("none", "crf", "guided"),
        "judge": ("honest", "official"),
    }
    for key, known in choices.items():
        unknown = [each for each in getattr(config, key) if each not in known]
        if unknown or not getattr(config, key):
            raise UserError(f"{key}={list(getattr(config, key))}: give one or more of {', '.join(known)}.")
    for key, bound in (("seeds", 1), ("seed", 0), ("limit", 2)):
        value = getattr(config, key)
        if value is not None and value < bound:
            raise UserError(f"{key}={value} is too small: give {bound} or more.")


def _segment(config: SegmentsConfig, method: str, seed: int, classes: int) -> SegmentConfig:
    """The run of `densessl segment` that the protocol asks for."""
    shared = {each.name for each in dataclasses.fields(SegmentConfig)} & {
        each.name for each in dataclasses.fields(config)
    }
    # Those of the same name that say something else.
    taken = {name: getattr(config, name) for name in shared - {"refine", "split", "classes", "seed", "crops"}}
    run = SegmentConfig(**taken | {"out": "", "method": method, "seed": seed, "classes": config.classes or classes})
    check(run)
    return run


@dataclass
class Found:
    """What was found of one backbone: figures by name, pairs of places by features and kind, masks to look at.

    masks: by method, of `PICTURED` images, as classes; of the first seed and the last refinement.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, dict[str, Pairs]] = field(default_factory=dict)
    masks: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)


def _judge(
    config: SegmentsConfig, extractor: Extractor, train: LabelledImages, test: LabelledImages, progress: Report
) -> Found:
    learned_from = _features(config, extractor, FiveCrops(train) if config.crops == "five" else train, progress)
    ways = [_judged(way, config, extractor, test, progress) for way in config.judge]
    found = Found({"always the commonest class": ways[0].scores(_commonest(ways[0]))})
    found.pairs["features"] = _pairs(ways[0], None, config.seed)
    found.figures["features"] = _precisions(found.pairs["features"])
    for method in config.methods:
        scores: dict[str, list[dict[str, float]]] = {}
        codes: list[dict[str, float]] = []
        for seed in range(config.seed, config.seed + config.seeds):
            model = learn(learned_from, _segment(config, method, seed, len(test.classes)), str(extractor.device)).model
            model = model.to(extractor.device).eval()
            for judged, refine in product(ways, config.refine):
                confusion, masks = _confusion(model, judged, config, refine, progress, f"{method}, seed {seed}")
                title = _titled(judged.way if len(ways) > 1 else "", method, refine)
                scores.setdefault(title, []).append(judged.scores(confusion))
                if seed == config.seed and refine == config.refine[-1] and judged is ways[0]:
                    found.masks[_titled("", method, refine)] = _as_classes(masks, confusion)
            if model.head is not None:
                pairs = _pairs(ways[0], model, config.seed)
                found.pairs.setdefault(f"codes of {method}", pairs)
                codes.append(_precisions(pairs))
        found.figures |= {title: _over_seeds(each) for title, each in scores.items()}
        if codes:
            found.figures[f"codes of {method}"] = _over_seeds(codes)
    return found


def _judged(way: str, config: SegmentsConfig, extractor: Extractor, test: LabelledImages, progress: Report) -> Judged:
    if way == "honest":
        return Judged(way, test, _features(config, extractor, test, progress))
    squares, frame = CentreSquares(test, SQUARE), extractor.frame
    # The squares are shown at their own size, but for a backbone that takes no other than its own.
    device, layer, window = str(extractor.device), extractor.layer, extractor.window
    shown = Extractor(extractor.backbone, SQUARE, device, config.precision, layer, window)
    if SQUARE % frame.stride and not frame.fixed:
        raise UserError(f"judge=official shows {SQUARE} px, which a stride of {frame.stride} does not divide.")
    mirrored = _features(config, shown, test, progress, CentreSource(test.source, SQUARE, mirrored=True))
    return Judged(way, squares, _features(config, shown, squares, progress), mirrored)


def _titled(way: str, method: str, refine: str) -> str:
    return f"{way}: ".removeprefix(": ") + method + ("" if refine == "none" else f", {refine}")


def _as_classes(masks: dict[int, np.ndarray], confusion: np.ndarray) -> dict[int, np.ndarray]:
    """Segments as the classes that they are matched to; those of none become a number above all classes."""
    assignment = hungarian(confusion)
    assignment = np.where(assignment < 0, confusion.shape[1], assignment)
    return {row: assignment[labels] for row, labels in masks.items()}


def _draw(folder: Path, test: LabelledImages, found: Found, baselines: dict[str, Found]) -> None:
    pairs = {**found.pairs, **{f"{name}, features": each.pairs["features"] for name, each in baselines.items()}}
    write_bytes(folder / "curves.png", curves_picture(pairs))
    columns = {f"{name}: {method}": masks for name, each in baselines.items() for method, masks in each.masks.items()}
    columns |= found.masks
    indices = sorted(next(iter(found.masks.values())))
    rows = [
        [test.source.read(index), test.labels(index), *(masks[index] for masks in columns.values())]
        for index in indices
    ]
    write_bytes(folder / "panel.png", panel_picture(rows, ["image", "labels", *columns], test.classes, test.colours))


def _features(
    config: SegmentsConfig,
    extractor: Extractor,
    labelled: LabelledImages,
    progress: Report,
    source: Source | None = None,
) -> Features:
    """Of a set's images, or of what `source` makes of them."""
    indices = drawn(len(labelled), config.limit, config.seed) if config.limit else range(len(labelled))
    count = len(indices)

    def advance(done: int) -> None:
        progress("Reading features", done, count, "")

    chosen, store = list(map(int, indices)), Cache.of(config.cache, SegmentConfig.cache_size)
    kept = extract(source or labelled.source, extractor, chosen, config.workers, store, advance=advance)
    if kept.unreadable:
        name, reason = kept.unreadable[0]
        raise UserError(f"{name} of {config.data} cannot be read ({reason}): mend the set before it is judged on.")
    return kept


def _confusion(
    model: Segmenter, judged: Judged, config: SegmentsConfig, refine: str, progress: Report, title: str
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """(segments, classes) pixels of all images that are judged, and the masks of some, by index."""
    refinement = None
    if refine != "none":
        refinement = Refinement(refine, config.refine_size, config.sharpness, config.crf)
    total = np.zeros((model.classes, len(judged.labelled.classes)), dtype=np.int64)
    as_codes = Segmenter(None, model.centres, unit=False)
    count, masks = len(judged.kept), {}
    shown = set(np.linspace(0, count - 1, min(PICTURED, count)).astype(int).tolist())
    for row in range(count):
        truth, index = judged.truth(row), judged.kept.indices[row]
        image = judged.labelled.source.read(index) if refinement else None
        codes = judged.codes(model, row)
        found = mask(as_codes, codes, judged.kept.shapes[row], truth.shape, image, refinement)
        total += confusion_matrix(found, truth, *total.shape)
        if row in shown:
            masks[index] = found
        progress(f"Masks, {title}", row + 1, count, "" if refine == "none" else refine)
    return total, masks


def _commonest(judged: Judged) -> np.ndarray:
    """The confusion matrix of one segment that is everything."""
    classes = len(judged.labelled.classes)
    truths = (judged.truth(row) for row in range(len(judged.kept)))
    return sum(np.bincount(truth[truth >= 0], minlength=classes) for truth in truths)[None]


def _pairs(judged: Judged, model: Segmenter | None, seed: int) -> dict[str, Pairs]:
    """Pairs of places within images and across, by the features, or by a model's codes; the same places for both."""
    generator = torch.Generator().manual_seed(seed)
    places, found = [], {"within images": Pairs(), "across images": Pairs()}
    for row in range(len(judged.kept)):
        map_ = judged.codes(model, row).float().cpu().T.unflatten(1, judged.kept.shapes[row])
        places.append(sample_places(map_, judged.truth(row), PLACES, generator))
    for row, (features, labels) in enumerate(places):
        within(found["within images"], features, labels)
        for partner in (torch.randperm(len(places) - 1, generator=generator)[:PARTNERS] + row + 1) % len(places):
            across(found["across images"], features, labels, *places[int(partner)])
    return found


def _precisions(found: dict[str, Pairs]) -> dict[str, float]:
    """Average precision of each kind of pairs, beside what an order that knows nothing would have."""
    figures = {}
    for kind, pairs in found.items():
        figures |= {f"ap_{kind.split()[0]}": pairs.average_precision, f"chance_{kind.split()[0]}": pairs.chance}
    return figures


def _over_seeds(runs: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure, and its deviation where there are several runs."""
    found = {}
    for key in runs[0]:
        values = [run[key] for run in runs]
        found[key] = statistics.fmean(values)
        if len(values) > 1 and not key.startswith("chance"):
            found[f"{key}_deviation"] = statistics.stdev(values)
    return found
