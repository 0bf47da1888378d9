"""STEGO's head and cluster probe (arXiv 2203.08414; the official modules.py at eb4d6b5), on tables of tokens.

A 1 x 1 convolution is a linear map of each token, so the head takes tokens (T, C) of any number of maps of any shape.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StegoHead(nn.Module):
    """Codes (T, dim) of tokens (T, C): a linear branch plus one with a hidden layer of C and a ReLU.

    channels: C of the backbone.
    dim: length of a code; 70 for ViT-S in the paper.
    dropout: share of the channels dropped per picture in training, by independent masks for the two branches.
    nonlinear: whether there is the second branch; without it this is the official code's projection_type "linear".

    The buffer `mean` (C,) is taken from all tokens first; it is 0 until something is written into it.
    """

    def __init__(self, channels: int, dim: int = 70, dropout: float = 0.1, nonlinear: bool = True) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.linear = nn.Linear(channels, dim)
        self.hidden = nn.Linear(channels, channels) if nonlinear else None
        self.out = nn.Linear(channels, dim) if nonlinear else None
        self.dropout = dropout

    @classmethod
    def empty(cls, **settings: object) -> StegoHead:
        """A head of these settings without weights, which `load_state_dict` assigns; no random number is drawn."""
        with torch.device("meta"):
            return cls(**settings)

    @property
    def settings(self) -> dict[str, object]:
        """What it is made with."""
        dim, channels = self.linear.weight.shape
        return {"channels": channels, "dim": dim, "dropout": self.dropout, "nonlinear": self.hidden is not None}

    def forward(self, tokens: Tensor, owner: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """(T, C) -> (T, dim).

        owner: (T,) the picture each token belongs to, by which channels are dropped in training; None: all of one.
        generator: source of the masks, on the CPU.
        """
        tokens = self.centred(tokens)
        linear = self.linear(self.drop(tokens, owner, generator))
        if self.hidden is None:
            return linear
        nonlinear = self.out(F.relu(self.hidden(self.drop(tokens, owner, generator))))
        return linear + nonlinear

    def centred(self, tokens: Tensor) -> Tensor:
        """Tokens (T, C) without the mean."""
        return tokens - self.mean

    def drop(self, tokens: Tensor, owner: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Drop whole channels per picture (dropout2d) in training; the identity in evaluation."""
        if not self.training or not self.dropout:
            return tokens
        if owner is None:
            owner = torch.zeros(len(tokens), dtype=torch.long)
        pictures = int(owner.max()) + 1
        kept = torch.rand(pictures, tokens.shape[1], generator=generator) >= self.dropout
        mask = kept.to(tokens) / (1 - self.dropout)
        if bool((owner[1:] >= owner[:-1]).all()):
            # Pictures lie one after another: a mask each, and no table of masks as large as that of tokens.
            counts = torch.bincount(owner, minlength=pictures).tolist()
            parts = zip(tokens.split(counts), mask, strict=True)
            return torch.cat([part * own for part, own in parts])
        return tokens * mask[owner.to(tokens.device)]


class ClusterProbe(nn.Module):
    """Cosine k-means by gradient: K directions, each drawn to the codes that it is nearest to.

    The start is normal, as in the paper, or given, such as by k-means++.
    """

    def __init__(self, clusters: int, dim: int, start: Tensor | None = None) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(clusters, dim) if start is None else start.clone())

    def forward(self, codes: Tensor) -> Tensor:
        """Cosines (T, K) of codes (T, dim) with the centres."""
        return F.normalize(codes, dim=1) @ F.normalize(self.centres, dim=1).T

    def loss(self, codes: Tensor) -> Tensor:
        """Minus the mean cosine of each code with its nearest centre; no gradient flows into the codes."""
        return -self(codes.detach()).amax(dim=1).mean()
