"""Files with damage, as the application takes them: does each get its result or a sentence, and does it go on?

    python tests/benchmarks/hostile.py [--count 2000] [--seed 0] [--limit 120] [--every 20] [--keep FOLDER]
    python tests/benchmarks/hostile.py --only NUMBER [--seed 0]

`hostile_files` makes PDFs, PNGs, JPEGs and TIFFs of several pages and changes their bits, parts and numbers. Each goes
the application's own way: opened in its process, and segmented at a small size, or parsed, one page of it, with the
picture of that page and the ZIP of all formats. Most are handed to the service itself, in a process that is watched
from outside; every 20th is uploaded to a server. After each that a process was lost to, and every 50th, a whole
picture must be answered as ever.

Printed: files by kind that were answered; that were refused by a sentence; whose sentence or note tells of the inside
of the program (a traceback, a name of a class, "Something went wrong"); that took longer than --limit seconds; that
ended the service or the server; after which a whole picture was not answered; the sentences, with what differs between
files left out; and the slowest files. --keep: a folder for files of the last four sorts, as SEED-NUMBER.SUFFIX with
what was said as .txt; --only does one of them again and tells all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import resource
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import densessl
from densessl.apps.config import AppConfig
from densessl.apps.parsing import Asked
from densessl.apps.service import Service, Upload
from densessl.errors import RunStopped, UserError
from tests.benchmarks.app_server import Refused, Server, User, inner
from tests.benchmarks.hostile_files import hostile

SETTINGS = {"pages": 1, "side": 256, "open_seconds": 10.0, "seconds": 100.0, "devices": "cpu", "keep": 5.0}
FORMATS = ["json", "md", "html", "coco", "hocr", "alto", "page"]
BAD = ("inside told", "over limit", "ended it", "not back")
LOST = re.compile("crashes on it|takes more than|needs more")
PHOTOGRAPHS = Path(densessl.__file__).parent / "photographs"
LOOK = 50  # files after which a whole picture is asked for


@dataclass
class Outcome:
    """what: "answered", "refused" or of `BAD`. said: the sentence, or notes. seconds: from upload to answer."""

    what: str
    said: str
    seconds: float


class Direct:
    """The service, in a process of its own that may be lost."""

    def __init__(self, limit: float) -> None:
        self.limit, self.highest = limit, 0
        self._start()

    def __call__(self, path: Path, parsed: bool) -> Outcome:
        began = time.perf_counter()
        self._pipe.send((str(path), parsed))
        try:
            if not self._pipe.poll(self.limit):
                self._start()
                return Outcome("over limit", "", time.perf_counter() - began)
            what, said, self.highest = self._pipe.recv()
        except EOFError:
            self._process.join()
            status = self._process.exitcode
            self._start()
            return Outcome("ended it", f"the service ended with {status}", time.perf_counter() - began)
        return Outcome(what, said, time.perf_counter() - began)

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join(30)
        self._process.kill()

    def _start(self) -> None:
        if hasattr(self, "_process"):
            self._process.kill()
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,))
        self._process.start()
        other.close()
        self._pipe.recv()  # that it is ready


def _serve(pipe: Connection) -> None:
    service = Service(AppConfig(**SETTINGS))
    service.engine.detector()
    pipe.send("ready")
    try:
        while (asked := pipe.recv()) is not None:
            path, parsed = asked
            try:
                what, said = "answered", _used(service, path, parsed)
                if said and inner(said):
                    what = "inside told"
            except (UserError, RunStopped) as error:
                what, said = ("inside told" if inner(str(error)) else "refused"), str(error)
            except Exception:  # of which the page says "Something went wrong"
                what, said = "inside told", traceback.format_exc()
            pipe.send((what, said, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10))
    finally:
        service.close()


def _used(service: Service, path: str, parsed: bool) -> str:
    """Ask for all that a user would of one upload; the notes."""
    upload = Upload(path, Path(path).name)
    if parsed:
        entry = service.parse(upload, Asked("1", FORMATS, "none"))
        entry.payload.write_page(entry.folder / "page-1.jpg", 1)
        entry.payload.write_zip(entry.folder / "all.zip")
    else:
        entry = service.segment([upload], 3)
        entry.payload.write_mask(entry.folder / "mask.png", 0)
        entry.payload.write_zip(entry.folder / "all.zip")
    notes = " ".join(entry.payload.notes)
    service.sessions.remove(entry.token)
    return notes


class Through:
    """A server, which is asked by HTTP and started when the first file comes."""

    def __init__(self, limit: float, folder: Path) -> None:
        self.limit, self._folder, self._server, self._number = limit, folder, None, 0
        self.highest = 0

    def __call__(self, path: Path, parsed: bool) -> Outcome:
        if self._server is None:
            self._number += 1
            settings = [f"{name}={value}" for name, value in SETTINGS.items()]
            self._server = Server(settings, self._folder / f"log-{self._number}.txt")
            self._user = User(self._server.url, self.limit)
        began = time.perf_counter()
        try:
            what, said = "answered", self._used(path, parsed)
            if said and inner(said):
                what = "inside told"
        except Refused as error:
            what, said = ("inside told" if inner(str(error)) else "refused"), str(error)
        except Exception as error:
            seconds, alive = time.perf_counter() - began, self._server.alive
            what = "over limit" if seconds >= self.limit else "ended it" if not alive else "inside told"
            said = f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - began
        if what in ("over limit", "ended it"):
            self.close()
        return Outcome(what, said, seconds)

    def _used(self, path: Path, parsed: bool) -> str:
        user, given = self._user, self._user.upload(path.read_bytes(), path.name)
        if parsed:
            found = user.call("parse", given, "1", FORMATS, "none")
            addresses = [f"files/{found['token']}/page/1.jpg", found["zip"], *found["files"].values()]
        else:
            found = user.call("segment", [given], "3", "kmeans", "")
            addresses = [found["pictures"][0]["mask"], found["pictures"][0]["overlay"], found["zip"]]
        for address in addresses:
            answer = user.get(address)
            if answer.status_code != 200:
                raise Refused(answer.text)
        return " ".join(found["notes"])

    def close(self) -> None:
        if self._server is not None:
            self._server.__exit__(None, None, None)
            self.highest = max(self.highest, self._server.highest)
            self._server = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=120, help="seconds for one file")
    parser.add_argument("--every", type=int, default=20, help="each so many goes through a server")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--only", type=int)
    options = parser.parse_args()
    numbers = range(options.count) if options.only is None else [options.only]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        direct, through = Direct(options.limit), Through(options.limit, folder)
        counts, sentences, slow = defaultdict(Counter), Counter(), []
        try:
            for number in numbers:
                suffix, data = hostile(options.seed, number)
                path = folder / f"{options.seed}-{number}.{suffix}"
                path.write_bytes(data)
                way: Callable[[Path, bool], Outcome] = through if number % options.every == 0 else direct
                parsed = suffix == "pdf" or number % 12 < 6
                outcome = way(path, parsed)
                if (LOST.search(outcome.said) or number % LOOK == LOOK - 1) and not _back(way):
                    outcome.what = "not back"
                _note(outcome, path, counts[suffix], sentences, options)
                slow = sorted([*slow, (outcome.seconds, path.name, outcome.what)], reverse=True)[:3]
                path.unlink()
                if number % 100 == 99:
                    print(f"{number + 1} of {options.count}: {dict(sum(counts.values(), Counter()))}", flush=True)
        finally:
            direct.close()
            through.close()
        _print(counts, sentences, slow, direct, through, folder)


def _back(way: Callable[[Path, bool], Outcome]) -> bool:
    return way(PHOTOGRAPHS / "cat.jpg", False).what == "answered"


def _note(outcome: Outcome, path: Path, counts: Counter, sentences: Counter, options: argparse.Namespace) -> None:
    counts[outcome.what] += 1
    if outcome.what == "refused":
        said = re.sub(r"\d[\d,.]*", "N", outcome.said.replace(path.name, "FILE").replace(path.stem, "FILE"))
        sentences[said] += 1
    if options.only is not None or outcome.what in BAD:
        print(f"{path.name}: {outcome.what} in {outcome.seconds:.1f} s. {outcome.said}", flush=True)
    if outcome.what in BAD and options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
        (options.keep / path.name).write_bytes(path.read_bytes())
        (options.keep / f"{path.stem}.txt").write_text(f"{outcome.what} in {outcome.seconds:.1f} s\n{outcome.said}\n")


def _print(
    counts: dict[str, Counter], sentences: Counter, slow: list, direct: Direct, through: Through, folder: Path
) -> None:
    columns = ("answered", "refused", *BAD)
    print(f"{'':6}" + "".join(f"{each:>13}" for each in columns))
    for suffix, found in [*sorted(counts.items()), ("all", sum(counts.values(), Counter()))]:
        print(f"{suffix:6}" + "".join(f"{found[each]:13}" for each in columns))
    for said, count in sentences.most_common():
        print(f"  {count} x {said}")
    print("slowest: " + ", ".join(f"{name} {seconds:.1f} s ({what})" for seconds, name, what in slow))
    print(
        f"highest resident memory: service {direct.highest / 2**20:,.0f} MiB, "
        f"server with all its processes {through.highest / 2**20:,.0f} MiB"
    )
    tracebacks = sum(each.read_text("utf-8", "replace").count("Traceback") for each in folder.glob("log-*.txt"))
    print(f"tracebacks in the server's log: {tracebacks}")


if __name__ == "__main__":
    main()
