"""Words read from pictures: which engine is chosen, and how well each that is installed reads pages of known text."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread
from time import sleep

import cv2
import numpy as np
import pytest
from reportlab.pdfgen.canvas import Canvas

from densessl.data.images import UnreadableImage
from densessl.data.pages import pdf
from densessl.documents.parsing import ocr
from densessl.errors import UserError

LINES = [
    "Report of the council, 1987",
    "The river rose by 14 metres within two days and",
    "carried away the bridge at Oldham (built in 1902).",
    "Nobody was hurt; the repairs cost 25,300 pounds.",
]
DPI = 150

needs = {
    "tesseract": pytest.mark.skipif(ocr.tesseract() is None, reason="Tesseract is not installed"),
    "rapidocr": pytest.mark.skipif(not ocr.rapidocr(), reason="RapidOCR is not installed"),
}
turning = pytest.mark.skipif(
    ocr.tesseract() is None or not ocr.engine("tesseract").turns, reason="Tesseract or its data osd are not installed"
)
installed = pytest.mark.parametrize("name", [pytest.param(name, marks=mark) for name, mark in needs.items()])


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> tuple[np.ndarray, list[tuple]]:
    """The picture of a page, and the words of its text layer."""
    path = tmp_path_factory.mktemp("page") / "a.pdf"
    canvas = Canvas(str(path), pagesize=(400, 160))
    for place, text in enumerate(LINES):
        canvas.setFont("Times-Roman", 14 if place else 20)
        canvas.drawString(30, 120 - 26 * place, text)
    canvas.save()
    return pdf.render(str(path), 0, round(400 * DPI / 72)), list(pdf.text(str(path), 0).words)


def distance(read: str, wanted: str) -> int:
    """How many letters are put in, left out or exchanged."""
    before = list(range(len(wanted) + 1))
    for row, letter in enumerate(read, start=1):
        now = [row]
        for column, other in enumerate(wanted, start=1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (letter != other)))
        before = now
    return before[-1]


def errors(words, wanted: list[str]) -> float:
    text = " ".join(wanted)
    return distance(" ".join(word.text for word in words), text) / len(text)


@installed
def test_a_clean_page_is_read_nearly_without_an_error(page, name):
    picture, _ = page
    engine = ocr.engine(name)
    words = engine.read(picture, DPI)
    assert errors(words, LINES) < 0.03
    assert engine.name.split()[0] == name and engine.name.split()[1][0].isdigit()
    assert all(0 <= word.confidence <= 1 for word in words)
    assert np.mean([word.confidence for word in words]) > 0.8


@installed
def test_words_lie_where_the_page_has_them_in_points_and_have_its_sizes(page, name):
    picture, known = page
    found = {word.text: word for word in ocr.engine(name).read(picture, DPI)}
    shared = [
        (found[word[0]], word) for word in known if word[0] in found and [w[0] for w in known].count(word[0]) == 1
    ]
    assert len(shared) > 20
    for word, (text, x0, y0, x1, y1, size, *_) in shared:
        assert np.abs(np.subtract(word.bbox, (x0, y0, x1, y1))).max() < 2.5, text
        assert word.size == pytest.approx(size, rel=0.15), text


@installed
def test_a_bad_scan_is_read_for_the_most_part(page, name):
    """Blurred, on grey paper, with noise and by JPEG of quality 40."""
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(page[0], (0, 0), 0.8).astype(np.float32) * 0.75 + 30
    picture = np.clip(picture + rng.normal(0, 12, picture.shape), 0, 255).astype(np.uint8)
    picture = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
    assert errors(ocr.engine(name).read(picture, DPI), LINES) < 0.1


@installed
def test_a_blank_page_and_a_speck_have_no_words(name):
    engine = ocr.engine(name)
    assert engine.read(np.full((300, 200, 3), 255, np.uint8), 100) == []
    assert engine.read(np.zeros((1, 1, 3), np.uint8), 72) == []


@installed
def test_an_engine_can_be_given_to_another_process(page, name):
    engine = pickle.loads(pickle.dumps(ocr.engine(name)))
    assert errors(engine.read(page[0], DPI), LINES) < 0.03


@needs["rapidocr"]
def test_rapidocr_reads_without_a_network():
    code = (
        "import socket, sys\n"
        "def never(*_, **__): raise AssertionError('a connection was tried')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = never\n"
        "import cv2, numpy as np\n"
        "from densessl.documents.parsing import ocr\n"
        "picture = np.full((80, 420, 3), 255, np.uint8)\n"
        "cv2.putText(picture, 'offline', (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 2, (0, 0, 0), 3, cv2.LINE_AA)\n"
        "print([word.text for word in ocr.engine('rapidocr').read(picture, 200)])\n"
    )
    dead = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"), "http://127.0.0.1:9")
    env = {**os.environ, **dead, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == "['offline']", done.stderr


@needs["tesseract"]
def test_tesseract_leaves_no_files_and_runs_one_thread(page, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    ocr.engine("tesseract").read(page[0], DPI)
    assert list(tmp_path.iterdir()) == []


def program(folder: Path, monkeypatch, body: str) -> None:
    """A program called tesseract, alone on the path."""
    path = folder / "tesseract"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    ocr._said.cache_clear()


SPEAKS = (
    'case "$1" in --list-langs) echo "List of available languages (3):"; echo deu; echo eng; echo osd;; '
    '--version) echo "tesseract 9.8.7"; echo " leptonica";; *) {}; esac'
)


def test_auto_is_tesseract_then_rapidocr_then_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(ocr, "rapidocr", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ocr.engine("auto") is None and ocr.engine() is None
    monkeypatch.setattr(ocr, "rapidocr", lambda: True)
    assert isinstance(ocr.engine("auto"), ocr.RapidOCR)
    program(tmp_path, monkeypatch, SPEAKS.format("cat"))
    assert ocr.engine("auto").name == "tesseract 9.8.7" and ocr.engine("none") is None
    assert isinstance(ocr.engine("rapidocr"), ocr.RapidOCR)


def test_an_engine_that_is_not_there_and_one_of_no_name_are_refused_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(ocr, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"Tesseract is not installed: .*apt install tesseract-ocr"):
        ocr.engine("tesseract")
    with pytest.raises(UserError, match=r'RapidOCR is not installed: pip install "densessl\[ocr\]"'):
        ocr.engine("rapidocr")
    with pytest.raises(UserError, match="no OCR engine 'tesserakt'; did you mean 'tesseract'"):
        ocr.engine("tesserakt")


def test_languages_are_those_that_are_asked_for_and_there(tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, SPEAKS.format('echo "$@" >&2; exit 1'))
    assert ocr.engine("tesseract").languages == "eng"
    assert ocr.engine("tesseract", ["deu", "eng"]).languages == "deu+eng"
    with pytest.raises(UserError, match="does not know the language 'fra', only deu, eng: install it"):
        ocr.engine("auto", ["eng", "fra"])
    with pytest.raises(UnreadableImage, match="Tesseract fails on it .*stdin stdout -l deu --dpi 300 tsv"):
        ocr.engine("tesseract", ["deu"]).read(np.zeros((9, 9, 3), np.uint8), 300)


def test_a_tesseract_that_does_not_work_is_told_in_a_sentence(tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, "echo no such library >&2; exit 127")
    with pytest.raises(UserError, match="does not work: .*--list-langs` ends with an error. Install it anew"):
        ocr.engine("auto")


def test_what_does_not_tell_how_a_page_lies_takes_it_for_upright(tmp_path, monkeypatch):
    page = np.rot90(np.full((90, 60, 3), 255, np.uint8))
    if ocr.rapidocr():
        assert ocr.RapidOCR().turn(page, 100) == 0
    program(tmp_path, monkeypatch, SPEAKS.replace("echo osd", "true").format("echo asked; exit 1"))
    engine = ocr.engine("tesseract")
    assert not engine.turns and engine.turn(page, 100) == 0


@turning
def test_tesseract_tells_how_a_page_lies(tmp_path):
    canvas = Canvas(str(tmp_path / "a.pdf"), pagesize=(400, 300))
    for place in range(8):
        canvas.drawString(30, 260 - 30 * place, LINES[place % len(LINES)] + " " + LINES[(place + 1) % len(LINES)])
    canvas.save()
    picture, tesseract = pdf.render(str(tmp_path / "a.pdf"), 0, 1100), ocr.engine("tesseract")
    for turn in range(4):  # np.rot90 turns anticlockwise
        assert tesseract.turn(np.rot90(picture, -turn), 198) == turn
    assert tesseract.turn(np.full((300, 300, 3), 255, np.uint8), 198) == 0


def test_a_page_that_takes_tesseract_too_long_is_given_up(tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, SPEAKS.format("exec sleep 60"))
    monkeypatch.setattr(ocr, "SECONDS", 1)
    with pytest.raises(UnreadableImage, match="takes more than 1 s"):
        ocr.engine("tesseract").read(np.zeros((9, 9, 3), np.uint8), 300)


def test_a_program_that_begins_to_read_late_gets_the_whole_page(tmp_path):
    script = tmp_path / "late"
    script.write_text("#!/bin/sh\nsleep 1\nexec wc -c\n")
    script.chmod(0o700)
    assert int(ocr._run([str(script)], bytes(3_000_000))) == 3_000_000


def written(path: Path) -> None:
    while not (path.is_file() and path.read_text().endswith("\n")):
        sleep(0.02)


def test_a_page_that_nobody_waits_for_any_more_ends_its_process(tmp_path, monkeypatch):
    script = tmp_path / "tesseract"
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 100\n")
    script.chmod(0o700)
    stop, pid = Event(), tmp_path / "pid"
    Thread(target=lambda: (written(pid), stop.set())).start()
    with pytest.raises(ocr.Ended):
        ocr.Tesseract(str(script), "eng", "slow").read(np.full((3000, 2000, 3), 255, np.uint8), 200, stop)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_what_tesseract_prints_becomes_words_in_points(tmp_path, monkeypatch):
    """One that counts its threads, and reads a word with a quotation mark in it and one of no text."""
    row = r"5\t1\t1\t1\t1\t1\t%s\t%s\t%s"
    rows = [row % ("100\t50\t200\t40", 96.5, '"Big'), row % ("1\t1\t1\t1", 95, " "), row % ("1\t1\t1\t1", -1, "")]
    said = r"level\tpage\tblock\tpar\tline\tword\tleft\ttop\twidth\theight\tconf\ttext\n" + r"\n".join(rows)
    program(
        tmp_path,
        monkeypatch,
        SPEAKS.format(f"cat >/dev/null; echo $OMP_THREAD_LIMIT >{tmp_path}/n; printf '{said}\\n'"),
    )
    (word,) = ocr.engine("tesseract").read(np.zeros((90, 90, 3), np.uint8), 300)
    assert (word.text, word.confidence) == ('"Big', 0.965)
    assert word.bbox == pytest.approx((24, 12, 72, 21.6))
    assert (tmp_path / "n").read_text() == "1\n"


def test_letters_without_a_tail_or_an_ascender_do_not_make_a_word_smaller():
    heights = {"snow": ocr.LOW, "Tables": ocr.HIGH, "gyp": ocr.LOW + ocr.BELOW, "(Tag)": ocr.HIGH + ocr.BELOW}
    for text, height in heights.items():
        assert ocr.size_of(text, 10 * height) == pytest.approx(10), text


def test_a_coarse_page_is_enlarged_and_a_large_one_is_not():
    picture = np.zeros((1000, 700, 3), np.uint8)
    assert ocr.enlarged(picture, 100)[0].shape[:2] == (2000, 1400) and ocr.enlarged(picture, 100)[1] == 200
    assert ocr.enlarged(picture, 72)[0].shape[:2] == (2400, 1680)
    assert ocr.enlarged(picture, 200)[0] is picture and ocr.enlarged(np.zeros((3000, 9, 3), np.uint8), 72)[1] == 72


def test_a_box_shrinks_to_its_ink_and_a_blank_one_stays():
    grey = np.full((40, 60), 200, np.uint8)
    grey[10:20, 15:33] = 20
    assert ocr.inked(grey, (5, 4, 50, 35)) == (15, 10, 33, 20)
    assert ocr.inked(grey, (17, 4, 29, 35)) == (15, 10, 33, 20)  # it grows to what its sides cut through,
    assert ocr.inked(grey, (20, 4, 50, 12)) == (18, 10, 33, 12)  # and no further than a quarter of its height
    assert ocr.inked(grey, (0, 30, 60, 40)) == (0, 30, 60, 40)
    assert ocr.inked(grey, (70, 50, 80, 60)) == (70, 50, 80, 60)


def test_letters_that_rapidocr_gives_one_by_one_are_words_where_they_stand_close():
    places = [("a", 0), ("b", 5), ("c", 10), ("命", 25), ("令", 35), ("I", 60), ("am", 70), ("x", 82)]
    line = [ocr.Word(text, (x, 0, x + 5 * len(text) * (2 if ord(text[0]) > 999 else 1), 10), 10) for text, x in places]
    assert [word.text for word in ocr.together(line)] == ["abc", "命令", "I", "am", "x"]
