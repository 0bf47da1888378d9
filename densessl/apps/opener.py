"""The process in which uploads are opened, and what it answers; `densessl.apps.worker` starts, asks and replaces it.

What strangers upload reaches no decoder but here and in the process of `densessl.data.pages`, which draws pages of
PDFs. A request is one message of JSON, [seconds, what, ...]; an answer is one, {"found": ...} or {"reason": ...}, a
short reason such as "it is truncated". Pixels come in memory that both processes share. A request that takes more than
`seconds` of processor time ends the process by SIGPROF, and one that wants more memory than it may have ends or is told
so, whatever the decoder is doing.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Iterable
from multiprocessing.connection import Connection

import cv2
import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from densessl.data import images
from densessl.data.images import TooLarge, UnreadableImage
from densessl.data.pages import tiff
from densessl.data.pages.renderer import READY, Canvas
from densessl.data.resize import resize

PDF_WITHIN = 1024  # bytes from the start in which a PDF says that it is one
LONGEST_REASON = 200
MOST_WRITTEN = 3_000_000_000  # bytes of a TIFF that is written anew, of the 4 GiB that one can have


def serve(shared: int, memory: int, pixels: int) -> None:
    """Answer requests from standard input on standard output until there are no more.

    shared: the number of an open file, whose memory gets the pixels. memory: bytes of address space. pixels: that a
    picture may declare.
    """
    requests, answers = Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # what libraries print goes elsewhere
    _limit(memory)
    cv2.setNumThreads(1)
    images.MAX_PIXELS = Image.MAX_IMAGE_PIXELS = pixels
    opener = Opener(Canvas(shared))
    answers.send_bytes(READY)
    while True:
        try:
            seconds, what, *about = json.loads(requests.recv_bytes())
        except (EOFError, OSError):  # whoever asked has ended
            return
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            answer = {"found": getattr(opener, what)(*about)}
        except UnreadableImage as error:
            answer = {"reason": str(error)[:LONGEST_REASON]}
        except MemoryError:
            answer = {"reason": "it needs more memory than uploads may have"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.send_bytes(json.dumps(answer).encode())


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
        scale = min(1.0, side / max(size))
        small = resize(image, *(max(1, round(each * scale)) for each in size))
        self._canvas.room(small.size)[: small.size] = np.ascontiguousarray(small).tobytes()
        return {"size": size, "shape": small.shape[:2]}

    def clean(self, path: str, target: str, most: int) -> dict:
        """{"path": of a file that holds its pictures, written anew, "frames": how many it had}.

        target: the path without its suffix; one picture becomes a PNG, several of a TIFF a TIFF, `most` at most. What
        it says of its resolution is kept, and nothing else beside pixels.
        """
        frames = tiff.count(path)
        if frames == 1:
            _check(path)
        dots = _dots(path)
        more = {"dpi": dots} if dots else {}
        if frames == 1:
            target += ".png"
            _frame(path, frames, 0).save(target, **more)
        else:
            target += ".tif"
            _write_tiff(target, (_frame(path, frames, number) for number in range(min(frames, most))), more)
        return {"path": target, "frames": frames}


def _frame(path: str, frames: int, number: int) -> Image.Image:
    """A picture, in grey where it has no colour: scans are so a third as large."""
    data = images.read_bytes(path) if frames == 1 else tiff.read_page(path, number)
    image = images.decode(data)
    red, green, blue = (image[:, :, channel] for channel in range(3))
    return Image.fromarray(red if np.array_equal(red, green) and np.array_equal(green, blue) else image)


def _write_tiff(target: str, pictures: Iterable[Image.Image], settings: dict) -> None:
    """A TIFF of these, of which one at a time is in memory: `save_all` of Pillow would hold them all."""
    size = 0
    with AppendingTiffWriter(target, new=True) as file:
        for picture in pictures:
            size += picture.width * picture.height * len(picture.getbands())
            if size > MOST_WRITTEN:
                raise TooLarge(f"its pages have more than {MOST_WRITTEN / 1e9:g} GB of pixels")
            picture.save(file, "TIFF", **settings)
            file.newFrame()


def _dots(path: str) -> tuple[float, float] | None:
    """Dots an inch in both directions, as the file says."""
    try:
        with Image.open(path, formats=images.FORMATS) as picture:
            dots = tuple(float(each) for each in picture.info.get("dpi", ()))
    except Exception:  # a picture that Pillow does not know, or says nonsense
        return None
    return dots if len(dots) == 2 and all(10 <= each <= 10_000 for each in dots) else None


def _check(path: str) -> None:
    """Refuse by the header what is too large to be decoded, which decoders themselves do too, but later."""
    height, width = images.read_size(path)
    if height * width > images.MAX_PIXELS:
        raise TooLarge(f"it is {width:,} x {height:,} pixels, more than the {images.MAX_PIXELS / 1e6:g} million taken")


def _limit(memory: int) -> None:
    """No core, and no more address space than this."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])
    for kind, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
