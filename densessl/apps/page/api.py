"""The API: `/segment`, `/correspond`, `/parse` and `/backbones`, whose names and results stay.

Results are JSON, of the types in `densessl.apps.results`; files in them are addresses below the application's own,
`files/TOKEN/...`, to be fetched by whoever asked until they are removed. From Python:

    from gradio_client import Client, handle_file

    client = Client("http://127.0.0.1:7860")
    found = client.predict([handle_file("photo.jpg")], "6", "kmeans", "", api_name="/segment")

and from a shell, where -b and -c keep the cookie by which results are theirs:

    app=http://127.0.0.1:7860
    path=$(curl -s -b jar -c jar -F files=@photo.jpg $app/gradio_api/upload | tr -d '[]"')
    data='{"data": [[{"path": "'$path'", "meta": {"_type": "gradio.FileData"}}], "6", "kmeans", ""]}'
    call=$(curl -s -b jar -c jar -H "Content-Type: application/json" -d "$data" $app/gradio_api/call/segment)
    curl -s -N -b jar $app/gradio_api/call/segment/$(echo $call | cut -d '"' -f 4)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import gradio as gr

from densessl.apps.page.shared import WORK, answering, drop, owner, uploads
from densessl.apps.parsing import FLAGS, Asked
from densessl.apps.results import CorrespondResult, ListedBackbone, ParseResult, SegmentResult
from densessl.apps.service import Service
from densessl.errors import UserError


def build(service: Service) -> None:
    """Endpoints without anything to be seen."""

    def segment(
        pictures: list[str], segments: str = "6", method: str = "kmeans", backbone: str = "", request: gr.Request = None
    ) -> SegmentResult:
        """Segments of pictures, found without a label.

        pictures: uploaded files. segments: 2 to 40, or "auto". method: "kmeans" or "spectral". backbone: a name of
        /backbones, or "" for the application's. Returns {"token", "pictures": [{"name", "width", "height", "mask",
        "overlay", "shares"}], "segments": [{"index", "name", "colour", "share"}], "coco", "zip", "notes"}.
        """
        with answering(service, request) as job:
            entry = service.segment(
                uploads(service, pictures, request), segments, method, backbone, owner(request), job
            )
        base, found = f"files/{entry.token}", entry.payload
        return {
            "token": entry.token,
            "pictures": [
                {
                    "name": each.name,
                    "width": each.width,
                    "height": each.height,
                    "mask": f"{base}/mask/{number}.png",
                    "overlay": f"{base}/overlay/{number}.jpg",
                    "shares": list(each.shares),
                }
                for number, each in enumerate(found.pictures)
            ],
            "segments": [
                {"index": each.index, "name": each.name, "colour": each.colour, "share": each.share}
                for each in found.segments
            ],
            "coco": f"{base}/coco.json",
            "zip": f"{base}/segments.zip",
            "notes": found.notes,
        }

    def correspond(
        pictures: list[str],
        picture: int = 0,
        x: float = 0.5,
        y: float = 0.5,
        backbone: str = "",
        request: gr.Request = None,
    ) -> CorrespondResult:
        """What in all pictures resembles a place in one of them.

        pictures: uploaded files. picture: the number of the one, from 0. x, y: the place, as shares of its width and
        height from the left upper corner. backbone: as of /segment. Returns {"token", "pictures": [{"name", "width",
        "height", "rows", "columns", "cosines", "best"}], "backbone", "notes"}: cosines (-1 to 1) row by row of a map
        that covers the picture, best the place [x, y] most alike. GET files/TOKEN/heat?picture=0&x=0.5&y=0.5
        answers for other places, with values as 127ths in base64.
        """
        with answering(service, request) as job:
            given = uploads(service, pictures, request)
            if not all(isinstance(each, int | float) for each in (picture, x, y)) or picture != picture // 1:
                raise UserError("Say where: the number of a picture from 0, and x and y from 0 to 1.")
            if not 0 <= picture < len(given):
                raise UserError(f"There is no picture {picture:g}: they are numbered 0 to {len(given) - 1}.")
            entry = service.correspond(given, backbone, owner(request), job)
            heats = entry.payload.heats(int(picture), x, y)
        record = entry.payload.record()
        for each, heat in zip(record["pictures"], heats, strict=True):
            each.pop("image")
            each.update(asdict(heat))
        return {"token": entry.token, **record}

    def parse(
        document: str,
        pages: str = "",
        formats: Sequence[str] = ("json", "md", "html"),
        engine: str = "auto",
        languages: Sequence[str] = (),
        reread: bool = False,
        furniture: bool = False,
        words: bool = False,
        join_tables: bool = False,
        password: str = "",
        request: gr.Request = None,
    ) -> ParseResult:
        """What a document consists of, page by page, in reading order.

        document: an uploaded PDF, TIFF or picture. pages: such as "1-3,7"; "" for all. formats: of json, md, html,
        coco, hocr, alto, page; JSON is always among them. engine: "auto", "tesseract", "rapidocr" or "none".
        languages, reread, furniture, words, join_tables: as `densessl parse` has them. password: of a PDF that needs
        one. Returns {"token", "name", "count", "pages", "files": {name: address}, "zip", "notes"}; pages as `densessl
        parse` has them in its JSON.
        """
        with answering(service, request) as job:
            given = uploads(service, document, request)
            if not given:
                raise UserError("There is no document: upload one and give its path.")
            asked = Asked(
                pages, formats, engine, languages or (), reread, furniture, words, join_tables, password or None
            )
            entry = service.parse(given[0], asked, owner(request), job)
        base, found = f"files/{entry.token}", entry.payload
        return {
            "token": entry.token,
            "name": found.name,
            "count": found.count,
            "pages": found.pages,
            "files": {name: f"{base}/out/{name}" for name in found.files()},
            "zip": f"{base}/parsed.zip",
            "notes": found.notes,
        }

    def backbones() -> list[ListedBackbone]:
        """The backbones that /segment and /correspond take: {"name", "kind", "about"} of each, the usual one first."""
        with answering(service, None):
            choices = service.backbones.choices()
        return [{"name": each.name, "kind": each.kind, "about": each.about} for each in choices]

    with gr.Column(visible=False):
        answer = gr.JSON(label="result")
        pictures = drop(file_count="multiple", label="pictures")
        document = drop(label="document")
        backbone = gr.Textbox("", label="backbone")
        segmenting = [pictures, gr.Textbox("6", label="segments"), gr.Textbox("kmeans", label="method"), backbone]
        places = [gr.Number(value, label=name) for name, value in (("picture", 0), ("x", 0.5), ("y", 0.5))]
        formats = gr.JSON(["json", "md", "html"], label="formats")
        parsing = [document, gr.Textbox("", label="pages"), formats, gr.Textbox("auto", label="engine")]
        parsing += [gr.JSON([], label="languages"), *(gr.Checkbox(False, label=name) for name in FLAGS)]
        parsing += [gr.Textbox("", label="password", type="password")]
        ask = gr.Button()
        ask.click(segment, segmenting, answer, api_name="segment", concurrency_id=WORK)
        ask.click(correspond, [pictures, *places, backbone], answer, api_name="correspond", concurrency_id=WORK)
        ask.click(parse, parsing, answer, api_name="parse", concurrency_id=WORK)
        ask.click(backbones, None, answer, api_name="backbones")
