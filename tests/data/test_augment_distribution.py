"""Both engines and torchvision, each drawing for itself, make views of the same distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision import transforms

from densessl.data.augment import render
from densessl.data.augment_device import render_batch
from densessl.data.views import Draw, ViewSpec, draw, generator
from tests.data.test_augment import PLAIN, STILL, picture

# Each on random crops, whose spread leaves no value that a share of the views takes: rounding would tell those apart.
OPERATIONS = {
    "crop": {},
    "flip": {"flip": 0.5},
    "brightness": {**STILL, "brightness": 0.8, "jitter": 0.8},
    "contrast": {**STILL, "contrast": 0.8, "jitter": 0.8},
    "saturation": {**STILL, "saturation": 0.8, "jitter": 0.8},
    "hue": {**STILL, "hue": 0.2, "jitter": 0.8},
    "grey": {"grey": 0.2},
    "blur": {"blur": 0.5, "blur_sigma": (8.0, 32.0)},
    "solarize": {"solarize": 0.2},
    "all": {"flip": 0.5, "jitter": 0.8, "grey": 0.2, "blur": 0.5, "blur_sigma": (8.0, 32.0), "solarize": 0.2},
}
# A little off: what the comparison must notice.
OFF = {
    "crop": {"scale": (0.16, 1.0)},
    "flip": {"flip": 0.35},
    "brightness": {"brightness": 0.6},
    "contrast": {"contrast": 0.55},
    "saturation": {"saturation": 0.55},
    "hue": {"hue": 0.1},
    "grey": {"grey": 0.35},
    "blur": {"blur": 0.35},
    "solarize": {"solarize": 0.35},
    "all": {"brightness": 0.5},
}
VIEWS, SIDE = 1500, 32


@pytest.fixture(scope="module")
def lopsided() -> np.ndarray:
    """A picture that is light at the left, and redder at the top."""
    image = picture(60, 80, seed=1, low=40, high=180).astype(np.float32)
    image += np.linspace(60, -30, 80, dtype=np.float32)[None, :, None]
    image[..., 0] += np.linspace(30, -30, 60, dtype=np.float32)[:, None]
    return np.clip(image, 0, 255).astype(np.uint8)


def draws_of(spec: ViewSpec, image: np.ndarray, first: int) -> list[Draw]:
    return [draw(spec, *image.shape[:2], generator(0, 0, index), SIDE) for index in range(first, first + VIEWS)]


def by_worker(spec: ViewSpec, image: np.ndarray) -> np.ndarray:
    return measured(np.stack([render(image, drawn, SIDE) for drawn in draws_of(spec, image, 0)]))


def by_device(spec: ViewSpec, image: np.ndarray) -> np.ndarray:
    numbers = torch.tensor([list(map(float, drawn)) for drawn in draws_of(spec, image, VIEWS)])
    canvas = torch.from_numpy(image).permute(2, 0, 1)[None].expand(VIEWS, -1, -1, -1)
    return measured(render_batch(canvas, numbers, SIDE).permute(0, 2, 3, 1).numpy())


def by_torchvision(spec: ViewSpec, image: np.ndarray) -> np.ndarray:
    """The same settings, drawn and computed by torchvision alone; sigma scaled to the view, and no kernel cut short."""
    sigma = [value * SIDE / 224 for value in spec.blur_sigma]
    jitter = transforms.ColorJitter(spec.brightness, spec.contrast, spec.saturation, spec.hue)
    chain = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIDE, spec.scale, spec.ratio),
            transforms.RandomHorizontalFlip(spec.flip),
            transforms.RandomApply([jitter], spec.jitter),
            transforms.RandomGrayscale(spec.grey),
            transforms.RandomApply([transforms.GaussianBlur(29, sigma)], spec.blur),
            transforms.RandomSolarize(128, spec.solarize),
        ]
    )
    picture_ = Image.fromarray(image)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return measured(np.stack([np.asarray(chain(picture_)) for _ in range(VIEWS)]))


def measured(views: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of each view (N, s, s, 3), one or more of which each operation moves."""
    x = views.astype(np.float64)
    grey = x.mean(axis=3)
    return {
        "red": x[..., 0].mean((1, 2)),
        "green": x[..., 1].mean((1, 2)),
        "blue": x[..., 2].mean((1, 2)),
        "spread": grey.std((1, 2)),
        "colour": (x.max(axis=3) - x.min(axis=3)).mean((1, 2)),
        "side": (grey[:, :, : SIDE // 2] - grey[:, :, SIDE // 2 :]).mean((1, 2)),
        "detail": np.abs(np.diff(grey, axis=2)).mean((1, 2)),
    }


def least_likely(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> tuple[float, str]:
    """The smallest p of Kolmogorov and Smirnov's two-sample test over the numbers, and which one it is."""
    return min((float(ks_2samp(a[name], b[name]).pvalue), name) for name in b)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_both_engines_and_torchvision_draw_views_of_the_same_distribution(operation, lopsided):
    """Drawn apart, so that only the distributions can agree; a change that is hardly seen would be noticed."""
    settings = {**PLAIN, **OPERATIONS[operation]}
    spec, off = ViewSpec(**settings), ViewSpec(**{**settings, **OFF[operation]})
    worker, device, theirs = (make(spec, lopsided) for make in (by_worker, by_device, by_torchvision))
    # 7 numbers, 3 pairs, 10 operations: 1 in 50 for one of them to fall below by chance, and the seeds are fixed.
    assert least_likely(worker, device)[0] > 1e-4, least_likely(worker, device)
    if operation in ("hue", "all"):
        # Our turn of the hue keeps every pixel's grey and HSV's does not, so the detail of the grey is not compared.
        theirs.pop("detail")
    for ours in (worker, device):
        assert least_likely(ours, theirs)[0] > 1e-4, least_likely(ours, theirs)
    for other in (device, theirs):
        assert least_likely(by_worker(off, lopsided), other)[0] < 1e-4
