"""Runs of `segment` on a few pictures, and what they leave."""

from __future__ import annotations

from pathlib import Path

from densessl.progress import silent
from densessl.segmentation import SegmentConfig, segment


def settings(folder: Path, out: Path, **changes) -> SegmentConfig:
    config = SegmentConfig(data=str(folder), out=str(out), classes=3, steps=3, image_size=64, devices="cpu")
    config.method, config.window, config.refine, config.crops = "stego", 1, "none", 2
    config.backbone = None if "model" in changes else "colour"
    for key, value in changes.items():
        setattr(config, key, value)
    if config.method != "stego" and "steps" not in changes:
        config.steps = SegmentConfig.steps  # nothing is trained, and steps that are asked for would be told to be idle
    return config


def contents(out: Path, *but: str) -> dict[str, bytes]:
    """Every file of a run but those that name its folder, and others that are named."""
    left_out = ("config.yaml", "model.safetensors", "run.json", *but)
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in left_out
    }


def fresh(folder: Path, out: Path, **changes) -> dict[str, bytes]:
    """What a run leaves to which nothing was left."""
    segment(settings(folder, out, **changes | {"cache": "none"}), silent)
    return contents(out)


def unsaid(sentence: str) -> None:
    """Say nothing."""
