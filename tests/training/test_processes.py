"""Runs as processes: signals, kills, several processes and several machines; what they leave is what one run leaves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from densessl.backbones import load_backbone
from densessl.errors import RunStopped
from densessl.training.images import RunImages
from tests.training.conftest import heads, recipe, small
from tests.training.test_run import assert_same, run, weights

# The package as the tests see it, whether installed or run from the checkout.
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}


def start(method: str, data: Path, out: Path, *overrides: str) -> subprocess.Popen:
    settings = [f"data={data}", f"out={out}", *small(method), *heads(method), *overrides]
    command = [sys.executable, "-m", "densessl", "pretrain", recipe(method), *settings]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


def wait_for(path: Path, process: subprocess.Popen, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.02)
    assert path.exists(), process.stderr.read() if process.poll() is not None else "it takes too long"


@pytest.mark.parametrize(("number", "extra"), [(signal.SIGTERM, "accumulate=4"), (signal.SIGINT, "accumulate=1")])
def test_a_signal_saves_first_and_the_same_command_goes_on(number, extra, pictures, tmp_path):
    settings = ("steps=3000", "checkpoint_steps=2", extra)
    process = start("simclr", pictures, tmp_path / "run", *settings)
    wait_for(tmp_path / "run" / "checkpoints" / "step-2.ckpt", process)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number and "Traceback" not in said and "same command" in said, said
    saved = int(weights(tmp_path / "run")["step"])
    assert 2 <= saved < 3000
    process = start("simclr", pictures, tmp_path / "run", *settings)
    wait_for(tmp_path / "run" / "checkpoints" / f"step-{saved // 2 * 2 + 2}.ckpt", process)
    process.send_signal(signal.SIGTERM)
    assert "going on from" in process.communicate(timeout=60)[1]


def test_a_signal_to_the_whole_group_saves_as_well(pictures, tmp_path):
    """As `timeout` and schedulers send it; the workers must not die of it before the main process has saved."""
    settings = [f"data={pictures}", f"out={tmp_path / 'run'}", *small("simclr"), *heads("simclr"), "steps=3000"]
    command = [sys.executable, "-m", "densessl", "pretrain", recipe("simclr"), *settings, "workers=2"]
    process = subprocess.Popen(
        [*command, "checkpoint_steps=2"], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True
    )
    wait_for(tmp_path / "run" / "checkpoints" / "step-2.ckpt", process)
    os.killpg(process.pid, signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 143 and "Traceback" not in said and "same command" in said, said


@pytest.mark.parametrize(
    ("method", "stage", "step"),
    # DeepCluster-v2 looks at the images once, before its first step.
    [
        ("deepcluster", "Looking at all images", 0),
        ("deepcluster", "Looking at all images", 3),
        ("deepcluster", "Clustering", 3),
        ("deepcluster2", "Looking at all images", 0),
        ("deepcluster2", "Clustering", 0),
        ("deepcluster2", "Clustering", 3),
    ],
)
def test_a_signal_ends_the_look_at_all_images_and_nothing_is_lost(method, stage, step, pictures, tmp_path, monkeypatch):
    whole = run(method, pictures, tmp_path / "whole", "steps=5")
    advance = RunImages.advance

    def end(self, at, done, total):
        if (at, self.module.steps_done, done < total) == (stage, step, True):
            os.kill(os.getpid(), signal.SIGTERM)
        advance(self, at, done, total)

    monkeypatch.setattr(RunImages, "advance", end)
    with pytest.raises(RunStopped, match=f"after step {step} of 5" if step else "before step 1") as stopped:
        run(method, pictures, tmp_path / "again", "steps=5")
    assert stopped.value.status == 143
    monkeypatch.undo()
    assert_same(whole, run(method, pictures, tmp_path / "again", "steps=5"))


def test_sigkill_at_random_moments_changes_no_bit(pictures, tmp_path):
    """Two kills here; tests/benchmarks/kills.py does twenty."""
    settings = ("steps=60", "checkpoint_minutes=0", "checkpoint_steps=20")
    whole = start("moco", pictures, tmp_path / "whole", *settings)
    killed = start("moco", pictures, tmp_path / "killed", *settings)
    rng = np.random.default_rng(0)
    for _ in range(2):
        wait_for(tmp_path / "killed" / "checkpoints" / "last.ckpt", killed)
        time.sleep(rng.uniform(0, 0.3))
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        killed = start("moco", pictures, tmp_path / "killed", *settings)
    for process in (whole, killed):
        assert process.wait(timeout=120) == 0, process.stderr.read()
    assert_same(tmp_path / "whole", tmp_path / "killed")


def test_two_processes_learn_what_one_does(pictures, tmp_path):
    """Gloo, DDP, the same images per step: equal up to rounding; tests/methods has every method's gradients."""
    runs = {}
    for devices in ("cpu", "cpu:2"):
        process = start("byol", pictures, tmp_path / devices, "steps=3", f"devices={devices}")
        assert process.wait(timeout=180) == 0, process.stderr.read()
        runs[devices] = weights(tmp_path / devices)
    for key, one in runs["cpu"].items():
        torch.testing.assert_close(runs["cpu:2"][key], one, rtol=2e-3, atol=2e-4, msg=key)


@pytest.mark.parametrize("method", ["pirl", "deepcluster", "cmc"])
def test_two_processes_end_with_pictures_and_a_backbone(method, pictures, tmp_path):
    """What the first process alone does at the end waits for no other."""
    process = start(method, pictures, tmp_path / "run", "steps=1", "devices=cpu:2")
    assert process.wait(timeout=180) == 0, process.stderr.read()
    assert load_backbone(tmp_path / "run") and len(list((tmp_path / "run" / "pictures").iterdir())) > 2


def test_two_machines_learn_what_one_does(pictures, tmp_path):
    """torchrun starts both here, as it would on two machines with a shared disk; one process each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = [f"data={pictures}", f"out={tmp_path / 'two'}", *small("byol"), *heads("byol"), "steps=3", "nodes=2"]
    launch = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1"]
    both = [
        subprocess.Popen(
            [sys.executable, *launch, f"--master-port={port}", f"--node-rank={rank}"]
            + ["-m", "densessl", "pretrain", recipe("byol"), *settings],
            env=ENVIRONMENT | {"GLOO_SOCKET_IFNAME": "lo"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=240)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("The backbone lies in" in each for each in said) == 1
    one = weights(run("byol", pictures, tmp_path / "one", "steps=3"))
    for key, found in weights(tmp_path / "two").items():
        torch.testing.assert_close(found, one[key], rtol=2e-3, atol=2e-4, msg=key)


def test_a_command_ends_with_a_sentence_and_status_2(tmp_path):
    (tmp_path / "empty").mkdir()
    for data in ("empty", "missing"):
        command = [sys.executable, "-m", "densessl", "pretrain", "simclr-cifar", f"data={tmp_path / data}"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT)
        assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "runs").exists()
