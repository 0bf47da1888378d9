"""Tokenizers as others publish them: DALL-E's encoder and decoder, and the discrete VAE of BEiT's own code.

DALL-E's files are whole modules, pickled. They are read with classes of the same names that hold attributes and do
nothing, by torch's restricted unpickler, so that no code of the file or of that package runs; the published network is
built here and given the tensors.
"""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densessl.backbones import weights
from densessl.backbones.create import build
from densessl.backbones.dvae import Decoder
from densessl.backbones.tokenizer import DiscreteVAE, Tokenizer
from densessl.errors import UserError

ENCODER, DECODER, BEIT = "encoder.pkl", "decoder.pkl", "pytorch_model.bin"
_CLASSES = (
    "dall_e.encoder.Encoder",
    "dall_e.encoder.EncoderBlock",
    "dall_e.decoder.Decoder",
    "dall_e.decoder.DecoderBlock",
    "dall_e.utils.Conv2d",
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.activation.ReLU",
    "torch.nn.modules.linear.Identity",
    "torch.nn.modules.pooling.MaxPool2d",
    "torch.nn.modules.upsampling.Upsample",
)


class _Part:
    """What is left of a pickled module: its attributes."""


_STAND_INS = [type(name.rpartition(".")[2], (_Part,), {"__module__": name.rpartition(".")[0]}) for name in _CLASSES]


def load(path: Path) -> Tokenizer:
    """The tokenizer of a file that is not ours; `UserError` when it is none that is known."""
    state = _state(path)
    if "blocks.input.w" in state:
        return _dall_e(state, path)
    if "encoder.0.0.weight" in state:
        return _beit(state, path)
    raise UserError(
        f"{path} is no tokenizer: its names ({', '.join(list(state)[:3])}, ...) are neither those of DALL-E's encoder "
        "nor of BEiT's discrete VAE."
    )


def _state(path: Path) -> dict[str, Tensor]:
    loaded = weights.read_torch(path, _STAND_INS)
    if isinstance(loaded, _Part):
        return dict(_tensors(loaded))
    if isinstance(loaded, dict) and isinstance(loaded.get("weights"), dict):
        loaded = loaded["weights"]  # as BEiT's code saves it
    return weights.state_dict_of(loaded, str(path))


def _tensors(part: Any, prefix: str = "") -> list[tuple[str, Tensor]]:
    """Names and tensors of a module that is no module any more, as its state dict would have them."""
    held = vars(part) if isinstance(part, _Part) else {}
    own = [(prefix + name, each.detach()) for name, each in (held.get("_parameters") or {}).items() if each is not None]
    inside = (held.get("_modules") or {}).items()
    return own + [pair for name, each in inside for pair in _tensors(each, f"{prefix}{name}.")]


def _dall_e(state: dict[str, Tensor], path: Path) -> DiscreteVAE:
    if "blocks.output.conv.w" not in state or state["blocks.input.w"].shape[1] != 3:
        raise UserError(f"{path} is DALL-E's decoder, or a part of it: give its encoder.pkl.")
    groups, blocks = _count(state, "blocks.group_{}."), _count(state, "blocks.group_1.block_{}.")
    options = {"width": len(state["blocks.input.b"]), "groups": groups, "blocks": blocks}
    vocabulary = len(state["blocks.output.conv.b"])
    backbone = build("dvae_encoder", 256, options)
    renamed = _renamed(state, "backbone.model.stem", "backbone.model.groups", "head")
    beside, decoder = path.with_name(DECODER), None
    if beside.is_file() and beside != path:
        decoder, theirs = _decoder(_state(beside), vocabulary, backbone.stride, beside)
        renamed |= theirs
    vae = DiscreteVAE(backbone, vocabulary, decoder)
    weights.fit(vae, renamed, str(path), "DALL-E's discrete VAE")
    return vae


def _decoder(state: dict[str, Tensor], vocabulary: int, stride: int, path: Path) -> tuple[Decoder, dict[str, Tensor]]:
    fits = "blocks.input.w" in state and state["blocks.input.w"].shape[1] == vocabulary
    if not fits or 2 ** (_count(state, "blocks.group_{}.") - 1) != stride:
        raise UserError(f"{path} does not belong to the encoder beside it: its vocabulary or its stride is another.")
    outputs, width = state["blocks.output.conv.w"].shape[:2]
    blocks, bottleneck = _count(state, "blocks.group_1.block_{}."), len(state["blocks.input.b"])
    decoder = Decoder(vocabulary, stride, outputs, width, blocks, bottleneck)
    return decoder, _renamed(state, "decoder.codebook", "decoder.groups", "decoder.output")


def _count(state: dict[str, Tensor], pattern: str) -> int:
    """How many of `pattern` with 1, 2, ... in its place are there."""
    present = (any(name.startswith(pattern.format(number)) for name in state) for number in range(1, 1000))
    return len(list(takewhile(bool, present)))


def _renamed(state: dict[str, Tensor], first: str, groups: str, last: str) -> dict[str, Tensor]:
    """DALL-E's names as ours; `first`, `groups` and `last` are what its parts are called here."""

    def block(match: re.Match) -> str:
        return f"{groups}.{int(match[1]) - 1}.{int(match[2]) - 1}."

    found = {}
    for name, value in state.items():
        name = name.removeprefix("blocks.").replace("input.", f"{first}.", 1).replace("output.conv.", f"{last}.", 1)
        name = re.sub(r"^group_(\d+)\.block_(\d+)\.", block, name).replace(".id_path.", ".skip.")
        name = re.sub(r"\.res_path\.conv_(\d+)\.", lambda match: f".branch.{2 * int(match[1]) - 1}.", name)
        found[re.sub(r"\.w$", ".weight", re.sub(r"\.b$", ".bias", name))] = value
    return found


class BEiTVAE(Tokenizer):
    """The discrete VAE of BEiT's code (`modeling_discrete_vae.py`): strided convolutions, each with a residual block.

    It wants pixels in [-1, 1]; its decoder starts from the vectors of a codebook.
    """

    def __init__(self, vocabulary: int, hidden: int, codebook: int, layers: int) -> None:
        super().__init__()
        self.vocabulary, self.stride = vocabulary, 2**layers
        self.codebook = nn.Embedding(vocabulary, codebook)
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for layer in range(layers):
            down += [_halving(hidden if layer else 3, hidden), _Residual(hidden)]
            up += [_doubling(hidden if layer else codebook, hidden), _Residual(hidden)]
        self.encoder = nn.Sequential(*down, nn.Conv2d(hidden, vocabulary, 1))
        self.decoder = nn.Sequential(*up, nn.Conv2d(hidden, 3, 1))

    def logits(self, images: Tensor) -> Tensor:
        return self.encoder(2 * images - 1)

    @property
    def decodes(self) -> bool:
        return True

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        return ((self.decoder(self.codebook(tokens).permute(0, 3, 1, 2)) + 1) / 2).clamp(0, 1)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        wide = {"kernel_size": 3, "padding": 1}
        layers = (nn.Conv2d(width, width, **wide), nn.ReLU(), nn.Conv2d(width, width, **wide), nn.ReLU())
        self.net = nn.Sequential(*layers, nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.ReLU())


def _doubling(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1), nn.ReLU())


def _beit(state: dict[str, Tensor], path: Path) -> BEiTVAE:
    if "codebook.weight" not in state:
        raise UserError(f"{path} lacks codebook.weight: it is no discrete VAE of BEiT.")
    vocabulary, codebook = state["codebook.weight"].shape
    layers = sum(re.fullmatch(r"encoder\.\d+\.0\.weight", name) is not None for name in state)
    vae = BEiTVAE(vocabulary, state["encoder.0.0.weight"].shape[0], codebook, layers)
    weights.fit(vae, state, str(path), "BEiT's discrete VAE")
    return vae
