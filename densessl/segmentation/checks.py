"""Which settings of `densessl segment` cannot be, said before anything is done."""

from __future__ import annotations

import dataclasses
import math

from densessl.config import nearest
from densessl.errors import UserError
from densessl.hardware import Hardware
from densessl.segmentation.config import SegmentConfig, counted
from densessl.segmentation.refinement.crf import check_reach


def check(config: SegmentConfig) -> None:
    """Raise `UserError` for a value that cannot be."""
    device_of(config.devices)
    choices = {
        "method": ("stego", "kmeans", "spectral"),
        "precision": ("32", "bf16"),
        "refine": ("crf", "guided", "none"),
        "facet": ("tokens", "keys"),
        "positions": ("timm", "official", "None"),
        "probe": ("cluster", "linear"),
    }
    for key, known in choices.items():
        given = str(getattr(config, key))
        if given not in known:
            raise UserError(f"{key}={given} is not one of: {', '.join(known)}{nearest(given, known)}")
    if config.window < 1 or config.window % 2 == 0:
        raise UserError(f"window={config.window} has no middle: give an odd number, such as 3, or 1 for none.")
    if config.stego.clusters not in ("kmeans", "probe"):
        raise UserError(f"stego.clusters={config.stego.clusters} is not one of: kmeans, probe.")
    if config.tile is not None and config.method == "spectral":
        raise UserError("method=spectral joins all places of a picture in one graph, and takes no tile: leave it out.")
    _check_classes(config)
    _check_finite(config, "")
    for section in ("stego", "crf"):
        _check_finite(getattr(config, section), f"{section}.")
    least = {"batch_size": 1, "learn_from": 1, "epochs": 1, "steps": 0, "workers": 0, "lr": 0, "image_size": 1}
    least |= {"restarts": 1, "cache_size": 0, "keep_size": 0, "tile": 1}
    least |= {"refine_size": 1, "least_area": 0, "sharpness": 0, "crops": 0, "sheets": 0, "every": 1, "stable": 0}
    _check_least(config, least, "")
    if config.lr == 0:
        raise UserError("lr=0 learns nothing: give more, such as 5e-4.")
    if not 0 <= config.unreadable <= 1:
        raise UserError(f"unreadable={config.unreadable} is no share: give 0 to 1.")
    if config.least_area >= 1:
        raise UserError(f"least_area={config.least_area} is a share of the picture: give less than 1, such as 0.001.")
    if config.refine == "crf":
        check_reach(config.crf, config.refine_size)
    if config.stable >= 1:
        raise UserError(f"stable={config.stable} keeps nothing but the first frame: give less than 1.")
    stego = {"dim": 1, "feature_samples": 1, "neg_samples": 0, "num_neighbors": 0, "dropout": 0, "cluster_lr": 0}
    stego |= {f"{kind}_weight": 0 for kind in ("pos_intra", "pos_inter", "neg_inter")}
    _check_least(config.stego, stego, "stego.")
    if config.stego.dropout >= 1:
        raise UserError(f"stego.dropout={config.stego.dropout} drops everything: give less than 1.")


def _check_classes(config: SegmentConfig) -> None:
    classes = counted(config).classes
    if classes == "auto":
        if config.model is not None:
            raise UserError(
                f"--classes auto chooses how many segments to learn, and those of {config.model} are learned already: "
                "leave one of the two out."
            )
        if config.method == "stego" and config.stego.clusters == "probe":
            raise UserError(
                "--classes auto chooses how many segments there are once the head is trained, and stego.clusters=probe "
                "trains them with it: give a number, or stego.clusters=kmeans."
            )
        return
    if classes < 2 and config.model is None:
        raise UserError(f"classes={classes} is not a segmentation: give at least 2 with --classes.")
    if classes > 65535:
        raise UserError(f"classes={classes} does not fit a 16-bit mask: give at most 65535.")


def _check_finite(section: object, prefix: str) -> None:
    for each in dataclasses.fields(section):
        value = getattr(section, each.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{prefix}{each.name}={value} is no number to reckon with: give a finite one.")


def _check_least(section: object, least: dict[str, float], prefix: str) -> None:
    for key, bound in least.items():
        value = getattr(section, key)
        if value is not None and value < bound:
            raise UserError(f"{prefix}{key}={value} is too small: give at least {bound}.")


def device_of(devices: str) -> str:
    """The torch device of the one process; `UserError` for what is not there, and for more than one."""
    hardware = Hardware.of(devices)
    if hardware.processes > 1 and str(devices) not in ("auto", "gpu"):
        raise UserError(
            f"devices={devices}, but segments are found by one process: give {hardware.accelerator}, or leave it out."
        )
    return "cuda" if hardware.accelerator == "gpu" else "cpu"
