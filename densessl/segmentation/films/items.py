"""Pictures and films to be segmented: the frames of a film are pictures in a row, and have their masks in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import PurePosixPath

import numpy as np
import torch

from densessl.data.sources import Source, Subset
from densessl.data.sources.base import Concatenated, checked, digest, state_of
from densessl.data.sources.videos import Frames, Length, Videos, frames_of, measure
from densessl.files import stems
from densessl.progress import Report

FEWEST = 64  # frames of a film that are learned from, where it has so many; beyond it, one a second
TOLD_ABOUT = 0.02  # share of its frames by which the header of a film may be wrong without being worth a sentence


@dataclass(frozen=True)
class Film:
    """A video file of which every so manieth frame gets a mask.

    name: in the source. stem: of the folder of its masks. first: the number of its first frame among all `Items`.
    """

    path: str
    name: str
    stem: str
    first: int
    length: Length
    every: int

    def __len__(self) -> int:
        """How many frames get masks."""
        return -(-self.length.frames // self.every)

    @property
    def numbers(self) -> range:
        """Of those frames among all `Items`."""
        return range(self.first, self.first + len(self))

    @property
    def rate(self) -> float:
        """Of those frames, per second."""
        return self.length.rate / self.every

    def frames(self, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """The frames that get masks, from the one of this number in `Items` on: that number, and (H, W, 3) uint8."""
        for frame, image in frames_of(self.path, (start - self.first) * self.every, self.every):
            yield self.first + frame // self.every, image

    def spread(self, count: int) -> list[int]:
        """The numbers in `Items` of so many frames at equal distances, as far from the film's ends as half of one."""
        return [self.first + (2 * place + 1) * len(self) // (2 * count) for place in range(count)]

    def note(self) -> str | None:
        """What is wrong with the count of frames in the file's header, as a sentence."""
        found, told = self.length.frames, self.length.told
        if not told or abs(found - told) <= max(1, TOLD_ABOUT * told):
            return None
        if found < told:
            return f"Of the {told} frames that {self.name} promises {found} can be read: it is cut short or damaged."
        return f"{self.name} has {found} frames, and not {told} as it says."


class Items(Source):
    """The pictures of a source by their numbers, and after them the frames of its films, film after film.

    files: where the masks of each picture and of each film go, by its name; paths below the output folder without a
    suffix. Frames are named FILM/NUMBER.png, and their masks STEM/NUMBER.png, by their number in the film from 0 on.
    notes: sentences on what was left out or is not as it should be.
    """

    def __init__(self, source: Source, every: int, lengths: dict[str, Length]) -> None:
        """lengths: of each video by its path."""
        self.every, parts = every, list(_parts(source))
        videos = [(start, part) for start, part in parts if isinstance(part, Videos)]
        plain = [range(start, start + len(part)) for start, part in parts if not isinstance(part, Videos)]
        self._pictures = source if not videos else Subset(source, [index for each in plain for index in each])
        self.pictures, self._frames = len(self._pictures), Frames()
        self._sizes: dict[str, tuple[int, int]] = {}
        names = [self._pictures.name(index) for index in range(self.pictures)]
        found = {
            str(PurePosixPath(source.name(start + frame)).parent): path
            for start, part in videos
            for frame, path in _paths(part)
        }
        self.files = _stems(names, list(found))
        self._stems = [self.files[name] for name in names]
        self.films, first = [], self.pictures
        for name, path in found.items():
            self.films.append(Film(path, name, self.files[name], first, lengths[path], every))
            first += len(self.films[-1])
        self._firsts = np.array([*(film.first for film in self.films), first])
        self.broken = source.broken
        self.notes = [*source.notes, *(note for film in self.films if (note := film.note()))]

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def name(self, index: int) -> str:
        film, frame = self._place(index)
        return self._pictures.name(index) if film is None else f"{film.name}/{frame:06}.png"

    def stem(self, index: int) -> str:
        """Where the files of a picture go, without their suffix."""
        film, frame = self._place(index)
        return self._stems[index] if film is None else f"{film.stem}/{frame:06}"

    def group(self, index: int, parts: int) -> int:
        """Of a frame the first of its stretch, a second or one of so many parts of the film; a picture as it is."""
        film, _ = self._place(index)
        if film is None:
            return index
        stretch = max(1, -(-len(film) // parts), round(film.rate))
        return index - (index - film.first) % stretch

    def read_bytes(self, index: int) -> bytes:
        return self._pictures.read_bytes(index)

    def read(self, index: int) -> np.ndarray:
        film, frame = self._place(index)
        return self._pictures.read(index) if film is None else self._frames.read(film.path, frame)

    def size(self, index: int) -> tuple[int, int]:
        """Of a frame that of the first one of its film."""
        film, _ = self._place(index)
        if film is None:
            return self._pictures.size(index)
        if film.path not in self._sizes:
            self._sizes[film.path] = self._frames.read(film.path, 0).shape[:2]
        return self._sizes[film.path]

    def document(self, index: int) -> str:
        film, _ = self._place(index)
        return self._pictures.document(index) if film is None else film.name

    def label(self, index: int) -> None:
        return None

    def fingerprint(self) -> str:
        if not self.films:
            return self._pictures.fingerprint()
        states = [(film.name, state_of(film.path)) for film in self.films]
        return digest([self._pictures.fingerprint(), self.every, *states])

    def sample(self, count: int, seed: int) -> list[int]:
        """The numbers of so many pictures to learn from, or fewer, sorted.

        Those that are no frames are drawn by the seed. Neighbouring frames are alike: of a film one a second is taken,
        or `FEWEST` of them if that is more, at equal distances. Where all of these are too many each gives its share,
        and a film one frame at least.
        """
        wanted = [min(len(film), max(FEWEST, round(len(film) / film.rate))) for film in self.films]
        share = min(1.0, count / max(1, self.pictures + sum(wanted)))
        order = torch.randperm(self.pictures, generator=torch.Generator().manual_seed(seed)).tolist()
        chosen = order[: round(share * self.pictures) if self.films else count]
        for film, frames in zip(self.films, wanted, strict=True):
            chosen += film.spread(max(1, int(share * frames)))
        return sorted(chosen)

    def _place(self, index: int) -> tuple[Film | None, int]:
        """The film and the number in it of a frame; None and the number of another picture."""
        index = checked(index, len(self))
        if index < self.pictures:
            return None, index
        film = self.films[int(np.searchsorted(self._firsts, index, side="right")) - 1]
        return film, (index - film.first) * self.every


def count_frames(source: Source, known: dict[str, list], progress: Report) -> dict[str, Length]:
    """The length of each video of a source, by its path. Counting decodes a film once.

    known: of an earlier start, by path the state of the file and its length; brought up to date.
    """
    videos = [part for _, part in _parts(source) if isinstance(part, Videos)]
    lengths, before, total = {}, 0, sum(map(len, videos))

    def advance(frames: int) -> None:
        if frames % 100 == 0:  # headers may tell of too few
            progress("Counting frames", min(before + frames, total - 1), total, "")

    for path in (path for part in videos for _, path in _paths(part)):
        state = state_of(path)
        length = Length(*known[path][1]) if path in known and known[path][0] == state else measure(path, advance)
        lengths[path], before = (state, length), before + length.frames
    known.clear()
    known.update({path: [state, list(astuple(length))] for path, (state, length) in lengths.items()})
    if videos:
        progress("Counting frames", total, total, "")
    return {path: length for path, (_, length) in lengths.items()}


def _parts(source: Source) -> Iterator[tuple[int, Source]]:
    """The sources that this one joins, each with the number of its first image."""
    if isinstance(source, Concatenated):
        yield from zip(source.starts, source.sources, strict=False)
    else:
        yield 0, source


def _paths(videos: Videos) -> list[tuple[int, str]]:
    """The files of a source of videos, each with the number of its first frame in it."""
    places = [os.path.abspath(os.path.join(videos.root, name)) for name in videos.videos]
    return [(int(start), path) for start, path in zip(videos.starts, places, strict=False)]


def _stems(pictures: Sequence[str], films: Sequence[str]) -> dict[str, str]:
    """Where files go by names, with no film in a folder that has masks of pictures."""
    chosen = dict(zip([*pictures, *films], stems([*pictures, *films]), strict=True))
    taken = {str(PurePosixPath(chosen[name]).parent) for name in pictures}
    for name in films:
        if chosen[name] in taken:
            chosen[name] = name if name not in taken else f"{name}~"
    return chosen
