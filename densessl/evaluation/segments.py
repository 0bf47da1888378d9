"""Segments found without labels, held against label maps: one matching over the whole set, for several seeds.

The segments are learned from `learn_split` without its labels and written for `split`. Judged are two ways, beside each
other. "honest": whole pictures at their own size; every labelled pixel counts, every class that the labels have, and
every segment: those that no class is matched to are wrong. "official", as STEGO's code has it (eb4d6b5): the central
square at 320 px, codes averaged with those of the mirrored picture; pixels of segments without a class are left out,
and so are classes that are neither in the labels nor predicted. Nothing is chosen by labels: the last step is judged in
both (the official code keeps the step that scores best on the labels).

Beside mIoU and accuracy stands how well the cosine of features, and of what was learned from them, tells pairs of
places of one class from others (`cooccurrence`). The method "linear" alone sees labels, those of `learn_split`: it is
the paper's linear probe (`probe`), on features and on codes, judged without any matching.

A file that holds segments already, such as a released checkpoint of STEGO, is judged as it is, by its clusters and by
its linear probe; methods that are asked for are learned beside it, on the features of its backbone.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import MISSING
from torch import nn

from densessl.data.sources import Source
from densessl.data.sources.subset import drawn
from densessl.errors import UserError
from densessl.evaluation.baselines import random_twin
from densessl.evaluation.cooccurrence import Pairs
from densessl.evaluation.judged import Judged, as_classes, over_runs, precisions
from densessl.evaluation.panels import curves_picture, panel_picture
from densessl.evaluation.probe import learn_probe
from densessl.evaluation.record import surroundings
from densessl.evaluation.squares import check_square, learned_images
from densessl.files import write_bytes
from densessl.progress import Progress, Report, tell
from densessl.segmentation.cache import Cache
from densessl.segmentation.colour import ColourBackbone
from densessl.segmentation.config import SegmentConfig, StegoConfig
from densessl.segmentation.crf import CRFConfig
from densessl.segmentation.features import Extractor, Features
from densessl.segmentation.model import Saved, Segmenter
from densessl.segmentation.predict import Refinement
from densessl.segmentation.released import is_model, open_models
from densessl.segmentation.remade import features_of
from densessl.segmentation.run import check, extractor_of
from densessl.segmentation.sets import CentreSource, CentreSquares, LabelledImages, open_labelled
from densessl.segmentation.train import learn

SQUARE = 320  # pixels of a side of what the official way judges
RULES = {
    "honest": "whole pictures, one Hungarian matching per seed over all pixels with a label, every class of the labels "
    "and every segment counted, the last step",
    "official": f"central squares at {SQUARE} px, codes averaged with those of the mirrored picture, one Hungarian "
    "matching per seed, segments without a class left out, classes neither labelled nor predicted left out, the last "
    "step",
}
PROBED = (
    "the linear probes learn from the labels of the learned split, by Adam at probe_lr for as many steps as the head"
)
OTHER_INPUTS = (
    "The official way judges squares whose pixels are copies, and what was learned here saw whole pictures resized by "
    "area: inputs=square learns from such squares too."
)
UNNAMED = "The linear probe of the file was left out: it knows other classes than the set has."


@dataclass
class SegmentsConfig:
    """What `densessl evaluate --protocol segments` can be told.

    backbone: a spec of `load_backbone`, "colour", or a file of segments: a .ckpt of STEGO's authors, or what
        `densessl segment` wrote. data: NAME:FOLDER of a set with label maps; see `densessl.segmentation.sets`.
    learn_split, split: learned from, and judged. limit: images of each, drawn by the seed; None for all.
    judge: "honest", "official", or both; see above. crops: learn from whole images, or from "five" crops of each, as
        the paper does. inputs: the "whole" of each is learned from, resized by area, or the "square" in its middle, of
        `image_size` pixels that are each a copy of one, which is what the official code learns from and judges.
    methods: of finding segments: kmeans, stego; and linear, a probe that labels teach. None is kmeans and stego, or
        none beside a file of segments. classes: segments; None is as many as the set has classes.
    refine: "none", "crf", "guided", or several of them: masks are judged with each.
    seeds: runs, from `seed` on. baselines: also colours and gradients, and the same network with random weights.
    pictures: a folder for curves.png, precision over recall of features and codes, and panel.png, images with their
        labels and the first seed's masks; None for none.
    probe_lr: Adam's, for linear. The others are those of `densessl segment`.
    """

    backbone: str = MISSING
    data: str = MISSING
    learn_split: str = "train"
    split: str = "val"
    limit: int | None = None
    judge: list[str] = field(default_factory=lambda: ["honest"])
    crops: str = "whole"
    inputs: str = "whole"
    methods: list[str] | None = None
    refine: list[str] = field(default_factory=lambda: ["none", "crf"])
    classes: int | None = None
    seeds: int = 3
    seed: int = 0
    baselines: bool = False
    pictures: str | None = None
    image_size: int | None = None
    layers: Any = None
    facet: str = "tokens"
    positions: str | None = None
    batch_size: int = SegmentConfig.batch_size
    steps: int | None = SegmentConfig.steps
    epochs: int = SegmentConfig.epochs
    lr: float = SegmentConfig.lr
    probe_lr: float = 5e-3
    refine_size: int = SegmentConfig.refine_size
    sharpness: float = SegmentConfig.sharpness
    workers: int = 0
    devices: str = "auto"
    precision: str = "32"
    cache: str | None = None
    cache_size: float = SegmentConfig.cache_size
    keep_size: float = SegmentConfig.keep_size
    restarts: int = SegmentConfig.restarts
    stego: StegoConfig = field(default_factory=StegoConfig)
    crf: CRFConfig = field(default_factory=CRFConfig)


def evaluate_segments(config: SegmentsConfig, progress: Report | None = None) -> dict[str, Any]:
    """Judge a backbone, or the segments of a file; returns its record, for `write_record` and `describe`.

    Raises `UserError` when label maps are missing or unfit, and for whatever else the user can mend.
    """
    begun, progress = time.monotonic(), progress or Progress()
    given = open_models(config.backbone) if is_model(config.backbone) else {}
    if config.methods is None:
        config = dataclasses.replace(config, methods=[] if given else ["kmeans", "stego"])
    _check(config, bool(given))
    train = open_labelled(config.data, config.learn_split, progress=progress) if config.methods else None
    test = open_labelled(config.data, config.split, progress=progress)
    models, notes = _fitting(given, test)
    extractor, spec = _extractor(config, given, len(test.classes))
    found = _judge(config, extractor, train, test, models, progress)
    baselines = {}
    if config.baselines:
        for name, other in _others(extractor.backbone, config.seed).items():
            whole = name == "untrained"
            twin = Extractor(
                other,
                extractor.frame.image_size,
                str(extractor.device),
                config.precision,
                extractor.layers if whole else (-1,),
                extractor.facet if whole else "tokens",
            )
            baselines[name] = _judge(config, twin, train, test, {}, progress)
    if config.pictures:
        _draw(Path(config.pictures).expanduser(), test, found, baselines)
    record = {
        "protocol": "segments",
        "figures": found.figures,
        "backbone": {"spec": spec, "architecture": getattr(extractor.backbone, "architecture", "colour")},
        "data": {
            "data": config.data,
            "learned from": _learned_from(config, train),
            "judged": f"{len(test)} images of {config.split}, {len(test.classes)} classes",
        },
        "settings": dataclasses.asdict(config),
        "rule": {way: RULES[way] for way in config.judge} | ({"linear": PROBED} if "linear" in config.methods else {}),
        "seed": config.seed,
    }
    if train is not None and config.inputs == "whole" and "official" in config.judge:
        notes.append(OTHER_INPUTS)
    if notes:
        record["notes"] = notes
    if baselines:
        record["baselines"] = {name: each.figures for name, each in baselines.items()}
    return record | {"seconds": round(time.monotonic() - begun, 1), **surroundings()}


def _learned_from(config: SegmentsConfig, train: LabelledImages | None) -> str:
    if train is None:
        return "nothing: the file has segments"
    but = ", which the linear probes alone are given" if "linear" in config.methods else ""
    crops = ", five crops of each" if config.crops == "five" else ""
    shown = ", the square in the middle, copied pixel by pixel" if config.inputs == "square" else ", all of it"
    return f"{len(train)} images of {config.learn_split}{crops}{shown}, without their labels{but}"


def _extractor(
    config: SegmentsConfig, given: dict[str, tuple[Segmenter, Saved]], classes: int
) -> tuple[Extractor, str]:
    """The backbone that features are taken from; with a file of segments its own."""
    run = _segment(config, "kmeans", config.seed, classes)
    if not given:
        return extractor_of(run)
    _, saved = next(iter(given.values()))
    return extractor_of(dataclasses.replace(run, backbone=None, model=config.backbone), saved)


def _fitting(given: dict[str, tuple[Segmenter, Saved]], test: LabelledImages) -> tuple[dict[str, Segmenter], list[str]]:
    """The models that can be judged on a set: clusters on any, a linear probe on its own classes; and what to say."""
    models = {title: model for title, (model, _) in given.items()}
    for title, (model, saved) in given.items():
        same = model.classes == len(test.classes) and saved.names in (None, tuple(test.classes))
        if model.bias is not None and not same:
            del models[title]
    if given and not models:
        raise UserError(f"{UNNAMED} There is nothing else in it.")
    return models, [UNNAMED] if len(models) < len(given) else []


def _others(backbone: nn.Module, seed: int) -> dict[str, nn.Module]:
    """Networks to hold a backbone against: the same with random weights, and colours and gradients."""
    if isinstance(backbone, ColourBackbone):
        return {}
    return {"untrained": random_twin(backbone, seed), "colours and gradients": ColourBackbone()}


def _check(config: SegmentsConfig, given: bool) -> None:
    for key, known in {"crops": ("whole", "five"), "inputs": ("whole", "square")}.items():
        if getattr(config, key) not in known:
            raise UserError(f"{key}={getattr(config, key)} is not one of: {', '.join(known)}.")
    choices = {
        "methods": ("kmeans", "stego", "linear"),
        "refine": ("none", "crf", "guided"),
        "judge": ("honest", "official"),
    }
    for key, known in choices.items():
        unknown = [each for each in getattr(config, key) if each not in known]
        if unknown or not (getattr(config, key) or (key == "methods" and given)):
            raise UserError(f"{key}={list(getattr(config, key))}: give one or more of {', '.join(known)}.")
    for key, bound in (("seeds", 1), ("seed", 0), ("limit", 2), ("probe_lr", 0)):
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

    masks: by method, of a few images, as classes; of the first seed and the last refinement.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, dict[str, Pairs]] = field(default_factory=dict)
    masks: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)


def _judge(
    config: SegmentsConfig,
    extractor: Extractor,
    train: LabelledImages | None,
    test: LabelledImages,
    given: dict[str, Segmenter],
    progress: Report,
) -> Found:
    """given: models that are judged as they are, beside those that are learned from train, if any."""
    ways = [_judged(way, config, extractor, test, progress) for way in config.judge]
    found = Found({"always the commonest class": ways[0].commonest()})
    found.pairs["features"] = ways[0].pairs(None, config.seed)
    found.figures["features"] = precisions(found.pairs["features"])
    scores: dict[str, list[dict[str, float]]] = {}
    for seed, title, model in _models(config, extractor, train, len(test.classes), given, progress):
        model, named = model.to(extractor.device).eval(), model.bias is not None
        for judged, refine in product(ways, config.refine):
            refinement = None
            if refine != "none":
                refinement = Refinement(refine, config.refine_size, config.sharpness, config.crf)
            confusion, masks = judged.confusion(model, refinement, progress, f"{title}, seed {seed}")
            way = judged.way if len(ways) > 1 else ""
            scores.setdefault(_titled(way, title, refine), []).append(judged.scores(confusion, named))
            if seed == config.seed and refine == config.refine[-1] and judged is ways[0]:
                found.masks[_titled("", title, refine)] = as_classes(masks, confusion, named)
        if model.head is not None and not named:
            pairs = ways[0].pairs(model, config.seed)
            found.pairs.setdefault(f"codes of {title}", pairs)
            scores.setdefault(f"codes of {title}", []).append(precisions(pairs))
    found.figures |= {title: over_runs(each) for title, each in scores.items()}
    return found


def _models(
    config: SegmentsConfig,
    extractor: Extractor,
    train: LabelledImages | None,
    classes: int,
    given: dict[str, Segmenter],
    progress: Report,
) -> Iterator[tuple[int, str, Segmenter]]:
    """Yield seed, title and model of all that is judged: what was given, and what each method learns from each seed."""
    yield from ((config.seed, title, model) for title, model in given.items())
    if train is None:
        return
    source = learned_images(train, config.crops, config.inputs, extractor.frame)
    kept, device = _features(config, extractor, source, progress), str(extractor.device)

    def probe(title: str, model: Segmenter | None, seed: int) -> tuple[int, str, Segmenter]:
        batch = min(config.batch_size, len(kept))
        steps = config.epochs * (len(kept) // batch) if config.steps is None else config.steps
        head = None if model is None else model.head
        made = learn_probe(kept, source, extractor.frame, head, steps, batch, config.probe_lr, seed, device, progress)
        return seed, f"linear probe of {title}", made

    linear = "linear" in config.methods
    coded = {title: model for title, model in given.items() if model.head is not None and model.bias is None}
    for seed in range(config.seed, config.seed + config.seeds):
        for method in (each for each in config.methods if each != "linear"):
            model = learn(kept, _segment(config, method, seed, classes), device, progress).model
            yield seed, method, model
            if linear and model.head is not None:
                yield probe(method, model, seed)
        if linear:
            yield probe("features", None, seed)
            yield from (probe(title, model, seed) for title, model in coded.items())


def _judged(way: str, config: SegmentsConfig, extractor: Extractor, test: LabelledImages, progress: Report) -> Judged:
    if way == "honest":
        return Judged(way, test, _features(config, extractor, test, progress))
    squares, frame = CentreSquares(test, SQUARE), extractor.frame
    # The squares are shown at their own size, but for a backbone that takes no other than its own.
    shown = Extractor(
        extractor.backbone, SQUARE, str(extractor.device), config.precision, extractor.layers, extractor.facet
    )
    check_square(SQUARE, frame, "judge=official")
    mirrored = _features(config, shown, test, progress, CentreSource(test.source, SQUARE, mirrored=True))
    return Judged(way, squares, _features(config, shown, squares, progress), mirrored)


def _titled(way: str, method: str, refine: str) -> str:
    return f"{way}: ".removeprefix(": ") + method + ("" if refine == "none" else f", {refine}")


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

    chosen, store = list(map(int, indices)), Cache.of(config.cache, config.cache_size)
    kept = features_of(
        source or labelled.source,
        extractor,
        chosen,
        config.workers,
        store,
        spill=store.folder if store else None,
        advance=advance,
        keep=config.keep_size,
    )
    if store is not None and store.trouble:
        tell(f"Not all features are kept for other runs: {store.trouble}.")
    if kept.unreadable:
        name, reason = kept.unreadable[0]
        raise UserError(f"{name} of {config.data} cannot be read ({reason}): mend the set before it is judged on.")
    return kept
