"""The protocol of segments, short enough for tests."""

from __future__ import annotations

from densessl.evaluation import evaluate


def judge(data, *settings, backbone="colour"):
    return evaluate(backbone, "segments", f"folder:{data}", ["devices=cpu", "steps=5", "refine_size=80", *settings])
