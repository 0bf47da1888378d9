"""Masks at the pictures' own size, and the folder they are written to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from densessl.data.resize import resize
from densessl.files import write_image, write_text
from densessl.segmentation.crf import CRFConfig, guided, mean_field
from densessl.segmentation.model import Segmenter
from densessl.segmentation.overlay import overlay, palette

# Scores upsampled at a time, in numbers: 64 MiB.
CHUNK = 1 << 24


@dataclass(frozen=True)
class Refinement:
    """How masks are made to follow the picture's edges.

    method: "crf" or "guided" (`densessl.segmentation.crf`). size: longest side in pixels at which that is done.
    sharpness: of the softmax that makes probabilities of the cosines; 2 in STEGO's evaluation.
    """

    method: str
    size: int
    sharpness: float
    crf: CRFConfig

    def __call__(self, model: Segmenter, tokens: Tensor, shape: tuple[int, int], image: np.ndarray) -> Tensor:
        """(K, h, w) scores of a picture (H, W, 3) uint8 RGB, at its own size or smaller."""
        scale = min(1.0, self.size / max(image.shape[:2]))
        size = [max(1, round(side * scale)) for side in image.shape[:2]]
        guide = torch.from_numpy(resize(image, *size)).permute(2, 0, 1)[None].to(tokens.device)
        codes = model.codes(tokens).float().T.reshape(1, -1, *shape)
        codes = F.normalize(F.interpolate(codes, size, mode="bilinear", align_corners=False), dim=1)
        cosines = torch.einsum("bdhw,kd->bkhw", codes, model.centres)
        probabilities = (self.sharpness * cosines).softmax(1)
        if self.method == "guided":
            return guided(probabilities, guide)[0]
        return mean_field(probabilities, guide, self.crf)[0]


def mask(
    model: Segmenter,
    tokens: Tensor,
    shape: tuple[int, int],
    size: tuple[int, int],
    image: np.ndarray | None = None,
    refinement: Refinement | None = None,
) -> np.ndarray:
    """The segment of every pixel, (H, W) uint8, or uint16 when there are more than 256 segments.

    tokens: (h * w, C) of the backbone's map of `shape` (h, w), which covers the picture. size: (H, W) of the picture.
    The codes are interpolated bilinearly (align_corners=False) and the nearest centre is taken. As scores are linear in
    codes, it is scores that are interpolated, which costs less and gives the same; some rows at a time.
    refinement: what is to follow the edges of `image`, (H, W, 3) uint8 RGB; its scores are interpolated likewise.
    """
    with torch.inference_mode():
        tokens = tokens.to(model.centres.device)
        if refinement is None:
            scores = model(tokens).float().T.reshape(model.classes, *shape)
        else:
            scores = refinement(model, tokens, shape, image)
        columns = _linear(scores, dim=2, size=size[1])
        height = max(1, CHUNK // (model.classes * size[1]))
        rows = torch.arange(size[0], device=scores.device).split(height)
        parts = [_linear(columns, dim=1, size=size[0], places=chunk).argmax(dim=0) for chunk in rows]
    return torch.cat(parts).cpu().numpy().astype(np.uint8 if model.classes <= 256 else np.uint16)


def _linear(scores: Tensor, dim: int, size: int, places: Tensor | None = None) -> Tensor:
    """Interpolate `dim` to `size` places, pixel centres aligned, or to those of them that are asked for."""
    places = torch.arange(size, device=scores.device) if places is None else places
    length = scores.shape[dim]
    place = ((places.double() + 0.5) * length / size - 0.5).clamp(0, length - 1)
    low = place.floor().long()
    high = (low + 1).clamp(max=length - 1)
    share = (place - low).to(scores.dtype).view([-1 if each == dim else 1 for each in range(scores.ndim)])
    return torch.lerp(scores.index_select(dim, low), scores.index_select(dim, high), share)


def stems(names: Sequence[str]) -> list[str]:
    """Where each picture's files go, without their suffix: "x/y" for "x/y.jpg".

    Where several pictures would share it ("a.jpg", "a.png") each keeps its full name ("a.jpg", "a.png"), so that none
    overwrites another's files.
    """
    short = [str(PurePosixPath(name).with_suffix("")) for name in names]
    chosen = list(short)
    while shared := {stem for stem, count in Counter(chosen).items() if count > 1}:
        longer = [name if stem in shared else stem for name, stem in zip(names, chosen, strict=True)]
        chosen = longer if longer != chosen else [f"{stem}~{i}" for i, stem in enumerate(chosen)]
    return chosen


@dataclass
class MaskWriter:
    """Writes masks and overlays below `folder`, and counts what they hold.

    pixels, images: per segment, over all that was written. files: the label map of each picture by its name.
    """

    folder: Path
    classes: int
    pixels: np.ndarray = field(init=False)
    images: np.ndarray = field(init=False)
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pixels = np.zeros(self.classes, dtype=np.int64)
        self.images = np.zeros(self.classes, dtype=np.int64)

    def write(self, name: str, stem: str, image: np.ndarray, labels: np.ndarray) -> None:
        """Write `labels/STEM.png` and `overlays/STEM.jpg` of one picture, each whole or not at all."""
        shown = overlay(image, labels, self.classes)
        write_image(self.folder / "labels" / f"{stem}.png", labels)
        write_image(self.folder / "overlays" / f"{stem}.jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, 92])
        counts = np.bincount(labels.reshape(-1), minlength=self.classes)
        self.pixels += counts
        self.images += counts > 0
        self.files[name] = f"labels/{stem}.png"

    def finish(self) -> None:
        """Write `segments.json`: per class its colour, pixels, share and images, and a name to be filled in."""
        total = max(1, int(self.pixels.sum()))
        classes = [
            {
                "index": index,
                "name": None,
                "colour": list(colour),
                "pixels": int(self.pixels[index]),
                "share": round(int(self.pixels[index]) / total, 6),
                "images": int(self.images[index]),
            }
            for index, colour in enumerate(palette(self.classes))
        ]
        write_text(self.folder / "segments.json", json.dumps({"classes": classes, "files": self.files}, indent=1))
