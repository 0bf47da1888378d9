"""The segments: clusters of codes or, without a head, of the features themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from densessl.errors import UserError
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.features.kept import Features
from densessl.segmentation.kmeans import best_spherical_kmeans
from densessl.segmentation.model import Segmenter, codes_of
from densessl.segmentation.stego.head import StegoHead

SAMPLE = 32768  # codes that are clustered, about


def cluster(
    features: Features,
    head: StegoHead | None,
    config: SegmentConfig,
    device: str = "cpu",
    centres: Tensor | None = None,
) -> Segmenter:
    """The model of `config.classes` segments, largest first.

    head: None where the features themselves are the codes. centres: (K, dim); without them they are found by spherical
    k-means on a sample of the codes, the best of `config.restarts` starts by mean cosine, which needs no label.
    """
    generator = torch.Generator().manual_seed(config.seed)
    codes = sample_codes(features, head, generator, device)
    if centres is None:
        centres = best_spherical_kmeans(codes, config.classes, generator, config.restarts)[0]
    model = Segmenter(head, centres.cpu())
    nearest = (codes @ model.centres.T).argmax(dim=1)
    order = torch.bincount(nearest, minlength=model.classes).argsort(descending=True, stable=True)
    model.centres = model.centres[order]
    return model.to(device)


def sample_codes(features: Features, head: StegoHead | None, generator: torch.Generator, device: str) -> Tensor:
    """Unit codes (N, dim) of random tokens on the CPU, as many from each picture, some 32,768 in all."""
    return features.sampled(_share(features), generator, lambda tokens: codes_of(head, tokens, device).cpu())


def _share(features: Features) -> int:
    return max(1, SAMPLE // features.looked_at)


def check_enough(features: Features, classes: int) -> None:
    """Raise `UserError` when there are fewer places than segments, or fewer among those that are clustered."""
    if classes < 2:
        raise UserError(f"classes={classes} is not a segmentation: give at least 2.")
    tokens = sum(height * width for height, width in features.shapes)
    counted = "1 picture" if len(features) == 1 else f"{len(features)} pictures"
    if tokens < classes:
        raise UserError(
            f"{classes} segments cannot be learned from {counted} of {tokens} places in all: "
            "give fewer with --classes, more pictures, or a larger image_size."
        )
    sample = sum(min(_share(features), height * width) for height, width in features.shapes[: features.looked_at])
    if sample < classes:
        raise UserError(
            f"{classes} segments cannot be learned from the {sample} of {tokens} places that are looked at for them: "
            "give fewer with --classes."
        )
