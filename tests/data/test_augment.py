"""The pixels of a view: against torchvision's operations with the same numbers, and one engine against the other."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as F

from densessl.data.augment import render
from densessl.data.augment_device import blur_weights, render_batch, resize_weights, to_canvas
from densessl.data.views import ORDERS, Draw, ViewSpec, draw, generator

PHOTOS = Path(__file__).parents[2].parent / "shared" / "data" / "photos"
PLAIN = {"flip": 0, "jitter": 0, "grey": 0, "blur": 0}
COLOUR_ONLY = {"scale": (1, 1), "ratio": (1, 1), "flip": 0, "blur": 0, "jitter": 1, "grey": 0}
STILL = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
ADJUST = {
    "brightness": F.adjust_brightness,
    "contrast": F.adjust_contrast,
    "saturation": F.adjust_saturation,
    "hue": F.adjust_hue,
}


def picture(height: int, width: int, seed: int = 0, low: int = 0, high: int = 256) -> np.ndarray:
    """A smooth picture with some grain, RGB uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(low, high, (6, 8, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), low, high - 1).astype(np.uint8)


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    paths = sorted(PHOTOS.glob("*.jpg"))[::20]
    if not paths:
        pytest.skip("the photographs of shared/data are not here")
    return [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]


def still(image: np.ndarray, **change) -> Draw:
    """The whole image and nothing else, but for `change`."""
    height, width = image.shape[:2]
    return Draw(0, 0, width, height, False, 1.0, 1.0, 1.0, 0.0, 0, False, 0.0, False)._replace(**change)


def on_device(image: np.ndarray, drawn: Draw, size: int, side: int = 512) -> np.ndarray:
    canvas, numbers = to_canvas(image, [drawn], side)
    batch = torch.from_numpy(canvas).permute(2, 0, 1)[None]
    return render_batch(batch, torch.from_numpy(numbers), size)[0].permute(1, 2, 0).numpy()


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference in levels of 255."""
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def torchvision_colour(image: np.ndarray, drawn: Draw) -> np.ndarray:
    """Jitter and grey by torchvision on a PIL image, one operation after the other in the drawn order."""
    result = Image.fromarray(image)
    for name in ORDERS[drawn.order]:
        result = ADJUST[name](result, getattr(drawn, name))
    return np.asarray(F.rgb_to_grayscale(result, 3) if drawn.grey else result)


def colour_differences(photos: list[np.ndarray], **spec) -> np.ndarray:
    spec = ViewSpec(**{**COLOUR_ONLY, **spec})
    found = []
    for index, photo in enumerate(photos):
        square = cv2.resize(photo, (224, 224), interpolation=cv2.INTER_AREA)
        drawn = draw(spec, 224, 224, generator(0, 0, index), 224)
        found.append(difference(render(square, drawn, 224), torchvision_colour(square, drawn)))
    return np.array(found)


@pytest.mark.parametrize("order", range(24))
def test_colours_are_torchvisions_in_every_order_while_nothing_is_clamped(order):
    image = picture(64, 64, low=100, high=150)
    drawn = still(image, brightness=1.1, contrast=0.8, saturation=0.6, order=order)
    # PIL cuts off half a level on average in each of the three.
    assert difference(render(image, drawn, 64), torchvision_colour(image, drawn)) < 1.6


@pytest.mark.parametrize("order", range(24))
@pytest.mark.parametrize("grey", [False, True])
def test_the_matrix_is_the_operations_one_after_the_other(order, grey):
    image = picture(32, 32, low=90, high=160)
    drawn = still(image, brightness=1.1, contrast=0.8, saturation=0.6, hue=0.1, order=order, grey=grey)
    luma = np.array([0.299, 0.587, 0.114])
    # A turn about the grey axis by Rodrigues' formula.
    axis, angle = np.full(3, 3**-0.5), 2 * np.pi * drawn.hue
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) * 3**-0.5
    turn = np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(axis, axis)
    x = image.astype(np.float64)
    steps = {
        "brightness": lambda x: x * drawn.brightness,
        "contrast": lambda x: drawn.contrast * x + (1 - drawn.contrast) * (x @ luma).mean(),
        "saturation": lambda x: drawn.saturation * x + (1 - drawn.saturation) * (x @ luma)[..., None],
        "hue": lambda x: x @ turn.T,
    }
    for name in ORDERS[order]:
        x = steps[name](x)
    if grey:
        x = np.repeat((x @ luma)[..., None], 3, axis=2)
    # cv2.transform works in fixed point, a little off where a value lies between two levels.
    assert np.abs(render(image, drawn, 32) - x).max() < 0.7
    assert np.abs(on_device(image, drawn, 32) - x).max() < 0.51


def test_a_third_of_a_turn_moves_red_to_green_as_torchvision_does():
    image = np.zeros((8, 8, 3), np.uint8) + np.array([200, 40, 40], np.uint8)
    drawn = still(image, hue=1 / 3)
    assert render(image, drawn, 8)[0, 0].tolist() == [40, 200, 40]
    assert difference(render(image, drawn, 8), torchvision_colour(image, drawn)) < 2


@pytest.mark.parametrize(
    ("spec", "mean"),
    [
        ({**STILL, "brightness": 0.8}, 0.6),
        ({**STILL, "contrast": 0.8}, 0.6),
        ({**STILL, "saturation": 0.8}, 0.6),
        ({"jitter": 0, "grey": 1}, 0.3),
        ({"hue": 0}, 2.6),
        ({**STILL, "hue": 0.2}, 4.2),
        ({"jitter": 0.8, "grey": 0.2}, 4.2),
    ],
)
def test_colours_of_photographs_differ_from_torchvisions_as_the_module_states(photos, spec, mean):
    assert colour_differences(photos, **spec).mean() < mean


def test_mean_and_contrast_of_jittered_photographs_are_torchvisions(photos):
    spec = ViewSpec(**{**COLOUR_ONLY, "jitter": 0.8, "grey": 0.2})
    rows = []
    for index, photo in enumerate(photos * 4):
        square = cv2.resize(photo, (64, 64), interpolation=cv2.INTER_AREA)
        drawn = draw(spec, 64, 64, generator(0, 0, index), 64)
        ours, theirs = render(square, drawn, 64), torchvision_colour(square, drawn)
        rows.append([[*view.mean((0, 1)), *view.std((0, 1))] for view in (ours, theirs)])
    ours, theirs = np.mean(rows, axis=0)
    np.testing.assert_allclose(ours, theirs, atol=4)


@pytest.mark.parametrize(("box", "size", "most"), [((11, 7, 90, 70), 224, 0.5), ((3, 5, 300, 240), 224, 1.0)])
def test_crop_and_resize_are_torchvisions_antialiased_bilinear(box, size, most):
    image = picture(270, 360)
    x, y, width, height = box
    theirs = F.resized_crop(Image.fromarray(image), y, x, height, width, [size, size])
    ours = render(image, still(image, x=x, y=y, width=width, height=height), size)
    assert difference(ours, np.asarray(theirs)) < most


def test_a_large_shrink_averages_areas():
    image = picture(96, 128)
    blocks = image.reshape(24, 4, 32, 4, 3).astype(float).mean((1, 3))
    ours = render(image, still(image, width=96, height=96), 24)
    np.testing.assert_allclose(ours, blocks[:, :24], atol=0.51)


@pytest.mark.parametrize("sigma", [0.3, 0.8, 2.0])
def test_blur_is_torchvisions_with_the_kernel_of_simclr(sigma):
    image = picture(224, 224)
    theirs = F.gaussian_blur(torch.from_numpy(image).permute(2, 0, 1), 23, sigma).permute(1, 2, 0).numpy()
    assert difference(render(image, still(image, sigma=sigma), 224), theirs) < 0.1


def test_a_blur_that_is_left_out_would_not_have_changed_a_pixel():
    image = np.random.default_rng(0).integers(0, 2, (32, 32, 3)).astype(np.uint8) * 255
    assert np.array_equal(cv2.GaussianBlur(image, (3, 3), 0.2499), image)
    assert np.array_equal(render(image, still(image, sigma=0.2499), 32), image)


def test_solarize_and_flip_are_torchvisions():
    image = picture(32, 32)
    theirs = F.hflip(F.solarize(torch.from_numpy(image).permute(2, 0, 1), 128)).permute(1, 2, 0).numpy()
    assert np.array_equal(render(image, still(image, flip=True, solarize=True), 32), theirs)


def test_a_view_never_shares_memory_with_its_image():
    image = picture(32, 32)
    view = render(image, still(image), 32)
    assert np.array_equal(view, image) and not np.shares_memory(view, image)


@pytest.mark.parametrize("size", [16, 96, 224])
@pytest.mark.parametrize(
    ("change", "most"),
    [
        ({}, 0.2),
        ({"flip": 1}, 0.2),
        ({"jitter": 1}, 0.4),
        ({"jitter": 1, "grey": 1}, 0.4),
        ({"blur": 1}, 0.4),
        ({"solarize": 1}, 0.2),
        (None, 0.4),
    ],
    ids=["crop", "flip", "jitter", "grey", "blur", "solarize", "all"],
)
def test_both_engines_make_the_same_pixels(size, change, most):
    spec = ViewSpec(solarize=0.2) if change is None else ViewSpec(**{**PLAIN, **change})
    found = []
    for index in range(6):
        image = picture(270 - 20 * index, 200 + 30 * index, index)
        drawn = draw(spec, *image.shape[:2], generator(0, 0, index), size)
        found.append(difference(render(image, drawn, size), on_device(image, drawn, size)))
    assert np.mean(found) < most


def test_a_batch_is_its_samples_one_by_one():
    images = [picture(40, 50, seed) for seed in range(70)]  # more than one chunk
    draws = [draw(ViewSpec(), 40, 50, generator(0, 0, index), 16) for index in range(70)]
    canvas = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    batch = render_batch(canvas, torch.tensor([list(map(float, row)) for row in draws]), 16)
    assert batch.shape == (70, 3, 16, 16) and batch.dtype == torch.uint8
    assert batch.is_contiguous(memory_format=torch.channels_last)
    for index in (0, 33, 69):
        alone = on_device(images[index], draws[index], 16)
        assert np.abs(batch[index].permute(1, 2, 0).numpy().astype(int) - alone).max() <= 1


def test_mixed_precision_of_the_run_does_not_reach_the_views():
    image = picture(40, 50)
    drawn = still(image, sigma=1.0, brightness=1.2, hue=0.1)
    outside = on_device(image, drawn, 32)
    with torch.autocast("cpu", torch.bfloat16):
        assert np.array_equal(on_device(image, drawn, 32), outside)


def test_padding_of_the_canvas_has_no_part_in_a_view():
    image = picture(40, 50)
    drawn = torch.tensor([list(map(float, still(image, sigma=1.0)))])
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    padded = torch.nn.functional.pad(pixels, (0, 30, 0, 20), value=255)
    assert torch.equal(render_batch(padded, drawn, 64), render_batch(pixels, drawn, 64))


def test_an_image_larger_than_the_canvas_is_shrunk_with_its_boxes(photos):
    found = []
    for index, photo in enumerate(photos[:20]):
        large = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        drawn = draw(ViewSpec(solarize=0.2), *large.shape[:2], generator(0, 0, index), 224)
        canvas, numbers = to_canvas(large, [drawn], 448)
        assert max(canvas.shape[:2]) == 448
        assert numbers[0, 0] + numbers[0, 2] <= canvas.shape[1] + 1e-3
        found.append(difference(render(large, drawn, 224), on_device(large, drawn, 224, side=448)))
    assert np.mean(found) < 1.0


def test_resize_and_blur_weights_are_averages():
    start, length = torch.tensor([0.0, 3.5, 2.0]), torch.tensor([40.0, 10.25, 16.0])
    yes, no = torch.tensor([True, False, True]), torch.tensor([False, True, True])
    for weights in (resize_weights(start, length, 48, 16, yes, no), blur_weights(torch.tensor([0.1, 1.0, 4.5]), 16)):
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(2), torch.ones(3, 16))
