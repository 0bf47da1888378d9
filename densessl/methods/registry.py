"""The registry of methods and the few types that every method shares.

A method is one file in this folder. It is found by being there: `methods()` imports each file once, and the file's
`@register(...)` line enters its class. Nothing else names it. (A package of its own brings one by an entry point of the
group "densessl.methods" that names its module.) Its class is an `nn.Module` with

    __init__(backbone, config, data_size)   data_size: images that the run trains on
    backbone                                the network whose weights the run exports
    views                                   the `ViewSpec`s it needs
    sync_batch_norm                         whether batch norm shares statistics over processes
    chance(batch_size)                      the loss of a network that has learned nothing
    forward(batch) -> Output                batch: `views`, a list of float (B, 3, s, s), or (B, P, 3, s, s) where the
                                            spec cuts the view into patches; `index` (B,); `target` (B,)

and, only where its paper has them,

    layered(source)                         of its config: the source with what lies beside the images, as
                                            `densessl.data.sources.layers` has it; the batch then has `layers`, a list
                                            of uint8 (B, c, s, s), and `group` (B,)

    before_step, after_backward, after_step (progress)
    epoch_start(progress, images)           before the epoch's order is drawn; `images` can be looked at whole. What it
                                            returns, if anything, are the parameters that begin anew: the optimizer
                                            forgets their momentum
    draw_order(rng)                         (data_size,) indices of an epoch, from a numpy Generator, where the paper
                                            does not sample uniformly
    parameter_groups()                      where not all that learns is treated alike: dicts of `params` and any of
                                            `lr_scale` (a factor of the learning rate), `fixed_lr` (True: it stays at
                                            its peak), `momentum` and `decays`. A group that does not say whether it
                                            decays is parted by the run's settings: biases and norms do not, unless
                                            optimizer.decay_all
    pictures(batch, thumbnail)              sheets to look at, by name: {"clusters": Sheet}; called without gradient,
                                            in evaluation mode, with a batch of the run; thumbnail(index) is one image
                                            of the data, (s, s, 3) uint8
    notes, remarks                          sentences for the user, said when the run begins, and when it has ended
    files()                                 what a finished run leaves beside the backbone: {"tokenizer.json": bytes}

All that must survive a restart is a persistent buffer. Random numbers come from torch's global generator, which the
loop seeds before every step and every epoch, so that a restart draws the same: differently on each process before a
step (what all must agree on is drawn by `from_first`), alike before an epoch. `pictures` and `files` run on the first
process alone. A method whose views may be cut into patches says `takes_patches = True`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from densessl.data.views import ViewSpec
from densessl.errors import UserError


@dataclass
class Output:
    """What `method(batch)` returns: a scalar loss, scalars to log, and vectors of the first view, detached.

    embedding: (B, D) of the backbone, for online probes.
    projection: (B, d) what the loss compares, for the monitor of collapse, which a backbone that ends in batch norm can
        hide. None where the loss compares something else: the embedding is watched then.
    """

    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)
    embedding: Tensor | None = None
    projection: Tensor | None = None


@dataclass(frozen=True)
class Progress:
    """Where the run stands when a moment of a method is called; `step` counts optimizer steps from 0."""

    step: int
    total_steps: int
    steps_per_epoch: int

    @property
    def epoch(self) -> float:
        """Epochs done, with the fraction of the present one."""
        return self.step / self.steps_per_epoch

    @property
    def fraction(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        return min(1.0, self.step / max(1, self.total_steps))


class Images(Protocol):
    """All images of the run, as `epoch_start` is given them."""

    def __len__(self) -> int: ...

    def vectors(self, network: Callable[[Tensor], Tensor], views: Sequence[ViewSpec]) -> Tensor:
        """(size, V, D) float32 on the CPU, in order of index, on every process: `network` of each view of each image.

        network: normalised (B, 3, s, s) on the run's device -> (B, D); called without gradient, in the mode it is in.
        """

    def advance(self, stage: str, done: int, total: int) -> None:
        """Say how far a stage of `epoch_start` that takes long is; every process calls it as often.

        Here, as in `vectors`, a signal may end the run. It then goes on from the end of the last epoch.
        """


@dataclass(frozen=True)
class Sheet:
    """Pictures in rows, (h, w, 3) uint8 RGB each, with a header for each column and a label for each row.

    A picture may be the patches of one, (P, s, s, 3), which are drawn as a grid, row by row. marks: per row and
    picture, a number on each patch, or none.
    """

    rows: Sequence[Sequence[np.ndarray]]
    headers: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    marks: Sequence[Sequence[Sequence[int]]] | None = None


@dataclass(frozen=True)
class Entry:
    """A registered method.

    needs: what a run must bring: "target", labels in every batch; "index", images that keep their places, since each
        is remembered; "transformer", a backbone whose tokens can be masked (`densessl.backbones.tokens`); "tokenizer",
        what `densessl pretrain dvae` leaves.
    published: the figure that its paper is known by, with the protocol.
    """

    name: str
    cls: type[torch.nn.Module]
    config: type
    title: str
    arxiv: str
    year: int
    published: str
    needs: tuple[str, ...] = ()


_entries: dict[str, Entry] = {}


def register(
    name: str, *, config: type, title: str, arxiv: str, year: int, published: str, needs: tuple[str, ...] = ()
) -> Callable[[type[torch.nn.Module]], type[torch.nn.Module]]:
    """Class decorator that enters a method under `name`, with the dataclass of its options and its paper."""

    def enter(cls: type[torch.nn.Module]) -> type[torch.nn.Module]:
        if name in _entries and _entries[name].cls.__module__ != cls.__module__:
            raise ValueError(f"two methods are named {name!r}: {_entries[name].cls.__module__} and {cls.__module__}")
        _entries[name] = Entry(name, cls, config, title, arxiv, year, published, needs)
        return cls

    return enter


def methods() -> dict[str, Entry]:
    """Every registered method by name, in order of year and name."""
    package = importlib.import_module("densessl.methods")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"densessl.methods.{module.name}")
    for point in entry_points(group="densessl.methods"):
        point.load()
    return {entry.name: entry for entry in sorted(_entries.values(), key=lambda entry: (entry.year, entry.name))}


def method(name: str, others: Iterable[str] = ()) -> Entry:
    """The entry of one method; `UserError` with the nearest known name, or of `others`, when there is none."""
    known = methods()
    if name not in known:
        from densessl.config import nearest

        raise UserError(
            f"There is no method {name!r}{nearest(name, [*known, *others])} Known methods: {', '.join(known)}."
        )
    return known[name]
