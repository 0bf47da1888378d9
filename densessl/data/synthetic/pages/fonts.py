"""Typefaces that every machine has: the PDF standard's own and those that matplotlib and reportlab bring.

No font of the system is used, so that a seed gives the same pages everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

LATIN = ("en", "de", "fr")  # languages whose letters the standard Type 1 fonts have
ALL = ("en", "de", "fr", "pl", "ru", "el")


@dataclass(frozen=True)
class Family:
    """Four styles of a typeface by their names in the PDF, and the languages they have letters for.

    dash, quote: whether they have — and “ ”; Computer Modern's TrueType files have not. scale: a size at which the
    letters look as large as those of Times; width: factor on the widths of the letters.
    """

    regular: str
    bold: str
    italic: str
    bold_italic: str
    languages: tuple[str, ...]
    serif: bool
    scale: float = 1.0
    width: float = 1.0
    plain: bool = False


FAMILIES = {
    "times": Family("Times-Roman", "Times-Bold", "Times-Italic", "Times-BoldItalic", LATIN, True),
    "helvetica": Family(
        "Helvetica", "Helvetica-Bold", "Helvetica-Oblique", "Helvetica-BoldOblique", LATIN, False, 0.93
    ),
    "courier": Family("Courier", "Courier-Bold", "Courier-Oblique", "Courier-BoldOblique", LATIN, True, 0.95),
    "stix": Family("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta", ALL, True),
    "dejavu": Family("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique", ALL, False, 0.84),
    "narrow": Family(
        "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique", ALL, False, 0.9, 0.82
    ),
    "serif": Family("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic", ALL, True, 0.86),
    "book": Family(
        "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic", ALL, True, 0.92, 0.84
    ),
    "mono": Family(
        "DejaVuSansMono",
        "DejaVuSansMono-Bold",
        "DejaVuSansMono-Oblique",
        "DejaVuSansMono-BoldOblique",
        ALL,
        False,
        0.84,
    ),
    "modern": Family("cmr10", "cmb10", "cmti10", "cmb10", ("en",), True, plain=True),
    "modernsans": Family("cmss10", "cmss10", "cmss10", "cmss10", ("en",), False, plain=True),
    "vera": Family("Vera", "VeraBd", "VeraIt", "VeraBI", LATIN, False, 0.84),
}
_PLAIN = str.maketrans({"—": "-", "–": "-", "“": '"', "”": '"', "„": '"', "’": "'", "•": "*", "\u00a0": ","})


@cache
def register() -> None:
    """Make the TrueType fonts known to reportlab, once a process."""
    import matplotlib
    import reportlab
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    ours = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    theirs = Path(reportlab.__file__).parent / "fonts"
    names = {name for family in FAMILIES.values() for name in _styles(family)}
    for name in sorted(names):
        place = next((folder / f"{name}.ttf" for folder in (ours, theirs) if (folder / f"{name}.ttf").is_file()), None)
        if place is not None:
            pdfmetrics.registerFont(TTFont(name, str(place)))


def _styles(family: Family) -> tuple[str, str, str, str]:
    return family.regular, family.bold, family.italic, family.bold_italic


def spell(family: Family, text: str) -> str:
    """The text in the characters that the family has."""
    return text.translate(_PLAIN) if family.plain else text


@lru_cache(maxsize=200_000)
def width(text: str, font: str) -> float:
    """The width of a text in ems."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    return stringWidth(text, font, 1.0)
