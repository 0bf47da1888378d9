"""What becomes of `names.txt` when the segments that it names are replaced by others in the same folder."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from densessl.errors import UserError
from densessl.progress import Say
from densessl.segmentation.outputs.names import Classes, has_comments, read_names
from densessl.segmentation.resume import State


def turn_names(folder: Path, state: State, model: str, say: Say) -> None:
    """Put the names of other segments than those of this model aside, and take those of its own back.

    A file that the user has not touched is left out: it is written anew. model: its hash. state: is written before a
    file is moved, so that a run that is killed in between loses sight of none.
    """
    names = folder / "names.txt"
    try:
        if state.model not in (None, model) and names.exists():
            if _touched(names, state.segments):
                aside = _free(folder, f"names-{state.segments}")
                state.aside[state.model] = aside.name
                state.write(folder)
                os.replace(names, aside)
                say(f"The names of the segments before are kept in {aside}.")
            else:
                names.unlink()
        own = folder / state.aside.get(model, "names.txt")
        if own != names and own.exists() and not names.exists():
            os.replace(own, names)
            say(f"{own.name} names these very segments: it is {names} again.")
        state.aside.pop(model, None)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{names} could not be moved aside: {reason}. Move it, and start again.") from error


def _touched(names: Path, segments: int) -> bool:
    try:
        return read_names(names, segments) != Classes.unnamed(segments) or has_comments(names)
    except UserError:
        return True


def _free(folder: Path, stem: str) -> Path:
    choices = itertools.chain([f"{stem}.txt"], (f"{stem}-{number}.txt" for number in itertools.count(2)))
    return next(folder / name for name in choices if not (folder / name).exists())
