"""Which patches of an image are hidden, for methods that predict them.

Random numbers come from torch's global generator, one draw a call, of the first process: several processes mask the
images of the whole batch as one process would.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from densessl.distributed import from_first, rank, world_size

ATTEMPTS = 10  # blocks that may fail to fit, one after another, before a mask is left as it is


def random_numbers(*shape: int) -> Tensor:
    """Uniform in [0, 1), (..., N): the part of this process of numbers drawn for the N images of every process."""
    return _draw(_generator(), *shape)


def blockwise_masks(counts: Tensor, grid: tuple[int, int], smallest: int | None = None) -> Tensor:
    """BEiT's Algorithm 1 (arXiv 2106.08254): rectangles at random places until enough is masked; (B, h, w) bool.

    counts: (B,) how many patches of each image to mask. smallest: patches of a block; None is (min(h, w) / 3)^2 rounded
    down, which is 16 on the paper's grid of 14 x 14.

        repeat   s ~ U(smallest, count - |M|);  r from 0.3 to 1 / 0.3, log-uniform;  a = sqrt(s r), b = sqrt(s / r)
                 M <- M + a rectangle of a x b at a random place
        until    |M| >= count

    The paper leaves open what happens at the end. As in the official code, a rectangle is taken only when it is smaller
    than the grid and brings at least one patch and none too many; after ten failures in a row the mask stays as it is.
    So no mask has more than its count, and some have fewer.
    """
    height, width = grid
    smallest = (min(grid) // 3) ** 2 if smallest is None else smallest
    masks = torch.zeros(len(counts), height, width, dtype=torch.bool)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    left, failures = counts.cpu().float().clone(), torch.zeros(len(counts), dtype=torch.int64)
    generator = _generator()
    while True:
        unfinished = (left > 0) & (failures < ATTEMPTS)
        if not unfinished.any():
            return masks.to(counts.device)
        size, shape, down, right = _draw(generator, 4, len(counts))
        area = smallest + size * (left - smallest)
        aspect = torch.exp((2 * shape - 1) * math.log(1 / 0.3))
        a, b = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
        top, start = (down * (height - a + 1)).floor(), (right * (width - b + 1)).floor()
        block = _between(rows, top, a) & _between(columns, start, b)
        fresh = (block & ~masks).sum((1, 2))
        taken = unfinished & (a < height) & (b < width) & (fresh > 0) & (fresh <= left)
        masks |= block & taken[:, None, None]
        left -= fresh * taken
        failures = torch.where(taken, 0, failures + 1)


def covering_masks(images: int, grid: tuple[int, int], ratio: float = 0.4, smallest: int | None = None) -> Tensor:
    """BEiT's Algorithm 1 as the paper prints it: rectangles until more than `ratio` is masked; (images, h, w) bool.

    smallest: patches of a block, as in `blockwise_masks`.

        repeat   s ~ U(smallest, ratio N - |M|);  r ~ U(0.3, 1 / 0.3);  a = sqrt(s r), b = sqrt(s / r)
                 M <- M + a rectangle of a x b at a random place
        until    |M| > ratio N

    So every mask has more than that share, each a count of its own. Where less is left than the smallest block has, s
    lies between the two. a and b are rounded, and s and r drawn anew where the rectangle exceeds the grid.
    """
    height, width = grid
    wanted = ratio * height * width
    smallest = (min(grid) // 3) ** 2 if smallest is None else smallest
    masks = torch.zeros(images, height, width, dtype=torch.bool)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    generator = _generator()
    while True:
        masked = masks.sum((1, 2))
        unfinished = masked <= wanted
        if not unfinished.any():
            return masks
        size, shape, down, right = _draw(generator, 4, images)
        area = smallest + size * (wanted - masked - smallest)
        aspect = 0.3 + shape * (1 / 0.3 - 0.3)
        a, b = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
        top, start = (down * (height - a + 1)).floor(), (right * (width - b + 1)).floor()
        fits = unfinished & (a <= height) & (b <= width)
        masks |= _between(rows, top, a) & _between(columns, start, b) & fits[:, None, None]


def _between(places: Tensor, start: Tensor, length: Tensor) -> Tensor:
    start, end = start[:, None, None], (start + length)[:, None, None]
    return (places >= start) & (places < end)


def _generator() -> torch.Generator:
    """Numbers of its own for one call, so that how many it takes changes nothing else."""
    return torch.Generator().manual_seed(int(from_first(torch.randint(2**62, ()))))


def _draw(generator: torch.Generator, *shape: int) -> Tensor:
    *first, count = shape
    everyone = torch.rand(*first, count * world_size(), generator=generator)
    return everyone.chunk(world_size(), dim=-1)[rank()]
