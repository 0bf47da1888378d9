"""What PDFium tells of the letters on a page; runs in the process of `renderer`, for `words` there.

It imports nothing but the standard library and pypdfium2. PDFium gives letters in the order in which the page draws
them, with the spaces that it has and those that its gaps mean. Every letter costs a handful of calls, so these go past
the types that ctypes would check at each of them, and places are written into one array.
"""

from __future__ import annotations

import ctypes
import math
import re
from array import array
from dataclasses import dataclass, field
from functools import cache, cached_property
from statistics import median

LETTERS = 100_000  # of a page that are read; a page of a newspaper has 40,000
OBJECTS = 2_000  # of a page, and of each form on it, among which pictures are looked for
BOLD, ITALIC, HIDDEN = 1, 2, 4

_SLANT = 0.15  # of the height: how far upright letters are sheared to look italic
_HEAVY = 650  # of CSS's weights, which PDFium makes of the width of a font's stems
_BLACK = re.compile(r"bold|black|heavy|demi|^(.*\+)?(cm|sf)bx|nimbus.*-medi(?!um)|-(bd|blk)", re.IGNORECASE)
_SLANTED = re.compile(
    r"italic|oblique|slanted|^(.*\+)?(cm(mi|ti|sl|bxti)|sf(ti|sl))\d|-(it|boldit)|ital\b", re.IGNORECASE
)
_TYPED = re.compile(
    r"^(.*\+)?(cm|sf|ec|lm|pcr|txt?)[a-z]*tt|courier|mono(?!type)|typewriter|consol|inconsolata", re.IGNORECASE
)
_NARROW = frozenset(map(ord, "fijlrtI.,:;'!|"))
_ALIKE = 0.02  # by which the widths of letters of a fixed pitch differ at most, as a share of them
_MOST = 0.7  # of the letters of such a font, that do not reach out of their places
_FIXED, _SLOPING, _FORCED_BOLD = 1, 1 << 6, 1 << 18  # ISO 32000-1, table 123


@dataclass
class Frame:
    """Where the page that is shown lies on that of the document: its box there, and quarters of a turn clockwise."""

    left: float
    bottom: float
    right: float
    top: float
    turns: int

    @property
    def size(self) -> tuple[float, float]:
        """(width, height) in points as it is shown."""
        size = self.right - self.left, self.top - self.bottom
        return size[::-1] if self.turns % 2 else size

    def place(self, left: float, bottom: float, right: float, top: float) -> tuple[float, float, float, float]:
        """A box of the document's, y upwards, as (x0, y0, x1, y1) from the left upper corner, y downwards."""
        if self.turns == 0:
            return left - self.left, self.top - top, right - self.left, self.top - bottom
        if self.turns == 1:
            return bottom - self.bottom, left - self.left, top - self.bottom, right - self.left
        if self.turns == 2:
            return self.right - right, bottom - self.bottom, self.right - left, top - self.bottom
        return self.top - top, self.right - right, self.top - bottom, self.right - left


@dataclass
class Look:
    """What the letters of one piece of text share. turn: quarters clockwise from rightwards in which they run."""

    font: int
    size: float
    flags: int
    turn: int


@dataclass
class Font:
    """flags: BOLD, ITALIC. unmapped: letters that it gives no meaning, low: those that pass for small letters. typed:
    whether its name or what the document says of it make it one of a fixed pitch. widths: of its letters that were
    seen, by their codes, in ems."""

    flags: int = 0
    unmapped: int = 0
    low: int = 0
    typed: bool = False
    widths: dict[int, float] = field(default_factory=dict)

    @property
    def readable(self) -> bool:
        """Whether letters without a meaning are what their codes say, as those of TeX's fonts are in old documents."""
        return 2 * self.low >= self.unmapped

    @cached_property
    def pitch(self) -> float:
        """Ems from each letter to the next, where all are as wide; 0 where they are not. Widths decide, as long as
        they are of a narrow letter such as i and of another one; else what is said of the font does. Letters whose
        ink reaches out of their place count as wider to PDFium."""
        if not self.widths:
            return 0.0
        usual = median(self.widths.values())
        alike = {code for code, width in self.widths.items() if abs(width - usual) <= _ALIKE * usual}
        if usual <= 0 or min(self.widths.values()) < (1 - _ALIKE) * usual or len(alike) < _MOST * len(self.widths):
            return 0.0
        narrow = not _NARROW.isdisjoint(alike)
        other = any(chr(code).isalpha() and code not in _NARROW for code in alike)
        return usual if self.typed or narrow and other else 0.0


class Letters:
    """The letters of an open page of text, up to `LETTERS` of the `claimed`, and the spaces between them.

    code: in Unicode. object: a number of the piece of text that the letter is of, None of what PDFium put in.
    unmapped: whether its font gives it no meaning, so that its code is that in the font. tight: what it inks, as left,
    right, bottom, top; loose: what it takes up, as left, top, right, bottom; both in the document's points, y upwards.
    """

    def __init__(self, text) -> None:
        self._text = text
        calls, number = _calls(), ctypes.cast(text, ctypes.c_void_p).value
        self.claimed = max(calls["CountChars"](number), 0)
        count = min(self.claimed, LETTERS)
        self.code = [calls["GetUnicode"](number, each) for each in range(count)]
        self.object = [calls["GetTextObject"](number, each) for each in range(count)]
        self.unmapped = [calls["HasUnicodeMapError"](number, each) > 0 for each in range(count)]
        self.tight, self.loose = array("d", bytes(32 * count)), array("f", bytes(16 * count))
        start, get = self.tight.buffer_info()[0], calls["GetCharBox"]
        for each, at in enumerate(range(start, start + 32 * count, 32)):
            get(number, each, at, at + 8, at + 16, at + 24)  # left, right, bottom, top
        start, get = self.loose.buffer_info()[0], calls["GetLooseCharBox"]
        for each in range(count):
            get(number, each, start + 16 * each)  # left, top, right, bottom
        self._fonts: dict[int, Font] = {}
        self._looks: dict[int, Look] = {}

    def __len__(self) -> int:
        return len(self.code)

    def is_hyphen(self, each: int) -> bool:
        """Whether PDFium took the letter for a hyphen at the end of a line."""
        import pypdfium2.raw as pdfium

        return pdfium.FPDFText_IsHyphen(self._text, each) > 0

    def is_generated(self, each: int) -> bool:
        """Whether PDFium took a gap for this space."""
        import pypdfium2.raw as pdfium

        return pdfium.FPDFText_IsGenerated(self._text, each) > 0

    def look(self, each: int, turns: int) -> Look:
        """turns: quarters by which the page is shown turned."""
        key = self.object[each]
        if key not in self._looks:
            self._looks[key] = self._look(each, turns)
        return self._looks[key]

    def font(self, look: Look) -> Font:
        return self._fonts[look.font]

    def measure(self, turns: int) -> None:
        """Tell fonts how wide their letters are."""
        for each, key in enumerate(self.object):
            code = self.code[each]
            if not key or code <= 32 or code == 0xAD:
                continue
            look = self.look(each, turns)
            widths = self._fonts[look.font].widths
            if code not in widths and look.size > 0:
                left, top, right, bottom = self.loose[4 * each : 4 * each + 4]
                upright = (look.turn - turns) % 2
                width = abs(top - bottom if upright else right - left) / look.size
                widths[code] = width if math.isfinite(width) else 0.0

    def close(self) -> None:
        import pypdfium2.raw as pdfium

        pdfium.FPDFText_ClosePage(self._text)

    def _look(self, each: int, turns: int) -> Look:
        import pypdfium2.raw as pdfium

        handle = pdfium.FPDFText_GetTextObject(self._text, each)
        font = pdfium.FPDFTextObj_GetFont(handle)
        key = ctypes.cast(font, ctypes.c_void_p).value or 0
        if key not in self._fonts:
            self._fonts[key] = Font(*_style(font)) if key else Font()
        matrix = pdfium.FS_MATRIX()
        if not pdfium.FPDFText_GetMatrix(self._text, each, matrix):
            matrix = pdfium.FS_MATRIX(1, 0, 0, 1, 0, 0)
        flags, mode = self._fonts[key].flags, pdfium.FPDFTextObj_GetTextRenderMode(handle)
        along, up = math.hypot(matrix.a, matrix.b), math.hypot(matrix.c, matrix.d)
        if abs(matrix.a * matrix.c + matrix.b * matrix.d) > _SLANT * along * up:
            flags |= ITALIC
        if mode == pdfium.FPDF_TEXTRENDERMODE_FILL_STROKE:
            flags |= BOLD
        if mode in (pdfium.FPDF_TEXTRENDERMODE_INVISIBLE, pdfium.FPDF_TEXTRENDERMODE_CLIP):
            flags |= HIDDEN
        size = pdfium.FPDFText_GetFontSize(self._text, each) * up
        # Letters of a size below 0 stand on their heads, unless the matrix turns them back.
        sign = -1 if size < 0 else 1
        turn, size = turns - math.atan2(sign * matrix.b, sign * matrix.a) / (math.pi / 2), abs(size)
        return Look(key, size if math.isfinite(size) else 0.0, flags, round(turn) % 4 if math.isfinite(turn) else 0)


@cache
def _calls() -> dict:
    """PDFium's functions, which take the page of text and a place in memory as plain numbers."""
    import pypdfium2.raw as pdfium

    number, pointer = ctypes.c_int, ctypes.c_void_p
    types = {
        "CountChars": (number, pointer),
        "GetUnicode": (ctypes.c_uint, pointer, number),
        "GetTextObject": (pointer, pointer, number),
        "HasUnicodeMapError": (number, pointer, number),
        "GetCharBox": (number, pointer, number, pointer, pointer, pointer, pointer),
        "GetLooseCharBox": (number, pointer, number, pointer),
    }
    return {
        name: ctypes.PYFUNCTYPE(*kinds)(ctypes.cast(getattr(pdfium, f"FPDFText_{name}"), pointer).value)
        for name, kinds in types.items()
    }


def frame_of(page) -> Frame:
    import pypdfium2.raw as pdfium

    box = pdfium.FS_RECTF()
    pdfium.FPDF_GetPageBoundingBox(page, box)  # the crop box, or what of it lies on the medium
    return Frame(box.left, box.bottom, box.right, box.top, max(pdfium.FPDFPage_GetRotation(page), 0))


def _style(font) -> tuple[int, int, int, bool]:
    """What `Font` begins with."""
    import pypdfium2.raw as pdfium

    buffer = ctypes.create_string_buffer(256)
    pdfium.FPDFFont_GetBaseFontName(font, buffer, len(buffer))
    name, angle = buffer.value.decode("utf-8", "replace"), ctypes.c_int()
    flags = max(pdfium.FPDFFont_GetFlags(font), 0)
    bold = bool(_BLACK.search(name)) or flags & _FORCED_BOLD
    # A font of fixed pitch has stems as wide as it likes.
    bold = bold or (not flags & _FIXED and pdfium.FPDFFont_GetWeight(font) >= _HEAVY)
    italic = bool(_SLANTED.search(name)) or flags & _SLOPING
    italic = italic or (pdfium.FPDFFont_GetItalicAngle(font, angle) and angle.value != 0)
    typed = bool(flags & _FIXED or _TYPED.search(name))
    return BOLD * bool(bold) | ITALIC * bool(italic), 0, 0, typed


def pictures(page, frame: Frame) -> float:
    """The share of a page that its pictures cover, each counted by itself, up to 1."""
    import pypdfium2.raw as pdfium

    width, height = frame.size
    if not width * height > 0:
        return 0.0
    covered, one = 0.0, pdfium.FS_MATRIX(1, 0, 0, 1, 0, 0)
    for index in range(min(pdfium.FPDFPage_CountObjects(page), OBJECTS)):
        each = pdfium.FPDFPage_GetObject(page, index)
        if pdfium.FPDFPageObj_GetType(each) == pdfium.FPDF_PAGEOBJ_IMAGE:
            covered += _area(each, frame, one)
        elif pdfium.FPDFPageObj_GetType(each) == pdfium.FPDF_PAGEOBJ_FORM:
            matrix = pdfium.FS_MATRIX(1, 0, 0, 1, 0, 0)
            pdfium.FPDFPageObj_GetMatrix(each, matrix)
            for inner in range(min(pdfium.FPDFFormObj_CountObjects(each), OBJECTS)):
                part = pdfium.FPDFFormObj_GetObject(each, inner)
                if pdfium.FPDFPageObj_GetType(part) == pdfium.FPDF_PAGEOBJ_IMAGE:
                    covered += _area(part, frame, matrix)
        if covered >= width * height:
            break
    return min(covered / (width * height), 1.0)


def _area(picture, frame: Frame, matrix) -> float:
    """Square points of what a picture covers of the page, in a form that `matrix` puts there."""
    import pypdfium2.raw as pdfium

    sides = [ctypes.c_float() for _ in range(4)]
    if not pdfium.FPDFPageObj_GetBounds(picture, *sides):
        return 0.0
    left, bottom, right, top = (side.value for side in sides)
    corners = [(x, y) for x in (left, right) for y in (bottom, top)]
    xs = [matrix.a * x + matrix.c * y + matrix.e for x, y in corners]
    ys = [matrix.b * x + matrix.d * y + matrix.f for x, y in corners]
    width = min(max(xs), frame.right) - max(min(xs), frame.left)
    height = min(max(ys), frame.top) - max(min(ys), frame.bottom)
    return max(width, 0.0) * max(height, 0.0)
