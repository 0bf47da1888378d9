"""Views as data: what a method asks for, and the numbers drawn for one view of one image.

A `ViewSpec` says how a kind of view is distributed. `draw` turns it into concrete numbers for one image, seeded by
(seed, epoch, index). Two engines in `densessl.data.augment` turn the numbers into pixels; since both are given the
same numbers, they make the same views. A view may be cut into a grid of patches (`PatchSpec`): then the crop and its
flip are drawn once, colours and blur for each patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from math import exp, isfinite, log, sqrt
from typing import NamedTuple

from numpy.random import Generator, Philox

from densessl.errors import UserError

REFERENCE_SIZE = 224  # the view, in pixels, that `blur_sigma` speaks of
LARGEST_SIGMA = 64.0  # of `blur_sigma`; the kernel of a larger one would be wider than the view
CROP_ATTEMPTS = 10  # torchvision's RandomResizedCrop
ORDERS = tuple(permutations(("brightness", "contrast", "saturation", "hue")))  # what `Draw.order` counts in


@dataclass(frozen=True)
class PatchSpec:
    """A grid of square patches of a view. The defaults are CPC's (arXiv 1807.03748): 7 x 7 of 64 px that half overlap.

    grid: patches a side. size: side of a patch in pixels of the view. step: pixels from one cell's start to the next's;
        less than size makes patches overlap.
    wander: a patch lies at a random place, 0 to so many pixels from its cell's start along each axis.
    flip: probability of a horizontal flip of a patch by itself.

    Raises `UserError` for a value outside its range.
    """

    grid: int = 7
    size: int = 64
    step: int = 32
    wander: int = 0
    flip: float = 0.0

    def __post_init__(self) -> None:
        _check("patches.grid", self.grid, self.grid >= 2, "2 or more")
        for name, least in (("size", 4), ("step", 1), ("wander", 0)):
            value = getattr(self, name)
            _check(f"patches.{name}", value, value >= least, f"{least} px or more")
        _check("patches.flip", self.flip, 0 <= self.flip <= 1, "a probability between 0 and 1")

    @property
    def count(self) -> int:
        return self.grid**2

    @property
    def whole(self) -> int:
        """Side of the view that they are cut from, in pixels."""
        return (self.grid - 1) * self.step + self.size + self.wander


@dataclass(frozen=True)
class ViewSpec:
    """How one kind of view is distributed. The defaults are SimCLR's (arXiv 2002.05709, appendix A) at strength 1.

    count: views of this kind per image.
    size: side of the square view in pixels; None is the run's `image_size`, or what the patches make up.
    scale, ratio: area (share of the image) and aspect ratio (width / height) of the random resized crop.
    flip: probability of a horizontal flip.
    jitter: probability of the colour jitter; its strengths are brightness, contrast, saturation (factor uniform in
        [max(0, 1 - s), 1 + s]) and hue (shift uniform in [-s, s], in turns of the colour circle, at most 0.5).
    grey: probability of turning grey.
    blur: probability of the Gaussian blur; sigma uniform in blur_sigma, in pixels of a view of 224 px, and
        scaled with the size of the view.
    solarize: probability of inverting the values of 128 and more.
    patches: cut the view into these, each with its own draws of all that comes after `flip`; None leaves it whole.

    Raises `UserError` for a value outside its range.
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
    patches: PatchSpec | None = None

    def __post_init__(self) -> None:
        # OmegaConf hands tuples over as lists, and a frozen dataclass must stay hashable.
        for name in ("scale", "ratio", "blur_sigma"):
            object.__setattr__(self, name, _pair(name, getattr(self, name)))
        _check("count", self.count, self.count >= 1, "1 or more")
        _check("size", self.size, self.size is None or self.size >= 8, "8 px or more")
        _check("scale", self.scale, self.scale[0] > 0 and self.scale[1] <= 1, "shares of the area, above 0 and up to 1")
        _check("ratio", self.ratio, self.ratio[0] > 0 and isfinite(self.ratio[1]), "above 0, such as [0.75, 1.33]")
        largest = LARGEST_SIGMA
        if self.patches:
            whole = self.patches.whole
            _check("size", self.size, self.size in (None, whole), f"left out, since its patches make up {whole} px")
            largest *= self.patches.size / whole
        blurs = self.blur_sigma[0] >= 0 and self.blur_sigma[1] <= largest
        _check("blur_sigma", self.blur_sigma, blurs, f"between 0 and {largest:g} px")
        for name in ("flip", "jitter", "grey", "blur", "solarize"):
            value = getattr(self, name)
            _check(name, value, 0 <= value <= 1, "a probability between 0 and 1")
        for name in ("brightness", "contrast", "saturation"):
            value = getattr(self, name)
            _check(name, value, value >= 0 and isfinite(value), "a strength of 0 or more")
        _check("hue", self.hue, 0 <= self.hue <= 0.5, "a strength between 0 and 0.5 turns")

    def side(self, image_size: int) -> int:
        """Side of the view in pixels, before it is cut into patches."""
        return self.patches.whole if self.patches else self.size or image_size

    def sides(self, image_size: int) -> int | PatchSides:
        """What an engine must know of its size: the side, or of a view in patches both sides."""
        return PatchSides(self.patches.whole, self.patches.size) if self.patches else self.side(image_size)


class PatchSides(NamedTuple):
    """Sides in pixels of a view that is cut into patches, and of a patch."""

    whole: int
    patch: int


class Draw(NamedTuple):
    """The numbers of one view of one image: all that an engine needs beside the pixels and the view's size.

    x, y, width, height: the crop's box, in pixels of the image; of a patch, its box in pixels of the view.
    flip, grey, solarize: whether to.
    brightness, contrast, saturation: factors, 1 for no change. hue: shift in turns of the colour circle.
    order: index into `ORDERS`, the order of the four colour operations.
    sigma: of the Gaussian blur, in pixels of this view; 0 for none.
    """

    x: int
    y: int
    width: int
    height: int
    flip: bool
    brightness: float
    contrast: float
    saturation: float
    hue: float
    order: int
    grey: bool
    sigma: float
    solarize: bool


def generator(seed: int, epoch: int, index: int) -> Generator:
    """The random numbers of one image in one epoch, whichever worker asks for them and after whatever restart.

    Philox is counter-based: its key and the high half of its counter name the stream, so nothing is seeded by running
    a generator. The seed may be any integer (its lowest 64 bits count); epoch and index are 0 or more.
    """
    return Generator(Philox(key=seed & (2**64 - 1) | epoch << 64, counter=index << 128))


def draw(spec: ViewSpec, height: int, width: int, rng: Generator, size: int) -> Draw:
    """Draw one view of `size` px of an image of `height` x `width` pixels.

    Every draw takes the same count of random numbers, so the second view of an image does not hang on how the first
    came out. Distributed as torchvision's RandomResizedCrop, RandomHorizontalFlip, ColorJitter and
    RandomGrayscale, then a Gaussian blur; solarization comes last, as in BYOL (arXiv 2006.07733, appendix B).
    Of a view that is cut into patches only crop and flip are drawn here; `draw_patches` draws the rest.
    """
    u = rng.random(12 + 2 * CROP_ATTEMPTS).tolist()
    box = _box(spec, height, width, u[10], u[11], u[12:])
    if spec.patches:
        return Draw(*box, u[7] < spec.flip, 1.0, 1.0, 1.0, 0.0, 0, False, 0.0, False)
    return Draw(*box, u[7] < spec.flip, *_look(spec, u, size))


def draw_patches(spec: ViewSpec, rng: Generator) -> list[Draw]:
    """Draw the patches of one view, row by row: places in pixels of the view, and each its own flip, colours, blur."""
    patches, found = spec.patches, []
    for number, u in enumerate(rng.random((patches.count, 12)).tolist()):
        row, column = divmod(number, patches.grid)
        x, y = (int(each * (patches.wander + 1)) for each in u[10:])
        box = (column * patches.step + x, row * patches.step + y, patches.size, patches.size)
        # The content of a patch has the scale of the whole view, and so has its blur.
        found.append(Draw(*box, u[7] < patches.flip, *_look(spec, u, patches.whole)))
    return found


def _look(spec: ViewSpec, u: list[float], size: int) -> tuple:
    """All of a `Draw` that comes after its flip; of u the numbers 0 to 6, 8 and 9 are used."""
    brightness = contrast = saturation = 1.0
    hue, order = 0.0, 0
    if u[0] < spec.jitter:
        brightness = _factor(spec.brightness, u[1])
        contrast = _factor(spec.contrast, u[2])
        saturation = _factor(spec.saturation, u[3])
        hue = spec.hue * (2 * u[4] - 1)
        order = int(u[5] * len(ORDERS))
    sigma = 0.0
    if u[6] < spec.blur:
        # One number for both: below the probability it is uniform there too.
        low, high = spec.blur_sigma
        sigma = (low + (high - low) * u[6] / spec.blur) * size / REFERENCE_SIZE
    return brightness, contrast, saturation, hue, order, u[8] < spec.grey, sigma, u[9] < spec.solarize


def _factor(strength: float, u: float) -> float:
    low = max(0.0, 1.0 - strength)
    return low + (1.0 + strength - low) * u


def _box(spec: ViewSpec, height: int, width: int, u: float, v: float, attempts: list[float]) -> tuple[int, ...]:
    """RandomResizedCrop's box (x, y, w, h): ten attempts, then the largest centre crop whose ratio is allowed."""
    small, large = spec.scale
    low, high = spec.ratio
    area, log_low, log_span = height * width, log(low), log(high / low)
    for attempt in range(0, 2 * CROP_ATTEMPTS, 2):
        target = area * (small + (large - small) * attempts[attempt])
        ratio = exp(log_low + log_span * attempts[attempt + 1])
        w, h = round(sqrt(target * ratio)), round(sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(u * (width - w + 1)), int(v * (height - h + 1)), w, h
    w, h = width, height
    if width < low * height:
        h = max(1, round(width / low))
    elif width > high * height:
        w = max(1, round(height * high))
    return (width - w) // 2, (height - h) // 2, w, h


def _pair(name: str, value: object) -> tuple[float, float]:
    pair = tuple(value) if isinstance(value, (list, tuple)) else ()
    _check(name, value, len(pair) == 2 and pair[0] <= pair[1], "two numbers, the smaller one first")
    return pair


def _check(name: str, value: object, fine: bool, wanted: str) -> None:
    if not fine:
        shown = list(value) if isinstance(value, tuple) else value
        raise UserError(f"A view's {name} is {shown}; it must be {wanted}.")
