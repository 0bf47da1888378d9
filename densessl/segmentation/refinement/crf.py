"""Masks that follow the picture's edges: a fully connected CRF, and a local refinement that is cheaper.

`mean_field` is the CRF of Kraehenbuehl and Koltun (arXiv 1210.5644) with the Potts model and two Gaussian kernels: one
of positions, one of positions and colours, which a permutohedral lattice filters. Symmetrically normalised, a pixel is
its own neighbour too, as in the authors' code. `guided` is the guided filter (He, Sun, Tang, "Guided Image Filtering",
2010) with a colour guide: in each small window the scores are the best linear function of the colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from densessl.errors import UserError, require
from densessl.segmentation.refinement.lattice import Lattice

LEAST = 1e-5  # of a probability, whose logarithm is taken
REACH = 4  # deviations at which a Gaussian window ends


@dataclass(frozen=True)
class CRFConfig:
    """The kernels' weights and deviations; the defaults are those of STEGO's evaluation."""

    iterations: int = 10  # of the mean field
    position_weight: float = 3.0  # of the kernel that looks at positions alone
    position_deviation: float = 1.0  # of the first kernel, in pixels
    colour_weight: float = 4.0  # of the kernel that looks at positions and colours
    colour_reach: float = 67.0  # of the second kernel's positions, in pixels
    colour_deviation: float = 3.0  # of its colours, which go to 255

    def __post_init__(self) -> None:
        require(self.iterations >= 1, f"crf.iterations={self.iterations} must be 1 or more.")
        for name in ("position_deviation", "colour_reach", "colour_deviation"):
            require(getattr(self, name) > 0, f"crf.{name}={getattr(self, name)} must be above 0.")
        for name in ("position_weight", "colour_weight"):
            require(getattr(self, name) >= 0, f"crf.{name}={getattr(self, name)} must be 0 or more.")


def check_reach(config: CRFConfig, side: int) -> None:
    """Raise `UserError` where pictures of up to `side` pixels a side have more colours and places than are numbered."""
    # The lattice is a linear function of places and colours, so that it ends where they do.
    ends = torch.tensor([side / config.colour_reach] * 2 + [255 / config.colour_deviation] * 3)
    try:
        Lattice(torch.cartesian_prod(*[torch.tensor([0.0, end]) for end in ends.tolist()]))
    except ValueError:
        raise UserError(
            f"crf.colour_deviation={config.colour_deviation:g} and crf.colour_reach={config.colour_reach:g} are too "
            f"small for pictures of {side} pixels: give more than that, or a smaller refine_size."
        ) from None


@torch.no_grad()
def mean_field(probabilities: Tensor, images: Tensor, config: CRFConfig | None = None) -> Tensor:
    """(B, K, H, W) of K classes -> (B, K, H, W), the mean field of the CRF after some iterations.

    probabilities: summing to 1 over K; below 1e-5 they count as that. images: (B, 3, H, W) in [0, 255], RGB; floating
    or uint8, on the same device. All of a batch are filtered in one lattice.
    """
    _check(probabilities, images)
    return MeanField(images, config)(probabilities)


class MeanField:
    """`mean_field` of images whose lattice is made once, for any number of probabilities."""

    @torch.no_grad()
    def __init__(self, images: Tensor, config: CRFConfig | None = None) -> None:
        self.images, self.config = images, config or CRFConfig()
        one = torch.ones(len(images), 1, *images.shape[2:], device=images.device)
        self._bilateral = Bilateral(images, self.config.colour_reach, self.config.colour_deviation)
        self._windows = [_window(self.config.position_deviation, side).to(one) for side in images.shape[2:]]
        # What a pixel gathers is divided by the roots of its own and of the other's sum of weights.
        self._position_norm = (_gaussian(one[:1], *self._windows) + 1e-20).rsqrt()
        self._colour_norm = (self._bilateral(one) + 1e-20).rsqrt()

    @torch.no_grad()
    def __call__(self, probabilities: Tensor) -> Tensor:
        _check(probabilities, self.images)
        config = self.config
        # With the classes last in memory convolutions take a fraction of the time, and the lattice no copy.
        unary = probabilities.float().clamp(min=LEAST).log().contiguous(memory_format=torch.channels_last)
        found = _softmax(unary.clone())
        for _ in range(config.iterations):
            near = _gaussian(self._position_norm * found, *self._windows).mul_(
                config.position_weight * self._position_norm
            )
            alike = self._bilateral(self._colour_norm * found).mul_(config.colour_weight * self._colour_norm)
            found = _softmax(near.add_(alike).add_(unary))
        return found


def _softmax(scores: Tensor) -> Tensor:
    """Of scores (B, K, H, W), in their place; classes that are last in memory stay so, unlike by `Tensor.softmax`."""
    scores.sub_(scores.amax(1, keepdim=True)).exp_()
    return scores.div_(scores.sum(1, keepdim=True))


@torch.no_grad()
def guided(probabilities: Tensor, images: Tensor, radius: int = 8, epsilon: float = 1e-3, shrink: int = 4) -> Tensor:
    """(B, K, H, W) of K classes -> (B, K, H, W): filtered with the image as the guide (equations 5 to 8 and 14).

    images: (B, 3, H, W) in [0, 255]. radius: of the square windows, in pixels. epsilon: what keeps the linear
    functions flat where colours hardly differ; in squares of the range 0 to 1. shrink: the linear functions are found
    at this part of the size (arXiv 1505.00996); 1 is the filter itself. Sums over K stay what they were.
    """
    _check(probabilities, images)
    p, guide = probabilities.float(), images.float() / 255
    size = p.shape[2:]
    slope, level = _linear_functions(
        _shrunk(p, shrink), _shrunk(guide, shrink), max(1, round(radius / shrink)), epsilon
    )
    if shrink > 1:
        slope = F.interpolate(slope.flatten(1, 2), size, mode="bilinear").unflatten(1, (3, -1))
        level = F.interpolate(level, size, mode="bilinear")
    for channel in range(3):
        level = level.addcmul(slope[:, channel], guide[:, channel : channel + 1])
    return level


def _shrunk(values: Tensor, factor: int) -> Tensor:
    """Means over squares of `factor` pixels a side, about."""
    size = [max(1, round(side / factor)) for side in values.shape[2:]]
    return values if factor == 1 else F.adaptive_avg_pool2d(values, size)


def _linear_functions(p: Tensor, guide: Tensor, radius: int, epsilon: float) -> tuple[Tensor, Tensor]:
    """The slopes (B, 3, K, H, W) and levels (B, K, H, W) of each pixel, means over the windows that hold it."""
    mean, p_mean = _box(guide, radius), _box(p, radius)
    # (B, 3, 3, H, W), the covariance of the colours in each window, and (B, 3, K, H, W), that of colours and scores.
    colours = _box((guide.unsqueeze(1) * guide.unsqueeze(2)).flatten(1, 2), radius).unflatten(1, (3, 3))
    covariance = colours - mean.unsqueeze(1) * mean.unsqueeze(2)
    both = _box((guide.unsqueeze(2) * p.unsqueeze(1)).flatten(1, 2), radius).unflatten(1, (3, -1))
    both = both - mean.unsqueeze(2) * p_mean.unsqueeze(1)
    ridge = epsilon * torch.eye(3, device=p.device)
    inverse = torch.linalg.inv(covariance.permute(0, 3, 4, 1, 2) + ridge)
    slope = torch.einsum("bhwij,bjkhw->bikhw", inverse, both)
    level = p_mean - (slope * mean.unsqueeze(2)).sum(1)
    return _box(slope.flatten(1, 2), radius).unflatten(1, (3, -1)), _box(level, radius)


def _box(values: Tensor, radius: int) -> Tensor:
    """Means over the square windows, as far as they lie in the image."""
    for window, padding in (((1, 2 * radius + 1), (0, radius)), ((2 * radius + 1, 1), (radius, 0))):
        values = F.avg_pool2d(values, window, stride=1, padding=padding, count_include_pad=False)
    return values


class Bilateral:
    """(B, C, H, W) -> (B, C, H, W): sums over an image's pixels, weighted by a Gaussian of position and colour."""

    def __init__(self, images: Tensor, reach: float, deviation: float) -> None:
        batch, _, height, width = images.shape
        y, x = torch.meshgrid(
            torch.arange(height, device=images.device), torch.arange(width, device=images.device), indexing="ij"
        )
        places = torch.stack((x, y)).float().div(reach).expand(batch, 2, height, width)
        features = torch.cat((places, images.float() / deviation), dim=1)
        groups = torch.arange(batch, device=images.device).repeat_interleave(height * width)
        self.lattice = Lattice(features.permute(0, 2, 3, 1).flatten(0, 2), groups)

    def __call__(self, values: Tensor) -> Tensor:
        batch, channels, height, width = values.shape
        filtered = self.lattice.filter(values.permute(0, 2, 3, 1).reshape(-1, channels))
        return filtered.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _window(deviation: float, side: int) -> Tensor:
    """A Gaussian's values around 0, up to where it is nothing or the image ends."""
    radius = max(1, min(round(REACH * deviation + 0.5), side))
    return torch.exp(-0.5 * (torch.arange(-radius, radius + 1).float() / deviation) ** 2)


def _gaussian(values: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Sums weighted by a Gaussian of positions, whose windows these are, pixels outside counting as 0."""
    channels = values.shape[1]
    values = F.conv2d(values, across.expand(channels, 1, 1, -1), padding=(0, len(across) // 2), groups=channels)
    return F.conv2d(values, down.expand(channels, 1, -1).unsqueeze(3), padding=(len(down) // 2, 0), groups=channels)


def _check(probabilities: Tensor, images: Tensor) -> None:
    shapes = f"they are {tuple(probabilities.shape)} and {tuple(images.shape)}"
    fits = probabilities.ndim == images.ndim == 4 and images.shape[1] == 3
    fits = fits and probabilities.shape[0] == images.shape[0] and probabilities.shape[2:] == images.shape[2:]
    if not fits:
        raise ValueError(f"Probabilities (B, K, H, W) and images (B, 3, H, W) are needed; {shapes}.")
