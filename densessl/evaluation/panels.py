"""What a protocol of segments shows: precision-recall curves, and masks beside their label maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from densessl.evaluation.cooccurrence import Pairs
from densessl.segmentation.outputs.overlay import palette
from densessl.segmentation.outputs.plots import png

UNMATCHED, VOID = (150, 150, 150), (0, 0, 0)  # of segments that no class is matched to, and of pixels without a label
SIDE = 2.3  # inches of a picture's width
LINE = 0.17  # inches of a legend's line


def curves_picture(found: Mapping[str, Mapping[str, Pairs]]) -> bytes:
    """PNG of precision over recall: a panel for each kind of pairs, a line for each kind of features.

    found: by name of the features, by kind of pairs ("within images", "across images"). The dotted line is what an
        order that knows nothing has.
    """
    kinds = list(next(iter(found.values())))
    lines = len(found) + 1
    figure = Figure(figsize=(4.6 * len(kinds), 4.0 + LINE * lines), layout="constrained")
    for axes, kind in zip(np.atleast_1d(figure.subplots(1, len(kinds), sharey=True)), kinds, strict=True):
        for name, pairs in found.items():
            precision, recall, _ = pairs[kind].curve()
            axes.plot(recall, precision, label=f"{name}: AP {pairs[kind].average_precision:.3f}")
        chance = next(iter(found.values()))[kind].chance
        axes.axhline(chance, color="0.5", linestyle=":", label=f"chance: {chance:.3f}")
        axes.set(title=f"Pairs {kind}", xlabel="recall", xlim=(0, 1), ylim=(0, 1.02))
        # Below the axes, since curves of many features leave no room between them.
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.14), fontsize=8, frameon=False, borderaxespad=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("precision: pairs of one class")
    return png(figure)


def curves_table(found: Mapping[str, Mapping[str, Pairs]], points: int = 101) -> dict:
    """The same curves as numbers: by kind of pairs `recall`, and by name the `precision` there, null beyond a curve."""
    recalls, kinds = np.linspace(0, 1, points), next(iter(found.values()))
    table = {}
    for kind in kinds:
        precisions = {}
        for name, pairs in found.items():
            precision, recall, _ = pairs[kind].curve()
            place = np.searchsorted(recall, recalls)
            precisions[name] = [round(float(precision[each]), 5) if each < len(recall) else None for each in place]
        table[kind] = {"recall": recalls.round(4).tolist(), "precision": precisions}
    return table


def spread(numbers: Sequence[int], count: int) -> list[int]:
    """At most `count` of these ascending numbers, such that the two nearest are as far apart as can be.

    Frames of a film that are near each other are alike.
    """

    def apart(gap: int) -> list[int]:
        taken = [numbers[0]]
        for each in numbers:
            if each >= taken[-1] + gap:
                taken.append(each)
        return taken

    low, high = 1, max(1, (numbers[-1] - numbers[0]) // max(1, count - 1))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(apart(middle)) >= count else (low, middle - 1)
    return apart(low)[:count]


def panel_picture(
    rows: Sequence[Sequence[np.ndarray]],
    headers: Sequence[str],
    classes: Sequence[str],
    colours: Sequence[tuple[int, int, int]] | None = None,
) -> bytes:
    """PNG of images (H, W, 3) uint8 RGB and, behind each, maps of classes (H, W), in the classes' colours; a legend.

    Of the maps, -1 is what has no label and len(classes) or more a segment that no class is matched to.
    """
    colours = list(colours or palette(len(classes)))
    table = np.array([*colours, UNMATCHED, VOID], np.uint8)
    height = SIDE * max(row[0].shape[0] / row[0].shape[1] for row in rows)
    figure = Figure(figsize=(SIDE * len(headers), height * len(rows) + 0.9), layout="constrained")
    grid = np.atleast_2d(figure.subplots(len(rows), len(headers), squeeze=False))
    present = set()
    for line, row in zip(grid, rows, strict=True):
        for axes, cell in zip(line, row, strict=True):
            axes.axis("off")
            if cell.ndim == 2:
                cell = np.where(cell < 0, len(classes) + 1, np.minimum(cell, len(classes)))
                present |= set(np.unique(cell).tolist())
                cell = table[cell]
            axes.imshow(cell, interpolation="nearest")
    for axes, header in zip(grid[0], headers, strict=True):
        axes.set_title(header, fontsize=9)
    names = [*classes, "no class", "no label"]
    patches = [Patch(color=table[place] / 255, label=names[place]) for place in sorted(present)]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(6, len(patches)), fontsize=8, frameon=False)
    return png(figure)
