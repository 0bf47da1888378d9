"""Small films for tests, and what a run on them has left."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from densessl.segmentation import SegmentConfig


def scenery(seed: int, height: int = 200, width: int = 300) -> np.ndarray:
    """(H, W, 3) uint8, smooth and of many colours."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    low, high = smooth.min(), smooth.max()
    return ((smooth - low) * (255 / (high - low))).astype(np.uint8)


def shots(*counts: int, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """Frames of a view that moves by 2 px right and 1 down a frame; of another scenery after each cut."""
    return [
        np.ascontiguousarray(scenery(seed)[t : t + size[0], 2 * t : 2 * t + size[1]])
        for seed, count in enumerate(counts)
        for t in range(count)
    ]


def write(path: Path, frames: list[np.ndarray], codec: str = "mp4v", rate: float = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, frames[0].shape[1::-1])
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    writer.release()
    return path


def settings(data: Path, out: Path, **changes) -> SegmentConfig:
    config = SegmentConfig(
        data=str(data), out=str(out), classes=3, method="kmeans", image_size=48, devices="cpu", refine="none", crops=2
    )
    config.backbone = None if "model" in changes else "colour"
    for key, value in changes.items():
        setattr(config, key, value)
    return config


def contents(out: Path) -> dict[str, bytes]:
    """Every file of a run but those that name its folder."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("config.yaml", "model.safetensors")
    }


def labels(out: Path, film: str) -> list[np.ndarray]:
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted((out / "labels" / film).iterdir())]
