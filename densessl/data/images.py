"""From the bytes of a picture file to RGB, whatever the file holds.

Ordinary JPEG and PNG (8 bits, grey or RGB, no transparency) go through OpenCV, the quickest decoder at hand; what
OpenCV gets wrong goes through Pillow. On ordinary files the two give the same pixels (`tests/data/test_images.py`).

What becomes of
orientation: the EXIF tag is obeyed, so a picture comes out upright.
transparency: blended on white, in palettes as well.
16 bits: the smallest range of 8, 12 and 16 bits that holds the picture's brightest value becomes [0, 255], since
    microscopes store 12 bits in 16.
floats, 32-bit integers: values within [0, 1] are scaled by 255, those within [0, 255] taken as they are, and others
    stretched from their least to their greatest; NaN is black.
CMYK: converted without the colour profile; in a JPEG it is inverted, as Adobe writes it and every viewer takes it.
colour profiles: ignored, as by torchvision and OpenCV.
animations: the first frame.
truncated files: refused, never half grey. Bytes damaged midway can pass as a picture in part: JPEG has no checksum.
declared sizes: read from the header and refused above `MAX_PIXELS`, before memory is taken.
"""

from __future__ import annotations

import io
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 178_956_970  # where Pillow's own limit lies; half a gigabyte of RGB
MAX_BYTES = 1 << 31
LIKELY = (50.0, 1_200.0)  # pixels an inch that scanners have; programs write 1 or 65,535 where they mean nothing
# Not all that Pillow knows: EPS starts Ghostscript, and TGA, without a signature, claims text files.
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF", "ICO", "PCX", "SGI", "QOI")
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".tif", ".tiff", ".webp", ".bmp", ".dib", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".jpx", ".avif", ".ico", ".pcx", ".sgi", ".qoi"),
)
_JPEG, _JPEG_END, _JPEG_SCAN = b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xda"
_PNG = b"\x89PNG\r\n\x1a\n"
_EXIF_ORIENTATION = 0x0112
_TIFF_BITS, _TIFF_WIDTH, _TIFF_HEIGHT = 258, 256, 257


class UnreadableImage(Exception):
    """An image that cannot be read; its text is one short reason, such as "it is truncated"."""


class TooLarge(UnreadableImage):
    """One that declares more than `MAX_PIXELS`."""


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """The picture of a file, (H, W, 3) uint8 RGB; raises `UnreadableImage`."""
    return decode(read_bytes(path))


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """What the file holds; raises `UnreadableImage` for what is no readable file of at most `MAX_BYTES`."""
    with opened(path) as file:
        return file.read()


def read_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) of the upright picture of a file, of which the header alone is read; raises `UnreadableImage`."""
    with opened(path) as file:
        return size(file)


@contextmanager
def opened(path: str | os.PathLike[str], limit: int | None = None) -> Iterator[BinaryIO]:
    """A file to read from; raises `UnreadableImage` for what is none that can be read, or is larger than `limit` bytes.

    limit: `MAX_BYTES` unless given.
    """
    limit = MAX_BYTES if limit is None else limit
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):  # opening a named pipe would wait for ever
            raise UnreadableImage("it is a folder" if stat.S_ISDIR(about.st_mode) else "it is not a file")
        if about.st_size > limit:
            raise UnreadableImage(f"it is larger than {limit >> 30} GiB")
        with open(path, "rb") as file:
            yield file
    except (OSError, ValueError) as error:
        raise UnreadableImage((getattr(error, "strerror", None) or str(error)).lower()) from None


def decode(data: bytes) -> np.ndarray:
    """The picture in the bytes of a file, (H, W, 3) uint8 RGB, C-contiguous; raises `UnreadableImage`.

    A picture of a single pixel, such as web pages count visitors with, is refused too: it teaches nothing.
    """
    image = _decode(data)
    if image.shape[:2] == (1, 1):
        raise UnreadableImage("it is a single pixel")
    return image


def decode_values(data: bytes) -> np.ndarray:
    """The numbers of a file that is no photograph, (H, W) or (H, W, channels), in the type in which they are stored.

    For depth, normals and label maps: of a palette the indices, of 16 bits all; raises `UnreadableImage`.
    """
    if not data:
        raise UnreadableImage("it is empty")
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as picture:
            _check_pixels(*picture.size)
            if _has_deep_colour(picture, data) and picture.mode not in ("I", "I;16", "I;16B"):
                return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[:, :, 2::-1]
            values = np.array(picture)
            return values.astype(np.uint8) if values.dtype == bool else values
    except UnreadableImage:
        raise
    except Exception as error:  # decoders raise whatever the broken bytes lead them to
        raise _unreadable(data, error) from None


def resolution(data: bytes) -> float | None:
    """Pixels an inch that the file of a picture declares; None for nothing, nonsense, or pixels that are not square."""
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as picture:
            x, y = (float(each) for each in picture.info["dpi"])
    except Exception:  # decoders raise whatever broken bytes lead them to; pixels are read, and judged, elsewhere
        return None
    least, most = LIKELY
    return x if least <= x <= most and abs(x - y) <= 0.01 * x else None


def frame(data: bytes | BinaryIO) -> tuple[int, int, int]:
    """(height, width, orientation) of a picture as it is stored, by its header alone; `UnreadableImage` without one.

    data: of a file, or the file itself, of which no more than the header is read.
    orientation: 1 to 8, of EXIF; 5 to 8 turn the picture by a quarter.
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        with Image.open(file, formats=_formats()) as picture:
            orientation = picture.getexif().get(_EXIF_ORIENTATION)
            return picture.height, picture.width, orientation if orientation in range(1, 9) else 1
    except UnidentifiedImageError:  # a TIFF that only OpenCV knows, or nothing
        file.seek(0)
        return (*decode(file.read()).shape[:2], 1)
    except Exception as error:  # decoders raise whatever the broken bytes lead them to
        file.seek(0)
        raise _unreadable(file.read(len(_PNG)), error) from None


def size(data: bytes | BinaryIO) -> tuple[int, int]:
    """(height, width) of the upright picture, by `frame`."""
    height, width, orientation = frame(data)
    return (width, height) if orientation >= 5 else (height, width)


def encode(image: np.ndarray) -> bytes:
    """A picture (H, W, 3) uint8 RGB as a PNG file, for sources that make theirs."""
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an image (H, W, C) as its EXIF orientation, 1 to 8, asks."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _decode(data: bytes) -> np.ndarray:
    if not data:
        raise UnreadableImage("it is empty")
    if _is_ordinary_jpeg(data) or _is_ordinary_png(data):
        image = _opencv(data, cv2.IMREAD_COLOR)
        if image is not None:
            return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    try:
        return np.ascontiguousarray(_pillow(data))
    except UnreadableImage:
        raise
    except Exception as error:  # decoders raise whatever the broken bytes lead them to
        raise _unreadable(data, error) from None


def _is_ordinary_jpeg(data: bytes) -> bool:
    """Whether OpenCV reads it right: whole, of 1 or 3 components. Raises `UnreadableImage` where the size is a bomb."""
    if not data.startswith(_JPEG):
        return False
    frame = _jpeg_frame(data)
    if frame is None:
        return False
    height, width, components = frame
    _check_pixels(width, height)
    # OpenCV before 5 fills what is missing with grey. A thumbnail has an end of its own, but before the last scan.
    whole = data.endswith(_JPEG_END) or data.rfind(_JPEG_END) > data.rfind(_JPEG_SCAN)
    return whole and components in (1, 3)


def _jpeg_frame(data: bytes) -> tuple[int, int, int] | None:
    """(height, width, components) as the frame header (SOF, ITU-T T.81 B.2.2) declares them; None without one."""
    position = 2
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width, components = struct.unpack_from(">HHB", data, position + 5)
            return height, width, components
        if marker == 0xDA:
            return None
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    return None


def _is_ordinary_png(data: bytes) -> bool:
    """Whether OpenCV reads it right: 8 bits, grey or RGB, opaque, upright, one frame. Raises `UnreadableImage`
    where the size is a bomb."""
    if not data.startswith(_PNG) or data[12:16] != b"IHDR" or len(data) < 33:
        return False
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    _check_pixels(width, height)
    if depth != 8 or colour not in (0, 2) or not data.endswith(b"IEND\xaeB`\x82"):
        return False
    before_pixels = data[: data.find(b"IDAT")]
    return not any(chunk in before_pixels for chunk in (b"tRNS", b"eXIf", b"acTL"))


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise TooLarge(f"it declares {width} x {height} pixels, more than the {MAX_PIXELS:,} that are read")


def _opencv(data: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _pillow(data: bytes) -> np.ndarray:
    try:
        picture = Image.open(io.BytesIO(data), formats=_formats())
    except UnidentifiedImageError:
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _deep_tiff(data)
        raise
    with picture:
        _check_pixels(*picture.size)
        if _has_deep_colour(picture, data):
            orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
            return upright(_deep(data), orientation)
        picture = ImageOps.exif_transpose(picture)
        if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
            return _three(_to_8_bits(np.asarray(picture)))
        return np.array(_opaque(picture))


def _unreadable(data: bytes, error: Exception) -> UnreadableImage:
    """What a decoder's error becomes."""
    kind = TooLarge if isinstance(error, Image.DecompressionBombError) else UnreadableImage
    return kind(_reason(data, error))


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _opaque(picture: Image.Image) -> Image.Image:
    """The picture in RGB, blended on white where it is transparent."""
    if "A" not in picture.mode.upper() and "transparency" not in picture.info:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _has_deep_colour(picture: Image.Image, data: bytes) -> bool:
    """Whether Pillow would keep 8 bits of more: a 16-bit PNG, or a 16-bit TIFF in several channels."""
    if picture.format == "PNG":
        return data[24] == 16
    bits = picture.tag_v2.get(_TIFF_BITS, (1,)) if picture.format == "TIFF" else (8,)
    return len(bits) > 1 and max(bits) > 8


def _deep_tiff(data: bytes) -> np.ndarray:
    """A TIFF that Pillow does not know, such as RGB in floats."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    directory = ImageFileDirectory_v2(data[:8])
    file = io.BytesIO(data)
    file.seek(directory.next)
    directory.load(file)
    _check_pixels(directory[_TIFF_WIDTH], directory[_TIFF_HEIGHT])
    return upright(_deep(data), directory.get(0x0112, 1))


def _deep(data: bytes) -> np.ndarray:
    """A picture of more than 8 bits a channel by way of OpenCV, blended on white where it is transparent."""
    image = _opencv(data, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise UnreadableImage("it is damaged")
    if image.ndim == 2 or image.shape[2] == 1:
        return _three(_to_8_bits(image.reshape(image.shape[:2])))
    colours = _to_8_bits(image[:, :, :3])[:, :, ::-1]
    if image.shape[2] < 4:
        return colours
    top = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    alpha = image[:, :, 3:].astype(np.float32) / top
    return (alpha * colours + (1 - alpha) * 255).round().astype(np.uint8)


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Integers or floats of any range -> uint8, as the module's docstring says."""
    if values.dtype == np.uint8:
        return values
    top = float(np.nanmax(values, initial=0))
    low = float(np.nanmin(values, initial=0))
    if values.dtype.kind in "ui" and low >= 0 and top < 1 << 16:
        bits = next(bits for bits in (8, 12, 16) if top < 1 << bits)
        return cv2.convertScaleAbs(values.astype(np.uint16), alpha=255 / ((1 << bits) - 1))
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, top = float(values.min()), float(values.max())
    if low >= 0 and top <= 255:
        scale = 255.0 if top <= 1 else 1.0
        return (values * scale).round().astype(np.uint8)
    return ((values - low) * (255 / (top - low or 1))).round().astype(np.uint8)


def _three(grey: np.ndarray) -> np.ndarray:
    """(H, W) -> (H, W, 3)."""
    return cv2.cvtColor(np.ascontiguousarray(grey), cv2.COLOR_GRAY2RGB)


def _reason(data: bytes, error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"it declares more than the {MAX_PIXELS:,} pixels that are read"
    if isinstance(error, MemoryError):
        return "it does not fit the memory"
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return "it is truncated"
    if data.startswith((_JPEG, _PNG)):
        return "it is damaged"
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image of a known format"
    return "it is damaged"
