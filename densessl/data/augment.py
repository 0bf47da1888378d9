"""From the numbers of a view to its pixels: OpenCV in a worker, or batched tensor operations on the device.

`render` makes one view of one decoded image; `render_batch` makes a batch of them on any device. Both follow the same
definition of every operation and take the same `Draw`, so the same numbers give the same view: they differ by
rounding alone, 0.15 levels (of 255) on average over SimCLR's views of photographs.

The operations, in order, and where they differ from torchvision's on PIL images. Figures are mean absolute
differences in levels of 255 over 100 photographs at 224 px; `tests/data/test_augment.py` holds us to them.

crop and resize
    Enlarging (a side of the box shorter than the view): bilinear, reading nothing outside the box. Shrinking by up to
    2: bilinear at twice the size, then 2 x 2 pixels averaged, which stands as near to PIL's antialiased bilinear as
    OpenCV's INTER_AREA does (0.25 and 0.25 at a factor of 1.3, 0.31 and 0.35 at 1.7, on one photograph), in half its
    time. Shrinking by more: INTER_AREA.
colour jitter and grey
    One 3 x 4 matrix. Brightness, contrast, saturation and grey are affine in RGB; the grey mean that contrast blends
    with is carried through the operations before it, from the mean RGB of the view. Each alone differs by 0.5 or
    less, because PIL cuts fractions off where we round. torchvision clamps to [0, 255] after each operation and we
    clamp once: 2.1 (median 1.3) for SimCLR's three factors together, 1.5 for BYOL's strength of 0.4. Hue is a
    rotation about the grey axis by 360 degrees times the shift, where torchvision moves the angle in HSV: 3.5 for
    shifts uniform in [-0.2, 0.2], where the hue itself moves pixels by 6.0; 2.3 for [-0.1, 0.1]. (A rotation in YIQ
    keeps luma, which HSV does not, and comes out about twice as far off.) SimCLR's jitter and grey as a whole: 3.5
    (median 2.5), while they move pixels by 47.
blur
    Gaussian, cut at 3 sigma rounded up, which is OpenCV's own rule for 8-bit images: 0.02 or less from torchvision's
    with SimCLR's kernel of a tenth of the side. Left out below 0.25 px, where no pixel could change.
solarize
    As torchvision: values of 128 and more are inverted.

A rendered view is uint8; scaling to [0, 1] and normalising by mean and std belong to whoever feeds the network.
Of a view in patches the crop is resized and flipped as a whole, so that neighbouring patches hold the same pixels
where they overlap; the operations after that are each patch's own, which sees nothing beyond its border.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, cos, pi, sin, sqrt

import cv2
import numpy as np

from densessl.data.views import ORDERS, Draw, PatchSides

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PIL and torchvision
# Four neighbours of weight exp(-1 / (2 * 0.25^2)) = 3.4e-4 move a value by 0.34 levels at most: it rounds back.
SMALLEST_SIGMA = 0.25
HUE_BEFORE_SATURATION = tuple(order.index("hue") < order.index("saturation") for order in ORDERS)
HUE_BEFORE_CONTRAST = tuple(order.index("hue") < order.index("contrast") for order in ORDERS)
_INVERT_BRIGHT = np.where(np.arange(256) < 128, np.arange(256), 255 - np.arange(256)).astype(np.uint8)


def render(image: np.ndarray, draw: Draw, size: int) -> np.ndarray:
    """One view: image (H, W, 3) uint8 RGB, draw in its pixels -> (size, size, 3) uint8, never sharing its memory."""
    return _finished(_crop_resized(image, draw, size), draw)


def render_patches(image: np.ndarray, draw: Draw, patches: Sequence[Draw], sides: PatchSides) -> np.ndarray:
    """The patches of one view: image (H, W, 3) uint8 RGB -> (P, s, s, 3) uint8; see `views.draw_patches`."""
    whole = render(image, draw, sides.whole)
    made = np.empty((len(patches), sides.patch, sides.patch, 3), np.uint8)
    for place, patch in zip(made, patches, strict=True):
        x, y, width, height = patch[:4]
        place[:] = _finished(whole[y : y + height, x : x + width], patch)
    return made


def _finished(view: np.ndarray, draw: Draw) -> np.ndarray:
    """Colours, blur, solarization and flip of a view, or of a patch, that has its size."""
    if has_colour(draw):
        view = cv2.transform(view, colour_matrix(draw, cv2.mean(view)))
    if draw.sigma >= SMALLEST_SIGMA:
        kernel = _gaussian(draw.sigma)
        view = cv2.sepFilter2D(view, -1, kernel, kernel)
    if draw.solarize:
        view = cv2.LUT(view, _INVERT_BRIGHT)
    return cv2.flip(view, 1) if draw.flip else view


def cut(layer: np.ndarray, draw: Draw, size: int, of: tuple[int, int], nearest: bool = False) -> np.ndarray:
    """What lies beside an image, cropped, resized and flipped as `render` does it with the image's view, no more.

    layer: (h, w, c) of any number type; of: the image's height and width, where those of the layer differ.
    nearest: take values as they are instead of mixing them, for labels. -> (size, size, c).
    """
    height, width = layer.shape[:2]
    down, across = height / of[0], width / of[1]
    x, y = min(width - 1, round(draw.x * across)), min(height - 1, round(draw.y * down))
    right = min(width, max(x + 1, round((draw.x + draw.width) * across)))
    bottom = min(height, max(y + 1, round((draw.y + draw.height) * down)))
    if nearest:
        part = np.ascontiguousarray(layer[y:bottom, x:right])
        found = cv2.resize(part, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
    else:
        box = draw._replace(x=x, y=y, width=right - x, height=bottom - y)
        fours = [np.ascontiguousarray(layer[:, :, c : c + 4]) for c in range(0, layer.shape[2], 4)]  # OpenCV's most
        found = np.concatenate([_crop_resized(four, box, size).reshape(size, size, -1) for four in fours], axis=2)
    found = found.reshape(size, size, -1)  # OpenCV drops an axis of one
    return np.ascontiguousarray(found[:, ::-1]) if draw.flip else found


def has_colour(draw: Draw) -> bool:
    """Whether the colours of the view change at all."""
    return draw.grey or draw.hue != 0 or draw.brightness != 1 or draw.contrast != 1 or draw.saturation != 1


def colour_matrix(draw: Draw, mean: tuple[float, ...]) -> np.ndarray:
    """Jitter and grey as one affine map (3, 4) float32 on RGB in [0, 255]; mean: the view's mean R, G, B.

    Written out rather than multiplied up, because at 32 px five small matrix products cost more than the pixels do.
    With l the luma weights, H the hue's rotation and 1 the vector of ones, the linear part is
    brightness * contrast * (s H + (1 - s) 1 r'), r = H'l when the hue comes before the saturation, else l; and the
    offset is (1 - contrast) * brightness * luma of the mean, turned by H when the hue comes before the contrast.
    """
    red, green, blue = LUMA
    angle = 2 * pi * draw.hue
    third, turn = (1 - cos(angle)) / 3, sin(angle) / sqrt(3)
    a, b, c = 1 - 2 * third, third - turn, third + turn  # H is circulant: rows (a, b, c), (c, a, b), (b, c, a)
    turned = (red * a + green * c + blue * b, red * b + green * a + blue * c, red * c + green * b + blue * a)  # H'l
    r = turned if HUE_BEFORE_SATURATION[draw.order] else LUMA
    q = turned if HUE_BEFORE_CONTRAST[draw.order] else LUMA
    offset = (1 - draw.contrast) * draw.brightness * (q[0] * mean[0] + q[1] * mean[1] + q[2] * mean[2])
    gain = draw.brightness * draw.contrast
    s, t = gain * draw.saturation, gain * (1 - draw.saturation)
    x, y, z = t * r[0], t * r[1], t * r[2]
    if draw.grey:
        row = (s * turned[0] + x, s * turned[1] + y, s * turned[2] + z, offset)
        return np.array((row, row, row), np.float32)
    return np.array(
        (
            (s * a + x, s * b + y, s * c + z, offset),
            (s * c + x, s * a + y, s * b + z, offset),
            (s * b + x, s * c + y, s * a + z, offset),
        ),
        np.float32,
    )


def _crop_resized(image: np.ndarray, draw: Draw, size: int) -> np.ndarray:
    x, y, width, height = draw[:4]
    crop = image[y : y + height, x : x + width]
    if width == size == height:
        return crop.copy()
    if width < size or height < size:
        return cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR)
    if width <= 2 * size and height <= 2 * size:
        crop = cv2.resize(crop, (2 * size, 2 * size), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)


def _gaussian(sigma: float) -> np.ndarray:
    return cv2.getGaussianKernel(2 * ceil(3 * sigma) + 1, sigma, cv2.CV_32F)
