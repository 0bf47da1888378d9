"""Views as data: what a method asks for, and the numbers drawn for one view of one image.

A `ViewSpec` says how a kind of view is distributed. `draw` turns it into concrete numbers for one image, seeded by
(seed, epoch, index). Two engines in `densessl.data.augment` turn the numbers into pixels; since both are given the
same numbers, they make the same views.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ViewSpec:
    """How one kind of view is distributed. The defaults are SimCLR's (arXiv 2002.05709, appendix A) at strength 1.

    count: views of this kind per image.
    size: side of the square view in pixels; None is the run's `image_size`.
    scale, ratio: area (share of the image) and aspect ratio (width / height) of the random resized crop.
    flip: probability of a horizontal flip.
    jitter: probability of the colour jitter; its strengths are brightness, contrast, saturation (factor uniform in
        [max(0, 1 - s), 1 + s]) and hue (shift uniform in [-s, s], in turns of the colour circle, at most 0.5).
    grey: probability of turning grey.
    blur: probability of the Gaussian blur; sigma uniform in blur_sigma, in pixels of a view of 224 px, scaled with size.
    solarize: probability of inverting the values of 128 and more.
    """

    count: int = 1
    size: int | None = None
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (0.75, 4 / 3)
    flip: float = 0.5
    jitter: float = 0.8
    brightness: float = 0.8
    contrast: float = 0.8
    saturation: float = 0.8
    hue: float = 0.2
    grey: float = 0.2
    blur: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize: float = 0.0
