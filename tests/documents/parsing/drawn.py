"""Tables drawn with OpenCV, with the words that stand in them, in points; 2 pixels a point."""

from __future__ import annotations

import cv2
import numpy as np

from densessl.documents.parsing.model import Word

SCALE = 2.0
HIGH = 9.0  # points, of a word
WIDE = 5.0  # of a letter, and of a blank


class Sheet:
    def __init__(self, width=420, height=320):
        self.picture = np.full((int(height * SCALE), int(width * SCALE), 3), 255, np.uint8)
        self.words: list[Word] = []

    def write(self, x, y, text, align="left", bold=False):
        """A line of words: x of its left end, its right end or its middle; y of its top."""
        total = WIDE * len(text)
        x -= {"left": 0, "right": total, "centre": total / 2}[align]
        for word in text.split(" "):
            box = (x, y, x + WIDE * len(word), y + HIGH)
            self.words.append(Word(word, box, HIGH, bold))
            for letter in range(len(word)):  # two strokes each, as thick as lines are
                left = x + WIDE * letter + 1
                self.fill((left, y + 2, left + 1, y + HIGH - 2), 0)
                self.fill((left, y + 4, left + 3, y + 5), 0)
            x += WIDE * (len(word) + 1)

    def fill(self, box, colour):
        x0, y0, x1, y1 = (round(each * SCALE) for each in box)
        self.picture[y0:y1, x0:x1] = colour

    def across(self, y, x0, x1, thick=0.6):
        self.fill((x0, y - thick / 2, x1, y + thick / 2 + 0.3), 0)

    def upright(self, x, y0, y1, thick=0.6):
        self.fill((x - thick / 2, y0, x + thick / 2 + 0.3, y1), 0)

    def turned(self, degrees):
        """The sheet as a skewed scan has it: words keep their size."""
        other = Sheet()
        height, width = self.picture.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
        other.picture = cv2.warpAffine(self.picture, turn, (width, height), borderValue=(255, 255, 255))
        for word in self.words:
            x0, y0, x1, y1 = word.bbox
            x, y = turn @ [SCALE * (x0 + x1) / 2, SCALE * (y0 + y1) / 2, 1] / SCALE
            half = (x1 - x0) / 2, (y1 - y0) / 2
            other.words.append(Word(word.text, (x - half[0], y - half[1], x + half[0], y + half[1]), HIGH, word.bold))
        return other

    def noisy(self, seed=0, broken=0):
        """With grain, and with gaps of 1.5 points in what is drawn, every so many points."""
        random = np.random.default_rng(seed)
        picture = self.picture.copy()
        if broken:
            for x in range(30, picture.shape[1], round(broken * SCALE)):
                picture[:, x : x + 3] = 255
        grain = random.normal(0, 8, picture.shape[:2])[..., None]
        self.picture = np.clip(picture + grain, 0, 255).astype(np.uint8)
        return self


COLUMNS, ROWS = (20.0, 140.0, 240.0, 340.0), 18.0
TEXTS = [
    ["Name", "Count", "Share"],
    ["Alder", "120", "4.5"],
    ["Birch and hazel", "7", "12.25"],
    ["Cedar", "1043", "0.5"],
    ["Dogwood", "66", "31.0"],
]


def filled(bold=True, texts=TEXTS):
    """The texts in three columns of 120, 100 and 100 points, rows of 18: the first left, others right."""
    sheet = Sheet()
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            y = 20 + ROWS * row + (ROWS - HIGH) / 2
            if text and column:
                sheet.write(COLUMNS[column + 1] - 6, y, text, "right", bold and row == 0)
            elif text:
                sheet.write(COLUMNS[0] + 6, y, text, bold=bold and row == 0)
    return sheet


def bbox_of(rows=5):
    return COLUMNS[0], 20.0, COLUMNS[-1], 20.0 + ROWS * rows


def grid(sheet, rows=5):
    for row in range(rows + 1):
        sheet.across(20 + ROWS * row, COLUMNS[0], COLUMNS[-1])
    for x in COLUMNS:
        sheet.upright(x, 20, 20 + ROWS * rows)
    return sheet
