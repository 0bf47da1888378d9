"""Protocols that score a backbone, one file each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf

from densessl import config as configs
from densessl.errors import UserError

PROTOCOLS = ("knn",)


def evaluate(backbone: str, protocol: str, data: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Score `backbone` on labelled images by a protocol; returns its record.

    overrides: key=value of the protocol's config. Raises `UserError` for what the user can mend.
    """
    if protocol not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise UserError(f"protocol {protocol!r} is not one of: {known}{configs.nearest(protocol, PROTOCOLS)}")
    from densessl.evaluation.knn import KnnConfig, evaluate_knn

    given = OmegaConf.create({"backbone": backbone, "data": data})
    return evaluate_knn(configs.build(KnnConfig, given, configs.parse_overrides(overrides)))
