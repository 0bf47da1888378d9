"""The features of a frozen backbone, computed once per picture and kept.

Nothing random reaches them (STEGO augments nothing; dropout acts on what is kept), so keeping them is exact. They lie
in memory up to a limit and beyond it in a file. In a cache they outlive the run, under a key of the backbone's weights,
the transform and the pictures. They are kept as they are computed, in float32: half of it would round, and would then
have to round what is not kept as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from densessl.data.images import UnreadableImage
from densessl.errors import RunStopped
from densessl.segmentation.features import transform
from densessl.segmentation.features.cache import Cache, Kept, Writer
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.features.tables import Holder, Table
from densessl.segmentation.parallel import spread, threads_of
from densessl.segmentation.stego.sampling import Layout

MEMORY = 1 << 26  # bytes of features that a run holds; the system's cache of files makes the others hardly slower
LEAST, MOST = 64, 128  # pictures of a block, and blocks, each of which is an open file
SAMPLED = 2048  # pictures that a sample of tokens is taken from, at most


@dataclass
class Features:
    """Tokens of pictures: row i is picture `indices[i]` of the source, a map of `shapes[i]` = (h, w) tokens.

    arrays: per picture (h * w, C) float32, in memory or in a file.
    unreadable: (name, reason) of the pictures that have none.
    """

    indices: list[int] = field(default_factory=list)
    shapes: list[tuple[int, int]] = field(default_factory=list)
    arrays: list[np.ndarray | Table] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def channels(self) -> int:
        return self.arrays[0].shape[1]

    @property
    def at_hand(self) -> bool:
        """Whether the tables are kept, so that asking for one costs nothing."""
        return True

    def tokens(self, row: int) -> Tensor:
        """(h * w, C) of one picture, a copy."""
        return torch.from_numpy(np.array(self.arrays[row]))

    def each(self, rows: Sequence[int]) -> Iterator[Tensor]:
        """Yield `tokens` of these pictures, in order."""
        yield from map(self.tokens, rows)

    def batch(self, rows: Sequence[int]) -> tuple[Tensor, Layout]:
        """The tokens of several pictures one after another, and where each lies."""
        tokens = torch.from_numpy(np.concatenate([self.arrays[row] for row in rows]))
        return tokens, Layout.of([self.shapes[row] for row in rows])

    @property
    def looked_at(self) -> int:
        """How many pictures a sample of tokens is taken from: all, or `SAMPLED` of them where there are more.

        Tokens of so many pictures say what those of all would, which may have to be made for it.
        """
        return min(len(self), SAMPLED)

    def some(self, generator: torch.Generator) -> Sequence[int]:
        """The rows of those pictures, in their order."""
        if self.looked_at == len(self):
            return range(len(self))
        return sorted(torch.randperm(len(self), generator=generator)[: self.looked_at].tolist())

    def sampled(
        self, share: int, generator: torch.Generator, codes: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Unit tokens (N, C) at random, `share` of each picture that is looked at, or all that it has.

        codes: from tokens (T, C) to what is wanted in their place, (T, D) on the CPU.
        """
        found = []
        for tokens in self.each(self.some(generator)):
            tokens = tokens[torch.randperm(len(tokens), generator=generator)[:share]]
            found.append(tokens if codes is None else codes(tokens))
        return F.normalize(torch.cat(found), dim=1)

    def add(self, other: Features) -> None:
        """Put the pictures of another after these."""
        for name in ("indices", "shapes", "arrays", "unreadable"):
            getattr(self, name).extend(getattr(other, name))

    def pooled(self) -> Tensor:
        """(n, C) the mean token of each picture."""
        return torch.stack([torch.from_numpy(np.asarray(each).mean(axis=0)) for each in self.arrays])


def nearest_neighbours(pooled: Tensor, k: int = 7, block: int = 1024) -> Tensor:
    """(n, min(k, n - 1)) the pictures most like each picture, itself left out, nearest first.

    pooled: (n, C) mean features; compared by their cosine, `block` rows at a time, fewer beyond 65,536 pictures, so
    that no more than 256 MiB of cosines are there at a time.
    """
    block = max(1, min(block, (1 << 26) // max(1, len(pooled))))
    unit = F.normalize(pooled, dim=1)
    k = min(k, len(unit) - 1)
    found = []
    for start in range(0, len(unit), block):
        cosine = unit[start : start + block] @ unit.T
        rows = torch.arange(len(cosine))
        cosine[rows, start + rows] = -2.0
        found.append(cosine.topk(k, dim=1).indices)
    return torch.cat(found)


def extract(
    source,
    extractor: Extractor,
    indices: Sequence[int],
    workers: int = 0,
    cache: Cache | None = None,
    spill: str | Path | None = None,
    memory: int = MEMORY,
    advance: Callable[[int], None] = lambda done: None,
    key: str | None = None,
    pooled: bool = False,
) -> Features:
    """The features of these pictures of a source.

    cache: where they are looked for, and kept for other runs; None: they are for this run only.
    spill: a folder for the nameless file that holds what exceeds `memory` bytes (system default: the one for
        temporary files); the file vanishes with the process, however that ends.
    advance: called with the number of pictures done. key: of `features_key`, where it is known.
    pooled: keep the mean token of each picture in place of its table, which is (1, C) then; the shapes stay the maps'.
    Raises `UserError` when they cannot be stored, `RunStopped` when the backbone gives NaN or infinity.
    """
    blocks = Blocks(cache, key or features_key(extractor, source), indices, pooled)
    found = [_unless_mended(blocks.read(number), part, source) for number, part in enumerate(blocks.parts)]
    missing = [index for block, part in zip(found, blocks.parts, strict=True) if block is None for index in part]
    there = len(indices) - len(missing)
    if there:
        advance(there)
    stream = _stream(source, extractor, missing, workers, lambda done: advance(there + done)) if missing else iter(())
    holder, kept = Holder(spill, memory), Features()
    for number, block in enumerate(found):
        kept.add(_block(stream, blocks, number, holder) if block is None else block)
    return kept


def features_key(extractor: Extractor, source) -> str:
    """What the features of all pictures of a source depend on."""
    return f"{extractor.key()} {source.fingerprint()}"


class Blocks:
    """The features of some pictures in a cache, an entry of several files: what a killed run had done is not lost.

    key: of the entry. parts: the pictures of each file, in order. pooled: of each picture its mean token alone. Without
    a cache nothing is found and nothing is kept.
    """

    def __init__(self, cache: Cache | None, key: str, indices: Sequence[int], pooled: bool = False) -> None:
        self.cache, self.count, self.pooled = cache, len(indices), pooled
        of = f"{key}{' pooled' if pooled else ''} {','.join(map(str, indices))}"
        self.key = hashlib.sha256(of.encode()).hexdigest()[:32]
        size = max(LEAST, -(-len(indices) // MOST))
        self.parts = [list(indices[start : start + size]) for start in range(0, len(indices), size)]
        self.known = {}  # bytes of the files that are there, by number

    def there(self) -> bool:
        """Whether the cache has all parts, as far as can be seen without reading them."""
        entry = self.cache and self.cache.folder / self.key
        return bool(entry) and all((entry / _name(number)).exists() for number in range(len(self.parts)))

    def read(self, number: int) -> Features | None:
        """The features of a part; None where they are not there as they were written."""
        kept = self.cache and self.cache.read(self.key, _name(number))
        if not kept:
            return None
        self.known[number] = kept.size
        return _features(kept, self.pooled)

    def write(self, number: int) -> BlockWriter:
        """Begin the file of a part; a context that leaves nothing behind unless it was settled."""
        return BlockWriter(self, number, self.cache.write(self.key, _name(number)))

    def whole(self, number: int, size: int) -> float:
        """Bytes of all files, judged by those that are there and this one."""
        self.known[number] = size
        pictures = sum(len(self.parts[each]) for each in self.known)
        return sum(self.known.values()) * self.count / pictures


class BlockWriter:
    """Features on their way to a cache."""

    def __init__(self, blocks: Blocks, number: int, writer: Writer) -> None:
        self.blocks, self.number, self.writer = blocks, number, writer
        self.record: dict[str, list] = {"pictures": [], "unreadable": []}

    def __enter__(self) -> BlockWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.writer.__exit__(*error)

    def add(self, index: int, shape: tuple[int, int], table: np.ndarray) -> None:
        """table: (h * w, C) float32 of a map of this shape, or (1, C), its mean."""
        self.record["pictures"].append([index, *shape, table.shape[1]])
        self.writer.add(table)

    def skip(self, name: str, reason: str) -> None:
        """Note a picture that cannot be read."""
        self.record["unreadable"].append([name, reason])

    def settle(self) -> Features | None:
        """Finish; what was written, where it could be."""
        whole = self.blocks.whole(self.number, self.writer.size)
        kept = self.writer.settle(self.record, whole)
        return kept and _features(kept, self.blocks.pooled)


def _unless_mended(block: Features | None, part: Sequence[int], source) -> Features | None:
    """What is kept of a part, unless a picture that could not be read then can be now."""
    if block is None or not block.unreadable:
        return block
    for index in set(part).difference(block.indices):
        with suppress(UnreadableImage):
            source.read(index)
            return None
    return block


def _name(number: int) -> str:
    return f"{number:03}.bin"


def _features(kept: Kept, pooled: bool) -> Features:
    features, offset = Features(unreadable=[tuple(each) for each in kept.record["unreadable"]]), 0
    for index, height, width, channels in kept.record["pictures"]:
        table = Table(kept.file, offset, (1 if pooled else height * width, channels))
        offset += 4 * table.shape[0] * channels
        features.indices.append(index)
        features.shapes.append((height, width))
        features.arrays.append(table)
    return features


def _block(stream: Iterator[tuple], blocks: Blocks, number: int, holder: Holder) -> Features:
    """The next part from the stream, in the cache where it can be, else with the holder."""
    block, mark = Features(), holder.mark()
    with blocks.write(number) if blocks.cache else nullcontext() as writer:
        for index, name, reason, map_ in islice(stream, len(blocks.parts[number])):
            if map_ is None:
                block.unreadable.append((name, reason))
                if writer:
                    writer.skip(name, reason)
                continue
            table, shape = table_of(map_, name), tuple(map_.shape[1:])
            if blocks.pooled:
                table = table.mean(axis=0, keepdims=True)
            block.indices.append(index)
            block.shapes.append(shape)
            block.arrays.append(holder.hold(table))
            if writer:
                writer.add(index, shape, table)
        stored = writer and writer.settle()
    if stored:
        holder.forget(mark)
    return stored or block


def _stream(source, extractor: Extractor, indices: Sequence[int], workers: int, advance) -> Iterator[tuple]:
    """Yield (picture, name, reason, map or None) in order, as many at a time as the extractor takes.

    Where that is one, several threads have one each: what one picture takes is too small to be shared out well.
    """
    loader, done = iter(transform.pictures(source, indices, extractor.frame, workers)), 0
    single = extractor.batch_size == 1

    def act(chunk: list[transform.Picture]) -> tuple[list[transform.Picture], list[Tensor]]:
        return chunk, extractor([picture.image for picture in chunk if picture.image is not None])

    chunks = iter(lambda: list(islice(loader, 1 if single else 2 * extractor.batch_size)), [])
    for chunk, found in spread(act, chunks, threads_of(extractor.device) if single else 1):
        maps = iter(found)
        for picture in chunk:
            name = source.name(picture.index)
            map_ = None if picture.image is None else next(maps)
            done += 1
            advance(done)
            yield picture.index, name, picture.reason, map_


def table_of(map_: Tensor, name: str) -> np.ndarray:
    """The map (C, h, w) of the picture of this name as a table (h * w, C); `RunStopped` when it is not finite."""
    if not bool(torch.isfinite(map_).all()):
        raise RunStopped(f"The backbone gives NaN or infinity for {name}: try precision=32 or another one.")
    return map_.flatten(1).T.contiguous().numpy()
