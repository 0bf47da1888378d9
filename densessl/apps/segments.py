"""Segments of a user's pictures: found once, then renamed, recoloured, merged and written as often as they like.

Kept are the pictures as they are shown and, of each, the scores of its segments. Masks are made of scores when they are
asked for, at the upload's own size; what the user calls the segments, and which are one, changes nothing but the table
by which they are written.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from densessl.data.resize import within
from densessl.errors import UserError
from densessl.files import stems, write_image, writing
from densessl.segmentation import Classes, overlay, palette, segment_labels, write_coco

SHOWN = 1280  # pixels of the longest side of what is shown
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
        heads = [self.segments[each.into] for each in self.segments]
        colours = [tuple(bytes.fromhex(each.colour[1:])) for each in heads]
        return Classes(tuple(each.name for each in heads), tuple(colours))

    def labels(self, number: int) -> np.ndarray:
        """The segment of every pixel of a picture (H, W) at the upload's own size."""
        picture = self.pictures[number]
        scores = torch.from_numpy(np.load(self.folder / f"scores-{number}.npy"))
        return segment_labels(scores, (picture.height, picture.width), self.least_area)

    def write_mask(self, path: Path, number: int) -> None:
        """The classes of a picture as a PNG of indices."""
        write_image(path, self.classes().table()[self.labels(number)])

    def write_overlay(self, path: Path, number: int) -> None:
        """A picture as it is shown, tinted by class."""
        image = cv2.imread(str(self.folder / self.pictures[number].image))[:, :, ::-1]
        labels = cv2.imread(str(self.folder / self.pictures[number].map), cv2.IMREAD_UNCHANGED)
        classes = self.classes()
        drawn = overlay(np.ascontiguousarray(image), classes.table()[labels], classes.class_colours)
        write_image(path, drawn, JPEG)

    def write_coco(self, path: Path) -> None:
        """All pictures in one COCO file."""
        classes = self.classes()
        table, names = classes.table(), self._names()
        found = ((name, table[self.labels(number)]) for number, name in enumerate(names))
        write_coco(path, classes.class_names, found)

    def write_zip(self, path: Path) -> None:
        """Masks, overlays, COCO file and a list of the classes."""
        classes = self.classes()
        with writing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for number, stem in enumerate(stems(self._names())):
                for kind, suffix, write in (
                    ("masks", "png", self.write_mask),
                    ("overlays", "jpg", self.write_overlay),
                ):
                    made = self.folder / f"made-{path.stem}.{suffix}"
                    write(made, number)
                    archive.write(made, f"{kind}/{stem}.{suffix}")
                    made.unlink()
            coco = self.folder / f"made-{path.stem}.json"
            self.write_coco(coco)
            archive.write(coco, "coco.json")
            coco.unlink()
            archive.writestr("classes.json", json.dumps(self._listed(classes), indent=1, ensure_ascii=False))

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
