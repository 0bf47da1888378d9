"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from densessl.errors import UserError


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """Hand out a temporary path beside `path`; on leaving the block, fsync it and rename it to `path`.

    The temporary name keeps the suffix of `path`, since image libraries choose a format by it. A block that raises
    leaves no file behind. A full disk or a folder that cannot be written is a `UserError` that names the file.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:40]}-", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise _explain(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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


def _explain(path: Path, error: OSError) -> UserError:
    if error.errno == errno.ENOSPC:
        return UserError(
            f"The disk is full: {path} could not be written. Free some space or choose another out folder."
        )
    reason = (error.strerror or str(error)).lower()
    return UserError(f"{path} could not be written: {reason}. Choose another place with out=FOLDER or --out FOLDER.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
