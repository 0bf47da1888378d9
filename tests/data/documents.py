"""PDFs written by hand, good ones and hostile ones, and what is asked of a source of them."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

SQUARE = b"100 100 200 300 re f"  # a black rectangle 200 wide and 300 high whose lower left corner is at (100, 100)
PAD = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")  # ISO 32000-1, 7.6.3.3


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(source) -> list[str]:
    return [source.name(index) for index in range(len(source))]


def values(source) -> list[int]:
    return [int(source.read(index)[0, 0, 0]) for index in range(len(source))]


def stream(data: bytes, keys: bytes = b"") -> bytes:
    return b"<<%b/Length %d>>\nstream\n%b\nendstream" % (keys, len(data), data)


def packed(data: bytes, keys: bytes = b"") -> bytes:
    return stream(zlib.compress(data, 9), b"/Filter/FlateDecode" + keys)


def file(*objects: bytes, trailer: bytes = b"") -> bytes:
    """A PDF of objects 1, 2, ..., the first of which is the catalog."""
    data, places = b"%PDF-1.7\n", []
    for number, each in enumerate(objects, start=1):
        places.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1)
    end = b"trailer\n<</Size %d/Root 1 0 R%b>>\nstartxref\n%d\n%%%%EOF\n" % (len(places) + 1, trailer, len(data))
    return data + head + table + end


def page(
    content: bytes = SQUARE,
    box: bytes = b"[0 0 600 800]",
    resources: bytes = b"",
    count: bytes = b"1",
    kids: bytes = b"[3 0 R]",
    more: tuple[bytes, ...] = (),
    trailer: bytes = b"",
) -> bytes:
    """A PDF of one page; `more` are objects 5, 6, ..."""
    return file(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %b/Kids%b>>" % (count, kids),
        b"<</Type/Page/Parent 2 0 R/MediaBox%b/Resources<<%b>>/Contents 4 0 R>>" % (box, resources),
        content if b"endstream" in content else stream(content),
        *more,
        trailer=trailer,
    )


def pages(greys: list[float], width: int = 60, height: int = 80) -> bytes:
    """A PDF of as many pages, each in one grey from 0 to 1."""
    kids = b" ".join(b"%d 0 R" % (3 + 2 * place) for place in range(len(greys)))
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count %d/Kids[%b]>>" % (len(greys), kids)]
    for place, grey in enumerate(greys):
        box = b"/MediaBox[0 0 %d %d]/Contents %d 0 R" % (width, height, 4 + 2 * place)
        paint = b"%.4f g 0 0 %d %d re f" % (grey, width, height)
        objects += [b"<</Type/Page/Parent 2 0 R/Resources<<>>%b>>" % box, stream(paint)]
    return file(*objects)


def form(content: bytes, number: int) -> bytes:
    """A form that draws what `content` says, with object `number` as /F."""
    return stream(content, b"/Type/XObject/Subtype/Form/BBox[0 0 600 800]/Resources<</XObject<</F %d 0 R>>>>" % number)


def encrypted(password: bytes) -> bytes:
    """A page under the standard security handler of 40 bits (7.6.3, algorithms 1 to 4), for one password."""
    owner = _rc4(hashlib.md5((password + PAD)[:32]).digest()[:5], (password + PAD)[:32])
    name, rights = b"0123456789abcdef", (-4).to_bytes(4, "little", signed=True)
    key = hashlib.md5((password + PAD)[:32] + owner + rights + name).digest()[:5]
    content = _rc4(hashlib.md5(key + bytes([4, 0, 0, 0, 0])).digest()[:10], SQUARE)
    handler = b"<</Filter/Standard/V 1/R 2/O<%b>/U<%b>/P -4>>"
    handler %= owner.hex().encode(), _rc4(key, PAD).hex().encode()
    return page(content, trailer=b"/Encrypt %b/ID[<%b><%b>]" % (handler, name.hex().encode(), name.hex().encode()))


def _rc4(key: bytes, data: bytes) -> bytes:
    box, j = list(range(256)), 0
    for i in range(256):
        j = (j + box[i] + key[i % len(key)]) % 256
        box[i], box[j] = box[j], box[i]
    result, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + box[i]) % 256
        box[i], box[j] = box[j], box[i]
        result.append(byte ^ box[(box[i] + box[j]) % 256])
    return bytes(result)


# Documents that are left out at opening, with the reason.
NOT_OPENED = {
    "empty": (b"", "it is empty"),
    "text": (b"this is text", "it is not a PDF"),
    "header": (b"%PDF-1.7\n", "it is damaged"),
    "no-pages": (file(b"<</Type/Catalog>>"), "it has no pages"),
    "zero-pages": (page(count=b"0", kids=b"[]"), "it has no pages"),
    "password": (encrypted(b"secret"), "it needs a password"),
    "tree-of-itself": (page(kids=b"[2 0 R]"), "none of the 1 pages that it claims is there"),
    "a-million": (page(count=b"1000000"), "it claims 1,000,000 pages, more than the 100,000"),
    "ten-to-the-sixth": (
        file(
            b"<</Type/Catalog/Pages 2 0 R>>",
            *(b"<</Type/Pages/Count 1000000/Kids[%b]>>" % (b"%d 0 R " % number * 10) for number in range(3, 9)),
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 60 80]>>",
        ),
        "pages, more than the 100,000",
    ),
}
# Odd ones whose page is shown, with the share of it that is black; of a box that is none PDFium makes 612 x 792 points.
SHOWN = {
    "no-password": (encrypted(b""), 0.125),
    "circular-kids": (page(kids=b"[2 0 R 3 0 R]", count=b"2"), 0.125),
    "claims-twelve": (page(count=b"12"), 0.125),
    "turned-box": (page(box=b"[600 800 0 0]"), 0.125),
    "box-of-nan": (page(box=b"[0 0 nan nan]"), 60_000 / (612 * 792)),
    "box-of-nothing": (page(box=b"[0 0]"), 60_000 / (612 * 792)),
    "two-hundred-inches": (page(b"0 0 7200 7200 re f", box=b"[0 0 14400 14400]"), 0.25),
    "form-in-itself": (page(SQUARE + b" /F Do", resources=b"/XObject<</F 5 0 R>>", more=(form(b"/F Do", 5),)), 0.125),
    "length-of-itself": (page().replace(b"/Length 20", b"/Length 4 0 R"), 0.125),
    "bomb": (page(packed(b" " * (50 << 20) + SQUARE)), 0.125),
    "many-objects": (
        page(packed(b"".join(b"%d %d 2 2 re f\n" % (x, y) for x in range(300) for y in range(400)))),
        301 * 401 / 480_000,
    ),
    "open-brackets": (page(SQUARE + b" [" * 100_000), 0.125),
}
# Documents whose page is unreadable, with the reason.
NOT_SHOWN = {
    "thread": (page(box=b"[0 0 14400 1]"), "14400 x 1 points, too narrow"),
    "speck": (page(box=b"[0 0 1 1]"), "1 x 1 points, too narrow"),
    "endless": (
        page(
            b"/Pattern cs /P scn 0 0 600 800 re f",
            resources=b"/Pattern<</P 5 0 R>>",
            more=(
                stream(
                    b"0 0 1 1 re f",
                    b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 2 2]/XStep .0001/YStep .0001"
                    b"/Resources<<>>",
                ),
            ),
        ),
        "PDFium takes more than",
    ),
    "billion-forms": (
        page(
            b"/F Do",
            resources=b"/XObject<</F 5 0 R>>",
            more=(*(form(b"/F Do " * 10, number) for number in range(6, 14)), form(SQUARE, 13)),
        ),
        "PDFium",
    ),
}
