"""What a figure was made on."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from importlib import metadata

PACKAGES = ("densessl", "torch", "torchvision", "timm", "transformers", "lightning", "opencv-python-headless", "numpy")


def environment() -> dict:
    """Versions, processor, cores, GPUs and the command as it can be typed again, ready for JSON."""
    import torch

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "versions": {name: _version(name) for name in PACKAGES},
        "command": shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]]),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
