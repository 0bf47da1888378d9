"""Pages to PDF by reportlab and to pixels by pypdfium2: once as they look, once in a colour for each element."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from densessl.data.synthetic.pages import fonts
from densessl.data.synthetic.pages.page import Colour, Disc, Element, Page, Raster, Shape, Stroke, Words
from densessl.data.synthetic.pages.pictures import raster

Ink = Callable[[Element], Colour | None]  # the one colour of all of an element's strokes, None for their own


def to_pdf(pages: Sequence[Page], ink: Ink, title: str = "") -> bytes:
    """The pages as a PDF, the same bytes for the same pages; `ink` decides on the colours."""
    from reportlab.pdfgen.canvas import Canvas

    fonts.register()
    file = io.BytesIO()
    canvas = Canvas(file, pageCompression=int(ink is own_colours), invariant=1)
    if title:
        canvas.setTitle(title)
    with _binary():
        for page in pages:
            _draw(canvas, page, ink)
        canvas.save()
    return file.getvalue()


def _draw(canvas, page: Page, ink: Ink) -> None:
    canvas.setPageSize((page.width, page.height))
    for element in page.elements:
        flat = ink(element)
        for stroke in element.strokes:
            _STROKES[type(stroke)](canvas, page.height, stroke, flat)
    canvas.showPage()


@contextlib.contextmanager
def _binary() -> Iterator[None]:
    """No ASCII encoding over the streams, which is slow; reportlab has one setting for the process."""
    from reportlab import rl_config

    before, rl_config.useA85 = rl_config.useA85, 0
    try:
        yield
    finally:
        rl_config.useA85 = before


def own_colours(element: Element) -> None:
    """The ink of a page as it looks."""
    return None


def to_pixels(pdf: bytes, size: int) -> list[np.ndarray]:
    """Each page as uint8 RGB (H, W, 3), its longest side `size` pixels."""
    import pypdfium2

    images = []
    with pypdfium2.PdfDocument(pdf) as document:
        for page in document:
            scale = size / max(page.get_size())
            bitmap = page.render(scale=scale, rev_byteorder=True)
            images.append(bitmap.to_numpy()[..., :3].copy())
            bitmap.close()
            page.close()
    return images


def _words(canvas, height: float, words: Words, flat: Colour | None) -> None:
    if not words.text:
        return
    text = canvas.beginText()
    if words.angle:
        turn = np.deg2rad(words.angle)
        cosine, sine = float(np.cos(turn)), float(np.sin(turn))
        text.setTextTransform(cosine, sine, -sine, cosine, words.x, height - words.y)
    else:
        text.setTextOrigin(words.x, height - words.y)
    text.setFont(words.font, words.size)
    text.setFillColorRGB(*(flat or words.colour))
    if words.factor != 1:
        text.setHorizScale(100 * words.factor)
    if words.space:
        # Of the standard's operator a blank's width counts before the letters are made narrower.
        text.setWordSpace(words.space / words.factor)
    text.textOut(words.text)
    # Both outlive the text they are set in.
    if words.factor != 1:
        text.setHorizScale(100)
    if words.space:
        text.setWordSpace(0)
    canvas.drawText(text)


def _pens(canvas, stroke: Shape | Disc, flat: Colour | None) -> dict[str, int]:
    if stroke.fill is not None:
        canvas.setFillColorRGB(*(flat or stroke.fill))
    if stroke.pen is not None:
        canvas.setStrokeColorRGB(*(flat or stroke.pen))
        canvas.setLineWidth(stroke.thick)
    return {"fill": int(stroke.fill is not None), "stroke": int(stroke.pen is not None)}


def _shape(canvas, height: float, shape: Shape, flat: Colour | None) -> None:
    path = canvas.beginPath()
    (x, y), *others = shape.points
    path.moveTo(x, height - y)
    for x, y in others:
        path.lineTo(x, height - y)
    if shape.closed:
        path.close()
    if shape.dash:
        canvas.setDash(list(shape.dash))
    canvas.drawPath(path, **_pens(canvas, shape, flat))
    if shape.dash:
        canvas.setDash()


def _disc(canvas, height: float, disc: Disc, flat: Colour | None) -> None:
    marks = _pens(canvas, disc, flat)
    x, y, radius = disc.x, height - disc.y, disc.radius
    if disc.sweep >= 360:
        canvas.circle(x, y, radius, **marks)
    else:
        canvas.wedge(x - radius, y - radius, x + radius, y + radius, disc.start, disc.sweep, **marks)


def _raster(canvas, height: float, picture: Raster, flat: Colour | None) -> None:
    from reportlab.lib.utils import ImageReader

    image = raster(picture.source) if flat is None else _flat(flat)
    place = picture.x, height - picture.y - picture.height, picture.width, picture.height
    canvas.drawImage(ImageReader(image), *place)


def _flat(shade: Colour):
    from PIL import Image

    return Image.new("RGB", (8, 8), tuple(round(255 * part) for part in shade))


_STROKES: dict[type[Stroke], Callable] = {Words: _words, Shape: _shape, Disc: _disc, Raster: _raster}
