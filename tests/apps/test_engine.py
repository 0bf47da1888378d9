"""Networks that all who wait share, and requests that end when nobody wants them or their time is over."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from densessl import box
from densessl.apps.batches import Batches, Network
from densessl.apps.config import AppConfig
from densessl.apps.engine import Engine
from densessl.apps.example import write_example
from densessl.apps.jobs import Job, Stopped
from densessl.apps.service import Service, Upload
from densessl.data.pages import pdf
from densessl.documents.detection import load_detector
from densessl.documents.parsing import run
from densessl.errors import UserError


def images(count: int) -> list[np.ndarray]:
    return [np.full((1, 1, 3), value, np.uint8) for value in range(count)]


def test_pictures_of_all_who_wait_go_together_each_request_in_turn():
    batches, began, held, seen = Batches(), threading.Event(), threading.Event(), []

    def call(given: list[np.ndarray]) -> list[int]:
        began.set()
        held.wait(30)
        seen.append([int(each[0, 0, 0]) for each in given])
        return seen[-1]

    network = Network(call, 3)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(batches, network, images(1))  # keeps the thread busy until the others wait
        began.wait(30)
        many = pool.submit(batches, network, images(6)[1:])
        few = pool.submit(batches, network, [np.full((1, 1, 3), 9, np.uint8)])
        while sum(bool(each.left) for each in batches._requests) < 2:
            time.sleep(0.01)
        held.set()
        assert first.result(30) == [0] and many.result(30) == [1, 2, 3, 4, 5] and few.result(30) == [9]
    batches.close()
    assert seen[0] == [0] and sorted(seen[1]) == [1, 2, 9]


def test_an_error_of_a_network_is_that_of_who_asked_and_others_go_on():
    batches = Batches()

    def fail(given: list[np.ndarray]) -> list[int]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        batches(Network(fail, 2), images(2))
    assert batches(Network(lambda given: [len(given)] * len(given), 2), images(2)) == [2, 2]
    batches.close()
    with pytest.raises(RuntimeError):
        batches(Network(fail, 2), images(1))


def test_waiting_requests_are_answered_each_with_their_own(service, photographs):
    pictures = [cv2.cvtColor(cv2.imread(each.path), cv2.COLOR_BGR2RGB) for each in photographs]
    alone = [service.engine.maps([each], "box")[0] for each in pictures]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda number: service.engine.maps([pictures[number % 2]], "box")[0], range(6)))
    for number, map_ in enumerate(found):
        torch.testing.assert_close(map_, alone[number % 2], rtol=0, atol=0)


@pytest.mark.parametrize("half", [False, True])
def test_pages_that_go_through_together_get_what_each_gets_alone(tmp_path, half):
    write_example(tmp_path / "example.pdf")
    pages = [pdf.render(str(tmp_path / "example.pdf"), number, side) for number, side in ((0, 1100), (1, 800))]
    pages[1] = pages[1][:600]  # of another shape, so it gets a margin
    detector = load_detector("box")
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        together = detector.find_all(pages)
    for page, found in zip(pages, together, strict=True):
        alone = detector.find(page)
        sure = alone.scores > 0.7
        assert sure.sum() >= 3
        overlaps = box_iou(alone.boxes[sure], found.boxes)
        assert (overlaps.max(1).values > 0.9).all()
        assert (alone.classes[sure] == found.classes[overlaps.argmax(1)]).all()


def test_a_backbone_that_was_written_anew_is_loaded_anew(tmp_path):
    for name in ("backbone.safetensors", "backbone.json"):
        shutil.copy(Path(box.__file__).parent / name, tmp_path / name)
    engine = Engine(AppConfig(devices="cpu"))
    try:
        first, _ = engine._extractor(str(tmp_path), 3)
        assert engine._extractor(str(tmp_path), 3)[0] is first
        assert engine._extractor(str(tmp_path), 1)[0].maps is first.maps
        os.utime(tmp_path / "backbone.safetensors", ns=(1, 1))
        assert engine._extractor(str(tmp_path), 3)[0] is not first
    finally:
        engine.close()


class Slow:
    """An engine of OCR that reads until it is stopped."""

    name, longest, turns = "slow", 1000, False

    def __init__(self) -> None:
        self.began, self.stopped = threading.Event(), []

    def read(self, picture: np.ndarray, dpi: float, stop: threading.Event, sheet: bool = False) -> list:
        self.began.set()
        self.stopped.append(stop.wait(60))
        return []

    def turn(self, picture: np.ndarray, dpi: float, stop: threading.Event) -> int:
        return 0


@pytest.fixture
def slow(monkeypatch) -> Slow:
    made = Slow()
    monkeypatch.setattr(run, "engine", lambda *_: made)
    return made


def scan(tmp_path: Path) -> Upload:
    path = tmp_path / "scan.png"
    cv2.imwrite(str(path), np.full((900, 600, 3), 255, np.uint8))
    return Upload(str(path), path.name)


def test_a_page_that_takes_long_heeds_the_time_that_a_request_may_take(service, slow, tmp_path):
    job = Job(60)
    threading.Thread(target=lambda: (slow.began.wait(60), setattr(job, "seconds", 0.1))).start()
    with pytest.raises(UserError, match="more than the 0.1 s"):
        service.parse(scan(tmp_path), job=job)
    assert slow.stopped == [True]


def test_a_page_under_way_heeds_stop(service, slow, tmp_path):
    job = Job(60)
    threading.Thread(target=lambda: (slow.began.wait(60), job.stop())).start()
    with pytest.raises(Stopped):
        service.parse(scan(tmp_path), job=job)
    assert slow.stopped == [True]


def test_who_waits_for_the_processor_may_stop(photographs):
    service = Service(AppConfig(devices="cpu", backbone="colour"))
    job = Job(60, lambda share, what: job.stop() if what == "Waiting for others" else None)
    try:
        with contextlib.ExitStack() as others, pytest.raises(Stopped):
            for _ in range(service.engine.cores):
                others.enter_context(service.engine.turn())
            service.segment(photographs[:1], 2, job=job)
    finally:
        service.close()
