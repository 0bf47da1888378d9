"""The channels of an image in a colour space, in groups: what networks that see a part of an image each are given.

A split is written as groups of channels, `l|a,b` or `y|cb,cr` or `r,g|b`, all of one colour space:

    lab     CIELAB of sRGB under D65 (IEC 61966-2-1): L in [0, 100], a in [-86.183, 98.233], b in [-107.857, 94.478]
    ycbcr   ITU-R BT.601 with Y in [16, 235], Cb and Cr in [16, 240]
    ydbdr   of SECAM: Y in [0, 1], Db and Dr in [-1.333, 1.333]
    rgb     as it is

These are the formulas of scikit-image, with which the official code of CMC (arXiv 1906.05849) converts, and Lab and
YCbCr are centred and scaled as there: Lab by the middle and half of the ranges above, YCbCr by measured means and
deviations. Of the others the official code says nothing: YDbDr is scaled by its ranges, RGB as networks for ImageNet.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from densessl.config import nearest
from densessl.errors import UserError

PRESETS = {"lab": "l|a,b", "ycbcr": "y|cb,cr", "ydbdr": "y|db,dr", "rgb": "r|g|b"}
# Name of the space: its channels, their centres and their scales.
SPACES = {
    "rgb": (("r", "g", "b"), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "lab": (("l", "a", "b"), (50.0, 6.025, -6.6895), (50.0, 92.208, 101.1675)),
    "ycbcr": (("y", "cb", "cr"), (116.151, 121.080, 132.342), (109.500, 111.855, 111.964)),
    "ydbdr": (("y", "db", "dr"), (0.5, 0.0, 0.0), (0.5, 1.333, 1.333)),
}
NEUTRAL = {
    "rgb": (0.0, 0.0, 0.0),
    "lab": (65.0, 0.0, 0.0),
    "ycbcr": (140.0, 128.0, 128.0),
    "ydbdr": (0.57, 0.0, 0.0),
}
_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_D65 = (0.95047, 1.0, 1.08883)
_YCBCR = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))
_YDBDR = ((0.299, 0.587, 0.114), (-0.450, -0.883, 1.333), (-1.333, 1.116, 0.217))


class Split:
    """Groups of channels of one colour space.

    text: a name of `PRESETS`, or groups with | between them and , between their channels. space: its name.
    groups: the channels' places in the space. names: of the groups, such as "ab".
    Raises `UserError` for what is no split.
    """

    def __init__(self, text: str) -> None:
        self.text = PRESETS.get(text.strip().lower(), text)
        named = [[name.strip() for name in group.split(",")] for group in self.text.lower().split("|")]
        flat = [name for group in named for name in group]
        fitting = [space for space, (channels, *_) in SPACES.items() if set(flat) <= set(channels)]
        if not fitting or len(set(flat)) < len(flat):
            known = ", ".join(PRESETS)
            raise UserError(
                f"{text!r} splits no image: give one of {known}, or groups of different channels of one colour space "
                f"with | between them, such as l|a,b or r,g|b{nearest(text, PRESETS)}"
            )
        self.space = fitting[0]
        channels = SPACES[self.space][0]
        self.groups = [[channels.index(name) for name in group] for group in named]
        self.names = ["".join(group).replace("l", "L") for group in named]

    def __call__(self, images: Tensor) -> list[Tensor]:
        """RGB (B, 3, H, W) in [0, 1] -> a float32 (B, c, H, W) per group, centred and scaled."""
        _, centre, scale = SPACES[self.space]
        with torch.autocast(images.device.type, enabled=False):
            values = convert(images.to(torch.promote_types(images.dtype, torch.float32)).clamp(0, 1), self.space)
            values = (values - _column(centre, values)) / _column(scale, values)
        return [values[:, group] for group in self.groups]

    def pictures(self, images: Tensor) -> list[Tensor]:
        """What each group holds, to look at: RGB (B, 3, H, W) in [0, 1] -> one such per group.

        The channels of other groups are set to middling ones.
        """
        values, found = convert(images, self.space), []
        for group in self.groups:
            shown = _column(NEUTRAL[self.space], values).expand_as(values).clone()
            shown[:, group] = values[:, group]
            found.append(revert(shown, self.space).clamp(0, 1))
        return found


def convert(images: Tensor, space: str) -> Tensor:
    """RGB (B, 3, H, W) in [0, 1] -> the channels of a colour space, in its own units."""
    if space == "lab":
        return _lab(images)
    if space == "ycbcr":
        return _product(_YCBCR, images) + _column((16.0, 128.0, 128.0), images)
    return _product(_YDBDR, images) if space == "ydbdr" else images


def revert(values: Tensor, space: str) -> Tensor:
    """The inverse of `convert`; colours that no RGB has come out beyond [0, 1]."""
    if space == "lab":
        return _from_lab(values)
    if space == "ycbcr":
        return _product(_inverse(_YCBCR), values - _column((16.0, 128.0, 128.0), values))
    return _product(_inverse(_YDBDR), values) if space == "ydbdr" else values


def _lab(images: Tensor) -> Tensor:
    linear = torch.where(images > 0.04045, ((images + 0.055) / 1.055) ** 2.4, images / 12.92)
    ratios = _product(_XYZ, linear) / _column(_D65, images)
    x, y, z = torch.where(ratios > 0.008856, ratios.clamp_min(1e-6) ** (1 / 3), 7.787 * ratios + 16 / 116).unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)


def _from_lab(values: Tensor) -> Tensor:
    lightness, a, b = values.unbind(1)
    y = (lightness + 16) / 116
    ratios = torch.stack((y + a / 500, y, y - b / 200), dim=1)
    ratios = torch.where(ratios > 0.2068966, ratios**3, (ratios - 16 / 116) / 7.787)
    linear = _product(_inverse(_XYZ), ratios * _column(_D65, values))
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp_min(1e-6) ** (1 / 2.4) - 0.055, 12.92 * linear)


def _inverse(matrix: tuple[tuple[float, ...], ...]) -> list[list[float]]:
    return torch.tensor(matrix, dtype=torch.float64).inverse().tolist()


def _product(matrix: Sequence[Sequence[float]], images: Tensor) -> Tensor:
    # Not as a matrix product, which a GPU may round to 10 bits (TF32).
    red, green, blue = images.unbind(1)
    return torch.stack([r * red + g * green + b * blue for r, g, b in matrix], dim=1)


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    return _kept_column(values, like.dtype, like.device)


@lru_cache
def _kept_column(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Kept on the device, because sending it anew would wait for it."""
    return torch.tensor(values, dtype=dtype, device=device).view(1, -1, 1, 1)
