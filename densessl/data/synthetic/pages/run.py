"""`densessl pages`: a folder of generated pages, made by several processes, gone on with where it was left."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from pathlib import Path

from omegaconf import OmegaConf

from densessl import config as configs
from densessl.data.synthetic.pages import coco
from densessl.data.synthetic.pages.make import PagesConfig, check, load, make, plan, record_of, whole
from densessl.data.synthetic.pages.page import DOCLAYNET, PUBLAYNET
from densessl.errors import UserError
from densessl.files import claimed, remove_leftovers
from densessl.progress import Progress, Report

FREE = ("out", "count", "workers")  # settings that may change when a folder is gone on with


def resolve(out: str | Path, count: int, seed: int, overrides: Sequence[str]) -> PagesConfig:
    """The options of the command and its key=value -> a config; `UserError` for what is unknown or of a wrong type."""
    options = OmegaConf.create({"out": str(out), "count": count, "seed": seed})
    return configs.build(PagesConfig, options, configs.parse_overrides(overrides))


def write_pages(config: PagesConfig, progress: Report | None = None) -> str:
    """Write `count` pages into the folder `out`; returns what was done as a sentence.

    `images/DOCUMENT-PAGE.jpg`, `documents/DOCUMENT.pdf` and `.json` (all that is on its pages, in reading order, with
    text), `annotations.json` (COCO, PubLayNet's classes), `doclaynet.json` (the same pages, DocLayNet's classes) and
    `tables.json`. Documents that are there already are kept; a folder that was made with other settings, or that holds
    something else, is a `UserError`.
    """
    check(config)
    with claimed(config.out) as folder:
        _accept(folder, config)
        remove_leftovers(folder)
        wanted = list(_wanted(config))
        todo = [(number, pages) for number, pages in wanted if not whole(folder, number, pages)]
        kept = config.count - sum(pages for _, pages in todo)
        report = progress or Progress()
        done = kept
        for pages in _made(config, todo):
            done += pages
            report("Pages", done, config.count, "")

        def entries() -> Iterator[dict]:
            for number, pages in wanted:
                yield from load(record_of(folder, number), pages)

        coco.write_coco(folder / "annotations.json", entries, PUBLAYNET, coco.coarse)
        coco.write_coco(folder / "doclaynet.json", entries, DOCLAYNET, coco.fine)
        coco.write_tables(folder / "tables.json", entries)
    there = f", {kept} of which were there already" if kept else ""
    return f"{config.count} pages of {len(wanted)} documents are in {folder}{there}: annotations.json, doclaynet.json."


def _wanted(config: PagesConfig) -> Iterator[tuple[int, int]]:
    """The documents' numbers and how many of their pages belong to the set; the last one may be cut short."""
    left, number = config.count, 0
    while left:
        pages = min(left, plan(config, number).pages)
        yield number, pages
        left -= pages
        number += 1


def _accept(folder: Path, config: PagesConfig) -> None:
    """Refuse a folder that holds something else, and settings other than those that it was begun with."""
    path = folder / "config.yaml"
    asked = OmegaConf.structured(config)
    if path.is_file():
        before = configs.read_yaml(path, "pages")
        changed = configs.differences(before, asked, FREE)
        if changed:
            raise UserError(f"{folder} was begun with other settings ({'; '.join(changed)}): give another --out.")
        if int(before.get("count", 0)) > config.count:
            raise UserError(
                f"{folder} holds {before.count} pages already, more than --count {config.count}: give another --out, "
                "or at least as many."
            )
    elif any(not each.name.startswith(".densessl-") for each in folder.iterdir()):
        raise UserError(f"{folder} holds other files and no config.yaml of generated pages: give an empty folder.")
    configs.save(asked, path)


def _made(config: PagesConfig, todo: list[tuple[int, int]]) -> Iterator[int]:
    """Make the documents, in this process or in several, and tell of each how many pages it had."""
    workers = min(config.workers or os.cpu_count() or 1, len(todo))
    if workers < 2:
        yield from (make(config, number, pages) for number, pages in todo)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin) as pool:
        try:
            yield from _in_turn(pool, config, todo, 4 * workers)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _in_turn(pool: Executor, config: PagesConfig, todo: list[tuple[int, int]], ahead: int) -> Iterator[int]:
    """Hand out few documents at a time, so that a stop is quick."""
    pending: set[Future] = set()
    for number, pages in todo:
        pending.add(pool.submit(make, config, number, pages))
        if len(pending) >= ahead:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (each.result() for each in done)
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        yield from (each.result() for each in done)


def _begin() -> None:
    """One thread a process; Ctrl-C is for the process that hands out the work."""
    import signal

    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
