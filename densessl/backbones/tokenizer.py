"""Visual tokens: what turns an image into a grid of words of a vocabulary, and back where it can.

`load_tokenizer` finds one in a run of `densessl pretrain dvae`, in DALL-E's files or in those of BEiT's own VAE.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from densessl.backbones import saved, weights
from densessl.backbones.backbone import Backbone
from densessl.backbones.dvae import Decoder, convolution, unmap_pixels
from densessl.errors import UserError

WEIGHTS, DESCRIPTION = "tokenizer.safetensors", "tokenizer.json"
RECONSTRUCTIONS = ("logit_laplace", "l2", "l1")
FEW = 32  # tokens of even use, or an eighth of a small vocabulary, below which there is little to predict
_KEY = "densessl-tokenizer"  # of the description in the metadata of the file


class Tokenizer(nn.Module, ABC):
    """vocabulary: count of tokens K. stride: pixels of a side that one token stands for.

    perplexity: of how many tokens it made even use on the images that it was trained on; None where it is unknown.

    A subclass gives `logits` of images in [0, 1] and, where it has a decoder, `decode`.
    """

    vocabulary: int
    stride: int
    perplexity: float | None = None

    @torch.no_grad()
    def tokens(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] -> (B, H / stride, W / stride) int64, in the type of its weights.

        Raises `ValueError` when the stride does not divide H and W.
        """
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride or not height or not width:
            raise ValueError(
                f"The tokenizer gives a token to {self.stride} x {self.stride} pixels, which {height} x {width} is no "
                "multiple of."
            )
        # bfloat16 would decide between near tokens by its rounding.
        with torch.autocast(images.device.type, enabled=False):
            return self.logits(images.to(next(self.parameters()).dtype)).argmax(1)

    def doubts(self, name: str) -> list[str]:
        """A sentence on a tokenizer, called by this name, that tells its images apart by few tokens; none on others."""
        if self.perplexity is None or self.perplexity >= min(FEW, self.vocabulary / 8):
            return []
        return [
            f"{name} uses its {self.vocabulary} tokens as if it had {self.perplexity:.1f}, so that there is little to "
            "predict: train it for longer, on more images, or with a smaller dvae.kl_weight."
        ]

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] -> (B, K, h, w)."""

    @property
    def decodes(self) -> bool:
        """Whether there is a decoder."""
        return False

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens (B, h, w) -> images (B, 3, stride h, stride w) in [0, 1]."""
        raise ValueError("This tokenizer came without a decoder.")


class DiscreteVAE(Tokenizer):
    """Any backbone with logits of the vocabulary on its last map, and DALL-E's decoder (None: encoder alone).

    reconstruction: what the decoder gives: "logit_laplace" the statistics of that distribution (6 maps), "l2" and "l1"
        the pixels.
    """

    def __init__(
        self, backbone: Backbone, vocabulary: int, decoder: Decoder | None, reconstruction: str = "logit_laplace"
    ) -> None:
        super().__init__()
        self.vocabulary, self.stride, self.reconstruction = vocabulary, backbone.stride, reconstruction
        self.backbone = backbone
        self.head = convolution(backbone.layer_channels[-1], vocabulary, 1)
        self.decoder = decoder

    def encode(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised (B, 3, H, W) -> the backbone's last map (B, C, h, w), and logits (B, K, h, w)."""
        features = self.backbone.feature_maps(views)[-1]
        with torch.autocast(views.device.type, enabled=False):
            return features, self.head(features.to(self.head.weight.dtype))

    def logits(self, images: Tensor) -> Tensor:
        return self.encode(self.backbone.normalise(255 * images))[1]

    @property
    def decodes(self) -> bool:
        return self.decoder is not None

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        if self.decoder is None:
            return super().decode(tokens)
        found = self.decoder.of_tokens(tokens)
        if self.reconstruction == "logit_laplace":
            return unmap_pixels(found[:, :3].sigmoid())
        return found.clamp(0, 1)


def tokenizer_files(vae: DiscreteVAE) -> dict[str, bytes]:
    """What `load_tokenizer` reads again: tokenizer.safetensors and tokenizer.json, by name."""
    description = {
        "vocabulary": vae.vocabulary,
        "stride": vae.stride,
        "perplexity": vae.perplexity,
        "reconstruction": vae.reconstruction,
        "encoder": saved.describe(vae.backbone),
        "decoder": vae.decoder.options if vae.decoder else None,
    }
    text = json.dumps(description, indent=2)
    state = {name: value.detach().cpu().contiguous() for name, value in vae.state_dict().items()}
    return {
        WEIGHTS: save(state, metadata={"format": "pt", _KEY: text}),
        DESCRIPTION: f"{text}\n".encode(),
    }


def load_tokenizer(spec: str | Path) -> Tokenizer:
    """The tokenizer that `spec` names, in evaluation, without gradients.

    spec: a run of `densessl pretrain dvae` or its tokenizer.safetensors; DALL-E's encoder.pkl, or a folder with it
        (its decoder.pkl is read too where it lies beside); the weights of BEiT's own discrete VAE
        (pytorch_model.bin).
    Raises `UserError` when there is none, or a file is damaged, of another make, or holds code besides weights.
    """
    from densessl.backbones import tokenizer_official

    path = Path(spec).expanduser()
    if path.is_dir():
        known = (WEIGHTS, tokenizer_official.ENCODER, tokenizer_official.BEIT)
        inside = next((path / name for name in known if (path / name).is_file()), None)
        if inside is None:
            unfinished = (path / "checkpoints").is_dir()
            raise UserError(
                f"{path} is a run without {WEIGHTS}: let it end, if it is one of densessl pretrain dvae."
                if unfinished
                else f"{path} holds no tokenizer, none of {', '.join(known)}: give a run of densessl pretrain dvae."
            )
        path = inside
    if not path.is_file():
        raise UserError(f"There is no tokenizer {spec}: give a run of densessl pretrain dvae, or DALL-E's encoder.pkl.")
    found = _load_own(path) if path.suffix == ".safetensors" else tokenizer_official.load(path)
    return found.eval().requires_grad_(False)


def _load_own(path: Path) -> DiscreteVAE:
    state, metadata = weights.read_safetensors(path)
    try:
        vae = _rebuild(json.loads(metadata[_KEY]), str(path))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no tokenizer that densessl pretrain dvae wrote ({error!r}).") from error
    weights.fit(vae, state, str(path), "the tokenizer")
    return vae


def _rebuild(description: dict[str, Any], where: str) -> DiscreteVAE:
    backbone = saved.rebuild(description["encoder"], where)
    vocabulary, options = int(description["vocabulary"]), description["decoder"]
    decoder = None if options is None else Decoder(vocabulary, backbone.stride, **options)
    if description["reconstruction"] not in RECONSTRUCTIONS:
        raise ValueError(f"reconstruction={description['reconstruction']}")
    vae = DiscreteVAE(backbone, vocabulary, decoder, description["reconstruction"])
    vae.perplexity = description.get("perplexity")
    return vae
