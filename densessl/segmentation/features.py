"""The features of a frozen backbone, computed once per picture and kept.

Nothing random reaches them (STEGO augments nothing; dropout acts on what is kept), so keeping them is exact. They lie
in memory up to a limit and beyond it in a file; in a folder that the user names they outlive the run, under a key of
the backbone's weights, the transform and the pictures, and with a checksum per picture: a file that is stale, cut short
or altered is computed anew.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densessl.errors import RunStopped, UserError
from densessl.files import write_text, writing
from densessl.segmentation import transform
from densessl.segmentation.sampling import Layout

MEMORY = 1 << 30


class Extractor:
    """A backbone, frozen and in evaluation, as a function from pictures to tables of tokens.

    On a CPU each picture goes through by itself, so that its features depend on nothing else; on a GPU pictures of
    equal size go together. layer, facet: which of its maps, and whether tokens or the "keys" of attention.
    """

    def __init__(
        self,
        backbone: nn.Module,
        image_size: int | None = None,
        device: str = "cpu",
        precision: str = "32",
        layer: int = -1,
        facet: str = "tokens",
    ) -> None:
        self.backbone = backbone.to(device).eval().requires_grad_(False)
        size, fixed = int(image_size or backbone.image_size), getattr(backbone, "fixed_size", None)
        self.frame = transform.Frame(fixed[0] if fixed else size, int(backbone.stride), fixed)
        self.device, self.precision, self.layer, self.facet = torch.device(device), precision, layer, facet
        self.together = 1 if self.device.type == "cpu" else 32

    @torch.no_grad()
    def __call__(self, images: Sequence[np.ndarray]) -> list[Tensor]:
        """uint8 pictures (h, w, 3), resized by `transform` -> float32 maps (C, h / stride, w / stride) on the CPU."""
        sizes: dict[tuple[int, ...], list[int]] = {}
        for position, image in enumerate(images):
            sizes.setdefault(image.shape, []).append(position)
        maps: list[Tensor] = [torch.empty(0)] * len(images)
        for positions in sizes.values():
            for start in range(0, len(positions), self.together):
                chosen = positions[start : start + self.together]
                for position, each in zip(chosen, self._run([images[i] for i in chosen]), strict=True):
                    maps[position] = each
        return maps

    def _run(self, images: Sequence[np.ndarray]) -> Tensor:
        batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(self.device)
        half = self.precision != "32"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            images = self.backbone.normalise(batch)
            if self.facet == "keys":
                from densessl.backbones.keys import key_maps

                maps = key_maps(self.backbone, images, (self.layer,))[0]
            else:
                maps = self.backbone.feature_maps(images, (self.layer,))[0]
        return maps.float().cpu()

    def key(self) -> str:
        """What the features depend on beside the picture: weights, layer, size, precision, transform and the like."""
        shown = f"layer {self.layer}, {self.frame}"
        positions = getattr(self.backbone, "options", {}).get("positions", "timm")
        if (self.facet, positions) != ("tokens", "timm"):
            shown += f", {self.facet}, positions {positions}"
        parts = [weights_hash(self.backbone), shown, self.precision, transform.VERSION, self.device.type]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def weights_hash(module: nn.Module) -> str:
    """A hash of the architecture's name and of every weight and buffer, bit by bit."""
    digest = hashlib.sha256(str(getattr(module, "architecture", type(module).__name__)).encode())
    for name, tensor in sorted(module.state_dict().items()):
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()


@dataclass
class Features:
    """Tokens of pictures: row i is picture `indices[i]` of the source, a map of `shapes[i]` = (h, w) tokens.

    arrays: per picture (h * w, C) float32, in memory or mapped from a file.
    unreadable: (name, reason) of the pictures that have none.
    """

    indices: list[int] = field(default_factory=list)
    shapes: list[tuple[int, int]] = field(default_factory=list)
    arrays: list[np.ndarray] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def channels(self) -> int:
        return self.arrays[0].shape[1]

    def tokens(self, row: int) -> Tensor:
        """(h * w, C) of one picture, a copy."""
        return torch.from_numpy(np.array(self.arrays[row]))

    def batch(self, rows: Sequence[int]) -> tuple[Tensor, Layout]:
        """The tokens of several pictures one after another, and where each lies."""
        tokens = torch.from_numpy(np.concatenate([self.arrays[row] for row in rows]))
        return tokens, Layout.of([self.shapes[row] for row in rows])

    def pooled(self) -> Tensor:
        """(n, C) the mean token of each picture."""
        return torch.stack([torch.from_numpy(np.asarray(each).mean(axis=0)) for each in self.arrays])


def nearest_neighbours(pooled: Tensor, k: int = 7, block: int = 1024) -> Tensor:
    """(n, min(k, n - 1)) the pictures most like each picture, itself left out, nearest first.

    pooled: (n, C) mean features; compared by their cosine, `block` rows at a time.
    """
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
    cache: str | Path | None = None,
    spill: str | Path | None = None,
    memory: int = MEMORY,
    advance: Callable[[int], None] = lambda done: None,
) -> Features:
    """The features of these pictures of a source.

    cache: a folder in which they are kept for other runs; None: for this run only.
    spill: a folder for the nameless file that holds what exceeds `memory` bytes (system default: the one for
        temporary files); the file vanishes with the process, however that ends.
    advance: called with the number of pictures done.
    Raises `UserError` when they cannot be stored, `RunStopped` when the backbone gives NaN or infinity.
    """
    stream = _stream(source, extractor, indices, workers, advance)
    if cache is None:
        return _keep(stream, spill, memory)
    listing = ",".join(map(str, indices))
    key = hashlib.sha256(f"{extractor.key()} {source.fingerprint()} {listing}".encode()).hexdigest()[:32]
    path = Path(cache).expanduser() / f"features-{key}.bin"
    kept = _load(path)
    if kept is not None:
        advance(len(indices))
        return kept
    _save(stream, path)
    kept = _load(path)
    if kept is None:
        raise UserError(f"The features written to {path} do not read back as written: the disk under it is not sound.")
    return kept


def _stream(source, extractor: Extractor, indices: Sequence[int], workers: int, advance) -> Iterator[tuple]:
    """Yield (picture, map or None) in order, as many at a time as the extractor takes."""
    loader = transform.pictures(source, indices, extractor.frame, workers)
    iterator, done = iter(loader), 0
    while chunk := list(islice(iterator, 1 if extractor.together == 1 else 2 * extractor.together)):
        readable = [picture for picture in chunk if picture.image is not None]
        maps = iter(extractor([picture.image for picture in readable]))
        for picture in chunk:
            name = source.name(picture.index)
            map_ = None if picture.image is None else next(maps)
            if map_ is not None and not bool(torch.isfinite(map_).all()):
                raise RunStopped(f"The backbone gives NaN or infinity for {name}: try precision=32 or another one.")
            done += 1
            advance(done)
            yield picture.index, name, picture.reason, map_


def _table(map_: Tensor) -> np.ndarray:
    return map_.flatten(1).T.contiguous().numpy()


def _keep(stream: Iterable[tuple], spill: str | Path | None, memory: int) -> Features:
    kept, held, file = Features(), 0, None
    for index, name, reason, map_ in stream:
        if map_ is None:
            kept.unreadable.append((name, reason))
            continue
        table = _table(map_)
        held += table.nbytes
        if held > memory:
            with _storage(spill or tempfile.gettempdir()):
                file = file or tempfile.TemporaryFile(dir=spill, prefix="densessl-features-")  # noqa: SIM115
                table = _append(file, table)
        kept.indices.append(index)
        kept.shapes.append(tuple(map_.shape[1:]))
        kept.arrays.append(table)
    return kept


def _append(file, table: np.ndarray) -> np.ndarray:
    offset = file.seek(0, 2)
    file.write(table.data)
    file.flush()
    return np.memmap(file, dtype=np.float32, mode="r", offset=offset, shape=table.shape)


def _save(stream: Iterable[tuple], path: Path) -> None:
    entries, unreadable = [], []
    with writing(path) as temporary, open(temporary, "wb") as file:
        for index, name, reason, map_ in stream:
            if map_ is None:
                unreadable.append((name, reason))
                continue
            table = _table(map_)
            entries.append([index, *map_.shape[1:], zlib.crc32(table.data)])
            with _storage(path.parent):
                file.write(table.data)
    channels = table.shape[1] if entries else 0
    record = {"channels": channels, "pictures": entries, "unreadable": unreadable}
    write_text(path.with_suffix(".json"), json.dumps(record))


def _load(path: Path) -> Features | None:
    """What the cache holds, or None when there is nothing or it is not as it was written."""
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        kept = Features(unreadable=[tuple(each) for each in record["unreadable"]])
        if not record["pictures"]:
            return kept
        data = np.memmap(path, dtype=np.float32, mode="r")
        start = 0
        for index, height, width, checksum in record["pictures"]:
            end = start + height * width * record["channels"]
            table = data[start:end].reshape(height * width, record["channels"])
            if zlib.crc32(table) != checksum:
                return None
            kept.indices.append(index)
            kept.shapes.append((height, width))
            kept.arrays.append(table)
            start = end
        return kept if start == len(data) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _storage(folder: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"The features could not be kept in {folder}: {reason}. Free some space, name another place with "
            "cache=FOLDER, or learn from fewer pictures with learn_from=1000."
        ) from error
