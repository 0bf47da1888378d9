"""The tab that shows what resembles what."""

from __future__ import annotations

import gradio as gr

from densessl.apps.page.segment import PHOTOGRAPHS
from densessl.apps.page.shared import PICTURES, WORK, answering, drop, example, owner, stopping, told, uploads, view
from densessl.apps.service import Service

EXAMPLES = {
    "Mountains": ("aizkorri.jpg", "picos-de-europa.jpg", "summit.jpg", "mount-rushmore.jpg"),
    "Faces": ("cat.jpg", "dogs.jpg", "lemurs.jpg", "koala.jpg"),
    "Flowers": ("flower.jpg", "dandelions.jpg", "fig.jpg"),
}


def build(service: Service, chosen: gr.State) -> None:
    """Its components and events."""
    with gr.Row():
        with gr.Column(scale=1, elem_classes="controls"):
            gr.Markdown(
                "Point at something in one picture and see what resembles it in all of them, as the network sees it.",
                elem_classes="lead",
            )
            files = drop(
                file_count="multiple", file_types=PICTURES, label="Pictures", height=150, elem_id="correspond-in"
            )
            with gr.Row():
                examples = [gr.Button(name, size="sm", min_width=70) for name in EXAMPLES]
            with gr.Row():
                start = gr.Button("Look at pictures", variant="primary", elem_id="correspond-start")
                stop = gr.Button("Stop", min_width=60, scale=0)
        with gr.Column(scale=3):
            shown = view("correspond.js", "resemblance")

    @told
    def look(
        files: list[str] | None,
        backbone: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - by which Gradio knows that it wants one
    ) -> dict:
        with answering(service, request, "correspond", progress) as job:
            entry = service.correspond(uploads(service, files, request), backbone, owner(request), job)
        return {"token": entry.token, **entry.payload.record()}

    for button, names in zip(examples, EXAMPLES.values(), strict=True):
        button.click(example(service, [PHOTOGRAPHS / name for name in names]), None, files, api_visibility="private")
    work = start.click(look, [files, chosen], shown, api_visibility="private", concurrency_id=WORK, trigger_mode="once")
    stopping(service, stop, "correspond", work)
