"""What is downloaded: bounded in time and memory, of one moment, in nobody's way, and a sentence where it cannot be."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from densessl.apps import files, segments
from densessl.apps.jobs import Job
from densessl.apps.making import Busy, Makers
from densessl.apps.parsing import Parsed
from densessl.apps.run import Application
from densessl.apps.segments import Segmentation
from densessl.apps.sessions import Entry
from densessl.data.images import UnreadableImage
from densessl.data.pages import pdf
from densessl.segmentation import segment_labels
from tests.apps.serving import lakes, start

GONE = "This result is no longer kept: run it again."
THREADS = 40  # that serve all requests of the server


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    application = start(backbone="colour", queue=2 * THREADS)
    yield application
    application.close()


def segmentation(folder: Path, size: tuple[int, int] = (300, 400), count: int = 2) -> Segmentation:
    """Pictures of noise with three segments, of uploads of this size (height, width)."""
    found = Segmentation.begin(folder, 3, 0.0005)
    for number in range(count):
        coarse = torch.randn(1, 3, 6, 8, generator=torch.Generator().manual_seed(number))
        scores = F.interpolate(coarse, size=(60, 80), mode="bilinear")[0]
        image = np.random.default_rng(number).integers(0, 255, (300, 400, 3), np.uint8)
        found.add(f"{number}.jpg", image, size, scores)
    return found


def segmented(application: Application) -> tuple[Entry, str]:
    """A result of anybody's, and its address."""
    entry = application.service.sessions.begin(None)
    application.service.sessions.hold(entry, segmentation(entry.folder), 0)
    return entry, f"{application.url}files/{entry.token}"


def parsed(application: Application) -> tuple[Entry, str]:
    entry = application.service.sessions.begin(None)
    source, out = lakes(entry.folder / "lakes.pdf"), entry.folder / "out"
    out.mkdir()
    (out / "lakes.json").write_text('{"pages": []}')
    application.service.sessions.hold(entry, Parsed("lakes.pdf", source, 2, out, frozenset((1, 2))), 0)
    return entry, f"{application.url}files/{entry.token}"


def get(address: str) -> httpx.Response:
    return httpx.get(address, timeout=60)


def made(application: Application) -> list[Path]:
    """Files that lie there to be sent."""
    return list((application.service.sessions.root / files.MADE).iterdir())


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(1200):
        if true():
            return
        threading.Event().wait(0.05)
    raise AssertionError("It never came to that.")


def test_masks_of_large_uploads_are_found_at_a_bounded_size_and_have_the_uploads_own(tmp_path, monkeypatch):
    sizes = []

    def noted(scores: torch.Tensor, size: tuple[int, int], least_area: float) -> np.ndarray:
        sizes.append(size)
        return segment_labels(scores, size, least_area)

    found = segmentation(tmp_path, (3000, 4500), 1)
    monkeypatch.setattr(segments, "segment_labels", noted)
    found.write_mask(tmp_path / "mask.png", 0)
    mask = cv2.imread(str(tmp_path / "mask.png"), cv2.IMREAD_UNCHANGED)
    assert sizes == [(1365, 2048)] and mask.shape == (3000, 4500)
    exact = segment_labels(torch.from_numpy(np.load(tmp_path / "scores-0.npy")), (3000, 4500), 0.0005)
    assert (mask == exact).mean() > 0.998  # but for the borders
    line = segmentation(tmp_path, (1, 90_000), 1)
    assert line.labels(0).shape == (1, 90_000)


def test_an_archive_is_of_one_moment_though_segments_are_edited_meanwhile(tmp_path, monkeypatch):
    found, calls = segmentation(tmp_path), []
    labels = [found.labels(number) for number in range(2)]
    found.write_overlay(tmp_path / "overlay.jpg", 1)

    def editing(*about: object) -> np.ndarray:
        calls.append(about)
        if len(calls) == 2:
            found.edit([{"name": "all", "colour": "#ff0000", "into": 0}, {"into": 0}, {"into": 0}])
        return segment_labels(*about)

    monkeypatch.setattr(segments, "segment_labels", editing)
    found.write_zip(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        classes, coco = (json.loads(archive.read(name)) for name in ("classes.json", "coco.json"))
        mask = cv2.imdecode(np.frombuffer(archive.read("masks/1.png"), np.uint8), cv2.IMREAD_UNCHANGED)
        assert archive.read("overlays/1.jpg") == (tmp_path / "overlay.jpg").read_bytes()
    assert [each["name"] for each in classes] == ["segment 1", "segment 2", "segment 3"]
    assert [each["name"] for each in coco["categories"]] == ["segment 1", "segment 2", "segment 3"]
    np.testing.assert_array_equal(mask, labels[1])
    assert found.classes().class_names == ["all"]


@pytest.mark.parametrize("what", ["mask/0.png", "coco.json", "segments.zip"])
def test_a_download_that_takes_too_long_is_a_sentence_and_its_work_ends(application, monkeypatch, what):
    _, place = segmented(application)
    held, calls = threading.Event(), []

    def hanging(*about: object) -> np.ndarray:
        calls.append(about)
        held.wait(60)
        return segment_labels(*about)

    monkeypatch.setattr(segments, "segment_labels", hanging)
    monkeypatch.setattr(application.service.config, "seconds", 0.5)
    answer = get(f"{place}/{what}")
    assert answer.status_code == 503 and "more than the 0.5 s" in answer.text and "\n" not in answer.text
    held.set()
    wait_until(lambda: not made(application))
    assert len(calls) == 1  # the second picture is not begun


def test_pages_that_are_being_drawn_keep_nothing_else_waiting(application, monkeypatch):
    entry, place = parsed(application)
    first = get(f"{place}/page/1.jpg")
    _, other = segmented(application)
    began, held, render = threading.Event(), threading.Event(), pdf.render

    def hanging(*about: object) -> np.ndarray:
        began.set()
        held.wait(120)
        return render(*about)

    monkeypatch.setattr(pdf, "render", hanging)
    with ThreadPoolExecutor(THREADS + 5) as pool:
        waiting = [pool.submit(get, f"{place}/page/2.jpg") for _ in range(THREADS + 5)]
        try:
            began.wait(60)
            for address in (application.url, f"{other}/shown-0.jpg", f"{other}/mask/0.png", f"{place}/page/1.jpg"):
                assert httpx.get(address, timeout=20).status_code == 200
        finally:
            held.set()
        assert {each.result().status_code for each in waiting} == {200}
    assert (entry.folder / "page-1.jpg").read_bytes() == first.content


def test_a_page_that_could_not_be_drawn_is_not_tried_again(application, monkeypatch):
    _, place = parsed(application)
    calls = []

    def refuse(*about: object) -> None:
        calls.append(about)
        raise UnreadableImage("it is damaged")

    monkeypatch.setattr(pdf, "render", refuse)
    for _ in range(3):
        answer = get(f"{place}/page/1.jpg")
        assert (answer.status_code, answer.text) == (400, "Page 1 of lakes.pdf cannot be drawn: it is damaged.")
    assert len(calls) == 1


WRITERS = {
    "mask/0.png": (Segmentation, "write_mask"),
    "overlay/0.jpg": (Segmentation, "write_overlay"),
    "coco.json": (Segmentation, "write_coco"),
    "segments.zip": (Segmentation, "write_zip"),
    "page/1.jpg": (Parsed, "write_page"),
    "parsed.zip": (Parsed, "write_zip"),
}


@pytest.mark.parametrize("what", WRITERS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_result_that_is_removed_while_it_is_downloaded_is_no_longer_kept(application, monkeypatch, what, when):
    kind, name = WRITERS[what]
    entry, place = (segmented if kind is Segmentation else parsed)(application)
    write, remove = getattr(kind, name), application.service.sessions.remove

    def removing(self: object, *about: object) -> None:
        if when == "before":
            remove(entry.token)
        write(self, *about)
        remove(entry.token)

    monkeypatch.setattr(kind, name, removing)
    answer = get(f"{place}/{what}")
    assert (answer.status_code, answer.text) == (404, GONE)
    assert not entry.folder.exists() and not made(application)


@pytest.mark.parametrize(
    "error, status, sentence",
    [
        (OSError(errno.ENOSPC, "No space left", "/secret/x"), 503, "no room for this file at the moment"),
        (RuntimeError("/secret/x"), 500, "Something went wrong"),
    ],
)
def test_no_error_shows_the_servers_paths(application, monkeypatch, error, status, sentence):
    _, place = segmented(application)

    def fail(*about: object) -> None:
        raise error

    monkeypatch.setattr(Segmentation, "write_mask", fail)
    answer = get(f"{place}/mask/0.png")
    assert answer.status_code == status and sentence in answer.text and "secret" not in answer.text


def test_a_file_that_is_gone_when_it_is_to_be_sent_is_a_sentence(application, monkeypatch):
    entry, place = segmented(application)
    file = files._file

    def removed(path: Path, *about: object) -> object:
        response = file(path, *about)
        os.unlink(path)
        return response

    monkeypatch.setattr(files, "_file", removed)
    answer = get(f"{place}/shown-0.jpg")
    assert (answer.status_code, answer.text) == (404, GONE)


def test_a_download_is_sent_whole_and_leaves_nothing(application):
    _, place = segmented(application)
    answer = httpx.get(f"{place}/segments.zip", headers={"Range": "bytes=0-9"}, timeout=60)
    assert answer.status_code == 200 and len(answer.content) == int(answer.headers["content-length"])
    wait_until(lambda: not made(application))


def test_no_more_files_wait_than_may_and_those_who_left_are_not_waited_for(tmp_path):
    began, held, written = threading.Event(), threading.Event(), []

    def write(path: Path, ask: Callable[[], None]) -> None:
        began.set()
        held.wait(60)
        path.write_bytes(b"x")
        written.append(path)

    async def stay() -> dict:
        await asyncio.sleep(3600)

    async def leave() -> dict:
        return {"type": "http.disconnect"}

    async def ask(makers: Makers, receive: Callable = stay) -> None:
        async with makers.made(write, ".txt", Job(60), receive) as path:
            assert path.read_bytes() == b"x"

    async def all_of_it() -> None:
        makers = Makers(1, tmp_path, most=1)
        first = asyncio.create_task(ask(makers))
        await asyncio.to_thread(began.wait, 60)
        with pytest.raises(Busy):
            await ask(makers, leave)
        second = asyncio.create_task(ask(makers))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="Many files are being made"):
            await ask(makers)
        held.set()
        await asyncio.gather(first, second)

    asyncio.run(all_of_it())
    assert len(written) == 2 and not any(tmp_path.iterdir())
