"""Plots as files."""

from __future__ import annotations

import io

import matplotlib
from matplotlib.figure import Figure

DPI = 130


def png(figure: Figure) -> bytes:
    """A figure as PNG, in the typeface that matplotlib brings, so that it looks alike on every machine."""
    data = io.BytesIO()
    with matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        figure.savefig(data, format="png", dpi=DPI)
    return data.getvalue()
