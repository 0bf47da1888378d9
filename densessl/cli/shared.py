"""What commands share: how Ctrl-C ends them, --settings, and arguments that are places or settings."""

from __future__ import annotations

import importlib
import re
import signal
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from densessl.errors import RunStopped


class Commands(TyperGroup):
    """Commands that Ctrl-C ends as `main` says: typer itself would end the process without a word."""

    def invoke(self, ctx: typer.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise RunStopped("Stopped.", signal.SIGINT) from None


# The dataclasses that say what a command can be told.
CONFIGS = {
    "pretrain": ["densessl.training.config:PretrainConfig"],
    "segment": ["densessl.segmentation.config:SegmentConfig"],
    "evaluate": [
        "densessl.evaluation.knn:KnnConfig",
        "densessl.evaluation.linear:LinearConfig",
        "densessl.evaluation.finetune:FinetuneProtocol",
        "densessl.evaluation.segments:SegmentsConfig",
    ],
    "finetune": ["densessl.classification.config:FinetuneConfig"],
    "distill": ["densessl.classification.config:DistillConfig"],
    "pages": ["densessl.data.synthetic.pages:PagesConfig"],
    "train": ["densessl.documents.detection.config:DetectConfig"],
    "eval": ["densessl.documents.detection.config:DetectConfig"],
    "parse": ["densessl.documents.parsing.config:ParseConfig"],
    "app": ["densessl.apps.config:AppConfig"],
    "predict": ["densessl.documents.detection.predict:PredictConfig"],
}


def _list_settings(ctx: typer.Context, asked: bool) -> None:
    if not asked:
        return
    from densessl.describe import settings

    for place in CONFIGS[ctx.info_name]:
        module, _, name = place.partition(":")
        print(settings(getattr(importlib.import_module(module), name)), end="\n\n")
    raise typer.Exit


Settings = Annotated[
    bool,
    typer.Option("--settings", help="List all settings with what they mean.", is_eager=True, callback=_list_settings),
]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings that overrule.")]


def parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Places and key=value of a command that takes both."""
    overrides = [each for each in arguments if re.match(r"^[A-Za-z_][\w.]*=", each) and not Path(each).exists()]
    return [each for each in arguments if each not in overrides], overrides
