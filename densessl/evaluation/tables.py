"""The figures of a protocol of segments as tables for a terminal: ways of judging side by side, in per cent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Figures = dict[str, float]
COMMONEST = "always the commonest class"


def tables(record: dict[str, Any]) -> list[str]:
    """Lines: mIoU and accuracy of each backbone and method, a pair of columns for each way; then average precision.

    Behind a mean of several seeds stands their standard deviation.
    """
    ways = record["settings"]["judge"]
    named = {"": record["figures"]} | {f"{name}: ": each for name, each in record.get("baselines", {}).items()}
    scores: dict[str, dict[str, Figures]] = {}
    precisions: list[list[str]] = []
    for backbone, figures in named.items():
        for title, found in figures.items():
            if not isinstance(found, dict) or (backbone and title == COMMONEST):
                continue  # what the backbone is, and what stands above
            if "ap_within" in found or "ap_across" in found:
                kinds = ("ap_within", "chance_within", "ap_across", "chance_across")
                precisions.append([backbone + title, *(_told(found, kind) for kind in kinds)])
                continue
            way, _, method = title.rpartition(": ")
            scores.setdefault(backbone + method, {})[way or ways[0]] = found
    head = ["", *(f"{way}: {figure}" for way in ways for figure in ("mIoU", "accuracy"))]
    rows = [
        [title, *(_told(found.get(way, {}), key) for way in ways for key in ("miou", "accuracy"))]
        for title, found in scores.items()
    ]
    pairs = ["AP of pairs of places", "within images", "(chance)", "across images", "(chance)"]
    return [*_lines([head, *rows]), "", *_lines([pairs, *precisions])]


def _told(found: Figures, key: str) -> str:
    if key not in found:
        return "-"
    deviation = f" ± {100 * found[f'{key}_deviation']:.1f}" if f"{key}_deviation" in found else ""
    return f"{100 * found[key]:.1f}{deviation}"


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
    return lines
