"""One document of a set: its PDF, the picture of each page, and a record of all that is on them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
from omegaconf import MISSING

from densessl.config import nearest
from densessl.data.synthetic.canvas import Dice
from densessl.data.synthetic.pages import documents, labels, owners, paint
from densessl.data.synthetic.pages.degrade import degrade
from densessl.errors import UserError, from_0_to_1, require
from densessl.files import write_bytes, write_image, write_text

VERSION = 2  # of what a seed makes; a folder of another one cannot be gone on with


@dataclass
class PagesConfig:
    """What `densessl pages` can be told.

    out: the folder that gets everything.
    count: how many pages.
    size: longest side of a page's picture in pixels.
    suffix: of the pictures, png or jpg.
    quality: of jpg, 1 to 100.
    degrade: share of the documents that look as if they came from a scanner or a fax machine.
    masks: "outlines", polygons as PubLayNet has them, or "ink", the very pixels as run lengths.
    kinds: of documents, such as [article,invoice]; None for all.
    languages: of en, pl, de, fr, ru, el; None for all.
    workers: processes that make documents; None for one per core. What they make does not depend on it.
    """

    out: str = MISSING
    count: int = 100
    seed: int = 0
    size: int = 1024
    suffix: str = "jpg"
    quality: int = 90
    degrade: float = 0.5
    masks: str = "outlines"
    kinds: Any = None
    languages: Any = None
    workers: int | None = None
    version: int = field(default=VERSION)


def check(config: PagesConfig) -> None:
    """Raise `UserError` for a setting that is out of its range."""
    require(config.count >= 1, f"count={config.count} must be 1 or more.")
    require(config.seed >= 0, f"seed={config.seed} must be 0 or more.")
    require(256 <= config.size <= 4096, f"size={config.size} must be from 256 to 4096 pixels.")
    require(1 <= config.quality <= 100, f"quality={config.quality} must be from 1 to 100.")
    require(config.workers is None or config.workers >= 1, f"workers={config.workers} must be 1 or more.")
    from_0_to_1("pages", config, "degrade")
    for name, known in (("suffix", ("png", "jpg")), ("masks", ("outlines", "ink"))):
        value = str(getattr(config, name))
        require(value in known, f"{name}={value} is none of {', '.join(known)}{nearest(value, known)}")
    for name, known in (("kinds", documents.KINDS), ("languages", documents.LANGUAGES)):
        for value in several(getattr(config, name)):
            if value not in known:
                raise UserError(f"{name}: {value} is none of {', '.join(known)}{nearest(value, known)}")


def several(value: Any) -> tuple[str, ...]:
    """`None`, a word or a list of words -> a tuple of words."""
    return () if value is None else (str(value),) if isinstance(value, str | bool) else tuple(map(str, value))


def plan(config: PagesConfig, number: int) -> documents.Plan:
    return documents.plan(config.seed, number, several(config.kinds), several(config.languages))


def record_of(folder: Path, number: int) -> Path:
    return folder / "documents" / f"{number:06d}.json"


def make(config: PagesConfig, number: int, pages: int) -> int:
    """Write the first `pages` pages of document `number`; its record comes last, so that what has one is whole.

    Returns how many pages were written. Raises `RuntimeError` where a pixel with ink has no owner.
    """
    folder, planned = Path(config.out), plan(config, number)
    drawn = documents.pages(config.seed, number, planned)[:pages]
    palettes = [owners.Palette(page) for page in drawn]
    colours = {id(element): palette for page, palette in zip(drawn, palettes, strict=True) for element in page.elements}
    pdf = paint.to_pdf(drawn, paint.own_colours, f"{planned.kind} {number}")
    coded = paint.to_pdf(drawn, lambda element: colours[id(element)](element))
    dice = Dice(config.seed, stream=2**40 + number)
    worn = dice.chance(config.degrade)
    images, codes = paint.to_pixels(pdf, config.size), paint.to_pixels(coded, config.size)
    entries = []
    for place, (page, palette, image, code) in enumerate(zip(drawn, palettes, images, codes, strict=True)):
        whose = palette.read(code)
        stray = owners.strays(image, whose)
        if stray:
            raise RuntimeError(f"Page {place} of document {number} (seed {config.seed}): {stray} pixels have no owner.")
        scale = config.size / max(page.width, page.height)
        shown, matrix = whose, None
        if worn:
            image, shown, matrix = degrade(image, whose, dice)
        records = labels.describe(
            palette.elements, whose, scale, None if matrix is None else (shown, labels.Warp(matrix))
        )
        if config.masks == "ink":
            for record in records:
                record["segmentation"] = labels.ink(shown, record["number"])
                record["area"] = int((shown == record["number"]).sum())
        name = f"{number:06d}-{place}.{config.suffix}"
        write_image(folder / "images" / name, image, options(config))
        entries.append(
            {
                "file_name": name,
                "width": image.shape[1],
                "height": image.shape[0],
                "document": number,
                "page": place,
                "dpi": round(72 * scale, 3),
                "kind": planned.kind,
                "language": planned.language,
                "degraded": worn,
                "elements": records,
            }
        )
    write_bytes(folder / "documents" / f"{number:06d}.pdf", pdf)
    write_text(record_of(folder, number), json.dumps(entries, ensure_ascii=False))
    return len(entries)


def options(config: PagesConfig) -> list[int]:
    if config.suffix == "png":
        return [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    return [cv2.IMWRITE_JPEG_QUALITY, config.quality]


def load(path: Path, pages: int | None = None) -> list[dict]:
    """The pages of a document's record, or the first of them."""
    return json.loads(path.read_text(encoding="utf-8"))[:pages]


def whole(folder: Path, number: int, pages: int) -> bool:
    """Whether the document was written with this many pages, and its pictures are there still."""
    path = record_of(folder, number)
    if not path.is_file():
        return False
    entries = load(path)
    return len(entries) >= pages and all((folder / "images" / entry["file_name"]).is_file() for entry in entries)
