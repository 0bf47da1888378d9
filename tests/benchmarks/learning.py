"""Does every method learn? `python tests/benchmarks/learning.py [METHOD ...] --seeds 0 1`.

Trains each method on CIFAR-10's training images with the same small network (a ResNet of 9 convolutions or, for those
that mask patches, a ViT of 4 blocks, of 0.2 to 0.3 million weights each), the same epochs and the same batch (CPC,
iBOT and BEiT's tokenizer: fewer images, and CPC smaller batches, for its time rises with the square of the batch),
then scores the last epoch on the 10,000 test images: weighted kNN (k 200, temperature 0.1) and a linear probe, beside
the same network untrained and raw pixels; those that mask patches, and CPC, also by fine-tuning on a tenth of the
labels. Each run adds a line to learning.csv, which is kept, so that machines and days can share the work, and
learning.md is made from it. A run that was stopped goes on when it is started again; one that has its line is not run
again.
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
VIT = ["backbone=vit_tiny_patch16_224", "backbone_options={embed_dim: 64, depth: 4, num_heads: 2, patch_size: 4}"]
BEIT = [
    "backbone=beit_base_patch16_224",
    "backbone_options={embed_dim: 64, depth: 4, num_heads: 2, patch_size: 4, use_rel_pos_bias: false, "
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
    "supcon": [
        *RESNET,
        "lr=0.4",
        "supcon.temperature=0.1",
        "supcon.hidden=256",
        "supcon.dim=128",
        "supcon.view.brightness=0.4",
        "supcon.view.contrast=0.4",
        "supcon.view.saturation=0.4",
        "supcon.view.hue=0.1",
        "supcon.view.blur=0",
    ],
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
    "cpc": [*RESNET, "lr=1e-3", "batch_size=32", "limit=10000", "cpc.hidden=64", "cpc.blocks=3"],
    "mae": [*VIT, *TRANSFORMER, "mae.decoder_dim=64", "mae.decoder_depth=2", "mae.decoder_heads=2"],
    # Two views, a teacher and a head over patches: half of the images take as long as all do with others.
    "ibot": [
        *VIT,
        *TRANSFORMER,
        "ibot.hidden=256",
        "ibot.bottleneck=128",
        "ibot.prototypes=512",
        "ibot.momentum=0.98",
        "ibot.frozen_epochs=0.2",
        "ibot.warmup_epochs=2",
        "limit=25000",
    ],
    "dvae": [*DVAE, "lr=3e-3", "limit=10000", "dvae.width=16", "dvae.blocks=1"],
    "beit": [*BEIT, *TRANSFORMER],
}
MEAN = ("mae", "beit")  # whose linear probe sees the mean of the map, since no class token was trained
FINETUNED = ("mae", "ibot", "beit", "cpc")
# SimCLRv2's LARS, which is the default, has moved a ViT hardly anywhere after these few steps.
FINETUNE = ["labels=0.1", "epochs=10", "seeds=1", "workers=0", "devices=cpu", "lr=1e-3"]
FINETUNE += ["optimizer={name: adamw, weight_decay: 0.05, lr_scaling: none, warmup_epochs: 1}"]
RECORDS = Path(__file__).with_name("learning.csv")
FIGURES = [
    f"{protocol}{other}" for protocol in ("knn", "linear", "finetune") for other in ("", " untrained", " raw_pixels")
]
COLUMNS = ["method", "seed", "epochs", "images", "batch", "minutes", *FIGURES, "threads", "processor"]


def main() -> None:
    """Train and score what has no line yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=[name for name in METHODS if name != "dvae"])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=Path("runs/learning"), help="where the runs are kept")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--records", type=Path, default=RECORDS, help="a line for each run; the table is beside it")
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for name in arguments.methods:
            if (name, str(seed)) not in {(row["method"], row["seed"]) for row in records(arguments.records)}:
                add(one(name, seed, arguments), arguments.records)
    arguments.records.with_suffix(".md").write_text(table(records(arguments.records)), encoding="utf-8")


def one(name: str, seed: int, arguments: argparse.Namespace) -> dict:
    """Train one method from one seed and score it; the time of its tokenizer, if it has one, is counted."""
    settings = ["devices=cpu", f"data={arguments.data}", f"epochs={arguments.epochs}", f"seed={seed}", *SHARED]
    folder, spent = arguments.out / f"{name}-{seed}", 0.0
    if name == "beit":
        tokenizer = arguments.out / f"dvae-{seed}"
        pretrain("dvae-cifar", [*settings, f"out={tokenizer}", *METHODS["dvae"]])
        settings.append(f"beit.tokenizer={tokenizer}")
        spent = minutes(tokenizer)
    pretrain(f"{name}-cifar", [*settings, f"out={folder}", *METHODS[name]])
    trained, here = json.loads((folder / "backbone.json").read_text(encoding="utf-8")), environment()
    about = {"images": trained["images"], "batch": trained["batch_size"], "minutes": round(spent + minutes(folder), 1)}
    where = {"threads": here["torch_threads"], "processor": here["processor"]}
    run = {"method": name, "seed": seed, "epochs": arguments.epochs}
    return run | about | where | score(name, seed, folder, arguments)


def records(path: Path) -> list[dict[str, str]]:
    """The lines of all runs."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def add(record: dict, path: Path) -> None:
    """Add the line of a run."""
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(record)
    print(", ".join(f"{key} {value}" for key, value in record.items()), flush=True)


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
    protocols = {"knn": [], "linear": ["features=mean"] if name in MEAN else []}
    if name in FINETUNED:
        protocols["finetune"] = FINETUNE
    figures: dict[str, float] = {}
    for protocol, settings in protocols.items():
        # An untrained network is the same whichever method has it.
        same = json.dumps([describe(load_backbone(str(folder))), protocol, seed, *settings])
        known = arguments.out / "baselines" / f"{hashlib.sha256(same.encode()).hexdigest()[:16]}.json"
        settings = [f"baselines={not known.exists()}", f"seed={seed}", *settings]
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


def table(rows: list[dict[str, str]]) -> str:
    """Markdown of all runs: a row per method, means over seeds with their spread, baselines beside."""
    runs = {name: [row for row in rows if row["method"] == name] for name in methods() if name != "dvae"}
    shown = [column for column in FIGURES if "raw_pixels" not in column]
    heads = ("method", "seeds", "epochs", "images", "batch", "minutes", *shown)
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, each in runs.items():
        about = {tuple(run[key] for key in ("epochs", "images", "batch")) for run in each}
        if len(about) > 1:
            raise SystemExit(f"The runs of {name} differ in epochs, images or batch: {sorted(about)}.")
        if each:
            cells = [spread([float(run[column]) for run in each if run[column]]) for column in shown]
            taken = statistics.mean(float(run["minutes"]) for run in each)
            lines.append(f"| {' | '.join([name, str(len(each)), *about.pop(), f'{taken:.0f}', *cells])} |")
    raw = {(column, float(run[column])) for run in rows for column in FIGURES if "raw_pixels" in column and run[column]}
    if len(raw) != len(dict(raw)):
        raise SystemExit(f"The runs were held against several figures of raw pixels: {sorted(raw)}.")
    where = " or ".join(sorted({f"{run['processor']} with {run['threads']} thread(s) a run" for run in rows}))
    missing = ", ".join(name for name, each in runs.items() if not each)
    about = f"Accuracy in per cent; minutes of training alone. On {where}."
    found = "; ".join(f"{column.replace('_', ' ')} {value}" for column, value in sorted(raw))
    return "\n".join([*lines, "", f"{about} {found}.", *([f"Not run: {missing}."] if missing else []), ""])


def spread(values: list[float]) -> str:
    """`51.9`, or `51.9 ± 0.3` for several seeds."""
    if not values:
        return ""
    mean = f"{statistics.mean(values):.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


if __name__ == "__main__":
    main()
