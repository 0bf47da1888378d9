"""Text set in lines: words broken to a width, aligned or justified, with hyphens where a word does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from densessl.data.synthetic.pages.fonts import Family, spell, width
from densessl.data.synthetic.pages.page import BLACK, Colour, Words

Token = str | tuple[str, str]  # a word, or a word and its style: "b", "i" or "bi"
_VOWELS = set("aeiouyąęóäöüéèêаеиоуыэюяαεηιουω")


@dataclass(frozen=True)
class Style:
    """A family at a size in points, with the baselines `leading` points apart."""

    family: Family
    size: float
    leading: float
    colour: Colour = BLACK
    bold: bool = False
    italic: bool = False
    align: str = "left"  # left, justify, centre or right

    def font(self, mark: str = "") -> str:
        bold, italic = self.bold or "b" in mark, self.italic or "i" in mark
        family = self.family
        if bold and italic:
            return family.bold_italic
        return family.bold if bold else family.italic if italic else family.regular

    def measure(self, text: str, mark: str = "") -> float:
        return width(spell(self.family, text), self.font(mark)) * self.size * self.family.width

    def at(self, x: float, y: float, text: str, mark: str = "", space: float = 0.0) -> Words:
        """The strokes of a text whose baseline begins at (x, y)."""
        words = spell(self.family, text)
        return Words(x, y, words, self.font(mark), self.size, self.colour, space, self.family.width)


@dataclass
class Line:
    """Words of a line with their styles, its own width in points, and whether the paragraph goes on below."""

    words: list[tuple[str, str]] = field(default_factory=list)
    width: float = 0.0
    indent: float = 0.0
    last: bool = False

    @property
    def text(self) -> str:
        return " ".join(word for word, _ in self.words)


def break_lines(
    tokens: Sequence[Token], style: Style, room: float, first: float = 0.0, hyphens: bool = True
) -> list[Line]:
    """The tokens in lines of at most `room` points, the first one shorter by `first`.

    A word that is longer than a line is cut; no line is empty.
    """
    lines, line = [], Line(indent=first)
    blank = style.measure(" ")
    queue = [(token, "") if isinstance(token, str) else token for token in reversed(tokens)]
    while queue:
        word, mark = queue.pop()
        wide = style.measure(word, mark)
        start = line.width + blank if line.words else 0.0
        left = room - line.indent - start
        if wide <= left:
            line.words.append((word, mark))
            line.width = start + wide
            continue
        head = _hyphenated(word, mark, style, left) if hyphens or not line.words else ""
        if head:
            line.words.append((head + "-", mark))
            line.width = start + style.measure(head + "-", mark)
            word = word[len(head) :]
        elif not line.words:
            line.words.append((word, mark))
            line.width = wide
            word = ""
        lines.append(line)
        line = Line()
        if word:
            queue.append((word, mark))
    if line.words:
        lines.append(line)
    if lines:
        lines[-1].last = True
    return lines


def _hyphenated(word: str, mark: str, style: Style, room: float) -> str:
    """The longest beginning of a word that fits with a hyphen and ends a syllable, or nothing."""
    if len(word) < 6 or room < 3 * style.size * 0.5 or not word.isalpha():
        return ""
    for cut in range(len(word) - 3, 2, -1):
        if word[cut - 1] in _VOWELS and word[cut] not in _VOWELS and style.measure(word[:cut] + "-", mark) <= room:
            return word[:cut]
    return ""


def set_lines(lines: Sequence[Line], style: Style, x: float, top: float, room: float) -> list[Words]:
    """The strokes of lines whose first one's ascenders begin at `top`."""
    strokes = []
    y = top + 0.5 * (style.leading - style.size) + 0.78 * style.size
    for line in lines:
        spare = room - line.indent - line.width
        gaps = len(line.words) - 1
        extra, start = 0.0, x + line.indent
        if style.align == "justify" and not line.last and gaps and spare < 1.2 * style.size * gaps:
            extra = spare / gaps
        elif style.align == "centre":
            start += spare / 2
        elif style.align == "right":
            start += spare
        strokes += _run(line, style, start, y, extra)
        y += style.leading
    return strokes


def _run(line: Line, style: Style, x: float, y: float, extra: float) -> list[Words]:
    strokes, blank = [], style.measure(" ") + extra
    words, mark = [], None
    for word, own in [*line.words, ("", None)]:
        if own != mark and words:
            text = " ".join(words)
            strokes.append(style.at(x, y, text, mark, extra))
            x += style.measure(text, mark) + extra * (len(words) - 1) + blank
            words = []
        mark = own
        words.append(word)
    return strokes


def fitted(text: str, style: Style, room: float) -> str:
    """The words of a text that fit on one line, one at least."""
    words = text.split(" ")
    while len(words) > 1 and style.measure(" ".join(words)) > room:
        words.pop()
    return " ".join(words)
