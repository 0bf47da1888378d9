"""Many users of the application at a time: whether each gets their own answers, and how long these take.

    python tests/benchmarks/app_load.py [--users 20] [--seconds 120] [--seed 0] [SETTING=VALUE ...]

`densessl app` is started as a process, with these settings. Each user has a cookie, a picture of a size that nobody
else's has, and a page as PDF with a word that nobody else's has; half of them ask by gradio_client, as browsers do, by
the queue's stream, the others by plain HTTP, as curl does. One after the other, with a short pause between, they ask
for /segment, /correspond and /parse, and each answer is checked to be theirs: by the size and name of the picture and
of the mask that is then fetched, by the word in the JSON and the Markdown, which has no other's. One time in five a
user also asks for a file of another, which must not be given. After the last second each waits for its answer.

Printed: by kind requests that were answered, that were refused since the queue was full, that were refused by another
sentence, that failed (no answer, or one that is no sentence), that were mixed up, and the median and 95th percentile of
seconds from upload to result; files of others asked for and given; requests answered a second; and the server's highest
resident memory, all its processes together.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import httpx
import numpy as np
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from gradio_client.utils import QueueError
from reportlab.pdfgen.canvas import Canvas

from tests.benchmarks.app_server import Full, Refused, Server, User, inner

KINDS = {"segment": 0.5, "correspond": 0.25, "parse": 0.25}
COLUMNS = ("answered", "queue full", "refused", "failed", "mixed up")
PAUSE = 1.0  # seconds, in the mean, between an answer and the next request
PEEKS = 0.2  # of the requests after which a file of another user is asked for
PATIENCE = 900.0  # seconds for an answer


class MixedUp(Exception):
    """An answer that is another user's."""


@dataclass
class Tally:
    """What happened, for any number of threads. files: addresses of each user's files."""

    counts: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    said: Counter = field(default_factory=Counter)
    files: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    peeks: Counter = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    first: float | None = None


class Plain(User):
    """A user by plain HTTP."""

    def ask(self, name: str, file: Path, *more: object) -> dict:
        given = self.upload(file.read_bytes(), file.name)
        return self.call(name, given if name == "parse" else [given], *more)


class Streaming(Plain):
    """A user by gradio_client, with the cookie that it got."""

    def __init__(self, url: str, seconds: float) -> None:
        self.client = Client(url, verbose=False, httpx_kwargs={"timeout": seconds})
        self.http = httpx.Client(base_url=url, timeout=seconds, cookies=self.client.cookies)

    def ask(self, name: str, file: Path, *more: object) -> dict:
        given = handle_file(str(file))
        try:
            return self.client.predict(given if name == "parse" else [given], *more, api_name=f"/{name}")
        except QueueError as error:
            raise Full(str(error)) from None
        except AppError as error:
            raise Refused(str(error)) from None


class Person:
    """A user with what is theirs: picture and word, told apart by their number."""

    def __init__(self, number: int, folder: Path, seed: int) -> None:
        self.number, self.rng = number, np.random.default_rng([seed, number])
        self.width, self.height = 240 + 9 * number, 400 - 7 * number
        letters = np.random.default_rng([seed, 10_000 + number]).choice(list("bdfgklmnprstvz"), 9)
        self.word = "".join(letters) + chr(ord("a") + number // 26) + chr(ord("a") + number % 26)
        self.others: list[Person] = []
        self.picture, self.document = folder / f"{self.word}.png", folder / f"{self.word}.pdf"
        cv2.imwrite(str(self.picture), _scene(self.width, self.height, self.rng))
        self.document.write_bytes(_page(self.word))

    def segment(self, user: Plain) -> list[str]:
        """Ask, and check that mask and names are one's own; the addresses of its files."""
        found = user.ask("segment", self.picture, str(self.rng.integers(2, 7)), "kmeans", "")
        self._own_picture(found["pictures"])
        mask = user.get(found["pictures"][0]["mask"]).raise_for_status()
        labels = cv2.imdecode(np.frombuffer(mask.content, np.uint8), cv2.IMREAD_UNCHANGED)
        if labels.shape != (self.height, self.width):
            raise MixedUp(f"the mask has {labels.shape}")
        return [found["pictures"][0]["mask"], found["pictures"][0]["overlay"], found["zip"]]

    def correspond(self, user: Plain) -> list[str]:
        """Ask, then for three other places, as a pointer does."""
        found = user.ask("correspond", self.picture, 0, 0.3, 0.6, "")
        self._own_picture(found["pictures"])
        heat = f"files/{found['token']}/heat?picture=0&x={{:.3f}}&y={{:.3f}}"
        for x, y in self.rng.random((3, 2)):
            (answer,) = user.get(heat.format(x, y)).raise_for_status().json()
            if (answer["rows"], answer["columns"]) != tuple(found["pictures"][0][each] for each in ("rows", "columns")):
                raise MixedUp(f"the map has {answer['rows']} x {answer['columns']}")
        return [heat.format(0.5, 0.5)]

    def parse(self, user: Plain) -> list[str]:
        """Ask, and look for one's own word in the JSON and the Markdown."""
        found = user.ask("parse", self.document, "", ["json", "md"], "auto")
        (markdown,) = (address for name, address in found["files"].items() if name.endswith(".md"))
        for told in (json.dumps(found["pages"]), user.get(markdown).raise_for_status().text):
            if self.word not in told:
                raise MixedUp("one's own word is not there")
            if any(other.word in told for other in self.others):
                raise MixedUp("another's word is there")
        return [markdown, found["zip"], f"files/{found['token']}/page/1.jpg"]

    def _own_picture(self, pictures: list[dict]) -> None:
        told = [(each["name"], each["width"], each["height"]) for each in pictures]
        if told != [(self.picture.name, self.width, self.height)]:
            raise MixedUp(f"pictures are {told}")


def use(person: Person, url: str, until: float, tally: Tally) -> None:
    """Be this user until then."""
    user = (Streaming if person.number % 2 else Plain)(url, PATIENCE)
    rng = person.rng
    while time.monotonic() < until:
        kind, began = str(rng.choice(list(KINDS), p=list(KINDS.values()))), time.monotonic()
        said, files = "", []
        try:
            files, outcome = getattr(person, kind)(user), "answered"
        except Full as error:
            outcome, said = "queue full", str(error)
        except Refused as error:
            said = str(error)
            outcome = "failed" if inner(said) else "refused"
        except MixedUp as error:
            outcome, said = "mixed up", str(error)
        except Exception as error:  # a call that gets no answer is what is counted here
            outcome, said = "failed", f"{type(error).__name__}: {error}"
        with tally.lock:
            tally.counts[kind][outcome] += 1
            if outcome == "answered":
                tally.seconds[kind].append(time.monotonic() - began)
                tally.first = tally.first or time.monotonic()
            else:
                tally.said[f"{kind}, {outcome}: {said[:200]}"] += 1
            tally.files[person.number] = files or tally.files[person.number]
            others = [each for number, found in tally.files.items() if number != person.number for each in found]
        if others and rng.random() < PEEKS:
            answer = user.get(str(rng.choice(others)))
            with tally.lock:
                tally.peeks["refused" if answer.status_code == 404 else f"given ({answer.status_code})"] += 1
        time.sleep(rng.exponential(PAUSE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", help="of densessl app")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        people = [Person(number, Path(folder), options.seed) for number in range(options.users)]
        for person in people:
            person.others = [each for each in people if each is not person]
        tally = Tally()
        with Server(options.settings, Path(folder) / "log.txt") as server:
            began = time.monotonic()
            threads = [
                threading.Thread(target=use, args=(each, server.url, began + options.seconds, tally)) for each in people
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            took, alive = time.monotonic() - began, server.alive
        _print(tally, server, began, took, alive)


def _print(tally: Tally, server: Server, began: float, took: float, alive: bool) -> None:
    print(f"{'':12}" + "".join(f"{each:>11}" for each in COLUMNS) + f"{'median s':>11}{'95 % s':>11}")
    total, every = Counter(), []
    for kind in KINDS:
        total.update(tally.counts[kind])
        every += tally.seconds[kind]
        _row(kind, tally.counts[kind], tally.seconds[kind])
    _row("all", total, every)
    print(
        f"{total['answered'] / took:.2f} requests/s over {took:.0f} s; "
        f"started in {server.started:.1f} s, first answer {(tally.first or began) - began:.1f} s later"
    )
    peeks = ", ".join(f"{count} {what}" for what, count in sorted(tally.peeks.items())) or "none"
    print(f"files of others asked for: {peeks}")
    print(f"highest resident memory, all processes: {server.highest / 2**20:,.0f} MiB; it answers still: {alive}")
    log = server.log.read_text("utf-8", "replace")
    print(f"tracebacks in its log: {log.count('Traceback')}")
    for said, count in tally.said.most_common(20):
        print(f"  {count} x {said}")
    if "Traceback" in log:
        print(log[-3000:])


def _row(name: str, counts: Counter, seconds: list[float]) -> None:
    middle, late = np.percentile(seconds, [50, 95]) if seconds else (float("nan"), float("nan"))
    print(f"{name:12}" + "".join(f"{counts[each]:11}" for each in COLUMNS) + f"{middle:11.2f}{late:11.2f}")


def _scene(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Ground, sky and a disc in colours of one's own, with some noise."""
    picture = np.empty((height, width, 3), np.float32)
    colours = rng.integers(30, 225, (3, 3))
    picture[: height // 2], picture[height // 2 :] = colours[0], colours[1]
    cv2.circle(picture, (width // 3, height // 2), min(width, height) // 4, colours[2].tolist(), -1)
    return np.clip(picture + rng.normal(0, 9, picture.shape), 0, 255).astype(np.uint8)


def _page(word: str) -> bytes:
    data = io.BytesIO()
    canvas = Canvas(data, pagesize=(595, 842))
    canvas.setFont("Helvetica-Bold", 20)
    canvas.drawString(72, 760, f"Of {word}")
    canvas.setFont("Helvetica", 11)
    for line in range(30):
        canvas.drawString(72, 720 - 15 * line, f"Line {line + 1} tells of {word}, which nobody else has on a page.")
    canvas.save()
    return data.getvalue()


if __name__ == "__main__":
    main()
