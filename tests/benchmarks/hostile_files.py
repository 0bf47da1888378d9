"""Files with damage, the same for the same seed and number: PDFs, PNGs, JPEGs and TIFFs that were changed at random."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw
from reportlab.lib import colors, pdfencrypt
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import SimpleDocTemplate, Table, TableStyle

MOST = 4  # changes of a file
# Where parts of a file begin, by its suffix: chunks, segments, objects; of a TIFF words of its directories.
PARTS = {
    "pdf": rb"\d+ \d+ obj|endobj|stream|endstream|xref|trailer|<<|/[A-Z]\w+",
    "png": rb"....(?:IHDR|PLTE|IDAT|tRNS|iCCP|tEXt|IEND)",
    "jpg": rb"\xff[\xc0-\xfe]",
    "tif": rb"[\x00\x01][\x00-\x03][\x01-\x0d]\x00|II\*\x00",
}
# Numbers of a PDF and of binary headers that have hurt readers before.
NUMBERS = (
    b"-1",
    b"0",
    b"1",
    b"65535",
    b"65536",
    b"2147483647",
    b"4294967296",
    b"99999999999999999999",
    b"1e39",
    b"NaN",
)
BYTES = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00", b"\xf0\xff")


def hostile(seed: int, number: int) -> tuple[str, bytes]:
    """The suffix ("pdf", "png", "jpg", "tif") and the bytes of one file."""
    rng = np.random.default_rng([seed, number])
    made = originals()
    suffix = ("pdf", "png", "pdf", "jpg", "pdf", "tif")[number % 6]
    data = made[suffix][rng.integers(len(made[suffix]))]
    for _ in range(min(MOST, rng.geometric(0.6))):
        change = CHANGES[rng.integers(len(CHANGES))]
        data = change(data, suffix, rng) or data
    # A decoder sees a PNG's damage where its sums are right.
    return suffix, summed(data) if suffix == "png" and rng.random() < 0.7 else data


def summed(data: bytes) -> bytes:
    """A PNG with the right checksum after each chunk, as far as chunks can be told."""
    changed, at = bytearray(data), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        changed[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(changed)


def flip(data: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    """Some bits over, a few or many."""
    changed = np.frombuffer(data, np.uint8).copy()
    places = rng.integers(len(data), size=int(2 ** rng.uniform(0, 9)))
    np.bitwise_xor.at(changed, places, (1 << rng.integers(0, 8, places.size)).astype(np.uint8))
    return changed.tobytes()


def cut(data: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    """The end away, or a part of the middle."""
    begin, end = _range(data, rng)
    return data[:begin] if rng.random() < 0.5 else data[:begin] + data[end:]


def double(data: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    """A part twice or more."""
    begin, end = _range(data, rng)
    return data[:end] + data[begin:end] * int(rng.integers(1, 4)) + data[end:]


def zero(data: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    """A part all zeros, or all ones."""
    begin, end = _range(data, rng)
    return data[:begin] + (b"\x00" if rng.random() < 0.7 else b"\xff") * (end - begin) + data[end:]


def swap(data: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    """Two of the file's own parts in each other's place."""
    places = [each.start() for each in re.finditer(PARTS[suffix], data, re.DOTALL)] + [len(data)]
    if len(places) < 4:
        return data
    a, b = sorted(rng.choice(len(places) - 1, 2, replace=False))
    one, two = data[places[a] : places[a + 1]], data[places[b] : places[b + 1]]
    return data[: places[a]] + two + data[places[a + 1] : places[b]] + one + data[places[b + 1] :]


def number(data: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    """A number in a PDF, or bytes near the beginning of a part of another file, such as have hurt readers before."""
    if suffix == "pdf":
        found = list(re.finditer(rb"(?<=[\s/\[<(])-?\d+(\.\d+)?(?=[\s/\]>])", data))
        if not found:
            return data
        place = found[rng.integers(len(found))]
        return data[: place.start()] + NUMBERS[rng.integers(len(NUMBERS))] + data[place.end() :]
    found = list(re.finditer(PARTS[suffix], data, re.DOTALL))
    begin = (found[rng.integers(len(found))].start() if found else 0) + int(rng.integers(0, 16))
    put = BYTES[rng.integers(len(BYTES))]
    return data[:begin] + put + data[begin + len(put) :]


def repeat_reference(data: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    """A reference of a PDF to another object, which may be the one that it stands in, so that some go round."""
    found = list(re.finditer(rb"\b\d+ 0 R\b", data)) if suffix == "pdf" else []
    if not found:
        return data
    one, other = (found[each] for each in rng.integers(len(found), size=2))
    return data[: one.start()] + other.group() + data[one.end() :]


CHANGES: Sequence[Callable[[bytes, str, np.random.Generator], bytes]] = (
    flip,
    flip,
    cut,
    double,
    zero,
    swap,
    number,
    number,
    repeat_reference,
)


@cache
def originals() -> dict[str, list[bytes]]:
    """Files without damage, by suffix."""
    rng = np.random.default_rng(5)
    pictures = [_picture(rng, height, width) for height, width in ((90, 120), (200, 160), (64, 300))]
    grey, colour, wide = (Image.fromarray(each) for each in pictures)
    text = _page(rng)
    return {
        "pdf": [_mixed(colour), _mixed(colour, compress=False), _form(), _form(compress=False), _table(), _locked()],
        "png": [
            _saved(colour, "PNG"),
            _saved(grey.convert("L"), "PNG", optimize=True),
            _saved(wide.quantize(30), "PNG", transparency=3),
            _saved(text.convert("1"), "PNG"),
            _saved(Image.fromarray(rng.integers(0, 65535, (80, 90), np.uint16)), "PNG"),
        ],
        "jpg": [
            _saved(colour, "JPEG", quality=80),
            _saved(wide, "JPEG", progressive=True),
            _saved(grey.convert("CMYK"), "JPEG"),
            _saved(text.convert("L"), "JPEG", exif=_turned(), restart_marker_blocks=2),
        ],
        "tif": [
            _saved(text, "TIFF", save_all=True, append_images=[colour.copy(), grey.convert("L")], compression=each)
            for each in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
        ]
        + [
            _saved(
                text.convert("1"), "TIFF", save_all=True, append_images=[text.convert("1")] * 2, compression="group4"
            )
        ],
    }


def _range(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    """A part of the file, from a byte to most of it, short ones oftener."""
    length = min(len(data), int(len(data) ** rng.uniform(0, 1)) + 1)
    begin = int(rng.integers(0, len(data) - length + 1)) if data else 0
    return begin, begin + length


def _saved(picture: Image.Image, kind: str, **settings: object) -> bytes:
    data = io.BytesIO()
    picture.copy().save(data, kind, **settings)  # Pillow leaves settings of a kind on what it has saved
    return data.getvalue()


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    return exif.tobytes()


def _picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    base = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], 2)
    return np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8)


def _page(rng: np.random.Generator) -> Image.Image:
    """A small page of lines of text."""
    page = Image.new("RGB", (240, 320), "white")
    draw = ImageDraw.Draw(page)
    for line in range(20):
        draw.text((15, 12 + 15 * line), "".join(rng.choice(list("abcdefghi  "), 32)), fill="black")
    return page


def _mixed(picture: Image.Image, compress: bool = True) -> bytes:
    """Text, drawings, a picture, links and an outline on three pages."""
    data = io.BytesIO()
    canvas = Canvas(data, pagesize=(400, 500), pageCompression=compress, invariant=1)
    for page in range(3):
        canvas.bookmarkPage(f"p{page}")
        canvas.addOutlineEntry(f"Part {page}", f"p{page}", page % 2)
        canvas.setFont("Helvetica-Bold", 18)
        canvas.drawString(50, 450, f"Part {page} of this")
        canvas.setFont("Times-Roman", 10)
        for line in range(9):
            canvas.drawString(50, 420 - 13 * line, f"A line of text, the {line + 1}th, with words and 1,234 numbers.")
        canvas.drawImage(ImageReader(picture), 50, 90, 160, 200)
        canvas.linearGradient(250, 100, 350, 200, (colors.teal, colors.white))
        canvas.linkRect("", f"p{(page + 1) % 3}", (50, 440, 200, 470))
        canvas.showPage()
    canvas.save()
    return data.getvalue()


def _form(compress: bool = True) -> bytes:
    data = io.BytesIO()
    canvas = Canvas(data, pagesize=(400, 500), pageCompression=compress, invariant=1)
    canvas.drawString(50, 460, "Application for a permit")
    for row in range(6):
        canvas.drawString(50, 420 - 40 * row, f"Field {row + 1}")
        canvas.acroForm.textfield(name=f"f{row}", x=150, y=410 - 40 * row, width=180, height=22, value=f"value {row}")
        canvas.acroForm.checkbox(name=f"c{row}", x=350, y=410 - 40 * row, size=16, checked=row % 2 == 0)
    canvas.beginForm("stamp")
    canvas.circle(30, 30, 25)
    canvas.drawString(12, 27, "STAMP")
    canvas.endForm()
    canvas.translate(250, 60)
    canvas.doForm("stamp")
    canvas.save()
    return data.getvalue()


def _table() -> bytes:
    data = io.BytesIO()
    rows = [["Lake", "Depth m", "Area km2"], *([f"Lake {row}", f"{row * 7}.5", f"{row * row}"] for row in range(1, 14))]
    style = TableStyle([("GRID", (0, 0), (-1, -1), 0.6, colors.black), ("SPAN", (0, 3), (0, 4))])
    SimpleDocTemplate(data, pagesize=(400, 500), invariant=1).build([Table(rows, style=style)])
    return data.getvalue()


def _locked() -> bytes:
    """Encrypted, with an empty password for readers."""
    data = io.BytesIO()
    lock = pdfencrypt.StandardEncryption("", ownerPassword="owner", strength=128)
    canvas = Canvas(data, pagesize=(400, 500), encrypt=lock, invariant=1)
    canvas.drawString(50, 450, "Not for everyone, but readable")
    canvas.save()
    return data.getvalue()
