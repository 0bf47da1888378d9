"""Segments of a user's pictures: found once, then renamed, recoloured, merged and written as often as they like.

Kept are the pictures as they are shown and, of each, the scores of its segments. Masks are made of scores when they are
asked for, at the upload's own size: found at `MASK` pixels where it is larger, and enlarged by the nearest pixel, so
that time and memory are bounded. What the user calls the segments, and which are one, changes nothing but the table by
which they are written.

Files are written where they are asked for, whose folder is never made: one that was removed meanwhile stays so.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from densessl.data.resize import within
from densessl.errors import UserError
from densessl.files import stems, write_image
from densessl.segmentation import Classes, overlay, palette, segment_labels, stream_coco

SHOWN = 1280  # pixels of the longest side of what is shown
MASK = 2048  # pixels of the longest side at which masks are found
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 90]
LONGEST_NAME = 60


@dataclass(frozen=True)
class Segment:
    """index: the value in the masks. name: as the user wrote it. colour: #rrggbb. share: of all pixels, 0 to 1.

    into: the segment that it was merged into; its own index where it was not.
    """

    index: int
    name: str
    colour: str
    share: float
    into: int


@dataclass(frozen=True)
class Segmented:
    """A picture. width, height: of the upload, and of its mask. shares: of the segments in it.

    image, map: files to be shown, the map with the index of the segment in each pixel.
    """

    name: str
    width: int
    height: int
    image: str
    map: str
    shares: tuple[float, ...]


@dataclass
class Segmentation:
    """What was found in a user's pictures, and what they made of it.

    folder: of its files. least_area: as of `densessl segment`. notes: sentences on how it was found.
    """

    folder: Path
    pictures: list[Segmented]
    segments: list[Segment]
    least_area: float
    notes: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, folder: Path, count: int, least_area: float) -> Segmentation:
        """Without pictures yet; count: of the segments."""
        colours = [hexadecimal(colour) for colour in palette(count)]
        segments = [Segment(index, f"segment {index + 1}", colours[index], 0.0, index) for index in range(count)]
        return cls(folder, [], segments, least_area)

    def add(self, name: str, image: np.ndarray, size: tuple[int, int], scores: Tensor) -> None:
        """A picture (h, w, 3) uint8 RGB of an upload of this size (height, width), with scores (K, h, w)."""
        number = len(self.pictures)
        small = within(image, SHOWN)
        labels = segment_labels(scores, small.shape[:2], self.least_area)
        counts = np.bincount(labels.reshape(-1), minlength=len(self.segments)) / labels.size
        shown, map_ = f"shown-{number}.jpg", f"map-{number}.png"
        write_image(self.folder / shown, small, JPEG)
        write_image(self.folder / map_, labels)
        np.save(self.folder / f"scores-{number}.npy", scores.numpy().astype(np.float32))
        self.pictures.append(Segmented(name, size[1], size[0], shown, map_, tuple(map(float, counts))))
        total = np.mean([each.shares for each in self.pictures], axis=0)
        self.segments = [replace(each, share=float(total[each.index])) for each in self.segments]

    def edit(self, edits: Sequence[dict]) -> None:
        """Take the names, colours and merges of a user: {"name", "colour", "into"} of each segment, in order.

        Raises `UserError` for what is none of that, and then changes nothing.
        """
        if not isinstance(edits, list) or len(edits) != len(self.segments):
            raise UserError(f"Edits are a list with one entry for each of the {len(self.segments)} segments.")
        changed = []
        for segment, edit in zip(self.segments, edits, strict=True):
            if not isinstance(edit, dict):
                raise UserError(f"The edit of segment {segment.index} is no object with name, colour and into.")
            colour, into = edit.get("colour", segment.colour), edit.get("into", segment.into)
            if not isinstance(colour, str) or not re.fullmatch("#[0-9a-fA-F]{6}", colour):
                raise UserError(f"{str(colour)[:20]!r} is no colour; write one as #6f9b52.")
            if isinstance(into, bool) or not isinstance(into, int) or not 0 <= into < len(self.segments):
                raise UserError(f"{str(into)[:20]!r} is no segment: give 0 to {len(self.segments) - 1}.")
            name = " ".join(str(edit.get("name", segment.name)).split())[:LONGEST_NAME]
            changed.append(replace(segment, name=name or f"segment {segment.index + 1}", colour=colour, into=into))
        for each in changed:
            if changed[each.into].into != each.into:
                raise UserError(f"Segment {each.index} is merged into {each.into}, which is merged itself.")
        self.segments = changed

    def classes(self) -> Classes:
        """What becomes of the segments when they are written: those that were merged, or have one name, are one."""
        segments = self.segments  # as they are now: an edit puts others in their place
        heads = [segments[each.into] for each in segments]
        colours = [tuple(bytes.fromhex(each.colour[1:])) for each in heads]
        return Classes(tuple(each.name for each in heads), tuple(colours))

    def labels(self, number: int) -> np.ndarray:
        """The segment of every pixel of a picture (H, W) at the upload's own size; `MASK` says how fine."""
        return self._enlarged(self._labels(number), number)

    def write_mask(self, path: Path, number: int) -> None:
        """The classes of a picture as a PNG of indices."""
        path.write_bytes(_png(self._mask(number, self.classes())))

    def write_overlay(self, path: Path, number: int) -> None:
        """A picture as it is shown, tinted by class."""
        path.write_bytes(self._overlay(number, self.classes()))

    def write_coco(self, path: Path, ask: Callable[[], None] = lambda: None) -> None:
        """All pictures in one COCO file. ask: called before each; what it raises ends it."""
        classes = self.classes()
        with open(path, "w", encoding="utf-8") as file:
            stream_coco(file, classes.class_names, self._masks(classes, ask))

    def write_zip(self, path: Path, ask: Callable[[], None] = lambda: None) -> None:
        """Masks, overlays, COCO file and a list of the classes, all of one moment; ask: as of `write_coco`."""
        classes, places = self.classes(), iter(stems(self._names()))
        coco = path.with_name(f"{path.name}.coco.json")

        def masks() -> Iterator[tuple[str, np.ndarray]]:
            for number, (name, mask) in enumerate(self._masks(classes, ask)):
                stem = next(places)
                archive.writestr(f"masks/{stem}.png", _png(mask))
                archive.writestr(f"overlays/{stem}.jpg", self._overlay(number, classes))
                yield name, mask

        try:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                with open(coco, "w", encoding="utf-8") as file:
                    stream_coco(file, classes.class_names, masks())
                archive.write(coco, "coco.json")
                archive.writestr("classes.json", json.dumps(self._listed(classes), indent=1, ensure_ascii=False))
        finally:
            coco.unlink(missing_ok=True)

    def _labels(self, number: int) -> np.ndarray:
        """The segment of every pixel, `MASK` pixels long at most."""
        picture = self.pictures[number]
        scale = min(1.0, MASK / max(picture.height, picture.width))
        size = max(1, round(picture.height * scale)), max(1, round(picture.width * scale))
        scores = torch.from_numpy(np.load(self.folder / f"scores-{number}.npy"))
        return segment_labels(scores, size, self.least_area)

    def _enlarged(self, labels: np.ndarray, number: int) -> np.ndarray:
        picture = self.pictures[number]
        if labels.shape == (picture.height, picture.width):
            return labels
        return cv2.resize(labels, (picture.width, picture.height), interpolation=cv2.INTER_NEAREST_EXACT)

    def _mask(self, number: int, classes: Classes) -> np.ndarray:
        return self._enlarged(classes.table()[self._labels(number)], number)

    def _masks(self, classes: Classes, ask: Callable[[], None]) -> Iterator[tuple[str, np.ndarray]]:
        for number, name in enumerate(self._names()):
            ask()
            yield name, self._mask(number, classes)

    def _overlay(self, number: int, classes: Classes) -> bytes:
        image = _read(self.folder / self.pictures[number].image)[:, :, ::-1]
        labels = _read(self.folder / self.pictures[number].map)
        drawn = overlay(np.ascontiguousarray(image), classes.table()[labels], classes.class_colours)
        return cv2.imencode(".jpg", np.ascontiguousarray(drawn[:, :, ::-1]), JPEG)[1].tobytes()

    def _names(self) -> list[str]:
        """Of the pictures, each once, without folders."""
        seen: dict[str, int] = {}
        names = []
        for each in self.pictures:
            seen[each.name] = seen.get(each.name, 0) + 1
            path = Path(each.name)
            names.append(each.name if seen[each.name] == 1 else f"{path.stem}-{seen[each.name]}{path.suffix}")
        return names

    def _listed(self, classes: Classes) -> list[dict]:
        rows = zip(classes.class_names, classes.class_colours, classes.members, strict=True)
        return [
            {
                "index": index,
                "name": name,
                "colour": hexadecimal(colour),
                "share": round(sum(self.segments[each].share for each in members), 6),
                "segments": members,
            }
            for index, (name, colour, members) in enumerate(rows)
        ]

    def record(self) -> dict:
        """Pictures, segments and notes, as JSON has them."""
        return {
            "pictures": [asdict(each) for each in self.pictures],
            "segments": [asdict(each) for each in self.segments],
            "notes": list(self.notes),
        }


def hexadecimal(colour: Sequence[int]) -> str:
    """(r, g, b) -> "#rrggbb"."""
    return f"#{bytes(colour).hex()}"


def _png(labels: np.ndarray) -> bytes:
    return cv2.imencode(".png", labels)[1].tobytes()


def _read(path: Path) -> np.ndarray:
    """A picture of ours as OpenCV has it; raises `FileNotFoundError` where it was removed."""
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
