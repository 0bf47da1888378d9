"""Does every method learn? `python tests/benchmarks/learning.py [METHOD ...]`, then `... --table FILE`.

Trains each method on CIFAR-10's training images with the same small network (a ResNet of 9 convolutions or, for those
that mask patches, a ViT of 6 blocks), the same epochs and the same batch (CPC: smaller batches of fewer images, as the
table says, for its time rises with the square of the batch), then scores the last epoch on the 10,000 test
images: weighted kNN (k 200, temperature 0.1) and a linear probe, beside the same network untrained and raw pixels;
those that mask patches, and CPC, also by fine-tuning on a tenth of the labels. Every figure is written beside its run,
and `--table` makes the table from what is there. A run that was stopped goes on when it is started again.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import statistics
from pathlib import Path

from densessl.backbones import load_backbone
from densessl.backbones.saved import describe
from densessl.environment import environment
from densessl.evaluation import evaluate
from densessl.evaluation.record import write_record
from densessl.methods import methods
from densessl.training import pretrain

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "cifar10"
RESNET = [
    "backbone=resnet18",
    "backbone_options={channels: [16, 32, 64, 128], layers: [1, 1, 1, 1], stem_width: 16, stem: half}",
]
HALVES = [
    "backbone=resnet18",
    "backbone_options={channels: [16, 16, 32, 64], layers: [1, 1, 1, 1], stem_width: 16, stem: half}",
]
VIT = [
    "backbone=vit_tiny_patch16_224",
    "backbone_options={embed_dim: 96, depth: 6, num_heads: 3, patch_size: 4}",
]
BEIT = [
    "backbone=beit_base_patch16_224",
    "backbone_options={embed_dim: 96, depth: 6, num_heads: 3, patch_size: 4, use_rel_pos_bias: false, "
    "use_shared_rel_pos_bias: true}",
]
DVAE = ["backbone=dvae_encoder", "backbone_options={width: 16, groups: 3, blocks: 1}"]
SHARED = ["batch_size=128", "optimizer.lr_scaling=none", "optimizer.warmup_epochs=0.5", "workers=0", "devices=cpu"]
TRANSFORMER = ["lr=1e-3", "optimizer.warmup_epochs=1"]
# What differs from the recipes, which are meant for 200 epochs and wider networks: a run of a few needs faster targets.
METHODS: dict[str, list[str]] = {
    "simclr": [*RESNET, "lr=0.12", "simclr.temperature=0.2", "simclr.hidden=256"],
    "moco": [*RESNET, "lr=0.06", "moco.hidden=256", "moco.queue=4096", "moco.temperature=0.2"],
    "byol": [*RESNET, "lr=0.2", "byol.momentum=0.98", "byol.hidden=2048"],
    "dino": [
        *RESNET,
        "lr=0.2",
        "dino.hidden=1024",
        "dino.momentum=0.95",
        "dino.frozen_epochs=0.2",
        "dino.teacher_temperature=0.04",
        "optimizer.decay_all=false",
    ],
    "simsiam": [*RESNET, "lr=0.06", "simsiam.hidden=1024", "simsiam.dim=1024", "simsiam.bottleneck=256"],
    "vicreg": [
        *RESNET,
        "lr=0.05",
        "optimizer.name=sgd",
        "vicreg.hidden=1024",
        "vicreg.dim=1024",
    ],
    "barlow": [*RESNET, "lr=0.06", "barlow.hidden=1024", "barlow.dim=1024"],
    "supcon": [*RESNET, "lr=0.12", "supcon.hidden=256", "supcon.dim=128"],
    "swav": [*RESNET, "lr=2e-3"],
    "deepcluster": [
        *RESNET,
        "lr=0.1",
        "deepcluster.clusters=200",
        "deepcluster.view.scale=[0.3,1.0]",
        "optimizer.lr_end=0.01",
    ],
    "deepcluster2": [*RESNET, "lr=0.1", "optimizer.name=sgd", "optimizer.lr_end=1e-3"],
    "mocov3": [*RESNET, "lr=0.12", "mocov3.hidden=1024", "mocov3.momentum=0.98"],
    "simclrv2": [*RESNET, "lr=0.12", "simclrv2.temperature=0.2", "simclrv2.hidden=256", "simclrv2.momentum=0.98"],
    "pirl": [*RESNET, "lr=0.06", "pirl.negatives=4096"],
    "cmc": [*HALVES, "lr=0.06", "cmc.negatives=4096"],
    # Its loss compares all places of a batch with each other.
    "cpc": [*RESNET, "lr=1e-3", "batch_size=32", "limit=10000"],
    "mae": [*VIT, *TRANSFORMER],
    "ibot": [*VIT, *TRANSFORMER, "ibot.momentum=0.98"],
    "dvae": [*DVAE, "lr=3e-3", "dvae.width=16", "dvae.blocks=1"],
    "beit": [*BEIT, *TRANSFORMER],
}
MEAN = ("mae", "beit")  # whose linear probe sees the mean of the map, since no class token was trained
FINETUNED = ("mae", "ibot", "beit", "cpc")
FINETUNE = ["labels=0.1", "epochs=10", "seeds=1", "workers=0", "devices=cpu"]


def main() -> None:
    """Train and score, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=[name for name in METHODS if name != "dvae"])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=Path("runs/learning"))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], help="more key=value")
    parser.add_argument("--limit", type=int, help="score on this many images a split")
    parser.add_argument("--table", type=Path, help="write the table of the records in --out, and end")
    arguments = parser.parse_args()
    if arguments.table:
        arguments.table.write_text(table(arguments.out), encoding="utf-8")
        return
    for name in arguments.methods:
        for seed in range(arguments.seeds):
            one(name, seed, arguments)


def one(name: str, seed: int, arguments: argparse.Namespace) -> None:
    """Train one method from one seed, score it, and say what was found."""
    folder = arguments.out / f"{name}-{seed}"
    if (folder / "learning.json").exists():
        return
    settings = [f"data={arguments.data}", f"out={folder}", f"epochs={arguments.epochs}", f"seed={seed}", *SHARED]
    if name == "beit":
        one("dvae", seed, arguments)
        settings.append(f"beit.tokenizer={arguments.out / f'dvae-{seed}'}")
    pretrain(f"{name}-cifar", [*settings, *METHODS[name], *arguments.set])
    figures = score(name, seed, folder, arguments) if name != "dvae" else {}
    found = {"method": name, "seed": seed, "epochs": arguments.epochs, "minutes": minutes(folder), **figures}
    how = {"epochs": arguments.epochs, "set": arguments.set, "limit": arguments.limit}
    (folder / "learning.json").write_text(json.dumps(found | {"how": how, "environment": environment()}, indent=1))
    print(", ".join(f"{key} {value}" for key, value in found.items()), flush=True)


def minutes(folder: Path) -> float:
    """How long the steps took, of all the starts that a run has had."""
    with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    batch = json.loads((folder / "backbone.json").read_text(encoding="utf-8"))["batch_size"]
    rates = [float(row["images_per_second"]) for row in rows]
    spent = zip([0, *steps], steps, rates, strict=False)
    return round(sum((last - first) * batch / rate for first, last, rate in spent) / 60, 1)


def score(name: str, seed: int, folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Accuracies in per cent, of the run and of the same network untrained; every record is kept beside the run."""
    limit = [f"limit={arguments.limit}"] if arguments.limit else []
    protocols = {"knn": [], "linear": ["features=mean"] if name in MEAN else []}
    if name in FINETUNED:
        protocols["finetune"] = FINETUNE
    figures: dict[str, float] = {}
    for protocol, settings in protocols.items():
        # An untrained network is the same whichever method has it.
        same = json.dumps([describe(load_backbone(str(folder))), protocol, seed, *settings, *limit])
        known = arguments.out / "baselines" / f"{hashlib.sha256(same.encode()).hexdigest()[:16]}.json"
        settings = [f"baselines={not known.exists()}", f"seed={seed}", *settings, *limit]
        record = evaluate(str(folder), protocol, str(arguments.data), settings)
        if not known.exists():
            known.parent.mkdir(exist_ok=True)
            write_record(record["baselines"], known)
        record["baselines"] = json.loads(known.read_text(encoding="utf-8"))
        write_record(record, folder / f"{protocol}.json")
        figures[protocol] = percent(record["figures"])
        for other, found in record["baselines"].items():
            figures[f"{protocol} {other}"] = percent(found)
    return figures


def percent(figures: dict) -> float:
    return round(100 * figures["top1"], 2)


def table(out: Path) -> str:
    """Markdown of all runs below `out`: a row per method, means over seeds with their spread, baselines beside."""
    runs: dict[str, list[dict]] = {}
    for path in sorted(out.glob("*/learning.json")):
        trained = json.loads((path.parent / "backbone.json").read_text(encoding="utf-8"))
        found = {key: trained[key] for key in ("images", "batch_size")} | json.loads(path.read_text(encoding="utf-8"))
        runs.setdefault(found["method"], []).append(found)
    ways = {json.dumps(run["how"]) for each in runs.values() for run in each}
    if len(ways) != 1:
        raise SystemExit(
            f"{out} holds runs made in {len(ways)} ways ({'; '.join(sorted(ways))}): give one folder to each."
        )
    columns = ("knn", "knn untrained", "linear", "linear untrained", "finetune", "finetune untrained")
    heads = ("method", "seeds", "epochs", "images", "batch", "minutes", *columns)
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name in (name for name in methods() if name in runs and name != "dvae"):
        each = runs[name]
        taken = statistics.mean(run["minutes"] for run in each)
        cells = [spread([run[column] for run in each if column in run]) for column in columns]
        about = [str(each[0][key]) for key in ("epochs", "images", "batch_size")]
        lines.append(f"| {' | '.join([name, str(len(each)), *about, f'{taken:.0f}', *cells])} |")
    first = next(iter(runs.values()))[0]
    raw = {(key, value) for each in runs.values() for run in each for key, value in run.items() if "raw_pixels" in key}
    if len(raw) != len(dict(raw)):
        raise SystemExit(f"{out} holds runs that were held against several figures of raw pixels: {sorted(raw)}.")
    where = first["environment"]
    missing = ", ".join(name for name in methods() if name not in runs and name != "dvae")
    return "\n".join(
        [
            *lines,
            "",
            f"Accuracy in per cent. {', '.join(f'{key} {value}' for key, value in sorted(raw))}. "
            f"On {where['processor']}, {where['torch_threads']} thread(s) a run."
            + (f" Not run: {missing}." if missing else ""),
            "",
        ]
    )


def spread(values: list[float]) -> str:
    """`51.9`, or `51.9 ± 0.3` for several seeds."""
    if not values:
        return ""
    mean = f"{statistics.mean(values):.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


if __name__ == "__main__":
    main()
