"""What happens around the steps: checkpoints, signals, the log, monitors, the exported backbone."""

from __future__ import annotations

import csv
import io
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.tensorboard import SummaryWriter

from densessl.data.dataset import ImageSource
from densessl.data.sources import Unreadable
from densessl.distributed import any_process, from_all, mean_over_processes, world_size
from densessl.errors import RunStopped
from densessl.files import write_text, writing
from densessl.training.module import PretrainModule
from densessl.training.monitors import ChanceMonitor, CollapseMonitor

FLUSH_SECONDS = 30.0  # between writes of metrics.csv
DRAW_SECONDS = 60.0  # at least, between two states of the pictures


class Checkpoints(Callback):
    """Writes last.ckpt every few minutes, at the end and when a signal asks; step-N.ckpt every `keep_every` steps.

    draw: writes the run's pictures as they stand; called after last.ckpt was written, on the first process alone.

    SIGTERM and Ctrl-C end the run after the step under way, with everything saved; a second Ctrl-C ends it at once.
    A method that looks at all images when an epoch begins is saved at the end of each, so that the look, which may take
    minutes, can be broken off with nothing lost.
    """

    def __init__(self, folder: Path, minutes: float, keep_every: int | None, draw: Callable[[], None]) -> None:
        self.folder, self.seconds, self.keep_every, self.draw = folder, 60 * minutes, keep_every, draw
        self.saved_at = self.drawn_at = time.monotonic()
        self.asked: signal.Signals | None = None

    def on_train_start(self, trainer: pl.Trainer, module: PretrainModule) -> None:
        self.saved_at = time.monotonic()
        self.listen()

    def listen(self) -> None:
        """Take the signals over; from within the run, since Lightning's own handlers end it with nothing saved."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._ask)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Give the signals back to who had them before the run."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = signal.Signals(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(self, trainer: pl.Trainer, module: PretrainModule, outputs, batch, batch_idx: int) -> None:
        if (batch_idx + 1) % module.config.accumulate:
            return
        step, total = module.steps_done, module.schedule.total_steps
        if self.keep_every and step % self.keep_every == 0:
            self.save(trainer, module, f"step-{step}.ckpt")
        due = time.monotonic() - self.saved_at >= self.seconds
        due |= hasattr(module.method, "epoch_start") and step % module.schedule.steps_per_epoch == 0
        if not any_process(self.asked is not None or due or step >= total):
            return
        self.save(trainer, module, "last.ckpt")
        self.saved_at = time.monotonic()
        if step < total:
            self.heed(module)
            if trainer.is_global_zero and time.monotonic() - self.drawn_at >= DRAW_SECONDS:
                self.draw()
                self.drawn_at = time.monotonic()

    def heed(self, module: PretrainModule) -> None:
        """Raise `RunStopped` when a signal has asked for it; every process calls this where nothing is unsaved."""
        if any_process(self.asked is not None):
            name, step = self.asked.name if self.asked else "A signal to another process", module.steps_done
            where = (
                f"after step {step} of {module.schedule.total_steps}; all is saved, and" if step else "before step 1;"
            )
            raise RunStopped(f"{name} ended the run {where} the same command goes on from there.", self.asked)

    def save(self, trainer: pl.Trainer, module: PretrainModule, name: str) -> None:
        """Write a checkpoint, whole or not at all; every process takes part. Raises `NotFinite` for broken weights."""
        module.check_finite()
        path = self.folder / name
        with writing(path) if trainer.is_global_zero else nullcontext(path) as temporary:
            trainer.save_checkpoint(temporary)


class Log(Callback):
    """metrics.csv, TensorBoard and progress: loss, rates, images per second, share of the time spent waiting for data.

    Rows of later steps, left by a run that was killed after its last checkpoint, are dropped when it goes on.
    """

    def __init__(
        self, folder: Path, every: int, report: Callable[[str, int, int, str], None], title: str = "Pretraining"
    ) -> None:
        self.folder, self.every, self.report, self.title = folder, every, report, title
        self.rows: list[dict[str, str]] = []
        self.writer: SummaryWriter | None = None
        self.ended = self.since = self.flushed = time.monotonic()
        self.waited, self.losses, self.images = 0.0, [], 0

    @property
    def path(self) -> Path:
        return self.folder / "metrics.csv"

    def on_train_start(self, trainer: pl.Trainer, module: PretrainModule) -> None:
        if not trainer.is_global_zero:
            return
        if self.path.exists():
            with open(self.path, newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= module.steps_done]
        self.writer = SummaryWriter(str(self.folder), purge_step=module.steps_done + 1)
        self.ended = self.since = time.monotonic()

    def on_train_batch_start(self, trainer: pl.Trainer, module: PretrainModule, batch, batch_idx: int) -> None:
        self.waited += time.monotonic() - self.ended

    def on_train_batch_end(self, trainer: pl.Trainer, module: PretrainModule, outputs, batch, batch_idx: int) -> None:
        self.ended = time.monotonic()
        self.losses.append(module.output.loss)
        self.images += len(batch["index"]) * world_size()
        if (batch_idx + 1) % module.config.accumulate:
            return
        step, total = module.steps_done, module.schedule.total_steps
        if step % self.every == 0 or step in (1, total):
            loss = float(mean_over_processes(torch.stack(self.losses).float().mean()))
            if trainer.is_global_zero:
                self._row(module, step, loss)
            self.waited, self.losses, self.images, self.since = 0.0, [], 0, self.ended
        if trainer.is_global_zero:
            self.report(self.title, step, total, f"loss {float(self.rows[-1]['loss']):.4f}" if self.rows else "")

    def _row(self, module: PretrainModule, step: int, loss: float) -> None:
        seconds = max(1e-9, self.ended - self.since)
        values = {
            "loss": loss,
            "learning_rate": module.schedule.learning_rate(step - 1),
            "images_per_second": self.images / seconds,
            "waiting_for_data": self.waited / seconds,
        }
        values |= {name: float(value) for name, value in module.output.metrics.items()}
        self.rows.append({"step": str(step), "epoch": f"{step / module.schedule.steps_per_epoch:.4f}"})
        self.record(values, step)
        if self.ended - self.flushed > FLUSH_SECONDS:
            self.flush()

    def record(self, values: dict[str, float], step: int) -> None:
        """Add figures to the newest row and to TensorBoard."""
        self.rows[-1] |= {name: f"{value:.6g}" for name, value in values.items()}
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def on_save_checkpoint(self, trainer: pl.Trainer, module: PretrainModule, checkpoint: dict[str, Any]) -> None:
        # Before the checkpoint, so that a kill between the two leaves rows too many, which the next start drops.
        self.flush()

    def flush(self) -> None:
        """Write metrics.csv, whole or not at all."""
        if not self.rows or self.writer is None:
            return
        self.flushed = time.monotonic()
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        table = csv.DictWriter(text, names, lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        write_text(self.path, text.getvalue())
        self.writer.flush()

    def close(self) -> None:
        """Write what is left, and end TensorBoard's file."""
        self.flush()
        if self.writer is not None:
            self.writer.close()


class Monitors(Callback):
    """Says once when the loss still stands at chance, and once when the embeddings have collapsed."""

    def __init__(self, chance: float, metrics: Log, say: Callable[[str], None]) -> None:
        self.chance, self.collapse = ChanceMonitor(chance), CollapseMonitor()
        self.metrics, self.say = metrics, say

    def on_train_batch_end(self, trainer: pl.Trainer, module: PretrainModule, outputs, batch, batch_idx: int) -> None:
        if not trainer.is_global_zero:
            return
        watched = module.output.embedding if module.output.projection is None else module.output.projection
        if watched is not None:
            self.collapse.update(watched)
        if (batch_idx + 1) % module.config.accumulate:
            return
        step, sentences = module.steps_done, [self.chance.update(module.output.loss)]
        if step % (10 * self.metrics.every) == 0 or step == module.schedule.total_steps:
            figures, sentence = self.collapse.check()
            self.metrics.record(figures, step)
            sentences.append(sentence)
        for sentence in filter(None, sentences):
            self.say(sentence)

    def state_dict(self) -> dict[str, Any]:
        return {"chance": self.chance.state_dict(), "collapse": self.collapse.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.chance.load_state_dict(state["chance"])
        self.collapse.load_state_dict(state["collapse"])


class CountUnreadable(Callback):
    """Lists unreadable images in the run's folder, and ends the run when there are more than the stated share."""

    def __init__(self, source: ImageSource, share: float, folder: Path) -> None:
        self.source, self.share, self.folder = source, share, folder
        self.seen: dict[int, str] = {}

    def on_train_start(self, trainer: pl.Trainer, module: PretrainModule) -> None:
        if trainer.is_global_zero:
            self._found().write(self.folder)

    def on_train_batch_end(self, trainer: pl.Trainer, module: PretrainModule, outputs, batch, batch_idx: int) -> None:
        new = {index: reason for index, reason in batch["unreadable"] if index not in self.seen}
        if not any_process(bool(new)):
            return
        for found in from_all(new):
            self.seen |= found
        unreadable = self._found()
        if trainer.is_global_zero:
            unreadable.write(self.folder)
        unreadable.check(len(self.source), self.share)

    def _found(self) -> Unreadable:
        unreadable = Unreadable(getattr(self.source, "broken", None))
        for index, reason in sorted(self.seen.items()):
            unreadable.add(self.source.name(index), reason)
        return unreadable

    def state_dict(self) -> dict[str, Any]:
        return {"seen": dict(self.seen)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = dict(state["seen"])
