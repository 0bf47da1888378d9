"""The parts of a data set, such as train and test: how they are told from names, and which is meant."""

from __future__ import annotations

import re
from collections.abc import Sequence

from densessl.config import nearest
from densessl.errors import UserError

NAMES = frozenset(
    ("train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "evaluation", "unlabeled")
)
_NUMBERED = re.compile(r"(.+)-\d{5}-of-\d{5}$")  # of `datasets` and the hub: train-00000-of-00002


def is_split(name: str) -> bool:
    return name.lower() in NAMES


def is_train(name: str) -> bool:
    return name.lower() in ("train", "training")


def split_of(name: str) -> str | None:
    """The split that a relative path without its suffix speaks of: data/train-00000-of-00002 -> train.

    A word such as train in the file's name counts first, then one in its folders, then whatever is numbered so.
    """
    for part in reversed(name.split("/")):
        words = [word for word in re.split(r"[-_. ]", part) if is_split(word)]
        if words:
            return words[-1]
    numbered = _NUMBERED.match(name.rsplit("/", 1)[-1])
    return numbered.group(1) if numbered else None


def choose(known: Sequence[str], split: str | None, place: str) -> list[str]:
    """The splits that are meant: the one asked for, or else train, the only one, all. Raises `UserError` for others."""
    known = sorted(known)
    if split is None:
        train = [name for name in known if is_train(name)]
        return train[:1] or known
    if split in known:
        return [split]
    if not known:
        raise UserError(f"{place} has no splits, so there is no split={split}: leave it out.")
    raise UserError(f"{place} has no split {split!r}{nearest(split, known)} Known here: {', '.join(known)}.")
