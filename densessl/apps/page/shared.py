"""What the tabs share: uploads, errors as sentences, requests that can be stopped, and views."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from densessl.apps.guard import owner_of
from densessl.apps.jobs import FAILED, Job, Stopped
from densessl.apps.service import Service, Upload
from densessl.data.images import SUFFIXES
from densessl.errors import RunStopped, UserError

ASSETS = Path(__file__).parents[1] / "assets"
OTHER = "other"  # the kind of what has no button that stops it
WORK = "work"  # events that share the places for work
PICTURES = sorted(SUFFIXES)
UNFIT = "This is not what the call takes, or a file that is no longer kept: see Use via API, and upload files anew."


def drop(**settings: Any) -> gr.File:
    """A place for uploads, which takes no address of the internet for one: Gradio's own would fetch it.

    No class of its own, since Gradio writes a file beside the module of each class that is derived from its.
    """
    made = gr.File(**settings)
    whole = made.async_move_resource_to_block_cache
    one = {"path": "PATH/OF/UPLOAD.jpg", "meta": {"_type": "gradio.FileData"}}
    single = settings.get("file_count", "single") == "single"

    async def files_alone(path: str | Path | None) -> str | None:
        if path is not None and "://" in str(path):
            raise gr.Error("Addresses are not fetched: upload the file itself.", print_exception=False)
        return await whole(path)

    made.async_move_resource_to_block_cache = files_alone
    # What the description of the API shows.
    made.example_payload = lambda: one if single else [one]
    made.example_value = lambda: "photo.jpg" if single else ["photo.jpg"]
    return made


def view(script: str, name: str) -> gr.HTML:
    """What a script of the assets draws; its value is a dict with a token, or None."""
    code = (ASSETS / "common.js").read_text(encoding="utf-8") + (ASSETS / script).read_text(encoding="utf-8")
    return gr.HTML(
        None,
        html_template="<div class='view'></div>",
        js_on_load=code,
        apply_default_css=False,
        min_height=330,
        elem_id=name,
    )


def owner(request: gr.Request) -> str | None:
    """Whose request it is."""
    return owner_of(request.request.scope) if request is not None and request.request is not None else None


def page_of(request: gr.Request) -> str:
    """The page in a browser that it comes from."""
    return str(getattr(request, "session_hash", None) or "")


@contextmanager
def answering(
    service: Service, request: gr.Request, kind: str = OTHER, progress: gr.Progress | None = None
) -> Iterator[Job]:
    """A request as a job, whose errors reach the user as sentences; what is nobody's mistake goes to the log too.

    kind: by which it is stopped, with the page that it comes from.
    """
    # Asked whether it is there, and not whether it is true: a `gr.Progress` without a bar of its own is false.
    tell = (lambda share, what: None) if progress is None else (lambda share, what: progress(share, desc=what))
    job = service.job(tell)
    try:
        with service.jobs.running(page_of(request), kind, job):
            yield job
    except Stopped as error:
        if kind != OTHER:  # the button has said so
            raise
        raise gr.Error(str(error), print_exception=False, title="Stopped") from None
    except (UserError, RunStopped) as error:
        raise gr.Error(str(error), print_exception=False, title="This does not work") from None
    except gr.Error:
        raise
    except Exception:
        traceback.print_exc(file=sys.stderr)
        raise gr.Error(FAILED, print_exception=False, title="This does not work") from None


def told(work: Callable[..., dict]) -> Callable[..., dict]:
    """The work of a tab, whose errors stand in the place of its result: nothing older stays there, nor does the reason
    go away. What was stopped changes nothing."""

    @functools.wraps(work)
    def whole(*given: Any, **more: Any) -> Any:
        try:
            return work(*given, **more)
        except Stopped:
            return gr.skip()
        except gr.Error as error:
            gr.Warning(error.message, duration=6, title=error.title)
            return {"trouble": error.message}

    return whole


def stopping(service: Service, button: gr.Button, kind: str, work: gr.events.Dependency) -> None:
    """Have a button end the work of its tab, whether it is under way or waits in the queue."""

    def stop(request: gr.Request) -> None:
        service.jobs.stop(page_of(request), kind)

    def say() -> None:
        gr.Info("Stopped.", duration=3)

    # Even where the queue is full; but only what comes by the queue can say something.
    button.click(stop, None, None, queue=False, cancels=[work], api_visibility="private")
    button.click(say, None, None, concurrency_limit=None, api_visibility="private")


def example(service: Service, paths: Sequence[Path]) -> Callable[[gr.Request], list[str]]:
    """What an example's button calls: the files become uploads of whoever presses it."""

    def take(request: gr.Request) -> list[str]:
        with answering(service, request):
            return service.example(paths, owner(request))

    return take


def sentences(page: gr.Blocks) -> None:
    """Have whoever calls the API with what it does not take get a sentence, rather than what Gradio says to itself.

    What a call leaves out at its end is as usual, so that calls written before there was more of it still work.
    """
    whole = page.preprocess_data

    async def preprocess(call: Any, given: Sequence[Any], *more: Any, **others: Any) -> list[Any]:
        try:
            usual = [each.value for each in call.inputs[len(given) :]]
            return await whole(call, [*given, *usual], *more, **others)
        except gr.Error:
            raise
        except Exception:
            raise gr.Error(UNFIT, print_exception=False) from None

    page.preprocess_data = preprocess


def uploads(service: Service, files: Sequence[str] | str | None, request: gr.Request) -> list[Upload]:
    """The files of a `drop`."""
    given = [files] if isinstance(files, str) else list(files or ())
    return service.uploads(given, owner(request))
