"""What stands between the network and the page: whose request it is, which files it may have, and what it may not ask.

Every browser gets a cookie with 128 random bits; what it uploads and what is made for it is given to that cookie alone.
A program that sends no cookie is known by nothing, and its results are found by their random names alone. Results are
served here, by `Files`, not by Gradio, whose own way to a file is closed but for a user's own uploads. So are those of
its ways that fetch addresses of the internet or develop applications. The header of every answer forbids the page to
load anything from elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from http.cookies import SimpleCookie

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from densessl.apps.files import Files
from densessl.apps.service import Service
from densessl.apps.sessions import COOKIE, IDLE, NO_ROOM

CLOSED = re.compile(
    r"(/gradio_api)?/(proxy=|stream/|process_recording|vibe-|undo-vibe|monitoring|dev/|deep_link|component_server"
    r"|custom_component|runs)"
)
FILE = re.compile(r"/file[=/](?P<path>.*)")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
FULL = NO_ROOM.format("uploads")
BODY = 1 << 20  # bytes of a request that is no upload
STEP = 16 << 20  # bytes of an upload after which it is asked again whether there is room
MORE = 1e6  # bytes of an upload beside its files: their names, and what stands between them
WHOLE = 1 << 20  # bytes of an answer to an upload, which lists paths


class _Ended(Exception):
    """An upload that is not taken to its end."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status, self.sentence = status, sentence


class Guard:
    """ASGI middleware around Gradio's application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.sessions, self.files = app, service.sessions, Files(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        owner, path = owner_of(scope), scope["path"]
        scope["owner"] = owner
        fresh = None if owner else secrets.token_hex(16)
        send = _answering(send, fresh)
        upload = path.rstrip("/").endswith("/upload") and scope["method"] == "POST"
        if CLOSED.match(path) or not self._may_have(path, owner):
            await PlainTextResponse("There is nothing here.", 404)(scope, receive, send)
        elif refused := await self._refused(scope, upload):
            await refused(scope, receive, send)
        elif path.startswith("/files/"):
            await self.files(scope, receive, send)
        elif upload:
            await self._upload(scope, receive, self._noting(send, {owner, fresh or owner}))
        else:
            await self.app(scope, receive, send)

    async def _refused(self, scope: Scope, upload: bool) -> PlainTextResponse | None:
        """What to say to a request with a body that is too long for it."""
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return None
        length, config = _length(scope), self.sessions.config
        if length is None:
            return PlainTextResponse("A request says how long it is, by the header Content-Length.", 411)
        if not upload:
            return PlainTextResponse("This is too long.", 413) if length > BODY else None
        if length > config.pictures * config.file_size * 1e6 + MORE:
            most = f"{config.pictures} files of {config.file_size:g} MB"
            return PlainTextResponse(f"This is more than an upload may have, {most}: give less at a time.", 413)
        if await run_in_threadpool(self.sessions.room) < length:
            return PlainTextResponse(FULL, 507)
        return None

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take an upload as long as there is room and something comes."""
        asked = started = 0

        async def counted() -> Message:
            nonlocal asked
            try:
                message = await asyncio.wait_for(receive(), IDLE)
            except TimeoutError:
                raise _Ended(408, "Nothing has come for a while: upload it again.") from None
            asked += len(message.get("body", b""))
            if asked >= STEP:  # others may have come meanwhile
                asked = 0
                if await run_in_threadpool(self.sessions.room) <= 0:
                    raise _Ended(507, FULL)
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started += message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except ClientDisconnect:  # what came of it is removed with what is old
            return
        except _Ended as error:
            if not started:
                await PlainTextResponse(error.sentence, error.status)(scope, receive, send)

    def _may_have(self, path: str, owner: str | None) -> bool:
        found = FILE.search(path)
        return found is None or self.sessions.may_read(found["path"], owner)

    def _noting(self, send: Send, owners: set[str | None]) -> Send:
        """Note the paths of an upload as these owners': of who has no cookie yet, with and without the one they get."""
        body = bytearray()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.body":
                body.extend(message.get("body", b"")[: WHOLE - len(body)])
                if not message.get("more_body"):
                    for each in _paths(bytes(body)):
                        for owner in owners:
                            self.sessions.uploaded(each, owner)
            await send(message)

        return noting


def _length(scope: Scope) -> int | None:
    """Bytes of a request's body; None where it does not say."""
    given = dict(scope["headers"]).get(b"content-length", b"")
    return int(given) if re.fullmatch(rb"\d{1,15}", given) else None


def owner_of(scope: Scope) -> str | None:
    """The user of a request by its cookie."""
    for name, value in scope["headers"]:
        if name == b"cookie":
            cookie = SimpleCookie()
            try:
                cookie.load(value.decode("latin-1"))
            except Exception:  # what a stranger sends for a cookie
                continue
            if COOKIE in cookie and re.fullmatch("[0-9a-f]{32}", cookie[COOKIE].value):
                return cookie[COOKIE].value
    return None


def _answering(send: Send, cookie: str | None) -> Send:
    """Put the headers on an answer, and a cookie for who has none."""

    async def answering(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("Content-Security-Policy", POLICY)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
            if cookie:
                headers.append("Set-Cookie", f"{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Lax")
        await send(message)

    return answering


def _paths(body: bytes) -> list[str]:
    try:
        found = json.loads(body)
    except ValueError:
        return []
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
