"""`densessl app` as a process of its own, and users of it by HTTP, for what measures it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import httpx

# Parts of what is said that only a programmer understands.
INNER = ("Traceback", 'File "', "Something went wrong", "Error:", "<class '", " object at 0x", ".py", "/tmp/")
LOOK = 0.5  # seconds between two looks at memory


class Full(Exception):
    """The queue is full; says the sentence of the answer."""


class Refused(Exception):
    """A request that was answered by a sentence."""


class Server:
    """The application on a free port; as a context it is ended and what it used is known.

    settings: as of the command. url: where it is. started: seconds until it said so. highest: bytes of resident memory
    of all its processes together at their most; memory that they share is counted by each. log: where its complaints
    stand.
    """

    def __init__(self, settings: Sequence[str], log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.log, self.highest, self._ended = log, 0, threading.Event()
        began = time.perf_counter()
        with open(log, "wb") as complaints:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "densessl", "app", "--port", str(port), *settings],
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
            )
        said = self.process.stdout.readline()
        if "http" not in said:
            raise SystemExit(f"densessl app does not start: {said}{log.read_text()}")
        self.started = time.perf_counter() - began
        self.url = f"http://127.0.0.1:{port}/"
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._watcher.join()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def alive(self) -> bool:
        """Whether its process is there and answers."""
        try:
            return self.process.poll() is None and httpx.get(self.url, timeout=60).status_code == 200
        except httpx.HTTPError:
            return False

    def _watch(self) -> None:
        while not self._ended.wait(LOOK):
            self.highest = max(self.highest, resident(self.process.pid))


class User:
    """One browser or program, with a cookie of its own. upload, call and get are what it may do."""

    def __init__(self, url: str, seconds: float) -> None:
        self.http = httpx.Client(base_url=url, timeout=seconds)
        self.http.get("").raise_for_status()

    def upload(self, data: bytes, name: str) -> dict:
        """A file as a call takes it; raises `Refused`."""
        answer = self.http.post("gradio_api/upload", files={"files": (name, data)})
        if answer.status_code != 200:
            raise Refused(answer.text)
        return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}

    def call(self, name: str, *data: object) -> dict:
        """The result of a call; raises `Full`, `Refused`, and `ConnectionError` for a call that is never answered."""
        asked = self.http.post(f"gradio_api/call/{name}", json={"data": list(data)})
        if asked.status_code == 503:
            raise Full(asked.text)
        asked.raise_for_status()
        event = None
        with self.http.stream("GET", f"gradio_api/call/{name}/{asked.json()['event_id']}") as lines:
            for line in lines.iter_lines():
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: ") and event == "complete":
                    return json.loads(line.removeprefix("data: "))[0]
                elif line.startswith("data: ") and event == "error":
                    raise Refused(_sentence(json.loads(line.removeprefix("data: "))))
        raise ConnectionError(f"the call {name} ended without an answer (last event: {event})")

    def get(self, address: str) -> httpx.Response:
        """What lies at an address below the application's."""
        return self.http.get(address)


def inner(said: str) -> bool:
    """Whether a sentence tells of the inside of the program, or is more than a line, or none."""
    return not said.strip() or "\n" in said.strip() or any(each in said for each in INNER)


def resident(pid: int) -> int:
    """Bytes of resident memory of a process and of all that it has started."""
    parents, total = {}, 0
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            try:
                # The name before the last ) may hold anything.
                parents[int(each.name)] = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended
                continue
    for each in parents:
        above = each
        while above not in (pid, 0):
            above = parents.get(above, 0)
        if above == pid:
            try:
                total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except OSError:
                continue
    return total


def _sentence(said: object) -> str:
    return str(said.get("error", said)) if isinstance(said, dict) else str(said or "")
