"""Files that are written whole or not at all, and names for those that are made of others."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from densessl.errors import UserError

if TYPE_CHECKING:
    import numpy as np

PREFIX = ".densessl-"  # of temporary names, by which those that a killed process left are known
LOCK = f"{PREFIX}lock"  # of a folder that a command is at work in
WAIT = 10.0  # seconds; processes that read pictures outlive one that was killed by 5
FORGOTTEN = 60.0  # seconds without a change after which nobody is writing a temporary file any more
FULL = {  # what ends a write for want of space, and how that is told
    errno.ENOSPC: "The disk is full",
    errno.EDQUOT: "The disk is full as far as your quota goes",
    errno.EFBIG: "The disk is full, or the limit on the size of a file (ulimit -f) is reached",
}
_UMASK = threading.Lock()
_TEMPORARY = re.compile(re.escape(PREFIX) + r".*-[a-z0-9_]{8}(\.[^.]*)?")


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """Hand out a temporary path beside `path`; on leaving the block, fsync it and rename it to `path`.

    The temporary name keeps the suffix of `path`, since image libraries choose a format by it. A block that raises
    leaves no file behind. A full disk or a folder that cannot be written is a `UserError` that names the file.
    """
    path = Path(path)
    temporary = None
    try:
        temporary = temporary_for(path)
        yield temporary
        settle(temporary, path)
    except OSError as error:
        raise _explain(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def temporary_for(path: Path) -> Path:
    """An empty file beside `path`, whose folder is made, to be written and then settled; raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{PREFIX}{path.stem[:40]}-", suffix=path.suffix)
    os.close(handle)
    return Path(name)


def settle(temporary: Path, path: Path) -> None:
    """Make what was written to a file of `temporary_for` that of `path`, on the disk too; raises `OSError`."""
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.chmod(temporary, 0o666 & ~_umask())
    os.replace(temporary, path)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data`, whole or not at all.

    Libraries that write files themselves (safetensors, `torch.save`) hide a full disk in errors of their own: let them
    make bytes, and write those here.
    """
    with writing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_image(path: str | Path, image: np.ndarray, options: Sequence[int] = ()) -> None:
    """Write a picture in the format of the suffix, whole or not at all.

    image: RGB (H, W, 3) uint8, or a label map (H, W) of uint8 or uint16. options: of `cv2.imencode`, such as
    `[cv2.IMWRITE_JPEG_QUALITY, 92]`. Raises `UserError` when the format is none, or cannot hold the picture.
    """
    import cv2
    import numpy as np

    path = Path(path)
    pixels = np.ascontiguousarray(image if image.ndim == 2 else image[..., ::-1])
    if not (path.suffix and cv2.haveImageWriter(path.name)):
        raise UserError(
            f"{path} cannot be written: {path.suffix or 'no suffix'} is no picture format; use .png or .jpg."
        )
    try:
        done, data = cv2.imencode(path.suffix, pixels, list(options))
    except cv2.error:
        done = False
    if not done:
        height, width = image.shape[:2]
        raise UserError(
            f"{path} cannot be written: a picture of {width} x {height} pixels does not fit the format {path.suffix}."
        )
    write_bytes(path, data.tobytes())


def remove_leftovers(folder: str | Path, seconds: float = FORGOTTEN) -> list[Path]:
    """Delete what killed processes left below `folder`; returns the paths.

    Only plain files that `writing` named are touched, and only when unchanged for these seconds, so that another
    process may be at work in the folder. What cannot be deleted stays.
    """
    removed = []
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names if _TEMPORARY.fullmatch(name)):
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink() and time.time() - path.stat().st_mtime > seconds:
                    path.unlink()
                    removed.append(path)
    return removed


def output_folder(path: str | Path) -> Path:
    """Create the folder `path` and prove that it can be written.

    Raises `UserError` when it is a file, lies below a file, or lacks permission, before any work was done.
    """
    path = Path(path).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise _explain(path, error) from error
    return path


@contextlib.contextmanager
def claimed(path: str | Path) -> Iterator[Path]:
    """Create the folder `path` as `output_folder` does, and have it for this command alone.

    The system lets go of it however the process ends. A folder that is made here and left empty is taken away again.
    Raises `UserError` when another command has it still after `WAIT` seconds. On file systems that know no locks, and
    on Windows, nobody is kept out.
    """
    made = not Path(path).expanduser().exists()
    folder = output_folder(path)
    lock = folder / LOCK
    handle = _claim(lock)
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()  # while it is held: who waits for it sees that it is gone, and makes a new one
        os.close(handle)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _claim(lock: Path) -> int:
    begun = time.monotonic()
    while True:
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise _explain(lock, error) from error
        try:
            if locked(handle) and os.fstat(handle).st_nlink:
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        if time.monotonic() - begun > WAIT:
            raise UserError(
                f"Another densessl command is at work in {lock.parent}: wait until it has ended, or give this one "
                "another out folder."
            )
        time.sleep(0.1)


def locked(handle: int) -> bool:
    """Lock an open file for this process, unless another has; on systems without locks it always succeeds."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _explain(path: Path, error: OSError) -> UserError:
    if error.errno in FULL:
        return UserError(
            f"{FULL[error.errno]}: {path} could not be written. Free some space or choose another out folder."
        )
    reason = (error.strerror or str(error)).lower()
    return UserError(f"{path} could not be written: {reason}. Choose another place with out=FOLDER or --out FOLDER.")


def _umask() -> int:
    # Asked by setting it, so that two threads at once would take each other's 0 for it.
    with _UMASK:
        mask = os.umask(0)
        os.umask(mask)
    return mask


def stems(names: Sequence[str]) -> list[str]:
    """Where each picture's files go, without their suffix: "x/y" for "x/y.jpg".

    Where several pictures would share it ("a.jpg", "a.png") each keeps its full name ("a.jpg", "a.png"), so that none
    overwrites another's files.
    """
    short = [str(PurePosixPath(name).with_suffix("")) for name in names]
    chosen = list(short)
    while shared := {stem for stem, count in Counter(chosen).items() if count > 1}:
        longer = [name if stem in shared else stem for name, stem in zip(names, chosen, strict=True)]
        chosen = longer if longer != chosen else [f"{stem}~{i}" for i, stem in enumerate(chosen)]
    return chosen
