"""A backbone from a timm name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import timm
import timm.data
from timm.models import get_pretrained_cfg
from torch import nn

from densessl.backbones import beit, norms, positions, sobel, stems
from densessl.backbones.backbone import Backbone, near
from densessl.config import nearest
from densessl.errors import UserError

# A file of foreign origin must not make timm load another file, or download one.
FORBIDDEN = frozenset(
    ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "pretrained_filter_fn")
    + (
        "pretrained_model_args",
        "checkpoint_path",
        "cache_dir",
        "features_only",
        "feature_cfg",
        "num_classes",
        "in_chans",
    )
    + ("scriptable", "exportable", "no_jit", "device", "dtype", "kwargs_filter")
)
# Tried in this order: what makes a model take any size is called differently from family to family.
_ANY_SIZE = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})


def create_backbone(name: str, image_size: int | None = None, options: Mapping[str, Any] | None = None) -> Backbone:
    """The timm model `name` with random weights, drawn from torch's global generator.

    image_size: pixels of a side; None is the size that timm states for it. A small one brings a small stem by itself,
        which `notes` says.
    options: handed to timm (`embed_dim`, `depth`, `channels`, `drop_path_rate`, ...), beside our own: `stem`
        (standard, small, half, patch1, patch2), `norm` (layer, in the place of batch norm), `norm_eps` (of every
        LayerNorm), `sobel` (true: edges for colours) and `positions` (official: resized as DINO's code does).
    Raises `UserError` for an unknown name, an option that the model does not take, and a size that its stride does not
    divide.
    """
    options = _plain(dict(options or {}))
    size = check_image_size(image_size) or native_size(name)
    backbone = build(name, size, options)
    if image_size is None:
        return _fitting(round_size(backbone))
    if image_size >= native_size(name) or "stem" in options or "patch_size" in options:
        return _fitting(backbone)
    smaller, sentence = stems.choose(backbone.model, image_size)
    if smaller:
        backbone = build(name, size, {**options, **smaller})
        backbone.notes.append(f"{name} {sentence}.")
    return _fitting(backbone)


def build(
    name: str,
    image_size: int,
    options: Mapping[str, Any],
    pretrained: bool = False,
    pixels: tuple[Sequence[float], Sequence[float]] | None = None,
    inputs: int = 3,
) -> Backbone:
    """The model as the options say, no stem chosen: what a saved backbone is rebuilt with.

    pixels: mean and deviation in [0, 1] that it wants to see; None are those that timm states.
    inputs: channels of the images; of others than 3 the backbone's `normalise` and `pixels` know nothing.

    Raises `UserError` as `create_backbone`, but for the size. Whatever fails while weights are downloaded is raised as
    it comes.
    """
    own = {key: options[key] for key in ("stem", "norm", "norm_eps", "sobel", "positions") if key in options}
    rest = {key: value for key, value in options.items() if key not in own}
    refused = sorted(FORBIDDEN & rest.keys())
    if refused:
        raise UserError(f"The option {refused[0]} of the backbone {name} cannot be set: remove it.")
    model, size_option, any_size = _create(check_name(name), image_size, rest, pretrained, inputs)
    if not hasattr(model, "forward_intermediates") or not getattr(model, "feature_info", None):
        raise UserError(f"timm's {name} gives no feature maps, which everything dense needs: choose another backbone.")
    if "stem" in own and not (own["stem"] in stems.STEMS and stems.apply(model, own["stem"], inputs)):
        raise UserError(f"{name} has no stem {own['stem']!r}: give one of {', '.join(stems.STEMS)}, or none.")
    if "norm" in own:
        _set_norm(model, name, own["norm"])
    if "norm_eps" in own:
        _set_norm_eps(model, own["norm_eps"])
    if own.get("sobel"):
        sobel.see_edges(model, name)
    any_size = any_size or beit.any_grid(model)
    fixed = None if any_size else _built_size(model, {**rest, **size_option})
    config = timm.data.resolve_data_config({}, model=model)
    mean, std = pixels or (config["mean"], config["std"])
    backbone = Backbone(model, name, {**rest, **size_option, **own}, image_size, mean, std, fixed)
    return positions.set_positions(backbone, own["positions"]) if "positions" in own else backbone


def check_name(name: str) -> str:
    """The name, if timm knows it; else `UserError` with the nearest one."""
    if not isinstance(name, str) or not timm.is_model(name):
        known = timm.list_models()
        raise UserError(
            f"timm has no model {name!r}{nearest(str(name).split('.')[0], known)} "
            f"It has {len(known)}, such as resnet50, convnext_tiny and vit_small_patch16_224."
        )
    try:
        get_pretrained_cfg(name)
    except RuntimeError:
        architecture, _, tag = name.partition(".")
        tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{architecture}.*")]
        raise UserError(
            f"timm has no weights {tag!r} of {architecture}{nearest(tag, tags)} "
            f"It has {', '.join(tags) or 'none of it'}."
        ) from None
    return name


def native_size(name: str) -> int:
    """The side in pixels that timm states for this model."""
    return int(get_pretrained_cfg(check_name(name)).input_size[-1])


def check_image_size(image_size: int | None) -> int | None:
    """`UserError` unless it is None or a positive whole number."""
    if image_size is not None and (isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 1):
        raise UserError(f"image_size={image_size} is no size: give a whole number of pixels, such as 224.")
    return image_size


def check_divides(backbone: Backbone) -> Backbone:
    """`UserError` when the backbone does not take pictures of its image size."""
    size, stride = backbone.image_size, backbone.stride
    if backbone.fixed_size:
        if backbone.fixed_size != (size, size):
            raise UserError(
                f"{backbone.architecture} takes no other images than of {backbone.fixed_size[0]} pixels: "
                f"give image_size={backbone.fixed_size[0]}."
            )
    elif size % stride:
        below, above = size // stride * stride, (size // stride + 1) * stride
        choice = f"{below} or {above}" if below else str(above)
        raise UserError(
            f"image_size={size} is no multiple of {stride}, the stride of {backbone.architecture}: give {choice}."
        )
    return backbone


def round_size(backbone: Backbone) -> Backbone:
    """Move a size that nobody asked for to the nearest that the stride divides (Inception's 299 to 288)."""
    if not backbone.fixed_size:
        backbone.image_size = near(backbone.image_size, backbone.stride)
    return backbone


def _fitting(backbone: Backbone) -> Backbone:
    check_divides(backbone)
    cells = backbone.image_size // backbone.stride
    if cells < 4:
        backbone.notes.append(
            f"A picture of {backbone.image_size} pixels gives a map of only {cells} x {cells} cells in "
            f"{backbone.architecture}, whose stride is {backbone.stride}."
        )
    return backbone


def _create(
    name: str, image_size: int, options: dict[str, Any], pretrained: bool, inputs: int
) -> tuple[nn.Module, dict[str, Any], bool]:
    """The timm model, the size option it was built with, and whether it takes any size."""
    size = {} if "img_size" in options else {"img_size": image_size}
    fixed = {"pretrained": pretrained, "num_classes": 0} | ({} if inputs == 3 else {"in_chans": inputs})
    attempts = [({**size, **flag}, size, bool(flag)) for flag in _ANY_SIZE] + [({}, {}, True)]
    errors: list[Exception] = []
    for extra, recorded, any_size in attempts:
        try:
            model = timm.create_model(name, **fixed, **{**extra, **options})
        except (
            TypeError,
            AssertionError,
            ValueError,
            RuntimeError,
            AttributeError,
            KeyError,
            ZeroDivisionError,
        ) as error:
            if pretrained and not isinstance(error, TypeError):
                raise
            errors.append(error)
            # Only an argument that the model does not know is a reason to try without it.
            if (
                isinstance(error, TypeError)
                and "unexpected keyword" in str(error)
                and any(key in str(error) for key in extra)
            ):
                continue
            break
        return model, recorded, any_size
    told = ", ".join(f"{key}={value}" for key, value in options.items()) or f"image_size={image_size}"
    raise UserError(f"timm's {name} cannot be built with {told}: {_reason(errors[-1])}") from errors[-1]


def _built_size(model: nn.Module, options: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) that a model was built for."""
    size = options.get("img_size") or model.pretrained_cfg["input_size"][-2:]
    return (int(size[0]), int(size[1])) if isinstance(size, (tuple, list)) else (int(size), int(size))


def _set_norm(model: nn.Module, name: str, norm: Any) -> None:
    if norm != "layer":
        raise UserError(f"{name} has no norm {norm!r}: give layer, in the place of batch norm, or none.")
    if not norms.replace_batch_norm(model):
        raise UserError(f"{name} has no batch norm that a layer norm could stand for: leave the option norm out.")


def _set_norm_eps(model: nn.Module, eps: float) -> None:
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = float(eps)


def _plain(value: Any) -> Any:
    """Configs of OmegaConf and tuples as dicts and lists, which JSON keeps."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return (text[0].rstrip(".") if text else type(error).__name__) + "."
