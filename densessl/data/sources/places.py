"""Where the images of a run lie, seen from the folder that it writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from densessl.errors import UserError


def absolute(data: Any) -> Any:
    """Paths and globs that stay right when the saved config is run from another folder."""
    if isinstance(data, (list, tuple)):
        return [absolute(each) for each in data]
    return str(Path(os.path.abspath(Path(str(data)).expanduser())))


def check_apart(data: Any, folder: Path) -> None:
    """Raise `UserError` when `folder` lies below the data: its pictures would be taken for data at the next start."""
    for each in data if isinstance(data, list) else [data]:
        if Path(each).is_dir() and Path(each).resolve() in [folder.resolve(), *folder.resolve().parents]:
            raise UserError(f"out={folder} lies in the data folder {each}: give another place with out=FOLDER.")
