"""What `densessl app` can be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from densessl import config as configs
from densessl.errors import UserError, above_0, at_least


@dataclass
class AppConfig:
    """The application's limits, networks and places.

    file_size: of an upload, in MB of 10^6 bytes. pages: of a document that are parsed at a time. pictures: of a request
        to segment or correspond. pixels: that a picture may declare, in millions; more is not decoded. side: longest
        side in pixels at which pictures are worked with; larger ones are made smaller, and their masks are written at
        their own size.
    seconds: that a request may take, its wait in the queue left out. queue: requests that may wait; one more is told to
        come back. workers: requests that are worked on at a time, None for one a core and two at least.
    memory: of a process that opens uploads, in GB of 10^9 bytes. open_seconds: of processor time that opening one
        upload may take there.
    keep: minutes after its last use at which what belongs to a user is removed. held: what results may hold in memory,
        in GB, those that were not used for longest making room. disk: what uploads and results may take on the disk, in
        GB; beyond it uploads are refused.
    backbone: whose features are used unless another is chosen, as of `densessl segment`. backbones: others that may be
        chosen. runs: a folder of runs of `densessl pretrain`, each of which may be chosen. models: networks that stay
        loaded, those that were not used for longest making room.
    detector: of documents, as of `densessl detect predict`. devices: auto, cpu or gpu.
    demo: the folder of a `densessl demo`, which is shown in a tab of its own.
    folder: where uploads and results lie, in a folder of a random name that is removed at the end; None for the
        system's folder of temporary files.
    """

    file_size: float = 50.0
    pages: int = 100
    pictures: int = 24
    pixels: float = 100.0
    side: int = 1600
    seconds: float = 300.0
    queue: int = 32
    workers: int | None = None
    memory: float = 2.0
    open_seconds: float = 20.0
    keep: float = 60.0
    held: float = 1.0
    disk: float = 8.0
    backbone: str = "box"
    backbones: list[str] = field(default_factory=list)
    runs: str | None = None
    models: int = 3
    detector: str = "box"
    devices: str = "auto"
    demo: str | None = None
    folder: str | None = None

    def __post_init__(self) -> None:
        above_0("app", self, "file_size", "pixels", "seconds", "memory", "open_seconds", "keep", "held", "disk")
        at_least(1, "app", self, "pages", "pictures", "queue", "models")
        at_least(64, "app", self, "side")
        if self.workers is not None:
            at_least(1, "app", self, "workers")
        for key in ("runs", "demo", "folder"):
            place = getattr(self, key)
            if place is not None and not Path(place).expanduser().is_dir():
                raise UserError(f"{key}={place} is no folder: give one that is there, or leave it out.")
        if self.demo is not None and not (Path(self.demo).expanduser() / "demo.png").is_file():
            raise UserError(f"demo={self.demo} is no folder of a densessl demo that is done: it has no demo.png.")


def resolve(overrides: Sequence[str]) -> AppConfig:
    """The settings of the command; raises `UserError` for an unknown key or a value that cannot be."""
    return configs.build(AppConfig, configs.parse_overrides(overrides))
