"""Masks at the pictures' own size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from densessl.data.resize import resize
from densessl.segmentation.features.layers import resized
from densessl.segmentation.interpolated import interpolated_lengths
from densessl.segmentation.model import Segmenter
from densessl.segmentation.refinement.crf import CRFConfig, MeanField, guided

# Scores upsampled at a time, in numbers: 64 MiB.
CHUNK = 1 << 24
MOST = 1280  # pixels of the longest side at which masks are refined unless more are asked for


class Guide:
    """A picture (H, W, 3) uint8 RGB at the size at which masks follow its edges, for any number of masks.

    size: longest side in pixels; a smaller picture is left as it is. pixels: (1, 3, h, w) uint8.
    """

    def __init__(self, image: np.ndarray, size: int, crf: CRFConfig, device: torch.device) -> None:
        scale = min(1.0, size / max(image.shape[:2]))
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        self.pixels, self.crf = torch.from_numpy(resize(image, height, width)).permute(2, 0, 1)[None].to(device), crf

    @cached_property
    def field(self) -> MeanField:
        return MeanField(self.pixels, self.crf)


@dataclass(frozen=True)
class Refinement:
    """How masks are made to follow the picture's edges.

    method: "crf" or "guided" (`densessl.segmentation.refinement.crf`), or "none" for the probabilities as they are.
    size: longest side in pixels at which that is done; that of the map where it is larger, up to `MOST`.
    sharpness: of the softmax that makes probabilities of the cosines; 2 in STEGO's evaluation. A linear probe has its
    own probabilities.
    """

    method: str
    size: int
    sharpness: float
    crf: CRFConfig

    def guide(self, image: np.ndarray, device: torch.device, shape: Sequence[int]) -> Guide:
        """The guide of a picture (H, W, 3) uint8 RGB whose map has this shape (h, w)."""
        return Guide(image, max(self.size, min(max(shape), MOST)), self.crf, device)

    def __call__(self, model: Segmenter, tokens: Tensor, shape: tuple[int, int], image: np.ndarray | Guide) -> Tensor:
        """(K, h, w) scores of a picture (H, W, 3) uint8 RGB, or of its guide, at its own size or smaller."""
        guide = image if isinstance(image, Guide) else self.guide(image, tokens.device, shape)
        found = interpolated_log_odds(model, tokens, shape, tuple(guide.pixels.shape[2:]), self.sharpness)
        return self._refined(found.softmax(1), guide)

    @torch.inference_mode()
    def follow(self, probabilities: Tensor, image: np.ndarray | Guide) -> Tensor:
        """The same of probabilities (K, h, w) on the backbone's map."""
        guide = image
        if not isinstance(image, Guide):
            guide = self.guide(image, probabilities.device, probabilities.shape[1:])
        return self._refined(resized(probabilities[None], guide.pixels.shape[2:]), guide)

    def _refined(self, probabilities: Tensor, guide: Guide) -> Tensor:
        if self.method == "none":
            return probabilities[0]
        if self.method == "guided":
            return guided(probabilities, guide.pixels)[0]
        return guide.field(probabilities)[0]


def interpolated_log_odds(
    model: Segmenter, tokens: Tensor, shape: tuple[int, int], size: tuple[int, int], sharpness: float
) -> Tensor:
    """(1, K, H, W): `Segmenter.log_odds` of the codes of a map of this shape, interpolated bilinearly to `size`."""
    codes = model.codes(tokens).float().T.reshape(-1, *shape)
    products = torch.einsum("dhw,kd->khw", codes, model.centres)[None]
    products = F.interpolate(products, size, mode="bilinear", align_corners=False)
    if model.bias is not None:
        return products + model.bias.view(-1, 1, 1)
    return products * (sharpness / interpolated_lengths(codes, size).clamp(min=1e-12))


def mask(
    model: Segmenter,
    tokens: Tensor,
    shape: tuple[int, int],
    size: tuple[int, int],
    image: np.ndarray | Guide | None = None,
    refinement: Refinement | None = None,
) -> np.ndarray:
    """The segment of every pixel, (H, W) uint8, or uint16 when there are more than 256 segments.

    tokens: (h * w, C) of the backbone's map of `shape` (h, w), which covers the picture. size: (H, W) of the picture.
    refinement: what is to follow the edges of `image`, (H, W, 3) uint8 RGB, or its guide where there are several masks.
    """
    return best(scores(model, tokens, shape, image, refinement), size)


@torch.inference_mode()
def scores(
    model: Segmenter,
    tokens: Tensor,
    shape: tuple[int, int],
    image: np.ndarray | Guide | None = None,
    refinement: Refinement | None = None,
) -> Tensor:
    """(K, h, w) scores of the segments, on the backbone's map or at the size of the refinement; as for `mask`."""
    tokens = tokens.to(model.centres.device)
    if refinement is None:
        return model(tokens).float().T.reshape(model.classes, *shape)
    return refinement(model, tokens, shape, image)


@torch.inference_mode()
def tiled_scores(model: Segmenter, bands: Iterable[Tensor], sharpness: float) -> Tensor:
    """(K, h, w) probabilities of the segments on the map of a picture that is seen through tiles.

    bands: of the map, (C, rows, w), from top to bottom: its channels may be hundreds, and no more is held at a time.
    """
    parts = []
    for band in bands:
        codes = model.codes(band.flatten(1).T.to(model.centres.device)).float()
        parts.append(model.log_odds(codes.T.reshape(1, -1, *band.shape[1:]), sharpness).softmax(1)[0])
    return torch.cat(parts, dim=1)


@torch.inference_mode()
def best(scores: Tensor, size: tuple[int, int]) -> np.ndarray:
    """The segment of the best score at every pixel, of scores (K, h, w) that are interpolated to `size` (H, W).

    The codes are interpolated bilinearly (align_corners=False) and the nearest centre is taken. As scores are linear in
    codes, it is scores that are interpolated, which costs less and gives the same; some rows at a time.
    """
    height = max(1, CHUNK // (len(scores) * size[1]))
    rows = torch.arange(size[0], device=scores.device).split(height)
    # On a CPU `argmax` over the first dimension takes five times as long, and is the same.
    parts = [_rows(scores, size, chunk).max(dim=0).indices for chunk in rows]
    return torch.cat(parts).cpu().numpy().astype(np.uint8 if len(scores) <= 256 else np.uint16)


@torch.inference_mode()
def probabilities(
    model: Segmenter, tokens: Tensor, shape: tuple[int, int], found: Tensor, refinement: Refinement | None, sharp: float
) -> np.ndarray:
    """(K, h, w) float16 that sum to 1: of the refinement's `found`, or as `log_odds` of the model has them."""
    if refinement is None:
        codes = model.codes(tokens.to(model.centres.device)).float()
        return model.log_odds(codes, sharp).softmax(1).T.reshape(-1, *shape).cpu().numpy().astype(np.float16)
    # The guided filter is linear, and may leave the range by a little where the picture's edges are steep.
    shares = found.clamp(min=0)
    return (shares / shares.sum(dim=0, keepdim=True).clamp(min=1e-12)).cpu().numpy().astype(np.float16)


def _rows(scores: Tensor, size: tuple[int, int], rows: Tensor) -> Tensor:
    """Of scores (K, h, w) interpolated to `size` some rows that follow each other."""
    reach = scores.shape[1] / size[0]
    low = max(0, int((rows[0] + 0.5) * reach - 0.5) - 1)
    high = int((rows[-1] + 0.5) * reach - 0.5) + 3
    part = _linear(scores[:, low:high], dim=2, size=size[1])
    return _linear(part, dim=1, size=size[0], places=rows, whole=scores.shape[1], first=low)


def _linear(
    scores: Tensor, dim: int, size: int, places: Tensor | None = None, whole: int | None = None, first: int = 0
) -> Tensor:
    """Interpolate `dim` to `size` places, pixel centres aligned, or to those of them that are asked for.

    whole, first: the length of `dim` and the place where these scores begin in it, if they are but a part.
    """
    places = torch.arange(size, device=scores.device) if places is None else places
    length = whole or scores.shape[dim]
    place = ((places.double() + 0.5) * length / size - 0.5).clamp(0, length - 1)
    low = place.floor().long()
    high = (low + 1).clamp(max=length - 1)
    share = (place - low).to(scores.dtype).view([-1 if each == dim else 1 for each in range(scores.ndim)])
    return torch.lerp(scores.index_select(dim, low - first), scores.index_select(dim, high - first), share)
