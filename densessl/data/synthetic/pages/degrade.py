"""What paper, ink, scanners and fax machines do to a page: a step of its own on the picture, the same for a seed.

What moves the page (it lay askew, or was photographed) moves owners with it, by their nearest pixel, so that labels
stay those of pixels. Everything else changes brightness alone.
"""

from __future__ import annotations

import cv2
import numpy as np

from densessl.data.synthetic.canvas import Dice, noise

ASKEW = 3.0  # degrees at most
INK, LEGIBLE = 215, 60  # brightness below which there is ink, and percent of it that a fax machine keeps at least


def degrade(image: np.ndarray, owners: np.ndarray, dice: Dice) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """A page as it comes from a scanner.

    image: uint8 RGB (H, W, 3); owners: uint16 (H, W). Returns both as they are then, and the (2, 3) matrix that moved
    them, or None where nothing moved.
    """
    matrix = None
    ground = np.array([255.0] * 3, dtype=np.float32)
    if dice.chance(0.45):
        # Paper is yellowish where it is not white, now and then grey or tinted.
        light, warm = dice(228, 255), dice(0, 1) ** 2
        ground = np.array([light, light - 8 * warm - dice(0, 3), light - 34 * warm - dice(0, 4)], dtype=np.float32)
    if dice.chance(0.55):
        matrix = askew(image.shape[:2], dice)
        image, owners = moved(image, owners, matrix)
    grey = dice.chance(0.45)
    if grey:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    if dice.chance(0.11):
        return fax(image, dice), owners, matrix
    page = image.astype(np.float32)
    if dice.chance(0.35):
        page = fading(page, dice)
    if dice.chance(0.2):
        page = show_through(page, dice)
    page *= ground / 255
    if dice.chance(0.35):
        page = texture(page, dice)
    if dice.chance(0.5):
        page = cv2.GaussianBlur(page, (0, 0), dice(0.35, 1.0))
    if dice.chance(0.4):
        page = shadow(page, dice)
    if dice.chance(0.55):
        page = grain(page, dice)
    if dice.chance(0.15):
        page = streaks(page, dice)
    image = np.clip(page + 0.5, 0, 255).astype(np.uint8)
    if dice.chance(0.5):
        image = compressed(image, dice.whole(30, 90))
    return image, owners, matrix


def askew(shape: tuple[int, int], dice: Dice) -> np.ndarray:
    """A small turn about the middle of a picture (H, W), sizes and shifts that go with it."""
    height, width = shape
    angle = dice(-ASKEW, ASKEW) * (1.0 if dice.chance(0.3) else 0.4)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, dice(0.965, 1.0))
    matrix[:, 2] += dice(-0.008, 0.008) * width, dice(-0.008, 0.008) * height
    return matrix


def moved(image: np.ndarray, owners: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The page through the matrix on white paper, and its owners, each pixel that of the nearest one."""
    height, width = owners.shape
    picture = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(255, 255, 255))
    return picture, cv2.warpAffine(owners, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=0)


def fax(image: np.ndarray, dice: Dice) -> np.ndarray:
    """Black and white alone, at times at a lower resolution, with specks; most of what is written stays legible."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    ink = grey[grey < INK]
    pale = float(np.percentile(ink, LEGIBLE)) if len(ink) else 0.0
    height, width = grey.shape
    if dice.chance(0.5):
        share = dice(0.8, 0.95)
        grey = cv2.resize(cv2.resize(grey, None, fx=share, fy=share, interpolation=cv2.INTER_AREA), (width, height))
    if dice.chance(0.5):
        white = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_GAUSSIAN_C, cv2.THRESH_BINARY, 45, dice(8, 18))
    else:
        rough = grey.astype(np.float32) + dice.grid(height, width) * dice(4, 26)
        white = np.where(rough > max(dice(125, 180), pale), 255, 0).astype(np.uint8)
    specks = dice.grid(height, width) > 1 - 2 * dice(0, 0.0012)
    white[specks] = 255 - white[specks]
    return np.repeat(white[..., None], 3, axis=2)


def fading(page: np.ndarray, dice: Dice) -> np.ndarray:
    """Ink that is paler in some places than in others, as of a worn ribbon or an empty cartridge."""
    height, width = page.shape[:2]
    share = noise(dice, height, width, dice(2, 8), dice(2, 8), 2)[..., None]
    depth = np.clip(dice(0.65, 1.0) + dice(0.05, 0.25) * share, 0.35, 1)
    return 255 - (255 - page) * depth


def show_through(page: np.ndarray, dice: Dice) -> np.ndarray:
    """The back of the sheet, for which the page itself stands: turned over, blurred and faint."""
    back = cv2.GaussianBlur(page[:, ::-1].mean(axis=2), (0, 0), dice(1.0, 2.5))
    back = np.roll(back, dice.whole(-40, 40), axis=0)
    return page - (255 - back)[..., None] * np.float32(dice(0.04, 0.14)) * (page / 255)


def texture(page: np.ndarray, dice: Dice) -> np.ndarray:
    """Paper that is not the same all over: stains and fibres."""
    height, width = page.shape[:2]
    rough = noise(dice, height, width, dice(3, 9), dice(3, 9), 3) * dice(2, 9)
    rough += noise(dice, height, width, height / 3, width / dice(2, 6), 1) * dice(1, 5)
    return page + rough[..., None] * np.array([1, 1, dice(0.9, 1.4)], dtype=np.float32)


def shadow(page: np.ndarray, dice: Dice) -> np.ndarray:
    """Darker towards a side, as at the spine of a book or under a lid that stands open."""
    height, width = page.shape[:2]
    rows, columns = np.linspace(0, 1, height, dtype=np.float32), np.linspace(0, 1, width, dtype=np.float32)
    if dice.chance(0.5):
        along = columns if dice.chance(0.5) else columns[::-1]
        fall = np.exp(-along / np.float32(dice(0.02, 0.12)))[None, :, None]
        return page * (1 - np.float32(dice(0.2, 0.7)) * fall)
    slope = rows[:, None] * np.float32(dice(-1, 1)) + columns[None] * np.float32(dice(-1, 1))
    slope = (slope - slope.min()) / max(float(np.ptp(slope)), 1e-6)
    return page * (1 - np.float32(dice(0.05, 0.3)) * slope[..., None])


def grain(page: np.ndarray, dice: Dice) -> np.ndarray:
    """The noise of a sensor, and specks of dust."""
    height, width = page.shape[:2]
    page = page + (dice.grid(height, width) * dice(3, 22))[..., None]
    if dice.chance(0.4):
        for x, y, size in dice.rows(dice.whole(5, 120), 3):
            shade = [float(60 + 120 * size)] * 3
            cv2.circle(page, (int(x * width), int(y * height)), 1 if size < 0.9 else 2, shade, -1)
    return page


def streaks(page: np.ndarray, dice: Dice) -> np.ndarray:
    """Lines down the page from dirt on a scanner's glass."""
    width = page.shape[1]
    for _ in range(dice.whole(1, 4)):
        column = dice.whole(0, width - 3)
        page[:, column : column + dice.whole(1, 2)] *= np.float32(dice(0.6, 0.95))
    return page


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """The picture after JPEG of this quality, uint8 RGB (H, W, 3)."""
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
