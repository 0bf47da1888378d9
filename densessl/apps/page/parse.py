"""The tab that parses documents."""

from __future__ import annotations

import tempfile
from pathlib import Path

import gradio as gr

from densessl.apps.example import write_example
from densessl.apps.page.shared import PICTURES, WORK, answering, drop, owner, stopping, told, uploads, view
from densessl.apps.parsing import ENGINES, FORMATS, Asked, Parsed
from densessl.apps.service import Service
from densessl.apps.sessions import Entry
from densessl.documents.parsing import ocr
from densessl.errors import UserError

USUAL = ["json", "md", "html"]
ALSO = {
    "furniture": "headers and footers in Markdown and HTML",
    "words": "words and their places in JSON",
    "join_tables": "tables joined over page breaks",
    "reread": "OCR of pages that have text",
}
TITLES = {f".{suffix}": title for suffix, title in FORMATS.items()} | {".xml": "XML"}


def build(service: Service) -> None:
    """Its components and events."""
    known = _languages()
    with gr.Row():
        with gr.Column(scale=1, elem_classes="controls"):
            gr.Markdown("Read a document: what stands where, in reading order.", elem_classes="lead")
            file = drop(file_types=[".pdf", *PICTURES], label="Document", height=120, elem_id="parse-file")
            example = gr.Button("Take an example", size="sm")
            pages = gr.Textbox("", label="Pages", placeholder="all, or 1-3,7", max_lines=1)
            engine = gr.Radio([(title, name) for name, title in ENGINES.items()], value="auto", label="OCR")
            formats = gr.CheckboxGroup([(title, name) for name, title in FORMATS.items()], value=USUAL, label="Formats")
            with gr.Row():
                start = gr.Button("Parse", variant="primary", elem_id="parse-start")
                stop = gr.Button("Stop", min_width=60, scale=0)
            with gr.Accordion("More", open=False):
                languages = gr.Dropdown(
                    known,
                    multiselect=True,
                    label="Languages of scans",
                    info="English unless chosen",
                    visible=bool(known),
                )
                also = gr.CheckboxGroup([(title, name) for name, title in ALSO.items()], label="Also")
                password = gr.Textbox("", label="Password", type="password", max_lines=1)
        with gr.Column(scale=3):
            shown = view("pages.js", "pages")

    @told
    def read(
        file: str | None,
        pages: str,
        engine: str,
        formats: list[str],
        languages: list[str] | None,
        also: list[str],
        password: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - by which Gradio knows that it wants one
    ) -> dict:
        with answering(service, request, "parse", progress) as job:
            given = uploads(service, file, request)
            if not given:
                raise UserError("There is no document yet: drop a PDF, a TIFF or a picture of a page.")
            asked = Asked(
                pages, formats, engine, languages or (), **dict.fromkeys(also, True), password=password or None
            )
            entry = service.parse(given[0], asked, owner(request), job)
        return value(entry)

    def take(request: gr.Request) -> str:
        with answering(service, request), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "example.pdf"
            write_example(path)
            return service.example([path], owner(request))[0]

    example.click(take, None, file, api_visibility="private")
    work = gr.on(
        [start.click, pages.submit, password.submit],
        read,
        [file, pages, engine, formats, languages, also, password],
        shown,
        api_visibility="private",
        concurrency_id=WORK,
        trigger_mode="once",
    )
    stopping(service, stop, "parse", work)


def _languages() -> list[str]:
    """What can be chosen: nothing where Tesseract is not there, or does not work."""
    try:
        return ocr.languages()
    except UserError:
        return []


def value(entry: Entry) -> dict:
    """What the view of a parsed document draws. Words are left out: there are many, and blocks have their text."""
    found: Parsed = entry.payload
    pages = [
        {**page, "blocks": [{key: block[key] for key in block if key != "lines"} for block in page.get("blocks", ())]}
        for page in found.pages
    ]
    files = {TITLES.get(Path(name).suffix, name): name for name in found.files() if "/" not in name}
    return {
        "token": entry.token,
        "name": found.name,
        "count": found.count,
        "pages": pages,
        "files": files,
        "notes": found.notes,
    }
