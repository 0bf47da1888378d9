"""From features to a model, by whichever method a config asks for."""

from __future__ import annotations

from dataclasses import dataclass, field

from densessl.progress import Report, silent
from densessl.segmentation.clusters import check_enough, cluster
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.features.kept import Features
from densessl.segmentation.model import Segmenter
from densessl.segmentation.stego.train import train


@dataclass
class Learned:
    """The model, and the loss at each step (empty where nothing was trained)."""

    model: Segmenter
    losses: list[float] = field(default_factory=list)


def learn(features: Features, config: SegmentConfig, device: str = "cpu", progress: Report = silent) -> Learned:
    """Learn `config.classes` segments from these features; the same seed gives the same model on a CPU.

    Raises `UserError` when the pictures cannot give so many segments, `RunStopped` when the loss is not finite.
    """
    check_enough(features, config.classes)
    if config.method != "stego":
        return Learned(cluster(features, None, config, device))
    trained = train(features, config, device, progress)
    return Learned(cluster(features, trained.head, config, device, trained.probe), trained.losses)
