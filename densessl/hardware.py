"""Which devices a run takes, and how many workers feed them."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from densessl.errors import UserError


@dataclass(frozen=True)
class Hardware:
    """What Lightning is told: accelerator "cpu" or "gpu", processes on each machine, machines."""

    accelerator: str
    processes: int
    nodes: int = 1

    @property
    def world(self) -> int:
        """Processes of all machines."""
        return self.processes * self.nodes

    @staticmethod
    def of(devices: str, nodes: int = 1) -> Hardware:
        """Read "auto", "cpu", "gpu", "cpu:2", "gpu:4" or a bare number; `UserError` for what is not there."""
        kind, _, number = str(devices).partition(":")
        if kind.isdigit():
            kind, number = "auto", kind
        if kind not in ("auto", "cpu", "gpu") or (number and not (number.isdigit() and int(number) > 0)):
            raise UserError(f"devices={devices} is not one of: auto, cpu, gpu, or these with a number: gpu:4, cpu:2.")
        found = torch.cuda.device_count()
        if kind == "auto":
            kind = "gpu" if found else "cpu"
        if kind == "gpu" and int(number or 1) > found:
            raise UserError(f"devices={devices}, but torch finds {found or 'no'} GPU here: give devices=cpu.")
        return Hardware(kind, int(number or (found if kind == "gpu" else 1)), nodes)

    def workers(self, asked: int | None) -> int:
        """Worker processes of each training process: as asked, else half of its cores, eight at most for a CPU.

        A GPU needs every core that there is to keep it fed; on a CPU the network itself wants them.
        """
        if asked is not None:
            return asked
        share = cores() // self.processes
        return max(1, share - 1) if self.accelerator == "gpu" else min(8, share // 2)


def cores() -> int:
    """Of this machine, those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
