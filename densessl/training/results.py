"""What a run leaves in its folder beside checkpoints and the log."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from omegaconf import OmegaConf

from densessl import config as configs
from densessl.backbones import save_backbone
from densessl.data.dataset import ImageSource, ViewDataset, collate, render_views
from densessl.data.images import UnreadableImage
from densessl.data.sources.layers import Layer
from densessl.data.views import ViewSpec
from densessl.distributed import alone
from densessl.environment import environment
from densessl.errors import UserError
from densessl.files import remove_leftovers, write_bytes, write_text
from densessl.modes import evaluating
from densessl.training.config import PretrainConfig
from densessl.training.module import NotFinite, PretrainModule
from densessl.training.pictures import features_picture, save_picture, sheet_picture, views_picture

PICTURED = 8  # images in a picture
THUMBNAIL = 64  # pixels of an image among many
WHOLE = ViewSpec(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0, jitter=0, grey=0, blur=0)  # the square in its middle


def begin(config: PretrainConfig, folder: Path, dataset: ViewDataset, labelled: bool = False) -> None:
    """Write config.yaml, data.json, environment.json and, at the first start, pictures/views.png."""
    remove_leftovers(folder)
    configs.save(OmegaConf.structured(config), folder / "config.yaml")
    write_text(folder / "data.json", json.dumps(data_summary(dataset.source, labelled), indent=1))
    write_text(folder / "environment.json", json.dumps(environment(), indent=1))
    if not begun(folder):
        shown = min(PICTURED, len(dataset))
        batch = render_views(collate([dataset[0, index] for index in _spread(len(dataset), shown)]), dataset.sizes)
        if "failed" in batch:
            raise UserError(f"{batch['failed']}")
        names = [dataset.source.name(int(index)) for index in batch["index"]]
        views, columns = _with_layers(batch, dataset.source)
        save_picture(views_picture(views, names, columns), folder / "pictures" / "views.png")


def _with_layers(batch: dict, source: ImageSource) -> tuple[list[torch.Tensor], list[str] | None]:
    """The views and pictures of the layers, and headers for both where there are layers."""
    views, layers = batch["views"], getattr(source, "layers", [])
    if not layers:
        return views, None
    shown = [_layer_picture(layer, values) for layer, values in zip(layers, batch["layers"], strict=True)]
    headers = [f"view {place}" for place in range(1, len(views) + 1)]
    return [*views, *shown], headers + [f"{each.name}\n{each.key}".strip() for each in layers]


def _layer_picture(layer: Layer, values: torch.Tensor) -> torch.Tensor:
    """uint8 (B, c, s, s) -> uint8 (B, 3, s, s)."""
    pictures = [layer.picture(each) for each in values.permute(0, 2, 3, 1).numpy()]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def data_summary(source: ImageSource, labelled: bool = False) -> dict:
    """How many images there are and a hash of their names, by which a restart knows that they are the same.

    labelled: with a hash of their labels too.
    """
    digest = hashlib.sha256("\n".join(source.name(index) for index in range(len(source))).encode())
    summary = {"images": len(source), "names": digest.hexdigest()}
    if labelled:
        labels = "\n".join(str(source.label(index)) for index in range(len(source)))
        summary["labels"] = hashlib.sha256(labels.encode()).hexdigest()
    return summary


def begun(folder: Path) -> bool:
    """Whether there is something to go on from."""
    return (folder / "checkpoints" / "last.ckpt").exists() or finished(folder)


def finished(folder: Path) -> bool:
    """Whether a run ended there at its last step."""
    try:
        record = json.loads((folder / "backbone.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(record.get("finished")) and (folder / "backbone.safetensors").exists()


def finish(module: PretrainModule, dataset: ViewDataset, folder: Path) -> None:
    """Write the head that the method keeps, pictures, and the backbone, which says that the run is finished."""
    config, schedule = module.config, module.schedule
    backbone = module.method.backbone.eval()
    record = {
        "method": config.method,
        "data": str(config.data),
        "images": len(dataset),
        "steps": module.steps_done,
        "epochs": round(module.steps_done / schedule.steps_per_epoch, 3),
        "batch_size": config.batch_size,
        "seed": config.seed,
        "finished": module.steps_done >= schedule.total_steps,
    }
    draw(module, dataset, folder)
    if hasattr(module.method, "files"):
        for name, data in module.method.files().items():
            write_bytes(folder / name, data)
    # Last, since it tells that the run is finished.
    save_backbone(backbone, folder, record)


@torch.no_grad()
def draw(module: PretrainModule, dataset: ViewDataset, folder: Path) -> None:
    """Write pictures of the features, and of what the method itself shows, as they stand; for one process."""
    images = []
    for index in _spread(len(dataset), min(PICTURED, len(dataset))):
        try:
            images.append(dataset.source.read(index))
        except UnreadableImage:
            continue
    if images:
        save_picture(features_picture(module.method.backbone, images), folder / "pictures" / "features.png")
    if hasattr(module.method, "pictures"):
        with alone(), evaluating(module.method):
            _method_pictures(module, dataset, folder)


def _method_pictures(module: PretrainModule, dataset: ViewDataset, folder: Path) -> None:
    """Its clusters, masks, reconstructions."""
    indices = _spread(len(dataset), min(PICTURED, len(dataset)))
    # Where the weights are: a run on a GPU draws on its way too.
    batch = move_data_to_device(collate([dataset[0, index] for index in indices]), module.device)
    batch = render_views(batch, dataset.sizes)
    batch["views"] = [module.prepared(view) for view in batch["views"]]
    thumbnail = ViewDataset(dataset.source, [WHOLE], THUMBNAIL, dataset.seed)
    # The same masks each time. The run's own numbers do not follow from these: it seeds before each step and epoch.
    torch.manual_seed(module.config.seed)
    sheets = module.method.pictures(batch, lambda index: thumbnail[0, index]["views"][0])
    for name, sheet in sheets.items():
        drawn = sheet_picture(sheet.rows, sheet.headers, sheet.labels, sheet.marks)
        save_picture(drawn, folder / "pictures" / f"{name}.png")


def keep_not_finite(error: NotFinite, module: PretrainModule, dataset: ViewDataset, folder: Path) -> NotFinite:
    """Keep the batches and the weights that gave NaN, and say where."""
    kept = folder / "not-finite"
    state = {
        "batches": [{key: value for key, value in batch.items() if key != "unreadable"} for batch in module.batches],
        "weights": module.state_dict(),
        "optimizer": module.optimizers().optimizer.state_dict(),
    }
    data = io.BytesIO()
    torch.save(state, data)
    write_bytes(kept / "state.pt", data.getvalue())
    names = ", ".join(dataset.source.name(int(index)) for index in module.batches[-1]["index"][:3])
    return NotFinite(
        f"{error}. The last two batches ({names}, ...), the weights and the optimizer are kept in "
        f"{kept / 'state.pt'} for a look. Usual causes: a learning rate that is too high, precision=16, or no warm-up."
    )


def _spread(count: int, shown: int) -> list[int]:
    """`shown` of `count` indices, evenly."""
    return [place * count // shown for place in range(shown)]
