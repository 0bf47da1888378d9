"""Lines that are drawn in a table, found in its picture by morphology, and edges of its backgrounds.

A rule is thin across and long along: black hat and top hat (closing and opening less the picture) leave what is thin,
an opening along leaves what is long, and fragments that lie on one line are joined over breaks. Letters are thin too:
what lies in a word is left out, and fragments are joined across it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from densessl.documents.parsing.model import Box

THICK = 2.6  # points: what is thicker is a background, no line
LONG, UNREAD = 9.0, 30.0  # points: what is shorter may be a part of a letter; where nobody knows where words are
BREAK = 5.0  # points of a line that may be missing
NEAR = 1.8  # points between the lines of a double rule, which is one
CONTRAST = 14  # of 255, at least, between a line and what is around it
FAINT = 26  # the same where nobody knows where words are
TINTED, DARK = 235, 170  # of 255: darker backgrounds may have light lines; where nobody knows where words are
STEP = 5  # of 255, at least, between two backgrounds
SKEWED = 0.0015  # slope from which on a picture is turned
MOST = 0.035  # slope that is believed
SIDE = 3000  # pixels: a larger part of a picture is made smaller


@dataclass(frozen=True)
class Rule:
    """A line at `at`, drawn over `parts` (low, high): y and x of a horizontal one, x and y of an upright one."""

    at: float
    parts: tuple[tuple[float, float], ...]

    @property
    def low(self) -> float:
        return self.parts[0][0]

    @property
    def high(self) -> float:
        return self.parts[-1][1]

    @property
    def length(self) -> float:
        return sum(high - low for low, high in self.parts)

    def covers(self, low: float, high: float) -> float:
        """Which share of this stretch is drawn."""
        drawn = sum(max(0.0, min(high, end) - max(low, start)) for start, end in self.parts)
        return drawn / (high - low) if high > low else 0.0


@dataclass(frozen=True)
class Rules:
    """across, upright: by place. fills: the y at which the background changes over most of the width."""

    across: list[Rule] = field(default_factory=list)
    upright: list[Rule] = field(default_factory=list)
    fills: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Crop:
    """The part of a page's picture that a table is in. left, top: of its corner, in points; scale: pixels a point."""

    picture: np.ndarray
    left: float
    top: float
    scale: float

    @classmethod
    def of(cls, picture: np.ndarray, bbox: Box, scale: float, margin: float = 3.0) -> Crop | None:
        """None where nothing of the table lies on the picture."""
        height, width = picture.shape[:2]
        low = [max(0, int((bbox[axis] - margin) * scale)) for axis in (0, 1)]
        high = [min(limit, int((bbox[2 + axis] + margin) * scale) + 1) for axis, limit in ((0, width), (1, height))]
        part = picture[low[1] : high[1], low[0] : high[0]]
        if min(part.shape[:2]) < 4:
            return None
        smaller = min(1.0, SIDE / max(part.shape[:2]))
        if smaller < 1:
            part = cv2.resize(part, None, fx=smaller, fy=smaller, interpolation=cv2.INTER_AREA)
        return cls(np.ascontiguousarray(part), low[0] / scale, low[1] / scale, scale * smaller)

    def turned(self, slope: float) -> Crop:
        """With lines of this slope made level, around the middle."""
        height, width = self.picture.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), np.degrees(np.arctan(slope)), 1.0)
        picture = cv2.warpAffine(self.picture, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        return Crop(picture, self.left, self.top, self.scale)

    @property
    def middle(self) -> tuple[float, float]:
        height, width = self.picture.shape[:2]
        return self.left + width / 2 / self.scale, self.top + height / 2 / self.scale


def find_rules(crop: Crop, words: np.ndarray, bbox: Box) -> Rules:
    """What is drawn. words: (n, 4) boxes in points, which make none of it."""
    across, upright = find_lines(crop, words)
    if len(words):
        return Rules(across, upright, _fills(crop, words, bbox))
    # Nobody knows where words are: a line of letters could pass for a short line, and for the edge of a background.
    width, height = bbox[2] - bbox[0], bbox[3] - bbox[1]
    long = [rule for rule in across if rule.length > 0.4 * width]
    return Rules(long, [rule for rule in upright if rule.length > max(UNREAD, 0.3 * height)])


def find_lines(crop: Crop, words: np.ndarray) -> tuple[list[Rule], list[Rule]]:
    """The lines of `find_rules`, across and upright."""
    dark, light = _thin(crop, words)
    across = _lines(dark[0] | light[0], crop, words, upright=False)
    return across, _lines(dark[1] | light[1], crop, words, upright=True)


def drawn_slope(crop: Crop, words: np.ndarray) -> float | None:
    """Of the long lines that are drawn across; None where there are none."""
    dark, _ = _thin(crop, words)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(dark[0])
    long = [each for each in range(1, count) if stats[each, cv2.CC_STAT_WIDTH] > 60 * crop.scale]
    slopes, lengths = [], []
    for each in sorted(long, key=lambda each: -stats[each, cv2.CC_STAT_WIDTH])[:40]:
        x, y, width, height = stats[each, :4]
        if height > MOST * width + 4:
            continue
        rows, columns = np.nonzero(labels[y : y + height, x : x + width] == each)
        slopes.append(float(np.polyfit(columns, rows, 1)[0]))
        lengths.append(float(width))
    return weighted_median(slopes, lengths) if slopes else None


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    order = np.argsort(values)
    below = np.cumsum(np.asarray(weights, float)[order])
    return float(values[order[int(np.searchsorted(below, below[-1] / 2))]])


def _thin(crop: Crop, words: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Masks of what is thin and long, (across, upright), of what is darker and of what is lighter than around it."""
    grey = cv2.cvtColor(crop.picture, cv2.COLOR_RGB2GRAY)
    # A coloured hairline on white may be nearly as bright, but not in each channel.
    grey = np.minimum(grey, crop.picture.min(axis=2))
    noise = float(np.median(np.abs(cv2.subtract(grey, cv2.medianBlur(grey, 3)).astype(np.int16))))
    least = max(CONTRAST if len(words) else FAINT, int(5 * noise))
    wide = 2 * round(THICK * crop.scale / 2) + 3
    around = cv2.medianBlur(grey, min(2 * wide + 1, 31))
    lines = _lettered(crop, words, grey.shape, rim=0.12)
    masks = []
    for operation in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT):
        pair = []
        for upright in (False, True):
            size = (wide, 1) if upright else (1, wide)
            hat = cv2.morphologyEx(grey, operation, cv2.getStructuringElement(cv2.MORPH_RECT, size))
            mask = ((hat > least) & ~lines).astype(np.uint8)
            if operation == cv2.MORPH_TOPHAT:
                # The blank between two lines of words, or two letters, is thin and light as well.
                mask &= around < (TINTED if len(words) else DARK)
            long = max(5, round((LONG if len(words) else UNREAD) * crop.scale))
            along, close = ((1, long), (1, 3)) if upright else ((long, 1), (3, 1))
            mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones(close[::-1], np.uint8))
            pair.append(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones(along[::-1], np.uint8)))
        masks.append(tuple(pair))
    return masks[0], masks[1]


def _lettered(crop: Crop, words: np.ndarray, shape: tuple[int, ...], rim: float) -> np.ndarray:
    """Where words stand, without a rim of their boxes, a share of their height: it may touch a line."""
    mask = np.zeros(shape[:2], np.uint8)
    for x0, y0, x1, y1 in words.tolist():
        edge = rim * (y1 - y0)
        corners = (x0 - crop.left, y0 + edge - crop.top, x1 - crop.left, y1 - edge - crop.top)
        left, top, right, bottom = (max(0, round(each * crop.scale)) for each in corners)
        mask[top:bottom, left:right] = 1
    return mask.astype(bool)


def _lines(mask: np.ndarray, crop: Crop, words: np.ndarray, upright: bool) -> list[Rule]:
    """The rules that the fragments in the mask make up."""
    count, _, stats, middles = cv2.connectedComponentsWithStats(mask)
    if count == 1:
        return []
    along, across = (1, 0) if upright else (0, 1)
    corner = (crop.left, crop.top)
    low = stats[1:, along] / crop.scale + corner[along]
    high = low + stats[1:, 2 + along] / crop.scale
    at = (middles[1:, across] + 0.5) / crop.scale + corner[across]
    # A fragment as thick as long is a blot.
    fine = stats[1:, 2 + across] <= np.maximum(0.25 * stats[1:, 2 + along], 1 + THICK * crop.scale)
    fine &= ~_of_letters(low, high, at, words, along, across)
    low, high, at = low[fine], high[fine], at[fine]
    order = np.argsort(at, kind="stable")
    rules, group = [], []
    for each in order.tolist():
        if group and at[each] - at[group[-1]] > NEAR:
            rules.append(_rule(at[group], low[group], high[group], words, along, across))
            group = []
        group.append(each)
    if group:
        rules.append(_rule(at[group], low[group], high[group], words, along, across))
    return rules


def _of_letters(
    low: np.ndarray, high: np.ndarray, at: np.ndarray, words: np.ndarray, along: int, across: int
) -> np.ndarray:
    """Which fragments lie in words from end to end, or in one word and its next."""
    found = np.zeros(len(at), bool)
    order = words[np.argsort(words[:, across], kind="stable")] if len(words) else words
    tallest = float((order[:, 2 + across] - order[:, across]).max()) if len(order) else 0.0
    for number in range(len(at)) if len(order) else ():
        first, last = np.searchsorted(order[:, across], [at[number] - 1.2 * tallest, at[number] + 0.1 * tallest])
        near = order[first:last]
        rim = 0.15 * (near[:, 3] - near[:, 1]) if across else 0.0  # boxes may leave out what hangs below
        near = near[near[:, 2 + across] + rim > at[number]]
        found[number] = _hidden(near, along, low[number], high[number]) > 0.8 * (high[number] - low[number])
    return found


def _rule(at: np.ndarray, low: np.ndarray, high: np.ndarray, words: np.ndarray, along: int, across: int) -> Rule:
    place = float(np.average(at, weights=high - low))
    crossing = words[(words[:, across] < place) & (words[:, 2 + across] > place)] if len(words) else words
    parts: list[list[float]] = []
    for each in np.argsort(low).tolist():
        start, end = float(low[each]), float(high[each])
        most = BREAK if len(words) else BREAK / 3
        if parts and start - parts[-1][1] <= most + _hidden(crossing, along, parts[-1][1], start):
            parts[-1][1] = max(parts[-1][1], end)
        else:
            parts.append([start, end])
    return Rule(place, tuple((start, end) for start, end in parts))


def _hidden(words: np.ndarray, along: int, low: float, high: float) -> float:
    """How much of a break words lie over."""
    if not len(words):
        return 0.0
    return float(np.clip(np.minimum(words[:, 2 + along], high) - np.maximum(words[:, along], low), 0, None).sum())


def _fills(crop: Crop, words: np.ndarray, bbox: Box) -> list[float]:
    """Where the colour beside the words changes for good, from one row of pixels to the next."""
    height, width = crop.picture.shape[:2]
    left = max(0, int((bbox[0] + 2 - crop.left) * crop.scale))
    right = min(width, max(left + 1, int((bbox[2] - 2 - crop.left) * crop.scale)))
    every = max(1, (right - left) // 200)
    part = crop.picture[:, left:right:every].astype(np.float32)
    part[_lettered(crop, words, crop.picture.shape, rim=-0.2)[:, left:right:every]] = np.nan
    told = np.flatnonzero(np.isfinite(part[:, :, 0]).mean(axis=1) > 0.06)
    if len(told) < 3:
        return []
    profile = np.nanmedian(part[told], axis=1)
    profile = np.stack([np.interp(np.arange(height), told, channel) for channel in profile.T], axis=1)  # (H, 3)
    smooth = _median(profile, 2 * round(THICK * crop.scale / 2) + 3)
    change = np.abs(smooth[2:] - smooth[:-2]).max(axis=1)
    places, row = [], 0
    while row < len(change):
        if change[row] < STEP:
            row += 1
            continue
        end = row
        while end < len(change) and change[end] >= STEP:
            end += 1
        if end - row <= 4 * crop.scale:  # a slow change is the light of a scan
            places.append(crop.top + ((row + end - 1) / 2 + 1.5) / crop.scale)
        row = end
    return places


def _median(rows: np.ndarray, window: int) -> np.ndarray:
    """Of each column over so many rows."""
    padded = np.pad(rows, ((window // 2, window // 2), (0, 0)), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, window, axis=0), axis=-1)
