"""The tab that shows backbones and chooses one."""

from __future__ import annotations

import gradio as gr

from densessl.apps.backbones import curves, figures, pictures, settings
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
            choice = service.backbones.choice(name)
            found = [] if choice.folder is None else pictures(choice.folder)
            entry = service.sessions.begin(owner(request))
            service.sessions.hold(entry, RunShown(choice, found), 0)
            return {
                "token": entry.token,
                "name": choice.name,
                "about": choice.about,
                "figures": {} if choice.folder is None else figures(choice.folder),
                "curves": {} if choice.folder is None else curves(choice.folder),
                "pictures": [each.name for each in found],
                "settings": "" if choice.folder is None else settings(choice.folder),
            }

    def choose(name: str, request: gr.Request) -> tuple[dict, str]:
        said = show(name, request)
        gr.Info(f"Segment and Correspond use {name} now.", duration=3)
        return said, name

    def look(name: str) -> dict:
        names = [each.name for each in service.backbones.choices()]
        return gr.update(choices=names, value=name if name in names else names[0])

    page.load(show, listed, shown, api_visibility="private", queue=False)
    listed.input(choose, listed, [shown, chosen], api_visibility="private", queue=False)
    again.click(look, listed, listed, api_visibility="private", queue=False)
