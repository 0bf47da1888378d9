"""Checkpoints of Lightning hold more than weights: settings and callbacks, pickled as objects of foreign classes.

torch reads a checkpoint without running its code (`weights_only`) and refuses classes that it does not know. Here each
foreign class that such a file names gets a stand-in without code, which keeps what it is given: arguments and state.
Everything else of `weights_only` stays as strict as it is.
"""

from __future__ import annotations

import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

# Whose settings and callbacks are read past. Other files that name foreign classes are refused as before.
_LIGHTNING = ("omegaconf", "pytorch_lightning", "lightning")
_DICTS = ("defaultdict", "AttributeDict")


class Inert:
    """An object of a class that is not ours: what it was made of, and nothing that could run."""

    def __new__(cls, *arguments: Any) -> Inert:
        made = object.__new__(cls)
        made.arguments, made.state = arguments, None
        return made

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Plain(Inert):
    """A dict of a class of its own, such as `defaultdict`: a plain one takes its place."""

    def __new__(cls, *arguments: Any) -> dict:
        return {}


def stand_ins(path: Path) -> list[type]:
    """A stand-in for each foreign class that a checkpoint of Lightning names; none for any other file."""
    named = {argument for name, argument in _operations(path) if name == "GLOBAL"}
    pairs = {_modern(*each.split(" ", 1)) for each in named}
    if not any(module.split(".")[0] in _LIGHTNING for module, _ in pairs):
        return []
    return [
        type(name, (_Plain if name in _DICTS else Inert,), {"__module__": module})
        for module, name in sorted(pairs)
        if module.split(".")[0] != "torch"
    ]


def mentions(path: Path, word: str) -> bool:
    """Whether a checkpoint holds this string, such as the name of a tensor; nothing of it is loaded."""
    return any(argument == word for name, argument in _operations(path) if "UNICODE" in name)


def plain(value: Any) -> Any:
    """Settings of omegaconf, as `read_torch` leaves them, as dicts, lists and values; None for what is neither."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, Inert):
        state = value.state if isinstance(value.state, dict) else {}
        return plain(state.get("_content", state.get("_val")))
    return value if isinstance(value, (bool, int, float, str)) else None


def _operations(path: Path) -> Iterator[tuple[str, Any]]:
    """What the pickles of a checkpoint do, by the name of each operation and its argument, none of it done."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                content = [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]
            for each in content:
                yield from _read(each)
            return
        with open(path, "rb") as file:
            for _ in range(4):  # before torch 1.6: a number, the version, the machine, the content
                yield from _read(file)
    # A file that is damaged or something else: reading it says so.
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, KeyError, RuntimeError):
        return


def _read(pickled: bytes | BinaryIO) -> Iterator[tuple[str, Any]]:
    return ((operation.name, argument) for operation, argument, _ in pickletools.genops(pickled))


def _modern(module: str, name: str) -> tuple[str, str]:
    """Python 2's names, in which pickles of protocol 2 are written, as torch's reader turns them into Python 3's."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[(module, name)]
    return IMPORT_MAPPING.get(module, module), name
