"""Masks of all pictures of a source: those that are missing, and what is missing beside those that are there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densessl.data.images import UnreadableImage
from densessl.data.sources import Source, Unreadable
from densessl.errors import UserError
from densessl.progress import Report
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.model import Segmenter
from densessl.segmentation.parallel import spread, threads_of
from densessl.segmentation.predict import Refinement, best, probabilities, scores
from densessl.segmentation.reader import Read, Reader
from densessl.segmentation.spectral import spectral_tokens
from densessl.segmentation.stopping import Stop
from densessl.segmentation.writer import MaskWriter


@dataclass
class MaskRun:
    """What the masks of one run are made from and with.

    files: the stem of each picture by its name, in order. spectral: whether the tokens are joined into segments of the
    picture first.
    """

    source: Source
    files: dict[str, str]
    writer: MaskWriter
    config: SegmentConfig
    unreadable: Unreadable
    progress: Report
    stop: Stop
    spectral: bool = False

    def __post_init__(self) -> None:
        self.stems = list(self.files.values())

    def done(self) -> list[int]:
        return [index for index, stem in enumerate(self.stems) if self.writer.complete(stem)]

    def labels(self, index: int) -> np.ndarray:
        """The segment of every pixel of a picture that is done; `UserError` where the file is damaged."""
        labels = self.writer.read(self.stems[index])
        if labels is None:
            path = self.writer.folder / "labels" / f"{self.stems[index]}.png"
            raise UserError(f"{path} is damaged: delete it and give the same command again.")
        return labels

    def show(self) -> None:
        """Complete the pictures whose segments are there and whose class map or overlay is not, without a backbone."""
        half = [
            index
            for index, stem in enumerate(self.stems)
            if self.writer.segmented(stem) and not self.writer.complete(stem)
        ]
        for count, index in enumerate(half, start=1):
            stem = self.stems[index]
            try:
                image = self.source.read(index)
            except UnreadableImage as error:
                self.unreadable.add(self.source.name(index), str(error))
                continue
            labels = self.writer.read(stem)
            if labels is None or labels.shape != image.shape[:2]:
                self.writer.forget(stem)
            else:
                self.writer.show(stem, image, labels)
            self.progress("Drawing overlays", count, len(half), "")
            self.heed()

    def write(self, reader: Callable[[], Reader], model: Segmenter, before: set[str]) -> None:
        """Masks of the pictures that have none.

        reader: called when there is anything to do. before: names that an earlier start could not read; no backbone is
        loaded for them alone.
        """
        missing = [index for index, stem in enumerate(self.stems) if not self.writer.segmented(stem)]
        missing = [index for index in missing if not self._unreadable_still(index, before)]
        if not missing:
            return
        reader, total = reader(), len(self.stems)
        model = model.to(reader.extractor.device).eval()

        def act(picture: Read) -> tuple[str, str]:
            if picture.image is not None:
                self._segment(model, picture)
            return self.source.name(picture.index), picture.reason

        with closing(reader(missing, self.unreadable.reasons)) as pictures:
            written = spread(act, pictures, threads_of(model.centres.device), self.stop.is_asked)
            for done, (name, reason) in enumerate(written, start=total - len(missing) + 1):
                if reason:
                    self.unreadable.add(name, reason)
                self.progress("Writing masks", done, total, "")
        self.heed()

    def heed(self) -> None:
        if self.stop.asked is not None:
            self.stop.heed(f"with {len(self.done())} of {len(self.stems)} pictures done")

    def _unreadable_still(self, index: int, before: set[str]) -> bool:
        name = self.source.name(index)
        if name not in before and name not in self.unreadable.reasons:
            return False
        try:
            self.source.read(index)
        except UnreadableImage as error:
            self.unreadable.add(name, str(error))
            return True
        return False

    def _segment(self, model: Segmenter, picture: Read) -> None:
        config, refinement, tokens = self.config, None, picture.tokens
        if self.spectral:
            tokens = spectral_tokens(tokens, picture.shape, picture.image, seed=config.seed)
        if config.refine != "none":
            refinement = Refinement(config.refine, config.refine_size, config.sharpness, config.crf)
        found = scores(model, tokens, picture.shape, picture.image, refinement)
        labels = best(found, picture.image.shape[:2])
        shares = None
        if config.probabilities:
            shares = probabilities(model, tokens, picture.shape, found, refinement, config.sharpness)
        self.writer.write(self.stems[picture.index], picture.image, labels, shares)


def unreadable_before(folder: Path) -> set[str]:
    """The names in the list that an earlier start wrote."""
    path = folder / "unreadable.txt"
    if not path.is_file():
        return set()
    return {line.split("\t")[0] for line in path.read_text(encoding="utf-8", errors="replace").splitlines()}
