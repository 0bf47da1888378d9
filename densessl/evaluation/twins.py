"""What the backbone of a protocol of segments is held against: the same network untrained, and the colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from densessl.data.sources import Source
from densessl.data.sources.subset import drawn
from densessl.evaluation.baselines import FITTED, fit_batch_norms, random_twin
from densessl.progress import Report
from densessl.segmentation.features import transform
from densessl.segmentation.features.colour import ColourBackbone
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.features.squares import Squares

BATCH = 32  # pictures of a batch whose statistics batch norms take


@dataclass(frozen=True)
class Twin:
    """Another network, shown pictures as the judged one is. what: it is, in words."""

    extractor: Extractor
    what: str


def twins(extractor: Extractor, source: Source, images: Sequence[int], seed: int, progress: Report) -> dict[str, Twin]:
    """The same network with the random weights of a seed, and colours and gradients; of colours themselves none.

    Both have the window of the judged one.

    images: of the source, from which the training pictures are drawn whose statistics the batch norms of random weights
    are given, as in the other protocols; see `fit_batch_norms`.
    """
    backbone, shown = extractor.backbone, (extractor.frame.image_size, str(extractor.device), extractor.precision)
    if isinstance(backbone, ColourBackbone):
        return {}
    network, part = random_twin(backbone, seed), [images[place] for place in drawn(len(images), FITTED, seed)]
    tile, window = extractor.frame.tile if extractor.tiled else None, extractor.window
    untrained = Extractor(network, *shown, extractor.layers, extractor.facet, tile, window)
    seen = untrained
    if tile:
        source, seen = Squares(source, untrained.frame, part, seed), untrained.of_tiles()
        part = range(len(source))
    normed = fit_batch_norms(network, lambda: look(seen, source, part, progress))
    beside = f", side by side as layers {list(extractor.layers)}" if len(extractor.layers) > 1 else ""
    what = f"{backbone.architecture} with random weights of seed {seed}{beside}"
    return {
        "untrained": Twin(untrained, f"{what}, {normed}" if normed else what),
        "colours and gradients": Twin(
            Extractor(ColourBackbone(), *shown, tile=tile, window=window), "42 numbers a place, not learned"
        ),
    }


def look(extractor: Extractor, source: Source, images: Sequence[int], progress: Report) -> None:
    """Show an extractor the central squares of pictures, a batch at a time: those of a batch must be of one size."""
    alone, extractor.batch_size = extractor.batch_size, BATCH
    side, batch = (extractor.frame.tile,) * 2 if extractor.tiled else extractor.frame.size(1, 1), []
    for done, picture in enumerate(transform.pictures(source, images, extractor.frame), start=1):
        square = None if picture.image is None else central(picture.image, side)
        batch += [] if square is None else [square]
        # Of a single picture, whose map may be a single place, no statistics can be taken.
        if len(batch) == BATCH or (done == len(images) and len(batch) > 1):
            extractor(batch)
            batch = []
        progress("Statistics for random weights", done, len(images), "")
    extractor.batch_size = alone


def central(image: np.ndarray, side: tuple[int, int]) -> np.ndarray | None:
    """The middle of a picture (H, W, 3), of this height and width; None where it is smaller."""
    top, left = ((have - want) // 2 for have, want in zip(image.shape, side, strict=False))
    return image[top : top + side[0], left : left + side[1]] if min(top, left) >= 0 else None
