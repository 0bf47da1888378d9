"""The tab that finds segments."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import gradio as gr

from densessl.apps.page.shared import PICTURES, WORK, answering, drop, example, owner, stopping, told, uploads, view
from densessl.apps.service import MOST_SEGMENTS, Service

PHOTOGRAPHS = Path(str(resources.files("densessl"))) / "photographs"
EXAMPLES = {
    "Landscapes": ("aizkorri.jpg", "picos-de-europa.jpg", "summit.jpg", "stream.jpg"),
    "Animals": ("polar-bear.jpg", "panda.jpg", "koala.jpg", "moose.jpg"),
    "A temple": ("temple.jpg",),
}
METHODS = [("k-means on features (quick)", "kmeans"), ("spectral: cuts each picture first (slow)", "spectral")]


def build(service: Service, chosen: gr.State) -> None:
    """Its components and events."""
    with gr.Row():
        with gr.Column(scale=1, elem_classes="controls"):
            gr.Markdown("Find the parts of pictures that belong together, without a label.", elem_classes="lead")
            files = drop(file_count="multiple", file_types=PICTURES, label="Pictures", height=150, elem_id="segment-in")
            with gr.Row():
                examples = [gr.Button(name, size="sm", min_width=70) for name in EXAMPLES]
            auto = gr.Checkbox(False, label="Let it choose how many segments")
            number = gr.Slider(2, MOST_SEGMENTS, 6, step=1, label="Number of segments", elem_id="segment-number")
            with gr.Accordion("More", open=False):
                method = gr.Radio(METHODS, value="kmeans", label="Method")
            with gr.Row():
                start = gr.Button("Find segments", variant="primary", elem_id="segment-start")
                stop = gr.Button("Stop", min_width=60, scale=0, elem_id="segment-stop")
        with gr.Column(scale=3):
            shown = view("segments.js", "segments")

    @told
    def find(
        files: list[str] | None,
        auto: bool,
        number: int,
        method: str,
        backbone: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - by which Gradio knows that it wants one
    ) -> dict:
        with answering(service, request, "segment", progress) as job:
            given = uploads(service, files, request)
            count = "auto" if auto else int(number)
            entry = service.segment(given, count, method, backbone, owner(request), job)
        return {"token": entry.token, **entry.payload.record()}

    auto.change(lambda each: gr.update(visible=not each), auto, number, api_visibility="private", queue=False)
    for button, names in zip(examples, EXAMPLES.values(), strict=True):
        button.click(example(service, [PHOTOGRAPHS / name for name in names]), None, files, api_visibility="private")
    work = start.click(
        find,
        [files, auto, number, method, chosen],
        shown,
        api_visibility="private",
        concurrency_id=WORK,
        trigger_mode="once",
    )
    stopping(service, stop, "segment", work)
