"""A backbone from wherever it is."""

from __future__ import annotations

from pathlib import Path

import timm
from timm.models import get_pretrained_cfg

from densessl.backbones import huggingface, official
from densessl.backbones.backbone import Backbone
from densessl.backbones.create import build, check_divides, check_image_size, check_name, native_size, round_size
from densessl.backbones.positions import set_positions
from densessl.backbones.saved import DESCRIPTION, WEIGHTS, load_saved
from densessl.config import nearest
from densessl.errors import UserError

BOX = Path(__file__).parents[1] / "box"
_OFFICIAL = (".pth", ".pt", ".ckpt", ".bin", ".tar")


def load_backbone(spec: str | Path, image_size: int | None = None, positions: str | None = None) -> Backbone:
    """The backbone that `spec` names, with its weights.

    spec: "box", the one that the package brings (`densessl.box`); `timm:NAME`, `hf:REPO` (or a folder in that layout),
        a run's folder, a .safetensors file, an official .pth, .pt or .ckpt; for a file whose architecture cannot be
        told from names and shapes, `FILE@NAME` or `FILE@NAME,option=value`. A file of transformers' weights is one too.
    image_size: pixels of a side; None is the size the weights were trained at.
    positions: how a ViT's table of positions is resized to other sizes, by "timm" or as DINO's "official" code does it;
        None is what a file of ours says, else timm.
    What of a file was not used is told by `notes`. Raises `UserError` when there is no such thing, it cannot be
    downloaded, a file is damaged or holds more than weights, a weight is missing, or the size does not fit.
    """
    if not isinstance(spec, str | Path):
        raise UserError(
            f"A {type(spec).__name__} is no place of a backbone: give a path or a name; a network of transformers in "
            "memory is taken by densessl.backbones.huggingface.from_model."
        )
    backbone = _load(str(spec), check_image_size(image_size))
    backbone.fresh = False
    return set_positions(backbone, positions) if positions else backbone


def _load(spec: str, image_size: int | None) -> Backbone:
    if spec.startswith("timm:"):
        return check_divides(_from_timm(spec.removeprefix("timm:"), image_size))
    if spec.startswith("hf:"):
        return check_divides(huggingface.load(spec.removeprefix("hf:"), image_size))
    path, at = (BOX, "") if spec == "box" else _split(spec)
    if path.is_dir():
        return check_divides(_from_folder(path, image_size))
    if not path.is_file():
        raise UserError(_nothing_there(spec, path))
    if path.suffix == ".safetensors" and not at:
        saved = load_saved(path, image_size)
        if saved is not None:
            return check_divides(saved)
    if path.suffix != ".safetensors" and path.suffix not in _OFFICIAL:
        raise UserError(f"{path} is no backbone: give a run's folder, a .safetensors file or an official .pth.")
    return check_divides(official.load(path, at, image_size))


def _split(spec: str) -> tuple[Path, str]:
    """`FILE@NAME` -> file and name; a file with an @ in its own name stays whole."""
    whole = Path(spec).expanduser()
    if whole.exists() or "@" not in spec:
        return whole, ""
    file, _, name = spec.rpartition("@")
    return Path(file).expanduser(), name


def _from_folder(folder: Path, image_size: int | None) -> Backbone:
    if (folder / WEIGHTS).is_file():
        saved = load_saved(folder / WEIGHTS, image_size)
        if saved is None:
            raise UserError(
                f"{folder} lacks {DESCRIPTION}, which says what {WEIGHTS} is: name the file itself with @NAME."
            )
        return saved
    if (folder / "config.json").is_file():
        return huggingface.load_folder(folder, image_size)
    if (folder / "checkpoints").is_dir():
        raise UserError(f"{folder} is a run without {WEIGHTS} yet: let it end, or run the same command again to go on.")
    raise UserError(f"{folder} holds no backbone, neither {WEIGHTS} nor config.json: give a run's folder.")


def _from_timm(name: str, image_size: int | None) -> Backbone:
    size = native_size(name)
    if not get_pretrained_cfg(name).has_weights:
        known = timm.list_pretrained(f"{name.split('_')[0]}*")[:4] or ["resnet50.a1_in1k"]
        raise UserError(f"timm has no pretrained weights of {name}: give one that has, such as {', '.join(known)}.")
    try:
        with huggingface.quick():
            backbone = build(name, size, {}, pretrained=True)
            if image_size is not None and backbone.fixed_size and backbone.fixed_size != (image_size, image_size):
                backbone = build(name, image_size, {}, pretrained=True)
    except UserError:
        raise
    # What timm raises depends on the version of huggingface_hub and on what fails: DNS, proxy, time out, no such file.
    except Exception as error:
        raise huggingface.download_failed(f"timm:{name}", error) from error
    backbone.image_size = image_size or size
    return backbone if image_size else round_size(backbone)


def _nothing_there(spec: str, path: Path) -> str:
    try:
        check_name(spec)
        return (
            f"There is no file {spec}, but timm has a model of that name: give timm:{spec} for its pretrained weights."
        )
    except UserError:
        pass
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    return (
        f"There is no backbone {spec}{nearest(path.name, names)} Give a run's folder, a .safetensors file, an "
        "official .pth, timm:NAME or hf:REPO."
    )
