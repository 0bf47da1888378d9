"""The folder of kept features: bounded, shared, and never a reason for a run to end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from densessl.segmentation.features import cache as caches
from densessl.segmentation.features.cache import GB, Cache, default_folder


def key(letter: str) -> str:
    return letter * 32


def names(folder: Path) -> set[str]:
    """The first letters of the entries."""
    return {path.name[0] for path in folder.iterdir() if any(path.iterdir())}


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def keep(folder: Path, letter: str, size: int, bound: float) -> Cache:
    """A run of its own that keeps one file of this size."""
    cache = Cache(folder, bound)
    cache.keep(key(letter), "0.bin", letter.encode() * size, {"letter": letter})
    return cache


def test_what_is_kept_is_read_as_it_was_written(tmp_path):
    keep(tmp_path, "a", 3_000_000, GB)
    kept = Cache(tmp_path, GB).read(key("a"), "0.bin")
    assert kept.data() == b"a" * 3_000_000 and kept.record["letter"] == "a"
    assert Cache(tmp_path, GB).read(key("b"), "0.bin") is None
    assert Cache(tmp_path / "nowhere", GB).read(key("a"), "0.bin") is None


def test_the_least_recently_used_make_room_and_the_bound_holds(tmp_path):
    for age, letter in enumerate("abc"):
        keep(tmp_path, letter, 900, bound=4000)
        os.utime(tmp_path / key(letter), (1000 + age, 1000 + age))
    assert Cache(tmp_path, 4000).read(key("a"), "0.bin") is not None
    cache = keep(tmp_path, "d", 1500, bound=4000)
    assert names(tmp_path) == {"a", "c", "d"} and cache.trouble is None
    assert bytes_of(tmp_path) == cache.used() <= 4000


def test_an_entry_that_does_not_fit_is_not_kept_and_makes_no_room(tmp_path):
    keep(tmp_path, "a", 900, bound=2000)
    cache = keep(tmp_path, "b", 2500, bound=2000)
    assert names(tmp_path) == {"a"} and "cache_size=2e-06 has no room" in cache.trouble
    assert cache.read(key("b"), "0.bin") is None


def test_an_entry_of_several_files_goes_as_soon_as_it_is_clear_that_it_will_not_fit(tmp_path):
    keep(tmp_path, "a", 500, bound=2000)
    cache = Cache(tmp_path, 2000)
    with cache.write(key("b"), "0.bin") as writer:
        writer.add(b"b" * 300)
        assert writer.settle({}, whole=1000) is not None
    with cache.write(key("b"), "1.bin") as writer:
        writer.add(b"b" * 700)
        assert writer.settle({}, whole=2500) is None
    with cache.write(key("b"), "2.bin") as writer:
        writer.add(b"b")
        assert writer.settle({}) is None
    assert names(tmp_path) == {"a"}


def test_entries_of_one_run_make_no_room_for_each_other(tmp_path):
    cache = keep(tmp_path, "a", 900, bound=2000)
    cache.keep(key("b"), "0.bin", b"b" * 1500, {})
    assert names(tmp_path) == {"a"} and cache.trouble


def test_a_smaller_bound_is_kept_to_at_once_and_foreign_files_are_left_alone(tmp_path):
    for age, letter in enumerate("ab"):
        keep(tmp_path, letter, 900, bound=GB)
        os.utime(tmp_path / key(letter), (1000 + age, 1000 + age))
    (tmp_path / "thesis.txt").write_text("mine" * 1000)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_text("mine")
    Cache(tmp_path, 1200).clean()
    assert {path.name[:6] for path in tmp_path.iterdir()} == {"bbbbbb", "thesis", "photos"}
    assert (tmp_path / "photos" / "1.jpg").exists()


def test_what_killed_runs_left_half_written_goes_after_an_hour(tmp_path):
    cache = Cache(tmp_path, GB)
    for letter, age in (("a", 10), ("b", 2 * caches.FORGOTTEN)):
        writer = cache.write(key(letter), "0.bin")
        writer.add(b"half")
        writer.file.flush()
        os.utime(writer.temporary, (time.time() - age,) * 2)
    os.utime(tmp_path / key("b"), (1, 1))
    Cache(tmp_path, GB).clean()
    assert names(tmp_path) == {"a"}


def test_an_entry_that_another_run_takes_away_can_still_be_read(tmp_path):
    kept = keep(tmp_path, "a", 900, GB).read(key("a"), "0.bin")
    Cache(tmp_path, 1).clean()
    assert list(tmp_path.iterdir()) == []
    assert kept.data() == b"a" * 900


def test_a_folder_that_another_run_takes_away_while_it_is_written_ends_nothing(tmp_path):
    cache = Cache(tmp_path, GB)
    with cache.write(key("a"), "0.bin") as writer:
        writer.add(b"a" * 900_000)
        Cache(tmp_path, 1).clean()
        assert writer.settle({}) is None
    assert "no such file" in cache.trouble


@pytest.mark.parametrize("place", ["file", "sealed"])
def test_a_folder_that_cannot_be_written_is_told_of_and_ends_nothing(tmp_path, place):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" if place == "file" else Path("/proc/nothing")
    cache = keep(folder, "a", 900, GB)
    assert str(folder) in cache.trouble and cache.used() == 0
    cache.clean()


def test_a_full_disk_leaves_nothing_behind_and_ends_nothing(tmp_path):
    """The limit on the size of files stands for the disk's end."""
    program = (
        "import resource, signal, sys; from densessl.segmentation.features.cache import Cache\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"cache = Cache({str(tmp_path)!r}, 1e9)\n"
        "with cache.write('a' * 32, '0.bin') as writer:\n"
        "    [writer.add(b'x' * 30_000) for _ in range(9)]\n"
        "    print(writer.settle({}), '|', cache.trouble)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == f"None | {tmp_path} could not be written: file too large\n", done.stderr
    assert bytes_of(tmp_path) == 0


def test_two_runs_that_keep_the_same_at_once_both_find_it(tmp_path):
    one, two = Cache(tmp_path, GB), Cache(tmp_path, GB)
    with one.write(key("a"), "0.bin") as first, two.write(key("a"), "0.bin") as second:
        for writer in (first, second):
            writer.add(b"same" * 100)
        kept = [writer.settle({}) for writer in (first, second)]
    assert [each.data() for each in kept] == [b"same" * 100] * 2
    assert len(list((tmp_path / key("a")).iterdir())) == 1


def test_the_folder_is_the_users_own(monkeypatch, tmp_path):
    monkeypatch.setenv("DENSESSL_CACHE", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own"
    monkeypatch.delenv("DENSESSL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "densessl" / "features"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for nothing in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", nothing)
        assert default_folder() == tmp_path / "home" / ".cache" / "densessl" / "features"


def test_a_cache_says_where_it_is_and_how_full(tmp_path):
    cache = Cache.of(str(tmp_path), 5)
    assert str(cache) == f"{tmp_path} (0 of 5 GB)"
    cache.keep(key("a"), "0.bin", b"a" * 15_000_000, {})
    assert str(cache) == f"{tmp_path} (0.015 of 5 GB)"
    assert Cache.of(None, 5) is None and Cache.of("none", 5) is None
