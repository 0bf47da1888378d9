"""`densessl detect train`: from labelled pages and a backbone to a detector, and back to where a killed run stood."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import torch
from omegaconf import OmegaConf
from torch.utils.data import DataLoader

from densessl import config as configs
from densessl.backbones import Backbone, save_backbone
from densessl.data.dataset import worker_init
from densessl.documents.detection.config import DetectConfig, resolve
from densessl.documents.detection.detector import DETECTOR, Detector, load_detector, save_detector, written
from densessl.documents.detection.evaluate import judge, report_of
from densessl.documents.detection.examples import PageDataset, collate
from densessl.documents.detection.learning import Learning
from densessl.documents.detection.sets import summary, training_pages
from densessl.documents.detection.sheets import learned_picture
from densessl.documents.detection.start import started, with_shape_of
from densessl.documents.pages import LabelledPages
from densessl.environment import environment
from densessl.errors import UserError
from densessl.files import claimed, remove_leftovers, write_image, write_text
from densessl.hardware import Hardware
from densessl.progress import Progress
from densessl.training import results
from densessl.training.callbacks import Checkpoints, CountUnreadable, Log
from densessl.training.config import FREE
from densessl.training.loader import EpochSampler
from densessl.training.module import NotFinite, PretrainModule
from densessl.training.optimizer import Schedule
from densessl.training.run import Say, backbone_of, memory_format_of, quiet, say, trainer_settings

JUDGING = ("val", "val_split")  # settings that change nothing of what is learned


def train(recipe: str | Path, overrides: Sequence[str] = (), say: Say = say) -> Path:
    """Train as the recipe and its overrides say; returns the run's folder, with `detector.safetensors` in it.

    A run that ended early, in whatever way, goes on from its last checkpoint when it is called again alike; a finished
    one is left alone. Raises `UserError` for what the user can mend, all that is wrong with the data at once and before
    anything is trained, and `RunStopped` when a signal or a NaN ended the run.
    """
    config = resolve(recipe, overrides)
    pages, apart = training_pages(config, Progress())
    for note in [*pages.notes, *(apart.notes if apart else ())]:
        say(note)
    if config.batch_size > len(pages):
        say(f"batch_size={config.batch_size} is more than the {len(pages)} pages: each step takes all of them.")
        config.batch_size = len(pages)
    if config.batch_size % config.accumulate:
        raise UserError(
            f"batch_size={config.batch_size} cannot be cut into {config.accumulate} equal parts: give accumulate=1, or "
            f"batch_size={max(1, config.batch_size // config.accumulate) * config.accumulate}."
        )
    with claimed(Path(config.out).expanduser()) as folder:
        return _train(config, pages, apart, folder, say)


def create_detector(config: DetectConfig, classes: Sequence[str]) -> Detector:
    """The detector that a config tells of, drawn from torch's random numbers where its weights are new.

    Where it begins with another, `config.detector` has the shape of that one afterwards.
    """
    if config.weights is not None:
        base = load_detector(config.weights)
        config.detector = with_shape_of(config.detector, base.config)
        return started(base, config, classes, config.freeze_norms is not False)
    backbone = backbone_of(config.backbone, _backbone_size(config), config.backbone_options)
    frozen = not backbone.fresh if config.freeze_norms is None else config.freeze_norms
    return Detector(backbone, config.detector, classes, config.image_size, frozen)


def _backbone_size(config: DetectConfig) -> int:
    """A side that strides divide: a ViT's table of positions is made for it, and resized to each page."""
    return -(-config.image_size // 32) * 32


def _train(config: DetectConfig, pages: LabelledPages, apart: LabelledPages | None, folder: Path, say: Say) -> Path:
    torch.manual_seed(config.seed)
    detector = create_detector(config, pages.classes)
    _check_same(config, folder, pages)
    about = written(folder / DETECTOR)
    if about is not None and about["backbone"].get("finished"):
        say(f"{folder} is finished already. For another run give out=FOLDER.")
        return folder
    per_epoch = len(pages) // config.batch_size
    schedule = Schedule(
        config.optimizer, config.lr, config.batch_size, config.steps or config.epochs * per_epoch, per_epoch
    )
    memory_format = memory_format_of(config, detector.backbone)
    detector.backbone.to(memory_format=memory_format)
    module = PretrainModule(Learning(detector, config.layer_decay), config, schedule, [], memory_format)
    dataset = PageDataset(pages, config, detector.backbone.fixed_size)
    _begin(config, folder, dataset)
    with quiet():
        _fit(module, dataset, config, folder, say)
    _finish(module, pages, apart, folder, say)
    return folder


def _check_same(config: DetectConfig, folder: Path, pages: LabelledPages) -> None:
    """A folder holds one run: refuse to go on with other settings or other pages than it began with."""
    if not (folder / "checkpoints" / "last.ckpt").exists() and not (folder / DETECTOR).exists():
        return
    try:
        data = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds a run that cannot be read ({error}): give another out=FOLDER.") from None
    before = configs.read_yaml(folder / "config.yaml", "detect")
    changed = configs.differences(before, OmegaConf.structured(config), (*FREE, *JUDGING))
    if changed:
        raise UserError(
            f"{folder} holds a run with other settings ({'; '.join(changed[:4])}): give another out=FOLDER, "
            "the settings it began with, or delete it."
        )
    if data != summary(pages):
        raise UserError(
            f"{folder} holds a run on other pages, or with other labels of the same ones, than {pages.name} has now: "
            "give another out=FOLDER, or what it began with."
        )


def _begin(config: DetectConfig, folder: Path, dataset: PageDataset) -> None:
    """Write config.yaml, data.json, environment.json and pictures/pages.png, what is learned from."""
    remove_leftovers(folder)
    configs.save(OmegaConf.structured(config), folder / "config.yaml")
    write_text(folder / "data.json", json.dumps(summary(dataset.pages), indent=1))
    write_text(folder / "environment.json", json.dumps(environment(), indent=1))
    write_image(folder / "pictures" / "pages.png", learned_picture(dataset))


def _fit(module: PretrainModule, dataset: PageDataset, config: DetectConfig, folder: Path, say: Say) -> None:
    hardware, last = Hardware.of(config.devices), folder / "checkpoints" / "last.ckpt"
    if hardware.processes > 1 and str(config.devices) not in ("auto", "gpu"):
        raise UserError(f"devices={config.devices}, but detectors are trained by one process: give one device.")
    if last.exists() and not zipfile.is_zipfile(last):
        raise UserError(
            f"{last} is damaged: delete it to begin anew, or put one of its neighbours step-*.ckpt in its place."
        )
    checkpoints = Checkpoints(folder / "checkpoints", config.checkpoint_minutes, config.checkpoint_steps, lambda: None)
    log = Log(folder, config.log_steps, Progress(), "Training")
    trainer = pl.Trainer(
        accelerator=hardware.accelerator,
        devices=1,
        **trainer_settings(config, module.schedule, folder),
        callbacks=[log, CountUnreadable(dataset.source, config.unreadable, folder), checkpoints],
    )
    # The first epoch begins before Lightning calls any callback.
    sampler = EpochSampler(
        len(dataset),
        config.batch_size,
        config.seed,
        lambda: module.steps_done,
        config.accumulate,
        begin=lambda epoch: checkpoints.listen(),
    )
    workers = hardware.workers(config.workers)
    loader = DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=partial(collate, canvas=module.method.detector.canvas),
        worker_init_fn=worker_init,
        persistent_workers=workers > 0,
        pin_memory=hardware.accelerator == "gpu",
    )
    _introduce(module, dataset, config, last, say)
    try:
        with checkpoints.listening():
            trainer.fit(module, loader, ckpt_path=str(last) if last.exists() else None, weights_only=True)
    except NotFinite as error:
        raise results.keep_not_finite(error, module, dataset, folder) from None
    finally:
        log.close()


def _introduce(module: PretrainModule, dataset: PageDataset, config: DetectConfig, last: Path, say: Say) -> None:
    detector, pages = module.method.detector, dataset.pages
    for note in [*dataset.source.notes, *detector.notes, *detector.backbone.notes]:
        say(note)
    for place, name in enumerate(pages.classes):
        labelled, count = int(pages.labelled[:, place].sum()), int((pages.objects.classes == place).sum())
        if labelled < len(pages):
            say(f"{name} is labelled on {labelled} of {len(pages)} pages; on the others it counts neither way.")
        elif not count:
            say(f"No page shows {name}: it will not be found.")
    of = config.backbone if config.weights is None else "its backbone"
    own, all_ = (sum(each.numel() for each in part.parameters()) / 1e6 for part in (detector.backbone, detector))
    say(
        f"A detector of {all_:.1f} M weights, {own:.1f} M of them {of}, on {len(pages)} pages of "
        f"{pages.name} with {len(pages.objects)} objects, at {config.image_size} px, {module.schedule.total_steps} "
        f"steps of {config.batch_size} pages" + (f"; going on from {last}." if last.exists() else ".")
    )


def _finish(module: PretrainModule, pages: LabelledPages, apart: LabelledPages | None, folder: Path, say: Say) -> None:
    """Write the backbone, figures of the pages kept apart, and the detector, which says that the run is finished."""
    config, detector = module.config, module.method.detector.cpu().eval()
    record = {
        "method": "detect",
        "data": str(config.data),
        "images": len(pages),
        "steps": module.steps_done,
        "epochs": round(module.steps_done / module.schedule.steps_per_epoch, 3),
        "batch_size": config.batch_size,
        "seed": config.seed,
        "finished": True,
    }
    backbone: Backbone = detector.backbone
    save_backbone(backbone, folder, record)
    if apart is not None:
        record["evaluation"] = judge(detector, apart, config.devices, folder, Progress())
        say(report_of(record["evaluation"]))
    if (folder / "unreadable.txt").exists():
        say(f"Some pages could not be read and were left out: {folder / 'unreadable.txt'} lists them.")
    path = save_detector(detector, folder, record)
    say(f"The detector of {', '.join(detector.classes)} lies in {path}, pictures in {folder / 'pictures'}.")
