"""The images with label maps that a protocol of segments learns from and judges: which of them, and their features."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from densessl.data.sources import Source
from densessl.data.sources.base import digest
from densessl.data.sources.subset import drawn
from densessl.errors import UserError
from densessl.evaluation.shelf import Shelf
from densessl.progress import Report
from densessl.segmentation.features import remade
from densessl.segmentation.features.cache import lists
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.features.kept import Features, features_key
from densessl.segmentation.features.squares import Squares
from densessl.segmentation.features.transform import Frame
from densessl.segmentation.sets import CentreSquares, FiveCrops, LabelledImages, open_labelled
from densessl.segmentation.sets.folder import Counted

if TYPE_CHECKING:
    from densessl.evaluation.segments_config import SegmentsConfig


def open_sets(config: SegmentsConfig, progress: Report) -> tuple[LabelledImages | None, LabelledImages]:
    """What is learned from, if anything, and what is judged; of the same classes."""

    def opened(split: str) -> LabelledImages:
        return open_labelled(config.data, split, ignore=config.ignore, cache=lists(config.cache), progress=progress)

    test, train = opened(config.split), None
    if config.methods or config.baselines:
        train = opened(config.learn_split)
    if isinstance(test, Counted):
        # Nobody has named the classes of this folder, and one of its parts may lack some of them.
        with suppress(UserError):
            test = test.joined(train or opened(config.learn_split))
        train = train and train.joined(test)
    return train, test


def counted(config: SegmentsConfig, labelled: LabelledImages) -> str:
    """How many images of a set are used, in words."""
    used, count = len(chosen(config, labelled)), len(labelled)
    return f"{used} images" if used == count else f"{used} of the {count} images, drawn by seed {config.seed},"


def chosen(config: SegmentsConfig, labelled: LabelledImages) -> list[int]:
    """The numbers of what `limit` leaves of a set: so many images, or all crops of so many."""
    crops = labelled.crops
    count = len(labelled) // crops
    images = range(count) if config.limit is None else drawn(count, config.limit, config.seed).tolist()
    return [crops * image + crop for image in images for crop in range(crops)]


def learned_images(train: LabelledImages, crops: str, inputs: str, frame: Frame) -> LabelledImages:
    """The images of a set, or five crops of each; "square" `inputs` are the squares that `frame` shows as they are.

    Raises `UserError` where the backbone's stride does not divide the square.
    """
    train = FiveCrops(train) if crops == "five" else train
    if inputs == "whole":
        return train
    check_square(frame.image_size, frame, "inputs=square")
    return CentreSquares(train, frame.image_size)


def check_square(size: int, frame: Frame, asked: str) -> None:
    """Raise `UserError` where squares of `size` pixels, `asked` for by this setting, would have to be resized."""
    if size % frame.stride and not frame.fixed:
        raise UserError(
            f"{asked} shows {size} px, which a stride of {frame.stride} does not divide: leave it out, or give another "
            "backbone."
        )


def features_of(
    config: SegmentsConfig,
    extractor: Extractor,
    labelled: LabelledImages,
    shelf: Shelf,
    progress: Report,
    source: Source | None = None,
) -> tuple[Features, str]:
    """Of a set's images, or of what `source` makes of them; and the key of all that they depend on."""
    return _read(config, extractor, source or labelled.source, chosen(config, labelled), shelf, progress)


def learned_features(
    config: SegmentsConfig, extractor: Extractor, labelled: LabelledImages, shelf: Shelf, progress: Report
) -> tuple[Features, str]:
    """What is learned from, with its key: features of a set's images or, by way of tiles, of squares of them."""
    source, indices = labelled.source, chosen(config, labelled)
    if extractor.tiled:
        source, extractor = Squares(source, extractor.frame, indices, config.seed), extractor.of_tiles()
        indices = list(range(len(source)))
    return _read(config, extractor, source, indices, shelf, progress)


def _read(
    config: SegmentsConfig, extractor: Extractor, source: Source, indices: list[int], shelf: Shelf, progress: Report
) -> tuple[Features, str]:
    count, key, store = len(indices), features_key(extractor, source), shelf.cache

    def advance(done: int) -> None:
        progress("Reading features", done, count, "")

    kept = remade.features_of(
        source,
        extractor,
        indices,
        config.workers,
        store,
        spill=store.folder if store else None,
        advance=advance,
        key=key,
        keep=config.keep_size,
    )
    shelf.heed()
    if kept.unreadable:
        name, reason = kept.unreadable[0]
        raise UserError(f"{name} of {config.data} cannot be read ({reason}): mend the set before it is judged on.")
    return kept, digest([key, *indices])
