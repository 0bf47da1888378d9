"""The application as programs meet it: its API, whose files are whose, limits, and what is left behind."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import cv2
import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from pydantic import TypeAdapter
from reportlab.lib.pdfencrypt import StandardEncryption

from densessl.apps import results
from densessl.apps.config import resolve
from densessl.apps.page import api
from densessl.apps.run import Application
from densessl.demo.run import ROWS as ROWS_OF_DEMO
from densessl.errors import UserError
from tests.apps.conftest import PHOTOGRAPHS
from tests.apps.serving import ROWS, SCRIPT, lakes, start
from tests.documents.parsing.pdfs import drawn, lines

FILES = [str(PHOTOGRAPHS / name) for name in ("cat.jpg", "temple.jpg")]


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    application = start(file_size=2, pictures=3, pages=2, backbone="colour", backbones=["box"])
    yield application
    assert application.service.sessions.root.is_dir()
    application.close()
    assert not application.service.sessions.root.exists()  # nothing is left behind


@pytest.fixture(scope="module")
def client(application) -> Client:
    return Client(application.url, verbose=False)


def upload(url: str, data: bytes, name: str, cookies: dict | None = None) -> httpx.Response:
    return httpx.post(f"{url}gradio_api/upload", files={"files": (name, data)}, cookies=cookies or {})


def call(url: str, name: str, data: list, cookies: dict | None = None) -> tuple[str, object]:
    """As curl would: the last event of a call and what it says."""
    asked = httpx.post(f"{url}gradio_api/call/{name}", json={"data": data}, cookies=cookies or {})
    answer = httpx.get(f"{url}gradio_api/call/{name}/{asked.json()['event_id']}", cookies=cookies or {}, timeout=120)
    lines = [each for each in answer.text.splitlines() if each]
    event = [each for each in lines if each.startswith("event:")][-1].removeprefix("event: ")
    return event, json.loads([each for each in lines if each.startswith("data:")][-1].removeprefix("data: "))


def file_data(path: str) -> dict:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def test_segment_by_the_client(application, client):
    found = client.predict([handle_file(each) for each in FILES], "3", "kmeans", "", api_name="/segment")
    assert [each["name"] for each in found["pictures"]] == ["cat.jpg", "temple.jpg"]
    TypeAdapter(results.SegmentResult).validate_python(found, extra="forbid")
    assert len(found["segments"]) == 3 and sum(each["share"] for each in found["segments"]) == pytest.approx(1)
    answer = httpx.get(application.url + found["pictures"][1]["mask"], cookies=client.cookies)
    mask = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (found["pictures"][1]["height"], found["pictures"][1]["width"])
    counts = np.bincount(mask.reshape(-1), minlength=3) / mask.size
    np.testing.assert_allclose(counts, found["pictures"][1]["shares"], atol=0.01)
    for key in ("coco", "zip"):
        assert httpx.get(application.url + found[key], cookies=client.cookies).status_code == 200


def test_correspond_by_the_client(client):
    found = client.predict([handle_file(each) for each in FILES], 0, 0.4, 0.3, "colour", api_name="/correspond")
    TypeAdapter(results.CorrespondResult).validate_python(found, extra="forbid")
    own = found["pictures"][0]
    assert len(own["cosines"]) == own["rows"] * own["columns"] and own["best"] == [0.4, 0.3]
    row, column = divmod(int(np.argmax(own["cosines"])), own["columns"])
    assert abs(row + 0.5 - 0.3 * own["rows"]) <= 1 and abs(column + 0.5 - 0.4 * own["columns"]) <= 1
    assert found["backbone"] == "colour"


def test_parse_by_the_client(application, client, tmp_path):
    document = handle_file(str(lakes(tmp_path / "lakes.pdf")))
    found = client.predict(document, "", ["json", "md", "html"], "auto", api_name="/parse")
    assert (found["name"], found["count"], [each["number"] for each in found["pages"]]) == ("lakes.pdf", 2, [1, 2])
    TypeAdapter(results.ParseResult).validate_python(found, extra="forbid")
    assert set(found["files"]) == {"lakes.json", "lakes.md", "lakes.html"}
    for number, page in enumerate(found["pages"], 1):
        said = " ".join(block.get("text", "") for block in page["blocks"])
        assert "On lakes" in said and f"on page {number}." in said and SCRIPT in said
        (table,) = (block["table"] for block in page["blocks"] if block["type"] == "table")
        texts = {(cell["row"], cell["column"]): cell.get("text") for cell in table["cells"]}
        assert texts == {(row, column): text for row, cells in enumerate(ROWS) for column, text in enumerate(cells)}
    answer = httpx.get(application.url + found["files"]["lakes.html"], cookies=client.cookies)
    # What a document brings is handed out as text to be kept, not as a page to be shown.
    assert "<script>" not in answer.text and answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]
    page = httpx.get(f"{application.url}files/{found['token']}/page/1.jpg", cookies=client.cookies)
    assert cv2.imdecode(np.frombuffer(page.content, np.uint8), 1).shape[0] == 1400
    for path in ("page/3.jpg", "out/../../x", "out/%2e%2e/%2e%2e/lakes.pdf", "figure/lakes.pdf"):
        assert httpx.get(f"{application.url}files/{found['token']}/{path}", cookies=client.cookies).status_code == 404
    with pytest.raises(AppError, match="There is no page 7: the document has 2"):
        client.predict(document, "7", ["json"], "auto", api_name="/parse")


def test_what_is_asked_of_a_document_beside_its_text_is_heeded(application, client, tmp_path):
    locked = drawn(tmp_path / "locked.pdf", lines, encrypt=StandardEncryption("secret", strength=128))
    wanted = {"furniture": True, "words": True, "join_tables": True, "reread": False, "languages": []}
    found = client.predict(handle_file(str(locked)), password="secret", **wanted, api_name="/parse")
    written = httpx.get(application.url + found["files"]["locked.json"], cookies=client.cookies).json()
    (page,) = written["pages"]
    assert [line["words"] for block in page["blocks"] for line in block["lines"]] and page["source"] == "pdf"
    shown = httpx.get(f"{application.url}files/{found['token']}/page/1.jpg", cookies=client.cookies)
    assert cv2.imdecode(np.frombuffer(shown.content, np.uint8), 1).min() < 100  # the letters are on it
    for password, sentence in (("", "it needs a password"), ("Secret", "its password is another one")):
        with pytest.raises(AppError, match=f"locked.pdf cannot be read: {sentence}. Give it under More"):
            client.predict(handle_file(str(locked)), password=password, api_name="/parse")


def test_a_call_may_leave_out_what_is_as_usual(application, tmp_path):
    path = upload(application.url, lakes(tmp_path / "lakes.pdf").read_bytes(), "lakes.pdf").json()[0]
    event, found = call(application.url, "parse", [file_data(path), "1"])
    assert event == "complete" and len(found[0]["pages"]) == 1 and "lakes.md" in found[0]["files"]


def test_the_calls_are_described(client):
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {"/segment", "/correspond", "/parse", "/backbones"}
    assert [each["label"] for each in named["/segment"]["parameters"]] == ["pictures", "segments", "method", "backbone"]
    listed = client.predict(api_name="/backbones")
    TypeAdapter(list[results.ListedBackbone]).validate_python(listed, extra="forbid")
    assert [each["name"] for each in listed] == ["colour", "box"]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["many", "kmeans", ""], "'many' is no number of segments"),
        (["3", "magic", ""], "There is no method 'magic'"),
        (["3", "kmeans", "/etc"], "There is no backbone '/etc' here: colour, box"),
    ],
)
def test_mistakes_are_sentences(client, arguments, sentence):
    with pytest.raises(AppError, match=sentence) as error:
        client.predict([handle_file(FILES[0])], *arguments, api_name="/segment")
    assert "Traceback" not in str(error.value) and "\n" not in str(error.value)


def test_segment_by_curl_without_a_cookie(application):
    path = upload(application.url, Path(FILES[0]).read_bytes(), "cat.jpg").json()[0]
    event, found = call(application.url, "segment", [[file_data(path)], "2", "kmeans", ""])
    assert event == "complete"
    assert httpx.get(application.url + found[0]["pictures"][0]["mask"]).status_code == 200


def test_the_examples_of_the_api_run(application, tmp_path):
    shutil.copy(FILES[0], tmp_path / "photo.jpg")
    said = api.__doc__.replace("http://127.0.0.1:7860", application.url[:-1])
    found = re.findall(r"(?:^    .*\n|^\n)+", said, re.MULTILINE)
    python, shell = (textwrap.dedent(each) for each in found if each.strip())
    run = functools.partial(subprocess.run, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    done = run([sys.executable, "-c", python + "\nprint(len(found['segments']))"])
    assert done.stdout.strip().splitlines()[-1] == "6", done.stderr
    if shutil.which("curl"):
        first, second = (run(["bash", "-ec", shell]).stdout for _ in range(2))
        # The first request brings the cookie, and is asked without one.
        for answer in (first, second):
            assert "event: complete" in answer
            assert len(json.loads(answer.strip().splitlines()[-1].removeprefix("data: "))[0]["segments"]) == 6


def test_what_is_one_users_is_given_to_no_other(application):
    url = application.url
    me, other = ({"densessl": each * 32} for each in "ab")
    path = upload(url, Path(FILES[1]).read_bytes(), "mine.jpg", me).json()[0]
    _, found = call(url, "segment", [[file_data(path)], "2", "kmeans", ""], me)
    mask = url + found[0]["pictures"][0]["mask"]
    addresses = [mask, f"{url}gradio_api/file={path}", f"{url}file={path}", f"{url}gradio_api/file/{quote(path)}"]
    assert [httpx.get(each, cookies=me).status_code for each in addresses[:2]] == [200, 200]
    for cookies in (other, {}, {"densessl": "x"}):
        assert {httpx.get(each, cookies=cookies).status_code for each in addresses} == {404}
        event, _ = call(url, "segment", [[file_data(path)], "2", "kmeans", ""], cookies)
        assert event == "error"
        edits = httpx.post(f"{url}files/{found[0]['token']}/edits", content=b"[]", cookies=cookies)
        assert edits.status_code == 404


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../../etc/passwd", "{root}/../x", "http://127.0.0.1:9/x.jpg"])
def test_no_other_file_or_address_is_read(application, path):
    path = path.format(root=application.service.sessions.uploads)
    event, answer = call(application.url, "segment", [[file_data(path)], "2", "kmeans", ""])
    assert event == "error" and "root:" not in str(answer) and "Traceback" not in str(answer)
    assert httpx.get(f"{application.url}gradio_api/file={path}").status_code in (403, 404)
    assert httpx.get(f"{application.url}gradio_api/proxy=https://x.hf.space/").status_code == 404


@pytest.mark.parametrize("name", ["../../../../evil.jpg", "..\\..\\evil.jpg", "/tmp/evil.jpg"])
def test_names_with_folders_are_kept_without_them(application, name):
    answer = upload(application.url, Path(FILES[0]).read_bytes(), name)
    assert answer.status_code == 200
    kept = Path(answer.json()[0]).resolve()
    assert application.service.sessions.uploads in kept.parents and kept.is_file()


def test_limits_on_uploads(application, client, tmp_path):
    answer = upload(application.url, bytes(2_100_000), "large.jpg")
    assert answer.status_code == 413 and "maximum" in answer.text
    answer = upload(application.url, bytes(8_000_000), "larger.jpg")
    assert answer.status_code == 413 and "more than an upload may have" in answer.text
    unknown = httpx.post(f"{application.url}gradio_api/upload", content=iter([b"x"]))
    assert unknown.status_code == 411 and "Content-Length" in unknown.text
    (tmp_path / "bad.jpg").write_bytes(b"nothing")
    with pytest.raises(AppError, match="bad.jpg cannot be read: it is not an image"):
        client.predict([handle_file(str(tmp_path / "bad.jpg"))], "2", "kmeans", "", api_name="/segment")
    with pytest.raises(AppError, match="more than the 3"):
        client.predict([handle_file(FILES[0])] * 4, "2", "kmeans", "", api_name="/segment")
    assert client.predict([handle_file(FILES[0])], "2", "kmeans", "", api_name="/segment")["segments"]


def test_the_page_may_load_nothing_from_elsewhere(application):
    answer = httpx.get(application.url)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_edits_by_the_page(application, client):
    found = client.predict([handle_file(FILES[0])], "2", "kmeans", "", api_name="/segment")
    place = f"{application.url}files/{found['token']}"
    edits = [{"name": "cat", "colour": "#112233", "into": 0}, {"into": 0}]
    answer = httpx.post(f"{place}/edits", content=json.dumps(edits), cookies=client.cookies)
    assert [each["into"] for each in answer.json()] == [0, 0]
    mask = httpx.get(application.url + found["pictures"][0]["mask"], cookies=client.cookies)
    assert not cv2.imdecode(np.frombuffer(mask.content, np.uint8), cv2.IMREAD_UNCHANGED).any()
    for wrong in (b"[", b"{}", b"[1, 2]", b'[{"into": 9}, {}]', b"x" * 70_000):
        answer = httpx.post(f"{place}/edits", content=wrong, cookies=client.cookies)
        assert answer.status_code in (400, 413) and len(answer.text) < 200
    for wrong in (
        "heat?picture=0&x=0&y=0",
        "mask/9.png",
        "mask/-1.png",
        "../../etc/passwd",
        "shown-9.jpg",
        "scores-0.npy",
    ):
        assert httpx.get(f"{place}/{wrong}", cookies=client.cookies).status_code == 404


def test_downloads_do_not_wait_for_long_work(application, client):
    found = client.predict([handle_file(FILES[0])], "2", "kmeans", "", api_name="/segment")
    with contextlib.ExitStack() as long:
        for _ in range(application.service.engine.cores):
            long.enter_context(application.service.engine.turn())
        mask = httpx.get(application.url + found["pictures"][0]["mask"], cookies=client.cookies, timeout=60)
    assert mask.status_code == 200


@pytest.mark.parametrize("name", ["runs-2024.jpg", "monitoring.jpg", "dev.jpg"])
def test_uploads_may_be_called_as_closed_routes_are(application, name):
    cookies = {"densessl": "c" * 32}
    path = upload(application.url, Path(FILES[0]).read_bytes(), name, cookies).json()[0]
    assert httpx.get(f"{application.url}gradio_api/file={quote(path)}", cookies=cookies).status_code == 200


def test_a_name_with_signs_of_addresses_is_one_users_too(application):
    mine, other = {"densessl": "d" * 32}, {"densessl": "e" * 32}
    path = upload(application.url, Path(FILES[0]).read_bytes(), "a%41.jpg", mine).json()[0]
    address = f"{application.url}gradio_api/file={quote(path)}"
    assert [httpx.get(address, cookies=cookies).status_code for cookies in (mine, other)] == [200, 404]


def test_what_came_without_a_cookie_is_of_the_one_that_it_got_and_of_nobody_else(application):
    answer = upload(application.url, b"of somebody new", "new.jpg")
    address = f"{application.url}gradio_api/file={quote(answer.json()[0])}"
    assert httpx.get(address).status_code == 200  # who sends none goes on by the path, which nobody can guess
    assert httpx.get(address, cookies=dict(answer.cookies)).status_code == 200
    assert httpx.get(address).status_code == 404


def test_edits_of_any_depth_and_formats_of_any_kind_get_a_sentence(application):
    path = upload(application.url, Path(FILES[0]).read_bytes(), "cat.jpg").json()[0]
    event, found = call(application.url, "segment", [[file_data(path)], "2", "kmeans", ""])
    assert event == "complete", found
    answer = httpx.post(f"{application.url}files/{found[0]['token']}/edits", content=b"[" * 60_000)
    assert answer.status_code == 400 and "Edits are a list" in answer.text
    event, said = call(application.url, "parse", [file_data(path), "", [["json"]], "auto"])
    assert event == "error" and "Formats are a list of names" in json.dumps(said)


# Each application takes the folder of uploads that Gradio knows, of which a process has one: those below come last.
def test_what_is_old_is_removed(photographs):
    application = start(backbone="colour")
    try:
        path = upload(application.url, Path(FILES[0]).read_bytes(), "cat.jpg").json()[0]
        _, found = call(application.url, "segment", [[file_data(path)], "2", "kmeans", ""])
        sessions = application.service.sessions
        assert Path(path).is_file() and (sessions.results / found[0]["token"]).is_dir()
        time.sleep(0.2)
        application.service.config.keep = 0.1 / 60
        sessions.clean()
        assert not Path(path).exists() and not any(sessions.results.iterdir())
        assert httpx.get(application.url + found[0]["coco"]).status_code == 404
        event, answer = call(application.url, "segment", [[file_data(path)], "2", "kmeans", ""])
        assert event == "error" and "Traceback" not in json.dumps(answer)
    finally:
        application.close()


def test_settings_that_cannot_be_are_told():
    for setting, sentence in (
        ("file_size=0", "file_size=0.0 must be above 0"),
        ("runs=/nowhere", "runs=/nowhere is no folder"),
        ("pagess=3", "did you mean 'pages'"),
    ):
        with pytest.raises(UserError, match=sentence):
            resolve([setting])


def test_a_backbone_that_is_not_there_ends_the_start():
    with pytest.raises(UserError, match="no backbone"):
        start(backbone="nowhere.safetensors")
    with pytest.raises(UserError, match="nowhere"):
        start(backbone="colour", detector="nowhere")


def test_a_disk_that_is_full_takes_no_uploads(application, monkeypatch):
    assert upload(application.url, b"x", "y.jpg").status_code == 200
    monkeypatch.setattr(application.service.config, "disk", 1e-9)
    (application.service.sessions.uploads / "filler").write_bytes(bytes(100))
    answer = upload(application.url, b"x", "z.jpg")
    assert answer.status_code == 507 and "no room" in answer.text
    with pytest.raises(UserError, match="no room for results"):
        application.service.sessions.begin("me")


def test_a_demo_has_a_tab_with_its_figures_and_its_sheet(tmp_path):
    figures = {name: [0.25, 0.5] for name in ROWS_OF_DEMO}
    (tmp_path / "figures.json").write_text(json.dumps(figures))
    cv2.imwrite(str(tmp_path / "demo.png"), np.full((1000, 2000, 3), 90, np.uint8))
    application = start(demo=str(tmp_path), backbone="colour")
    try:
        shown = json.dumps(httpx.get(application.url + "config").json())
        assert all(title in shown for title in ROWS_OF_DEMO.values()) and "25.0%" in shown
        assert "data:image/jpeg;base64," in shown
    finally:
        application.close()
