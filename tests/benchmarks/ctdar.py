"""cTDaR's weighted F1 beside that of its official tool, on the same files.

    python tests/benchmarks/ctdar.py TOOL --data ctdar-modern:FOLDER

TOOL: a clone of https://github.com/cndplab-founder/ctdar_measurement_tool; it needs shapely. Detections are the marked
tables with their corners moved, some doubled and some left out, so that pages are without. The tool is run as it is,
the reading `published`, and with the line mended that loses every other page without a result, the reading `fixed`. It
takes the pages in the order in which the file system lists them; its folder is listed by name here.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from densessl.documents.detections import Detections
from densessl.documents.pages import LabelledPages
from densessl.documents.sets import open_pages
from densessl.documents.submission import write_submission, write_truth
from densessl.documents.weighted_f1 import READINGS, THRESHOLDS, weighted_f1

# What runs the tool: two of its lines are changed, which modern Python or a fair count needs, and folders are sorted.
RUN = """
import collections, collections.abc, os, runpy, sys
collections.Iterable = collections.abc.Iterable
listdir = os.listdir
os.listdir = lambda path='.': sorted(listdir(path))
sys.argv = ['evaluate.py', '-trackA', sys.argv[1]]
sys.path.insert(0, os.getcwd())
runpy.run_path('evaluate.py', run_name='__main__')
"""
BUG, MENDED = 'if file.split(".") != "xml":', 'if file.split(".")[-1] != "xml":'


def jittered(pages: LabelledPages, seed: int) -> Detections:
    """Marked tables with corners moved by a 20th of their size or so; 5 % doubled, pages of a 12th without."""
    random = np.random.default_rng(seed)
    objects = pages.objects
    keep = (random.random(len(pages)) > 1 / 12)[objects.page]
    rows = np.flatnonzero(keep)
    rows = np.sort(np.concatenate((rows, rows[random.random(len(rows)) < 0.05])))
    boxes = objects.boxes[rows]
    size = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    boxes = boxes + size * random.normal(0, 0.05, boxes.shape)
    scores = random.uniform(0.6, 1, len(rows))
    return Detections.sorted(len(pages), objects.page[rows], boxes, objects.classes[rows], scores)


def turned(pages: LabelledPages, degrees: float) -> LabelledPages:
    """The same with each marked table turned about its centre, to whole pixels, as tables of archival pages lie."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shapes = []
    for (polygon,) in pages.objects.shapes:
        centre = polygon.mean(axis=0)
        shapes.append([np.trunc((polygon - centre) @ turn.T + centre)])
    return replace(pages, objects=replace(pages.objects, shapes=tuple(shapes)))


def official(tool: Path, truth: Path, submission: Path, fixed: bool) -> tuple[list[float], str]:
    """F1 at the four thresholds, and what the tool says of its counts."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("evaluate.py", "eval.py", "data_structure.py"):
            text = (tool / name).read_text(encoding="utf-8")
            if name == "evaluate.py" and fixed:
                assert BUG in text
                text = text.replace(BUG, MENDED)
            Path(folder, name).write_text(text, encoding="utf-8")
        shutil.copytree(truth, Path(folder, "annotations", "trackA"))
        command = [sys.executable, "-c", RUN, str(submission.resolve())]
        printed = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, check=True).stdout
    figures = [float(each) for each in re.findall(r"^f1: (\S+)", printed, re.MULTILINE)]
    return figures, re.findall(r"^correct: .*", printed, re.MULTILINE)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--turn", type=float, default=0.0, help="degrees that marked tables are turned by")
    arguments = parser.parse_args()
    pages = open_pages(arguments.data)
    detections = jittered(pages, arguments.seed)
    pages = turned(pages, arguments.turn)
    with tempfile.TemporaryDirectory() as folder:
        truth, submission = Path(folder, "truth"), Path(folder, "detections.tar.gz")
        write_truth(truth, pages)
        files = write_submission(submission, pages, detections)
        print(f"{len(pages)} pages, {files} with results")
        for reading in READINGS:
            ours = weighted_f1(pages, detections, reading)
            theirs, counts = official(arguments.tool, truth, submission, fixed=reading == "fixed")
            print(f"{reading}: ours  ", *(f"{each:.6f}" for each in ours.f1), f"weighted {ours.weighted:.6f}", end=" ")
            print(f"correct: {ours.correct[0]}, gt: {ours.tables}, res: {ours.found}")
            weighted = float(np.dot(theirs, THRESHOLDS) / sum(THRESHOLDS))
            print(f"{reading}: theirs", *(f"{each:.6f}" for each in theirs), f"weighted {weighted:.6f}", counts)
            assert np.allclose(theirs, ours.f1, rtol=0, atol=1e-12)


if __name__ == "__main__":
    main()
