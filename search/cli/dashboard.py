"""`bloodsearch dashboard`: optuna-dashboard on the same storage, read-only unless asked otherwise."""

from __future__ import annotations

from typing import Annotated

import typer

from . import output
from .options import DebugOption, StorageOption, storage_url


def dashboard(
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8080,
    writable: Annotated[
        bool, typer.Option("--writable", help="Let visitors change and delete studies.")
    ] = False,
    storage: StorageOption = None,
    debug: DebugOption = False,
) -> None:
    """Browse the studies in optuna-dashboard, on this machine only unless --host says otherwise."""
    from ..dashboard import serve
    from ..database.storage import open_storage

    opened = open_storage(storage_url(storage), create=False)
    mode = "writable" if writable else "read-only"
    told = f"http://{host}:{port}/ shows {opened.shown} ({mode}); Ctrl-C ends it"
    serve(opened, host=host, port=port, writable=writable, ready=lambda: output.message(told))
