"""Features of more pictures than there is room for: the backbone makes their tables anew whenever they are asked for.

Nothing random reaches the features, so that those of a step are the same whether they were kept or are made for it: on
a CPU bit for bit, on a GPU up to the rounding of another batch. One pass over all pictures is needed in either way, for
the neighbours and the shapes; where their tables fit, keeping them therefore costs no step of the backbone, however few
pictures are learned from, and is what is done. Where they do not, that pass keeps the mean token of each picture alone,
and only the pictures that steps touch go through the backbone again. What the backbone is shown of those, 8 bits a
channel, is kept as far as there is room (an eighth of the features of a ViT-S/8), so that it is decoded once.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from densessl.data.images import UnreadableImage
from densessl.data.sources import Source
from densessl.errors import RunStopped
from densessl.progress import Say, tell
from densessl.segmentation.features import transform
from densessl.segmentation.features.cache import GB, Cache, gigabytes
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.features.kept import MEMORY, Blocks, Features, extract, features_key, table_of
from densessl.segmentation.features.tables import Holder, Table
from densessl.segmentation.stego.sampling import Layout

LOOKED_AT = 16  # pictures by whose sizes those of all are judged
DENSEST = 256  # bytes of features to a pixel, more than backbones give: ViT-S/8 24, ViT-B/8 48
SPARE = 0.9  # of what a disk has left


class Remade(Features):
    """Features whose tables are made when they are asked for.

    pooled: of the same pictures, with their mean tokens in `arrays`. held: keeps what the backbone is shown, up to
    `room` bytes.
    """

    def __init__(self, pooled: Features, source: Source, extractor: Extractor, held: Holder, room: float) -> None:
        super().__init__(pooled.indices, pooled.shapes, pooled.arrays, pooled.unreadable)
        self.source, self.extractor, self.held, self.room = source, extractor, held, room
        self.inputs: dict[int, np.ndarray | Table] = {}

    @property
    def at_hand(self) -> bool:
        return False

    def tokens(self, row: int) -> Tensor:
        return next(self.each([row]))

    def each(self, rows: Sequence[int]) -> Iterator[Tensor]:
        size = self.extractor.batch_size
        for start in range(0, len(rows), size):
            yield from self._made(rows[start : start + size])

    def batch(self, rows: Sequence[int]) -> tuple[Tensor, Layout]:
        return torch.cat(list(self.each(rows))), Layout.of([self.shapes[row] for row in rows])

    def _made(self, rows: Sequence[int]) -> list[Tensor]:
        tables = []
        for row, map_ in zip(rows, self.extractor([self._input(row) for row in rows]), strict=True):
            if tuple(map_.shape[1:]) != self.shapes[row]:
                raise self._changed(row, "it has another size now")
            tables.append(torch.from_numpy(table_of(map_, self.source.name(self.indices[row]))))
        return tables

    def _input(self, row: int) -> np.ndarray:
        """uint8 (H, W, 3), what the backbone is shown of a picture."""
        if row in self.inputs:
            return np.asarray(self.inputs[row])
        try:
            image = self.extractor.frame.show(self.source.read(self.indices[row]))
        except UnreadableImage as error:
            raise self._changed(row, str(error)) from None
        if image.nbytes <= self.room:
            self.room -= image.nbytes
            self.inputs[row] = self.held.hold(image)
        return image

    def _changed(self, row: int, how: str) -> RunStopped:
        name = self.source.name(self.indices[row])
        return RunStopped(f"{name} was changed while it was learned from: {how}. Start again.")


def features_of(
    source: Source,
    extractor: Extractor,
    indices: Sequence[int],
    workers: int = 0,
    cache: Cache | None = None,
    spill: str | Path | None = None,
    advance: Callable[[int], None] = lambda done: None,
    key: str | None = None,
    keep: float = math.inf,
    elsewhere: str = "cache=FOLDER",
    say: Say = tell,
) -> Features:
    """The features of these pictures: kept, as `extract` keeps them, or made anew where they would take too much.

    keep: GB that they may take in the folder `spill`; in the cache they may take what the cache may. elsewhere: how the
    user names another folder. say: is told where they are not kept, and why. The rest is as in `extract`.
    """
    key, spill = key or features_key(extractor, source), Path(spill or tempfile.gettempdir())
    reason = None
    if not Blocks(cache, key, indices).there():
        reason = _too_much(source, extractor, indices, cache, spill, keep, elsewhere)
    if reason is None:
        return extract(source, extractor, indices, workers, cache, spill, advance=advance, key=key)
    say(f"{reason} The backbone makes them anew for each step.")
    pooled = extract(source, extractor, indices, workers, cache, spill, advance=advance, key=key, pooled=True)
    room = min(keep * GB, SPARE * _free(spill))
    return Remade(pooled, source, extractor, Holder(spill, MEMORY), room)


def _too_much(
    source: Source,
    extractor: Extractor,
    indices: Sequence[int],
    cache: Cache | None,
    spill: Path,
    keep: float,
    elsewhere: str,
) -> str | None:
    """Why the tables are not kept, as a sentence; None where they are."""
    allowed = max(keep * GB, cache.size if cache else 0)
    longest = math.prod(extractor.frame.size(1000, 1000 * transform.LONGEST))
    if DENSEST * longest * len(indices) <= min(allowed, SPARE * _free(spill)):
        return None
    wanted = expected(source, extractor, indices)
    begin = f"The features of {len(indices)} pictures would take {gigabytes(wanted)} GB"
    if wanted > allowed:
        return f"{begin}, more than keep_size={keep:g} allows (keep_size={math.ceil(wanted / GB)} keeps them)."
    folder = cache.folder if cache and wanted <= cache.size else spill
    free = SPARE * _free(folder)
    if wanted > max(free, MEMORY):
        return f"{begin}, and {folder} has room for {gigabytes(free)} ({elsewhere} names another place)."
    return None


def expected(source: Source, extractor: Extractor, indices: Sequence[int]) -> float:
    """Bytes that the tables of these pictures take, judged by the map of one and the sizes of some others."""
    places = np.linspace(0, len(indices) - 1, min(LOOKED_AT, len(indices))).astype(int)
    pictures = transform.pictures(source, [indices[place] for place in places], extractor.frame)
    shown = [picture.image for picture in pictures if picture.image is not None]
    if not shown:
        return 0.0
    (map_,) = extractor(shown[:1])
    return 4 * map_.numel() / shown[0].size * sum(image.size for image in shown) / len(shown) * len(indices)


def _free(folder: Path) -> int:
    """Bytes that the disk of a folder has left, which need not be there yet."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free
