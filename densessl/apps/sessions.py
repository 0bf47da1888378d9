"""What belongs to whom: folders and results of users, found by names that nobody can guess, and removed in time.

A result has a token of 128 random bits and, where whoever asked for it sent the cookie of the page, their name; it is
given to nobody else. Results lie in a folder of their own below one temporary root. They are removed some minutes after
their last use, the longest unused sooner where memory is short, and all with the root at the end.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from densessl.apps.config import AppConfig
from densessl.errors import UserError
from densessl.files import locked, writing

COOKIE = "densessl"
PREFIX, LOCK = "densessl-app-", "lock"
IDLE = 60.0  # seconds without a byte after which an upload has ended
LEFT = 3600.0  # seconds after which a folder without a lock was left by a removal that was killed
BLOCK = 512  # bytes in which the system counts what files take
LOOK = 15.0  # seconds between two looks for what is old


GONE = "This result is no longer kept: run it again."
NO_ROOM = "There is no room for {} at the moment: try again in some minutes."


class Gone(UserError):
    """A result that is no longer kept, or never was, or is another user's: nobody is told which."""


@dataclass
class Entry:
    """A result. owner: who asked for it, None for those who sent no cookie. held: bytes of memory that it takes."""

    token: str
    owner: str | None
    folder: Path
    payload: Any = None
    held: int = 0
    used: float = field(default_factory=time.monotonic)


class Sessions:
    """Results of all users; for any number of threads. `close` removes everything."""

    def __init__(self, config: AppConfig) -> None:
        self.config = config
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=config.folder))
        self._handle = os.open(self.root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        if locked(self._handle) and not _is_free(self.root / LOCK):  # else locks mean nothing on this disk
            _remove_left(self.root.parent)
        self.uploads, self.results = self.root / "uploads", self.root / "results"
        self.uploads.mkdir()
        self.results.mkdir()
        self._entries: dict[str, Entry] = {}
        self._uploaded: dict[str, set[str | None]] = {}
        self._lock, self._ended = threading.RLock(), threading.Event()
        threading.Thread(target=self._watch, name="removal", daemon=True).start()

    def begin(self, owner: str | None) -> Entry:
        """A result to be filled, with an empty folder; raises `UserError` when the disk has no room for more."""
        if self.room() <= 0:
            raise UserError(NO_ROOM.format("results"))
        token = secrets.token_hex(16)
        folder = self.results / token
        folder.mkdir()
        entry = Entry(token, owner, folder)
        with self._lock:
            self._entries[token] = entry
        return entry

    def hold(self, entry: Entry, payload: Any, held: int) -> None:
        """Keep what a result needs in memory, so many bytes; others that were not used for longest make room."""
        with self._lock:
            entry.payload, entry.held, entry.used = payload, held, time.monotonic()
            others = sorted((each for each in self._entries.values() if each is not entry), key=lambda each: each.used)
            while others and sum(each.held for each in self._entries.values()) > self.config.held * 1e9:
                oldest = others.pop(0)
                if oldest.held:
                    self.remove(oldest.token)

    def find(self, token: str, owner: str | None) -> Entry:
        """The result of this token; raises `Gone` unless it is there and this user's."""
        with self._lock:
            entry = self._entries.get(token)
            if entry is None or (entry.owner is not None and entry.owner != owner):
                raise Gone(GONE)
            entry.used = time.monotonic()
            return entry

    def remove(self, token: str) -> None:
        """Take a result away, with its folder."""
        with self._lock:
            entry = self._entries.pop(token, None)
        if entry is not None:
            shutil.rmtree(entry.folder, ignore_errors=True)

    def uploaded(self, path: str, owner: str | None) -> None:
        """Note whose upload a file is; the same bytes under the same name are one file, which may be several users'."""
        with self._lock:
            self._uploaded.setdefault(os.path.realpath(path), set()).add(owner)
        with suppress(FileNotFoundError):  # it is moved there in a moment
            os.utime(path)

    def adopt(self, path: Path, owner: str | None) -> str:
        """A copy of a file of ours as an upload of this user; its path. The same file is one, whoever takes it.

        Raises `UserError` when the disk has no room for more.
        """
        with open(path, "rb") as file:
            folder = self.uploads / hashlib.file_digest(file, "sha256").hexdigest()
        target = folder / path.name
        with self._lock:
            if not target.is_file():
                if self.room() <= 0:
                    raise UserError(NO_ROOM.format("uploads"))
                folder.mkdir(parents=True, exist_ok=True)
                with writing(target) as temporary:
                    shutil.copyfile(path, temporary)
            self.uploaded(str(target), owner)
        return str(target)

    def may_read(self, path: str, owner: str | None) -> bool:
        """Whether this file is an upload of this user.

        What came without a cookie is that of the one that was given for it, once this has been sent: of nobody else.
        """
        with self._lock:
            owners = self._uploaded.get(os.path.realpath(path), set())
            if owner is not None and owner in owners:
                owners.discard(None)
            return owner in owners

    def room(self) -> float:
        """Bytes that uploads and results may still take on the disk, where a small file takes a block."""
        taken = 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                with suppress(FileNotFoundError):  # removed meanwhile
                    taken += BLOCK * os.lstat(Path(folder, name)).st_blocks
        return self.config.disk * 1e9 - taken

    def clean(self) -> None:
        """Remove what was not used for as long as it is kept; what is being made is in use."""
        seconds = self.config.keep * 60
        with self._lock:
            old = [
                each.token
                for each in self._entries.values()
                if each.payload is not None and time.monotonic() - each.used > seconds
            ]
        for token in old:
            self.remove(token)
        for folder, _, names in os.walk(self.uploads):
            coming = Path(folder) == self.uploads  # files lie in folders of their own once they are there
            for path in (Path(folder, name) for name in names):
                try:
                    # Where it was uploaded again, its time is that of its last upload.
                    with self._lock:
                        if time.time() - path.stat().st_mtime <= (min(IDLE, seconds) if coming else seconds):
                            continue
                        path.unlink()
                        self._uploaded.pop(os.path.realpath(path), None)
                    if not coming:
                        path.parent.rmdir()
                except OSError:  # removed meanwhile, or used again
                    continue

    def close(self) -> None:
        """Remove everything."""
        self._ended.set()
        with self._lock:
            self._entries.clear()
        shutil.rmtree(self.root, ignore_errors=True)
        os.close(self._handle)

    def _watch(self) -> None:
        while not self._ended.wait(min(LOOK, self.config.keep * 60 / 4)):
            self.clean()


def _is_free(lock: Path) -> bool:
    """Whether nobody holds a lock."""
    handle = os.open(lock, os.O_RDWR)
    try:
        return locked(handle)
    finally:
        os.close(handle)


def _remove_left(parent: Path) -> None:
    """Remove the folders of applications that were killed: those whose lock nobody holds, or that have had none for so
    long that it cannot be that one begins."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another user's, or removed meanwhile
            lock, old = folder / LOCK, time.time() - folder.stat().st_mtime > LEFT
            if _is_free(lock) if lock.is_file() else old:
                shutil.rmtree(folder, ignore_errors=True)
