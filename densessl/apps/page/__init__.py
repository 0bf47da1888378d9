"""The page: a tab for each thing that can be done over `densessl.apps.service`, and the API beside them.

Gradio has the frame (tabs, uploads, buttons, progress, queue); what is looked at and edited is drawn by the scripts of
`densessl/apps/assets` from plain data, and served by `densessl.apps.files`.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from densessl import __version__
from densessl.apps.page import api, backbones, correspond, demo, parse, segment
from densessl.apps.page.shared import page_of, sentences
from densessl.apps.service import Service

TITLE = "densessl"


def build(service: Service) -> gr.Blocks:
    """The page of a service, not launched yet."""

    def leave(request: gr.Request) -> None:
        service.jobs.stop(page_of(request))

    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(
            "<div id='head'><h1>densessl</h1><p>Segments, correspondences and documents, without a label and without a "
            "network connection.</p></div>",
            js_on_load=None,
        )
        # What the user chose under Backbones is that of their page alone.
        chosen = gr.State(service.backbones.choice(None).name)
        if service.config.demo is not None:
            with gr.Tab("Demo", id="demo"):
                demo.build(Path(service.config.demo))
        with gr.Tab("Segment", id="segment"):
            segment.build(service, chosen)
        with gr.Tab("Correspond", id="correspond"):
            correspond.build(service, chosen)
        with gr.Tab("Parse", id="parse"):
            parse.build(service)
        with gr.Tab("Backbones", id="backbones"):
            backbones.build(service, chosen, page)
        gr.HTML(f"<div id='foot'>{_footer(service)}</div>", js_on_load=None)
        api.build(service)
        page.unload(leave)
    sentences(page)
    workers = service.config.workers or max(2, service.engine.cores)
    page.queue(max_size=service.config.queue, default_concurrency_limit=workers, api_open=False)
    return page


def _footer(service: Service) -> str:
    kept = f"{service.config.keep:g} minute{'' if service.config.keep == 1 else 's'}"
    return (
        f"densessl {__version__} on {service.engine.description}. Uploads stay on this machine, are shown to nobody "
        f"else and are removed {kept} after their last use."
    )
