"""Files are written whole or not at all, on a disk that is really full too, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from densessl.errors import UserError
from densessl.files import FORGOTTEN, remove_leftovers, write_bytes, write_image, write_text, writing


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    write_text(tmp_path / "sub" / "a.txt", "old")
    write_text(tmp_path / "sub" / "a.txt", "new")
    assert (tmp_path / "sub" / "a.txt").read_text() == "new"
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a.txt"]


def test_a_block_that_raises_leaves_the_old_file(tmp_path):
    write_bytes(tmp_path / "a.bin", b"old")
    with pytest.raises(KeyboardInterrupt), writing(tmp_path / "a.bin") as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.bin", b"old")]


def test_a_file_that_does_not_fit_leaves_the_old_one_and_is_a_sentence(tmp_path):
    write_bytes(tmp_path / "a.bin", b"old")
    program = """
import sys
from densessl.errors import UserError
from densessl.files import write_bytes
try:
    write_bytes(sys.argv[1], bytes(100_000))
except UserError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.bin")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert done.stdout.startswith("The disk is full") and "a.bin" in done.stdout and done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.bin", b"old")]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_way_of_being_full_is_told_as_that(tmp_path, number):
    told = pytest.raises(UserError, match=r"The disk is full.*a\.bin could not be written\. Free some space")
    with told, writing(tmp_path / "a.bin"):
        raise OSError(number, os.strerror(number))


def test_pictures_and_label_maps_are_written_as_they_are(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    write_image(tmp_path / "a.png", picture[:, ::-1])
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"))[..., ::-1], picture[:, ::-1])
    labels = np.arange(300, dtype=np.uint16).reshape(15, 20)
    write_image(tmp_path / "b.png", labels.T)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED), labels.T)
    for quality in (20, 95):
        write_image(tmp_path / f"{quality}.jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert (tmp_path / "20.jpg").stat().st_size < (tmp_path / "95.jpg").stat().st_size


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("a.xyz", (4, 4, 3), r"a\.xyz cannot be written: \.xyz is no picture format"),
        ("a", (4, 4, 3), "no suffix is no picture format"),
        ("a.jpg", (1, 70_000, 3), r"70000 x 1 pixels does not fit the format \.jpg"),
    ],
)
def test_a_picture_that_cannot_be_encoded_is_a_sentence_and_no_file(tmp_path, name, shape, words):
    with pytest.raises(UserError, match=words):
        write_image(tmp_path / name, np.zeros(shape, np.uint8))
    assert list(tmp_path.iterdir()) == []


def killed_while_writing(path: Path) -> None:
    """What a process leaves that was killed with a file half written."""
    program = f"""
import os, signal
from densessl.files import writing
with writing({str(path)!r}) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False)


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


def test_what_killed_processes_left_is_removed_once_it_is_old(tmp_path):
    for name in ("last.ckpt", "no suffix", "labels/x/y.png", "many.dots.tar.gz"):
        killed_while_writing(tmp_path / name)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(left) == 4 and all(path.name.startswith(".densessl-") for path in left)
    assert remove_leftovers(tmp_path) == []
    for path in left[1:]:
        age(path, FORGOTTEN + 5)
    assert sorted(remove_leftovers(tmp_path)) == sorted(left[1:])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == left[:1]


def test_nothing_that_is_not_ours_is_removed(tmp_path):
    names = (".last-abcdefgh.ckpt", ".densessl-notes.txt", "densessl-last-abcdefgh.ckpt", ".densessl-a-ABCDEFGH.png")
    for name in names:
        (tmp_path / name).write_text("mine")
        age(tmp_path / name, 1000)
    (tmp_path / ".densessl-folder-abcdefgh").mkdir()
    (tmp_path / ".densessl-link-abcdefgh.png").symlink_to(tmp_path / names[0])
    age(tmp_path / ".densessl-folder-abcdefgh", 1000)
    age(tmp_path / ".densessl-link-abcdefgh.png", 1000)
    before = sorted(tmp_path.iterdir())
    assert remove_leftovers(tmp_path) == [] and sorted(tmp_path.iterdir()) == before
    assert remove_leftovers(tmp_path / "nowhere") == []
