"""`densessl detect`: detectors of layout and tables, ours or detectron2's by the recipe that is named."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from densessl.cli.shared import Commands, Overrides, Settings, parted
from densessl.errors import UserError

detect = typer.Typer(
    cls=Commands,
    help="Layout and tables of pages: train a detector, judge it, find what lies on pages.\n\n"
    "densessl detect predict report.pdf --out found",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_RECIPE = Annotated[
    str,
    typer.Argument(metavar="CONFIG", help="A recipe of configs/detect, a path or a run's folder; NAME.py: detectron2."),
]


@detect.command("train")
def detect_train(recipe: _RECIPE, overrides: Overrides = None, settings: Settings = False) -> None:
    """Train a detector on labelled pages.

    densessl detect train finetune data=coco:mine.json val_share=0.2 out=runs/mine

    data is NAME:FOLDER or a COCO file, or a list of them; names are coco, ctdar, ctdar-archival, ctdar-modern,
    doclaynet, funsd, funsd-entities, publaynet, pubtables, pubtables-structure, voc, voc07 and voc12. A run that was
    stopped goes on when the same command is given again. Settings: classes, names, split, partial, documents, val,
    val_split, val_share, weights, scales, stretch, grey, light, worn, flip, layer_decay, freeze_norms, detector.*, and
    of densessl pretrain: limit, out, backbone, backbone_options, image_size, batch_size, epochs, steps, lr, workers,
    seed, devices, precision, accumulate, unreadable, checkpoint_minutes, checkpoint_steps, log_steps, optimizer.*.

    CONFIG.py is a LazyConfig file for detectron2, by its path or its name in configs/detectron2, such as coco.py; its
    settings are pages.data, pages.val, model.backbone.spec, model.weights, train.output_dir, train.max_iter, ...
    """
    _detection(recipe, "train")(recipe, overrides or [])


@detect.command("eval")
def detect_eval(recipe: _RECIPE, overrides: Overrides = None, settings: Settings = False) -> None:
    """Judge the detector of a run: average precision, and of tables cTDaR's weighted F1.

    densessl detect eval runs/layout val=coco:kept-apart

    The figures are written to evaluation.json in the run's folder, and pages with most mistakes to pictures.
    """
    print(_detection(recipe, "evaluate")(recipe, overrides or []))


@detect.command("predict")
def detect_predict(
    pages: Annotated[
        list[str], typer.Argument(metavar="PAGES... [KEY=VALUE]...", help="Images, PDFs, folders of them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for detections.json and overlays.")],
    model: Annotated[
        str | None,
        typer.Option(help="A run's folder, its detector.safetensors, or a .py of detectron2; else the one in the box."),
    ] = None,
    settings: Settings = False,
) -> None:
    """Find what lies on pages: a COCO file with scores, and pictures.

    densessl detect predict report.pdf --out found

    The same command again looks only at pages that are missing. Settings: score, masks, overlays, overlay, image_size,
    page_side, weights, split, devices.
    """
    from densessl.documents.detection import predict as run

    places, overrides = parted(pages)
    if not places:
        raise UserError("There is nothing to look at: name images, PDFs or folders of them.")
    print(run(places, out, model, overrides))


def _detection(recipe: str, name: str) -> Callable:
    """The function of this name for a recipe: detectron2's, or our own."""
    from densessl.documents.detection.config import by_detectron2

    module = "detectron2.run" if by_detectron2(recipe) else "detection"
    return getattr(importlib.import_module(f"densessl.documents.{module}"), name)
