"""Documents as images: which pages there are, what they are called and show, and what hostile ones cost."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from densessl.data.dataset import ViewDataset, collate, worker_init
from densessl.data.images import UnreadableImage, decode
from densessl.data.pages import pdf, renderer
from densessl.data.sources import Subset, Unreadable, limited, open_source
from densessl.data.sources.pages import Pages
from densessl.data.sources.tiles import Tiled
from densessl.data.views import ViewSpec
from densessl.errors import UserError
from tests.data import documents
from tests.data.documents import names, values, write

GREYS = [0.0, 0.2, 0.4, 0.6]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A document of four pages, one of one page, a picture, and a fax of two pages."""
    write(tmp_path / "report.pdf", documents.pages(GREYS))
    write(tmp_path / "in/letter.PDF", documents.pages([0.8]))
    Image.new("RGB", (5, 4), (7, 7, 7)).save(tmp_path / "photo.png")
    pages = [Image.new("L", (6, 8), value) for value in (30, 60)]
    pages[0].save(tmp_path / "fax.tif", save_all=True, append_images=pages[1:])
    return tmp_path


def test_every_page_of_a_folder_is_an_image_among_its_pictures(folder):
    source = open_source(folder)
    assert names(source) == [
        *("fax.tif/p0001.png", "fax.tif/p0002.png", "in/letter.PDF/p0001.png", "photo.png"),
        *("report.pdf/p0001.png", "report.pdf/p0002.png", "report.pdf/p0003.png", "report.pdf/p0004.png"),
    ]
    assert values(source) == [30, 60, 204, 7, 0, 51, 102, 153]
    assert [source.document(index) for index in (0, 1, 3, 7)] == ["fax.tif", "fax.tif", "photo.png", "report.pdf"]
    for index in range(len(source)):
        image = source.read(index)
        assert image.dtype == np.uint8 and image.shape == (*source.size(index), 3)
        assert np.array_equal(decode(source.read_bytes(index)), image)
    with pytest.raises(IndexError):
        source.read(8)


def test_a_document_alone_a_glob_a_list_and_a_text_file_of_them(folder, tmp_path):
    assert len(open_source(folder / "report.pdf")) == 4
    assert len(open_source(f"{folder}/*.pdf")) == 4
    assert (
        names(open_source([str(folder / "photo.png"), str(folder / "in/letter.PDF")]))[1] == "in/letter.PDF/p0001.png"
    )
    (tmp_path / "list.txt").write_text("report.pdf\tletters\nphoto.png\tphotos\n")
    source = open_source(tmp_path / "list.txt")
    assert [source.label(index) for index in range(5)] == [0, 0, 0, 0, 1] and source.classes == ["letters", "photos"]


def test_pages_have_the_class_of_the_folder_that_their_document_lies_in(tmp_path):
    write(tmp_path / "memo/a.pdf", documents.pages(GREYS[:2]))
    write(tmp_path / "form/b.pdf", documents.pages(GREYS[:1]))
    source = open_source(tmp_path)
    assert source.classes == ["form", "memo"] and [source.label(index) for index in range(3)] == [0, 1, 1]


def test_pictures_without_documents_are_read_as_before(tmp_path):
    Image.new("L", (6, 8)).save(tmp_path / "one.tif")
    assert not isinstance(open_source(tmp_path), Pages) and names(open_source(tmp_path)) == ["one.tif"]


def test_a_page_has_the_longest_side_that_is_asked_for_and_shows_what_stands_on_it(tmp_path):
    """The rectangle of (100, 100) to (300, 400) points, from below, on a page of 600 x 800."""
    path = write(tmp_path / "a.pdf", documents.page())
    page = open_source(path, page_side=400)
    wanted = np.full((400, 300, 3), 255, np.uint8)
    wanted[200:350, 50:150] = 0
    assert np.array_equal(page.read(0), wanted)
    assert page.dpi(0) == pytest.approx(36) and page.size(0) == (400, 300)
    assert open_source(path).size(0) == (1024, 768)
    with pytest.raises(UserError, match="page_side=3 .* give 16 or more"):
        open_source(path, page_side=3)


def test_a_small_page_is_not_blown_up_beyond_300_dpi(tmp_path):
    path = write(tmp_path / "stamp.pdf", documents.pages([0.5], width=72, height=36))
    assert open_source(path).size(0) == (150, 300) and open_source(path).dpi(0) == pytest.approx(300)


def test_colours_come_as_red_green_blue_and_a_page_turned_by_its_document_stands_upright(tmp_path):
    data = documents.page(b"1 0 0 rg 0 0 300 800 re f 0 0 1 rg 300 0 300 800 re f")
    image = open_source(write(tmp_path / "a.pdf", data), page_side=80).read(0)
    assert image[40, 10].tolist() == [255, 0, 0] and image[40, 50].tolist() == [0, 0, 255]
    turned = data.replace(b"/Type/Page/Parent", b"/Type/Page/Rotate 90/Parent")
    image = open_source(write(tmp_path / "b.pdf", turned), page_side=80).read(0)
    assert image.shape == (60, 80, 3) and image[10, 40].tolist() == [255, 0, 0]


def test_a_form_shows_what_was_filled_in(tmp_path):
    look = documents.stream(b"0 g 0 0 100 50 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 100 50]")
    field = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/F 4/Rect[0 0 100 50]/P 3 0 R/AP<</N 6 0 R>>>>"
    data = documents.file(
        b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[5 0 R]>>>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents 4 0 R/Annots[5 0 R]>>",
        documents.stream(b""),
        field,
        look,
    )
    image = open_source(write(tmp_path / "form.pdf", data), page_side=200).read(0)
    assert (image[55:95, 5:95] == 0).all() and (image[:45] == 255).all() and (image[:, 105:] == 255).all()


def test_hostile_documents_are_left_out_with_a_reason_each(tmp_path):
    for name, (data, _) in documents.NOT_OPENED.items():
        write(tmp_path / f"{name}.pdf", data)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.pdf").symlink_to(tmp_path / "nowhere")
    write(tmp_path / "good.pdf", documents.page())
    source = open_source(tmp_path)
    assert names(source) == ["good.pdf/p0001.png"]
    for name, (_, reason) in documents.NOT_OPENED.items():
        assert reason in source.broken[f"{name}.pdf"], name
    assert source.broken["link.pdf"] == "no such file or directory"
    total = len(documents.NOT_OPENED) + 1
    assert source.notes[0].startswith(f"{total} of {total + 1} documents are left out: a-million.pdf (it claims")
    (tmp_path / "good.pdf").unlink()
    with pytest.raises(UserError, match=r"There is nothing to read in .*: a-million.pdf .* and others"):
        open_source(tmp_path)


@pytest.mark.parametrize("name", documents.SHOWN)
def test_odd_documents_show_their_page(tmp_path, name):
    data, share = documents.SHOWN[name]
    source = open_source(write(tmp_path / "a.pdf", data), page_side=256)
    assert len(source) == 1 and source.name(0) == "a.pdf/p0001.png"
    assert float((source.read(0) < 128).mean()) == pytest.approx(share, abs=0.002)


def test_a_truncated_document_costs_a_sentence_or_some_pages(tmp_path):
    whole = documents.pages([0.1 * n for n in range(9)])
    write(tmp_path / "good.pdf", documents.page())
    for share in range(1, 10):
        write(tmp_path / "cut.pdf", whole[: len(whole) * share // 10])
        source = open_source(tmp_path)
        cut = [index for index in range(len(source)) if source.document(index) == "cut.pdf"]
        assert bool(cut) != ("cut.pdf" in source.broken)
        for index in cut:
            source.read(index)


def test_pages_that_a_document_claims_and_does_not_have_are_left_out_and_said_to_be(tmp_path):
    source = open_source(write(tmp_path / "a.pdf", documents.page(count=b"12")))
    assert source.notes == ["Of some documents not all pages that they claim are there: a.pdf (1 of 12)."]
    assert source.broken == {}


def test_counting_pages_renders_none_and_reads_none_of_their_contents(tmp_path, monkeypatch):
    asked, ask = [], pdf.Helper.ask
    monkeypatch.setattr(pdf.Helper, "ask", lambda self, request: asked.append(request[1]) or ask(self, request))
    source = open_source(write(tmp_path / "a.pdf", documents.NOT_SHOWN["endless"][0]))
    assert len(source) == 1 and asked == ["pages"]


@pytest.mark.parametrize("name", documents.NOT_SHOWN)
def test_a_hostile_page_is_unreadable_and_the_next_is_read(tmp_path, monkeypatch, name):
    monkeypatch.setattr(pdf, "SECONDS", 0.5)
    data, reason = documents.NOT_SHOWN[name]
    write(tmp_path / "a.pdf", data)
    write(tmp_path / "b.pdf", documents.page())
    source = open_source(tmp_path, page_side=64)
    with pytest.raises(UnreadableImage, match=reason):
        source.read(0)
    assert source.read(1).shape == (64, 48, 3)
    with pytest.raises(UnreadableImage, match=reason):
        source.read(0)


def test_a_page_that_killed_a_helper_is_not_tried_again_by_any_process(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "SECONDS", 0.3)
    source = open_source(write(tmp_path / "a.pdf", documents.NOT_SHOWN["endless"][0]))

    def first() -> None:
        with pytest.raises(UnreadableImage):
            source.read(0)

    child = multiprocessing.get_context("fork").Process(target=first)
    child.start()
    child.join()
    assert child.exitcode == 0
    monkeypatch.setattr(pdf, "render", None)
    for each in (source, pickle.loads(pickle.dumps(source))):
        with pytest.raises(pdf.Deadly, match="takes more than"):
            each.read(0)


def test_a_crash_is_held_against_a_page_in_a_fresh_helper_alone(tmp_path, monkeypatch):
    path = write(tmp_path / "a.pdf", documents.page())
    pdf.render(str(path), 0, 64)
    os.kill(pdf._own.helper.process.pid, signal.SIGSEGV)
    time.sleep(0.2)
    assert pdf.render(str(path), 0, 64).shape == (64, 48, 3)  # what came before it is to blame
    monkeypatch.setattr(pdf.Helper, "ask", _dies)
    with pytest.raises(pdf.Deadly, match="PDFium crashes on it"):
        pdf.render(str(path), 0, 64)


def test_a_helper_may_take_so_much_memory_and_no_more(tmp_path):
    pdf.render(str(write(tmp_path / "a.pdf", documents.page())), 0, 64)
    assert resource.prlimit(pdf._own.helper.process.pid, resource.RLIMIT_AS)[0] == renderer.MEMORY


def _dies(self, request):
    os.kill(self.process.pid, signal.SIGSEGV)
    raise EOFError


def test_a_helper_that_is_killed_from_outside_costs_nothing(tmp_path):
    path = str(write(tmp_path / "a.pdf", documents.page()))
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        pdf.render(path, 0, 64)
        os.kill(pdf._own.helper.process.pid, number)
        time.sleep(0.1)
        assert pdf.render(path, 0, 64).shape == (64, 48, 3)


def test_an_interrupted_question_leaves_no_answer_for_the_next(tmp_path, monkeypatch):
    source = open_source(write(tmp_path / "a.pdf", documents.pages(GREYS)))
    with monkeypatch.context() as patch:
        patch.setattr(json, "loads", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            source.read(0)
    assert values(source) == [0, 51, 102, 153]


def _interrupted(*_):
    raise KeyboardInterrupt


def test_a_forked_process_has_a_helper_of_its_own_and_both_read_on(tmp_path):
    source = open_source(write(tmp_path / "a.pdf", documents.pages(GREYS)))
    source.read(0)
    before, context = pdf._own.helper.process.pid, multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put((values(source), pdf._own.helper.process.pid)))
    child.start()
    found, pid = queue.get(timeout=60)
    child.join()
    assert found == values(source) == [0, 51, 102, 153] and pid != before == pdf._own.helper.process.pid
    with pytest.raises(ProcessLookupError):  # it ended with the process that it belonged to
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.05)


def test_threads_take_turns(tmp_path):
    source = open_source(write(tmp_path / "a.pdf", documents.pages(GREYS)))
    found: list[list[int]] = []
    threads = [threading.Thread(target=lambda: found.append(values(source))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[0, 51, 102, 153]] * 4


def test_workers_make_views_of_pages_and_replace_those_that_cannot_be_shown(tmp_path):
    write(tmp_path / "a.pdf", documents.pages(GREYS))
    write(tmp_path / "b.pdf", documents.NOT_SHOWN["thread"][0])
    source = open_source(tmp_path, page_side=64)
    data = ViewDataset(source, [ViewSpec(count=2)], 16, seed=0)
    keys = [[(0, index) for index in range(3)], [(0, 3), (0, 4)]]
    loader = DataLoader(
        data,
        batch_sampler=keys,
        num_workers=2,
        collate_fn=collate,
        worker_init_fn=worker_init,
        multiprocessing_context="fork",
    )
    batches = list(loader)
    assert [batch["index"].tolist() for batch in batches] == [[0, 1, 2], [3, 0]]
    assert batches[1]["unreadable"] == [(4, "the page is 14400 x 1 points, too narrow to show anything")]


def test_a_document_that_is_written_anew_is_read_anew_and_one_that_is_gone_is_unreadable(tmp_path):
    path = write(tmp_path / "a.pdf", documents.pages(GREYS))
    source = open_source(path)
    before = source.fingerprint()
    assert values(source)[1] == 51 and open_source(path).fingerprint() == before
    assert open_source(path, page_side=500).fingerprint() != before
    write(path, documents.pages([1.0]))
    assert int(source.read(0)[0, 0, 0]) == 255 and source.fingerprint() != before
    with pytest.raises(UnreadableImage, match="the page cannot be loaded"):
        source.read(2)
    path.unlink()
    with pytest.raises(UnreadableImage, match="no such file"):
        source.read(0)


def test_more_documents_than_stay_open_are_read_in_any_order_and_few_stay_open(tmp_path):
    count = renderer.OPENED + 5
    for number in range(count):
        write(tmp_path / f"{number:03}.pdf", documents.pages([number / 255, 1.0]))
    source = open_source(tmp_path, page_side=16)
    order = np.random.default_rng(0).permutation(2 * count).tolist()
    assert [int(source.read(index)[0, 0, 0]) for index in order] == [
        255 if index % 2 else index // 2 for index in order
    ]
    opened = [link.resolve() for link in Path(f"/proc/{pdf._own.helper.process.pid}/fd").iterdir()]
    assert sum(path.suffix == ".pdf" for path in opened) == renderer.OPENED


def test_a_helper_that_has_grown_is_replaced(tmp_path, monkeypatch):
    source = open_source(write(tmp_path / "a.pdf", documents.pages(GREYS)))
    monkeypatch.setattr(pdf, "GROWN", 1)
    assert values(source) == [0, 51, 102, 153] and pdf._own.helper is None


def test_names_of_any_bytes(tmp_path):
    name = os.fsencode(tmp_path) + b"/caf\xe9 \xf0\x9f\x93\x84.pdf"
    with open(name, "wb") as file:
        file.write(documents.pages(GREYS))
    assert values(open_source(tmp_path)) == [0, 51, 102, 153]


def test_a_source_of_many_pages_is_small(tmp_path):
    source = open_source(write(tmp_path / "a.pdf", documents.page(count=b"12")))
    large = open_source(write(tmp_path / "b.pdf", documents.pages([0.5] * 3000)))
    assert len(large) == 3000 and len(pickle.dumps(large)) - len(pickle.dumps(source)) < 2 * 3000
    assert large.name(2999) == "b.pdf/p3000.png"


def test_parts_and_tiles_of_pages_know_the_document(folder):
    source = open_source(folder)
    part = limited(source, 3, seed=0)
    assert {part.document(index) for index in range(3)} <= {"fax.tif", "in/letter.PDF", "photo.png", "report.pdf"}
    tiles = Tiled(open_source(folder / "report.pdf", page_side=64), 32)
    assert len(tiles) == 4 * 3 * 2 and tiles.document(0) == tiles.document(23) == "report.pdf"
    joined = open_source([str(folder / "report.pdf"), str(folder)])
    assert len({joined.document(index) for index in range(len(joined))}) == 5 and len(joined) == 12


def test_broken_documents_are_listed_beside_unreadable_images_and_not_counted(tmp_path):
    unreadable = Unreadable({"a.pdf": "it needs a password"})
    unreadable.add("b.jpg", "it is empty")
    unreadable.write(tmp_path)
    assert (tmp_path / "unreadable.txt").read_text() == "a.pdf\tit needs a password\nb.jpg\tit is empty\n"
    unreadable.check(10, 0.1)
    with pytest.raises(UserError, match="1 of 9 images"):
        unreadable.check(9, 0.1)


def test_a_helper_ends_with_a_process_that_is_killed(tmp_path):
    path = write(tmp_path / "a.pdf", documents.page())
    code = (
        "import sys; from densessl.data.pages import pdf; pdf.render(sys.argv[1], 0, 64); "
        "print(pdf._own.helper.process.pid, flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pid = int(process.stdout.readline())
    process.kill()
    process.communicate()
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.05)


def test_an_unreadable_document_is_passed_over_as_a_whole_however_many_tiles_and_pages_it_has(tmp_path):
    """A document of 60 pages and 600 tiles, none of which can be shown, ends no run that may pass over 100 images."""
    write(tmp_path / "a.pdf", documents.pages([0.5] * 60, width=1000, height=1))
    write(tmp_path / "b.pdf", documents.pages([0.2]))
    source = open_source(tmp_path, page_side=64)
    assert (source.after(0), source.after(59), source.after(60)) == (60, 60, 61)
    part = Subset(source, [3, 4, 60])
    assert (part.after(0), part.after(2)) == (2, 3)
    joined = open_source([str(tmp_path / "b.pdf"), str(tmp_path)], page_side=64)
    assert (joined.after(0), joined.after(2), joined.after(61)) == (1, 61, 62)
    tiles = Tiled(open_source(tmp_path / "b.pdf", page_side=64), 8)
    assert tiles.after(0) == tiles.after(len(tiles) - 1) == len(tiles)
    item = ViewDataset(source, [ViewSpec(count=1)], 16, seed=0)[0, 7]
    assert item["index"] == 60 and [index for index, _ in item["unreadable"]] == [7]
