"""Boxes against torchvision's own detection code and against maps read by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import roi_align
from torchvision.ops.poolers import LevelMapper

from densessl.documents.detection.boxes import (
    anchors,
    assigned,
    clipped,
    decode,
    encode,
    level_of,
    padded,
    picked,
    pool,
    sampled,
)

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def boxes(count: int, side: float = 200.0) -> torch.Tensor:
    corner = torch.rand(count, 2) * side
    return torch.cat([corner, corner + 1 + torch.rand(count, 2) * side], dim=1)


def target(objects: list, aside: list | None = None) -> dict:
    return {"boxes": torch.tensor(objects).float().reshape(-1, 4), "aside": torch.tensor(aside or []).reshape(-1, 4)}


def test_deltas_are_those_of_torchvision():
    before, after = boxes(50), boxes(50)
    coder = BoxCoder(WEIGHTS)
    torch.testing.assert_close(encode(before, after, WEIGHTS), coder.encode_single(after, before))
    deltas = torch.randn(50, 4) * 8
    torch.testing.assert_close(decode(before, deltas, WEIGHTS), coder.decode_single(deltas, before))


def test_deltas_lead_back_to_the_objects():
    before, after = boxes(50), boxes(50)
    torch.testing.assert_close(decode(before, encode(before, after, WEIGHTS), WEIGHTS), after, atol=1e-3, rtol=1e-4)


def test_anchors_are_those_of_torchvision_but_for_its_rounding():
    ratios, strides, shapes = (0.06, 0.4, 1.0, 2.5), (8, 16), [(3, 5), (2, 3)]
    generator = AnchorGenerator(((24, 40), (48, 80)), (ratios, ratios))
    generator.cell_anchors = [each.float() for each in generator.cell_anchors]
    theirs = generator.grid_anchors(shapes, [[torch.tensor(stride)] * 2 for stride in strides])
    # At each place torchvision has all sides of a ratio together, we and detectron2 all ratios of a side.
    expected = torch.cat([each.view(-1, 4, 2, 4).transpose(1, 2).reshape(-1, 4) for each in theirs])
    torch.testing.assert_close(anchors(shapes, strides, [3.0, 5.0], ratios), expected, atol=0.51, rtol=0)


def test_an_anchor_has_the_area_of_its_square_and_the_ratio_that_was_asked_for():
    (found,) = anchors([(1, 1)], [8], [3.0], [0.25])
    assert found.tolist() == [-24, -6, 24, 6]


def test_boxes_are_read_from_the_map_that_torchvision_chooses():
    given, strides = boxes(200, 900), [8, 16, 32, 64]
    theirs = LevelMapper(3, 6, 224, 4)([given])
    assert torch.equal(level_of(given, strides), theirs)
    assert len(theirs.unique()) > 2


def test_what_is_read_beneath_a_box_is_the_map_interpolated_there():
    maps = torch.randn(2, 3, 12, 16)
    box = torch.tensor([[20.0, 12.0, 84.0, 60.0]])
    read = pool([maps], [8], [box, box + 4], 4)
    for place, (x0, y0, x1, y1) in enumerate([box[0].tolist(), (box[0] + 4).tolist()]):
        total = torch.zeros(3, 4, 4)
        for u in (0.25, 0.75):  # each cell is the mean of four points
            for v in (0.25, 0.75):
                x = (x0 + (torch.arange(4) + u) * (x1 - x0) / 4) / (16 * 8) * 2 - 1
                y = (y0 + (torch.arange(4) + v) * (y1 - y0) / 4) / (12 * 8) * 2 - 1
                grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None]
                total += F.grid_sample(maps[place : place + 1], grid, align_corners=False)[0]
        torch.testing.assert_close(read[place], total / 4, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [7, 14])
def test_what_is_read_and_its_gradient_are_those_of_torchvision(size):
    torch.manual_seed(0)
    maps = [torch.randn(2, 5, 24 // k, 20 // k, dtype=torch.float32, requires_grad=True) for k in (1, 2, 4)]
    strides = [8, 16, 32]
    given = [
        torch.cat(
            [
                boxes(30, 190),
                torch.tensor([[-30.0, -9, 400, 250], [5, 5, 5, 5], [150, 180, 160, 192], [0, 0, 900, 900.0]]),
            ]
        )
    ] * 2
    read = pool(maps, strides, given, size)
    rows = torch.cat([torch.cat([torch.full((len(each), 1), float(n)), each], 1) for n, each in enumerate(given)])
    level = level_of(rows[:, 1:], strides)
    assert len(level.unique()) == 3
    theirs = torch.zeros_like(read)
    for place, (each, stride) in enumerate(zip(maps, strides, strict=True)):
        mine = level == place
        theirs[mine] = roi_align(each, rows[mine], size, 1 / stride, sampling_ratio=2, aligned=True)
    torch.testing.assert_close(read, theirs, atol=1e-5, rtol=1e-4)
    weights = torch.randn_like(read)
    ours = torch.autograd.grad((read * weights).sum(), maps)
    expected = torch.autograd.grad((theirs * weights).sum(), maps)
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_boxes_of_any_size_come_back_in_their_order():
    flat = [torch.full((1, 1, 512 // stride, 512 // stride), float(stride)) for stride in (8, 16)]
    given = torch.tensor([[0.0, 0.0, 500.0, 500.0], [0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 64.0, 64.0]])
    read = pool(flat, [8, 16], [given], 2)
    assert read[1].unique().tolist() == [8.0] and read[2].unique().tolist() == [8.0]
    assert read[0].unique().tolist() == [16.0]


def test_a_box_counts_for_the_object_it_overlaps_most_and_for_nothing_below():
    given = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 4], [50, 50, 60, 60]]).float()
    found, kind = assigned(given, target([[0, 0, 10, 10], [50, 50, 60, 60.0]]), 0.7, 0.5)
    assert found[[0, 3]].tolist() == [0, 1]
    assert kind.tolist() == [1, -1, 0, 1]


def test_each_object_has_the_anchors_that_overlap_it_most_however_little():
    given = torch.tensor([[0, 0, 4, 4], [40, 40, 44, 44]]).float()
    _, kind = assigned(given, target([[0, 0, 20, 20.0]]), 0.5, 0.3, each_once=True)
    assert kind.tolist() == [1, 0]
    assert assigned(given, target([[0, 0, 20, 20.0]]), 0.5, 0.3)[1].tolist() == [0, 0]


def test_boxes_in_a_crowd_count_for_nothing_and_against_nothing():
    given = torch.tensor([[0, 0, 4, 4], [40, 40, 44, 44]]).float()
    assert assigned(given, target([], [[0, 0, 20, 20.0]]), 0.5, 0.3)[1].tolist() == [-1, 0]


@pytest.mark.parametrize(("objects", "rest", "expected"), [(10, 100, (5, 15)), (2, 100, (2, 18)), (10, 3, (5, 3))])
def test_draws_hold_no_more_objects_than_their_share(objects, rest, expected):
    values = torch.tensor([1] * objects + [0] * rest + [-1] * 5)
    kind = torch.stack([values[torch.randperm(len(values))] for _ in range(3)])
    rows, drawn = sampled(kind, 20, 0.25)
    assert rows.shape == drawn.shape and rows.shape[1] <= 20
    for of, chosen, on in zip(kind, rows, drawn, strict=True):
        found = of[chosen[on]]
        assert ((found == 1).sum(), (found == 0).sum()) == expected and len(chosen[on].unique()) == sum(expected)


def test_each_of_those_that_count_is_drawn_as_often_as_the_others():
    kind = torch.tensor([1] * 6 + [0] * 20 + [-1] * 4).expand(3000, -1)
    rows, drawn = sampled(kind, 12, 0.25)
    often = torch.zeros(30).index_add_(0, rows[drawn], torch.ones(int(drawn.sum()))) / 3000
    torch.testing.assert_close(often[:6], torch.full((6,), 3 / 6), atol=0.04, rtol=0)
    torch.testing.assert_close(often[6:26], torch.full((20,), 9 / 20), atol=0.04, rtol=0)
    assert not often[26:].any()


def test_rows_of_several_images_are_filled_up_and_picked_by_image():
    rows = padded([torch.tensor([[1.0, 2], [3, 4]]), torch.zeros(0, 2)], -1)
    assert rows.tolist() == [[[1, 2], [3, 4]], [[-1, -1], [-1, -1]]]
    assert picked(rows, torch.tensor([[1, 0, 1], [0, 0, 1]]))[0].tolist() == [[3, 4], [1, 2], [3, 4]]
    assert padded([torch.zeros(0, 4)]).shape == (1, 1, 4)


def test_boxes_are_clipped_to_their_own_image():
    given = torch.tensor([[-5.0, 3, 70, 90]])
    found = clipped(given.expand(2, 1, 4), [(40, 30), (100, 60)])
    assert found.tolist() == [[[0, 3, 30, 40]], [[0, 3, 60, 90]]]
