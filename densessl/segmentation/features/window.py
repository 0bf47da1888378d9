"""The mean over a square of tokens in the place of each: what `window` asks for.

It averages out the noise of single tokens, and costs as much of the map's detail. At a map's border the square is that
part of it which is in the map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


def windowed(maps: Tensor, window: int) -> Tensor:
    """(..., C, h, w): means over squares of `window` tokens a side, an odd number, of the part that is in the map."""
    if window == 1:
        return maps
    for side, reach in (((window, 1), (window // 2, 0)), ((1, window), (0, window // 2))):
        maps = F.avg_pool2d(maps, side, stride=1, padding=reach, count_include_pad=False)
    return maps


def windowed_bands(bands: Iterable[Tensor], window: int) -> Iterator[Tensor]:
    """The same of a map that comes from top to bottom, (C, rows, w) at a time: bands of other rows, as many in all.

    Beside a band no more than `window` - 1 rows before it are held.
    """
    if window == 1:
        yield from bands
        return
    reach, held, above = window // 2, None, 0  # of the rows that are held, those `above` have been given out
    for band in bands:
        held = band if held is None else torch.cat([held, band], dim=1)
        whole = held.shape[1] - reach  # rows whose squares end within what is held
        if whole > above:
            yield windowed(held, window)[:, above:whole]
            left = max(0, whole - reach)
            held, above = held[:, left:], whole - left
    if held is not None:
        yield windowed(held, window)[:, above:]
