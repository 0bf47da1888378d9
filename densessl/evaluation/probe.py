"""STEGO's linear probe (arXiv 2203.08414, section 5; the official train_segmentation.py at eb4d6b5).

    minimise over W, b the mean over labelled pixels of  -log softmax(resize(W code + b))[label]

with one linear map of each place, resized bilinearly to the label map, and Adam at a learning rate of 5e-3. It says
what a linear classifier with labels reads from codes, or from features, and is what clusters without labels are held
against.

The official code trains it beside head and cluster probe, each by an Adam of its own: three groups of parameters that
share one backward pass and no gradient, as the codes are detached for both probes. So the head and the clusters are the
same whether the probe is there or not, and here it is trained apart and afterwards, on the codes of the trained head
without dropout: nothing that is learned without labels can have seen them. What differs is the probe alone, which need
not follow codes that still move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densessl.progress import Report
from densessl.segmentation.features.kept import MEMORY, Features
from densessl.segmentation.features.transform import Frame
from densessl.segmentation.model import Segmenter, codes_of
from densessl.segmentation.sets import LabelledImages
from densessl.segmentation.sets.base import IGNORED
from densessl.segmentation.stego.head import StegoHead
from densessl.segmentation.stego.sampling import batches


def learn_probe(
    features: Features,
    labelled: LabelledImages,
    frame: Frame,
    head: StegoHead | None,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int,
    device: str = "cpu",
    progress: Report = lambda *told: None,
) -> Segmenter:
    """A linear probe of the codes that `head` makes of these features, or of the features, taught by labels.

    labelled: what the features are of; its maps are taken at the size at which `frame` shows the image. On a CPU the
    same seed gives the same probe.
    """
    generator = torch.Generator().manual_seed(seed)
    length = codes_of(head, features.tokens(0)[:1], device).shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe = nn.Linear(length, len(labelled.classes)).to(device)
    optimizer = torch.optim.Adam(probe.parameters(), lr=lr)
    order = batches(len(features), min(batch_size, len(features)), generator)
    maps_of = _remembered(labelled, frame)
    for step in range(steps):
        rows = next(order).tolist()
        codes = [codes_of(head, tokens, device).clone() for tokens in features.each(rows)]
        scores = [probe(each).T.unflatten(1, features.shapes[row]) for each, row in zip(codes, rows, strict=True)]
        maps = [maps_of(features.indices[row]).to(device, torch.int64) for row in rows]
        optimizer.zero_grad()
        loss = probe_loss(scores, maps)
        loss.backward()
        optimizer.step()
        progress("Learning the linear probe", step + 1, steps, f"loss {float(loss.detach()):.4f}")
    return Segmenter(head, probe.weight, probe.bias)


def probe_loss(scores: Sequence[Tensor], labels: Sequence[Tensor]) -> Tensor:
    """The mean cross entropy over the labelled pixels of a batch; 0, and no gradient, where none has a label.

    scores: (K, h, w) of each image, resized here. labels: (H, W) of whole numbers, below 0 where there is none.
    """
    lost = [
        F.cross_entropy(_resized(each, target.shape)[None], target[None], ignore_index=IGNORED, reduction="sum")
        for each, target in zip(scores, labels, strict=True)
    ]
    count = sum(int((target >= 0).sum()) for target in labels)
    return torch.stack(lost).sum() / max(count, 1)


def _resized(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """(K, h, w) -> (K, H, W), bilinearly with align_corners=False, by two products: torch's own takes twice as long."""
    rows, columns = (
        _weights(old, new, scores.device, scores.dtype) for old, new in zip(scores.shape[1:], size, strict=True)
    )
    return rows.T @ (scores @ columns)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _weights(old: int, new: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(old, new): what each old place gives to each new one."""
    unit = torch.eye(old, device=device, dtype=dtype)
    return F.interpolate(unit[None], new, mode="linear", align_corners=False)[0]


def _remembered(labelled: LabelledImages, frame: Frame) -> Callable[[int], Tensor]:
    """`shown_labels` of an image, up to `MEMORY` bytes of them kept: reading them takes as long as learning."""
    size = 2 * shown_labels(labelled.labels(0), frame).numel()
    return lru_cache(maxsize=max(1, MEMORY // size))(lambda index: shown_labels(labelled.labels(index), frame))


def shown_labels(labels: np.ndarray, frame: Frame) -> Tensor:
    """(H, W) int16, likewise at the size at which its image is shown, each pixel a copy of the nearest."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for new, old in zip(frame.size(*labels.shape), labels.shape, strict=True)
    )
    return torch.from_numpy(labels[rows[:, None], columns])
