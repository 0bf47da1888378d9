"""Rates of learning that fall from layer to layer of a backbone, one rule for a detector and its twin in detectron2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from timm.models import group_parameters
from torch import nn

from densessl.backbones import Backbone


def backbone_groups(backbone: Backbone, decay: float) -> list[dict[str, Any]]:
    """The weights of a backbone as dicts of `params`, `lr_scale` and `decays`, whether weight decay is on them.

    lr_scale: of L layers the last has `decay`, the first `decay`^L, and what stands before them, such as the patches of
    a transformer, `decay`^(L + 1), as ViTDet has it (arXiv 2203.16527); norms behind them have 1, as neck and heads.
    decays: not biases, norms, and a transformer's positions and class token.
    """
    model = backbone.model
    plain = getattr(model, "no_weight_decay", tuple)()
    # Not get_parameter: positions of `AnyGridBeit` are a property, resized to the grid of the last page.
    weights = dict(model.named_parameters())
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, scale in layer_rates(model, decay).items():
        weight = weights[name]
        if weight.requires_grad:
            groups.setdefault((scale, weight.ndim > 1 and name not in plain), []).append(weight)
    return [{"params": each, "lr_scale": scale, "decays": decays} for (scale, decays), each in groups.items()]


def layer_rates(model: nn.Module, decay: float) -> dict[str, float]:
    """The share of the rate of each parameter of a timm network; layers are those that timm tells of it."""
    names = [name for name, _ in model.named_parameters()]
    if not hasattr(model, "group_matcher"):
        return dict.fromkeys(names, decay)
    matcher = model.group_matcher(coarse=False)
    layers = group_parameters(model, matcher, reverse=True)
    within = [name for name in names if _matched(name, matcher)]
    last = max(layers[name] for name in within)
    return dict.fromkeys(names, 1.0) | {name: decay ** (last + 1 - layers[name]) for name in within}


def _matched(name: str, matcher: Any) -> bool:
    """Whether a parameter is of a layer; timm makes one more of the norm behind the last."""
    if not isinstance(matcher, Mapping):
        return True
    patterns = [each if isinstance(each, list | tuple) else [(each, None)] for each in matcher.values() if each]
    return any(re.match(pattern, name) for each in patterns for pattern, _ in each)
