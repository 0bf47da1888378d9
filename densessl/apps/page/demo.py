"""The tab that shows what `densessl demo` has made, where the application was opened by it."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path

import cv2
import gradio as gr

from densessl.data.images import read_image
from densessl.data.resize import within
from densessl.demo.run import ROWS

SHOWN = 1600  # pixels of the longest side of the sheet
LEAD = (
    "Segments of generated scenes whose truth is known, found without a label by four kinds of features, and of "
    "photographs by the network in the box. Segment does this with pictures of yours; under Backbones lies the network "
    "that was pretrained a minute ago, which Segment and Correspond can use."
)


def build(folder: Path) -> None:
    """Its components. folder: that of a demo that is done."""
    gr.HTML(
        f"<div class='view'><p class='lead'>{LEAD}</p>{_figures(folder)}"
        f"<img src='data:image/jpeg;base64,{_sheet(folder / 'demo.png')}' style='width:100%' "
        "alt='Scenes and photographs beside the segments that were found in them'></div>",
        js_on_load=None,
    )


def _figures(folder: Path) -> str:
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    rows = "".join(
        f"<tr><th scope='row'>{html.escape(title)}</th>"
        f"<td>{figures[name][0]:.1%}</td><td>{figures[name][1]:.1%}</td></tr>"
        for name, title in ROWS.items()
    )
    return (
        "<table class='figures'><thead><tr><th scope='col'>Features</th><th scope='col'>mIoU</th>"
        f"<th scope='col'>accuracy</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _sheet(path: Path) -> str:
    _, data = cv2.imencode(".jpg", within(read_image(path), SHOWN)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    return base64.b64encode(data.tobytes()).decode("ascii")
