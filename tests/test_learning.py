"""The command behind the learning table knows every method, and its settings are those of their recipes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from densessl.methods import methods
from densessl.training.config import resolve

PATH = Path(__file__).parent / "benchmarks" / "learning.py"


def test_every_method_can_be_started():
    spec = importlib.util.spec_from_file_location("learning", PATH)
    learning = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(learning)
    assert learning.METHODS.keys() == methods().keys()
    for name, settings in learning.METHODS.items():
        config = resolve(f"{name}-cifar", ["data=somewhere", *learning.SHARED, *settings])
        assert config.batch_size == (32 if name == "cpc" else 128) and config.method == name
