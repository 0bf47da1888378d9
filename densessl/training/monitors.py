"""Two watchmen of a run: one for embeddings that collapse, one for a loss that stands at its chance level.

Both are fed once per step without waiting for the device, look only when asked, and change nothing in the run.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SAME = 0.1  # `embedding_std` below which all images count as one; in training untrained networks lie from 0.7 up
# `rankme` below which embeddings lie on one line: those of a small SimSiam whose gradients are not stopped wander from
# 1.1 to 2, untrained networks lie from 30 up.
FLAT = 2.0
FEWEST = 64  # embeddings before anything is said about them
AT_CHANCE = 0.02  # share of the chance level within which a loss stands at it
FALLING = 0.002  # share of the chance level that a loss must lose from half to half to be let alone


def embedding_std(z: Tensor) -> float:
    """Mean over dimensions of the standard deviation of z / |z|, times sqrt(D); z: (N, D), N at least 2.

    Near 1 when the embeddings spread over the sphere, near 0 when all images get one vector. From SimSiam
    (arXiv 2011.10566, figure 2), where it is given without the sqrt(D).
    """
    unit = F.normalize(z.detach().float(), dim=1)
    return float(unit.std(dim=0, correction=0).mean() * math.sqrt(z.shape[1]))


def rankme(z: Tensor, epsilon: float = 1e-7) -> float:
    """Effective rank of embeddings (N, D), from 1 to min(N, D): exp of the entropy of their singular values.

    RankMe (arXiv 2210.02885, equation 1): p = sigma / sum(sigma) + epsilon; neither centred nor normalised.
    """
    z = z.detach().double().cpu()
    # The smaller Gram matrix has the squares of the singular values; in float64 they are good to 1e-8 of the largest.
    gram = z @ z.T if z.shape[0] < z.shape[1] else z.T @ z
    sigma = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    p = sigma / sigma.sum().clamp(min=torch.finfo(torch.float64).tiny) + epsilon
    return float(torch.exp(-(p * p.log()).sum()))


class CollapseMonitor:
    """The last `window` embeddings of a run, where they are, and what they say about collapse.

    The projections that the loss sees show a collapse first. The backbone's own vectors can hide it: behind its last
    batch norm they stay spread (0.79 of a ResNet's, while its projections were down to 0.03).
    """

    def __init__(self, window: int = 1024) -> None:
        self.window = window
        self.ring: Tensor | None = None
        self.filled = self.place = 0
        self.said = False

    def update(self, z: Tensor) -> None:
        """Take in the embeddings (B, D) of a step; they stay on their device, in float32."""
        z = z.detach()[-self.window :].float()
        if self.ring is None or self.ring.shape[1] != z.shape[1]:
            self.ring, self.filled, self.place = z.new_empty(self.window, z.shape[1]), 0, 0
        self.ring = self.ring.to(z.device)
        self.ring[(torch.arange(len(z), device=z.device) + self.place) % self.window] = z
        self.place = (self.place + len(z)) % self.window
        self.filled = min(self.window, self.filled + len(z))

    def check(self) -> tuple[dict[str, float], str | None]:
        """`embedding_std` and `rankme` of the window, and, the first time it is so, that it has collapsed and why.

        No figures before two embeddings, no verdict before `FEWEST`. Waits for the device.
        """
        if self.ring is None or self.filled < 2:
            return {}, None
        z = self.ring[: self.filled].cpu()
        if not bool(torch.isfinite(z).all()):
            return {}, None
        figures = {"embedding_std": embedding_std(z), "rankme": rankme(z)}
        sentence = self._verdict(z.shape[1], **figures)
        self.said |= sentence is not None
        return figures, sentence

    def _verdict(self, channels: int, embedding_std: float, rankme: float) -> str | None:
        if self.said or self.filled < FEWEST:
            return None
        if embedding_std < SAME:
            return (
                f"The embeddings have collapsed: all images get nearly the same vector (spread {embedding_std:.3f}, "
                "where 1 is healthy and 0 is none). Usual causes: a learning rate that is too high, too short a "
                "warm-up, a momentum or temperature of the teacher that does not fit the length of the run, or images "
                "that are all alike."
            )
        if rankme < FLAT and channels > 2:
            return (
                f"The embeddings have collapsed onto a line: of {channels} dimensions they use {rankme:.1f} (RankMe). "
                "Usual causes: a learning rate that is too high, views that are too weak or all alike, or a batch that "
                "is too small for this method."
            )
        return None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the ring (window, D) and three numbers."""
        ring = None if self.ring is None else self.ring.cpu()
        return {"ring": ring, "filled": self.filled, "place": self.place, "said": self.said}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.ring, self.filled, self.place, self.said = (state[key] for key in ("ring", "filled", "place", "said"))


class ChanceMonitor:
    """Says once when the loss, after many steps, still stands at the value it has when nothing was learned.

    chance: that value, such as ln(K + 1) for MoCo; None when the method has none: nothing is ever said.
    patience: steps between looks. The mean of the last half of them is held against the chance level; a loss that is
        clearly falling is given until the next look.
    """

    def __init__(self, chance: float | None, patience: int = 500) -> None:
        self.chance, self.patience = chance, patience
        self.losses: list[Tensor | float] = []
        self.steps = 0
        self.learned = self.said = False

    def update(self, loss: Tensor | float) -> str | None:
        """Take in the loss of a step; every `patience` steps it may answer with a sentence, once in a run."""
        if self.chance is None or self.said:
            return None
        self.steps += 1
        self.losses.append(loss.detach() if isinstance(loss, Tensor) else loss)
        if len(self.losses) < self.patience:
            return None
        # Only here does the loss leave the device.
        losses = torch.tensor([float(value) for value in self.losses], dtype=torch.float64)
        self.losses = []
        return self._look(losses[torch.isfinite(losses)])

    def _look(self, losses: Tensor) -> str | None:
        early, late = losses[: len(losses) // 2], losses[len(losses) // 2 :]
        if len(early) < 2:
            return None
        level = float(late.mean())
        if level < self.chance - AT_CHANCE * abs(self.chance):
            self.learned = True
            return None
        fallen = float(early.mean()) - level
        noise = math.sqrt(float(early.var()) / len(early) + float(late.var()) / len(late))
        # In doubt nothing is said: a flat loss fails this test once in six looks, a falling one passes it.
        if fallen > max(noise, FALLING * abs(self.chance)):
            return None
        self.said = True
        return self._sentence(level)

    def _sentence(self, level: float) -> str:
        above = level > self.chance + AT_CHANCE * abs(self.chance)
        verb = "has come back" if self.learned else "still stands"
        where = f"{verb} {'above' if above else 'to' if self.learned else 'at'} its chance level"
        return (
            f"After {self.steps} steps the loss {where} {_logarithm(self.chance)} (its mean is {level:.2f}): so far "
            "nothing is learned. Usual causes: a learning rate that is too high or too low, a temperature that does "
            "not fit the method, collapsed embeddings, or views that have nothing in common (crops that are too "
            "small)."
        )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the losses since the last look, at most `patience`, and three numbers."""
        losses = [float(value) for value in self.losses]
        return {"losses": losses, "steps": self.steps, "learned": self.learned, "said": self.said}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.losses = list(state["losses"])
        self.steps, self.learned, self.said = state["steps"], state["learned"], state["said"]


def _logarithm(chance: float) -> str:
    """`ln(4097) = 8.32` where the value is the logarithm of a whole number above 1, else `2.00`."""
    if not 0 < chance < 20:
        return f"{chance:.2f}"
    number = math.exp(chance)
    whole = round(number) > 1 and math.isclose(chance, math.log(round(number)), rel_tol=1e-6)
    return f"ln({round(number)}) = {chance:.2f}" if whole and number < 1e7 else f"{chance:.2f}"
