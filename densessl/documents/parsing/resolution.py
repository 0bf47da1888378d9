"""How many pixels an inch of a page has."""

from __future__ import annotations

import io
import math

from PIL import Image

from densessl.data.images import FORMATS
from densessl.data.sources import Source

PLAIN = 72.0  # at which a pixel is a point
LIKELY = (50.0, 1_200.0)  # what scanners do; programs write 1 or 65,535 where they mean nothing


def resolution(source: Source, index: int) -> tuple[float, bool]:
    """Pixels an inch of an image of a source, and whether it says so; else a pixel is a point.

    Raises `UnreadableImage`.
    """
    dpi = source.dpi(index)
    if dpi is not None:
        return dpi, True
    dpi = declared(source.read_bytes(index))
    return (PLAIN, False) if dpi is None else (dpi, True)


def declared(data: bytes) -> float | None:
    """What the file of a picture says; None where it says nothing, nonsense, or that pixels are not square."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            x, y = (float(each) for each in picture.info["dpi"])
    except Exception:  # decoders raise whatever broken bytes lead them to; pixels are read, and judged, elsewhere
        return None
    least, most = LIKELY
    if not (math.isfinite(x) and least <= x <= most and math.isclose(x, y, rel_tol=0.01)):
        return None
    return x
