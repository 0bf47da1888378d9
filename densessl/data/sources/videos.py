"""Frames of video files, and which frames of a source follow each other."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import cv2
import numpy as np

from densessl.data.images import UnreadableImage
from densessl.data.sources.base import Source, checked, digest, state_of
from densessl.data.sources.subset import Subset
from densessl.errors import UserError

SUFFIXES = (".mp4", ".m4v", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv")
SKIPPED = 32  # frames up to which decoding on is quicker than looking for the next key frame


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
        self._names = [name for name, count in counts.items() if count]
        if not self._names:
            raise UserError(f"OpenCV can read no frame of {', '.join(names[:3])}: give another video, or its frames.")
        if broken:
            some = f"{', '.join(broken[:3])}{' and others' if len(broken) > 3 else ''}"
            self.notes.append(f"{len(broken)} of {len(names)} videos cannot be read and are left out: {some}.")
        self._starts = np.cumsum([0, *(counts[name] for name in self._names)])
        self._open: tuple[int, str, cv2.VideoCapture, int] | None = None

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": None}

    def read(self, index: int) -> np.ndarray:
        video, frame = self._place(index)
        capture = self._at(self._names[video], frame)
        found, image = capture.read()
        if not found:
            self._open = None
            raise UnreadableImage(f"the video ends before frame {frame}")
        self._open = (os.getpid(), self._names[video], capture, frame + 1)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def read_bytes(self, index: int) -> bytes:
        return cv2.imencode(".png", self.read(index)[:, :, ::-1])[1].tobytes()

    def name(self, index: int) -> str:
        video, frame = self._place(index)
        return f"{self._names[video]}/{frame:06}.png"

    def label(self, index: int) -> int | None:
        checked(index, len(self))
        return None

    def fingerprint(self) -> str:
        return digest(part for name in self._names for part in (name, state_of(os.path.join(self.root, name))))

    def _place(self, index: int) -> tuple[int, int]:
        index = checked(index, len(self))
        video = int(np.searchsorted(self._starts, index, side="right")) - 1
        return video, index - int(self._starts[video])

    def _at(self, name: str, frame: int) -> cv2.VideoCapture:
        """An open file whose next frame is this one; it is kept, since neighbours are asked for one after another."""
        process, opened, capture, position = self._open or (0, "", None, 0)
        # A process that was forked would share the file's position with its parent.
        if (process, opened) != (os.getpid(), name):
            capture, position = cv2.VideoCapture(os.path.join(self.root, name)), 0
        ahead = frame - position
        if 0 <= ahead <= SKIPPED:
            for _ in range(ahead):
                capture.grab()
        else:
            capture.set(cv2.CAP_PROP_POS_FRAMES, frame)
        return capture


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
