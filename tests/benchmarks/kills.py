"""Kill a small run with SIGKILL at random moments, start it again each time, and compare with one that was left alone.

`python tests/benchmarks/kills.py [--kills 20] [METHOD ...]` prints, per method, how many weights and buffers of the
last checkpoint (heads, queues, optimizer, step included) differ in any bit. Checkpoints are written after every step,
so that many kills fall into a write.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from densessl.data.synthetic import write_scenes

SETTINGS = [
    "image_size=32",
    "batch_size=16",
    "backbone=resnet18",
    "backbone_options={channels: [8, 16, 16, 16], layers: [1, 1, 1, 1], stem_width: 8}",
    "workers=1",
    "devices=cpu",
    "log_steps=5",
    "checkpoint_minutes=0",
]


def main() -> None:
    """Run, kill, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=["moco"])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=400)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "scenes"
        write_scenes(data, 64, seed=0, size=(64, 80))
        for method in arguments.methods:
            whole, killed = Path(folder) / f"{method}-whole", Path(folder) / f"{method}-killed"
            finish(start(method, data / "images", whole, arguments.steps))
            deaths = kill_often(method, data / "images", killed, arguments)
            report(method, deaths, whole, killed)


def start(method: str, data: Path, out: Path, steps: int) -> subprocess.Popen:
    """The command of a run, in a process of its own."""
    settings = [f"data={data}", f"out={out}", f"steps={steps}", *SETTINGS]
    command = [sys.executable, "-m", "densessl", "pretrain", f"{method}-cifar", *settings]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
    """Wait for a run to end well."""
    said = process.communicate()[1]
    if process.returncode:
        raise SystemExit(said)


def kill_often(method: str, data: Path, out: Path, arguments: argparse.Namespace) -> list[int]:
    """Kill the run at random moments after its first checkpoint; the step it was killed at, each time."""
    rng, deaths = random.Random(0), []
    last = out / "checkpoints" / "last.ckpt"
    for _ in range(arguments.kills):
        process = start(method, data, out, arguments.steps)
        before = last.stat().st_mtime_ns if last.exists() else 0
        while process.poll() is None and (not last.exists() or last.stat().st_mtime_ns == before):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.8))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        deaths.append(int(torch.load(last, weights_only=True)["state_dict"]["step"]))
    finish(start(method, data, out, arguments.steps))
    return deaths


def report(method: str, deaths: list[int], whole: Path, killed: Path) -> None:
    """Compare every tensor of both last checkpoints."""
    one, two = (tensors(torch.load(each / "checkpoints" / "last.ckpt", weights_only=True)) for each in (whole, killed))
    differ = [key for key in one.keys() | two.keys() if key not in one or not torch.equal(one[key], two.get(key))]
    rows = [len((each / "metrics.csv").read_text().splitlines()) - 1 for each in (whole, killed)]
    print(f"{method}: killed {len(deaths)} times, at steps {', '.join(map(str, deaths))}; {len(differ)} of {len(one)}")
    print(f"tensors differ {differ[:5]}; rows of metrics.csv: {rows[0]} and {rows[1]}", flush=True)


def tensors(value: object, name: str = "") -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint's weights and optimizer by its place."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    wanted = [(key, each) for key, each in items if name or key in ("state_dict", "optimizer_states")]
    return {place: tensor for key, each in wanted for place, tensor in tensors(each, f"{name}/{key}").items()}


if __name__ == "__main__":
    main()
