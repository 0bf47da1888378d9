"""Pictures by several threads at a time: in order, none lost, and the same masks."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from densessl.progress import silent
from densessl.segmentation import masks, segment
from densessl.segmentation.features.colour import ColourBackbone
from densessl.segmentation.outputs.names import Classes
from densessl.segmentation.outputs.tally import Tally, _largest
from densessl.segmentation.parallel import spread, threads_of
from tests.segmentation.filming import settings as film_settings
from tests.segmentation.filming import shots, write
from tests.segmentation.runs import contents, settings


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_and_items_are_drawn_when_they_are_needed(threads):
    drawn, here = [], threading.current_thread()

    def items():
        for number in range(20):
            assert threading.current_thread() is here
            drawn.append(number)
            yield number

    def act(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number**2

    found = []
    for result in spread(act, items(), threads):
        found.append(result)
        assert len(drawn) <= len(found) + threads
    assert found == [number**2 for number in range(20)]


@pytest.fixture
def two():
    """Torch with two threads, as a user with two cores has it."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def counted() -> int:
    return torch.get_num_threads()


def test_each_thread_counts_as_one_to_torch_and_threads_that_begin_later_as_before(two):
    assert threads_of("cuda") == 1 and threads_of() == 2
    assert set(spread(lambda item: counted(), range(8), 3)) == {1}
    for ended in (lambda: None, lambda: next(spread(lambda item: item, range(8), 3))):
        ended()
        with ThreadPoolExecutor(1) as pool:
            assert counted() == pool.submit(counted).result() == 2


@pytest.mark.parametrize("threads", [1, 3])
def test_what_was_begun_is_ended_when_it_is_stopped_and_nothing_else_begun(threads):
    begun, ended = [], []

    def act(number: int) -> int:
        begun.append(number)
        time.sleep(0.01)
        ended.append(number)
        return number

    found = list(spread(act, iter(range(100)), threads, lambda: len(ended) >= 5))
    assert found == sorted(begun) == sorted(ended) and 5 <= len(found) <= 5 + 2 * threads


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_one_item_is_raised(threads):
    def act(number: int) -> int:
        if number == 4:
            raise OSError("full")
        return number

    with pytest.raises(OSError, match="full"):
        list(spread(act, range(100), threads))


@pytest.mark.parametrize("changes", [{"refine": "crf", "refine_size": 60}, {"method": "kmeans", "probabilities": True}])
def test_several_threads_make_the_masks_of_one(png_folder, tmp_path, monkeypatch, changes):
    (png_folder / "broken.png").write_text("text")
    segment(settings(png_folder, tmp_path / "one", **changes), silent)
    for module in ("masks", "finish"):
        monkeypatch.setattr(f"densessl.segmentation.{module}.threads_of", lambda device="cpu": 3)
    summary = segment(settings(png_folder, tmp_path / "three", **changes), silent)
    assert contents(tmp_path / "three") == contents(tmp_path / "one") and summary.unreadable == 1


@pytest.mark.parametrize("method", ["kmeans", "spectral"])
def test_the_backbone_and_the_graphs_of_a_film_stay_in_one_thread(tmp_path, monkeypatch, method):
    film, seen = write(tmp_path / "film.mp4", shots(6)), {"backbone": set(), "graphs": set()}
    maps, joined = ColourBackbone.feature_maps, masks.spectral_tokens

    def feature_maps(self, *arguments):
        seen["backbone"].add(threading.current_thread())
        return maps(self, *arguments)

    def spectral_tokens(*arguments, **named):
        seen["graphs"].add(threading.current_thread())
        return joined(*arguments, **named)

    segment(film_settings(film, tmp_path / "one", method=method), silent)
    monkeypatch.setattr(masks, "threads_of", lambda device="cpu": 3)
    monkeypatch.setattr(masks, "spectral_tokens", spectral_tokens)
    monkeypatch.setattr(ColourBackbone, "feature_maps", feature_maps)
    segment(film_settings(film, tmp_path / "three", method=method), silent)
    assert contents(tmp_path / "three") == contents(tmp_path / "one")
    here = {threading.current_thread()}
    assert seen == {"backbone": here, "graphs": here if method == "spectral" else set()}


def test_regions_that_are_not_looked_for_would_not_have_been_among_the_largest():
    random, tally = np.random.default_rng(0), Tally(Classes.unnamed(4), crops=3)
    regions = [[] for _ in range(4)]
    for picture in range(40):
        labels = np.kron(random.integers(0, 4, (4, 5)), np.ones((9, 9), dtype=np.int64)).astype(np.uint8)
        tally.add(picture, labels)
        for segment_ in np.unique(labels):
            regions[segment_].append(_largest(labels == segment_, picture, picture))
    for segment_, all_of_them in enumerate(regions):
        assert tally.regions(segment_) == sorted(all_of_them, reverse=True)[:3]
