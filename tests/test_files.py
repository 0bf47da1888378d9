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

from densessl import files
from densessl.errors import UserError
from densessl.files import FORGOTTEN, claimed, remove_leftovers, write_bytes, write_image, write_text, writing


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


HOLD = """
import sys, time
from densessl.files import claimed
with claimed(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the folder "out"."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_folder_is_for_one_command_at_a_time_and_free_again_when_that_is_killed(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(files, "WAIT", 0.0)
    sentence = r"at work in .*out: wait until it has ended, or give this one another out folder"
    with pytest.raises(UserError, match=sentence), claimed(tmp_path / "out"):
        pass
    with claimed(tmp_path / "other"):
        pass
    holder.kill()
    holder.wait()
    with claimed(tmp_path / "out") as folder:
        (folder / "mask.png").write_text("")
        with pytest.raises(UserError, match="at work"), claimed(folder):  # of the same process as well
            pass
    with claimed(tmp_path / "out"):
        pass
    # A folder that was made and stayed empty is gone, and no lock is left.
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["out", "out/mask.png"]


def test_who_waited_for_a_lock_that_was_taken_away_does_not_hold_it(tmp_path, monkeypatch):
    """The file that is locked is the one that the next command finds."""
    monkeypatch.setattr(files, "WAIT", 5.0)
    given, plain = [], files.locked

    def late(handle: int) -> bool:
        if not given:
            (tmp_path / files.LOCK).unlink()  # the one that had it ends between opening and locking
        given.append(handle)
        return plain(handle)

    monkeypatch.setattr(files, "locked", late)
    with claimed(tmp_path):
        monkeypatch.setattr(files, "WAIT", 0.0)
        with pytest.raises(UserError, match="at work"), claimed(tmp_path):
            pass
    assert len(given) == 3
