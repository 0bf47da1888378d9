"""The backbones that users may choose: the package's own, files that were named at the start, and runs of a folder.

No user names a path: they choose among names that are looked up here.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import OmegaConf

from densessl.apps.config import AppConfig
from densessl.backbones.saved import DESCRIPTION, WEIGHTS
from densessl.errors import UserError

BUILT_IN = {
    "box": "The network in the box: small, pretrained on photographs and street scenes without a label.",
    "colour": "Colours and gradients, which nobody had to learn: the baseline.",
}
PICTURES = (".png", ".jpg", ".jpeg")
MOST_PICTURES = 24
MOST_BYTES = 32 << 20
CURVE = 400  # points of a curve that are shown


@dataclass(frozen=True)
class Choice:
    """A backbone. name: by which it is chosen. kind: "built-in", "file" or "run". spec: as `load_backbone` takes it."""

    name: str
    kind: str
    about: str
    spec: str
    folder: Path | None = None


class Backbones:
    """What may be chosen now: the folder of runs is looked through each time, since runs go on."""

    def __init__(self, config: AppConfig) -> None:
        self.config = config
        self.runs = None if config.runs is None else Path(config.runs).expanduser().resolve()

    def choices(self) -> list[Choice]:
        """All of them, the one that is used unless another is chosen first."""
        given = list(dict.fromkeys([self.config.backbone, *self.config.backbones, *BUILT_IN]))
        found = _distinct([self._given(spec) for spec in given])
        for path in sorted(self.runs.glob(f"**/{WEIGHTS}"))[:200] if self.runs else ():
            if self.runs in path.resolve().parents and (path.parent / DESCRIPTION).is_file():
                name = str(path.parent.relative_to(self.runs))
                name = self.runs.name if name == "." else name
                found.append(Choice(f"run: {name}", "run", _about(path.parent), str(path.parent), path.parent))
        return found

    def choice(self, name: str | None) -> Choice:
        """The one of this name; None or "" is the first. Raises `UserError` when there is none."""
        choices = self.choices()
        if not name:
            return choices[0]
        for each in choices:
            if each.name == name:
                return each
        raise UserError(f"There is no backbone {str(name)[:60]!r} here: {', '.join(each.name for each in choices)}.")

    def _given(self, spec: str) -> Choice:
        if spec in BUILT_IN:
            return Choice(spec, "built-in", BUILT_IN[spec], spec)
        path = Path(spec).expanduser()
        if path.is_dir():
            return Choice(path.name, "run", _about(path), spec, path)
        return Choice(path.name if path.exists() else spec, "file", "Named when the application was started.", spec)


def _distinct(choices: list[Choice]) -> list[Choice]:
    """The same, no two with one name: files of several runs are called alike, and are told by their folders."""
    counts = Counter(each.name for each in choices)
    return [replace(each, name=each.spec) if counts[each.name] > 1 else each for each in choices]


def curves(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """What a run's metrics.csv holds: (step, value) of each figure, `CURVE` points at most."""
    try:
        with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    found: dict[str, list[tuple[float, float]]] = {}
    for number, row in enumerate(rows):
        step = _number(row.get("step")) if row.get("step") else float(number)
        for name, text in row.items():
            value = _number(text)
            if name not in (None, "step", "epoch") and value is not None and step is not None:
                found.setdefault(name, []).append((step, value))
    return {name: each[:: max(1, math.ceil(len(each) / CURVE))] for name, each in found.items() if len(each) > 1}


def settings(folder: Path) -> str:
    """A run's config.yaml, without the places of files on this machine."""
    try:
        config = OmegaConf.load(folder / "config.yaml")
        for key in ("data", "out", "cache", "weights"):
            if key in config:
                config[key] = "..."
        return OmegaConf.to_yaml(config)
    except Exception:  # not there, or edited to be no YAML
        return ""


def pictures(folder: Path) -> list[Path]:
    """The files of a run's pictures/ that can be shown."""
    found = sorted((folder / "pictures").glob("*"))
    inside = (each for each in found if each.suffix.lower() in PICTURES and folder.resolve() in each.resolve().parents)
    return [each for each in inside if each.stat().st_size <= MOST_BYTES][:MOST_PICTURES]


def figures(folder: Path) -> dict[str, str]:
    """What a run's backbone.json says of it, as far as it is short."""
    try:
        record = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    wanted = ("architecture", "method", "image_size", "step", "epoch", "images")
    return {key: str(record[key])[:80] for key in wanted if isinstance(record, dict) and key in record}


def _about(folder: Path) -> str:
    said = figures(folder)
    parts = [said.get("method"), said.get("architecture"), said.get("image_size") and f"{said['image_size']} px"]
    return ", ".join(each for each in parts if each) or "A run."


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
