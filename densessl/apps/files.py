"""Results, by their tokens: `/files/TOKEN/...`. Masks and pages are made when they are asked for."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from densessl.apps.parsing import Parsed
from densessl.apps.resemblance import Heat, Resemblance
from densessl.apps.segments import Segmentation
from densessl.apps.service import RunShown, Service
from densessl.apps.sessions import Entry, Gone
from densessl.errors import UserError
from densessl.files import stems

EDITS = 1 << 16  # bytes of edits
# Of what is downloaded nothing may run, wherever it is opened.
STILL = {"Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "private, no-store"}
SHOWN = {"Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "private, max-age=3600"}


class Files:
    """ASGI application. A mistake is a sentence: 400 for a wrong request, 404 for what is not there."""

    def __init__(self, service: Service) -> None:
        self.service = service
        # Their own places: whoever downloads does not wait for documents of others, which take minutes.
        self._places = threading.Semaphore(service.engine.cores)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        _, _, token, *rest = request.url.path.split("/") + ["", ""]
        body = b""
        if request.method == "POST":
            async for chunk in request.stream():
                body += chunk
                if len(body) > EDITS:
                    await PlainTextResponse("This is too long.", 413)(scope, receive, send)
                    return
        try:
            entry = self.service.sessions.find(token, scope["owner"])
            answer = await run_in_threadpool(self._answer, entry, "/".join(rest).strip("/"), request, body)
        except Gone as error:
            answer = PlainTextResponse(str(error), 404)
        except UserError as error:
            answer = PlainTextResponse(str(error), 400)
        except FileNotFoundError:  # removed while it was asked for
            answer = PlainTextResponse("This result is no longer kept: run it again.", 404)
        await answer(scope, receive, send)

    def _answer(self, entry: Entry, what: str, request: Request, body: bytes) -> Response:
        payload = entry.payload
        if re.fullmatch(r"(shown|map)-\d+\.(jpg|png)", what) and (entry.folder / what).is_file():
            return FileResponse(entry.folder / what, headers=SHOWN)
        if isinstance(payload, Segmentation):
            return self._segmentation(entry, payload, what, body if request.method == "POST" else None)
        if isinstance(payload, Resemblance) and what == "heat":
            return JSONResponse([_heat(each) for each in payload.heats(*_place(request))])
        if isinstance(payload, Parsed):
            return self._parsed(entry, payload, what)
        if isinstance(payload, RunShown) and (number := _number(r"run/(\d+)", what, len(payload.pictures))) is not None:
            return FileResponse(payload.pictures[number], headers=SHOWN)
        return _nothing()

    def _segmentation(self, entry: Entry, found: Segmentation, what: str, body: bytes | None) -> Response:
        if what == "edits" and body is not None:
            try:
                edits = json.loads(body)
            except (ValueError, RecursionError):
                raise UserError("Edits are a list of objects with name, colour and into, as JSON.") from None
            found.edit(edits)
            return JSONResponse(found.record()["segments"])
        names = stems([each.name for each in found.pictures])
        count = len(found.pictures)
        if (number := _number(r"mask/(\d+)\.png", what, count)) is not None:
            return self._made(entry, f"{names[number]}.png", lambda path: found.write_mask(path, number))
        if (number := _number(r"overlay/(\d+)\.jpg", what, count)) is not None:
            return self._made(entry, f"{names[number]}.jpg", lambda path: found.write_overlay(path, number))
        if what == "coco.json":
            return self._made(entry, what, found.write_coco)
        if what == "segments.zip":
            return self._made(entry, what, found.write_zip)
        return _nothing()

    def _parsed(self, entry: Entry, found: Parsed, what: str) -> Response:
        page = re.fullmatch(r"page/(\d{1,6})\.jpg", what)
        if page and int(page[1]) in found.numbers:
            path = entry.folder / f"page-{int(page[1])}.jpg"
            if not path.is_file():
                found.write_page(path, int(page[1]))
            return FileResponse(path, headers=SHOWN)
        if what == "parsed.zip":
            return self._made(entry, f"{found.source.stem}.zip", found.write_zip)
        files = found.files()
        name = what.removeprefix("out/")
        if what.startswith("out/") and name in files:
            return _download(files[name], Path(name).name)
        name = what.removeprefix("figure/")
        # Nothing else that was written of a document is shown: it could be a page with a script.
        if what.startswith("figure/") and name in files and re.search(r"-figures/[^/]+\.(png|jpg)$", name):
            return FileResponse(files[name], headers=SHOWN)
        return _nothing()

    def _made(self, entry: Entry, name: str, write: Callable[[Path], None]) -> Response:
        """A file that is made for this request alone."""
        path = entry.folder / f"asked-{np.random.default_rng().integers(1 << 62):x}{Path(name).suffix}"
        with self._places:
            write(path)
        try:
            data = path.read_bytes()
        finally:
            path.unlink(missing_ok=True)
        return Response(data, headers=STILL | _named(name), media_type=_type(name))


def _download(path: Path, name: str) -> Response:
    return FileResponse(path, headers=STILL | _named(name), media_type=_type(name))


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=utf-8''{quote(name)}"}


def _type(name: str) -> str:
    """What a file is said to be; texts are plain, whatever they hold."""
    known = {".png": "image/png", ".jpg": "image/jpeg", ".json": "application/json", ".zip": "application/zip"}
    return known.get(Path(name).suffix.lower(), "text/plain; charset=utf-8")


def _number(pattern: str, what: str, count: int) -> int | None:
    """The number in a path, if it is below `count`."""
    found = re.fullmatch(pattern, what)
    if found is None or len(found[1]) > 6 or int(found[1]) >= count:
        return None
    return int(found[1])


def _place(request: Request) -> tuple[int, float, float]:
    given = request.query_params
    try:
        return int(given.get("picture", "")), float(given.get("x", "")), float(given.get("y", ""))
    except ValueError:
        raise UserError("Say where: picture=0&x=0.5&y=0.5, shares of the picture's width and height.") from None


def _heat(heat: Heat) -> dict:
    """Cosines as 127ths in bytes, base64."""
    values = np.round(np.array(heat.cosines) * 127).astype(np.int8)
    return {
        "rows": heat.rows,
        "columns": heat.columns,
        "values": base64.b64encode(values.tobytes()).decode("ascii"),
        "best": heat.best,
    }


def _nothing() -> Response:
    return PlainTextResponse("There is nothing here.", 404)
