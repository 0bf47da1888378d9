"""Points are read from maps of different shapes as `grid_sample` reads them from one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from densessl.segmentation.stego.sampling import Layout, corners, negatives, sample


def test_points_of_maps_of_different_shapes_are_read_as_grid_sample_reads_each():
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 7), (6, 3), (1, 5), (1, 1)]
    maps = [torch.randn(1, 3, *shape, generator=generator, dtype=torch.float64) for shape in shapes]
    tokens = torch.cat([each.flatten(2)[0].T for each in maps]).requires_grad_()
    points = torch.rand(4, 9, 2, generator=generator, dtype=torch.float64) * 2 - 1
    points[0, 0], points[0, 1] = torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 1.0])
    read = sample(tokens, corners(points, Layout.of(shapes)))
    slow = torch.cat(
        [
            F.grid_sample(each, grid.view(1, 3, 3, 2), padding_mode="border", align_corners=True)
            for each, grid in zip(maps, points, strict=True)
        ]
    )
    torch.testing.assert_close(read, slow)
    read.sum().backward()
    torch.testing.assert_close(tokens.grad.sum(dim=0), torch.full((3,), 36.0, dtype=torch.float64))


def test_layout_says_which_picture_a_token_belongs_to():
    assert Layout.of([(1, 2), (2, 2)]).owner.tolist() == [0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("batch", [2, 3, 16])
def test_negatives_are_a_permutation_without_a_fixed_point(batch):
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(200):
        chosen = negatives(batch, generator)
        assert sorted(chosen.tolist()) == list(range(batch))
        assert (chosen != torch.arange(batch)).all()
        seen.add(int(chosen[0]))
    assert len(seen) == batch - 1


def test_a_picture_alone_has_no_negatives():
    with pytest.raises(ValueError, match="one picture"):
        negatives(1, torch.Generator())
