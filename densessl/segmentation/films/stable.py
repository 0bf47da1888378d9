"""Labels that stay while a film moves: scores averaged over time, along the motion.

The average of the frames before is brought to where things are now by optical flow from the present frame to the one
before it, and mixed with the present scores: a = (1 - s w) p + s w a', an exponential average. The weight w of a place
is 0 where the flow is not to be trusted, so that what comes into sight there speaks for itself: where the flow to and
fro does not lead back (the criterion of Sundaram, Brox and Keutzer, "Dense Point Trajectories by GPU-Accelerated Large
Displacement Optical Flow", 2010), and where the two frames differ in brightness. Where that is most of the
frame, as at a cut, all that was before is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from densessl.data.flow import flow, small_grey
from densessl.files import write_bytes

SIDE = 128  # px of the short side at which flow is computed
BRIGHTNESS = 0.1 * 255  # by which a place may differ from where the flow says that it comes from
CUT = 0.25  # share of a frame whose flow can be trusted, below which another shot begins


@dataclass
class Stable:
    """The average of a film's scores so far.

    share: s, of what was before in the average; 0 leaves scores as they are. average: (K, h, w). grey: the last frame,
    (y, x) uint8. frames: how many of the film's are behind it.
    """

    share: float
    average: Tensor | None = None
    grey: np.ndarray | None = None
    frames: int = 0

    def __call__(self, scores: Tensor, image: np.ndarray) -> Tensor:
        """(K, h, w) scores of the next frame (H, W, 3) uint8 RGB -> the average with those before."""
        grey = small_grey(image, SIDE)
        if self.average is not None and self.average.shape == scores.shape and self.grey.shape == grey.shape:
            back, trusted = motion(grey, self.grey)
            if trusted.mean() >= CUT:
                weight = self.share * resized(trusted.astype(np.float32), scores.shape[1:]).to(scores.device)
                scores = torch.lerp(scores, moved(self.average, back), weight)
        self.average, self.grey, self.frames = scores, grey, self.frames + 1
        return scores

    def save(self, path: Path) -> None:
        """Write it whole or not at all, so that a film goes on from here as if it had never been left."""
        tensors = {"average": self.average.cpu().contiguous(), "grey": torch.from_numpy(self.grey)}
        write_bytes(path, save(tensors, metadata={"frames": str(self.frames)}))

    @classmethod
    def load(cls, path: Path, share: float, device: torch.device) -> Stable:
        """What `save` wrote; where there is no such file, nothing yet."""
        try:
            with safe_open(path, framework="pt") as file:
                average, grey = file.get_tensor("average").to(device), file.get_tensor("grey").numpy()
                return cls(share, average, grey, int((file.metadata() or {})["frames"]))
        except (OSError, SafetensorError, KeyError, ValueError):
            return cls(share)


def motion(now: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of a frame was in the one before it, both (h, w) uint8, and whether that can be trusted.

    Returns the way back (h, w, 2), in pixels, and (h, w) bool.
    """
    back, forth = flow(now, before, "dis-medium"), flow(before, now, "dis-medium")
    y, x = np.mgrid[: now.shape[0], : now.shape[1]].astype(np.float32)
    u, v = x + back[..., 0], y + back[..., 1]
    inside = (u >= 0) & (v >= 0) & (u <= now.shape[1] - 1) & (v <= now.shape[0] - 1)
    again = cv2.remap(forth, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    astray = ((back + again) ** 2).sum(axis=2)
    lengths = (back**2).sum(axis=2) + (again**2).sum(axis=2)
    came = cv2.remap(before, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    differs = cv2.GaussianBlur(np.abs(came.astype(np.float32) - now), (0, 0), 1.0)
    return back, inside & (astray < 0.01 * lengths + 0.5) & (differs < BRIGHTNESS)


def moved(scores: Tensor, back: np.ndarray) -> Tensor:
    """(K, h, w) of the frame before at the places of this one; back: (y, x, 2) in pixels of its own size."""
    height, width = scores.shape[1:]
    steps = torch.stack([resized(back[..., i], (height, width)) / back.shape[1 - i] for i in (0, 1)], dim=2)
    y, x = ((torch.arange(side, dtype=torch.float32) + 0.5) / side for side in (height, width))
    places = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=2) + steps
    grid = (2 * places - 1)[None].to(scores.device)
    return F.grid_sample(scores[None], grid, mode="bilinear", padding_mode="border", align_corners=False)[0]


def resized(values: np.ndarray, size: tuple[int, int]) -> Tensor:
    """(y, x) float32 -> (h, w), bilinearly."""
    return F.interpolate(torch.from_numpy(np.ascontiguousarray(values))[None, None], size, mode="bilinear")[0, 0]
