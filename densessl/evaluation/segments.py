"""Segments found without labels, held against label maps: one matching over the whole set, for several seeds.

The segments are learned from `learn_split` without its labels and written for `split`. Judged are two ways, beside each
other. "honest": whole pictures at their own size; every labelled pixel counts, every class of the set, and every
segment: those that no class is matched to are wrong, and a class without a pixel in the labels has an IoU of 0, whether
it is predicted or not (over fewer images mIoU can only fall by that). "official", as STEGO's code has it (eb4d6b5): the
central square at 320 px, codes averaged with those of the mirrored picture; pixels of segments without a class are left
out, and so are classes that are neither in the labels nor predicted. Nothing is chosen by labels: the last step is
judged in both (the official code keeps the step that scores best on the labels).

Beside mIoU and accuracy stands how well the cosine of features, and of what was learned from them, tells pairs of
places of one class from others (`cooccurrence`). The method "linear" alone sees labels, those of `learn_split`: it is
the paper's linear probe (`probe`), on features and on codes, judged without any matching.

A file that holds segments already, such as a released checkpoint of STEGO, is judged as it is, by its clusters and by
its linear probe; methods that are asked for are learned beside it, on the features of its backbone.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import MISSING

from densessl.config import nearest
from densessl.errors import UserError
from densessl.evaluation.candidates import Candidate, Learner, segment_settings
from densessl.evaluation.cooccurrence import Pairs
from densessl.evaluation.judged import Judged, over_runs, precisions
from densessl.evaluation.labelled import (
    check_square,
    chosen,
    counted,
    features_of,
    learned_features,
    learned_images,
    open_sets,
)
from densessl.evaluation.panels import curves_picture, panel_picture
from densessl.evaluation.record import surroundings
from densessl.evaluation.twins import twins
from densessl.files import write_bytes
from densessl.progress import Progress, Report, tell
from densessl.segmentation.config import SegmentConfig, StegoConfig
from densessl.segmentation.crf import CRFConfig
from densessl.segmentation.extractor import Extractor
from densessl.segmentation.model import Saved, Segmenter
from densessl.segmentation.predict import Refinement
from densessl.segmentation.released import is_model, open_models
from densessl.segmentation.run import extractor_of
from densessl.segmentation.sets import CentreSource, CentreSquares, LabelledImages

PICTURED = 4  # images of the panel
SQUARE = 320  # pixels of a side of what the official way judges
RULES = {
    "honest": "whole pictures, one Hungarian matching per seed over all pixels with a label, every class of the set (0 "
    "for one without labelled pixels) and every segment counted, the last step",
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
    ignore: the value of a `folder:`'s maps that is no class, or several, such as [200,255]; None is 255. Its classes
        are those of its classes.txt or, without one, the values that its maps hold.
    learn_split, split: learned from, and judged. limit: images of each, whole or in crops, drawn by the seed; None for
        all.
    judge: "honest", "official", or both; see above. crops: learn from whole images, or from "five" crops of each, as
        the paper does. inputs: the "whole" of each is learned from, resized by area, or the "square" in its middle, of
        `image_size` pixels that are each a copy of one, which is what the official code learns from and judges.
    methods: of finding segments: kmeans, stego; and linear, a probe that labels teach. None is kmeans and stego, or
        none beside a file of segments. classes: segments; None is as many as the set has classes.
    refine: "none", "crf", "guided", or several of them: masks are judged with each.
    seeds: runs, from `seed` on. baselines: also colours and gradients, and the same network with random weights, whose
        batch norms have the statistics of training pictures.
    pictures: a folder for curves.png, precision over recall of features and codes, and panel.png, images with their
        labels and the first seed's masks; None for none. panel: the names of those images, with or without suffix; None
        is four of them, evenly spread.
    probe_lr: Adam's, for linear. The others are those of `densessl segment`.
    """

    backbone: str = MISSING
    data: str = MISSING
    ignore: Any = None
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
    panel: list[str] | None = None
    image_size: int | None = None
    tile: int | None = None
    layers: Any = None
    facet: str = "tokens"
    positions: str | None = None
    window: int = SegmentConfig.window
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
    train, test = open_sets(config, progress)
    models, notes = _fitting(given, test)
    for note in test.notes:
        tell(note)
    notes += test.notes
    extractor, spec = _extractor(config, given, len(test.classes))
    _check_shown(config, extractor)
    _pictured(config, test)
    found = _judge(config, extractor, train, test, models, progress)
    others, baselines = {}, {}
    if config.baselines:
        others = twins(extractor, train.source, chosen(config, train), config.seed, progress)
        baselines = {name: _judge(config, other.extractor, train, test, {}, progress) for name, other in others.items()}
    if config.pictures:
        _draw(Path(config.pictures).expanduser(), found, baselines, _pictured(config, test))
    record = {
        "protocol": "segments",
        "figures": found.figures,
        "backbone": {"spec": spec, "architecture": getattr(extractor.backbone, "architecture", "colour")},
        "data": {
            "data": config.data,
            "learned from": _learned_from(config, train),
            "judged": f"{counted(config, test)} of {config.split}, {len(test.classes)} classes",
        },
        "settings": dataclasses.asdict(config) | _seen_by(extractor),
        "rule": {way: RULES[way] for way in config.judge} | ({"linear": PROBED} if "linear" in config.methods else {}),
        "seed": config.seed,
    }
    if config.methods and config.inputs == "whole" and "official" in config.judge:
        notes.append(OTHER_INPUTS)
    if notes:
        record["notes"] = notes
    if baselines:
        record["baselines"] = {name: each.figures | {"what": others[name].what} for name, each in baselines.items()}
    return record | {"seconds": round(time.monotonic() - begun, 1), **surroundings()}


def _seen_by(extractor: Extractor) -> dict[str, Any]:
    """How features were taken: in the way of a file of segments, or of a backbone that was asked for nothing else."""
    frame = extractor.frame
    return {
        "layers": list(extractor.layers),
        "facet": extractor.facet,
        "window": extractor.window,
        "tile": frame.tile if extractor.tiled else None,
        "image_size": frame.image_size,
    }


def _check_shown(config: SegmentsConfig, extractor: Extractor) -> None:
    """Raise `UserError` where the backbone cannot be shown pictures in the way that is asked for."""
    squares = "official" in config.judge or config.inputs == "square"
    if extractor.tiled and ("linear" in config.methods or squares):
        raise UserError(
            "methods=[linear], inputs=square and judge=[official] take no tile, neither one that is given nor that of "
            "a model: leave one of the two out."
        )
    if "official" in config.judge:
        check_square(SQUARE, extractor.frame, "judge=official")


def _learned_from(config: SegmentsConfig, train: LabelledImages | None) -> str:
    if not config.methods:
        return "nothing: the file has segments"
    but = ", which the linear probes alone are given" if "linear" in config.methods else ""
    crops = ", five crops of each" if config.crops == "five" else ""
    shown = ", the square in the middle, copied pixel by pixel" if config.inputs == "square" else ""
    return f"{counted(config, train)} of {config.learn_split}{crops}{shown}, without their labels{but}"


def _extractor(
    config: SegmentsConfig, given: dict[str, tuple[Segmenter, Saved]], classes: int
) -> tuple[Extractor, str]:
    """The backbone that features are taken from; with a file of segments its own."""
    run = segment_settings(config, "kmeans", config.seed, classes)
    if not given:
        return extractor_of(run)
    _, saved = next(iter(given.values()))
    return extractor_of(dataclasses.replace(run, backbone=None, model=config.backbone), saved)


def _fitting(given: dict[str, tuple[Segmenter, Saved]], test: LabelledImages) -> tuple[dict[str, Candidate], list[str]]:
    """The models that can be judged on a set: clusters on any, a linear probe on its own classes; and what to say."""
    models = {
        title: Candidate(title, model, saved.config.get("method") == "spectral")
        for title, (model, saved) in given.items()
    }
    for title, (model, saved) in given.items():
        same = model.classes == len(test.classes) and saved.names in (None, tuple(test.classes))
        if model.bias is not None and not same:
            del models[title]
    if given and not models:
        raise UserError(f"{UNNAMED} There is nothing else in it.")
    return models, [UNNAMED] if len(models) < len(given) else []


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
    if config.panel is not None and not (config.panel and config.pictures):
        raise UserError("panel names the images that panel.png shows: give one or more, and pictures=FOLDER for it.")
    for key, bound in (("seeds", 1), ("seed", 0), ("limit", 2), ("probe_lr", 0)):
        value = getattr(config, key)
        if value is not None and value < bound:
            raise UserError(f"{key}={value} is too small: give {bound} or more.")


@dataclass
class Found:
    """What was found of one backbone: figures by name, pairs of places by features and kind, masks to look at.

    judged: the images, of the first way. masks: by method, of a few of them, as classes; of the first seed and the last
        refinement.
    """

    judged: LabelledImages
    figures: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, dict[str, Pairs]] = field(default_factory=dict)
    masks: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)


def _judge(
    config: SegmentsConfig,
    extractor: Extractor,
    train: LabelledImages | None,
    test: LabelledImages,
    given: dict[str, Candidate],
    progress: Report,
) -> Found:
    """given: models that are judged as they are, beside those that are learned from train, if any."""
    ways = [_judged(way, config, extractor, test, progress) for way in config.judge]
    found = Found(ways[0].labelled, {"always the commonest class": ways[0].commonest()})
    found.pairs["features"] = ways[0].pairs(None, config.seed, partial(progress, "Pairs of places, features"))
    found.figures["features"] = precisions(found.pairs["features"])
    refinements = {each: _refinement(config, each) for each in config.refine}
    pictured = _pictured(config, test)
    scores: dict[str, list[dict[str, float]]] = {}
    for seed, candidates in _candidates(config, extractor, train, given, progress):
        for judged in ways:
            stage = f"Masks, seed {seed}" + (f", {judged.way}" if len(ways) > 1 else "")
            masks = judged.judge(candidates, refinements, pictured, partial(progress, stage), config.seed)
            for each, refine in product(candidates, refinements):
                made, title = masks[each.title, refine], _titled(each.title, refine)
                way = f"{judged.way}: " if len(ways) > 1 else ""
                scores.setdefault(way + title, []).append(judged.scores(made.confusion, each.named))
                if seed == config.seed and refine == config.refine[-1] and judged is ways[0]:
                    found.masks[title] = made.as_classes(each.named)
        for each in (each for each in candidates if each.coded):
            stage = f"Pairs of places, codes of {each.title}, seed {seed}"
            pairs = ways[0].pairs(each.model, config.seed, partial(progress, stage))
            found.pairs.setdefault(f"codes of {each.title}", pairs)
            scores.setdefault(f"codes of {each.title}", []).append(precisions(pairs))
    found.figures |= {title: over_runs(each) for title, each in scores.items()}
    return found


def _candidates(
    config: SegmentsConfig,
    extractor: Extractor,
    train: LabelledImages | None,
    given: dict[str, Candidate],
    progress: Report,
) -> Iterator[tuple[int, list[Candidate]]]:
    """Yield each seed with all that is judged of it; what was given is judged once, with the first."""
    seeds, first = range(config.seed, config.seed + config.seeds), list(given.values())
    if not config.methods:
        yield config.seed, _ready(first, extractor)
        return
    source = learned_images(train, config.crops, config.inputs, extractor.frame)
    learner = Learner(config, extractor, learned_features(config, extractor, source, progress), source, progress)
    for seed in seeds:
        yield seed, _ready([*(first if seed == config.seed else []), *learner.learn(seed, given)], extractor)


def _ready(candidates: list[Candidate], extractor: Extractor) -> list[Candidate]:
    for each in candidates:
        each.model.to(extractor.device).eval()
    return candidates


def _refinement(config: SegmentsConfig, method: str) -> Refinement | None:
    return None if method == "none" else Refinement(method, config.refine_size, config.sharpness, config.crf)


def _pictured(config: SegmentsConfig, test: LabelledImages) -> list[int]:
    """The numbers of the panel's images; raises `UserError` for a name that none of those that are judged has."""
    images = chosen(config, test)
    if not config.pictures:
        return []
    if config.panel is not None:
        number = {test.source.name(image): image for image in images}
        number |= {os.path.splitext(name)[0]: image for name, image in number.items()}
        for name in config.panel:
            if name not in number:
                raise UserError(
                    f"panel: there is no image {name!r} among the {len(images)} of {config.split} that are judged"
                    f"{nearest(name, number)}"
                )
        return [number[name] for name in config.panel]
    return [images[place] for place in np.linspace(0, len(images) - 1, min(PICTURED, len(images))).astype(int)]


def _judged(way: str, config: SegmentsConfig, extractor: Extractor, test: LabelledImages, progress: Report) -> Judged:
    if way == "honest":
        return Judged(way, test, features_of(config, extractor, test, progress))
    squares = CentreSquares(test, SQUARE)
    # The squares are shown at their own size, but for a backbone that takes no other than its own.
    device, taken = str(extractor.device), (extractor.layers, extractor.facet)
    shown = Extractor(extractor.backbone, SQUARE, device, config.precision, *taken, window=extractor.window)
    mirrored = features_of(config, shown, test, progress, CentreSource(test.source, SQUARE, mirrored=True))
    return Judged(way, squares, features_of(config, shown, squares, progress), mirrored)


def _titled(title: str, refine: str) -> str:
    return title if refine == "none" else f"{title}, {refine}"


def _draw(folder: Path, found: Found, baselines: dict[str, Found], indices: list[int]) -> None:
    judged = found.judged
    pairs = {**found.pairs, **{f"{name}, features": each.pairs["features"] for name, each in baselines.items()}}
    write_bytes(folder / "curves.png", curves_picture(pairs))
    columns = {f"{name}: {method}": masks for name, each in baselines.items() for method, masks in each.masks.items()}
    columns |= found.masks
    rows = [
        [judged.source.read(index), judged.labels(index), *(masks[index] for masks in columns.values())]
        for index in indices
    ]
    panel = panel_picture(rows, ["image", "labels", *columns], judged.classes, judged.colours)
    write_bytes(folder / "panel.png", panel)
