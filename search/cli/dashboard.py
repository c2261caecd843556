"""`bloodsearch dashboard`: optuna-dashboard on the same storage, read-only by default."""

from __future__ import annotations

from typing import Annotated

import typer

from ..env import storage_url
from . import output
from .options import StorageOption


def dashboard(
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8080,
    writable: Annotated[
        bool, typer.Option("--writable", help="Let visitors change and delete studies.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="HOST[:PORT]",
            help="Answer for this name too, as of a reverse proxy; repeatable.",
        ),
    ] = None,
    storage: StorageOption = None,
) -> None:
    """Browse the studies in optuna-dashboard, on this machine only unless --host says otherwise.

    It answers only for the names and the port it was started with; others get status 403.
    """
    from ..dashboard import serve
    from ..database.storage import open_storage

    opened = open_storage(storage_url(storage), create=False)
    mode = "writable" if writable else "read-only"
    shown = "127.0.0.1" if host == "0.0.0.0" else host
    text = f"http://{shown}:{port}/ shows {opened.shown} ({mode}); Ctrl-C ends it"
    serve(
        opened,
        host=host,
        port=port,
        writable=writable,
        ready=lambda: output.message(text),
        allow_hosts=allow_host or (),
    )
