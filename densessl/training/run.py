"""`densessl pretrain`: from a folder of images to a backbone, and back to where a killed run stood.

What surrounds the training (checks, checkpoints, the log, monitors, the folder) is `train`, which `densessl finetune`
and `densessl distill` use as well.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf

from densessl import config as configs
from densessl.backbones import Backbone, create_backbone, load_backbone
from densessl.backbones.tokens import is_transformer
from densessl.data.dataset import ViewDataset
from densessl.data.images import UnreadableImage
from densessl.data.sources import Source, limited, open_source
from densessl.data.sources.places import absolute, check_apart
from densessl.data.sources.tiles import tiled
from densessl.data.views import PatchSides
from densessl.distributed import alone
from densessl.errors import UserError
from densessl.files import claimed, output_folder
from densessl.hardware import Hardware
from densessl.methods import Entry, method
from densessl.progress import Progress
from densessl.training import results
from densessl.training.callbacks import Checkpoints, CountUnreadable, Log, Monitors
from densessl.training.config import FREE, PretrainConfig, resolve
from densessl.training.images import RunImages
from densessl.training.loader import EpochSampler, create_loader
from densessl.training.module import NotFinite, PretrainModule
from densessl.training.optimizer import Schedule
from densessl.training.sync import synchronise

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
Say = Callable[[str], None]


def trainer_settings(config: Any, schedule: Schedule, folder: Path) -> dict[str, Any]:
    """What every Trainer of ours is told: steps by the schedule, and that batches, log and checkpoints are ours."""
    return {
        "precision": PRECISIONS[config.precision],
        "max_steps": schedule.total_steps,
        "max_epochs": -1,
        "accumulate_grad_batches": config.accumulate,
        "use_distributed_sampler": False,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
    }


def say(sentence: str) -> None:
    """Tell the user, from the first process alone."""
    if rank_zero_only.rank == 0:
        print(sentence, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Job:
    """What a command trains.

    create: from its config and the images to an `nn.Module` with the contract of `densessl.methods.registry`, and its
        views; torch's random numbers are seeded. title: of the progress.
    leave: called with the trained module and the run's folder, before the backbone is written and the run counts as
        finished; what it returns is said at the end.
    labelled: whether the labels are part of what is learned, so that a run does not go on with others.
    """

    create: Callable[[Any, Source], torch.nn.Module]
    title: str = "Pretraining"
    leave: Callable[[torch.nn.Module, Path], str | None] = lambda trained, folder: None
    labelled: bool = False


def pretrain(recipe: str | Path, overrides: Sequence[str] = (), say: Say = say) -> Path:
    """Train as the recipe and its overrides say; returns the run's folder, with `backbone.safetensors` in it.

    A run that ended early, in whatever way, goes on from its last checkpoint when it is called again alike; a finished
    one is left alone. say: gets every sentence for the user.
    Raises `UserError` for what the user can mend, `RunStopped` when a signal or a NaN ended the run.
    """
    config = resolve(recipe, overrides)
    return train(config, _source(config), Job(_method), say)


def train(config: PretrainConfig, source: Source, job: Job, say: Say = say) -> Path:
    """Train on the images of `source`, as `pretrain` says; returns the run's folder."""
    hardware = Hardware.of(config.devices, config.nodes)
    _check_batches(config, hardware, source)
    config.data = absolute(config.data)
    folder = Path(config.out).expanduser()
    check_apart(config.data, folder)
    # Of several processes the first speaks for all; the others are its own.
    with claimed(folder) if rank_zero_only.rank == 0 else nullcontext(output_folder(folder)):
        return _train(config, source, job, hardware, folder, say)


def _train(config: PretrainConfig, source: Source, job: Job, hardware: Hardware, folder: Path, say: Say) -> Path:
    _check_same(config, folder, source, job)
    if results.finished(folder):
        say(f"{folder} is finished already. For another run give out=FOLDER.")
        return folder
    module, dataset = _module(config, source, job)
    if rank_zero_only.rank == 0:
        results.begin(config, folder, dataset, job.labelled)
    with quiet():
        _fit(module, dataset, config, hardware, folder, job, say)
    if rank_zero_only.rank == 0:
        with alone():
            left = job.leave(module.method, folder)
            results.finish(module, dataset, folder)
        if (folder / "unreadable.txt").exists():
            say(f"Some images could not be read and were left out: {folder / 'unreadable.txt'} lists them.")
        for sentence in [*([left] if left else []), *getattr(module.method, "remarks", ())]:
            say(sentence)
        say(f"The backbone lies in {folder / 'backbone.safetensors'}, pictures in {folder / 'pictures'}.")
    return folder


def _source(config: PretrainConfig) -> Source:
    """The images, with what else the method has its config ask for."""
    source = open_source(config.data, config.split, config.page_side)
    source = tiled(limited(source, config.limit, config.seed), config.tile)
    section = getattr(config, config.method)
    return section.layered(source) if hasattr(section, "layered") else source


def _check_batches(config: PretrainConfig, hardware: Hardware, source: Source) -> None:
    images = len(source)
    if config.batch_size > images:
        _check_readable(source, config.data)
        raise UserError(
            f"batch_size={config.batch_size} is larger than the data: {config.data} has {images} "
            + (
                f"images. Give batch_size={images} or less."
                if images > 1
                else "image. Give a folder with more of them."
            )
            + "".join(f" {note}" for note in source.notes)
        )
    parts = hardware.world * config.accumulate
    if config.batch_size % parts or config.batch_size // parts < 2:
        fitting = max(2, round(config.batch_size / parts)) * parts
        raise UserError(
            f"batch_size={config.batch_size} cannot be cut into {parts} equal parts of at least 2 images "
            f"({hardware.world} processes, accumulate={config.accumulate}): give batch_size={fitting}."
        )


def _check_readable(source: Source, data: Any) -> None:
    """Of a few images, tell what is wrong with them before their number is found too small."""
    reasons = []
    for index in range(min(3, len(source))):
        try:
            source.read(index)
        except UnreadableImage as error:
            reasons.append(f"{source.name(index)}: {error}")
    if len(reasons) == min(3, len(source)):
        raise UserError(f"No image of {data} can be read ({'; '.join(reasons)}): give another data=FOLDER.")


def _check_same(config: PretrainConfig, folder: Path, source: Any, job: Job) -> None:
    """A folder holds one run: refuse to go on with other settings or other images than it began with."""
    try:
        if not results.begun(folder):
            return
        data = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds a run that cannot be read ({error}): give another out=FOLDER.") from None
    before = configs.read_yaml(folder / "config.yaml", "pretrain")
    if before.get("method") != config.method:
        raise UserError(
            f"{folder} holds a run of {before.get('method')}, not of {config.method}: give another out=FOLDER."
        )
    changed = configs.differences(before, OmegaConf.structured(config), FREE)
    if changed:
        raise UserError(
            f"{folder} holds a run with other settings ({'; '.join(changed[:4])}): give another out=FOLDER, "
            "the settings it began with, or delete it."
        )
    summary = results.data_summary(source, job.labelled)
    if {**data, "labels": None} != {**summary, "labels": None}:
        raise UserError(
            f"{folder} holds a run on {data.get('images')} images of other names than the {len(source)} that are in "
            f"{config.data} now: give another out=FOLDER, or the same images."
        )
    if data != summary:
        raise UserError(
            f"{folder} holds a run with other labels of the same images than {config.data} has now: give another "
            "out=FOLDER, or the labels it began with."
        )


def _method(config: PretrainConfig, source: Source) -> torch.nn.Module:
    """The method that the recipe names, on its backbone."""
    entry = method(config.method)
    backbone = backbone_of(config.backbone, config.image_size, config.backbone_options)
    _check_needs(entry, backbone, config, source)
    return entry.cls(backbone, getattr(config, entry.name), len(source))


def _module(config: PretrainConfig, source: Source, job: Job) -> tuple[PretrainModule, ViewDataset]:
    """What the job trains, from the seed alone, and the data set of its views."""
    torch.manual_seed(config.seed)
    trained = job.create(config, source)
    memory_format = memory_format_of(config, trained)
    trained = trained.to(memory_format=memory_format)
    device_views = Hardware.of(config.devices).accelerator == "gpu"
    dataset = ViewDataset(source, trained.views, config.image_size, config.seed, device_views)
    if any(spec.patches for spec in trained.views) and not getattr(trained, "takes_patches", False):
        raise UserError(f"{config.method} takes whole views: leave out patches=.")
    _check_sizes(trained.backbone, dataset.sizes)
    per_epoch = len(source) // config.batch_size
    total = config.steps or config.epochs * per_epoch
    schedule = Schedule(config.optimizer, config.lr, config.batch_size, total, per_epoch)
    return PretrainModule(trained, config, schedule, dataset.sizes, memory_format), dataset


def _check_needs(entry: Entry, backbone: Backbone, config: PretrainConfig, source: Source) -> None:
    if "target" in entry.needs:
        without = next((index for index in range(len(source)) if source.label(index) is None), None)
        if without is not None:
            raise UserError(
                f"{entry.name} needs a label for every image, and {source.name(without)} of {config.data} has none: "
                "sort them into a folder per class, write a labels.csv with the columns name and class into their "
                "folder (or complete it), or give a list with a label after a tab on each line."
            )
    if "transformer" in entry.needs and not is_transformer(backbone):
        raise UserError(
            f"{entry.name} works on the patches of a plain transformer, and {config.backbone} is none: give "
            "backbone=vit_small_patch16_224, or another ViT, DeiT, BEiT or EVA."
        )


def memory_format_of(config: PretrainConfig, module: torch.nn.Module) -> torch.memory_format:
    """That of the images and weights of a module: channels last as the config has it, where that is safe."""
    return torch.channels_last if config.channels_last and not _too_narrow(module) else torch.contiguous_format


def _too_narrow(module: torch.nn.Module) -> bool:
    """Whether a convolution has fewer than 16 channels: torch 2.14's CPU kernels for channels_last crash on some."""
    convolutions = [part for part in module.modules() if isinstance(part, torch.nn.Conv2d)]
    return any(part.out_channels // part.groups < 16 and part.groups == 1 for part in convolutions)


def _check_sizes(backbone: Backbone, sizes: Sequence[int | PatchSides]) -> None:
    seen = {(size.patch, "patches") if isinstance(size, PatchSides) else (size, "views") for size in sizes}
    for size, name in sorted(seen):
        try:
            backbone.check_size(size, size)
        except ValueError as error:
            raise UserError(f"{backbone.architecture} cannot take {name} of {size} px: {error}") from None


def backbone_of(spec: str, image_size: int, options: Mapping[str, Any]) -> Backbone:
    """A backbone with the weights that lie at `spec`, or with random ones where it is a timm architecture."""
    if ":" in spec or Path(spec).expanduser().exists() or Path(spec).suffix in (".safetensors", ".pth", ".pt"):
        return load_backbone(spec, image_size)
    return create_backbone(spec, image_size, options)


def _fit(
    module: PretrainModule,
    dataset: ViewDataset,
    config: PretrainConfig,
    hardware: Hardware,
    folder: Path,
    job: Job,
    say: Say,
) -> None:
    schedule, last = module.schedule, folder / "checkpoints" / "last.ckpt"
    if last.exists() and not zipfile.is_zipfile(last):
        raise UserError(
            f"{last} is damaged: delete it to begin anew, or put one of its neighbours step-*.ckpt in its place."
        )
    checkpoints = Checkpoints(
        folder / "checkpoints",
        config.checkpoint_minutes,
        config.checkpoint_steps,
        lambda: results.draw(module, dataset, folder),
    )
    log = Log(folder, config.log_steps, Progress(), job.title)
    part = config.batch_size // (hardware.world * config.accumulate)
    if hardware.world > 1 and module.method.sync_batch_norm:
        module.method = synchronise(module.method, hardware.accelerator)
    trainer = pl.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.processes,
        num_nodes=hardware.nodes,
        # Every process moves its buffers alike, and banks would be gigabytes to send at each step.
        strategy=DDPStrategy(broadcast_buffers=False) if hardware.world > 1 else "auto",
        **trainer_settings(config, schedule, folder),
        callbacks=[
            log,
            Monitors(module.method.chance(part * hardware.world), log, say),
            CountUnreadable(dataset.source, config.unreadable, folder),
            checkpoints,
        ],
    )
    module.images = RunImages(
        module, dataset, hardware.workers(config.workers), log.report, lambda: checkpoints.heed(module)
    )

    def begin(epoch: int) -> None:
        checkpoints.listen()  # the first epoch begins before Lightning calls any callback
        module.begin_epoch(epoch)

    sampler = EpochSampler(
        len(dataset),
        config.batch_size,
        config.seed,
        lambda: module.steps_done,
        config.accumulate,
        trainer.global_rank,
        hardware.world,
        begin,
        getattr(module.method, "draw_order", getattr(dataset.source, "order", None)),
    )
    loader = create_loader(dataset, sampler, hardware.workers(config.workers), pin=hardware.accelerator == "gpu")
    _introduce(module, dataset, config, last, say)
    try:
        with checkpoints.listening():
            trainer.fit(module, loader, ckpt_path=str(last) if last.exists() else None, weights_only=True)
    except NotFinite as error:
        kept = results.keep_not_finite(error, module, dataset, folder) if trainer.is_global_zero else error
        raise kept from None
    finally:
        if trainer.is_global_zero:
            log.close()


def _introduce(module: PretrainModule, dataset: ViewDataset, config: PretrainConfig, last: Path, say: Say) -> None:
    schedule = module.schedule
    for note in [*dataset.source.notes, *module.method.backbone.notes, *getattr(module.method, "notes", ())]:
        say(note)
    count = sum(parameter.numel() for parameter in module.method.backbone.parameters())
    weights = f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"
    name = config.backbone or module.method.backbone.architecture
    say(
        f"{config.method} on {len(dataset)} images of {config.data}: {name} of {weights} weights "
        f"at {config.image_size} px, {schedule.total_steps} steps of {config.batch_size} images"
        + (f"; going on from {last}." if last.exists() else ".")
    )


class quiet(warnings.catch_warnings):
    """Keep Lightning's hints about loggers, workers and resuming to itself: they do not hold here."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        self.logger = logging.getLogger("lightning.pytorch")
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *error: object) -> None:
        self.logger.setLevel(self.level)
        super().__exit__(*error)
