"""The masks of a film: one for each frame, in the order of time, and then a video that shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

from densessl.data.resize import resize
from densessl.data.sources.videos import measure
from densessl.errors import UserError
from densessl.files import writing
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.films.items import Film
from densessl.segmentation.films.stable import Stable
from densessl.segmentation.masks import MaskRun, Scored
from densessl.segmentation.model import Segmenter
from densessl.segmentation.parallel import spread
from densessl.segmentation.reader import Read

KEPT = 20  # masks after which the average is written to a file, for a run that is killed to go on from
CODEC = "mp4v"  # MPEG-4 Part 2, which OpenCV writes wherever it writes MP4


@dataclass
class FilmMasks:
    """What writes the masks of a film and shows them; whatever its length, one frame is held at a time."""

    run: MaskRun
    film: Film

    def __call__(self, extractor: Callable[[], Extractor], model: Segmenter) -> None:
        """Write what is missing; extractor: called where that is masks."""
        run, writer, film = self.run, self.run.writer, self.run.writer.film(self.film.stem)
        missing = [index for index in self.film.numbers if not writer.segmented(run.stem(index))]
        if missing:
            film.unlink(missing_ok=True)  # it would no longer show all that lies beside
            self._write(extractor(), model, missing[0], missing[-1])
        if not (film.is_file() and all(writer.complete(run.stem(i), frame=True) for i in self.film.numbers)):
            self._show()

    def _write(self, extractor: Extractor, model: Segmenter, first: int, last: int) -> None:
        """The masks that are missing, between these two; the average is found again from where it was kept.

        Features are computed in this thread; frames are scored by several, and averaged in the order of time.
        """
        run, stem, share = self.run, self.film.stem, self.run.config.stable
        model, stable = model.to(extractor.device).eval(), None
        if share:
            stable = self._stable(extractor.device, first)
            first = self.film.first + stable.frames

        def act(frame: Read) -> Scored:
            return run.score(model, frame, fine=bool(share))

        frames = self._read(extractor, first, last, everyone=bool(share))
        for scored in spread(act, frames, run.threads(model), run.stop.is_asked):
            index = scored.picture.index
            if stable:
                scored.found = stable(scored.found, scored.picture.image)
            if not run.writer.segmented(run.stem(index)):
                run.keep(model, scored)
            if stable and stable.frames % KEPT == 0:
                stable.save(run.writer.unfinished(stem))
            run.progress("Writing masks", index + 1, len(run.source), self.film.name)
        if stable and run.stop.is_asked():
            stable.save(run.writer.unfinished(stem))
        run.heed()
        run.writer.forget_unfinished(stem)

    def _stable(self, device: torch.device, missing: int) -> Stable:
        """The average as it was kept, if it is of frames before the first that has no mask; else that of none."""
        kept = Stable.load(self.run.writer.unfinished(self.film.stem), self.run.config.stable, device)
        return kept if self.film.first + kept.frames <= missing else Stable(self.run.config.stable)

    def _read(self, extractor: Extractor, first: int, last: int, everyone: bool) -> Iterator[Read]:
        """The frames from one to another, or those of them that have no mask, with their tokens."""
        for index, image in self.film.frames(first):
            if index > last:
                return
            if everyone or not self.run.writer.segmented(self.run.stem(index)):
                yield Read.of(index, image, self.run.source.name(index), extractor)

    def _show(self) -> None:
        """Write the masks of classes, where there are names, and the video."""
        run, path = self.run, self.run.writer.film(self.film.stem)
        with writing(path) as temporary:
            video, size, written = None, (0, 0), 0
            try:
                for index, image in self.film.frames(self.film.first):
                    stem = run.stem(index)
                    if not run.writer.segmented(stem):
                        continue
                    labels = run.labels(index)
                    run.writer.show(stem, None, labels)
                    shown = run.writer.overlay(resize(image, *labels.shape), labels)
                    if video is None:
                        size = shown.shape[:2]
                        video = _open(temporary, path, size, self.film.rate)
                    video.write(resize(shown, *size)[:, :, ::-1])
                    written += 1
                    run.progress("Drawing videos", index + 1, len(run.source), self.film.name)
                    run.heed()
            finally:
                if video is not None:
                    video.release()
            _check_whole(temporary, path, written)


def _open(temporary: Path, path: Path, size: tuple[int, int], rate: float) -> cv2.VideoWriter:
    video = cv2.VideoWriter(str(temporary), cv2.VideoWriter_fourcc(*CODEC), rate, size[::-1])
    if not video.isOpened():
        raise UserError(
            f"OpenCV cannot write {path}, a video of {size[1]} x {size[0]} pixels in MPEG-4: install "
            "opencv-python-headless, which can."
        )
    return video


def _check_whole(temporary: Path, path: Path, frames: int) -> None:
    """OpenCV says nothing when a disk is full: what was written is read again."""
    found = measure(str(temporary)).frames
    if found != frames:
        raise UserError(
            f"{path} could not be written whole, {found} of {frames} frames are in it: free some space, and give the "
            "same command again."
        )
