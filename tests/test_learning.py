"""The command behind the learning table knows every method, and its settings are those of their recipes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from densessl.methods import methods
from densessl.training.config import resolve

PATH = Path(__file__).parent / "benchmarks" / "learning.py"


@pytest.fixture
def learning():
    spec = importlib.util.spec_from_file_location("learning", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_method_can_be_started(learning):
    assert learning.METHODS.keys() == methods().keys()
    for name, settings in learning.METHODS.items():
        config = resolve(f"{name}-cifar", ["data=somewhere", *learning.SHARED, *settings])
        assert config.batch_size == (32 if name == "cpc" else 128) and config.method == name


def test_the_table_that_is_kept_is_that_of_the_runs_that_are_kept(learning):
    assert learning.RECORDS.with_suffix(".md").read_text() == learning.table(learning.records(learning.RECORDS))


def test_table_has_means_spreads_and_what_was_not_run(tmp_path, learning):
    about = {"epochs": 6, "images": 50000, "batch": 128, "knn raw_pixels": 40.5, "threads": 1, "processor": "a CPU"}
    for seed, knn in enumerate((50.0, 52.0)):
        learning.add(
            {"method": "simclr", "seed": seed, "minutes": 7, "knn": knn, "knn untrained": 27.5, **about},
            tmp_path / "records.csv",
        )
    rows = learning.records(tmp_path / "records.csv")
    table = learning.table(rows)
    assert "| simclr | 2 | 6 | 50000 | 128 | 7 | 51.0 ± 1.4 | 27.5 ± 0.0 |" in table
    assert "knn raw pixels 40.5" in table and "Not run:" in table and "byol" in table and "dvae" not in table
    with pytest.raises(SystemExit, match="differ"):
        learning.table([rows[0], rows[1] | {"epochs": "3"}])
