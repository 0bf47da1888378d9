"""Do the methods learn? `python tests/benchmarks/cifar.py [--out FOLDER] [METHOD ...]`.

Trains each on CIFAR-10's 50,000 training images with the same small network, the same number of epochs and the same
batch, then scores the last epoch: weighted kNN (k 200, temperature 0.1) on the 10,000 test images, beside the same
network untrained and raw pixels. The network is a ResNet of 9 convolutions, sized for 10 to 30 minutes a method on
2 cores.
A run that is stopped goes on when it is started again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from densessl.evaluation.knn import KnnConfig, evaluate_knn
from densessl.evaluation.record import write_record
from densessl.training import pretrain

SHARED = [
    "backbone=resnet18",
    "backbone_options={channels: [16, 32, 64, 128], layers: [1, 1, 1, 1], stem_width: 16, stem: half}",
    "batch_size=128",
    "optimizer.lr_scaling=none",
    "optimizer.warmup_epochs=0.5",
    "workers=0",
    "devices=cpu",
]
# What differs from the recipes, which are meant for 200 epochs: a run of a few needs faster targets.
METHODS = {
    "simclr": ["lr=0.12", "simclr.temperature=0.2", "simclr.hidden=256"],
    "moco": ["lr=0.06", "moco.hidden=256", "moco.queue=4096", "moco.temperature=0.2"],
    "byol": ["lr=0.2", "byol.momentum=0.98", "byol.hidden=2048"],
    "dino": [
        "lr=0.2",
        "dino.hidden=1024",
        "dino.momentum=0.95",
        "dino.frozen_epochs=0.2",
        "dino.teacher_temperature=0.04",
        "optimizer.decay_all=false",
    ],
}


def main() -> None:
    """Train, score, print a row per method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(METHODS))
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2].parent / "shared" / "data" / "cifar10")
    parser.add_argument("--out", type=Path, default=Path("runs/cifar"))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--set", nargs="*", default=[], help="more key=value")
    parser.add_argument("--limit", type=int, help="score on this many images a split")
    arguments = parser.parse_args()
    for name in arguments.methods:
        begun = time.monotonic()
        settings = [f"data={arguments.data}", f"out={arguments.out / name}", f"epochs={arguments.epochs}"]
        run = pretrain(f"{name}-cifar", [*settings, *SHARED, *METHODS[name], *arguments.set])
        minutes = (time.monotonic() - begun) / 60
        config = KnnConfig(str(run), str(arguments.data), limit=arguments.limit, baselines=name == arguments.methods[0])
        record = evaluate_knn(config)
        write_record(record, run / "knn.json")
        for other, figures in record.get("baselines", {}).items():
            print(f"{other:12}          kNN {figures['top1']:.2%}", flush=True)
        print(f"{name:12} {minutes:5.1f} min kNN {record['figures']['top1']:.2%}", flush=True)


if __name__ == "__main__":
    main()
