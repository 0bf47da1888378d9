"""Frames of video files, and which frames of a source follow each other."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

import cv2
import numpy as np

from densessl.data.images import UnreadableImage, encode
from densessl.data.sources.base import Source, checked, digest, state_of
from densessl.data.sources.subset import Subset
from densessl.errors import UserError

SUFFIXES = (".mp4", ".m4v", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv")
SKIPPED = 32  # frames up to which decoding on is quicker than looking for the next key frame
DAMAGED = 32  # frames in a row that cannot be decoded before a video is taken to be over
UNREADABLE = "OpenCV can read no frame of it"
CUT = ", since it is cut short, and what was at its end says where its frames are"
RATE = 25.0  # frames a second of a video that does not say
# What is wrong with a video is said in sentences of ours. OpenCV looks at this when it opens its first one.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def _cut(path: str) -> bool:
    """Whether an MP4 or MOV file ends within one of its boxes or before the index, `moov` (ISO/IEC 14496-12)."""
    size, place, found = os.path.getsize(path), 0, []
    with open(path, "rb") as file:
        while place + 8 <= size:
            file.seek(place)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:  # it stands behind the name, in 8 bytes
                length = int.from_bytes(head[8:16], "big")
            found.append(head[4:8])
            if found[0] != b"ftyp" or 0 < length < 8:
                return False
            place = size if length == 0 else place + length
    return bool(found) and (place != size or b"moov" not in found)


class Videos(Source):
    """Every frame of video files below a folder, named VIDEO/FRAME.png.

    names: posix paths relative to root. Files that cannot be opened are left out, and `notes` says so; a file that
    ends before the count of frames in its header has unreadable frames.
    Raises `UserError` when none can be opened.
    """

    def __init__(self, root: str, names: Sequence[str]) -> None:
        self.root, self.notes = root, []
        counts = {name: _count(os.path.join(root, name)) for name in names}
        broken = [name for name, count in counts.items() if not count]
        self.broken = {name: UNREADABLE + (CUT if _cut(os.path.join(root, name)) else "") for name in broken}
        self.videos = [name for name, count in counts.items() if count]
        if not self.videos:
            cut = f"{CUT}: copy it again, or" if CUT in self.broken[names[0]] and len(names) == 1 else ":"
            raise UserError(
                f"OpenCV can read no frame of {', '.join(names[:3])}{cut} give another video, or its frames."
            )
        if self.broken:
            some = f"{', '.join(list(self.broken)[:3])}{' and others' if len(self.broken) > 3 else ''}"
            self.notes.append(f"{len(self.broken)} of {len(names)} videos cannot be read and are left out: {some}.")
        self.starts = np.cumsum([0, *(counts[name] for name in self.videos)])
        self._frames = Frames()
        self._sizes: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return int(self.starts[-1])

    def read(self, index: int) -> np.ndarray:
        video, frame = self._place(index)
        return self._frames.read(os.path.join(self.root, self.videos[video]), frame)

    def read_bytes(self, index: int) -> bytes:
        return encode(self.read(index))

    def size(self, index: int) -> tuple[int, int]:
        """Of the first frame of its video."""
        video, _ = self._place(index)
        if video not in self._sizes:
            self._sizes[video] = self.read(int(self.starts[video])).shape[:2]
        return self._sizes[video]

    def name(self, index: int) -> str:
        video, frame = self._place(index)
        return f"{self.videos[video]}/{frame:06}.png"

    def label(self, index: int) -> int | None:
        checked(index, len(self))
        return None

    def fingerprint(self) -> str:
        return digest(part for name in self.videos for part in (name, state_of(os.path.join(self.root, name))))

    def _place(self, index: int) -> tuple[int, int]:
        index = checked(index, len(self))
        video = int(np.searchsorted(self.starts, index, side="right")) - 1
        return video, index - int(self.starts[video])


class Frames:
    """Frames of video files by their number. The last file stays open, since neighbours are asked for in a row."""

    def __init__(self) -> None:
        self._open: tuple[int, str, cv2.VideoCapture, int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_open": None}

    def read(self, path: str, frame: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB; raises `UnreadableImage` where the video ends before."""
        capture = self._at(path, frame)
        there = next((True for _ in _decoded(capture)), False)
        found, image = capture.retrieve() if there else (False, None)
        if not found:
            self._open = None
            raise UnreadableImage(f"the video ends before frame {frame}")
        self._open = (os.getpid(), path, capture, frame + 1)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def _at(self, path: str, frame: int) -> cv2.VideoCapture:
        """An open file whose next frame is this one."""
        process, opened, capture, position = self._open or (0, "", None, 0)
        # A process that was forked would share the file's position with its parent.
        if (process, opened) != (os.getpid(), path):
            capture, position = cv2.VideoCapture(path), 0
        if not 0 <= frame - position <= SKIPPED:
            # OpenCV looks for no frame beyond those of the header, which may tell of too few.
            position = max(0, min(frame, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) - 1))
            capture.set(cv2.CAP_PROP_POS_FRAMES, position)
        for _ in islice(_decoded(capture), frame - position):
            pass
        return capture


@dataclass(frozen=True)
class Length:
    """frames: of a video that can be decoded. told: by its header, 0 where it tells none. rate: of frames a second."""

    frames: int
    told: int
    rate: float


def measure(path: str, advance: Callable[[int], None] = lambda frames: None) -> Length:
    """Decode a video once to count its frames, since headers are often wrong, and files cut short.

    The rate is the header's unless the times of the frames contradict it, as in a video of a varying rate.
    advance: called with the number of frames so far.
    """
    capture, frames, last = cv2.VideoCapture(path), 0, 0.0
    for _ in _decoded(capture):
        frames += 1
        last = capture.get(cv2.CAP_PROP_POS_MSEC)
        advance(frames)
    told, rate = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
    true = (frames - 1) * 1000 / last if frames > 1 and last > 0 else rate
    if not (math.isfinite(rate) and 0.95 < rate / (true or 1) < 1.05):
        rate = true
    return Length(frames, max(0, told), rate if math.isfinite(rate) and 0 < rate <= 1000 else RATE)


def frames_of(path: str, start: int = 0, step: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """The frames of a video one after another, each with its number: (H, W, 3) uint8 RGB.

    start: the first that is wanted. step: of these every so manieth, those whose number it divides. Frames that cannot
    be decoded are passed over, and count as none, here as in `measure`.
    """
    capture = cv2.VideoCapture(path)
    for number, _ in enumerate(_decoded(capture)):
        if number < start or number % step:
            continue
        found, image = capture.retrieve()
        if found:
            yield number, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _decoded(capture: cv2.VideoCapture) -> Iterator[None]:
    """Go from frame to frame, past those that cannot be decoded, to the end."""
    failed = 0
    while failed <= DAMAGED:
        if capture.grab():
            failed = 0
            yield
        else:
            failed += 1


class Clips:
    """Which images of a source are frames of one video: those of one folder, in order of their names, 2 before 10.

    order: the source's indices, video after video. place, clip: of each index, its place in `order` and its video.
    starts: of each video in `order`, with the end of the last.

    Raises `UserError` for some of the frames of a source, since those between them would be missing.
    """

    def __init__(self, source: Source) -> None:
        if isinstance(source, Subset):
            raise UserError("limit= would take frames out of the midst of their videos: leave it out.")
        names = [source.name(index) for index in range(len(source))]
        folders = [str(PurePosixPath(name).parent) for name in names]
        self.order = np.array(
            sorted(range(len(names)), key=lambda index: (folders[index], _counted(names[index]))), np.int64
        )
        self.place = np.empty(len(names), np.int64)
        self.place[self.order] = np.arange(len(names))
        known, clip = np.unique(folders, return_inverse=True)
        self.clip, self.names = clip.astype(np.int64), [str(name) for name in known]
        self.starts = np.searchsorted(self.clip[self.order], np.arange(len(known) + 1))

    def title(self, index: int) -> str:
        """What the video of an image is called, for sentences."""
        name = self.names[self.clip[index]]
        return "the video that the folder's own frames are" if name == "." else f"the video {name}"

    def has(self, before: int, after: int) -> np.ndarray:
        """(size,) bool: whether so many frames lie before and after each index in its video."""
        into = self.place - self.starts[self.clip]
        left = self.starts[self.clip + 1] - 1 - self.place
        return (into >= before) & (left >= after)

    def at(self, index: int, offset: int) -> int:
        """The index of the frame so many after this one."""
        return int(self.order[self.place[index] + offset])


def _counted(name: str) -> list[tuple[int, str]]:
    """A key by which runs of digits are compared as the numbers they are."""
    return [(int(part), part) if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def is_video(name: str) -> bool:
    """Whether the suffix of a file's name is one of a video."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _count(path: str) -> int:
    """Frames of a file as its header says, or else as counted; 0 where none can be read."""
    capture = cv2.VideoCapture(path)
    if not capture.isOpened() or not capture.grab():
        return 0
    told = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if told > 0:
        return told
    count = 1
    while capture.grab():
        count += 1
    return count
