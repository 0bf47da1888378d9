"""What strangers may cost the application: bodies, room, waiting, and calls that are none."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from densessl.apps import guard
from densessl.apps.config import AppConfig
from densessl.apps.jobs import Job, Jobs, Stopped
from densessl.apps.run import Application
from densessl.apps.worker import Worker
from densessl.errors import UserError
from tests.apps.conftest import PHOTOGRAPHS
from tests.apps.serving import start
from tests.apps.test_server import call, file_data, upload

PHOTOGRAPH = (PHOTOGRAPHS / "cat.jpg").read_bytes()


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    started = start(backbone="colour", pictures=3, file_size=2)
    yield started
    started.close()


def begun(url: str, path: str, length: int, data: bytes) -> socket.socket:
    """A connection over which a request has come in part."""
    place = urlsplit(url)
    opened = socket.create_connection((place.hostname, place.port))
    opened.settimeout(60)
    head = f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {length}\r\n"
    opened.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode() + data)
    return opened


def test_a_long_request_that_is_no_upload_is_refused_before_it_comes(application):
    with begun(application.url, "/gradio_api/queue/join", 600_000_000, b"[") as opened:
        assert b" 413 " in opened.recv(100)


def test_uploads_that_do_not_go_on_take_no_room_and_end(application, monkeypatch):
    monkeypatch.setattr(guard, "IDLE", 1.0)
    monkeypatch.setattr(application.service.config, "disk", 0.009)
    waiting = [begun(application.url, "/gradio_api/upload", 5_000_000, b"--x\r\n") for _ in range(4)]
    assert upload(application.url, PHOTOGRAPH, "cat.jpg").status_code == 200
    for opened in waiting:
        assert b" 408 " in opened.recv(100)
        opened.close()


def test_an_upload_ends_when_others_have_taken_the_room(application, monkeypatch):
    monkeypatch.setattr(guard, "STEP", 1)
    rooms = iter([1e9])
    monkeypatch.setattr(application.service.sessions, "room", lambda: next(rooms, 0))
    answer = upload(application.url, PHOTOGRAPH, "cat.jpg")
    assert answer.status_code == 507 and "no room" in answer.text


def test_an_upload_that_was_cut_off_is_removed(application):
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    uploads, limit = application.service.sessions.uploads, time.monotonic() + 60
    # Less than a file may have: more would be refused, and removed, as soon as it had come.
    with begun(application.url, "/gradio_api/upload", 5_000_000, head + bytes(1_000_000)):
        while not (left := [each for each in uploads.iterdir() if each.is_file()]) and time.monotonic() < limit:
            time.sleep(0.05)
    for each in left:
        os.utime(each, (0, 0))
    application.service.sessions.clean()
    assert left and not any(each.is_file() for each in uploads.iterdir()) and uploads.is_dir()


def test_examples_heed_the_room_and_are_kept_once(application, monkeypatch):
    sessions, path = application.service.sessions, PHOTOGRAPHS / "koala.jpg"
    first, again = (application.service.example([path], owner)[0] for owner in ("me", "you"))
    assert first == again and sessions.may_read(first, "me") and sessions.may_read(first, "you")
    monkeypatch.setattr(sessions, "room", lambda: 0)
    assert application.service.example([path], "me") == [first]
    with pytest.raises(UserError, match="no room"):
        application.service.example([PHOTOGRAPHS / "moose.jpg"], "me")


def test_small_files_take_the_blocks_that_they_take(application):
    sessions = application.service.sessions
    before = sessions.room()
    folder = sessions.uploads / "small"
    folder.mkdir()
    for number in range(50):
        (folder / str(number)).write_bytes(b"x")
    assert before - sessions.room() >= 50 * 512


@pytest.mark.parametrize(
    "name, data",
    [
        ("segment", [5, "3", "kmeans", ""]),
        ("segment", [[5], "3", "kmeans", ""]),
        ("segment", ["x", "3", "kmeans", ""]),
        ("segment", []),
        ("segment", [[{"path": "/etc/passwd"}], "3", "kmeans", ""]),
        ("correspond", ["PHOTO", None, 0.5, 0.5, ""]),
        ("correspond", ["PHOTO", "a", 0.5, 0.5, ""]),
        ("correspond", ["PHOTO", 0.7, 0.5, 0.5, ""]),
        ("correspond", ["PHOTO", 1e300, 0.5, 0.5, ""]),
        ("correspond", ["PHOTO", 0, None, 0.5, ""]),
        ("parse", ["DOCUMENT", "", None, "auto"]),
        ("parse", ["DOCUMENT", "", 5, "auto"]),
        ("parse", ["DOCUMENT", "", "json", "auto"]),
        ("parse", [{"path": 5}, "", ["json"], "auto"]),
        ("parse", ["DOCUMENT", "", ["json"], "auto", "eng"]),
        ("parse", ["DOCUMENT", "", ["json"], "auto", [["eng"]]]),
        ("parse", ["DOCUMENT", "", ["json"], "tesseract", ["x" * 400]]),
        ("parse", ["DOCUMENT", "", ["json"], "auto", [], "yes"]),
        ("parse", ["DOCUMENT", "", ["json"], "auto", [], False, False, False, False, "x" * 600]),
    ],
)
def test_calls_that_are_none_get_a_sentence(application, capfd, name, data):
    path = upload(application.url, PHOTOGRAPH, "cat.jpg").json()[0]
    given = {"PHOTO": [file_data(path)], "DOCUMENT": file_data(path)}
    data = [given.get(each, each) if isinstance(each, str) else each for each in data]
    event, said = call(application.url, name, data)
    sentence = said["error"] if isinstance(said, dict) else json.dumps(said)
    assert event == "error" and len(sentence) < 200 and sentence.endswith(".") and "\n" not in sentence
    assert not any(inner in sentence for inner in ("pydantic", "object at", "gradio.", "/etc", "Something went wrong"))
    assert "Traceback" not in capfd.readouterr().err


def test_stop_ends_what_is_of_its_tab_alone():
    jobs, mine, other = Jobs(), Job(60), Job(60)
    with jobs.running("page", "segment", mine), jobs.running("page", "parse", other):
        assert jobs.stop("page", "segment") == 1
        with pytest.raises(Stopped):
            mine(0, "")
        other(0, "")
        assert jobs.stop("page") == 2 and jobs.stop("elsewhere") == 0


def test_who_waits_for_a_process_to_open_an_upload_may_stop():
    worker, job = Worker(AppConfig(), processes=1), Job(60)
    place = worker._idle.get()  # another's
    threading.Timer(0.2, job.stop).start()
    try:
        with pytest.raises(Stopped):
            worker.picture(str(PHOTOGRAPHS / "koala.jpg"), "koala.jpg", lambda: job(0, ""))
    finally:
        worker._idle.put(place)
        worker.close()


def test_an_upload_that_is_being_opened_may_be_stopped_and_others_are_opened_after_it():
    path, job = str(PHOTOGRAPHS / "koala.jpg"), Job(60)
    worker = Worker(AppConfig(), processes=1)
    try:
        worker.picture(path, "koala.jpg")
        os.kill(worker._idle.queue[0].process.pid, signal.SIGSTOP)  # as one that is slow
        threading.Timer(0.2, job.stop).start()
        with pytest.raises(Stopped):
            worker.picture(path, "koala.jpg", lambda: job(0, ""))
        assert worker.picture(path, "koala.jpg").image.size
    finally:
        worker.close()


def test_an_application_that_has_ended_leaves_the_folder_of_the_one_before():
    first = start(backbone="colour")
    second = start(backbone="colour")
    second.close()
    try:
        path = upload(first.url, PHOTOGRAPH, "cat.jpg").json()[0]
        assert path.startswith(str(first.service.sessions.uploads))
        assert httpx.get(first.url).status_code == 200
    finally:
        first.close()
