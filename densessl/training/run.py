"""`densessl pretrain`: from a folder of images to a backbone, and back to where a killed run stood."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf

from densessl import config as configs
from densessl.backbones import Backbone, create_backbone, load_backbone
from densessl.data.dataset import ViewDataset
from densessl.data.sources import open_source
from densessl.errors import UserError
from densessl.files import output_folder
from densessl.hardware import Hardware
from densessl.methods import method
from densessl.progress import Progress
from densessl.training import results
from densessl.training.callbacks import Checkpoints, CountUnreadable, Log, Monitors
from densessl.training.config import PretrainConfig, differences, resolve
from densessl.training.loader import EpochSampler, create_loader
from densessl.training.module import NotFinite, PretrainModule
from densessl.training.optimizer import Schedule
from densessl.training.sync import synchronise

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
Say = Callable[[str], None]


def say(sentence: str) -> None:
    """Tell the user, from the first process alone."""
    if rank_zero_only.rank == 0:
        print(sentence, file=sys.stderr, flush=True)


def pretrain(recipe: str | Path, overrides: Sequence[str] = (), say: Say = say) -> Path:
    """Train as the recipe and its overrides say; returns the run's folder, with `backbone.safetensors` in it.

    A run that ended early, in whatever way, goes on from its last checkpoint when it is called again alike; a finished
    one is left alone. say: gets every sentence for the user.
    Raises `UserError` for what the user can mend, `RunStopped` when a signal or a NaN ended the run.
    """
    config = resolve(recipe, overrides)
    hardware = Hardware.of(config.devices)
    source = open_source(config.data, config.split)
    _check_batches(config, hardware, len(source))
    config.data = _absolute(config.data)
    folder = Path(config.out).expanduser()
    _check_same(config, folder)
    if results.finished(folder):
        say(f"{folder} is finished already. For another run give out=FOLDER.")
        return folder
    module, dataset = _module(config, source)
    output_folder(folder)
    if rank_zero_only.rank == 0:
        results.begin(config, folder, dataset)
    with quiet():
        _fit(module, dataset, config, hardware, folder, say)
    if rank_zero_only.rank == 0:
        results.finish(module, dataset, folder)
        say(f"The backbone lies in {folder / 'backbone.safetensors'}, pictures in {folder / 'pictures'}.")
    return folder


def _check_batches(config: PretrainConfig, hardware: Hardware, images: int) -> None:
    if config.batch_size > images:
        raise UserError(
            f"batch_size={config.batch_size} is larger than the data: {config.data} has {images} images. "
            + (f"Give batch_size={images} or less." if images > 1 else "Give a folder with more of them.")
        )
    parts = hardware.processes * config.accumulate
    if config.batch_size % parts or config.batch_size // parts < 2:
        fitting = max(2, round(config.batch_size / parts)) * parts
        raise UserError(
            f"batch_size={config.batch_size} cannot be cut into {parts} equal parts of at least 2 images "
            f"({hardware.processes} processes, accumulate={config.accumulate}): give batch_size={fitting}."
        )


def _absolute(data: Any) -> Any:
    """Paths that stay right when the saved config is run from another folder."""
    if isinstance(data, (list, tuple)):
        return [_absolute(each) for each in data]
    path = Path(str(data)).expanduser()
    return str(path.resolve()) if path.exists() else str(data)


def _check_same(config: PretrainConfig, folder: Path) -> None:
    """A folder holds one run: refuse to go on with other settings than it began with."""
    if not (folder / "config.yaml").exists():
        return
    changed = differences(configs.read_yaml(folder / "config.yaml", "pretrain"), OmegaConf.structured(config))
    if changed:
        raise UserError(
            f"{folder} holds a run with other settings ({'; '.join(changed[:4])}): give another out=FOLDER, "
            "the settings it began with, or delete it."
        )


def _module(config: PretrainConfig, source: Any) -> tuple[PretrainModule, ViewDataset]:
    """The method on its backbone, from the seed alone, and the data set of its views."""
    entry = method(config.method)
    torch.manual_seed(config.seed)
    backbone = _backbone(config)
    trained = entry.cls(backbone, getattr(config, entry.name), len(source))
    if config.channels_last:
        trained = trained.to(memory_format=torch.channels_last)
    device_views = Hardware.of(config.devices).accelerator == "gpu"
    dataset = ViewDataset(source, trained.views, config.image_size, config.seed, device_views)
    for needed in entry.needs:
        if needed == "target" and source.label(0) is None:
            raise UserError(f"{entry.name} needs labels, and {config.data} has none.")
    per_epoch = len(source) // config.batch_size
    total = config.steps or config.epochs * per_epoch
    schedule = Schedule(config.optimizer, config.lr, config.batch_size, total, per_epoch)
    return PretrainModule(trained, config, schedule, dataset.sizes), dataset


def _backbone(config: PretrainConfig) -> Backbone:
    spec = config.backbone
    if ":" in spec or Path(spec).expanduser().exists() or Path(spec).suffix in (".safetensors", ".pth", ".pt"):
        return load_backbone(spec, config.image_size)
    return create_backbone(spec, config.image_size, config.backbone_options)


def _fit(
    module: PretrainModule, dataset: ViewDataset, config: PretrainConfig, hardware: Hardware, folder: Path, say: Say
) -> None:
    schedule, last = module.schedule, folder / "checkpoints" / "last.ckpt"
    checkpoints = Checkpoints(folder / "checkpoints", config.checkpoint_minutes, config.checkpoint_steps)
    log = Log(folder, config.log_steps, Progress())
    part = config.batch_size // (hardware.processes * config.accumulate)
    together = hardware.processes > 1 and module.method.sync_batch_norm
    if together and hardware.accelerator == "cpu":
        synchronise(module.method)
    trainer = pl.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.processes,
        strategy="ddp" if hardware.processes > 1 else "auto",
        precision=PRECISIONS[config.precision],
        max_steps=schedule.total_steps,
        max_epochs=-1,
        accumulate_grad_batches=config.accumulate,
        sync_batchnorm=together and hardware.accelerator == "gpu",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[
            log,
            Monitors(module.method.chance(part * hardware.processes), log, say),
            CountUnreadable(dataset.source, config.unreadable, folder),
            checkpoints,
        ],
    )
    sampler = EpochSampler(
        len(dataset),
        config.batch_size,
        config.seed,
        lambda: module.steps_done,
        config.accumulate,
        trainer.global_rank,
        hardware.processes,
    )
    loader = create_loader(dataset, sampler, hardware.workers(config.workers), pin=hardware.accelerator == "gpu")
    _introduce(module, dataset, config, last, say)
    try:
        with checkpoints.listening():
            trainer.fit(module, loader, ckpt_path=str(last) if last.exists() else None, weights_only=True)
    except NotFinite as error:
        raise results.keep_not_finite(error, module, dataset, folder) from None
    finally:
        if trainer.is_global_zero:
            log.flush()


def _introduce(module: PretrainModule, dataset: ViewDataset, config: PretrainConfig, last: Path, say: Say) -> None:
    schedule = module.schedule
    for note in module.method.backbone.notes:
        say(note)
    count = sum(parameter.numel() for parameter in module.method.backbone.parameters())
    say(
        f"{config.method} on {len(dataset)} images of {config.data}: {config.backbone} of {count / 1e6:.1f} M weights "
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
