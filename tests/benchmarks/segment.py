"""What `densessl segment` costs: `python tests/benchmarks/segment.py [classes] [throughput] [memory]`.

- classes: seconds until there are masks of another number of segments, in the same folder, from what is kept;
- throughput: pictures a second, the whole command from cold, with each refinement;
- memory: peak resident memory as the folder grows, with the cache and without; it must not follow.

Each run is a process of its own. The seconds of a stage end with its last report and begin where the stage before
ended; those of finding the segments are all that come before the masks.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PHOTOS = Path(__file__).parents[2].parent / "shared" / "data" / "photos"
JOBS = ("classes", "throughput", "memory")
REFINEMENTS = ("none", "guided", "crf")


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", default=JOBS, help=", ".join(JOBS))
    parser.add_argument("--data", type=Path, default=PHOTOS, help="photographs")
    parser.add_argument("--pictures", type=int, default=1000, help="of classes and throughput")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10000], help="of memory's folders")
    parser.add_argument("--refinements", nargs="+", choices=REFINEMENTS, default=REFINEMENTS)
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--settings", nargs="*", default=[], help="of every run, such as steps=100")
    parser.add_argument("--scratch", type=Path, help="where folders are made and taken away")
    arguments = parser.parse_args()
    for name in arguments.jobs:
        with tempfile.TemporaryDirectory(dir=arguments.scratch, prefix="densessl-segment-") as scratch:
            {"classes": classes, "throughput": throughput, "memory": memory}[name](arguments, Path(scratch))


def classes(arguments: argparse.Namespace, scratch: Path) -> None:
    photos = linked(arguments.data, scratch / "photos", arguments.pictures)
    print(f"\nOther numbers of segments, {arguments.pictures} pictures, {arguments.threads} threads, seconds")
    print(f"{'':32}{'whole':>8}{'finding':>9}{'masks':>8}{'sums':>8}")
    rows = [
        ("none", 8, "8, from cold"),
        ("none", 12, "12 in the same folder"),
        ("none", "auto", "auto in the same folder"),
    ]
    rows += [(refine, 12, "12 in another folder") for refine in arguments.refinements if refine != "none"]
    for refine, number, title in rows:
        settings = [f"data={photos}", f"out={scratch / refine}", f"classes={number}", f"refine={refine}"]
        run = child(arguments, scratch / "cache", settings)
        sums = sum(run["stages"].get(stage, 0) for stage in ("Summing up", "Drawing sheets"))
        masks = run["stages"]["Writing masks"]
        found = sum(run["stages"].values()) - masks - sums
        print(f"{f'{refine}: {title}':32}{run['seconds']:8.1f}{found:9.1f}{masks:8.1f}{sums:8.1f}", flush=True)


def throughput(arguments: argparse.Namespace, scratch: Path) -> None:
    photos = linked(arguments.data, scratch / "photos", arguments.pictures)
    print(f"\nFrom cold, {arguments.pictures} pictures, {arguments.threads} threads, cache=none")
    for refine in arguments.refinements:
        settings = [f"data={photos}", f"out={scratch / refine}", f"refine={refine}", "cache=none"]
        run = child(arguments, scratch / "cache", settings)
        stages = ", ".join(f"{stage.lower()} {seconds:.1f}" for stage, seconds in run["stages"].items())
        rate = arguments.pictures / run["seconds"]
        print(f"{refine:8}{rate:6.2f} pictures/s, {run['seconds']:.1f} s: {stages}", flush=True)


def memory(arguments: argparse.Namespace, scratch: Path) -> None:
    print(f"\nPeak resident memory, {arguments.threads} threads, MB; before: what the packages take")
    print(f"{'pictures':>9}{'before':>9}{'cache':>9}{'again, 12':>11}{'no cache':>10}")
    for size in arguments.sizes:
        photos = linked(arguments.data, scratch / f"photos-{size}", size)
        shared = [f"data={photos}", "refine=none"]
        runs = [
            child(arguments, scratch / f"cache-{size}", [*shared, f"out={scratch / f'kept-{size}'}"]),
            child(arguments, scratch / f"cache-{size}", [*shared, f"out={scratch / f'kept-{size}'}", "classes=12"]),
            child(arguments, scratch / f"cache-{size}", [*shared, f"out={scratch / f'own-{size}'}", "cache=none"]),
        ]
        peaks = [run["peak"] for run in runs]
        print(f"{size:9}{runs[0]['before']:9.0f}{peaks[0]:9.0f}{peaks[1]:11.0f}{peaks[2]:10.0f}", flush=True)


def linked(data: Path, folder: Path, count: int) -> Path:
    """A folder of so many pictures: copies of the photographs, and links to them under more names."""
    folder.mkdir(parents=True)
    photos = sorted(data.glob("*.jpg"))
    for number in range(count):
        target = folder / f"{number:06}.jpg"
        if number < len(photos):
            shutil.copyfile(photos[number], target)
        else:
            os.link(folder / f"{number % len(photos):06}.jpg", target)
    return folder


def child(arguments: argparse.Namespace, cache: Path, settings: list[str]) -> dict:
    """A run in a process of its own: seconds of the whole and of its stages, megabytes before it and at its peak."""
    environment = {"OMP_NUM_THREADS": str(arguments.threads), "DENSESSL_CACHE": str(cache)}
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    command = [sys.executable, __file__, "--run", json.dumps(["devices=cpu", *arguments.settings, *settings])]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(settings)}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def run(settings: list[str]) -> None:
    """In the child: `densessl segment` with these settings, and a line of JSON."""
    begun = time.monotonic()
    from densessl.segmentation.config import resolve
    from densessl.segmentation.run import segment

    before, stages = peak(), Stages()
    segment(resolve(settings, {}), stages, lambda sentence: None)
    seconds = time.monotonic() - begun
    print(json.dumps({"seconds": seconds, "stages": stages.seconds, "before": before, "peak": peak()}))


class Stages:
    """A report of progress that counts the seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        self.seconds[stage] = self.seconds.get(stage, 0) + now - self.last
        self.last = now


def peak() -> float:
    """Most resident memory of this process so far, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(json.loads(sys.argv[2]))
    else:
        main()
