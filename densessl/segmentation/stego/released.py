"""The checkpoints that STEGO's authors released, and those that their code writes (mhamilton723/STEGO at eb4d6b5).

Such a .ckpt of Lightning holds a whole model: DINO's ViT (`net.model`), the head (`net.cluster1`, `net.cluster2`), the
cluster probe, the linear probe, and the settings of its run. What is learned on top of features is read here; the
backbone in it is loaded by `load_backbone`, which takes the same file.

Features are made as the official code makes them: tokens behind the last norm ("feat"), or the keys of the last block
("KK"), with the official resizing of positions, the short side at the 320 px of its evaluation. The official code cuts
keys into 6 heads whatever the network; here a ViT-B has its 12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from densessl.backbones import inert, load_backbone, weights
from densessl.errors import UserError
from densessl.segmentation.features.extractor import weights_hash
from densessl.segmentation.model import Saved, Segmenter, load_model
from densessl.segmentation.sets import cityscapes, cocostuff, potsdam, voc
from densessl.segmentation.stego.head import StegoHead

IMAGE_SIZE = 320
SUFFIXES = (".ckpt", ".pth", ".pt")
CENTRES = "cluster_probe.clusters"
_FACETS = {"feat": "tokens", "KK": "keys"}
# By the official name of the data set; its directories have classes of their own, which nothing names.
NAMES: dict[str, tuple[str, ...]] = {
    "cocostuff27": cocostuff.COARSE,
    "cocostuff15": cocostuff.STUFF,
    "cocostuff3": cocostuff.FEW,
    "cityscapes": tuple(name for name, _, _ in cityscapes.CLASSES),
    "potsdam": potsdam.CLASSES,
    "potsdamraw": potsdam.CLASSES,
    "voc": voc.CLASSES,
}
Model = tuple[Segmenter, Saved]


def is_model(spec: str | Path) -> bool:
    """Whether this is a file or folder that holds segments, learned here or by STEGO's authors."""
    path = Path(spec).expanduser()
    if path.is_dir():
        return (path / "model.safetensors").is_file()
    if path.suffix == ".safetensors":
        return path.is_file() and "densessl-segment" in _metadata(path).get("format", "")
    return path.suffix in SUFFIXES and path.is_file() and inert.mentions(path, CENTRES)


def open_models(path: str | Path) -> dict[str, Model]:
    """Every model in a file, by what it is called: the "cluster probe" and the "linear probe" of a released one.

    Raises `UserError` when it holds none.
    """
    path = Path(path).expanduser()
    if path.suffix in SUFFIXES and path.is_file():
        return _read(path)
    return {"model": load_model(path)}


def open_model(path: str | Path, probe: str = "cluster") -> Model:
    """The model of a file: of a released one that with the probe "cluster" or "linear". Raises `UserError`."""
    found = open_models(path)
    if "model" in found:
        return found["model"]
    if f"{probe} probe" not in found:
        raise UserError(f"{path} has no {probe} probe, but: {', '.join(found)}.")
    return found[f"{probe} probe"]


def _read(path: Path) -> dict[str, Model]:
    loaded = weights.read_torch(path)
    state = weights.state_dict_of(loaded, str(path))
    if CENTRES not in state:
        raise UserError(
            f"{path} holds no segments: it is no checkpoint of STEGO, which has {CENTRES}. Give a model.safetensors "
            "that `densessl segment` wrote; a backbone goes to --backbone."
        )
    if "net.cluster1.0.weight" not in state or "net.model.patch_embed.proj.weight" not in state:
        raise UserError(f"{path} is a STEGO on another backbone than DINO's ViTs, which is not read: learn anew.")
    setting = _settings(loaded)
    backbone = load_backbone(path, positions="official")
    facet = _FACETS.get(str(setting("dino_feat_type", "feat")))
    if facet is None:
        raise UserError(f"{path} was trained on the features {setting('dino_feat_type')!r}, which are not read.")
    config = {"layers": [-1], "facet": facet, "positions": "official", "method": "stego", "image_size": None}
    names = NAMES.get(str(setting("dataset_name")))
    try:
        head = _head(state, setting)
        probes = {"cluster probe": Segmenter(head, state[CENTRES])}
        if "linear_probe.weight" in state:
            probes["linear probe"] = Segmenter(
                head, state["linear_probe.weight"].flatten(1), state["linear_probe.bias"]
            )
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path} is no whole checkpoint of STEGO: {str(error).splitlines()[0]}.") from None
    _check(probes, head, backbone.channels, path)
    shared = {"backbone": str(path), "weights": weights_hash(backbone), "image_size": IMAGE_SIZE, "config": config}
    return {
        title: (probe.eval(), Saved(**shared, names=_fitting(names, probe) if probe.bias is not None else None))
        for title, probe in probes.items()
    }


def _head(state: Mapping[str, Tensor], setting: Callable[..., Any]) -> StegoHead | None:
    """The head of the projection_type that the settings name; without any, of the layers that are there."""
    kind = setting("projection_type", "nonlinear" if "net.cluster2.0.weight" in state else "linear")
    if kind is None:
        return None
    dim, channels = state["net.cluster1.0.weight"].shape[:2]
    parts = {"linear": "net.cluster1.0"}
    if kind == "nonlinear":
        parts |= {"hidden": "net.cluster2.0", "out": "net.cluster2.2"}
    head = StegoHead(channels, dim, nonlinear=kind == "nonlinear")
    head.load_state_dict(
        {"mean": head.mean}
        | {f"{ours}.weight": state[f"{theirs}.weight"].flatten(1) for ours, theirs in parts.items()}
        | {f"{ours}.bias": state[f"{theirs}.bias"] for ours, theirs in parts.items()}
    )
    return head


def _check(probes: Mapping[str, Segmenter], head: StegoHead | None, channels: int, path: Path) -> None:
    """Raise `UserError` unless features, codes and probes have the lengths that belong together."""
    given = channels if head is None else head.linear.in_features
    length = channels if head is None else head.linear.out_features
    if given != channels:
        raise UserError(f"{path} has a head for {given} channels on a backbone of {channels}: it is damaged.")
    for title, probe in probes.items():
        if probe.centres.shape[1] != length:
            raise UserError(
                f"The {title} of {path} is for codes of {probe.centres.shape[1]} numbers, and its codes have {length}."
            )


def _settings(loaded: Mapping[str, Any]) -> Callable[..., Any]:
    """The settings of the run by their name, `cfg.NAME` or, as in later versions of the code, `cfg.train.NAME`."""
    given = inert.plain(loaded.get("hyper_parameters"))
    config = given.get("cfg") if isinstance(given, dict) else None
    config = config if isinstance(config, dict) else {}
    inner = config.get("train")
    known = config | (inner if isinstance(inner, dict) else {})
    return lambda name, default=None: known.get(name, default)


def _fitting(names: tuple[str, ...] | None, probe: Segmenter) -> tuple[str, ...] | None:
    return names if names and len(names) == probe.classes else None


def _metadata(path: Path) -> dict[str, str]:
    try:
        return weights.read_metadata(path)
    except UserError:
        return {}
