"""A new method is one file and one recipe: it is listed, trains, and passes the suite with no other file touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from densessl.methods import registry

ROOT = Path(__file__).parents[2]
NEW = Path(__file__).parent / "newcomer"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as it is, with the two new files in their places."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("densessl", "configs", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copy(NEW / "rotnet.py", folder / "densessl" / "methods")
    shutil.copy(NEW / "rotnet-cifar.yaml", folder / "configs" / "pretrain")
    return folder


def run(folder: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_file_is_short():
    assert len((NEW / "rotnet.py").read_text().splitlines()) < 60


def test_it_is_listed(checkout):
    listed = run(checkout, "-m", "densessl", "methods")
    assert "rotnet " in listed and "recipes: rotnet-cifar" in listed


def test_it_passes_the_suite(checkout):
    suite = ["tests/methods/test_every_method.py", "tests/methods/test_processes.py", "tests/training/test_run.py"]
    said = run(checkout, "-m", "pytest", "-p", "no:cacheprovider", *suite, "-k", "rotnet")
    passed = int(said.rsplit(" passed", 1)[0].split()[-1])
    assert passed > 15 and "skipped" not in said, said


def test_a_package_of_its_own_can_bring_one(monkeypatch):
    """By an entry point of the group densessl.methods, for those who do not work in a checkout."""
    monkeypatch.syspath_prepend(str(NEW))
    points = [EntryPoint("rotnet", "rotnet", "densessl.methods")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "densessl.methods" else [])
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    assert registry.method("rotnet").title.startswith("Unsupervised")
