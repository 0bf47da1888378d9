"""The LightningModule around a method: views to floats, the moments, the schedules, one step count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from densessl.data.dataset import render_views
from densessl.data.views import PatchSides
from densessl.distributed import any_process, rank
from densessl.errors import RunStopped, UserError
from densessl.methods.registry import Images, Output, Progress
from densessl.training.config import PretrainConfig
from densessl.training.optimizer import Schedule, clip_gradients, create_optimizer


class PretrainModule(pl.LightningModule):
    """Trains `method` on batches of `ViewDataset`.

    sizes: of the views (`ViewDataset.sizes`), for batches whose views are made here. step: optimizer steps done; a
    persistent buffer, so that it comes back with the weights.
    """

    def __init__(
        self,
        method: nn.Module,
        config: PretrainConfig,
        schedule: Schedule,
        sizes: list[int | PatchSides],
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        super().__init__()
        self.method, self.config, self.schedule, self.sizes = method, config, schedule, sizes
        self.memory_format = memory_format  # of the views that the method is given
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.steps_done = 0  # the same on the host, so that reading it never waits for a GPU
        self.output: Output | None = None
        self.batches: list[dict[str, Any]] = []  # the one under way and the one before it
        self.images: Images | None = None  # what `epoch_start` looks at

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return create_optimizer(self.method, self.config.optimizer, self.schedule.peak)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.steps_done = int(checkpoint["state_dict"]["step"])

    @property
    def progress_now(self) -> Progress:
        return Progress(self.steps_done, self.schedule.total_steps, self.schedule.steps_per_epoch)

    def check_finite(self) -> None:
        """Raise `NotFinite` when a weight is not; what is saved must be worth going on from."""
        norms = torch._foreach_norm([parameter.detach() for parameter in self.method.parameters()])
        if any_process(not torch.isfinite(torch.stack(norms)).all()):
            raise NotFinite(f"A weight became NaN or infinite at step {self.steps_done}")

    def moment(self, name: str) -> None:
        """Call the method's moment of that name, if its paper has one."""
        if hasattr(self.method, name):
            getattr(self.method, name)(self.progress_now)

    def begin_epoch(self, epoch: int) -> None:
        """The method's `epoch_start`, with random numbers of its own."""
        if not hasattr(self.method, "epoch_start"):
            return
        torch.manual_seed(hash((self.config.seed, epoch, -1)) & (2**63 - 1))
        optimizer = self.optimizers().optimizer
        for parameter in self.method.epoch_start(self.progress_now, self.images) or ():
            optimizer.state.pop(parameter, None)

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        if any_process("failed" in batch):
            raise UserError(batch.get("failed", "Another process could not read its images."))
        part = batch_idx % self.config.accumulate
        # What a step draws depends on its place alone, so that a restart draws the same without any saved state.
        # Each process has its own, or the third image of every process would have the same channels dropped.
        torch.manual_seed(hash((self.config.seed, self.steps_done, part, rank())) & (2**63 - 1))
        if part:
            return
        self.schedule.apply(self.optimizers().optimizer, self.steps_done)
        self.moment("before_step")

    def prepared(self, view: Tensor) -> Tensor:
        """A uint8 view as the method is given it: normalised, in the run's memory format."""
        if view.ndim == 5:  # in patches, (B, P, 3, s, s)
            return self.prepared(view.flatten(0, 1)).unflatten(0, view.shape[:2])
        return self.method.backbone.normalise(view).contiguous(memory_format=self.memory_format)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.batches = [*self.batches[-1:], batch]
        batch = render_views(batch, self.sizes)
        output = self.method(batch | {"views": [self.prepared(view) for view in batch["views"]]})
        self.output = replace(output, loss=output.loss.detach())
        # All processes stop together: one that went on alone would wait for the others for ever.
        if any_process(not torch.isfinite(output.loss)):
            raise NotFinite(f"The loss became {float(output.loss.detach())} at step {self.steps_done + 1}")
        return output.loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.moment("after_backward")

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        limit = self.config.optimizer.clip
        if limit is not None:
            clip_gradients(self.method.parameters(), limit, self.config.optimizer.clip_each)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.steps_done += 1
        self.step.fill_(self.steps_done)
        # The step that was just done is what the moment is about.
        done = Progress(self.steps_done - 1, self.schedule.total_steps, self.schedule.steps_per_epoch)
        if hasattr(self.method, "after_step"):
            self.method.after_step(done)


class NotFinite(RunStopped):
    """The loss, or a weight, became NaN or infinite."""
