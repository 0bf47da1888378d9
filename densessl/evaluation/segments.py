"""Segments found without labels, held against label maps: one matching over the whole set, for several seeds.

The segments are learned from `learn_split` without its labels and written for `split`. Judged are two ways, beside each
other. "honest": whole pictures at their own size; every labelled pixel counts, every class of the set, and every
segment: those that no class is matched to are wrong, and a class without a pixel in the labels has an IoU of 0, whether
it is predicted or not (over fewer images mIoU can only fall by that). "official", as STEGO's code has it (eb4d6b5): the
central square at 320 px, codes averaged with those of the mirrored picture; as many segments as there are classes are
matched to them, pixels of the others are left out, and so are classes that are neither in the labels nor predicted.
Nothing is chosen by labels: the last step is judged in both (the official code keeps the step that scores best on the
labels).

Beside mIoU and accuracy stands how well the cosine of features, and of what was learned from them, tells pairs of
places of one class from others (`cooccurrence`). The method "linear" alone sees labels, those of `learn_split`: it is
the paper's linear probe (`probe`), on features and on codes, judged without any matching.

A file that holds segments already, such as a released checkpoint of STEGO, is judged as it is, by its clusters and by
its linear probe; methods that are asked for are learned beside it, on the features of its backbone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from densessl.config import nearest
from densessl.data.sources.base import digest
from densessl.errors import UserError
from densessl.evaluation.candidates import Candidate, Learner, segment_settings
from densessl.evaluation.cooccurrence import Pairs
from densessl.evaluation.judged import Judged, mean_of_classes, over_runs, precisions
from densessl.evaluation.labelled import (
    check_square,
    chosen,
    counted,
    features_of,
    learned_features,
    learned_images,
    open_sets,
)
from densessl.evaluation.panels import curves_picture, curves_table, panel_picture, spread
from densessl.evaluation.record import surroundings
from densessl.evaluation.segments_config import SegmentsConfig, check_protocol
from densessl.evaluation.shelf import Shelf, kept_masks, kept_pairs
from densessl.evaluation.tables import COMMONEST
from densessl.evaluation.twins import twins
from densessl.files import write_bytes, write_text
from densessl.progress import Progress, Report, tell
from densessl.segmentation.features.cache import Cache
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.model import Saved, Segmenter
from densessl.segmentation.predict import Refinement
from densessl.segmentation.refinement.specks import least_pixels
from densessl.segmentation.run import extractor_of
from densessl.segmentation.sets import CentreSource, CentreSquares, LabelledImages
from densessl.segmentation.stego.released import is_model, open_models

PICTURED = 4  # images of the panel
SQUARE = 320  # pixels of a side of what the official way judges
RULES = {
    "honest": "whole pictures, one Hungarian matching per seed over all pixels with a label, every class of the set (0 "
    "for one without labelled pixels) and every segment counted, the last step",
    "official": f"central squares at {SQUARE} px, codes averaged with those of the mirrored picture, one Hungarian "
    "matching per seed of the first segments, as many as classes, to these, pixels of other segments left out, classes "
    "neither labelled nor predicted left out, the last step",
}
PROBED = (
    "the linear probes learn from the labels of the learned split, by Adam at probe_lr for as many steps as the head"
)
OTHER_INPUTS = (
    "The official way judges squares whose pixels are copies, and what was learned here saw whole pictures resized by "
    "area: inputs=square learns from such squares too."
)
SAME = "What is learned from ({}) and what is judged ({}) are the same images:"
UNNAMED = "The linear probe of the file was left out: it knows other classes than the set has."


def evaluate_segments(config: SegmentsConfig, progress: Report | None = None) -> dict[str, Any]:
    """Judge a backbone, or the segments of a file; returns its record, for `write_record` and `describe`.

    Raises `UserError` when label maps are missing or unfit, and for whatever else the user can mend.
    """
    shelf = Shelf(Cache.of(config.cache, config.cache_size))
    if shelf.cache is not None:
        shelf.cache.clean()
    with shelf.interruptible():
        return _evaluate(config, shelf, progress or Progress())


def _evaluate(config: SegmentsConfig, shelf: Shelf, progress: Report) -> dict[str, Any]:
    begun = time.monotonic()
    given = open_models(config.backbone) if is_model(config.backbone) else {}
    if config.methods is None:
        config = dataclasses.replace(config, methods=[] if given else ["kmeans", "stego"])
    check_protocol(config, bool(given))
    train, test = open_sets(config, progress)
    models, notes = _fitting(given, test)
    same = train is not None and train.fingerprint() == test.fingerprint()
    if same and "linear" in config.methods:
        raise UserError(
            SAME.format(config.learn_split, config.split)
            + " a linear probe would be told what it is asked. Leave linear out, or name another part."
        )
    for note in test.notes:
        tell(note)
    notes += test.notes
    if same and config.methods:
        notes.append(SAME.format(config.learn_split, config.split) + " segments were learned from what is judged.")
    extractor, spec = _extractor(config, given, len(test.classes))
    _check_shown(config, extractor)
    _pictured(config, test)
    found = _judge(config, extractor, train, test, models, shelf, progress)
    others, baselines = {}, {}
    if config.baselines:
        others = twins(extractor, train.source, chosen(config, train), config.seed, progress)
        for name, other in others.items():
            baselines[name] = _judge(config, other.extractor, train, test, {}, shelf, progress)
    if shelf.found:
        tell(f"What an earlier run had finished was taken from {shelf.cache.folder}: {shelf.found} parts of this one.")
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
    if "ap_across" not in found.figures["features"]:
        notes.append("A single image has no pairs with others: there are no figures across images.")
    if config.methods and config.inputs == "whole" and "official" in config.judge:
        notes.append(OTHER_INPUTS)
    if notes:
        record["notes"] = notes
    record["per_class"] = found.per_class
    for name, each in baselines.items():
        record["per_class"] |= {f"{name}: {title}": ious for title, ious in each.per_class.items()}
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
    models = {title: Candidate(title, model, saved.spectral) for title, (model, saved) in given.items()}
    for title, (model, saved) in given.items():
        same = model.classes == len(test.classes) and saved.names in (None, tuple(test.classes))
        if model.bias is not None and not same:
            del models[title]
    if given and not models:
        raise UserError(f"{UNNAMED} There is nothing else in it.")
    return models, [UNNAMED] if len(models) < len(given) else []


@dataclass
class Found:
    """What was found of one backbone: figures by name, pairs of places by features and kind, masks to look at.

    judged: the images, of the first way. masks: by method, of a few of them, as classes; of the first seed and the last
        refinement. per_class: by name of the figures and by class, the mean IoU over the seeds.
    """

    judged: LabelledImages
    figures: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, dict[str, Pairs]] = field(default_factory=dict)
    masks: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)


def _judge(
    config: SegmentsConfig,
    extractor: Extractor,
    train: LabelledImages | None,
    test: LabelledImages,
    given: dict[str, Candidate],
    shelf: Shelf,
    progress: Report,
) -> Found:
    """given: models that are judged as they are, beside those that are learned from train, if any."""
    ways = [_judged(way, config, extractor, test, shelf, progress) for way in config.judge]
    found = Found(ways[0].labelled, {COMMONEST: ways[0].commonest()})
    report = partial(progress, "Pairs of places, features")
    found.pairs["features"] = kept_pairs(shelf, ways[0], None, config.seed, report)
    found.figures["features"] = precisions(found.pairs["features"])
    refinements = {each: _refinement(config, each) for each in config.refine}
    pictured = _pictured(config, test)
    scores: dict[str, list[dict[str, float]]] = {}
    ious: dict[str, list[np.ndarray]] = {}
    for seed, candidates in _candidates(config, extractor, train, given, shelf, progress):
        for judged in ways:
            stage = f"Masks, seed {seed}" + (f", {judged.way}" if len(ways) > 1 else "")
            report = partial(progress, stage)
            shown = pictured if seed == config.runs[0] and judged is ways[0] else []
            masks = kept_masks(shelf, judged, candidates, refinements, shown, report)
            for each, refine in product(candidates, refinements):
                made, title = masks[each.title, refine], _titled(each.title, refine)
                way = f"{judged.way}: " if len(ways) > 1 else ""
                scores.setdefault(way + title, []).append(judged.scores(made.confusion, each.named))
                ious.setdefault(way + title, []).append(judged.per_class(made.confusion, each.named))
                if seed == config.runs[0] and refine == config.refine[-1] and judged is ways[0]:
                    found.masks[title] = made.as_classes(each.named)
        for each in (each for each in candidates if each.coded):
            stage = f"Pairs of places, codes of {each.title}, seed {seed}"
            pairs = kept_pairs(shelf, ways[0], each, config.seed, partial(progress, stage))
            found.pairs.setdefault(f"codes of {each.title}", pairs)
            scores.setdefault(f"codes of {each.title}", []).append(precisions(pairs))
    found.figures |= {title: over_runs(each) for title, each in scores.items()}
    found.per_class = {title: mean_of_classes(each, test.classes) for title, each in ious.items()}
    return found


def _candidates(
    config: SegmentsConfig,
    extractor: Extractor,
    train: LabelledImages | None,
    given: dict[str, Candidate],
    shelf: Shelf,
    progress: Report,
) -> Iterator[tuple[int, list[Candidate]]]:
    """Yield each seed with all that is judged of it; what was given is judged once, with the first."""
    first = list(given.values())
    if not config.methods:
        yield config.runs[0], _ready(first, extractor)
        return
    source = learned_images(train, config.crops, config.inputs, extractor.frame)
    learned = learned_features(config, extractor, source, shelf, progress)
    learner = Learner(config, extractor, *learned, source, shelf, progress)
    for seed in config.runs:
        yield seed, _ready([*(first if seed == config.runs[0] else []), *learner.learn(seed, given)], extractor)


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
    return spread(images, PICTURED)


def _judged(
    way: str, config: SegmentsConfig, extractor: Extractor, test: LabelledImages, shelf: Shelf, progress: Report
) -> Judged:
    area = config.least_area
    specks, least = [area] if area else [], partial(least_pixels, area, frame=extractor.frame)
    if way == "honest":
        features, key = features_of(config, extractor, test, shelf, progress)
        return Judged(way, test, features, key=digest([way, key, test.fingerprint(), *specks]), least=least)
    squares = CentreSquares(test, SQUARE)
    # The squares are shown at their own size, but for a backbone that takes no other than its own.
    device, taken = str(extractor.device), (extractor.layers, extractor.facet)
    shown = Extractor(extractor.backbone, SQUARE, device, config.precision, *taken, window=extractor.window)
    features, key = features_of(config, shown, squares, shelf, progress)
    turned = CentreSource(test.source, SQUARE, mirrored=True)
    mirrored, its_key = features_of(config, shown, test, shelf, progress, turned)
    key = digest([way, key, its_key, squares.fingerprint(), *specks])
    return Judged(way, squares, features, mirrored, key, least)


def _titled(title: str, refine: str) -> str:
    return title if refine == "none" else f"{title}, {refine}"


def _draw(folder: Path, found: Found, baselines: dict[str, Found], indices: list[int]) -> None:
    judged = found.judged
    pairs = {**found.pairs, **{f"{name}, features": each.pairs["features"] for name, each in baselines.items()}}
    write_bytes(folder / "curves.png", curves_picture(pairs))
    write_text(folder / "curves.json", json.dumps(curves_table(pairs), indent=1))
    columns = {f"{name}: {method}": masks for name, each in baselines.items() for method, masks in each.masks.items()}
    columns |= found.masks
    rows = [
        [judged.source.read(index), judged.labels(index), *(masks[index] for masks in columns.values())]
        for index in indices
    ]
    panel = panel_picture(rows, ["image", "labels", *columns], judged.classes, judged.colours)
    write_bytes(folder / "panel.png", panel)
