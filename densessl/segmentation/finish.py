"""What is written once all masks are there: counts, names, and what to look at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from densessl.data.images import UnreadableImage
from densessl.errors import UserError
from densessl.segmentation.masks import MaskRun
from densessl.segmentation.outputs.coco import write_coco
from densessl.segmentation.outputs.names import write_names
from densessl.segmentation.outputs.sheets import draw_legend, draw_sheet
from densessl.segmentation.outputs.tally import Tally, write_segments
from densessl.segmentation.parallel import spread, threads_of


def finish(run: MaskRun) -> tuple[Tally, int]:
    """Write what sums up the masks; returns their counts and the number of pictures that have them.

    All of it is made from the files, so that it is the same however often the run was stopped.
    """
    folder, writer, done = run.writer.folder, run.writer, run.done()
    run.unreadable.write(folder)
    run.unreadable.check(len(run.source), run.config.unreadable)
    if not done:
        raise UserError(f"None of the {len(run.source)} pictures can be read: see {folder / 'unreadable.txt'}.")
    tally = Tally(writer.classes, run.config.crops)
    masks = zip(done, spread(run.labels, done, threads_of()), strict=True)
    for count, (index, labels) in enumerate(masks, start=1):
        tally.add(index, labels, run.source.group(index, max(1, run.config.crops)))
        run.progress("Summing up", count, len(done), "")
        run.heed()
    if run.config.coco or (folder / "coco.json").exists():  # one of an earlier start would be of other classes
        _write_coco(run, done)
    write_segments(folder / "segments.json", tally, _files(run, done))  # after what a start that goes on looks for
    write_names(folder / "names.txt", writer.classes, tally.shares)
    draw_legend(folder / "legend.png", tally)
    if run.config.crops and run.config.sheets:
        _draw_sheets(run, tally)
    return tally, len(done)


def _files(run: MaskRun, done: list[int]) -> dict[str, str]:
    """The mask of each picture and the folder of those of each film."""
    source, writer = run.source, run.writer
    found = {source.name(index): writer.mask(run.stem(index)) for index in done if not run.frame(index)}
    return found | {film.name: writer.masks(film.stem) for film in source.films}


def _write_coco(run: MaskRun, done: list[int]) -> None:
    classes = run.writer.classes

    def pictures() -> Iterator[tuple[str, np.ndarray]]:
        for count, index in enumerate(done, start=1):
            yield run.source.name(index), run.writer.table[run.labels(index)]
            run.progress("Writing coco.json", count, len(done), "")
            run.heed()

    write_coco(run.writer.folder / "coco.json", classes.class_names, pictures())


def _draw_sheets(run: MaskRun, tally: Tally) -> None:
    """Of the largest segments, and those that are there are kept up to date."""

    def read(picture: int) -> tuple[np.ndarray, np.ndarray] | None:
        labels = run.labels(picture)
        try:
            image = run.source.read(picture)
        except UnreadableImage:
            return None
        return (image, labels) if image.shape[:2] == labels.shape else None

    total, largest = len(tally.pixels), set(np.argsort(-tally.pixels, kind="stable")[: run.config.sheets].tolist())
    folder, digits = run.writer.folder / "sheets", max(2, len(str(total - 1)))
    paths = {segment: folder / f"segment-{segment:0{digits}}.png" for segment in range(total)}
    drawn = [segment for segment, path in paths.items() if segment in largest or path.exists()]
    for count, segment in enumerate(drawn, start=1):
        draw_sheet(paths[segment], segment, tally, read)
        run.progress("Drawing sheets", count, len(drawn), "")
        run.heed()
