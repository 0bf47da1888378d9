"""Segments of pictures that lie in memory: those that `segment` finds and writes, without a file.

`segment` is for folders, and goes on where it was stopped; this is for whoever has a few pictures at hand and wants an
answer, such as the application. Both lead to the same segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from densessl.progress import Report, silent
from densessl.segmentation.checks import check
from densessl.segmentation.clusters import check_enough, cluster
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.features.kept import Features, table_of
from densessl.segmentation.model import Segmenter
from densessl.segmentation.predict import Refinement, best, scores
from densessl.segmentation.refinement.specks import least_pixels, without_specks
from densessl.segmentation.spectral import spectral_tokens
from densessl.segmentation.sweep import Sweep, check_choice, sweep


def learn(maps: Sequence[Tensor], config: SegmentConfig, progress: Report = silent) -> tuple[Segmenter, Sweep | None]:
    """Segments by k-means on the feature maps (C, h, w) of pictures, largest first; on the CPU.

    Of `config` counts what `densessl.segmentation.clusters` needs; with classes="auto" also the sweep that chose the
    number. Raises `UserError` for settings that cannot be, and for more segments than there are places.
    """
    check(config)
    features = Features(
        indices=list(range(len(maps))),
        shapes=[tuple(each.shape[1:]) for each in maps],
        arrays=[table_of(each, f"picture {number}") for number, each in enumerate(maps, start=1)],
    )
    if config.classes != "auto":
        check_enough(features, config.classes)
        return cluster(features, None, config), None
    check_choice(features)
    found = sweep(features, seed=config.seed, progress=progress)
    return cluster(features, None, replace(config, classes=found.chosen)), found


@torch.inference_mode()
def segment_scores(model: Segmenter, map_: Tensor, image: np.ndarray, config: SegmentConfig) -> Tensor:
    """(K, h, w) scores of the segments of a picture (H, W, 3) uint8 RGB with this feature map (C, h, w), refined."""
    shape, tokens = tuple(map_.shape[1:]), map_.flatten(1).T
    if config.method == "spectral":
        tokens = spectral_tokens(tokens, shape, image, seed=config.seed)
    refinement = None
    if config.refine != "none":
        refinement = Refinement(config.refine, config.refine_size, config.sharpness, config.crf)
    return scores(model, tokens, shape, image, refinement)


def segment_labels(found: Tensor, size: tuple[int, int], least_area: float) -> np.ndarray:
    """The segment of every pixel at this size (H, W) by scores (K, h, w), uint8 or uint16, without specks."""
    return without_specks(best(found, size), least_pixels(least_area, size))
