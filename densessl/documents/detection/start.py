"""A detector that begins with the weights of another, for other classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from densessl.documents.detection.config import DetectConfig, DetectorConfig
from densessl.documents.detection.detector import Detector

SHAPE = ("head", "finest", "coarsest", "channels", "hidden", "sides", "ratios")  # what weights depend on


def with_shape_of(config: DetectorConfig, other: DetectorConfig) -> DetectorConfig:
    """The config with all that decides the shapes of weights from `other`, but for the mask head."""
    return replace(config, **{name: getattr(other, name) for name in SHAPE})


def started(base: Detector, config: DetectConfig, classes: Sequence[str], freeze_norms: bool) -> Detector:
    """A detector of these classes with the backbone, neck and heads of `base`.

    Rows of the heads for classes that both know by name, in any case, are those of `base`; others are random.
    """
    shape = with_shape_of(config.detector, base.config)
    detector = Detector(base.backbone, shape, classes, config.image_size, freeze_norms)
    detector.neck.load_state_dict(base.neck.state_dict())
    detector.proposals.load_state_dict(base.proposals.state_dict())
    rows = _rows(base.classes, classes)
    old = {place for place, _ in rows}
    new = [name for place, name in enumerate(classes) if place not in old]
    also = f"; new are {', '.join(new)}." if new else "."
    detector.notes = [f"It begins with the detector {config.weights}{also}"]
    for mine, theirs in zip(detector.objects.boxes, base.objects.boxes, strict=True):
        for name in ("fc1", "fc2", "deltas"):
            getattr(mine, name).load_state_dict(getattr(theirs, name).state_dict())
        # The last row is that of nothing.
        _copy(mine.score, theirs.score, [*rows, (len(classes), len(base.classes))])
    if detector.objects.masks is not None and base.objects.masks is not None:
        for mine, theirs in zip(list(detector.objects.masks)[:-1], list(base.objects.masks)[:-1], strict=True):
            mine.load_state_dict(theirs.state_dict())
        _copy(detector.objects.masks[-1], base.objects.masks[-1], rows)
    return detector


def _rows(theirs: Sequence[str], mine: Sequence[str]) -> list[tuple[int, int]]:
    """(place in mine, place in theirs) of the names that both have."""
    places = {name.lower(): place for place, name in enumerate(theirs)}
    return [(place, places[name.lower()]) for place, name in enumerate(mine) if name.lower() in places]


@torch.no_grad()
def _copy(mine: nn.Module, theirs: nn.Module, rows: Sequence[tuple[int, int]]) -> None:
    for to, of in rows:
        mine.weight[to], mine.bias[to] = theirs.weight[of], theirs.bias[of]
