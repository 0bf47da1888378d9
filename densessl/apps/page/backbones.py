"""The tab that shows backbones and chooses one."""

from __future__ import annotations

import gradio as gr

from densessl.apps.backbones import curves, figures, settings
from densessl.apps.page.shared import answering, owner, view
from densessl.apps.service import RunShown, Service


def build(service: Service, chosen: gr.State, page: gr.Blocks) -> None:
    """Its components and events."""
    first = service.backbones.choice(None)
    with gr.Row():
        with gr.Column(scale=1, elem_classes="controls"):
            gr.Markdown(
                "The network whose features Segment and Correspond use, in this page alone. Runs are those of the "
                "folder that `runs=` named when the application was started.",
                elem_classes="lead",
            )
            listed = gr.Radio([each.name for each in service.backbones.choices()], value=first.name, label="Backbones")
            again = gr.Button("Look for new runs", size="sm")
        with gr.Column(scale=3):
            shown = view("backbones.js", "backbone")

    def show(name: str, request: gr.Request) -> dict:
        with answering(service, request):
            entry = service.show_run(name, owner(request))
        run: RunShown = entry.payload
        choice, folder = run.choice, run.choice.folder
        return {
            "token": entry.token,
            "name": choice.name,
            "about": choice.about,
            "figures": {} if folder is None else figures(folder),
            "curves": {} if folder is None else curves(folder),
            "pictures": [each.name for each in run.pictures],
            "settings": "" if folder is None else settings(folder),
        }

    def choose(name: str, request: gr.Request) -> tuple[dict, str]:
        said = show(name, request)
        gr.Info(f"Segment and Correspond use {name} now.", duration=3)
        return said, name

    def look(name: str, request: gr.Request) -> tuple[dict, dict, str]:
        """What may be chosen now; what was chosen and is gone gives way to the usual one."""
        names = [each.name for each in service.backbones.choices()]
        name = name if name in names else names[0]
        return gr.update(choices=names, value=name), show(name, request), name

    page.load(show, listed, shown, api_visibility="private", queue=False)
    listed.input(choose, listed, [shown, chosen], api_visibility="private", queue=False)
    again.click(look, listed, [listed, shown, chosen], api_visibility="private", queue=False)
