"""Text in one piece from lines, and what its first characters say: markers of list items, numbers of headings.

Hyphens at line ends. The last word before the hyphen and the first of the next line make one word, and the hyphen goes,
unless something says that it is a real one. In this order: a soft hyphen (U+00AD) always goes; what follows begins with
no small letter (Jean-Paul, 2019-2021): it stays; what follows is "and" or its like (pre- and postwar): it stays, and so
does the space; the left part has a hyphen already (state-of-the-art) or is of an address (http://...): it stays; the
page has the word elsewhere, with a hyphen or in one piece: as there; the left part is one of `KEPT`, which seldom stand
undivided (self-supervised): it stays.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from densessl.documents.parsing.model import Line

DIGITS = 9
HYPHENS = "-\u2010\u2011"
SOFT = "\u00ad"
DASHES = "\u2013\u2014"
KEPT = {"all", "cross", "e", "ex", "half", "high", "large", "long", "low", "multi", "non", "pseudo", "quasi", "self"}
KEPT |= {"semi", "short", "small", "so", "well"}
AND = {"and", "bzw", "e", "en", "et", "o", "oder", "of", "or", "ou", "und", "y"}
DASHLIKE = "*·–—->›»→\ufffd"  # which text can begin with too; the last is a sign that its font does not name
BOXES = "☐☑☒"  # to be ticked; the others are
BULLETS = f"•◦▪▫‣⁃●○■□◻◆◇▶►➢➤✓✔❖∙{BOXES}\uf0b7\uf0a7{DASHLIKE}"
PROMPT = ">"  # behind which a command may stand rather than an item
CODE = frozenset("{}()[]<>=;#$\\&|*_@^~+%")
SIGNED = 0.04  # of its letters are such signs, at least
ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}
_ROMAN = re.compile(r"c{0,3}(xc|xl|l?x{0,3})(ix|iv|v?i{0,3})")
_COUNTED = r"\d{1,3}|[a-z]|[A-Z]|[ivxl]{1,5}|[IVXL]{1,5}"
_MARKER = re.compile(rf"(?:[{re.escape(BULLETS)}]|(?:\((?:{_COUNTED})\)|\[\d{{1,3}}\]|(?:{_COUNTED})[.)]))(?=\s|$)")
_NUMBER = re.compile(
    r"(?:(?:chapter|part|section|appendix|kapitel|teil|abschnitt|anhang|chapitre|partie|annexe|capítulo|capitolo)\s+)?"
    r"((?:\d{1,3}|[A-Z](?=\.\d))(?:\.\d{1,3})*)[.):]?(?=\s|$)",
    re.IGNORECASE,
)


def joined(lines: Sequence[Line], known: Collection[str] = ()) -> str:
    """The text of lines in reading order. known: words of the page in small letters, from `vocabulary`."""
    text = ""
    for line in lines:
        text = _with(text, " ".join(word.text for word in line.words).strip(), known)
    return text.replace(SOFT, "")


def vocabulary(lines: Iterable[Line]) -> set[str]:
    """Words that lines have before their ends, without the punctuation around them, in small letters."""
    return {word.text.strip(".,;:!?()[]\"'“”„«»").lower() for line in lines for word in line.words[:-1]}


def is_marker(text: str) -> bool:
    """Whether the text is nothing but what a list item begins with: "•", "2.", "(a)", "iv)", "[12]"."""
    found = _MARKER.match(text.strip())
    return bool(found) and found.end() == len(text.strip())


def marker_of(text: str) -> str | None:
    """What a list item that begins with this text is marked with, None for nothing."""
    found = _MARKER.match(text)
    if found and found.group() == PROMPT and _is_code(text[found.end() :]):
        return None
    return found.group() if found else None


def _is_code(text: str) -> bool:
    return sum(letter in CODE for letter in text) >= SIGNED * len(text)


def number_of(text: str) -> str | None:
    """The number of a heading: "1.2" of "1.2 Method", "B.1" of "B.1 Proofs", "3" of "Chapter 3"."""
    found = _NUMBER.match(text)
    return found.group(1) if found else None


def counted(number: str) -> int | None:
    """What "12" or "xii" says, None of what is neither, and of more digits than anything counts with."""
    if number.isdecimal():
        return int(number) if len(number) <= DIGITS else None
    if not number or not _ROMAN.fullmatch(number.lower()):
        return None
    values = [ROMAN[letter] for letter in number.lower()] + [0]
    return sum(-value if value < following else value for value, following in zip(values, values[1:], strict=False))


def is_cjk(letter: str) -> bool:
    """Whether this is a letter of a script without spaces between words: Chinese, Japanese."""
    return bool(letter) and (
        0x2E80 <= ord(letter) <= 0x9FFF or 0xF900 <= ord(letter) <= 0xFAFF or ord(letter) >= 0x20000
    )


def _with(text: str, more: str, known: Collection[str]) -> str:
    if not text or not more:
        return text or more
    if text.endswith(SOFT):
        return text[:-1] + more
    left, first = text.rsplit(None, 1)[-1], more.split(None, 1)[0]
    if is_cjk(text[-1]) and is_cjk(more[0]):
        return text + more
    if text[-1] in DASHES and len(left) > 1:
        return text + more
    if text[-1] in "/_?&=" and "://" in left:
        return text + more
    if text[-1] not in HYPHENS or len(left) < 2 or not left[-2].isalnum():
        return f"{text} {more}"
    if first.lower().rstrip(".,;:") in AND:
        return f"{text} {more}"
    return text + more if _real(left, first, known) else text[:-1] + more


def _real(left: str, first: str, known: Collection[str]) -> bool:
    """Whether the hyphen that `left` ends with belongs to the word that `first` goes on with."""
    stem, rest = left[:-1].lstrip("([\"'“„«").lower(), first.rstrip(".,;:!?)]\"'”“»").lower()
    if not first[0].islower() or any(hyphen in stem for hyphen in HYPHENS) or "://" in stem or not stem[-1].isalpha():
        return True
    if f"{stem}-{rest}" in known:
        return True
    return stem + rest not in known and stem in KEPT
