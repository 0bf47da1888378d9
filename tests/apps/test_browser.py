"""Each tab used as a person would, in Chromium. DENSESSL_SCREENSHOTS names a folder for pictures of all of it."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest
from PIL import Image
from reportlab.lib.pdfencrypt import StandardEncryption

from densessl import box
from densessl.apps.run import Application
from tests.apps.conftest import PHOTOGRAPHS
from tests.apps.serving import SCRIPT, lakes, start
from tests.apps.test_server import call, file_data, upload
from tests.documents.parsing.pdfs import LINES, drawn, lines

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
WAIT = 120_000  # milliseconds, on a machine that is busy


@pytest.fixture(scope="module")
def application(tmp_path_factory) -> Iterator[Application]:
    run = tmp_path_factory.mktemp("runs") / "lakes"
    (run / "pictures").mkdir(parents=True)
    for name in ("backbone.json", "backbone.safetensors"):
        shutil.copy(Path(box.__file__).parent / name, run / name)
    (run / "metrics.csv").write_text("step,loss\n" + "".join(f"{step},{9 / step}\n" for step in range(1, 60)))
    (run / "config.yaml").write_text("data: /secret/place\nlr: 0.1\n")
    cv2.imwrite(str(run / "pictures" / "views.png"), np.full((80, 160, 3), 120, np.uint8))
    application = start(runs=str(run.parent))
    yield application
    application.close()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser, application) -> Iterator:
    """A new user's page; at its end nothing has been asked of another host, and no script has failed."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    opened, asked, failed = context.new_page(), [], []
    opened.set_default_timeout(WAIT)
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: failed.append(str(error)))
    opened.goto(f"{application.url}?__theme=light")
    opened.wait_for_selector("#segment-start")
    yield opened
    context.close()
    assert not [each for each in asked if not each.startswith((application.url, "data:", "blob:"))]
    assert not failed


def shoot(page, name: str) -> None:
    """The page at both widths, light and dark, where pictures are wanted; on a telephone nothing is cut off."""
    folder = os.environ.get("DENSESSL_SCREENSHOTS")
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for theme in ("dark", "light") if folder else ():
            page.evaluate("dark => document.body.classList.toggle('dark', dark)", theme == "dark")
            page.wait_for_timeout(300)
            page.screenshot(path=Path(folder, f"{name}-{width}-{theme}.png"), full_page=True)


def downloaded(page, name: str) -> bytes:
    with page.expect_download() as waited:
        page.get_by_role("button", name=name, exact=True).click()
    return Path(waited.value.path()).read_bytes()


def pixels(page, selector: str) -> int:
    """A sum over all of a canvas that tells drawings apart: each value counts by its place."""
    return page.evaluate(
        """selector => {
            const canvas = document.querySelector(selector), data = canvas.getContext("2d")
                .getImageData(0, 0, canvas.width, canvas.height).data;
            return data.reduce((sum, each, place) => (sum + each * (1 + (place % 977))) % 1000003, 0);
        }""",
        selector,
    )


def test_segment_rename_recolour_merge_download(page):
    shoot(page, "first")
    page.set_input_files(
        "#segment-in input[type=file]", [str(PHOTOGRAPHS / "temple.jpg"), str(PHOTOGRAPHS / "fig.jpg")]
    )
    page.wait_for_selector("#segment-in >> text=temple")
    page.get_by_role("button", name="Add files").wait_for()  # and not by the key of a translation that is not there
    page.get_by_label("number input for Number of segments").fill("4")
    page.click("#segment-start")
    page.wait_for_selector("#segments .legend .row >> nth=3")
    page.wait_for_function("document.querySelector('#segments canvas').width > 300")
    before = pixels(page, "#segments canvas")
    shoot(page, "segment")
    page.get_by_label("Name of segment 1").fill("sky <i>")
    page.get_by_label("Name of segment 1").press("Tab")
    page.get_by_label("Colour of segment 1").fill("#ff0000")
    page.get_by_label("Merge segment 3 into another").select_option(label="sky <i>")
    assert pixels(page, "#segments canvas") != before
    assert page.get_by_label("Name of segment 3").input_value() == "part of sky <i>"
    mask = np.asarray(Image.open(io.BytesIO(downloaded(page, "Mask PNG"))))
    assert mask.shape == cv2.imread(str(PHOTOGRAPHS / "temple.jpg")).shape[:2] and set(np.unique(mask)) <= {0, 1, 2}
    with zipfile.ZipFile(io.BytesIO(downloaded(page, "All as ZIP"))) as archive:
        classes = json.loads(archive.read("classes.json"))
    assert [(each["name"], each["colour"]) for each in classes][0] == ("sky <i>", "#ff0000")
    page.locator("#segments .strip button").nth(1).click()
    page.wait_for_selector("#segments .under >> text=fig.jpg")
    assert json.loads(downloaded(page, "COCO"))["images"][1]["file_name"] == "fig.jpg"
    shoot(page, "segment-edited")


def test_a_download_waits_for_an_edit_that_is_being_saved(page):
    page.get_by_role("button", name="A temple").click()
    page.wait_for_selector("#segment-in >> text=temple")
    page.get_by_role("button", name="Add files").wait_for()  # and not by the key of a translation that is not there
    page.click("#segment-start")
    page.wait_for_selector("#segments .legend .row >> nth=1")
    held, taken = [], []
    page.route("**/edits", lambda route: held.append(route))
    page.on("download", lambda download: taken.append(download.suggested_filename))
    page.get_by_label("Name of segment 1").fill("pillars")
    page.get_by_label("Name of segment 1").press("Tab")
    page.get_by_label("Name of segment 2").fill("grass")
    page.get_by_label("Name of segment 2").press("Tab")
    while not held:
        page.wait_for_timeout(50)
    page.get_by_label("Name of segment 2").fill("meadow")  # while the first two are on their way
    page.get_by_label("Name of segment 2").press("Tab")
    page.wait_for_timeout(500)  # the last one is no longer about to be sent: it waits for the others
    with page.expect_download() as waited:
        page.get_by_role("button", name="COCO", exact=True).click()
        page.wait_for_timeout(500)
        assert not taken
        held.pop().continue_()
        while not held:
            page.wait_for_timeout(50)
        assert not taken
        held.pop().continue_()
    named = [each["name"] for each in json.loads(Path(waited.value.path()).read_bytes())["categories"]]
    assert named[:2] == ["pillars", "meadow"] and taken == ["coco.json"]
    page.unroute("**/edits")
    page.route("**/edits", lambda route: route.abort())
    page.get_by_label("Name of segment 1").fill("columns")
    page.get_by_label("Name of segment 1").press("Tab")
    page.get_by_role("button", name="COCO", exact=True).click()
    page.wait_for_selector("text=the last edit is not saved")
    assert taken == ["coco.json"]  # another would not be what is seen


def test_correspond_by_pointer_and_keyboard(page):
    page.get_by_role("tab", name="Correspond").click()
    page.get_by_role("button", name="Faces").click()
    page.wait_for_selector("#correspond-in >> text=cat")
    page.click("#correspond-start")
    page.wait_for_selector("#resemblance .mark.own")
    first = pixels(page, "#resemblance figure:nth-child(2) canvas")
    stage = page.locator("#resemblance .stage").nth(0)
    box = stage.bounding_box()
    stage.click(position={"x": box["width"] * 0.62, "y": box["height"] * 0.35})
    page.wait_for_function("Math.abs(parseFloat(document.querySelector('#resemblance .mark.own').style.left) - 62) < 1")
    clicked = pixels(page, "#resemblance figure:nth-child(2) canvas")
    assert clicked != first
    shoot(page, "correspond")
    page.locator("#resemblance .stage").nth(1).focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#resemblance figure:nth-child(2) .mark.own")
    assert pixels(page, "#resemblance figure:nth-child(2) canvas") != clicked


def test_parse_page_and_jump(page, tmp_path):
    page.get_by_role("tab", name="Parse").click()
    page.get_by_role("button", name="Take an example").click()
    page.wait_for_selector("#parse-file >> text=example")
    page.click("#parse-start")
    page.wait_for_selector("#pages .words >> text=How a page becomes text")
    page.wait_for_function("document.querySelector('#pages .sheet img').naturalWidth > 0")
    shoot(page, "parse")
    page.get_by_label("Clear").click()
    page.set_input_files("#parse-file input[type=file]", str(lakes(tmp_path / "lakes.pdf")))
    page.wait_for_selector("#parse-file >> text=lakes")
    page.click("#parse-start")
    page.wait_for_selector("#pages .words >> text=On lakes")
    page.wait_for_selector("#pages .boxes rect >> nth=3")
    page.wait_for_function("document.querySelector('#pages .sheet img').naturalWidth > 0")
    paragraph = page.locator("#pages .boxes rect[aria-label*='Water lies']")
    paragraph.click()
    assert page.locator("#pages .words .met").get_attribute("data-id") == paragraph.get_attribute("data-id")
    paragraph.hover()
    assert "text · " in page.locator("#pages .tip").inner_text()
    table = page.locator("#pages .words .block.table")
    table.press("Enter")
    assert page.locator("#pages .boxes rect.met").get_attribute("data-id") == table.get_attribute("data-id")
    page.get_by_role("button", name="Next page").click()
    page.wait_for_selector("#pages .words >> text=on page 2.")
    assert page.get_by_label("Page", exact=True).input_value() == "2"
    assert b"On lakes" in downloaded(page, "Markdown")
    # What the document says is shown as its letters, and is never run.
    assert SCRIPT in page.locator("#pages .words").inner_text()
    assert page.evaluate("window.harmed") is None
    before = page.locator("#pages .boxes rect").count()
    page.get_by_role("button", name="table", exact=True).click()
    assert page.locator("#pages .boxes rect").count() == before - 1


def test_parse_with_a_password_and_words(page, tmp_path):
    locked = drawn(tmp_path / "locked.pdf", lines, encrypt=StandardEncryption("secret", strength=128))
    page.get_by_role("tab", name="Parse").click()
    page.set_input_files("#parse-file input[type=file]", str(locked))
    page.wait_for_selector("#parse-file >> text=locked")
    page.click("#parse-start")
    page.wait_for_selector("#pages >> text=locked.pdf cannot be read: it needs a password. Give it under More")
    page.get_by_role("button", name="More").click()
    page.get_by_label("words and their places in JSON").check()
    page.get_by_label("Password").fill("secret")
    page.get_by_label("Password").press("Enter")
    page.wait_for_selector(f"#pages .words >> text={LINES[0]}")
    page.wait_for_function("document.querySelector('#pages .sheet img').naturalWidth > 0")
    shoot(page, "parse-more")
    (read,) = json.loads(downloaded(page, "JSON"))["pages"]
    assert any(block["lines"] for block in read["blocks"])


def test_backbones_are_looked_at_and_chosen(page):
    page.get_by_role("tab", name="Backbones").click()
    page.wait_for_selector("#backbone >> text=The network in the box")  # the one that is used
    page.get_by_label("run: lakes", exact=True).click()
    page.wait_for_selector("#backbone .shots img")
    page.wait_for_function("document.querySelector('#backbone .shots img').naturalWidth > 0")
    assert page.locator("#backbone .curve").count() == 1
    page.get_by_text("Settings", exact=True).last.click()
    assert "lr: 0.1" in page.locator("#backbone pre").inner_text()
    assert "/secret" not in page.content()
    shoot(page, "backbones")
    page.get_by_label("colour", exact=True).click()
    page.wait_for_selector("#backbone >> text=Colours and gradients")
    page.get_by_role("tab", name="Correspond").click()
    page.get_by_role("button", name="Flowers").click()
    page.wait_for_selector("#correspond-in >> text=flower")
    page.click("#correspond-start")
    page.wait_for_selector("#resemblance .mark.own")


def test_a_mistake_is_a_sentence_and_work_can_be_stopped(page):
    page.click("#segment-start")
    page.wait_for_selector("text=There are no pictures yet")
    shoot(page, "mistake")
    page.get_by_role("button", name="Landscapes").click()
    page.wait_for_selector("#segment-in >> text=aizkorri")
    page.get_by_label("Let it choose how many segments").check()
    page.click("#segment-start")
    page.wait_for_selector("#segments >> text=/(Opening|Looking at) pictures, . of 4|Finding segments/")
    shoot(page, "at-work")
    page.click("#segment-stop")
    page.wait_for_selector("text=Stopped.")
    assert page.locator("#segments .legend").count() == 0


def test_a_failure_takes_the_place_of_what_was_shown_before_and_a_stop_does_not(page, tmp_path):
    page.get_by_role("tab", name="Parse").click()
    page.set_input_files("#parse-file input[type=file]", lakes(tmp_path / "lakes.pdf"))
    page.wait_for_selector("#parse-file >> text=lakes.pdf")
    page.click("#parse-start")
    page.wait_for_selector("#pages .words .block")
    page.get_by_label("Pages").locator("visible=true").first.fill("9")
    page.keyboard.press("Enter")
    page.wait_for_selector("#pages .trouble >> text=There is no page 9")
    assert page.locator("#pages .sheet").count() == 0


def test_work_that_waits_in_the_queue_can_be_stopped(browser, monkeypatch):
    application = start(backbone="colour", workers=1)
    context, begun, end, find = browser.new_context(), Event(), Event(), application.service.segment

    def slow(*given, **more):
        begun.set()
        end.wait(WAIT / 1000)
        return find(*given, **more)

    try:
        opened = context.new_page()
        opened.set_default_timeout(WAIT)
        opened.goto(application.url)
        opened.get_by_role("button", name="Landscapes").click()
        opened.wait_for_selector("#segment-in >> text=aizkorri")
        monkeypatch.setattr(application.service, "segment", slow)
        path = upload(application.url, (PHOTOGRAPHS / "cat.jpg").read_bytes(), "cat.jpg").json()[0]
        with ThreadPoolExecutor(1) as other:
            done = other.submit(call, application.url, "segment", [[file_data(path)], "2", "kmeans", ""])
            assert begun.wait(WAIT / 1000)
            opened.click("#segment-start")
            opened.wait_for_selector("#segments >> text=queue")
            opened.click("#segment-stop")
            opened.wait_for_selector("text=Stopped.")
            end.set()
            assert done.result(WAIT / 1000)[0] == "complete"
        opened.wait_for_timeout(2000)
        assert opened.locator("#segments .legend").count() == 0
        opened.click("#segment-start")  # and it works anew
        opened.wait_for_selector("#segments .legend")
    finally:
        end.set()
        context.close()
        application.close()
