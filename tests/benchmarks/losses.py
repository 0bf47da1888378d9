"""Losses forward and backward, ours beside lightly's, in one process: `python tests/benchmarks/losses.py`.

Both take turns, round by round, so that whatever else the machine does falls on both; milliseconds are medians over the
rounds, the ratio is the median of the rounds' ratios of lightly's time over ours. N of NT-Xent counts images, which
makes 2N embeddings, as in the figures that were published beside this project's design.

Added memory is the peak of the resident set over what it was before, each measured in a process of its own, with the
inputs there and one small call made, so that neither counts; its ratio is ours over lightly's. The gradients, which
every loss must hand back, count on both sides; how much of both they are is printed after it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from densessl.losses import (
    barlow_twins,
    cpc,
    dino,
    ibot_patches,
    in_batch_nce,
    info_nce,
    kl_to_uniform,
    logit_laplace,
    masked_reconstruction,
    nce,
    nt_xent,
    pirl_nce,
    swapped_prediction,
    vicreg,
)

ROUNDS = 9
THREADS = 2
Loss = Callable[..., torch.Tensor]
Job = Callable[[], list[torch.Tensor]]


def main() -> None:
    """Print the table."""
    print(f"{'':34s}{'lightly':>12s}{'densessl':>12s}{'ratio':>8s}{'gradients':>11s}")
    rows()


def rows() -> None:
    """Print the table's rows."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(THREADS)
    for title, make in CASES.items():
        compare(f"{title}, ms", *make())
        memory(title)


def compare(title: str, theirs: Job, ours: Job) -> None:
    """Run both in turns and print the row of their times."""
    theirs(), ours()
    times = [(milliseconds(theirs), milliseconds(ours)) for _ in range(ROUNDS)]
    middle = [statistics.median(column) for column in zip(*times, strict=True)]
    ratio = statistics.median(a / b for a, b in times)
    print(f"{title:34s}{middle[0]:12,.1f}{middle[1]:12,.1f}{ratio:8.1f}", flush=True)


def milliseconds(job: Job) -> float:
    start = time.perf_counter()
    job()
    return 1e3 * (time.perf_counter() - start)


def memory(title: str) -> None:
    """Measure both in new processes and print the row of their added memory."""
    command = [sys.executable, __file__, "--memory", title]
    output = {side: subprocess.check_output([*command, side]).split() for side in ("lightly", "densessl")}
    (theirs, _), (ours, gradients) = ([float(value) for value in values] for values in output.values())
    print(f"{'  added memory, MiB':34s}{theirs:12,.0f}{ours:12,.0f}{ours / theirs:8.2f}{gradients:11,.0f}", flush=True)


def added_memory(title: str, side: str) -> tuple[float, float]:
    """MiB by which one call raises the peak of the resident set (Linux), and those of its gradients."""
    torch.set_num_threads(THREADS)
    job = CASES[title]()[side == "densessl"]
    # Libraries set themselves up at their first product and first backward pass.
    small = torch.randn(64, 64, requires_grad=True)
    (small @ small).exp().log_softmax(1).sum().backward()
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    leaves = job()
    return resident("VmHWM") - before, sum(leaf.grad.numel() * leaf.grad.element_size() for leaf in leaves) / 2**20


def resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def forward_backward(loss: Loss, *inputs: torch.Tensor) -> Job:
    """The loss of fresh leaves, and its gradients: the job returns the leaves."""

    def job() -> list[torch.Tensor]:
        leaves = [each.detach().requires_grad_() for each in inputs]
        loss(*leaves).backward()
        return leaves

    return job


def nt_xent_jobs(n: int, d: int = 128, temperature: float = 0.1) -> tuple[Job, Job]:
    from lightly.loss import NTXentLoss

    z_a, z_b = torch.randn(n, d), torch.randn(n, d)
    theirs = NTXentLoss(temperature)
    return forward_backward(theirs, z_a, z_b), forward_backward(lambda a, b: nt_xent(a, b, temperature), z_a, z_b)


def vicreg_jobs(n: int, d: int = 8192) -> tuple[Job, Job]:
    from lightly.loss import VICRegLoss

    z_a, z_b = torch.randn(n, d), torch.randn(n, d)
    return forward_backward(VICRegLoss(), z_a, z_b), forward_backward(vicreg, z_a, z_b)


def barlow_jobs(n: int, d: int = 8192, redundancy: float = 0.0051) -> tuple[Job, Job]:
    from lightly.loss import BarlowTwinsLoss

    z_a, z_b = torch.randn(n, d), torch.randn(n, d)
    theirs = BarlowTwinsLoss(redundancy)
    return forward_backward(theirs, z_a, z_b), forward_backward(lambda a, b: barlow_twins(a, b, redundancy), z_a, z_b)


def queue_jobs(n: int, k: int, d: int = 128, temperature: float = 0.2) -> tuple[Job, Job]:
    """lightly's time holds the enqueuing of its keys too, which is a copy of N rows."""
    from lightly.loss import NTXentLoss

    query, key = torch.randn(n, d), torch.randn(n, d)
    queue = torch.nn.functional.normalize(torch.randn(k, d), dim=1)
    theirs = NTXentLoss(temperature, memory_bank_size=(k, d))
    return (
        forward_backward(lambda q: theirs(q, key), query),
        forward_backward(lambda q: info_nce(q, key, queue, temperature), query),
    )


def in_batch_jobs(n: int, keys: int, d: int = 256, temperature: float = 0.2) -> tuple[Job, Job]:
    """lightly has no loss of MoCo v3; beside ours stands torch's cross-entropy over all logits, as the paper has it."""
    query, key, places = torch.randn(n, d), torch.randn(keys, d), torch.arange(n)

    def theirs(q: torch.Tensor) -> torch.Tensor:
        logits = torch.nn.functional.normalize(q) @ torch.nn.functional.normalize(key).T / temperature
        return 2 * temperature * torch.nn.functional.cross_entropy(logits, places)

    return (
        forward_backward(theirs, query),
        forward_backward(lambda q: in_batch_nce(q, key, 0, temperature), query),
    )


def nce_jobs(n: int, k: int, d: int = 128, temperature: float = 0.07) -> tuple[Job, Job]:
    """In place of lightly, which has no such loss, the scores of all negatives as torch's own operations make them."""
    query, positive = (torch.nn.functional.normalize(torch.randn(n, d), dim=1) for _ in range(2))
    negatives = torch.nn.functional.normalize(torch.randn(k, d), dim=1)
    log_z, noise = torch.tensor(14.0), k / 10**6

    def plain(query: torch.Tensor) -> torch.Tensor:
        scores = torch.cat([(query * positive).sum(1, keepdim=True), query @ negatives.T], dim=1)
        p = (scores / temperature - log_z).exp()
        data, others = p[:, 0] / (p[:, 0] + noise), noise / (p[:, 1:] + noise)
        return -(data.log().sum() + others.log().sum()) / n

    return forward_backward(plain, query), forward_backward(
        lambda q: nce(q, positive, negatives, temperature, 10**6, log_z), query
    )


def dino_jobs(n: int, views: int, k: int = 65536) -> tuple[Job, Job]:
    """lightly's time holds the moving of its centre too, a mean over the teacher's logits."""
    from lightly.loss import DINOLoss

    student, teacher = ([torch.randn(n, k) for _ in range(count)] for count in (views, 2))
    theirs, center = DINOLoss(k), torch.zeros(k)
    return (
        forward_backward(lambda *views: theirs(teacher, list(views)), *student),
        forward_backward(lambda *views: dino(views, teacher, center, 0.1, 0.04), *student),
    )


def swav_jobs(n: int, k: int = 3000) -> tuple[Job, Job]:
    from lightly.loss import SwaVLoss

    scores_a, scores_b = torch.rand(n, k) * 2 - 1, torch.rand(n, k) * 2 - 1
    theirs = SwaVLoss()
    return (
        forward_backward(lambda a, b: theirs([a, b], []), scores_a, scores_b),
        forward_backward(lambda a, b: swapped_prediction(a, b, 0.1, 0.05, 3), scores_a, scores_b),
    )


def ibot_jobs(n: int, hidden: int, k: int = 8192) -> tuple[Job, Job]:
    """lightly's time holds the moving of its centre too."""
    from lightly.loss import IBOTPatchLoss

    student, teacher = torch.randn(n * hidden, k), torch.randn(n * hidden, k)
    mask = torch.zeros(n, 14, 14, dtype=torch.bool)
    mask.view(n, -1)[:, :hidden] = True
    theirs, center = IBOTPatchLoss(k), torch.zeros(k)
    return (
        forward_backward(lambda s: theirs(teacher, s, mask), student),
        forward_backward(lambda s: ibot_patches(s, teacher, mask, center, 0.1, 0.04), student),
    )


def reconstruction_jobs(n: int, patches: int, values: int = 768) -> tuple[Job, Job]:
    from lightly.models.utils import normalize_mean_var

    prediction, target = torch.randn(n, patches, values), torch.randn(n, patches, values)
    mask = torch.rand(n, patches) < 0.75

    def theirs(p: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.mse_loss(p[mask], normalize_mean_var(target[mask]))

    return (
        forward_backward(theirs, prediction),
        forward_backward(lambda p: masked_reconstruction(p, target, mask), prediction),
    )


def pirl_jobs(n: int, k: int, d: int = 128, temperature: float = 0.07) -> tuple[Job, Job]:
    """lightly has no such loss: the other column is the formula on the whole N x K matrix."""
    normalize = torch.nn.functional.normalize
    anchor, positive, negatives = torch.randn(n, d), torch.randn(n, d), normalize(torch.randn(k, d), dim=1)
    bias = -torch.tensor(k / 1281167).log()

    def plain(anchor: torch.Tensor) -> torch.Tensor:
        a = normalize(anchor, dim=1) / temperature
        attracted = (a * normalize(positive, dim=1)).sum(1) + bias
        repelled = torch.nn.functional.softplus(a @ negatives.T + bias).sum(1)
        return (torch.nn.functional.softplus(-attracted) + repelled).mean()

    ours = forward_backward(lambda a: pirl_nce(a, positive, negatives, temperature, 1281167), anchor)
    return forward_backward(plain, anchor), ours


def cpc_jobs(images: int, grid: int = 7, d: int = 64) -> tuple[Job, Job]:
    """lightly has no such loss: the other column is the cross-entropy of the whole matrix of logits."""
    target = torch.randn(images * grid**2, d)
    positive = torch.arange(len(target)).view(images, -1)[:, 2 * grid :].flatten()
    prediction = torch.randn(len(positive), d)
    cross_entropy = torch.nn.functional.cross_entropy
    theirs = forward_backward(lambda p, t: cross_entropy(p @ t.T, positive), prediction, target)
    return theirs, forward_backward(lambda p, t: cpc(p, t, positive), prediction, target)


def kl_jobs(n: int, places: int, k: int = 8192) -> tuple[Job, Job]:
    """lightly has no discrete VAE; beside ours stands torch's, as BEiT's own code calls it but for its mean."""
    logits, uniform = torch.randn(n, k, places), torch.full((1,), 1 / k).log()

    def theirs(z: torch.Tensor) -> torch.Tensor:
        log_q = (z.softmax(1) + 1e-10).log()
        return torch.nn.functional.kl_div(uniform, log_q, reduction="sum", log_target=True) / (n * places)

    return forward_backward(theirs, logits), forward_backward(kl_to_uniform, logits)


def logit_laplace_jobs(n: int, side: int) -> tuple[Job, Job]:
    """Beside ours stands torch's Laplace distribution of the logit."""
    mean, log_scale = torch.randn(n, 3, side, side), torch.randn(n, 3, side, side)
    x = torch.rand(n, 3, side, side) * 0.8 + 0.1

    def theirs(m: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return ((x * (1 - x)).log() - torch.distributions.Laplace(m, s.exp()).log_prob(x.logit())).mean()

    ours = forward_backward(lambda m, s: logit_laplace(m, s, x), mean, log_scale)
    return forward_backward(theirs, mean, log_scale), ours


CASES: dict[str, Callable[[], tuple[Job, Job]]] = {
    "NT-Xent, N 4096": lambda: nt_xent_jobs(4096),
    "NT-Xent, N 1024": lambda: nt_xent_jobs(1024),
    "VICReg, N 256, D 8192": lambda: vicreg_jobs(256),
    "VICReg, N 1024, D 8192": lambda: vicreg_jobs(1024),
    "Barlow Twins, N 256, D 8192": lambda: barlow_jobs(256),
    "Barlow Twins, N 1024, D 8192": lambda: barlow_jobs(1024),
    "MoCo, N 256, queue 65,536": lambda: queue_jobs(256, 65536),
    "NCE, N 256, 16,384 negatives": lambda: nce_jobs(256, 16384),
    "DINO, N 64, 2 views, K 65,536": lambda: dino_jobs(64, 2),
    "DINO, N 32, 10 views, K 65,536": lambda: dino_jobs(32, 10),
    "SwAV, N 1024, K 3000": lambda: swav_jobs(1024),
    "MoCo v3, N 1024 (torch's), 4,096 keys": lambda: in_batch_jobs(1024, 4096),
    "iBOT, 32 views of 59 patches, K 8,192": lambda: ibot_jobs(32, 59),
    "KL (torch's), N 4, 1,024 places": lambda: kl_jobs(4, 1024),
    "logit-Laplace (torch's), N 8, 256 px": lambda: logit_laplace_jobs(8, 256),
    "MAE, N 64, 196 patches": lambda: reconstruction_jobs(64, 196),
    "PIRL, N 256, K 32,000 (plain)": lambda: pirl_jobs(256, 32000),
    "CPC, 64 images of 7 x 7 (plain)": lambda: cpc_jobs(64),
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        print(*added_memory(*sys.argv[2:]))
    else:
        main()
