"""The files of a picture, in an order that lets a killed run go on: its overlay is the last of them.

Of a film each frame has the files of a picture but for the overlay, and the film one overlay, a video.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from glob import escape
from pathlib import Path

import cv2
import numpy as np

from densessl.files import write_image, writing
from densessl.segmentation.outputs.names import Classes
from densessl.segmentation.outputs.overlay import overlay

_FRAME = re.compile(r"\d{6,}\.(png|npz)")


class MaskWriter:
    """Writes below `folder`, for the picture of a stem, each file whole or not at all and in this order:

    probabilities/STEM.npz (where asked for), labels/STEM.png (segments), classes/STEM.png (where segments have names)
    and overlays/STEM.jpg. They are taken away in the opposite order, so that an overlay always shows what lies beside.
    """

    def __init__(self, folder: Path, classes: Classes, probabilities: bool = False) -> None:
        self.folder, self.classes, self.probabilities = folder, classes, probabilities
        self.table, self.colours = classes.table(), classes.class_colours

    def _path(self, kind: str, stem: str) -> Path:
        suffix = {"probabilities": "npz", "labels": "png", "classes": "png", "overlays": "jpg"}[kind]
        return self.folder / kind / f"{stem}.{suffix}"

    def mask(self, stem: str) -> str:
        """Where the picture's mask lies below the folder: of classes where there are names, else of segments."""
        return self._path("classes" if self.classes.given else "labels", stem).relative_to(self.folder).as_posix()

    def masks(self, stem: str) -> str:
        """The folder below the folder in which the masks of a film's frames are."""
        return f"{'classes' if self.classes.given else 'labels'}/{stem}"

    def film(self, stem: str) -> Path:
        """The video that shows a film's masks."""
        return self.folder / "overlays" / f"{stem}.mp4"

    def unfinished(self, stem: str) -> Path:
        """What a film whose masks are not all written is gone on with."""
        return self.folder / "unfinished" / f"{stem}.safetensors"

    def segmented(self, stem: str) -> bool:
        """Whether all that needs the backbone is there."""
        kinds = ["labels", *(["probabilities"] if self.probabilities else [])]
        return all(self._path(kind, stem).is_file() for kind in kinds)

    def complete(self, stem: str, frame: bool = False) -> bool:
        kinds = [*([] if frame else ["overlays"]), *(["classes"] if self.classes.given else [])]
        return self.segmented(stem) and all(self._path(kind, stem).is_file() for kind in kinds)

    def read(self, stem: str) -> np.ndarray | None:
        """The segment of every pixel, (H, W); None when the file is no such map."""
        data = np.fromfile(self._path("labels", stem), dtype=np.uint8)
        labels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
        if labels is None or labels.ndim != 2 or labels.max() >= len(self.table):
            return None
        return labels

    def write(
        self, stem: str, image: np.ndarray | None, labels: np.ndarray, probabilities: np.ndarray | None = None
    ) -> None:
        """image: (H, W, 3) uint8; None for a frame. labels: (H, W) segments.

        probabilities: (K, h, w) float16, to be written too.
        """
        if probabilities is not None:
            with writing(self._path("probabilities", stem)) as temporary, open(temporary, "wb") as file:
                np.savez_compressed(file, probabilities=probabilities)
        write_image(self._path("labels", stem), labels)
        self.show(stem, image, labels)

    def show(self, stem: str, image: np.ndarray | None, labels: np.ndarray) -> None:
        """Write what follows from labels that are there; image: None for a frame."""
        if self.classes.given:
            write_image(self._path("classes", stem), self.table[labels])
        if image is not None:
            write_image(self._path("overlays", stem), self.overlay(image, labels), [cv2.IMWRITE_JPEG_QUALITY, 92])

    def overlay(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8, the picture with the classes of its segments."""
        return overlay(image, self.table[labels], self.colours)

    def forget(self, stem: str, kinds: Sequence[str] = ("overlays", "classes", "labels", "probabilities")) -> None:
        """Take the picture's files away."""
        for kind in kinds:
            self._path(kind, stem).unlink(missing_ok=True)

    def forget_film(self, stem: str, kinds: Sequence[str] = ("overlays", "classes", "labels", "probabilities")) -> None:
        """Take the files of a film away."""
        for kind in kinds:
            for path in self.folder.glob(f"{kind}/{escape(stem)}/*"):
                if _FRAME.fullmatch(path.name):
                    path.unlink(missing_ok=True)
        if "overlays" in kinds:
            self.film(stem).unlink(missing_ok=True)
        if "labels" in kinds:
            self.forget_unfinished(stem)

    def forget_unfinished(self, stem: str) -> None:
        """Take away what a film was to be gone on with, and the folder for it if it was the last."""
        path = self.unfinished(stem)
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self.folder or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()
