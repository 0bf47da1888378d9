"""`densessl detect train|eval|predict` with a LazyConfig file: detectron2's loop, our messages, folders and figures.

A run's folder has what detectron2 writes (config.yaml, metrics.json, model_*.pth, last_checkpoint, events.*),
`recipe.json` with the recipe, its overrides and, once all is written, that it is finished, and of an architecture that
has a twin `detector.safetensors`. One process trains; detectron2's own launcher takes several GPUs and machines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import LazyConfig, instantiate
from detectron2.engine import AMPTrainer, SimpleTrainer, default_writers, hooks
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from densessl.backbones.weights import read_json
from densessl.config import nearest
from densessl.documents.detection.config import RECIPE, lazy_recipe
from densessl.documents.detection.detector import save_detector
from densessl.documents.detection.evaluate import judge, report_of
from densessl.documents.detectron2.onward import WholeFiles, pages_from
from densessl.documents.detectron2.pages import class_names, opened
from densessl.documents.detectron2.served import Served
from densessl.documents.detectron2.twin import detector_of
from densessl.documents.detectron2.weights import classes_of, load_weights
from densessl.errors import UserError
from densessl.files import claimed, write_text
from densessl.progress import Progress
from densessl.training.run import Say, say

FINAL, LAST = "model_final.pth", "last_checkpoint"
PARTS = ("model", "pages", "dataloader", "optimizer", "lr_multiplier", "train")


def train(recipe: str | Path, overrides: Sequence[str] = (), say: Say = say) -> Path:
    """Train as a LazyConfig file and its overrides say; returns the run's folder.

    A run that ended early goes on from its last checkpoint, with the pages that come after those it has learned from.
    Raises `UserError` for what the user can mend, all that is wrong with the data before anything is built.
    """
    config, folder = read(recipe, overrides)
    if (Path(recipe).expanduser() / RECIPE).is_file():
        raise UserError(f"{recipe} is a run's folder: to go on with it, give its recipe and train.output_dir={recipe}.")
    _check_twin(config)
    pages, apart = opened(config.pages, Progress())
    for note in dict.fromkeys([*pages.notes, *apart.notes]):
        say(note)
    config.pages.classes = list(pages.classes)
    with claimed(folder):
        if _finished(folder):
            say(f"{folder} is finished already. For another run give train.output_dir=FOLDER.")
            return folder
        _save(config, folder)
        kept = {"recipe": _place(recipe), "overrides": list(overrides), "classes": list(pages.classes)}
        write_text(folder / RECIPE, json.dumps(kept, indent=1))
        setup_logger(str(folder))
        setup_logger(str(folder), name="fvcore")
        seed_all_rng(int(config.train.get("seed", 0)))
        model = instantiate(config.model).to(config.train.device)
        own = sum(each.numel() for each in model.parameters()) / 1e6
        say(
            f"A detector of {own:.1f} M weights by detectron2, on {len(pages)} pages of {pages.name} with "
            f"{len(pages.objects)} objects, {config.train.max_iter} steps of "
            f"{config.dataloader.train.total_batch_size} pages."
        )
        _fit(model, config, folder)
        twin = detector_of(model, pages.classes)
        if twin is not None:
            path = save_detector(twin, folder, {"method": "detect", "data": pages.name, "finished": True})
            say(f"{path} has the same weights for densessl detect, which needs no detectron2 for them.")
        say(report_of(judge(served(model, config), apart, _devices(config), folder, Progress())))
        write_text(folder / RECIPE, json.dumps({**kept, "finished": True}, indent=1))
    say(f"The detector of {', '.join(pages.classes)} lies in {folder / FINAL}.")
    return folder


def evaluate(recipe: str | Path, overrides: Sequence[str] = ()) -> str:
    """Judge the detector that a run of the recipe left, by the pages of `pages.val` or `pages.val_share`; as text."""
    config, folder = read(recipe, overrides)
    _, apart = opened(config.pages, Progress())
    named = any(each.startswith("model.weights=") for each in overrides)
    model = trained(config, None if named else folder)
    with claimed(folder):
        return report_of(judge(served(model, config), apart, _devices(config), folder, Progress()))


def load(recipe: str | Path, weights: str | None = None) -> tuple[Served, Path]:
    """The detector that a run of the recipe left, or with the weights of a file, and the file they are from.

    Its classes are named by the recipe, the run or the file; else the recipe's data is opened for them.
    """
    config, folder = read(recipe)
    if weights is not None:
        config.model.weights = weights
    if not config.pages.get("classes"):
        config.pages.classes = classes_of(weights or folder / FINAL)
    if not config.pages.get("classes") and not config.pages.get("data"):
        raise UserError(
            f"Neither {recipe} nor {weights or folder} says which classes the detector finds: write pages.classes = "
            "[...] into a recipe of your own."
        )
    model = trained(config, folder if weights is None else None)
    return served(model, config), Path(config.model.get("weights") or folder / FINAL).expanduser()


def read(recipe: str | Path, overrides: Sequence[str] = ()) -> tuple[DictConfig, Path]:
    """A LazyConfig file, by its path or its name in configs/detectron2 (publaynet.py), or that of a run by the run's
    folder, with overrides; and the folder of its run. Raises `UserError`."""
    folder, classes = Path(recipe).expanduser(), None
    if (folder / RECIPE).is_file():
        kept = read_json(folder / RECIPE)
        recipe, classes = kept["recipe"], kept["classes"]
        overrides = [*kept["overrides"], *overrides]
    path = lazy_recipe(recipe)
    taken = [each for each in overrides if each.startswith("~")]
    if taken:
        raise UserError(f"{taken[0]} cannot be: no setting can be taken away; give {taken[0].lstrip('~')}=null.")
    try:
        config = LazyConfig.load(str(path))
        _drop_options(config, overrides)
        config = LazyConfig.apply_overrides(config, list(overrides))
    except (OmegaConfBaseException, SyntaxError, ImportError, AssertionError) as error:
        raise UserError(f"{path} cannot be read with {' '.join(overrides) or 'its settings'}: {error}") from error
    except Exception as error:
        # hydra's parser of overrides is a package of its own, with errors of its own.
        if type(error).__module__.startswith("hydra"):
            raise UserError(f"{' '.join(overrides)} cannot be read: {error}; give KEY=VALUE.") from error
        raise
    missing = [name for name in PARTS if name not in config]
    if missing:
        raise UserError(
            f"{path} lacks {', '.join(missing)}: densessl detect takes recipes such as configs/detectron2 has."
        )
    _check_keys(config, path, overrides)
    if classes is not None:
        config.pages.classes, config.train.output_dir = classes, str(folder)
    if not config.train.output_dir:
        config.train.output_dir = str(Path("runs") / path.stem)
    return config, Path(config.train.output_dir).expanduser()


def trained(config: DictConfig, folder: Path | None) -> nn.Module:
    """The model with the weights that a run left in `folder`, else with those that `model.weights` of the recipe names,
    which a run only began with. None: with the latter in any case."""
    if folder is not None and (folder / FINAL).is_file():
        config.model.weights = None
        model = instantiate(config.model)
        load_weights(model, folder / FINAL)
        return model.eval()
    if not config.model.get("weights"):
        raise UserError(
            f"{folder} holds no {FINAL}: let densessl detect train end, or name weights with model.weights=FILE."
        )
    return instantiate(config.model).eval()


def served(model: nn.Module, config: DictConfig) -> Served:
    """A model as `densessl detect` takes it, which shows it pages as the recipe's own test does."""
    mapper = instantiate(config.dataloader.test.mapper)
    sizes = [each.get("max_size") for each in config.dataloader.test.mapper.augmentations]
    return Served(model, class_names(config.pages), mapper.augmentations.augs, max([*filter(None, sizes), 0]) or 1333)


def _finished(folder: Path) -> bool:
    """Whether a run came to its end there, and not only to its last step."""
    kept = read_json(folder / RECIPE) if (folder / RECIPE).is_file() else {}
    return (folder / FINAL).is_file() and kept.get("finished", False)


def _place(recipe: str | Path) -> str:
    """The recipe as it can be found from another folder: its path, or its name where it is a shipped one."""
    path = Path(recipe).expanduser()
    return str(path.resolve()) if path.is_file() else str(recipe)


def _drop_options(config: DictConfig, overrides: Sequence[str]) -> None:
    """A recipe's options are those of its network: they go when the overrides name another one."""
    backbone = config.get("model", {}).get("backbone", {})
    for override in overrides:
        key, _, spec = override.lstrip("+").partition("=")
        if key == "model.backbone.spec" and spec.strip("'\"") != backbone.get("spec") and "options" in backbone:
            backbone.options = {}


def _check_keys(config: DictConfig, path: Path, overrides: Sequence[str]) -> None:
    """detectron2 takes unknown keys without a word, and a misspelt one would train another detector."""
    before = LazyConfig.load(str(path))
    for override in overrides:
        key = override.partition("=")[0].lstrip("+")
        node: Any = before
        for part in key.split("."):
            known = list(node.keys()) if isinstance(node, DictConfig) else None
            if known is None or override[0] == "+":
                break
            if part not in known:
                raise UserError(f"{path.name} has no {key}{nearest(part, known)} With +{override} it is added.")
            node = node[part]


def _check_twin(config: DictConfig) -> None:
    """Refuse to show a page otherwise to a detector than to its twin, which knows one size of its longest side."""
    if config.model.get("twin") is None:
        return
    size, shown = config.model.twin.image_size, config.dataloader.test.mapper.augmentations
    sides = [(each.get("short_edge_length"), each.get("max_size")) for each in shown]
    if sides != [(size, size)]:
        raise UserError(
            f"dataloader.test shows pages with sides of {sides} px, shortest and longest, and densessl detect would "
            f"with a longest side of {size}: give dataloader.test.mapper.augmentations.0.max_size alone, which the "
            "other sizes of quick.py follow, or model.twin=null for none of its detectors."
        )


def _save(config: DictConfig, folder: Path) -> None:
    """Write config.yaml; refuse to go on with other settings than the folder's run began with, but for the number of
    workers, which is the machine's."""
    path, new = folder / "config.yaml", folder / "config.new.yaml"
    LazyConfig.save(config, str(new))
    if (folder / LAST).exists() and path.is_file() and _settings(path) != _settings(new):
        new.unlink()
        raise UserError(
            f"{folder} holds a run with other settings: give train.output_dir=FOLDER, or those it began with."
        )
    new.replace(path)


def _settings(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if "num_workers:" not in line]


def _devices(config: DictConfig) -> str:
    return "auto" if str(config.train.device).startswith("cuda") else "cpu"


def _fit(model: nn.Module, config: DictConfig, folder: Path) -> None:
    """detectron2's loop, as its own launcher has it, without judging on the way; and on from where a run was killed."""
    config.optimizer.params.model = model
    optimizer = instantiate(config.optimizer)
    seed, start = int(config.train.get("seed", 0)), 0

    def batches() -> Iterator[list[dict[str, Any]]]:  # asked for once it is known where to start
        yield from pages_from(start, config.dataloader.train, seed)

    model.train()
    trainer = (AMPTrainer if config.train.amp.enabled else SimpleTrainer)(model, batches(), optimizer)
    checkpointer = WholeFiles(model, str(folder), trainer=trainer)
    trainer.register_hooks(
        [
            hooks.IterationTimer(),
            hooks.LRScheduler(scheduler=instantiate(config.lr_multiplier)),
            hooks.PeriodicCheckpointer(checkpointer, **config.train.checkpointer),
            hooks.PeriodicWriter(default_writers(str(folder), config.train.max_iter), period=config.train.log_period),
        ]
    )
    resumed = checkpointer.has_checkpoint()
    checkpointer.resume_or_load(config.train.init_checkpoint, resume=resumed)
    if resumed:
        start = trainer.iter + 1
        seed_all_rng(seed + start)  # else pages would be shown as the first ones were
    if start >= config.train.max_iter:
        return
    try:
        trainer.train(start, config.train.max_iter)
    except FloatingPointError as error:
        said = str(error).splitlines()[0]
        raise UserError(f"{said} Give less than optimizer.lr={config.optimizer.lr}, or more warm-up.") from error
