"""`densessl segment`: from pictures to masks, by way of a backbone's features, without a label."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from densessl.config import nearest, save
from densessl.data.sources import Unreadable, open_source
from densessl.errors import UserError
from densessl.files import output_folder, remove_leftovers
from densessl.hardware import Hardware
from densessl.progress import Progress, Report
from densessl.segmentation import transform
from densessl.segmentation.colour import ColourBackbone
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.features import Extractor, Features, extract, weights_hash
from densessl.segmentation.model import Saved, Segmenter, load_model, save_model
from densessl.segmentation.predict import MaskWriter, Refinement, mask, stems
from densessl.segmentation.train import learn


@dataclass(frozen=True)
class Summary:
    """What a run did.

    pictures: masks written; unreadable: pictures that got none (listed in `unreadable.txt`).
    shares: share of all pixels, per class.
    learned: whether the segments were learned here; seconds: of the whole run.
    """

    folder: Path
    backbone: str
    method: str
    pictures: int
    unreadable: int
    shares: list[float]
    learned: bool
    seconds: float

    def __str__(self) -> str:
        how = f"{self.method} on the features of {self.backbone}" if self.learned else "a model learned before"
        one = self.unreadable == 1
        skipped = (
            f"{self.unreadable} {'picture' if one else 'pictures'} could not be read and {'has' if one else 'have'} "
            f"none: see {self.folder / 'unreadable.txt'}.\n"
        )
        shares = ", ".join(f"{index}: {share:.1%}" for index, share in enumerate(self.shares))
        return (
            f"{self.pictures} {'mask' if self.pictures == 1 else 'masks'} by {how} in {self.seconds:.0f} s.\n"
            f"{skipped if self.unreadable else ''}"
            f"Share of the pixels per segment: {shares}\n"
            f"Masks: {self.folder / 'labels'}\nPictures to look at: {self.folder / 'overlays'}"
        )


def segment(config: SegmentConfig, progress: Report | None = None) -> Summary:
    """Learn segments from the pictures (unless `config.model` is given) and write masks for all of them.

    Without a backbone the fixed colours and gradients are used. Raises `UserError` for what the user can mend.
    """
    begun = time.monotonic()
    check(config)
    progress = progress or Progress()
    source = open_source(config.data, config.split)
    if len(source) < 1:
        raise UserError(f"There are no pictures in {config.data}.")
    model, saved = (None, None) if config.model is None else load_model(config.model)
    extractor, spec = extractor_of(config, saved)
    folder = output_folder(config.out)
    remove_leftovers(folder)
    save(config, folder / "config.yaml")
    unreadable = Unreadable()
    kept = Features()
    if model is None:
        kept = _features(source, extractor, config, folder, progress)
        for name, reason in kept.unreadable:
            unreadable.add(name, reason)
        _check_readable(kept, unreadable, config, folder)
        model = learn(kept, config, str(extractor.device), progress).model
        saved = Saved(spec, weights_hash(extractor.backbone), extractor.frame.image_size, dataclasses.asdict(config))
    model = model.to(extractor.device).eval()
    writer = _write_masks(source, extractor, model, kept, config, folder, unreadable, progress)
    save_model(folder / "model.safetensors", model, saved)
    total = max(1, int(writer.pixels.sum()))
    return Summary(
        folder=folder,
        backbone="colours and gradients (the default without --backbone)" if spec == "colour" else spec,
        method=config.method,
        pictures=len(writer.files),
        unreadable=len(source) - len(writer.files),
        shares=[int(count) / total for count in writer.pixels],
        learned=config.model is None,
        seconds=time.monotonic() - begun,
    )


def check(config: SegmentConfig) -> None:
    """Raise `UserError` for a value that cannot be."""
    _device(config.devices)
    choices = {"method": ("stego", "kmeans"), "precision": ("32", "bf16"), "refine": ("crf", "guided", "none")}
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
    least |= {"refine_size": 1, "sharpness": 0}
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
            f"{config.model} was trained on the backbone {spec}, which cannot be loaded: {error} "
            "Say where it is now with --backbone."
        ) from None
    if saved is not None and weights_hash(backbone) != saved.weights:
        raise UserError(
            f"{config.model} was trained on another backbone than {spec}: its own was {saved.backbone}, with other "
            "weights. Give that one with --backbone, or learn anew without --model."
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


def _write_masks(
    source,
    extractor: Extractor,
    model: Segmenter,
    kept: Features,
    config: SegmentConfig,
    folder: Path,
    unreadable: Unreadable,
    progress: Report,
) -> MaskWriter:
    """Masks of all pictures; features that are kept are used, others computed."""
    names = [source.name(index) for index in range(len(source))]
    files = stems(names)
    row_of = {index: row for row, index in enumerate(kept.indices)}
    known = {name for name, _ in kept.unreadable}
    writer = MaskWriter(folder, model.classes)
    refinement = None
    if config.refine != "none":
        refinement = Refinement(config.refine, config.refine_size, config.sharpness, config.crf)
    loader = transform.pictures(source, range(len(source)), extractor.frame, config.workers, originals=True)
    for done, picture in enumerate(loader, start=1):
        name = names[picture.index]
        if picture.image is None:
            if name not in known:
                unreadable.add(name, picture.reason)
        else:
            shape, tokens = _tokens(extractor, kept, row_of.get(picture.index), picture)
            labels = mask(model, tokens, shape, picture.original.shape[:2], picture.original, refinement)
            writer.write(name, files[picture.index], picture.original, labels)
        progress("Writing masks", done, len(names), "")
    if len(writer.files) < len(names):
        unreadable.write(folder)
        unreadable.check(len(names), config.unreadable)
    if not writer.files:
        raise UserError(f"None of the {len(names)} pictures can be read: see {folder / 'unreadable.txt'}.")
    writer.finish()
    return writer


def _tokens(
    extractor: Extractor, kept: Features, row: int | None, picture: transform.Picture
) -> tuple[tuple[int, int], torch.Tensor]:
    if row is not None:
        return kept.shapes[row], kept.tokens(row)
    map_ = extractor([picture.image])[0]
    return tuple(map_.shape[1:]), map_.flatten(1).T
