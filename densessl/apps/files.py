"""Results, by their tokens: `/files/TOKEN/...`. Masks and pages are made when they are asked for."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from densessl.apps.jobs import FAILED
from densessl.apps.making import Ask, Busy, Makers
from densessl.apps.parsing import Parsed
from densessl.apps.resemblance import Heat, Resemblance
from densessl.apps.segments import Segmentation
from densessl.apps.service import RunShown, Service
from densessl.apps.sessions import GONE, NO_ROOM, Entry, Gone
from densessl.errors import UserError
from densessl.files import FULL, stems

EDITS = 1 << 16  # bytes of edits
# Of what is downloaded nothing may run, wherever it is opened.
STILL = {"Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "private, no-store"}
SHOWN = {"Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "private, max-age=3600"}
MADE = "made"  # the folder of files that are made to be sent: none is made in that of a result, which may be removed


@dataclass(frozen=True)
class Making:
    """A file that is not there yet. write: makes it, within the entry's result. headers: with which it is sent.

    kept: where it stays; None where it is removed once it is sent.
    """

    entry: Entry
    write: Callable[[Path, Ask], None]
    name: str
    headers: dict[str, str]
    kept: Path | None = None


class Files:
    """ASGI application. What goes wrong is a sentence.

    400: a wrong request. 404: what is not there, or no longer. 503: what takes too long or has no room, at this moment.
    """

    def __init__(self, service: Service) -> None:
        self.service, self.sessions = service, service.sessions
        folder, most = self.sessions.root / MADE, service.config.queue
        folder.mkdir(exist_ok=True)
        # Their own threads: whoever downloads does not wait for documents of others, which take minutes. Pages are
        # drawn one at a time in any case, and who waits for one holds up no download.
        self._downloads, self._pages = Makers(service.engine.cores, folder, most), Makers(1, folder, most)

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
        sending = _Sending(send)
        try:
            entry = self.sessions.find(token, scope["owner"])
            answer = await run_in_threadpool(self._answer, entry, "/".join(rest).strip("/"), request, body)
            if isinstance(answer, Making):
                await self._make(answer, scope, receive, sending)
            else:
                await answer(scope, receive, sending)
        except Exception as error:
            if sending.begun:
                raise
            await self._sentence(error, token, scope["owner"])(scope, receive, send)

    async def _make(self, asked: Making, scope: Scope, receive: Receive, send: Send) -> None:
        makers = self._downloads if asked.kept is None else self._pages

        def write(path: Path, ask: Ask) -> None:
            if asked.kept is not None and asked.kept.is_file():  # made while this one waited
                return
            ask()
            if self.sessions.room() <= 0:
                raise Busy(NO_ROOM.format("this file"))
            asked.write(path, ask)
            if asked.kept is not None:
                os.replace(path, asked.kept)
            self._check_kept(asked.entry)

        if asked.kept is None:  # parts of it would be parts of files that are made anew, and may differ
            scope = {**scope, "headers": [each for each in scope["headers"] if each[0] != b"range"]}
        async with makers.made(write, Path(asked.name).suffix, self.service.job(), receive) as path:
            await _file(asked.kept or path, asked.headers, _type(asked.name))(scope, receive, send)

    def _check_kept(self, entry: Entry) -> None:
        """Raise `Gone` for a result that was removed meanwhile, perhaps as something was written into its folder."""
        try:
            self.sessions.find(entry.token, entry.owner)
        except Gone:
            shutil.rmtree(entry.folder, ignore_errors=True)
            raise

    def _sentence(self, error: Exception, token: str, owner: str | None) -> Response:
        """What is said of an error. Of a result that was removed meanwhile it is that, whatever else went wrong."""
        try:
            self.sessions.find(token, owner)
        except Gone as gone:
            return PlainTextResponse(str(gone), 404)
        if isinstance(error, UserError):
            return PlainTextResponse(str(error), 503 if isinstance(error, Busy) else 400)
        if isinstance(error, FileNotFoundError):
            return PlainTextResponse(GONE, 404)
        if isinstance(error, OSError) and error.errno in FULL:
            return PlainTextResponse(NO_ROOM.format("this file"), 503)
        traceback.print_exception(error, file=sys.stderr)
        return PlainTextResponse(FAILED, 500)

    def _answer(self, entry: Entry, what: str, request: Request, body: bytes) -> Response | Making:
        payload = entry.payload
        if re.fullmatch(r"(shown|map)-\d+\.(jpg|png)", what) and (entry.folder / what).is_file():
            return _file(entry.folder / what, SHOWN)
        if isinstance(payload, Segmentation):
            return self._segmentation(entry, payload, what, body if request.method == "POST" else None)
        if isinstance(payload, Resemblance) and what == "heat":
            return JSONResponse([_heat(each) for each in payload.heats(*_place(request))])
        if isinstance(payload, Parsed):
            return self._parsed(entry, payload, what)
        if isinstance(payload, RunShown) and (number := _number(r"run/(\d+)", what, len(payload.pictures))) is not None:
            return _file(payload.pictures[number], SHOWN)
        return _nothing()

    def _segmentation(self, entry: Entry, found: Segmentation, what: str, body: bytes | None) -> Response | Making:
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
            return _made(entry, f"{names[number]}.png", lambda path, ask: found.write_mask(path, number))
        if (number := _number(r"overlay/(\d+)\.jpg", what, count)) is not None:
            return _made(entry, f"{names[number]}.jpg", lambda path, ask: found.write_overlay(path, number))
        if what == "coco.json":
            return _made(entry, what, found.write_coco)
        if what == "segments.zip":
            return _made(entry, what, found.write_zip)
        return _nothing()

    def _parsed(self, entry: Entry, found: Parsed, what: str) -> Response | Making:
        page = re.fullmatch(r"page/(\d{1,6})\.jpg", what)
        if page and int(page[1]) in found.numbers:
            number = int(page[1])
            path = entry.folder / f"page-{number}.jpg"
            if path.is_file():
                return _file(path, SHOWN)
            found.check_page(number)
            return Making(entry, lambda made, ask: found.write_page(made, number), path.name, SHOWN, path)
        if what == "parsed.zip":
            return _made(entry, f"{found.source.stem}.zip", found.write_zip)
        files = found.files()
        name = what.removeprefix("out/")
        if what.startswith("out/") and name in files:
            return _file(files[name], STILL | _named(Path(name).name), _type(name))
        name = what.removeprefix("figure/")
        # Nothing else that was written of a document is shown: it could be a page with a script.
        if what.startswith("figure/") and name in files and re.search(r"-figures/[^/]+\.(png|jpg)$", name):
            return _file(files[name], SHOWN)
        return _nothing()


class _Sending:
    """Sends an answer once it has bytes, so that one whose file is gone can still be another. begun: whether it has."""

    def __init__(self, send: Send) -> None:
        self._send, self._start, self.begun = send, None, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if not self.begun:
            self.begun = True
            await self._send(self._start)
        await self._send(message)


def _made(entry: Entry, name: str, write: Callable[[Path, Ask], None]) -> Making:
    """A file that is made for one request alone, and is to be kept by whoever asked."""
    return Making(entry, write, name, STILL | _named(name) | {"Accept-Ranges": "none"})


def _file(path: Path, headers: dict[str, str], type_: str | None = None) -> Response:
    """Raises `FileNotFoundError`."""
    return FileResponse(path, headers=headers, media_type=type_, stat_result=os.stat(path))


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
