"""One page: what the detector sees on it, what its words are, and what they make together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Protocol

import numpy as np
import torch

from densessl.data.images import UnreadableImage, resolution
from densessl.data.resize import within
from densessl.data.sources import Source
from densessl.documents.detection.objects import Found
from densessl.documents.parsing.config import ParseConfig
from densessl.documents.parsing.drawings import is_drawing
from densessl.documents.parsing.layout.lines import LEADERS, holds, lines_of
from densessl.documents.parsing.layout.regions import settled
from densessl.documents.parsing.layout.structure import Region, blocks_of, type_of
from densessl.documents.parsing.layout.text import BOXES
from densessl.documents.parsing.layout.turned import facing, joined_views, others, prevailing
from densessl.documents.parsing.model import NO_TEXT, TEXT_LAYER, Block, Box, Page, Table, Word
from densessl.documents.parsing.ocr import Ended, Engine
from densessl.documents.parsing.overlooked import read_again
from densessl.documents.parsing.tables.framed import parts_of
from densessl.documents.parsing.tables.strangers import without_strangers
from densessl.documents.parsing.tables.table import read_table
from densessl.documents.parsing.ticks import ticks
from densessl.documents.parsing.views import View
from densessl.documents.parsing.words import words_of

PLAIN = 72.0  # pixels an inch at which a pixel is a point
LEAST = 32  # pixels of a side below which there is no page
TABLE = 0.5  # least score of a table
DOTTED = 0.25  # share of words that are dots: what they lead through is no table but contents
TICKED = 0.5  # of its lines, each of its columns': what has a box to be ticked for so many is no table but items
MOST = 40_000  # words of a page that are looked at
UNCLEAR = 0.7  # confidence of a page's letters below which it may lie on its side, or be in another language
UNSURE = "The engine is unsure of what it reads here: is it in another language than was given, or no text?"
READABLE = ("title", "heading", "text", "list_item", "caption", "footnote", "page_header", "page_footer")


class Finder(Protocol):
    """A detector. classes: K names."""

    classes: Sequence[str]

    def find(self, page: np.ndarray) -> Found:
        """What is on a page (H, W, 3) uint8 RGB, boxes in its own pixels; threads may call it at once."""


class Looker:
    """Turns pages of a source into what they consist of; threads may call it at once.

    sharp: the picture of a page of a PDF, by its number in the source, as large as the engine wants it. stop: once it
    is set, pages under way end as soon as they can, by `Ended`.
    """

    def __init__(
        self,
        detector: Finder,
        engine: Engine | None,
        config: ParseConfig,
        sharp: Callable[[int], np.ndarray],
        stop: Event | None = None,
    ) -> None:
        self.detector, self.engine, self.config, self.sharp = detector, engine, config, sharp
        self.stop = stop or Event()

    def __call__(self, source: Source, index: int) -> tuple[Page, np.ndarray]:
        """A page and its picture (H, W, 3) uint8 RGB; raises `UnreadableImage`."""
        self._go_on()
        picture = source.read(index)
        height, width = picture.shape[:2]
        if min(height, width) < LEAST:
            raise UnreadableImage(f"it is {width} x {height} pixels, which is no page")
        told = source.dpi(index) or resolution(source.read_bytes(index))
        dpi = told or PLAIN
        points = source.points(index) or (width * 72 / dpi, height * 72 / dpi)
        page = Page(source.page(index), *points, dpi)
        if not told:
            page.notes.append("The picture does not say how many pixels an inch has: a pixel is a point.")
        words = self._words(source, index, page)
        scan = None
        if words is None:
            words, scan = self._read(source, index, picture, page)
        if len(words) > MOST:
            page.notes.append(f"Of {len(words):,} words the first {MOST:,} are heeded.")
        view = View(prevailing(words), *points)
        sheet = Sheet(view.picture(picture), view.words(words[:MOST]), *view.size)
        if page.source == TEXT_LAYER:
            sheet = replace(sheet, words=[*sheet.words, *ticks(sheet.picture, sheet.words, sheet.scale[0])])
        seen = self._seen(sheet)
        if scan is not None:
            sheet = self._read_again(sheet, view.picture(scan), seen, page)
        page.blocks = [view.back.block(block) for block in self._blocks(sheet, seen, page.number, view.turn)]
        return page, picture

    def _blocks(self, sheet: Sheet, seen: Sequence[Region], number: int, turn: int) -> list[Block]:
        """What a page of this number consists of. seen: what the detector finds on it. turn: of the view that it lies
        in, where most of it is upright."""
        regions = [each for each in seen if _stands(each, sheet.words)]
        for other in others(regions, sheet.words):
            there = sheet.turned(other)
            back = View(other, sheet.width, sheet.height).back
            more = [replace(each, bbox=back.box(each.bbox)) for each in self._seen(there) if _stands(each, there.words)]
            regions = joined_views(regions, more, other, sheet.words)
        # Settled first: what is around a table goes for it, and would not for a figure.
        regions = settled(facing(regions, sheet.words), sheet.words)
        regions = [_as_shown(part, sheet) for each in regions for part in _parted(each, sheet)]
        blocks = blocks_of(regions, sheet.words, sheet.width, sheet.height, number, turn)
        for block in blocks:
            if block.type == "table":
                self._go_on()
                own = [word for line in block.lines for word in line.words]
                block.table = sheet.table(own, block.bbox, block.turn)
                block.text = "\n".join("\t".join(row) for row in block.table.grid())
        return blocks

    def _seen(self, sheet: Sheet) -> list[Region]:
        self._go_on()
        found = self.detector.find(sheet.picture)
        return [each for each in _regions(found, self.detector.classes, sheet.scale) if each.score >= self.config.score]

    def _words(self, source: Source, index: int, page: Page) -> list[Word] | None:
        """The words of the text layer; None where the engine is to read the page."""
        words = None if self.config.reread else words_of(source, index, page.notes)
        if words is not None:
            page.source = TEXT_LAYER
        elif self.engine is None:
            page.source, words = NO_TEXT, []
            page.notes.append("The page has no text of its own, and there is no engine to read it.")
        return words

    def _read(self, source: Source, index: int, picture: np.ndarray, page: Page) -> tuple[list[Word], np.ndarray]:
        """The words that the engine reads on a page, and the picture that it is shown."""
        page.source = self.engine.name
        shown = self.sharp(index) if source.dpi(index) is not None else picture
        shown = within(shown, self.config.ocr_side)
        dpi = 72 * shown.shape[1] / page.width
        self._go_on()
        words = self.engine.read(shown, dpi, self.stop)
        if _confidence(words) < UNCLEAR or _mostly_tall(words):
            words = self._turned(words, shown, dpi, page)
        if words and _confidence(words) < UNCLEAR:
            page.notes.append(UNSURE)
        return words, shown

    def _turned(self, words: list[Word], shown: np.ndarray, dpi: float, page: Page) -> list[Word]:
        """The words that the engine reads on a page that lies on its side or upside down, where it does; else these."""
        view = View(self.engine.turn(shown, dpi, self.stop), page.width, page.height)
        if not view.turn:
            return words
        try:
            others = self.engine.read(view.picture(shown), dpi, self.stop)
        except UnreadableImage:  # not worth what was read before
            return words
        surer = _mostly_tall(words) or _confidence(others) > _confidence(words)
        return view.back.words(others) if surer else words

    def _read_again(self, sheet: Sheet, scan: np.ndarray, seen: Sequence[Region], page: Page) -> Sheet:
        """The page with the words that the engine had overlooked. scan: what it is shown, lying as the sheet does."""
        self._go_on()
        tables, texts = (
            [each.bbox for each in seen if type_of(each.label) in kinds] for kinds in (("table",), READABLE)
        )
        dpi = 72 * scan.shape[1] / sheet.width
        try:
            return replace(sheet, words=read_again(self.engine, scan, dpi, sheet.words, tables, texts, self.stop))
        except UnreadableImage as error:
            page.notes.append(f"What was overlooked at first could not be read: {error}.")
            return sheet

    def _go_on(self) -> None:
        if self.stop.is_set():
            raise Ended


@dataclass(frozen=True)
class Sheet:
    """What is known of a page that lies in some way: its picture, words in points, and width and height in points."""

    picture: np.ndarray
    words: Sequence[Word]
    width: float
    height: float

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels a point, across and down: a page of a PDF has a whole number of them."""
        return self.picture.shape[1] / self.width, self.picture.shape[0] / self.height

    def turned(self, turn: int) -> Sheet:
        """As it lies in the view of this turn."""
        view = View(turn, self.width, self.height)
        return Sheet(view.picture(self.picture), view.words(self.words), *view.size)

    def table(self, words: Sequence[Word], box: Box, turn: int) -> Table:
        """The table in a box that is turned so, with these words of the page."""
        view = View(turn, self.width, self.height)
        there = Sheet(view.picture(self.picture), view.words(words), *view.size)
        return view.back.table(read_table(there.words, view.box(box), there.picture, there.scale[0]))


def _confidence(words: Sequence[Word]) -> float:
    """The mean over all letters, 0 to 1; 0 where there are none."""
    letters = sum(len(word.text) for word in words)
    return sum(len(word.text) * (word.confidence or 0.0) for word in words) / letters if letters else 0.0


def _mostly_tall(words: Sequence[Word]) -> bool:
    """Whether most of the longer words are higher than wide, as an engine has them that reads lines on their side."""
    longer = [word.bbox for word in words if len(word.text) >= 4]
    return 2 * sum(bottom - top > right - left for left, top, right, bottom in longer) > len(longer)


def _stands(region: Region, words: Sequence[Word]) -> bool:
    """Whether to believe a region: a table that is none tears its text apart, so it takes more, and lines of contents,
    which dots lead to their numbers, are none, nor are items to be ticked that stand in rows."""
    if type_of(region.label) != "table":
        return True
    own = [word for word in words if holds(region.bbox, word.bbox)]
    dotted = sum(not word.text.strip(LEADERS) for word in own)
    boxes = sum(word.text in BOXES for word in own)
    if boxes > 1 and boxes >= TICKED * len(lines_of(own)):
        return False
    return region.score >= TABLE and dotted <= DOTTED * len(own)


def _parted(region: Region, sheet: Sheet) -> list[Region]:
    """The region, or each table in it, should there be several; items to be ticked between them are none."""
    if type_of(region.label) != "table" or region.turn:
        return [region]
    own = [word for word in sheet.words if holds(region.bbox, word.bbox)]
    parts = [replace(region, bbox=box) for box in parts_of(sheet.picture, region.bbox, own, sheet.scale[0])]
    return [part for part in parts if len(parts) == 1 or _stands(part, own)]


def _as_shown(region: Region, sheet: Sheet) -> Region:
    """The region, as a figure if it is a table that is drawn, else without lines of text around the table."""
    if type_of(region.label) != "table":
        return region
    own, box = [word for word in sheet.words if holds(region.bbox, word.bbox)], region.bbox
    drawing = is_drawing(sheet.picture, box, own, sheet.scale[0], lambda: sheet.table(own, box, region.turn))
    if drawing:
        return replace(region, drawing=True)
    view, there = View(region.turn, sheet.width, sheet.height), sheet.turned(region.turn)
    upright = [word for word in there.words if not word.turn]
    trimmed = without_strangers(view.box(box), upright, there.picture, there.scale[0])
    return replace(region, bbox=view.back.box(trimmed))


def _regions(found: Found, classes: Sequence[str], scale: tuple[float, float]) -> list[Region]:
    """scale: pixels a point, across and down."""
    boxes = (found.boxes.double().cpu() / torch.tensor(2 * scale, dtype=torch.double)).tolist()
    rows = zip(boxes, found.classes.tolist(), found.scores.tolist(), strict=True)
    others: list[tuple[str, float] | None] = [None] * len(boxes)
    if found.runners_up is not None:
        kinds, scores = (each.tolist() for each in found.runners_up)
        others = [(classes[kind], score) if score > 0 else None for kind, score in zip(kinds, scores, strict=True)]
    return [
        Region(tuple(box), classes[kind], score, second)
        for (box, kind, score), second in zip(rows, others, strict=True)
    ]
