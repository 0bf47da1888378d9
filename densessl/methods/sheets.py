"""What methods draw on: images as arrays, and visual tokens as colours."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from torch import Tensor


def arrays(images: Tensor) -> list[np.ndarray]:
    """(B, 3, H, W) uint8 -> B arrays (H, W, 3), as `Sheet` wants them."""
    return list(images.permute(0, 2, 3, 1).cpu().numpy())


def token_colours(tokens: Tensor, stride: int) -> list[np.ndarray]:
    """Tokens (B, h, w) -> B pictures (stride h, stride w, 3) uint8; a token has the same colour in each of them."""
    palette = _palette(int(tokens.max()) + 1)
    return [palette[grid].repeat(stride, 0).repeat(stride, 1) for grid in tokens.cpu().numpy()]


@cache
def _palette(count: int) -> np.ndarray:
    """(count, 3) uint8 RGB: hues that step by the golden ratio, which keeps neighbours in the vocabulary apart."""
    number = np.arange(count)
    hue = 360 * (number * 0.618034 % 1)
    saturation, value = 0.35 + 0.5 * (number * 0.754878 % 1), 0.55 + 0.4 * (number * 0.569840 % 1)
    colours = np.stack([hue, saturation, value], axis=-1).astype(np.float32)[None]
    return (255 * cv2.cvtColor(colours, cv2.COLOR_HSV2RGB)[0]).round().astype(np.uint8)
