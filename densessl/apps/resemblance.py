"""What in a user's pictures resembles a place in one of them: the figure by which STEGO explains itself, live.

The cosine of the backbone's features at the place with those at every other place (arXiv 2203.08414, section 3.1).
Features are kept, as unit vectors in half precision, so that each click costs one product of matrices.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from densessl.apps.segments import JPEG, SHOWN
from densessl.data.resize import within
from densessl.errors import UserError
from densessl.files import write_image


@dataclass(frozen=True)
class Shown:
    """A picture. image: the file that shows it. width, height: of the upload."""

    name: str
    width: int
    height: int
    image: str


@dataclass(frozen=True)
class Heat:
    """Cosines of a picture's places with the place that was chosen.

    rows, columns: of the map. cosines: row by row, from -1 to 1. best: (x, y) of the place most alike, as shares of the
    picture's sides; in the picture of the chosen place that is the place itself.
    """

    rows: int
    columns: int
    cosines: tuple[float, ...]
    best: tuple[float, float]


@dataclass
class Resemblance:
    """Pictures and their features. backbone: what the features are of. notes: on what could not be read."""

    folder: Path
    backbone: str
    pictures: list[Shown] = field(default_factory=list)
    maps: list[Tensor] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def held(self) -> int:
        """Bytes of the features."""
        return sum(each.numel() * each.element_size() for each in self.maps)

    def add(self, name: str, image: np.ndarray, size: tuple[int, int], map_: Tensor) -> None:
        """A picture (h, w, 3) uint8 RGB of an upload of this size (height, width), with its map (C, h, w)."""
        number = len(self.pictures)
        shown = f"shown-{number}.jpg"
        write_image(self.folder / shown, within(image, SHOWN), JPEG)
        self.pictures.append(Shown(name, size[1], size[0], shown))
        self.maps.append(F.normalize(map_.float(), dim=0).half())

    @torch.inference_mode()
    def heats(self, picture: int, x: float, y: float) -> list[Heat]:
        """Of all pictures, for the place (x, y) of one, as shares of its width and height from the left upper corner.

        The feature of the place is interpolated bilinearly between the four around it. Raises `UserError` for a place
        that is in no picture.
        """
        if isinstance(picture, bool) or not isinstance(picture, int) or not 0 <= picture < len(self.pictures):
            raise UserError(f"There is no picture {picture!s:.20}: they are numbered 0 to {len(self.pictures) - 1}.")
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise UserError(f"x={x:g}, y={y:g} lies outside of the picture: both are shares of its sides, 0 to 1.")
        place = torch.tensor([[[[2 * x - 1, 2 * y - 1]]]])
        chosen = self.maps[picture].float()[None]
        feature = F.grid_sample(chosen, place, mode="bilinear", padding_mode="border", align_corners=False)[0, :, 0, 0]
        feature = F.normalize(feature, dim=0)
        found = []
        for number, map_ in enumerate(self.maps):
            cosine = torch.einsum("c,chw->hw", feature, map_.float()).clamp(-1, 1)
            rows, columns = cosine.shape
            row, column = divmod(int(cosine.argmax()), columns)
            best = (x, y) if number == picture else ((column + 0.5) / columns, (row + 0.5) / rows)
            found.append(Heat(rows, columns, tuple(cosine.reshape(-1).tolist()), best))
        return found

    def record(self) -> dict:
        """Pictures, backbone and notes, as JSON has them."""
        shown = [asdict(each) for each in self.pictures]
        return {"pictures": shown, "backbone": self.backbone, "notes": list(self.notes)}
