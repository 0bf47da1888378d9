"""Colours and gradients as a backbone: nothing learned, the baseline of every learned one, and the default without one.

42 channels at stride 8: for windows of 8, 24 and 72 pixels the mean and the spread of brightness and of two opponent
colours (red - green, yellow - blue), and the strength of edges in 8 directions. Each channel is centred and scaled by
its mean and spread over 1,000 photographs of everything, so that the cosine of two places says something.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WINDOWS = (8, 24, 72)
_DIRECTIONS = 8
# Per window: brightness, red - green, yellow - blue; their spreads; 8 directions. Measured on photographs of
# everything, the short side at 224 pixels.
_MEAN = (
    (0.454, 0.025, 0.060) + (0.065, 0.017, 0.020) + (0.058, 0.052, 0.053, 0.056, 0.065, 0.056, 0.053, 0.052),
    (0.454, 0.025, 0.060) + (0.105, 0.032, 0.038) + (0.064, 0.057, 0.057, 0.061, 0.071, 0.061, 0.058, 0.057),
    (0.453, 0.026, 0.061) + (0.155, 0.051, 0.061) + (0.068, 0.060, 0.061, 0.064, 0.075, 0.065, 0.062, 0.061),
)
_SPREAD = (
    (0.244, 0.117, 0.134) + (0.063, 0.025, 0.027) + (0.047, 0.040, 0.041, 0.041, 0.049, 0.041, 0.041, 0.040),
    (0.225, 0.110, 0.127) + (0.077, 0.039, 0.041) + (0.040, 0.033, 0.034, 0.034, 0.041, 0.034, 0.034, 0.034),
    (0.192, 0.099, 0.114) + (0.078, 0.049, 0.049) + (0.031, 0.027, 0.027, 0.027, 0.032, 0.027, 0.028, 0.027),
)


class ColourBackbone(nn.Module):
    """The two faces of a backbone, by arithmetic on pixels alone.

    forward: images (B, 3, H, W) -> (B, 42), the mean over the map.
    feature_maps: -> one map (B, 42, H / 8, W / 8), whichever layers are asked for.
    """

    architecture = "colour"
    stride = 8
    channels = 42
    layer_channels = (42,)

    def __init__(self, image_size: int = 320) -> None:
        super().__init__()
        self.image_size = image_size
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, -1, 1, 1))
        self.register_buffer("spread", torch.tensor(_SPREAD).view(1, -1, 1, 1))

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) -> float in [0, 1]."""
        return images.float() / 255

    def forward(self, images: Tensor) -> Tensor:
        return self.feature_maps(images)[0].mean(dim=(2, 3))

    def feature_maps(self, images: Tensor, layers: tuple[int, ...] = (-1,)) -> list[Tensor]:
        """The one map, once per layer asked for. Raises `ValueError` when 8 does not divide the size."""
        if images.shape[2] % self.stride or images.shape[3] % self.stride:
            raise ValueError(f"Images of {tuple(images.shape[2:])} pixels cannot be cut into cells of {self.stride}.")
        map_ = (self.measure(images) - self.mean) / self.spread
        return [map_] * len(layers)

    def measure(self, images: Tensor) -> Tensor:
        """The 42 channels before centring and scaling."""
        colours = _opponent(images)
        cells = F.avg_pool2d(torch.cat([colours, colours**2, _edges(colours[:, :1])], dim=1), self.stride)
        return torch.cat([_describe(_widen(cells, window // self.stride)) for window in _WINDOWS], dim=1)


def _opponent(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(1)
    return torch.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue], dim=1)


def _edges(brightness: Tensor) -> Tensor:
    """Gradient magnitudes shared out among the two nearest of 8 directions, half a turn around: (B, 8, H, W)."""
    padded = F.pad(brightness, (1, 1, 1, 1), mode="replicate")
    dx = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    dy = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    angle = torch.atan2(dy, dx).remainder(math.pi) / math.pi * _DIRECTIONS
    bins = torch.arange(_DIRECTIONS, device=brightness.device, dtype=brightness.dtype).view(1, -1, 1, 1)
    apart = (angle - bins).abs()
    apart = torch.minimum(apart, _DIRECTIONS - apart)
    return (1 - apart).clamp(min=0) * torch.sqrt(dx**2 + dy**2)


def _widen(cells: Tensor, window: int) -> Tensor:
    return F.avg_pool2d(cells, window, stride=1, padding=window // 2, count_include_pad=False)


def _describe(cells: Tensor) -> Tensor:
    mean, square, edges = cells[:, :3], cells[:, 3:6], cells[:, 6:]
    return torch.cat([mean, (square - mean**2).clamp(min=0).sqrt(), edges.clamp(min=0).sqrt()], dim=1)
