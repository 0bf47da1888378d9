"""Masks of all pictures of a source: those that are missing, and what is missing beside those that are there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from densessl.data.images import UnreadableImage
from densessl.data.sources import Unreadable
from densessl.errors import UserError
from densessl.progress import Report
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.films.items import Items
from densessl.segmentation.model import Segmenter
from densessl.segmentation.outputs.writer import MaskWriter
from densessl.segmentation.parallel import spread, threads_of
from densessl.segmentation.predict import Refinement, best, probabilities, scores, tiled_scores
from densessl.segmentation.reader import Read, Reader
from densessl.segmentation.refinement.specks import least_pixels, without_specks
from densessl.segmentation.spectral import spectral_tokens
from densessl.segmentation.stopping import Stop


@dataclass
class Scored:
    """A picture and the scores (K, h, w) that were found in it."""

    picture: Read
    found: Tensor
    refinement: Refinement | None


@dataclass
class MaskRun:
    """What the masks of one run are made from and with.

    spectral: the seed by which the tokens are joined into segments of the picture first; None: they are not.
    """

    source: Items
    writer: MaskWriter
    config: SegmentConfig
    unreadable: Unreadable
    progress: Report
    stop: Stop
    spectral: int | None = None

    def done(self) -> list[int]:
        """The numbers of the pictures and frames that have all of their files."""
        return [i for i in range(len(self.source)) if self.writer.complete(self.source.stem(i), self.frame(i))]

    def frame(self, index: int) -> bool:
        """Whether this is a frame of a film."""
        return index >= self.source.pictures

    def stem(self, index: int) -> str:
        return self.source.stem(index)

    def labels(self, index: int) -> np.ndarray:
        """The segment of every pixel of a picture that is done; `UserError` where the file is damaged."""
        labels = self.writer.read(self.stem(index))
        if labels is None:
            path = self.writer.folder / "labels" / f"{self.stem(index)}.png"
            raise UserError(f"{path} is damaged: delete it and give the same command again.")
        return labels

    def show(self) -> None:
        """Complete the pictures whose segments are there and whose class map or overlay is not, without a backbone."""
        stems = [(index, self.stem(index)) for index in range(self.source.pictures)]
        half = [each for each in stems if self.writer.segmented(each[1]) and not self.writer.complete(each[1])]
        for count, (index, stem) in enumerate(half, start=1):
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
        missing = [index for index in range(self.source.pictures) if not self.writer.segmented(self.stem(index))]
        missing = [index for index in missing if not self._unreadable_still(index, before)]
        if not missing:
            return
        reader, total = reader(), self.source.pictures
        model = model.to(reader.extractor.device).eval()

        def act(picture: Read) -> tuple[str, str]:
            if picture.image is not None:
                self._segment(model, picture)
            return self.source.name(picture.index), picture.reason

        self.progress("Writing masks", total - len(missing), total, "")  # from now on its time is counted
        with closing(reader(missing, self.unreadable.reasons)) as pictures:
            written = spread(act, pictures, self.threads(model), self.stop.is_asked)
            for done, (name, reason) in enumerate(written, start=total - len(missing) + 1):
                if reason:
                    self.unreadable.add(name, reason)
                self.progress("Writing masks", done, total, "")
        self.heed()

    def threads(self, model: Segmenter) -> int:
        """How many pictures are scored at a time; the eigenvectors of a graph are found by several threads already."""
        return 1 if self.spectral is not None else threads_of(model.centres.device)

    def heed(self) -> None:
        if self.stop.asked is not None:
            self.stop.heed(f"with {len(self.done())} of {len(self.source)} pictures done")

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
        self.keep(model, self.score(model, picture))

    def score(self, model: Segmenter, picture: Read, fine: bool = False) -> Scored:
        """The scores of the segments in a picture; fine: probabilities at the size of the refinement in any case."""
        config, refinement = self.config, None
        if picture.bands is not None:
            return self._score_tiled(model, picture, fine)
        if self.spectral is not None:
            joined = spectral_tokens(picture.tokens, picture.shape, picture.image, seed=self.spectral)
            picture = dataclasses.replace(picture, tokens=joined)
        if config.refine != "none" or fine:
            refinement = Refinement(config.refine, config.refine_size, config.sharpness, config.crf)
        found = scores(model, picture.tokens, picture.shape, picture.image, refinement)
        return Scored(picture, found, refinement)

    def _score_tiled(self, model: Segmenter, picture: Read, fine: bool) -> Scored:
        config = self.config
        refinement = Refinement(config.refine, config.refine_size, config.sharpness, config.crf)
        found = tiled_scores(model, self._heeding(picture.bands), config.sharpness)
        if config.refine != "none" or fine:
            found = refinement.follow(found, picture.image)
        return Scored(picture, found, refinement)

    def _heeding(self, bands: Iterable[Tensor]) -> Iterator[Tensor]:
        """A signal ends the run within a picture that is seen through tiles, which may take minutes."""
        for band in bands:
            self.heed()
            yield band

    def keep(self, model: Segmenter, scored: Scored) -> None:
        """Write the files of a picture, or those of a frame."""
        picture, shares = scored.picture, None
        size = picture.image.shape[:2]
        least = least_pixels(self.config.least_area, size, picture.bands.frame if picture.bands else None)
        labels = without_specks(best(scored.found, size), least)
        if self.config.probabilities:
            found = scored.found, scored.refinement, self.config.sharpness
            shares = probabilities(model, picture.tokens, picture.shape, *found)
        image = None if self.frame(picture.index) else picture.image
        self.writer.write(self.stem(picture.index), image, labels, shares)


def unreadable_before(folder: Path) -> set[str]:
    """The names in the list that an earlier start wrote."""
    path = folder / "unreadable.txt"
    if not path.is_file():
        return set()
    return {line.split("\t")[0] for line in path.read_text(encoding="utf-8", errors="replace").splitlines()}
