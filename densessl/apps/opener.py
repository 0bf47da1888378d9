"""The process in which uploads are opened, and what it answers; `densessl.apps.worker` starts, asks and replaces it.

What strangers upload reaches no decoder but here and in the process of `densessl.data.pages`, which draws pages of
PDFs. How it is asked, and ended where an upload takes too long, stands in `densessl.data.isolated.serving`; one that
wants more memory than it may have is told so, or ends it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import cv2
import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from densessl.data import images
from densessl.data.images import TooLarge, UnreadableImage
from densessl.data.isolated import serving
from densessl.data.isolated.serving import Canvas, limit
from densessl.data.pages import tiff
from densessl.data.resize import within

PDF_WITHIN = 1024  # bytes from the start in which a PDF says that it is one
LONGEST_REASON = 200


def serve(shared: int, memory: int, pixels: int) -> None:
    """Answer requests until there are no more.

    shared: the number of an open file, whose memory gets the pixels. memory: bytes of address space. pixels: that a
    picture may declare.
    """
    limit(memory)
    cv2.setNumThreads(1)
    images.MAX_PIXELS = Image.MAX_IMAGE_PIXELS = pixels
    serving.serve(lambda: Opener(Canvas(shared)), _reason)


def _reason(error: Exception) -> str | None:
    if isinstance(error, UnreadableImage):
        return str(error)[:LONGEST_REASON]
    return "it needs more memory than uploads may have" if isinstance(error, MemoryError) else None


class Opener:
    """What can be asked; each raises `UnreadableImage`."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas

    def kind(self, path: str, limit: int) -> str:
        """ "pdf", or "picture" for what may be one; nothing is decoded. limit: bytes of the file."""
        if not os.path.getsize(path):
            raise UnreadableImage("it is empty")
        if os.path.getsize(path) > limit:
            raise TooLarge(f"it is larger than the {limit / 1e6:g} MB that are taken")
        with images.opened(path) as file:
            return "pdf" if b"%PDF-" in file.read(PDF_WITHIN) else "picture"

    def read(self, path: str, side: int) -> dict:
        """{"size": (height, width) of the picture as it is, "shape": that of the pixels}, no side longer than this."""
        _check(path)
        image = images.read_image(path)
        size = image.shape[:2]
        small = within(image, side)
        self._canvas.room(small.size)[: small.size] = np.ascontiguousarray(small).tobytes()
        return {"size": size, "shape": small.shape[:2]}

    def clean(self, path: str, target: str, most: int, room: int) -> dict:
        """{"path": of a file that holds its pictures, written anew, "frames": how many it had}.

        target: the path without its suffix; one picture becomes a PNG, several of a TIFF a TIFF, `most` at most. What
        it says of its resolution is kept, and nothing else beside pixels. room: bytes of pixels that it may have.
        """
        frames = tiff.count(path)
        if frames == 1:
            _check(path)
        dpi = images.resolution(images.read_bytes(path))
        more = {} if dpi is None else {"dpi": (dpi, dpi)}
        if frames == 1:
            target += ".png"
            _frame(path, frames, 0).save(target, **more)
        else:
            target += ".tif"
            _write_tiff(target, (_frame(path, frames, number) for number in range(min(frames, most))), more, room)
        return {"path": target, "frames": frames}


def _frame(path: str, frames: int, number: int) -> Image.Image:
    """A picture, in grey where it has no colour: scans are so a third as large."""
    data = images.read_bytes(path) if frames == 1 else tiff.read_page(path, number)
    image = images.decode(data)
    red, green, blue = (image[:, :, channel] for channel in range(3))
    return Image.fromarray(red if np.array_equal(red, green) and np.array_equal(green, blue) else image)


def _write_tiff(target: str, pictures: Iterable[Image.Image], settings: dict, room: int) -> None:
    """A TIFF of these, of which one at a time is in memory: `save_all` of Pillow would hold them all."""
    size = 0
    with AppendingTiffWriter(target, new=True) as file:
        for picture in pictures:
            size += picture.width * picture.height * len(picture.getbands())
            if size > room:
                raise TooLarge(f"its pages have more than {room / 1e9:.3g} GB of pixels, for which there is no room")
            picture.save(file, "TIFF", **settings)
            file.newFrame()


def _check(path: str) -> None:
    """Refuse by the header what is too large to be decoded, which decoders themselves do too, but later."""
    height, width = images.read_size(path)
    if height * width > images.MAX_PIXELS:
        raise TooLarge(f"it is {width:,} x {height:,} pixels, more than the {images.MAX_PIXELS / 1e6:g} million taken")
