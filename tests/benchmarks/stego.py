"""STEGO, ours beside the way its official code goes: `python tests/benchmarks/stego.py [steps] [whole] [--threads 1]`.

A step: batch of 8 squares of 224 px, ViT-S/8 and ViT-S/16 with random weights, head for codes of 70, 27 clusters.
The official way is written here from what that code does (mhamilton723/STEGO at eb4d6b5): two forward passes of the
backbone per step, attention that forms its whole matrix, float32; dropout of channels and 1 x 1 convolutions for the
head, three masks in all, of both batches whole; points read from maps anew for each term; seven correlation tensors,
five of them of negatives one after another; a linear probe resized to the label map and a cluster probe with one-hot
assignments; three Adams. Ours reads features that are kept, here in memory, and trains the head alone: no linear probe,
which needs labels, is part of its step, and no clusters, which k-means finds once after the last.

Both take turns, round by round, so that whatever else the machine does falls on both; the ratio is the median of the
rounds'. Added memory is by how much one step raises the peak of the resident set, each in a process of its own.

A whole run, scaled down, each in a process of its own: 32 images, nearest neighbours, 50 steps of 8, and 8 images
judged at 320 px, mirrored too, without a CRF. The official way runs the backbone for the neighbours, for both batches
of each step, for the 8 images at each of 2 validations (it has 50 in 5000 steps, of 2175 images) and at the end; ours
once per image and size, then on what was kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densessl.backbones import create_backbone
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.features.kept import Features, extract
from densessl.segmentation.learning import learn
from densessl.segmentation.predict import mask
from densessl.segmentation.stego.train import Trainer

BATCH, SIZE, DIM, CLASSES, SAMPLES, NEGATIVES = 8, 224, 70, 27, 11, 5
WEIGHTS, SHIFTS = (0.67, 0.25, 0.63), (0.08, 0.02, 0.66)  # within, with the neighbour, with negatives
NAMES = {"S/8": "vit_small_patch8_224", "S/16": "vit_small_patch16_224"}
ROUNDS = {"S/8": 5, "S/16": 15}
IMAGES, JUDGED, STEPS, EVERY, JUDGED_SIZE = 32, 8, 50, 25, 320


class Arrays:
    """A source of pictures in memory."""

    def __init__(self, count: int, size: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        # Smooth, so that features differ from place to place.
        small = random.uniform(0, 255, (count, size // 32, size // 32, 3))
        grown = F.interpolate(torch.from_numpy(small).permute(0, 3, 1, 2), (size, size), mode="bicubic")
        self.images = grown.clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8).numpy()

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> np.ndarray:
        return self.images[index]

    def name(self, index: int) -> str:
        return str(index)

    def fingerprint(self) -> str:
        return hashlib.sha256(self.images).hexdigest()


class Official(nn.Module):
    """The official way: everything from pixels, at every step."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.backbone = timm.create_model(name, num_classes=0, dynamic_img_size=True).eval().requires_grad_(False)
        for block in self.backbone.blocks:
            block.attn.fused_attn = False
        width, self.patch = self.backbone.embed_dim, self.backbone.patch_embed.patch_size[0]
        self.straight = nn.Conv2d(width, DIM, 1)
        self.bent = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, DIM, 1))
        self.linear, self.clusters = nn.Conv2d(DIM, CLASSES, 1), nn.Parameter(torch.randn(CLASSES, DIM))
        head = [*self.straight.parameters(), *self.bent.parameters()]
        self.optimizers = [
            torch.optim.Adam(head, lr=5e-4),
            torch.optim.Adam(self.linear.parameters(), lr=5e-3),
            torch.optim.Adam([self.clusters], lr=5e-3),
        ]

    def features(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            tokens = self.backbone.forward_features(images)[:, 1:]
        return tokens.transpose(1, 2).unflatten(2, (images.shape[2] // self.patch, images.shape[3] // self.patch))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(images)

        def dropped() -> Tensor:
            return F.dropout2d(features, 0.1, self.training)

        return dropped(), self.straight(dropped()) + self.bent(dropped())

    def step(self, images: Tensor, near: Tensor, labels: Tensor) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        (f, s), (g, t) = self(images), self(near)
        here, there = (torch.rand(len(images), SAMPLES, SAMPLES, 2) * 2 - 1 for _ in range(2))
        terms = [
            term(read(f, here), read(f, here), read(s, here), read(s, here), SHIFTS[0]).mean(),
            term(read(f, here), read(g, there), read(s, here), read(t, there), SHIFTS[1]).mean(),
        ]
        apart = []
        for _ in range(NEGATIVES):
            order = torch.randperm(len(images))
            order = torch.where(order == torch.arange(len(images)), order + 1, order) % len(images)
            others = read(f[order], there), read(s[order], there)
            apart.append(term(read(f, here), others[0], read(s, here), others[1], SHIFTS[2]))
        terms.append(torch.cat(apart).mean())
        loss = sum(weight * each for weight, each in zip(WEIGHTS, terms, strict=True))
        codes = s.detach()
        logits = F.interpolate(self.linear(codes), labels.shape[1:], mode="bilinear", align_corners=False)
        loss = loss + F.cross_entropy(logits.permute(0, 2, 3, 1).reshape(-1, CLASSES), labels.flatten())
        cosines = self.cosines(codes)
        one_hot = F.one_hot(cosines.argmax(1), CLASSES).permute(0, 3, 1, 2).float()
        (loss - (one_hot * cosines).sum(1).mean()).backward()
        for optimizer in self.optimizers:
            optimizer.step()

    def cosines(self, codes: Tensor) -> Tensor:
        return torch.einsum("bdhw,kd->bkhw", F.normalize(codes, dim=1), F.normalize(self.clusters, dim=1))

    @torch.no_grad()
    def masks(self, images: Tensor, mirrored: bool) -> Tensor:
        """(B, H, W) clusters; a linear probe's prediction is made beside, as the official code does."""
        self.eval()
        codes = self(images)[1]
        if mirrored:
            codes = (codes + self(images.flip(3))[1].flip(3)) / 2
        codes = F.interpolate(codes, images.shape[2:], mode="bilinear", align_corners=False)
        self.linear(codes).log_softmax(1)
        found = (2 * self.cosines(codes)).log_softmax(1).argmax(1)
        self.train()
        return found


def read(map_: Tensor, points: Tensor) -> Tensor:
    return F.grid_sample(map_, points.permute(0, 2, 1, 3), padding_mode="border", align_corners=True)


def term(f: Tensor, g: Tensor, s: Tensor, t: Tensor, shift: float) -> Tensor:
    with torch.no_grad():
        target = torch.einsum("bchw,bcij->bhwij", F.normalize(f, dim=1), F.normalize(g, dim=1))
        mean = target.mean()
        target = target - target.mean((3, 4), keepdim=True)
        target = target - target.mean() + mean
    codes = torch.einsum("bchw,bcij->bhwij", F.normalize(s, dim=1), F.normalize(t, dim=1))
    return -codes.clamp(0) * (target - shift)


def official_step(name: str) -> Callable[[], None]:
    model = Official(NAMES[name]).train()
    images, near = torch.randn(BATCH, 3, SIZE, SIZE), torch.randn(BATCH, 3, SIZE, SIZE)
    labels = torch.randint(0, CLASSES, (BATCH, SIZE, SIZE))
    return lambda: model.step(images, near, labels)


def our_step(name: str) -> Callable[[], None]:
    """Features of random numbers, as many as those of 16 squares: what they hold costs no time."""
    side = SIZE // int(NAMES[name].split("patch")[1].split("_")[0])
    generator = torch.Generator().manual_seed(0)
    arrays = [torch.randn(side**2, 384, generator=generator).numpy() for _ in range(2 * BATCH)]
    kept = Features(list(range(2 * BATCH)), [(side, side)] * (2 * BATCH), arrays)
    trainer = Trainer(kept, settings(), torch.Generator().manual_seed(0), "cpu")
    order = trainer.order()
    return lambda: trainer.step(next(order))


def settings(**changes) -> SegmentConfig:
    return SegmentConfig(data="", out="", classes=CLASSES, batch_size=BATCH, method="stego", **changes)


def seconds(job: Callable[[], object]) -> float:
    begun = time.perf_counter()
    job()
    return time.perf_counter() - begun


def steps(name: str) -> None:
    """Print the row of one step's times, and that of its memory."""
    theirs, ours = official_step(name), our_step(name)
    theirs(), ours()
    times = [(seconds(theirs), seconds(ours)) for _ in range(ROUNDS[name])]
    middle = [1e3 * statistics.median(column) for column in zip(*times, strict=True)]
    print(row(f"a step, ViT-{name}, ms", *middle, statistics.median(a / b for a, b in times)), flush=True)
    command = [sys.executable, __file__, "--threads", str(torch.get_num_threads()), "--memory", name]
    added = [float(subprocess.check_output([*command, side])) for side in ("official", "ours")]
    print(row("  added memory, MiB", *added, added[0] / added[1]), flush=True)


def added_memory(name: str, side: str) -> float:
    """MiB by which one step raises the peak of the resident set (Linux)."""
    job = {"official": official_step, "ours": our_step}[side](name)
    small = torch.randn(64, 64, requires_grad=True)
    (small @ small).relu().sum().backward()
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    job()
    return resident("VmHWM") - before


def resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def official_run(name: str) -> dict[str, float]:
    """Seconds per stage."""
    model = Official(NAMES[name]).train()
    train, judged = (normalised(Arrays(*each)) for each in ((IMAGES, SIZE, 0), (JUDGED, JUDGED_SIZE, 1)))
    found = dict.fromkeys(("neighbours", "steps", "validations", "judging"), 0.0)

    def neighbours() -> Tensor:
        pooled = torch.cat([F.normalize(model.features(part).mean((2, 3)), dim=1) for part in train.split(BATCH)])
        return (pooled @ pooled.T).topk(8, dim=1).indices[:, 1:]

    begun = time.perf_counter()
    near = neighbours()
    found["neighbours"] = time.perf_counter() - begun
    labels = torch.randint(0, CLASSES, (BATCH, SIZE, SIZE))
    for number in range(1, STEPS + 1):
        chosen = torch.randperm(IMAGES)[:BATCH]
        others = near[chosen, torch.randint(0, 7, (BATCH,))]
        found["steps"] += seconds(lambda a=chosen, b=others: model.step(train[a], train[b], labels))
        if number % EVERY == 0:
            found["validations"] += seconds(lambda: [model.masks(part, False) for part in judged.split(BATCH)])
    found["judging"] = seconds(lambda: [model.masks(part, True) for part in judged.split(BATCH)])
    return found


def our_run(name: str) -> dict[str, float]:
    """Seconds per stage."""
    backbone = create_backbone(NAMES[name])
    train, judged = Arrays(IMAGES, SIZE, 0), Arrays(JUDGED, JUDGED_SIZE, 1)
    begun = time.perf_counter()
    kept = extract(train, Extractor(backbone, SIZE), range(IMAGES))
    features = time.perf_counter() - begun
    begun = time.perf_counter()
    model = learn(kept, settings(steps=STEPS)).model
    learned = time.perf_counter() - begun

    def judge() -> None:
        extractor = Extractor(backbone, JUDGED_SIZE)
        with torch.inference_mode():
            for image in judged.images:
                one, two = extractor([image, np.ascontiguousarray(image[:, ::-1])])
                codes = [model.codes(each.flatten(1).T).unflatten(0, one.shape[1:]) for each in (one, two)]
                mean = (codes[0] + codes[1].flip(1)).flatten(0, 1) / 2
                mask(model.of_codes(), mean, tuple(one.shape[1:]), image.shape[:2])

    return {"features": features, "neighbours, steps, segments": learned, "judging": seconds(judge)}


RUNS = {"official": official_run, "ours": our_run}


def normalised(source: Arrays) -> Tensor:
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (torch.from_numpy(source.images).permute(0, 3, 1, 2) / 255 - mean) / std


def whole(name: str) -> None:
    """Print the row of a whole run, that of its memory, and the stages of both; each in a process of its own."""
    command = [sys.executable, __file__, "--threads", str(torch.get_num_threads()), "--whole", name]
    (theirs, peak), (ours, own) = (json.loads(subprocess.check_output([*command, side])) for side in RUNS)
    totals = sum(theirs.values()), sum(ours.values())
    print(row(f"a whole run, ViT-{name}, s", *totals, totals[0] / totals[1]))
    print(row("  peak memory, MiB", peak, own, peak / own))
    for title, stages in (("official", theirs), ("densessl", ours)):
        print(f"  {title}: " + ", ".join(f"{stage} {each:.1f} s" for stage, each in stages.items()), flush=True)


def row(title: str, theirs: float, ours: float, ratio: float) -> str:
    return f"{title:34s}{theirs:12,.1f}{ours:12,.1f}{ratio:8.1f}"


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("jobs", nargs="*", default=("steps", "whole"), help="steps, whole")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--memory", nargs=2, metavar=("MODEL", "SIDE"))
    arguments.add_argument("--whole", nargs=2, metavar=("MODEL", "SIDE"))
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    if given.memory:
        print(added_memory(*given.memory))
        return
    if given.whole:
        name, side = given.whole
        print(json.dumps([RUNS[side](name), resident("VmHWM")]))
        return
    print(f"{'':34s}{'official':>12s}{'densessl':>12s}{'ratio':>8s}")
    for job in given.jobs:
        for name in NAMES:
            {"steps": steps, "whole": whole}[job](name)


if __name__ == "__main__":
    main()
