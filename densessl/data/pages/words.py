"""The words of a page, put together from the letters that PDFium finds; runs in the process of `renderer`.

A word ends at a space, at a gap as wide as one, and where the letters go on elsewhere: in another line, another
direction. It imports nothing but the standard library and pypdfium2.
"""

from __future__ import annotations

import sys
import unicodedata
from contextlib import closing
from functools import cache

from densessl.data.pages.letters import BOLD, HIDDEN, ITALIC, Font, Frame, Letters, Look, frame_of, pictures

GAP = 0.35  # of the size of letters: a wider gap between the end of one and the next parts words
SPACED = 0.1  # of that size: letters that are set apart by less make up a word, though PDFium sees spaces between
RISE = 0.6  # of that size: letters whose middles are further apart across the line are of two lines
TWICE = 0.25  # of that size: the same word that near was drawn twice, to look bold or to throw a shadow

UNKNOWN = "�"
_HYPHEN = "\xad"
_LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
# What TeX's fonts have where ASCII has control characters; its encodings OT1 and T1 have these at places of their own.
_TEX = {
    **{0x0B: "ff", 0x0C: "fi", 0x0D: "fl", 0x0E: "ffi", 0x0F: "ffl", 0x10: "“", 0x11: "”", 0x12: "„"},
    **{0x13: "«", 0x14: "»", 0x15: "–", 0x16: "—", 0x1B: "ff", 0x1C: "fi", 0x1D: "fl", 0x1E: "ffi", 0x1F: "ffl"},
}
# Of the private places, those where the fonts Symbol and Wingdings have what stands before an item of a list.
_BULLETS = {0xF0B7: "•", 0xF0A7: "▪", 0xF06E: "■", 0xF0A8: "◻", 0xF0D8: "➢", 0xF0FC: "✓", 0xF076: "❖", 0xF0E0: "→"}


def read(page) -> dict:
    """What stands on an open page.

    size: (width, height) of it in points as it is shown. words: [text, x0, y0, x1, y1, size, flags, pitch, turn] each,
    in points of that; pitch is from one letter to the next where the font has all of them as wide, else 0; turn is that
    of `Look`. letters: how many these have; hidden: of them, those that are drawn invisibly; unknown: those of which it
    is not known what they are. claimed: how many letters and spaces the page has, more than are read where it has more
    than `LETTERS`. pictures: the share of the page that pictures cover. drawn: whether it has anything on it.
    """
    import pypdfium2.raw as pdfium

    frame = frame_of(page)
    found = {
        "size": frame.size,
        "words": [],
        "letters": 0,
        "hidden": 0,
        "unknown": 0,
        "claimed": 0,
        "pictures": pictures(page, frame),
        "drawn": pdfium.FPDFPage_CountObjects(page) + pdfium.FPDFPage_GetAnnotCount(page) > 0,
    }
    text = pdfium.FPDFText_LoadPage(page)
    if not text:
        return found
    with closing(Letters(text)) as letters:
        words = Words(letters, frame)
        words.gather()
    of = {name: getattr(words, name) for name in ("letters", "hidden", "unknown")}
    return found | of | {"words": words.words, "claimed": letters.claimed}


class Words:
    """The words that letters make up, and how many letters these have."""

    def __init__(self, letters: Letters, frame: Frame) -> None:
        self._from, self._frame = letters, frame
        self.words: list[list] = []
        self.letters = self.hidden = self.unknown = 0
        self._size = frame.size
        self._near: dict[str, dict[tuple[int, int], list]] = {}  # words by their texts and where they are
        self._start()

    def gather(self) -> None:
        letters, turns = self._from, self._frame.turns
        letters.measure(turns)
        for each in (each for each, unmapped in enumerate(letters.unmapped) if unmapped and letters.object[each]):
            font = letters.font(letters.look(each, turns))
            font.unmapped += 1
            font.low += ord("a") <= letters.code[each] <= ord("z")
        for each, code in enumerate(letters.code):
            if code == ord(" ") and letters.is_generated(each):
                self._spaced = True
                continue
            if not letters.object[each]:  # the end of a line
                self._end()
                continue
            text = self._text(each, code)
            if text == " ":
                self._end()
            elif text:
                self._add(each, text, letters.look(each, turns))
        self._end()

    def _text(self, each: int, code: int) -> str:
        """What a letter is: " " for any space, "" for what has no shape and does not part words."""
        letters = self._from
        if letters.unmapped[each]:
            font: Font = letters.font(letters.look(each, self._frame.turns))
            return font.readable and _TEX.get(code) or (meaning(code) if code >= 32 else UNKNOWN)
        if 32 < code < 127:
            return chr(code)
        if code == 2 and letters.is_hyphen(each):
            return "-"
        if 0xD800 <= code < 0xDC00 and each + 1 < len(letters.code) and 0xDC00 <= letters.code[each + 1] < 0xE000:
            return chr(0x10000 + ((code - 0xD800) << 10) + letters.code[each + 1] - 0xDC00)
        if 0xDC00 <= code < 0xE000 and each and 0xD800 <= letters.code[each - 1] < 0xDC00:
            return ""
        return meaning(code)

    def _start(self) -> None:
        self._texts: list[str] = []
        self._boxes: list[tuple[float, float, float, float]] = []
        self._looks: list[Look] = []
        self._unknown, self._spaced = 0, False

    def _add(self, each: int, text: str, look: Look) -> None:
        tight, loose, place = self._from.tight, self._from.loose, self._frame.place
        at = 4 * each
        around = place(loose[at], loose[at + 3], loose[at + 2], loose[at + 1])
        inked = place(tight[at], tight[at + 2], tight[at + 1], tight[at + 3])
        if not (inked[0] < inked[2] and inked[1] < inked[3]):  # of some fonts PDFium does not know the shapes
            inked = around
        elif not (around[0] < around[2] and around[1] < around[3]):
            around = inked
        x0, y0, x1, y1 = inked
        width, height = self._size
        # Said so that it also holds of what is no number.
        if not (x0 < x1 and y0 < y1 and 0 <= x0 + x1 <= 2 * width and 0 <= y0 + y1 <= 2 * height):
            return
        size = look.size or min(around[2] - around[0], around[3] - around[1])
        start, end, middle = along(around, look.turn)
        if self._texts and self._parted(start, end, middle, size, look.turn):
            self._end()
        self._spaced = False
        self._texts.append(text)
        self._boxes.append(inked)
        self._looks.append(look)
        self._last = start, end, middle, size, look.turn
        self._unknown += text == UNKNOWN or self._meaningless(each, look)

    def _meaningless(self, each: int, look: Look) -> bool:
        return self._from.unmapped[each] and not self._from.font(look).readable

    def _parted(self, start: float, end: float, middle: float, size: float, turn: int) -> bool:
        """Whether a letter goes on elsewhere than where the one before it ended; scripts run either way."""
        start_before, end_before, middle_before, size_before, turn_before = self._last
        if size < size_before:
            size = size_before
        gap = max(start - end_before, start_before - end)
        return (
            turn != turn_before
            or gap > GAP * size
            or (self._spaced and not -SPACED * size <= gap <= SPACED * size)
            or not -RISE * size <= middle - middle_before <= RISE * size
        )

    def _end(self) -> None:
        if not self._texts:
            return
        text, looks = "".join(self._texts), self._looks
        if _HYPHEN in text:  # drawn at the end of a line it is one; elsewhere it says where one could be
            text = text[:-1].replace(_HYPHEN, "") + text[-1].replace(_HYPHEN, "-")
        if not text.isascii():
            text = unicodedata.normalize("NFC", text)
        (left, top, right, bottom), (width, height) = zip(*self._boxes, strict=True), self._size
        box = max(min(left), 0.0), max(min(top), 0.0), min(max(right), width), min(max(bottom), height)
        size = max(looks[0].size, looks[-1].size) or self._last[3]
        flags = looks[0].flags if looks[0] is looks[-1] else _most(looks)
        word = [text, *(round(each, 2) for each in box), round(size, 2), flags, self._pitch(), looks[0].turn]
        if not self._stands(word):
            self.words.append(word)
            self.letters += len(looks)
            self.hidden += sum(bool(look.flags & HIDDEN) for look in looks)
            self.unknown += self._unknown
        self._start()

    def _pitch(self) -> float:
        """Points from one letter to the next, 0 where the fonts of the first or the last one have no such number."""
        first, last = (self._from.font(look).pitch * look.size for look in (self._looks[0], self._looks[-1]))
        return round(max(first, last), 3) if first and last else 0.0

    def _stands(self, word: list) -> bool:
        """Whether the word stands there already, which then is bold; else it does from now on."""
        text, x, y, size = word[0], word[1], word[2], word[5]
        cell = max(TWICE * size, 0.1)
        column, row = int(x // cell), int(y // cell)
        standing = self._near.setdefault(text, {})
        if standing:
            for near in ((column + right, row + down) for right in (0, -1, 1) for down in (0, -1, 1)):
                other = standing.get(near)
                if other and max(abs(other[1] - x), abs(other[2] - y)) <= cell:
                    other[6] |= BOLD
                    return True
        standing[column, row] = word
        return False


def _most(looks: list[Look]) -> int:
    """The flags that more than half of the letters have."""
    return sum(
        flag for flag in (BOLD, ITALIC, HIDDEN) if 2 * sum(bool(look.flags & flag) for look in looks) > len(looks)
    )


@cache
def meaning(code: int) -> str:
    """What stands for a character: " " for any space, "" for what has no shape, ligatures as their letters."""
    if code > sys.maxunicode:
        return UNKNOWN
    character = chr(code)
    if character in _LIGATURES:
        return _LIGATURES[character]
    if code in _BULLETS:
        return _BULLETS[code]
    if character == _HYPHEN:
        return character
    if character.isspace():
        return " "
    kind = unicodedata.category(character)
    if kind in ("Cc", "Cn", "Co", "Cs") or character == UNKNOWN:
        return UNKNOWN
    return "" if kind == "Cf" else character


def along(box: tuple[float, float, float, float], turn: int) -> tuple[float, float, float]:
    """(start, end) of a box in the direction of the text, and its middle across that.

    turn: quarters clockwise from rightwards.
    """
    x0, y0, x1, y1 = box
    if turn == 0:
        return x0, x1, (y0 + y1) / 2
    if turn == 1:
        return y0, y1, (x0 + x1) / 2
    if turn == 2:
        return -x1, -x0, (y0 + y1) / 2
    return -y1, -y0, (x0 + x1) / 2
