"""Patches of a view: cut and changed one by one, the same by both engines."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from densessl.data import augment_device
from densessl.data.augment import render, render_patches
from densessl.data.views import Draw, PatchSpec, ViewSpec, draw, draw_patches, generator
from tests.data.test_augment import PLAIN, difference, picture

JIGSAW = PatchSpec(grid=3, size=16, step=21, wander=5, flip=0.5)
OVERLAPPING = PatchSpec(grid=4, size=16, step=8)


def patches_of(image: np.ndarray, spec: ViewSpec, index: int = 0) -> tuple[np.ndarray, list[Draw], np.ndarray]:
    """Patches by the worker's engine, what was drawn for them, and the same by the device's."""
    rng, sides = generator(0, 0, index), spec.sides(0)
    crop = draw(spec, *image.shape[:2], rng, sides.whole)
    patches = draw_patches(spec, rng)
    canvas = torch.from_numpy(image).permute(2, 0, 1)[None]
    rows = torch.tensor([[list(map(float, each)) for each in (crop, *patches)]])
    device = augment_device.render_patches(canvas, rows, sides)
    return render_patches(image, crop, patches, sides), [crop, *patches], device[0].permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("patches", [JIGSAW, OVERLAPPING])
def test_patches_are_cut_from_the_whole_view_and_then_changed_one_by_one(patches):
    image, spec = picture(90, 120), ViewSpec(patches=patches)
    made, (crop, *drawn), _ = patches_of(image, spec)
    whole = render(image, crop, patches.whole)
    assert made.shape == (patches.count, 16, 16, 3) and made.dtype == np.uint8
    for patch, found in zip(drawn, made, strict=True):
        # A patch by itself, as a view of its own size: the same colours, blur and flip.
        alone = render(whole[patch.y : patch.y + 16, patch.x : patch.x + 16], patch._replace(x=0, y=0), 16)
        assert np.array_equal(alone, found)


def test_overlapping_patches_hold_the_same_pixels():
    made, _, _ = patches_of(picture(90, 120), ViewSpec(patches=OVERLAPPING, **PLAIN))
    grid = made.reshape(4, 4, 16, 16, 3)
    assert np.array_equal(grid[:, 1:, :, :8], grid[:, :-1, :, 8:]) and np.array_equal(grid[1:, :, :8], grid[:-1, :, 8:])


@pytest.mark.parametrize("patches", [JIGSAW, OVERLAPPING])
@pytest.mark.parametrize("change", [PLAIN, {}, {"solarize": 0.5, "blur_sigma": (0.1, 10.0)}])
def test_both_engines_make_the_same_patches(patches, change):
    differences = [
        difference(*patches_of(picture(70, 90, seed), ViewSpec(patches=patches, **change), seed)[::2])
        for seed in range(12)
    ]
    # Solarization inverts at a threshold, which a rounding may cross.
    assert np.mean(differences) < (0.5 if "solarize" not in change else 2.0)


def test_patches_of_a_batch_are_those_of_its_images_one_by_one():
    spec, images = ViewSpec(patches=OVERLAPPING), [picture(48, 48, seed) for seed in range(20)]  # more than a chunk
    rows, alone = [], []
    for index, image in enumerate(images):
        _, drawn, device = patches_of(image, spec, index)
        rows.append([list(map(float, each)) for each in drawn])
        alone.append(device)
    canvas = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    made = augment_device.render_patches(canvas, torch.tensor(rows), spec.sides(0))
    assert made.shape == (20, 16, 3, 16, 16) and made.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert np.abs(made.permute(0, 1, 3, 4, 2).numpy().astype(int) - np.stack(alone)).max() <= 1
