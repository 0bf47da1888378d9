"""The images that could not be read: listed in the run's folder, and the end of the run when they are too many."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from densessl.errors import UserError
from densessl.files import write_text


class Unreadable:
    """Names of unreadable images with the reason, each once however often it is met.

    broken: of a source, the files that were left out at its opening: listed, and not counted.
    """

    def __init__(self, broken: Mapping[str, str] | None = None) -> None:
        self.broken = dict(broken or {})
        self.reasons: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.reasons)

    def add(self, name: str, reason: str) -> None:
        self.reasons.setdefault(name, reason)

    def write(self, folder: str | Path) -> None:
        """Write `unreadable.txt`, a line of name, tab and reason for each; with none, take an older one away."""
        path = Path(folder) / "unreadable.txt"
        reasons = self.broken | self.reasons
        if not reasons:
            path.unlink(missing_ok=True)
            return
        lines = "".join(f"{name}\t{reason}\n" for name, reason in reasons.items())
        write_text(path, lines.encode("utf-8", "backslashreplace").decode("utf-8"))

    def check(self, total: int, share: float) -> None:
        """Raise `UserError` when more than `share` of `total` images, a number in [0, 1], are among them."""
        if len(self) <= share * total:
            return
        raise UserError(
            f"{len(self)} of {total} images cannot be read, more than the share of {share:g} that is allowed: "
            f"{self.some}; mend or remove them, or allow more with unreadable=SHARE."
        )

    @property
    def some(self) -> str:
        """The first three, with their reasons, in words."""
        some = list(self.reasons.items())[:3]
        names = ", ".join(f"{name} ({reason})" for name, reason in some)
        return names + (" and others" if len(self) > len(some) else "")
