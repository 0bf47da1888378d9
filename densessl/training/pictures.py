"""Pictures that a run leaves to be looked at: its views, and its features as colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from densessl.data.resize import fit, middle, resize
from densessl.files import write_image
from densessl.modes import evaluating

CELL = 168  # pixels of the longest side of the largest picture of a sheet, about
MARGIN, GAP = 24, 8
COLUMNS, SMALL_CELL = 6, 112  # beside more columns than that cells are smaller, or labels could not be read
FONT, INK, FAINT = 15, (64, 64, 64), (140, 140, 140)
FRAME = 222  # brightness of the hairline around a picture
LOWEST, HIGHEST = 2, 98  # percentiles of a component that become its darkest and lightest colour


def views_picture(
    views: Sequence[Tensor], names: Sequence[str] | None = None, columns: Sequence[str] | None = None
) -> np.ndarray:
    """A sheet of what the method sees: a row per image, a column per view; (H, W, 3) uint8 RGB.

    views: uint8 tensors (B, 3, s, s) on any device; s may differ from view to view, and is drawn in proportion. Small
    views are enlarged with their pixels kept square. Patches, (B, P, 3, s, s), are drawn as a grid, row by row.
    names: of the B images, beside the rows. columns: headers of the views; None counts them.
    """
    arrays = [view.detach().cpu().movedim(-3, -1).numpy() for view in views]
    rows = [[patch_grid(array[row]) for array in arrays] for row in range(len(arrays[0]))]
    factor = _factor(max(max(cell.shape[:2]) for cell in rows[0]))
    headers = columns or [f"view {number}\n{_size(array)}" for number, array in enumerate(arrays, 1)]
    rows = [[_zoom(cell, factor) for cell in row] for row in rows]
    return _sheet(rows, headers, [(name, "") for name in names] if names else None)


def features_picture(backbone: nn.Module, images: Sequence[np.ndarray], layers: Sequence[int] = (-1,)) -> np.ndarray:
    """A sheet of images above their feature maps as colours; a row per layer; (H, W, 3) uint8 RGB.

    backbone: see `densessl.backbones.Backbone`; it is put in evaluation for the while and draws no random numbers.
    images: uint8 (H, W, 3) RGB of any sizes; each is shown to the backbone whole, its short side near `image_size`.

    The three principal components of a layer, over the places of all images together, are its lightness and its two
    axes of hue, so that like colours are like features within a row.
    """
    fitted = [_fit(image, backbone) for image in images]
    maps = _maps(backbone, fitted, layers)
    factor = _factor(max(max(image.shape[:2]) for image in fitted))
    cells = [_zoom(image, factor) for image in fitted]
    labels, rows = [("images", "")], [cells]
    for layer, layer_maps in zip(layers, maps, strict=True):
        channels, height, width = layer_maps[0].shape
        labels.append(("last layer" if layer == -1 else f"layer {layer}", f"{channels} x {height} x {width}"))
        sizes = [cell.shape[:2] for cell in cells]
        rows.append([_colours(each, *size) for each, size in zip(_components(layer_maps), sizes, strict=True)])
    return _sheet(rows, None, labels)


def sheet_picture(
    rows: Sequence[Sequence[np.ndarray]],
    headers: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    marks: Sequence[Sequence[Sequence[int]]] | None = None,
) -> np.ndarray:
    """A sheet of pictures (h, w, 3) uint8 RGB in rows, small ones enlarged; (H, W, 3) uint8 RGB.

    A picture may be patches, (P, s, s, 3), drawn as a grid. headers: of the columns; labels: of the rows; marks: per
    row and picture, a number on each patch, or none.
    """
    grids = [[patch_grid(cell) for cell in row] for row in rows]
    size = CELL if max(map(len, grids)) <= COLUMNS else SMALL_CELL
    factor = _factor(max(max(cell.shape[:2]) for row in grids for cell in row), size)
    zoomed = [[_zoom(cell, factor) for cell in row] for row in grids]
    if marks is not None:
        zoomed = [
            [
                _marked(image, cell, numbers, factor) if numbers else image
                for image, cell, numbers in zip(*row, strict=True)
            ]
            for row in zip(zoomed, rows, marks, strict=True)
        ]
    return _sheet(zoomed, headers, [(label, "") for label in labels] if labels else None)


def patch_grid(patches: np.ndarray) -> np.ndarray:
    """(P, s, s, 3) uint8 -> (h, w, 3), a square grid, row by row, on white; one picture is returned as it is."""
    if patches.ndim == 3:
        return patches
    side, corners = patches.shape[1], _corners(patches)
    height, width = corners.max(axis=0) + side
    grid = np.full((height, width, 3), 255, np.uint8)
    for (y, x), patch in zip(corners, patches, strict=True):
        grid[y : y + side, x : x + side] = patch
    return grid


def _corners(patches: np.ndarray) -> np.ndarray:
    """(P, 2): y and x of each patch in its grid."""
    count, side = patches.shape[:2]
    columns, gap = math.ceil(math.sqrt(count)), max(1, side // 16)
    return np.array([divmod(number, columns) for number in range(count)]) * (side + gap)


def _marked(image: np.ndarray, patches: np.ndarray, numbers: Sequence[int], factor: float) -> np.ndarray:
    """The enlarged grid of patches with a number in the corner of each."""
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    for (y, x), number in zip(factor * _corners(patches), numbers, strict=True):
        pen.text((x + 3, y + 1), str(number), (255, 255, 255), _font(FONT - 2), stroke_width=1, stroke_fill=INK)
    return np.asarray(picture)


def save_picture(array: np.ndarray, path: str | Path) -> None:
    """Write (H, W, 3) uint8 RGB in the format of the suffix, whole or not at all."""
    write_image(path, array)


def _size(views: np.ndarray) -> str:
    """Of views (B, s, s, 3) or (B, P, s, s, 3)."""
    count = f"{views.shape[1]} patches of " if views.ndim == 5 else ""
    return f"{count}{views.shape[-2]} px"


def _fit(image: np.ndarray, backbone: nn.Module) -> np.ndarray:
    """The whole image with its short side near the backbone's size, each side a multiple of the stride, at most 2 : 1.

    For a backbone that takes a single size, the square in the middle at that size.
    """
    fixed = getattr(backbone, "fixed_size", None)
    if fixed:
        side = min(image.shape[:2])
        return resize(middle(image, side, side), *fixed)
    return resize(image, *fit(*image.shape[:2], backbone.image_size, backbone.stride, longest=2))


def _maps(backbone: nn.Module, images: Sequence[np.ndarray], layers: Sequence[int]) -> list[list[np.ndarray]]:
    """Per layer, per image: (C, h, w) float32."""
    device = next(backbone.parameters()).device
    maps: list[list[np.ndarray]] = [[] for _ in layers]
    with evaluating(backbone), torch.no_grad():
        for image in images:
            batch = torch.from_numpy(image).permute(2, 0, 1)[None].to(device)
            for kept, found in zip(maps, backbone.feature_maps(backbone.normalise(batch), layers), strict=True):
                kept.append(found[0].float().cpu().numpy())
    return maps


def _components(maps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """(C, h, w) each -> (h, w, 3) each: the principal components over all places of all maps, about 0 to 1."""
    places = np.concatenate([each.reshape(len(each), -1).T for each in maps]).astype(np.float64)
    places = np.nan_to_num(places - places.mean(axis=0), posinf=0.0, neginf=0.0)
    values, vectors = np.linalg.eigh(places.T @ places)
    axes = vectors[:, ::-1][:, :3]
    # The sign of an axis is free; fixed, the colours stay from picture to picture of a run as far as features do.
    axes = axes * np.where(axes.sum(axis=0) < 0, -1.0, 1.0)
    found = np.zeros((len(places), 3))
    found[:, : axes.shape[1]] = places @ axes
    low, high = np.percentile(found, [LOWEST, HIGHEST], axis=0)
    # An axis without spread, as after a collapse, is all middle grey.
    spread = np.where(high - low > 1e-6 * np.abs(places).max(initial=0) + 1e-12, high - low, np.inf)
    found = 0.5 + (found - (low + high) / 2) / spread
    ends = np.cumsum([each[0].size for each in maps])[:-1]
    return [
        part.reshape(*each.shape[1:], 3).astype(np.float32)
        for part, each in zip(np.split(found, ends), maps, strict=True)
    ]


def _colours(components: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h, w, 3) from 0 to 1 -> (height, width, 3) uint8 RGB, interpolated: CIELAB with its glaring corners cut."""
    smooth = cv2.resize(components, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    lab = np.empty_like(smooth)
    lab[..., 0] = 42 + 48 * smooth[..., 0]
    lab[..., 1:] = 84 * (smooth[..., 1:] - 0.5)
    return (255 * cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)).round().clip(0, 255).astype(np.uint8)


def _factor(longest: int, cell: int = CELL) -> float:
    """How much pictures are enlarged or shrunk for the longest side to be about `cell`; whole when enlarged."""
    return max(1, round(cell / longest)) if longest <= 1.5 * cell else cell / longest


def _zoom(image: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1:
        return image
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_NEAREST if factor > 1 else cv2.INTER_AREA)


def _sheet(
    rows: Sequence[Sequence[np.ndarray]],
    headers: Sequence[str] | None = None,
    labels: Sequence[tuple[str, str]] | None = None,
) -> np.ndarray:
    """Pictures in rows and columns on white, centred in their cells; headers above, labels (main, faint) left."""
    heights = [max(cell.shape[0] for cell in row) for row in rows]
    widths = [max(cell.shape[1] for cell in column) for column in zip(*rows, strict=True)]
    labels = [(_short(main), faint) for main, faint in labels] if labels else None
    left = max((_width(text) for pair in labels for text in pair), default=0) + 2 * GAP if labels else 0
    top = round(FONT * 1.3) * max(header.count("\n") + 1 for header in headers) + GAP if headers else 0
    height = 2 * MARGIN + top + sum(heights) + GAP * (len(heights) - 1)
    width = 2 * MARGIN + left + sum(widths) + GAP * (len(widths) - 1)
    canvas = np.full((height, width, 3), 255, np.uint8)
    tops = MARGIN + top + np.cumsum([0, *(each + GAP for each in heights[:-1])])
    lefts = MARGIN + left + np.cumsum([0, *(each + GAP for each in widths[:-1])])
    for y, row, tall in zip(tops, rows, heights, strict=True):
        for x, cell, wide in zip(lefts, row, widths, strict=True):
            at_y, at_x = y + (tall - cell.shape[0]) // 2, x + (wide - cell.shape[1]) // 2
            # A hairline around it, or a piece of a white page would have no edge.
            canvas[at_y - 1 : at_y + cell.shape[0] + 1, at_x - 1 : at_x + cell.shape[1] + 1] = FRAME
            canvas[at_y : at_y + cell.shape[0], at_x : at_x + cell.shape[1]] = cell
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    for header, x, wide in zip(headers or (), lefts, widths, strict=False):
        pen.multiline_text((x + wide / 2, MARGIN), header, INK, _font(), anchor="ma", align="center", spacing=3)
    for (main, faint), y, tall in zip(labels or (), tops, heights, strict=False):
        middle = y + tall / 2
        pen.text((MARGIN, middle), main, INK, _font(), anchor="ls" if faint else "lm")
        pen.text((MARGIN, middle + 5), faint, FAINT, _font(FONT - 2), anchor="la")
    return np.asarray(picture)


@cache
def _font(size: int = FONT) -> ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _width(text: str) -> int:
    return round(_font().getlength(text))


def _short(text: str, longest: int = 22) -> str:
    """The end of a long name says more than its beginning."""
    return text if len(text) <= longest else "..." + text[3 - longest :]
