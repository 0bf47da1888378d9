"""Protocols that score a backbone, one file each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf

from densessl import config as configs
from densessl.errors import UserError

PROTOCOLS = ("knn", "linear", "finetune", "segments")


def evaluate(
    backbone: str, protocol: str, data: str, overrides: Sequence[str] = (), recipe: str | None = None
) -> dict[str, Any]:
    """Score `backbone` on labelled images by a protocol; returns its record.

    overrides: key=value of the protocol's config. recipe: one of configs/evaluate, or a path; overrides overrule it.
    Raises `UserError` for what the user can mend.
    """
    if protocol not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise UserError(f"protocol {protocol!r} is not one of: {known}{configs.nearest(protocol, PROTOCOLS)}")
    from densessl.evaluation.finetune import FinetuneProtocol, evaluate_finetune
    from densessl.evaluation.knn import KnnConfig, evaluate_knn
    from densessl.evaluation.linear import LinearConfig, evaluate_linear
    from densessl.evaluation.segments import SegmentsConfig, evaluate_segments

    settings, run = {
        "knn": (KnnConfig, evaluate_knn),
        "linear": (LinearConfig, evaluate_linear),
        "finetune": (FinetuneProtocol, evaluate_finetune),
        "segments": (SegmentsConfig, evaluate_segments),
    }[protocol]
    given = OmegaConf.create({"backbone": backbone, "data": data})
    layers = [given, configs.parse_overrides(overrides)]
    if recipe:
        layers.insert(0, configs.read_yaml(recipe, "evaluate"))
    return run(configs.build(settings, *layers))
