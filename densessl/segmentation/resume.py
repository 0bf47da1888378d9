"""What an earlier start left in the folder of `segment`, and whether this one may go on with it.

`run.json` says of which model the masks are, which file each picture has, and what the segments were called when
overlays were drawn. It is written before the files that it speaks of, and after those are gone that it no longer does.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from omegaconf import OmegaConf

from densessl import config as configs
from densessl.errors import UserError
from densessl.files import write_text
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.features import weights_hash
from densessl.segmentation.model import Saved, Segmenter, load_model
from densessl.segmentation.writer import MaskWriter

# Settings that change no mask: a run may go on with others than it began with.
FREE = ("out", "workers", "devices", "cache", "unreadable", "names", "crops", "coco", "probabilities")
# With a model none of these says anything; whether it is the same is told by its weights.
LEARNING = ("classes", "backbone", "model", "method", "layer", "batch_size", "epochs", "steps", "lr", "seed")
LEARNING += ("learn_from", "stego", "facet", "positions", "probe")


@dataclass
class State:
    """`run.json`.

    model: hash of the model whose masks these are; None before it is learned. files: the stem of each picture by its
    name. shown: whether there are names, and the classes and colours that the overlays show.
    """

    model: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    shown: list = field(default_factory=list)

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

    def follow(self, writer: MaskWriter, model: str, files: dict[str, str]) -> None:
        """Take away what is of another model, of other pictures or shown with other names, and note what is so now."""
        known = self.files.items() if self.model == model else set()
        for name, stem in files.items():
            if (name, stem) not in known:
                writer.forget(stem)
        classes = writer.classes
        shown = [classes.given, classes.members, [list(colour) for colour in classes.class_colours]]
        if shown != self.shown:
            for stem in files.values():
                writer.forget(stem, ("overlays", "classes"))
        self.model, self.files, self.shown = model, files, shown
        self.write(writer.folder)


def model_hash(model: Segmenter, saved: Saved) -> str:
    """What the masks depend on, settings aside: the model's weights and its backbone's."""
    return hashlib.sha256(f"{weights_hash(model)} {saved.weights}".encode()).hexdigest()


def model_of(folder: Path, state: State) -> tuple[Segmenter, Saved] | tuple[None, None]:
    """The model that was learned in this folder, if there is one."""
    path = folder / "model.safetensors"
    if state.model is None or not path.exists():
        return None, None
    model, saved = load_model(path)
    return (model, saved) if model_hash(model, saved) == state.model else (None, None)


def check_same(
    config: SegmentConfig, folder: Path, state: State, given: tuple[Segmenter, Saved] | tuple[None, None]
) -> None:
    """A folder holds the masks of one model and one way of making them: refuse to go on with others.

    given: the model of `config.model`.
    """
    before = configs.merge(SegmentConfig, configs.read_yaml(folder / "config.yaml", "segment"), where=str(folder))
    now, free = copy.copy(config), FREE
    model, saved = given
    if model is not None:
        if state.model not in (None, model_hash(model, saved)):
            raise UserError(f"{folder} holds masks of another model than {config.model}: give another --out.")
        free += LEARNING if state.model else ()
        before.image_size = before.image_size or saved.image_size
        now.image_size = now.image_size or saved.image_size
    changed = configs.differences(before, OmegaConf.structured(now), free)
    if changed:
        raise UserError(
            f"{folder} holds masks made with other settings ({'; '.join(changed[:4])}): give another --out, the "
            "settings it began with, or delete it."
        )
