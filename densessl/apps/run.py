"""`densessl app`: the application served until it is told to end."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import threading
import webbrowser
from collections.abc import Callable

from densessl.apps.config import AppConfig
from densessl.apps.service import Service
from densessl.errors import UserError

SYSTEM = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Cantarell", "DejaVu Sans", "sans-serif")
FIXED = ("ui-monospace", "SFMono-Regular", "DejaVu Sans Mono", "monospace")
SAY = functools.partial(print, flush=True)
# What buttons of Gradio's are called by a key that it has no words for.
UNTRANSLATED = {"common.upload": "Add files"}
# Gradio reads these when it is imported.
QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


def serve(
    config: AppConfig,
    host: str = "127.0.0.1",
    port: int | None = 7860,
    share: bool = False,
    say: Callable[[str], None] = SAY,
    show: bool = False,
) -> None:
    """Serve until Ctrl-C or SIGTERM, and leave nothing behind.

    port: None takes a free one. share: also by an address of the internet that Gradio lends for some days, which needs
    a network connection. show: open it in a browser. Raises `UserError` when the port is taken or a backbone cannot be
    loaded.
    """
    ended = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: ended.set())
    application = Application(config, host, port, share)
    try:
        say(f"densessl serves on {application.url} ({application.service.engine.description}). Ctrl-C ends it.")
        if show:
            webbrowser.open(application.url)
        if application.shared:
            say(f"For some days also on {application.shared}, for everyone who knows this address.")
        ended.wait()
    finally:
        application.close()
    # All is closed and removed; threads of the web server would wait on for browsers that hold a connection open.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class Application:
    """The application, being served. url: where. shared: the address of the internet, None without."""

    def __init__(
        self, config: AppConfig, host: str = "127.0.0.1", port: int | None = None, share: bool = False
    ) -> None:
        self.service = Service(config)
        try:
            # What is wrong with it is said now, and the first user waits less.
            self.service.engine.load(config.backbone)
            self.service.engine.detector()
            self._launch(host, port, share)
        except BaseException:
            self.service.close()
            raise

    def _launch(self, host: str, port: int | None, share: bool) -> None:
        # A process has one such folder: it is that of the application that was started last, until that ends.
        self._before = os.environ.get("GRADIO_TEMP_DIR", "")
        os.environ |= QUIET | {"GRADIO_TEMP_DIR": str(self.service.sessions.uploads)}
        import gradio as gr
        from starlette.middleware import Middleware

        from densessl.apps.guard import Guard
        from densessl.apps.page import build
        from densessl.apps.page.shared import ASSETS

        logging.getLogger("httpx").setLevel(logging.WARNING)
        fonts = [[gr.themes.Font(name) for name in names] for names in (SYSTEM, FIXED)]
        theme = gr.themes.Base(
            primary_hue="teal", neutral_hue="slate", radius_size="lg", font=fonts[0], font_mono=fonts[1]
        ).set(
            button_primary_background_fill="*primary_700",
            button_primary_background_fill_hover="*primary_600",
            button_primary_text_color="white",
            block_shadow="none",
            body_text_color_subdued="*neutral_500",
            body_text_color_subdued_dark="*neutral_400",
        )
        self.page = build(self.service)
        try:
            _, self.url, self.shared = self.page.launch(
                server_name=host,
                server_port=port,
                share=share,
                prevent_thread_lock=True,
                quiet=True,
                inbrowser=False,
                show_error=False,  # errors that are meant for users are shown nonetheless
                max_file_size=int(self.service.config.file_size * 1e6),
                ssr_mode=False,
                enable_monitoring=False,
                footer_links=["api"],
                i18n=gr.I18n(en=UNTRANSLATED),
                theme=theme,
                css_paths=[ASSETS / "style.css"],
                app_kwargs={"middleware": [Middleware(Guard, service=self.service)]},
            )
        except (OSError, OverflowError):
            what = "any port" if port is None else f"port {port}"
            raise UserError(
                f"Nothing can be served on {host}, {what}: it is in use, or there is none such here. Give another "
                "--port or --host."
            ) from None

    def close(self) -> None:
        """End it, and remove all files."""
        self.page.close(verbose=False)
        self.service.close()
        os.environ["GRADIO_TEMP_DIR"] = self._before
