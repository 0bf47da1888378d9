"""`densessl segment`: from pictures to masks, by way of a backbone's features, without a label."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from densessl.config import nearest, save
from densessl.data.sources import Unreadable, open_source
from densessl.data.sources.places import absolute, check_apart
from densessl.errors import UserError
from densessl.files import output_folder, remove_leftovers
from densessl.hardware import Hardware
from densessl.progress import Progress, Report
from densessl.segmentation.colour import ColourBackbone
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.diagnosis import read_verdict, write_diagnosis
from densessl.segmentation.features import Extractor, Features, extract, weights_hash
from densessl.segmentation.finish import finish
from densessl.segmentation.masks import MaskRun, unreadable_before
from densessl.segmentation.model import Saved, Segmenter, load_model, save_model
from densessl.segmentation.names import Classes, read_names
from densessl.segmentation.resume import State, check_same, model_hash, model_of
from densessl.segmentation.stopping import Stop, terminable
from densessl.segmentation.train import learn
from densessl.segmentation.writer import MaskWriter, stems

MODEL = "model.safetensors"


@dataclass(frozen=True)
class Summary:
    """What a run did.

    pictures: that have masks, of which `before` had all of theirs already; unreadable: pictures that got none (listed
    in `unreadable.txt`). masks: the folder of the masks. names, shares: per class, of all pixels.
    learned: whether the segments were learned here; seconds: of the whole run.
    verdict: on STEGO's weights and shifts, where it was trained in this folder.
    """

    folder: Path
    backbone: str
    method: str
    pictures: int
    before: int
    unreadable: int
    masks: str
    names: list[str]
    shares: list[float]
    learned: bool
    seconds: float
    verdict: str = ""

    def __str__(self) -> str:
        how = f"{self.method} on the features of {self.backbone}" if self.learned else "a model learned before"
        there = f" ({self.before} of them there before)" if self.before else ""
        one = self.unreadable == 1
        skipped = (
            f"{self.unreadable} {'picture' if one else 'pictures'} could not be read and {'has' if one else 'have'} "
            f"none: see {self.folder / 'unreadable.txt'}.\n"
        )
        shares = ", ".join(f"{name}: {share:.1%}" for name, share in zip(self.names, self.shares, strict=True))
        verdict = f"{self.verdict} See {self.folder / 'correspondences.png'}.\n" if self.verdict else ""
        named = "class" if self.masks == "classes" else "segment"
        return (
            f"{self.pictures} {'mask' if self.pictures == 1 else 'masks'}{there} by {how} in {self.seconds:.0f} s.\n"
            f"{skipped if self.unreadable else ''}"
            f"Share of the pixels per {named}: {shares}\n{verdict}"
            f"Masks: {self.folder / self.masks}\nPictures to look at: {self.folder / 'overlays'}\n"
            f"To name and merge segments: {self.folder / 'names.txt'}"
        )


def segment(config: SegmentConfig, progress: Report | None = None) -> Summary:
    """Learn segments from the pictures (unless `config.model` is given) and write masks for all of them.

    Called again alike, it goes on where it was stopped: a model that was learned is not learned again, and a mask that
    is there is not written again, even if the picture was changed since. Without a backbone the fixed colours and
    gradients are used. Raises `UserError` for what the user can mend, `RunStopped` when a signal ended the run.
    """
    begun = time.monotonic()
    check(config)
    progress = progress or Progress()
    source = open_source(config.data, config.split)
    if len(source) < 1:
        raise UserError(f"There are no pictures in {config.data}.")
    config, folder = _placed(config), Path(config.out).expanduser()
    check_apart(config.data, folder)
    model, saved, state = _found(config, folder)
    classes = _names(config, folder, config.classes if model is None else model.classes)
    load = cache(partial(extractor_of, config, saved))
    if model is None or state is None:
        load()  # what is wrong with it is said before anything is written
    state = _begin(config, folder, state)
    unreadable, kept, learned, before = Unreadable(), Features(), model is None, unreadable_before(folder)
    if model is None:
        with terminable("SIGTERM ended the run before it had learned its segments; the same command begins anew."):
            model, saved, kept = _learn(source, *load(), config, folder, unreadable, progress)
    if state.model != model_hash(model, saved) or not (folder / MODEL).exists():
        save_model(folder / MODEL, model, saved)
    writer = MaskWriter(folder, classes, config.probabilities)
    names = [source.name(index) for index in range(len(source))]
    files = dict(zip(names, stems(names), strict=True))
    state.follow(writer, model_hash(model, saved), files)
    with Stop().listening() as stop:
        spectral = saved.config.get("method") == "spectral"
        run = MaskRun(source, files, writer, config, unreadable, progress, stop, spectral)
        there = len(run.done())
        run.show()
        run.write(lambda: load()[0], model, kept, before)
        tally, pictures = finish(run)
    colours = "colours and gradients (the default without --backbone)"
    return Summary(
        folder=folder,
        backbone=colours if saved.backbone == "colour" else saved.backbone,
        method=config.method,
        pictures=pictures,
        before=there,
        unreadable=len(source) - pictures,
        masks="classes" if classes.given else "labels",
        names=classes.class_names if classes.given else [str(index) for index in range(model.classes)],
        shares=tally.class_shares.tolist(),
        learned=learned,
        seconds=time.monotonic() - begun,
        verdict=read_verdict(folder),
    )


def _placed(config: SegmentConfig) -> SegmentConfig:
    """With paths that stay right when the saved config is run from another folder."""
    paths = {
        key: str(absolute(value))
        for key in ("model", "backbone", "names", "cache")
        if (value := getattr(config, key)) is not None and Path(value).expanduser().exists() and value != "colour"
    }
    return dataclasses.replace(config, data=absolute(config.data), **paths)


def _found(config: SegmentConfig, folder: Path) -> tuple[Segmenter | None, Saved | None, State | None]:
    """The model that was given or is in the folder already, and what else an earlier start left there."""
    given = (None, None) if config.model is None else load_model(config.model)
    state = State.read(folder)
    if state is None:
        return *given, None
    check_same(config, folder, state, given)
    return *(given if given[0] else model_of(folder, state)), state


def _names(config: SegmentConfig, folder: Path, segments: int) -> Classes:
    own = folder / "names.txt"
    if config.names is None and not own.exists():
        return Classes.unnamed(segments)
    return read_names(config.names or own, segments)


def _begin(config: SegmentConfig, folder: Path, state: State | None) -> State:
    """Make the folder ready; `config.yaml` is that of the command which learned the model, where one did."""
    output_folder(folder)
    remove_leftovers(folder)
    if state is None or config.model is None:
        save(config, folder / "config.yaml")
    if state is None:
        state = State()
        state.write(folder)
    return state


def _learn(
    source,
    extractor: Extractor,
    spec: str,
    config: SegmentConfig,
    folder: Path,
    unreadable: Unreadable,
    progress: Report,
) -> tuple[Segmenter, Saved, Features]:
    kept = _features(source, extractor, config, folder, progress)
    for name, reason in kept.unreadable:
        unreadable.add(name, reason)
    _check_readable(kept, unreadable, config, folder)
    learned = learn(kept, config, str(extractor.device), progress)
    if learned.trainer is not None:
        write_diagnosis(folder, learned.trainer)
    size = extractor.frame.image_size
    return learned.model, Saved(spec, weights_hash(extractor.backbone), size, dataclasses.asdict(config)), kept


def check(config: SegmentConfig) -> None:
    """Raise `UserError` for a value that cannot be."""
    _device(config.devices)
    choices = {
        "method": ("stego", "kmeans", "spectral"),
        "precision": ("32", "bf16"),
        "refine": ("crf", "guided", "none"),
    }
    for key, known in choices.items():
        given = str(getattr(config, key))
        if given not in known:
            raise UserError(f"{key}={given} is not one of: {', '.join(known)}{nearest(given, known)}")
    if config.stego.clusters not in ("kmeans", "probe"):
        raise UserError(f"stego.clusters={config.stego.clusters} is not one of: kmeans, probe.")
    if config.classes < 2 and config.model is None:
        raise UserError(f"classes={config.classes} is not a segmentation: give at least 2 with --classes.")
    if config.classes > 65535:
        raise UserError(f"classes={config.classes} does not fit a 16-bit mask: give at most 65535.")
    least = {"batch_size": 1, "learn_from": 1, "epochs": 1, "steps": 0, "workers": 0, "lr": 0, "image_size": 1}
    least |= {"refine_size": 1, "sharpness": 0, "crops": 0}
    _check_least(config, least, "")
    stego = {"dim": 1, "feature_samples": 1, "neg_samples": 0, "num_neighbors": 0, "dropout": 0, "cluster_lr": 0}
    _check_least(config.stego, stego, "stego.")
    if config.stego.dropout >= 1:
        raise UserError(f"stego.dropout={config.stego.dropout} drops everything: give less than 1.")


def _check_least(section: object, least: dict[str, float], prefix: str) -> None:
    for key, bound in least.items():
        value = getattr(section, key)
        if value is not None and value < bound:
            raise UserError(f"{prefix}{key}={value} is too small: give at least {bound}.")


def _device(devices: str) -> str:
    """The torch device of the one process; `UserError` for what is not there, and for more than one."""
    hardware = Hardware.of(devices)
    if hardware.processes > 1 and str(devices) not in ("auto", "gpu"):
        raise UserError(
            f"devices={devices}, but segments are found by one process: give {hardware.accelerator}, or leave it out."
        )
    return "cuda" if hardware.accelerator == "gpu" else "cpu"


def extractor_of(config: SegmentConfig, saved: Saved | None = None) -> tuple[Extractor, str]:
    """The frozen backbone and the spec by which a later run finds it. With a model it must be the model's own."""
    spec = config.backbone or (saved.backbone if saved else "colour")
    try:
        # As the model's run loaded it: positions and stems depend on the size that was asked for.
        backbone = _backbone(spec, config.image_size or (saved.config.get("image_size") if saved else None))
    except UserError as error:
        if saved is None or config.backbone:
            raise
        raise UserError(
            f"{config.model or config.out} was trained on the backbone {spec}, which cannot be loaded: {error} "
            "Say where it is now with --backbone."
        ) from None
    if saved is not None and weights_hash(backbone) != saved.weights:
        raise UserError(
            f"{config.model or config.out} was trained on another backbone than {spec}: its own was {saved.backbone}, "
            "with other weights. Give that one with --backbone, or learn anew in another folder, without --model."
        )
    layer = config.layer if saved is None else saved.layer
    count = len(backbone.layer_channels)
    if not -count <= layer < count:
        known = f"{count} layers" if count > 1 else "1 layer"
        raise UserError(f"layer={layer}, but the backbone {spec} has {known}: give one of {-count} to {count - 1}.")
    path = Path(spec).expanduser()
    spec = str(path.resolve()) if path.exists() and spec != "colour" else spec
    image_size = config.image_size or (saved.image_size if saved else None)
    return Extractor(backbone, image_size, _device(config.devices), config.precision, layer), spec


def _backbone(spec: str, image_size: int | None) -> nn.Module:
    if spec == "colour":
        return ColourBackbone()
    from densessl.backbones import load_backbone

    return load_backbone(spec, image_size)


def _features(source, extractor: Extractor, config: SegmentConfig, folder: Path, progress: Report) -> Features:
    """Features of all pictures, or of `learn_from` of them drawn by the seed."""
    count = min(config.learn_from, len(source))
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(config.seed))
    indices = sorted(order[:count].tolist())

    def advance(done: int) -> None:
        progress("Reading features", done, count, "")

    return extract(source, extractor, indices, config.workers, config.cache, spill=folder, advance=advance)


def _check_readable(kept: Features, unreadable: Unreadable, config: SegmentConfig, folder: Path) -> None:
    total = len(kept) + len(kept.unreadable)
    if kept.unreadable:
        unreadable.write(folder)
    unreadable.check(total, config.unreadable)
    if not len(kept):
        raise UserError(f"None of the {total} pictures in {config.data} can be read: see {folder / 'unreadable.txt'}.")
