"""Sheets show each view and each feature map at its place, whatever the sizes, and leave the backbone as it was."""

from itertools import product

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from densessl.errors import UserError
from densessl.training.pictures import features_picture, patch_grid, save_picture, sheet_picture, views_picture


class TwoLayers(nn.Module):
    """A backbone of two layers: places' mean colours at stride 4, and at stride 8 with their squares."""

    stride, image_size = 8, 32

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm2d(3)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        return images.float() / 255

    def feature_maps(self, images, layers=(-1,)):
        fine = nn.functional.avg_pool2d(self.norm(self.dropout(images)) * self.scale, 4)
        coarse = nn.functional.avg_pool2d(fine, 2)
        found = [fine, torch.cat([coarse, coarse**2], dim=1)]
        return [found[layer] for layer in layers]


def pattern(height: int, width: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    small = random.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def holds(sheet: np.ndarray, part: np.ndarray) -> int:
    """How often the part lies in the sheet, exactly."""
    windows = np.lib.stride_tricks.sliding_window_view(sheet, part.shape)[:, :, 0]
    corner = part[:: max(1, len(part) // 4), :: max(1, part.shape[1] // 4)]
    candidates = np.argwhere((windows[:, :, 0, 0] == part[0, 0]).all(-1))
    step = (len(part) // 4 or 1, part.shape[1] // 4 or 1)
    return sum(
        np.array_equal(sheet[y : y + part.shape[0] : step[0], x : x + part.shape[1] : step[1]], corner)
        and np.array_equal(sheet[y : y + part.shape[0], x : x + part.shape[1]], part)
        for y, x in candidates
    )


def test_small_views_are_enlarged_with_square_pixels():
    view = torch.from_numpy(pattern(32, 32)).permute(2, 0, 1)[None]
    sheet = views_picture([view, view], ["a.png"])
    assert sheet.dtype == np.uint8 and (sheet[[0, -1]] == 255).all() and (sheet[:, [0, -1]] == 255).all()
    assert holds(sheet, pattern(32, 32).repeat(5, axis=0).repeat(5, axis=1)) == 2


def test_patches_are_a_grid_row_by_row():
    patches = np.stack([pattern(32, 32, seed) for seed in range(9)])
    grid = patch_grid(patches)
    assert grid.shape == (100, 100, 3)
    for number, patch in enumerate(patches):
        y, x = (34 * each for each in divmod(number, 3))
        assert np.array_equal(grid[y : y + 32, x : x + 32], patch)
    assert (grid[32:34] == 255).all() and (grid[:, 32:34] == 255).all()
    assert np.array_equal(patch_grid(patches[0]), patches[0]) and patch_grid(patches[:7]).shape == (100, 100, 3)


def test_a_view_in_patches_is_drawn_beside_a_whole_one():
    patches = torch.from_numpy(np.stack([pattern(64, 64, seed) for seed in range(9)])).permute(0, 3, 1, 2)
    whole = torch.from_numpy(pattern(224, 224, 9)).permute(2, 0, 1)
    sheet = views_picture([whole[None], patches[None]])
    rows = sheet_picture([[pattern(224, 224, 9), np.stack([pattern(64, 64, seed) for seed in range(9)])]])
    for each in (sheet, rows):
        assert holds(each, pattern(224, 224, 9)) == 1
        assert all(holds(each, pattern(64, 64, seed)) == 1 for seed in range(9))


def test_every_view_of_every_image_is_there():
    views = [torch.from_numpy(np.stack([pattern(64, 64, 10 * v + i) for i in range(3)])) for v in range(2)]
    sheet = views_picture([view.permute(0, 3, 1, 2) for view in views], ["a", "b", "c"], ["one", "two"])
    for view, image in product(range(2), range(3)):
        large = pattern(64, 64, 10 * view + image).repeat(3, axis=0).repeat(3, axis=1)
        assert holds(sheet, large) == 1


def test_views_of_other_sizes_keep_their_proportion():
    large, small = (torch.zeros(1, 3, side, side, dtype=torch.uint8) for side in (224, 96))
    sheet = views_picture([large, small], columns=["", ""])
    dark = (sheet == 0).all(-1)
    columns = dark.any(axis=0)
    starts = np.flatnonzero(np.diff(columns.astype(int)) == 1)
    ends = np.flatnonzero(np.diff(columns.astype(int)) == -1)
    assert (ends - starts).tolist() == [224, 96]
    assert dark[:, ends[1]].sum() == 96


def test_very_large_views_are_shrunk():
    sheet = views_picture([torch.zeros(1, 3, 1024, 1024, dtype=torch.uint8)])
    assert max(sheet.shape) < 300


def test_views_on_channels_last_and_with_long_names():
    view = torch.from_numpy(pattern(32, 32)[None]).permute(0, 3, 1, 2)
    assert view.is_contiguous(memory_format=torch.channels_last)
    wide = views_picture([view], ["a/" * 100 + "picture-000001.jpg"])
    assert wide.shape[1] < 500


def test_features_are_drawn_for_images_of_all_sizes_and_for_each_layer():
    images = [pattern(32, 32, 1), pattern(300, 200, 2), pattern(40, 900, 3)]
    one = features_picture(TwoLayers(), images)
    two = features_picture(TwoLayers(), images, layers=(0, 1))
    assert one.shape[2] == 3 and one.dtype == np.uint8
    assert two.shape[0] > one.shape[0] + 32


def test_a_backbone_of_one_size_is_shown_the_square_in_the_middle():
    class Fixed(TwoLayers):
        fixed_size = (32, 32)

        def feature_maps(self, images, layers=(-1,)):
            assert images.shape[2:] == (32, 32)
            return super().feature_maps(images, layers)

    features_picture(Fixed(), [pattern(50, 90), pattern(32, 32)])


def test_like_features_have_like_colours_and_unlike_ones_do_not():
    half = np.zeros((32, 32, 3), np.uint8)
    half[:, 16:] = (220, 40, 90)
    sheet = features_picture(TwoLayers().eval(), [half, np.ascontiguousarray(half[:, ::-1])], layers=(0,))
    # The maps' row lies below the images'; find the middle of each map by the layout's symmetry.
    rows = np.flatnonzero((sheet != 255).any(axis=(1, 2)))
    y = rows[-1] - 40
    columns = np.flatnonzero((sheet[y] != 255).any(axis=1))
    left, right = columns[-320], columns[-1]
    first = sheet[y, [left + 10, left + 150]].astype(int)
    second = sheet[y, [right - 150, right - 10]].astype(int)
    assert np.abs(first - second[::-1]).max() <= 2
    assert np.abs(first[0] - first[1]).max() > 60


def test_collapsed_features_are_one_colour_without_noise():
    backbone = TwoLayers().eval()
    backbone.scale.data.zero_()
    sheet = features_picture(backbone, [pattern(32, 32)])
    rows = np.flatnonzero((sheet != 255).any(axis=(1, 2)))
    assert np.ptp(sheet[rows[-1] - 100 : rows[-1], -100:-40].reshape(-1, 3), axis=0).max() == 0


def test_the_backbone_is_left_as_it_was_and_no_random_number_is_drawn():
    backbone = TwoLayers().train()
    backbone.norm.eval()
    state = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    random = torch.get_rng_state()
    features_picture(backbone, [pattern(32, 32)])
    assert backbone.training and backbone.dropout.training and not backbone.norm.training
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(tensor, state[name]) for name, tensor in backbone.state_dict().items())


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_backbones_of_few_channels_are_drawn(channels):
    class Few(TwoLayers):
        def feature_maps(self, images, layers=(-1,)):
            return [nn.functional.avg_pool2d(images[:, :channels], 8) for _ in layers]

    features_picture(Few(), [pattern(32, 32)])


def test_pictures_are_written_in_the_format_of_their_name(tmp_path):
    picture = pattern(40, 30)
    save_picture(picture, tmp_path / "pictures" / "views.png")
    back = cv2.imread(str(tmp_path / "pictures" / "views.png"))[..., ::-1]
    assert np.array_equal(back, picture)
    with pytest.raises(UserError, match="picture format"):
        save_picture(picture, tmp_path / "views.xyz")
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
