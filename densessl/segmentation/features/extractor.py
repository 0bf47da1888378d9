"""A frozen backbone as a function from pictures to tables of tokens."""

from __future__ import annotations

import copy
import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib import metadata

import numpy as np
import torch
from torch import Tensor, nn

from densessl import __version__
from densessl.segmentation.features import transform
from densessl.segmentation.features.layers import Layers, Maps
from densessl.segmentation.features.tiles import Bands, TileFrame, tile_frame
from densessl.segmentation.features.window import windowed

VERSION = 2  # of what makes features: to be raised by 1 with every change of code that changes any of them, as in
# layers.py, window.py, colour.py, the files of densessl/backbones, or here; `transform` has its own


class Extractor:
    """A backbone, frozen and in evaluation, as a function from pictures to tables of tokens.

    On a CPU each picture goes through by itself, so that its features depend on nothing else; on a GPU pictures of
    equal size go together. Several threads may call it at a time. layers, facet: of which of its maps; see
    `densessl.segmentation.features.layers`. tile: None, or the side of the tiles through which a picture is seen, at
    the size that `image_size` says or at its own. window: side in tokens of the square whose mean counts for the token
    in its middle, of the joined map where there are tiles (`densessl.segmentation.features.window`); 1 leaves tokens as
    they are.
    """

    def __init__(
        self,
        backbone: nn.Module,
        image_size: int | None = None,
        device: str = "cpu",
        precision: str = "32",
        layers: Layers = (-1,),
        facet: str = "tokens",
        tile: int | None = None,
        window: int = 1,
    ) -> None:
        self.backbone = backbone
        self.maps = Maps(backbone, layers, facet).to(device).eval().requires_grad_(False)
        size, fixed = int(image_size or backbone.image_size), getattr(backbone, "fixed_size", None)
        self.frame = transform.Frame(fixed[0] if fixed else size, self.maps.stride, fixed)
        if tile is not None:
            self.frame = tile_frame(tile, image_size, self.maps.stride, fixed)
        self.device, self.precision, self.layers, self.facet = torch.device(device), precision, layers, facet
        self.window = window
        self.batch_size = 1 if self.device.type == "cpu" else 32
        self._idle, self._lock = [self.maps], threading.Lock()

    @torch.no_grad()
    def __call__(self, images: Sequence[np.ndarray]) -> list[Tensor]:
        """uint8 pictures (h, w, 3), resized by `transform` -> float32 maps (C, h / stride, w / stride) on the CPU."""
        sizes: dict[tuple[int, ...], list[int]] = {}
        for position, image in enumerate(images):
            sizes.setdefault(image.shape, []).append(position)
        maps: list[Tensor] = [torch.empty(0)] * len(images)
        for shape, positions in sizes.items():
            if self.tiled and self.frame.cuts(*shape[:2]):
                for position in positions:
                    maps[position] = self.bands(images[position], "a picture").joined()
                continue
            for start in range(0, len(positions), self.batch_size):
                chosen = positions[start : start + self.batch_size]
                for position, each in zip(chosen, self._run([images[i] for i in chosen], self.window), strict=True):
                    maps[position] = each
        return maps

    @property
    def tiled(self) -> bool:
        """Whether pictures are seen through tiles."""
        return isinstance(self.frame, TileFrame)

    def bands(self, image: np.ndarray, name: str) -> Bands:
        """The map of a picture (H, W, 3) uint8 of this name, as it is, through tiles; some rows at a time."""
        return Bands(self._run, self.frame, self._cells, image, name, self.batch_size, self.window)

    def of_tiles(self) -> Extractor:
        """The same for pictures that are one tile each, or smaller, and are shown as they are.

        Each is a map of its own, and a window ends at its border.
        """
        other = copy.copy(self)
        other.frame = self.frame.of_tiles()
        return other

    @cached_property
    def _cells(self) -> int:
        """Of the map to a stride."""
        side = self.frame.tile
        return self._run([np.zeros((side, side, 3), np.uint8)]).shape[2] * self.maps.stride // side

    @torch.no_grad()
    def _run(self, images: Sequence[np.ndarray], window: int = 1) -> Tensor:
        batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(self.device)
        half = self.precision != "32"
        with self._own() as maps, torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            return windowed(maps(batch).float(), window).cpu()

    @contextmanager
    def _own(self) -> Iterator[Maps]:
        """The network for one thread: others have copies of it, since a BEiT holds the grid of what it is shown."""
        with self._lock:
            maps = self._idle.pop() if self._idle else _sharing(self.maps)
        try:
            yield maps
        finally:
            self._idle.append(maps)

    @cached_property
    def weights(self) -> str:
        """The hash of the backbone's weights."""
        return weights_hash(self.backbone)

    def key(self) -> str:
        """What the features depend on beside the picture: weights, layers, window, size, precision, releases."""
        positions = getattr(self.backbone, "options", {}).get("positions", "timm")
        shown = f"layers {self.layers}, {self.facet}, positions {positions}, window {self.window}, {self.frame}"
        versions = f"{transform.VERSION}, features {VERSION}"
        releases = f"densessl {__version__}, torch {torch.__version__}, timm {metadata.version('timm')}"
        parts = [self.weights, shown, self.precision, versions, self.device.type, releases]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _sharing(module: nn.Module) -> nn.Module:
    """A copy with the same weights and buffers, which take no memory again."""
    return copy.deepcopy(module, {id(each): each for each in (*module.parameters(), *module.buffers())})


def weights_hash(module: nn.Module) -> str:
    """A hash of the architecture's name and of every weight and buffer, bit by bit."""
    digest = hashlib.sha256(str(getattr(module, "architecture", type(module).__name__)).encode())
    for name, tensor in sorted(module.state_dict().items()):
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()
