"""The discrete VAE of DALL-E (Ramesh et al., arXiv 2102.12092, appendix A.1): networks between pixels and tokens.

The encoder is entered among timm's models as `dvae_encoder`, so that it is a backbone like any other. A residual block
has a quarter of its width inside, and its branch is multiplied by 1 / (all blocks)^2, by which a deep network of this
kind is stable when it starts. Convolutions start as N(0, 1 / fan-in) with bias 0 (official code). Channels double from
group to group; the encoder halves the map by the largest of four, the decoder doubles it by repetition.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

import torch
import torch.nn.functional as F
from timm.models import build_model_with_cfg, register_model
from torch import Tensor, nn

EPSILON = 0.1  # what keeps mapped pixels off 0 and 1
WIDEST = 8  # the most that a group's width exceeds `width`, whatever the number of groups
# timm divides by std after taking the mean away, which makes this (1 - 2 epsilon) x + epsilon.
MEAN, STD = -EPSILON / (1 - 2 * EPSILON), 1 / (1 - 2 * EPSILON)


def map_pixels(images: Tensor) -> Tensor:
    """[0, 1] -> [epsilon, 1 - epsilon], where the logit is finite (appendix A.3)."""
    return (1 - 2 * EPSILON) * images + EPSILON


def unmap_pixels(images: Tensor) -> Tensor:
    """Undo `map_pixels`, cut to [0, 1]."""
    return ((images - EPSILON) / (1 - 2 * EPSILON)).clamp(0, 1)


def convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.normal_(layer.weight, std=(inputs * kernel**2) ** -0.5)
    nn.init.zeros_(layer.bias)
    return layer


class Block(nn.Module):
    """(B, inputs, h, w) -> (B, outputs, h, w): four convolutions of these kernels beside the identity."""

    def __init__(self, inputs: int, outputs: int, kernels: Sequence[int], gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.skip = convolution(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        inside = outputs // 4
        widths = (inputs, inside, inside, inside, outputs)
        layers: list[nn.Module] = []
        for before, after, kernel in zip(widths[:-1], widths[1:], kernels, strict=True):
            layers += [nn.ReLU(), convolution(before, after, kernel)]
        self.branch = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.gain * self.branch(x)


def _group(inputs: int, outputs: int, kernels: Sequence[int], blocks: int, gain: float) -> nn.Sequential:
    return nn.Sequential(*(Block(outputs if place else inputs, outputs, kernels, gain) for place in range(blocks)))


def _check(width: int, groups: int, blocks: int) -> None:
    if width < 4 or width % 4:
        raise ValueError(f"width={width} must be a multiple of 4")
    if groups < 1 or blocks < 1:
        raise ValueError(f"groups={groups} and blocks={blocks} must be 1 or more")


class Encoder(nn.Module):
    """(B, 3, H, W) -> maps per group, and a vector: timm's interface. Stride 2^(groups - 1)."""

    def __init__(
        self, width: int = 256, groups: int = 4, blocks: int = 2, in_chans: int = 3, num_classes: int = 0
    ) -> None:
        super().__init__()
        _check(width, groups, blocks)
        if num_classes:
            raise ValueError("the encoder has no classifier")
        self.num_classes = num_classes
        widths = [width * min(WIDEST, 2**place) for place in range(groups)]
        self.stem = convolution(in_chans, width, 7)
        gain = (groups * blocks) ** -2
        pairs = zip([width, *widths[:-1]], widths, strict=True)
        self.groups = nn.ModuleList(_group(before, after, (3, 3, 3, 1), blocks, gain) for before, after in pairs)
        self.num_features = widths[-1]
        self.feature_info = [
            {"num_chs": channels, "reduction": 2**place, "module": f"groups.{place}"}
            for place, channels in enumerate(widths)
        ]

    def forward_intermediates(
        self,
        x: Tensor,
        indices: Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The map of each group asked for; `norm` passes the last through the ReLU that stands before the logits."""
        if output_fmt != "NCHW":
            raise ValueError(f"the encoder gives maps as NCHW, not {output_fmt}")
        count = len(self.groups)
        wanted = range(count) if indices is None else [index % count for index in indices]
        found, x = {}, self.stem(x)
        for place, group in enumerate(self.groups):
            x = group(x if place == 0 else F.max_pool2d(x, 2))
            if place == count - 1 and norm:
                x = F.relu(x)
            found[place] = x
            if stop_early and place == max(wanted):
                break
        maps = [found[index] for index in wanted]
        return maps if intermediates_only else (x, maps)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_intermediates(x, [-1], norm=True, intermediates_only=True)[0].mean((2, 3))


default_cfgs = {
    "dvae_encoder": {
        "url": "",
        "input_size": (3, 256, 256),
        "mean": (MEAN,) * 3,
        "std": (STD,) * 3,
        "num_classes": 0,
        "interpolation": "area",
        "first_conv": "stem",
    }
}


@register_model
def dvae_encoder(pretrained: bool = False, **kwargs: object) -> Encoder:
    """timm's entry; options: width, groups, blocks (of a group)."""
    return build_model_with_cfg(Encoder, "dvae_encoder", pretrained, **kwargs)


class Decoder(nn.Module):
    """Weights of the vocabulary at each place (B, K, h, w) -> (B, outputs, H, W) with H = stride h.

    stride: a power of 2. bottleneck: channels that the vocabulary is first brought down to.
    """

    def __init__(
        self, vocabulary: int, stride: int, outputs: int, width: int = 256, blocks: int = 2, bottleneck: int = 128
    ) -> None:
        super().__init__()
        if stride < 1 or 2 ** round(log2(stride)) != stride:
            raise ValueError(f"the decoder doubles its map, and a stride of {stride} is no power of 2")
        groups = round(log2(stride)) + 1
        _check(width, groups, blocks)
        self.options = {"outputs": outputs, "width": width, "blocks": blocks, "bottleneck": bottleneck}
        widths = [width * min(WIDEST, 2**place) for place in reversed(range(groups))]
        self.codebook = convolution(vocabulary, bottleneck, 1)
        gain = (groups * blocks) ** -2
        pairs = zip([bottleneck, *widths[:-1]], widths, strict=True)
        self.groups = nn.ModuleList(_group(before, after, (1, 3, 3, 3), blocks, gain) for before, after in pairs)
        self.output = convolution(widths[-1], outputs, 1)

    def forward(self, weights: Tensor) -> Tensor:
        # In the type of its parameters even under autocast, as the official code has it: the sum is over thousands.
        with torch.autocast(weights.device.type, enabled=False):
            x = self.codebook(weights.to(self.codebook.weight.dtype))
        return self._grown(x)

    def of_tokens(self, tokens: Tensor) -> Tensor:
        """As `forward` for one token at each place, (B, h, w) int64, without making the one-hot map."""
        vectors = F.embedding(tokens, self.codebook.weight[:, :, 0, 0].T) + self.codebook.bias
        return self._grown(vectors.permute(0, 3, 1, 2))

    def _grown(self, x: Tensor) -> Tensor:
        for place, group in enumerate(self.groups):
            x = group(x if place == 0 else F.interpolate(x, scale_factor=2, mode="nearest"))
        return self.output(F.relu(x))
