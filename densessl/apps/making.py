"""Files that take a while to make: by a few threads of their own, in time or not at all.

Whoever waits holds none of the threads that serve everybody else, however many wait and however long it takes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.types import Receive

from densessl.apps.jobs import Job
from densessl.errors import UserError

Ask = Callable[[], None]  # called between the parts of what is made; raises `Busy` when it is to end
Write = Callable[[Path, Ask], None]


class Busy(UserError):
    """What cannot be made now, and may be in some minutes."""


class Makers:
    """Threads that make files. folder: where they lie until they are sent. most: files that may wait at a time."""

    def __init__(self, threads: int, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most + threads
        self._pool, self._asked = ThreadPoolExecutor(threads, thread_name_prefix="files"), 0

    @asynccontextmanager
    async def made(self, write: Write, suffix: str, job: Job, receive: Receive) -> AsyncIterator[Path]:
        """A file that `write` makes, which is there until the block is left.

        job: says how long it may take, its wait for a thread included. receive: of the request; who has gone is not
        waited for. Raises `Busy` where it is not made in time, or where too many are waited for, and what `write` does.
        """
        if self._asked >= self.most:
            raise Busy("Many files are being made here at the moment: try again in some minutes.")
        path = self.folder / f"{secrets.token_hex(16)}{suffix}"
        making = self._pool.submit(write, path, lambda: _ask(job))
        try:
            self._asked += 1
            try:
                await _awaited(asyncio.wrap_future(making), job, receive)
            finally:
                self._asked -= 1
            yield path
        finally:
            job.stop()
            # A thread that is at work yet removes it when it ends.
            making.add_done_callback(lambda _: path.unlink(missing_ok=True))


async def _awaited(making: asyncio.Future[None], job: Job, receive: Receive) -> None:
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({making, gone}, timeout=job.seconds, return_when=asyncio.FIRST_COMPLETED)
        if not making.done():
            raise _late(job)
        making.result()
    finally:
        gone.cancel()
        making.cancel()  # where no thread has begun with it none will


async def _gone(receive: Receive) -> None:
    """Until the browser has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _ask(job: Job) -> None:
    try:
        job(0.0, "Making a file")
    except UserError:
        raise _late(job) from None


def _late(job: Job) -> Busy:
    return Busy(
        f"This takes more than the {job.seconds:g} s that a request may take here: try again in some minutes, or give "
        "less at a time."
    )
