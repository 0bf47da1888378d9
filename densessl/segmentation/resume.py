"""What an earlier start left in the folder of `segment`, and whether this one may go on with it.

`run.json` says of which model the masks are, with which settings they were made, which file each picture has, and what
the segments were called when overlays were drawn. It is written before the files that it speaks of, and after those are
gone that it no longer does.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from densessl import config as configs
from densessl.data.sources.videos import is_video
from densessl.errors import UserError
from densessl.files import write_text
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.features.extractor import weights_hash
from densessl.segmentation.finding import CLUSTERING, same_clustering
from densessl.segmentation.model import Saved, Segmenter, load_model
from densessl.segmentation.outputs.writer import MaskWriter

# Settings that change no mask: a run may go on with others than it began with.
FREE = ("out", "workers", "devices", "cache", "cache_size", "keep_size", "unreadable", "names", "crops", "sheets")
FREE += ("coco", "probabilities")
# Settings that change masks and not the model: with others all masks are written anew.
MAKING = ("refine", "refine_size", "least_area", "sharpness", "stable", "crf")
MODEL = "model.safetensors"
SUMS = ("segments.json", "legend.png", "coco.json")  # what sums up masks, and is written once all are there
# With a model none of these says anything; whether it is the same is told by its weights.
LEARNING = ("classes", "backbone", "model", "method", "layers", "batch_size", "epochs", "steps", "lr", "seed")
LEARNING += ("learn_from", "stego", "restarts", "facet", "positions", "probe", "window")
TRAINING = ("batch_size", "epochs", "steps", "lr")  # of a head, which only STEGO has
BOX = "box"  # the backbone of a config that names none


@dataclass
class State:
    """`run.json`.

    model: hash of the model whose masks these are; None before it is learned. files: the stem of each picture by its
    name. shown: whether there are names, and the classes and colours that the overlays show. aside: by the hash of
    another model, the file that has the names of its segments. lengths: of films, as counted (`films.count_frames`).
    made: the settings that masks were made with (`making`), empty where there are none yet. coco: whether the run
    before had a coco.json, which may be of masks that are no more.
    """

    model: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    shown: list = field(default_factory=list)
    aside: dict[str, str] = field(default_factory=dict)
    lengths: dict[str, list] = field(default_factory=dict)
    made: dict[str, object] = field(default_factory=dict)
    coco: bool = False

    @property
    def segments(self) -> int:
        """How many there were when overlays were drawn."""
        return sum(map(len, self.shown[1])) if self.shown else 0

    @classmethod
    def read(cls, folder: Path) -> State | None:
        """None where no run began. Raises `UserError` when the file is not as it was written."""
        path = folder / "run.json"
        if not path.exists():
            return None
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"{path} cannot be read ({error}): delete it to begin anew, or give another --out."
            ) from None

    def write(self, folder: Path) -> None:
        write_text(folder / "run.json", json.dumps(asdict(self)))

    def changed(self, made: dict[str, object]) -> list[str]:
        """`["refine: crf, now none"]` for what masks were made otherwise with."""
        known = [(key, self.made[key], value) for key, value in made.items() if key in self.made]
        return [f"{key}: {before}, now {value}" for key, before, value in known if before != value]

    def follow(self, writer: MaskWriter, model: str, files: dict[str, str], made: dict[str, object]) -> None:
        """Take away what is of another model or other pictures, made otherwise or shown with other names.

        Then note what is so now.
        """
        other = self.model not in (None, model) or bool(self.changed(made))
        known = self.files.items() if self.model == model and not other else set()
        stale = {(name, stem) for name, stem in files.items() if (name, stem) not in known}
        self.coco = (writer.folder / "coco.json").exists() or (self.coco and not (writer.folder / SUMS[0]).exists())
        if other:
            stale.update(self.files.items())
            for path in (*writer.folder.glob("sheets/segment-*.png"), *map(writer.folder.joinpath, SUMS)):
                path.unlink(missing_ok=True)
        for name, stem in stale:
            _forget(writer, name, stem)
        classes = writer.classes
        shown = [classes.given, classes.members, [list(colour) for colour in classes.class_colours]]
        if shown != self.shown:
            for name, stem in files.items():
                _forget(writer, name, stem, ("overlays", "classes"))
        self.model, self.files, self.shown, self.made = model, files, shown, made
        self.write(writer.folder)


def making(config: SegmentConfig, films: bool = True) -> dict[str, object]:
    """What masks depend on beside the model, by dotted names: the CRF's where it is used, `stable` with films."""
    asked = asdict(config)
    crf = {f"crf.{key}": value for key, value in asked["crf"].items()} if config.refine == "crf" else {}
    return {key: asked[key] for key in MAKING if key != "crf" and (films or key != "stable")} | crf


def _forget(writer: MaskWriter, name: str, stem: str, *kinds: Sequence[str]) -> None:
    (writer.forget_film if is_video(name) else writer.forget)(stem, *kinds)


@dataclass(frozen=True)
class Before:
    """What earlier starts left in a folder, or a model that was given.

    state: None where no run began. model, saved: what to go on with; None where segments are to be found. former: the
    model of other segments that lies there, or of the same where the masks may not be its own.
    """

    state: State | None = None
    model: Segmenter | None = None
    saved: Saved | None = None
    former: tuple[Segmenter, Saved] | None = None

    @property
    def anew(self) -> bool:
        """Whether masks of other segments are going to be replaced."""
        return self.former is not None and self.state.model is not None


def look(config: SegmentConfig, folder: Path) -> Before:
    """What is there to go on with. Raises `UserError` where this config cannot."""
    given = (None, None) if config.model is None else _given(config)
    state = State.read(folder)
    if state is None:
        return Before(None, *given)
    there = _there(folder)
    if state.model is not None:  # else there are no masks yet
        before = _config_of(folder)
        check_same(config, before, folder, state, given, there)
        state.made = state.made or making(OmegaConf.to_object(before))
    if given[0] is not None:
        return Before(state, *given)
    if there is None:
        return Before(state)
    if model_hash(*there) == state.model and same_clustering(there[1], config):
        return Before(state, *there)
    return Before(state, former=there)


def _given(config: SegmentConfig) -> tuple[Segmenter, Saved]:
    # Only here, as it needs the packages that bring networks.
    from densessl.segmentation.stego.released import SUFFIXES, open_model

    if Path(config.model).suffix in SUFFIXES:
        return open_model(config.model, config.probe)
    model, saved = load_model(config.model)
    if config.probe == "linear" and model.bias is None:
        raise UserError(f"probe=linear, but {config.model} has clusters alone: leave probe out.")
    return model, saved


def _config_of(folder: Path) -> DictConfig:
    """The settings that a folder's masks were begun with."""
    found = configs.read_yaml(folder / "config.yaml", "segment")
    if "least_area" not in found:  # of a release that knew none, and left all specks
        found.least_area = 0.0
    return configs.merge(SegmentConfig, found, where=str(folder))


def _there(folder: Path) -> tuple[Segmenter, Saved] | None:
    try:
        return load_model(folder / MODEL)
    except UserError:
        return None


def model_hash(model: Segmenter, saved: Saved) -> str:
    """What the masks depend on, settings aside: the model's weights and its backbone's."""
    return hashlib.sha256(f"{weights_hash(model)} {saved.weights}".encode()).hexdigest()


def unheeded(config: SegmentConfig, saved: Saved) -> str:
    """What the user asks for beside a model and does not get, as "classes=9, seed=1"; settings of its own are none."""
    asked, defaults, own = asdict(config), asdict(SegmentConfig(data="", out="")), saved.config
    told = [
        f"{key}={asked[key]}"
        for key in LEARNING
        if key not in ("model", "backbone", "probe", "stego") and asked[key] not in (defaults[key], own.get(key))
    ]
    told += [
        f"stego.{key}={value}"
        for key, value in asked["stego"].items()
        if value not in (defaults["stego"][key], (own.get("stego") or {}).get(key))
    ]
    return ", ".join(told)


def untrained(config: SegmentConfig) -> str:
    """What the user asks for that trains a head, where the method has none: as "steps=9, stego.dim=5"."""
    if config.model is not None or config.method == "stego":
        return ""
    asked, defaults = asdict(config), asdict(SegmentConfig(data="", out=""))
    told = [f"{key}={asked[key]}" for key in TRAINING if asked[key] != defaults[key]]
    told += [f"stego.{key}={value}" for key, value in asked["stego"].items() if value != defaults["stego"][key]]
    return ", ".join(told)


def check_same(
    config: SegmentConfig,
    before: DictConfig,
    folder: Path,
    state: State,
    given: tuple[Segmenter, Saved] | tuple[None, None],
    there: tuple[Segmenter, Saved] | None,
) -> None:
    """A folder holds the masks of one model: refuse to go on with another one.

    Segments that are clusters of codes can be found anew, more or fewer of them, and masks be made anew from the same
    model: all else stays as it was. before: the settings that the folder began with. given: the model of
    `config.model`. there: that of the folder, which says what a setting that was left out stood for.
    """
    before, now, free, hint = copy.copy(before), copy.copy(config), FREE + MAKING, ""
    if config.method != "stego" or config.stego.clusters == "kmeans":
        free += CLUSTERING
        free += () if config.method == "stego" else (*TRAINING, "stego")
    elif before.classes != config.classes:
        hint = "stego.clusters=probe trains them with the head: "
    model, saved = given
    if model is not None:
        if state.model not in (None, model_hash(model, saved)):
            raise UserError(f"{folder} holds masks of another model than {config.model}: give another --out.")
        free += LEARNING
        before.tile, now.tile = before.tile or saved.tile, now.tile or saved.tile
    for each in (before, now):
        _spell_out(each, saved or (there[1] if there else None))
    changed = configs.differences(before, OmegaConf.structured(now), free)
    if changed:
        raise UserError(
            f"{folder} holds masks made with other settings ({'; '.join(changed[:4])}): {hint}give another --out, the "
            "settings it began with, or delete it."
        )


def _spell_out(config: SegmentConfig, saved: Saved | None) -> None:
    """Put what they stand for in the place of settings that were left out, as far as it is known."""
    config.backbone = config.backbone or BOX
    if isinstance(config.layers, (int, str)):
        config.layers = [config.layers]
    if saved is not None:
        config.image_size = config.image_size or saved.image_size
        config.layers = config.layers or list(saved.layers)
