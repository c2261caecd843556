"""`bloodsearch dashboard`: optuna-dashboard on the same storage, read-only by default."""

from __future__ import annotations

import secrets
import socket
from typing import Annotated

import typer

from .. import env
from ..env import storage_url
from . import output
from .options import StorageOption


def dashboard(
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8080,
    writable: Annotated[
        bool, typer.Option("--writable", help="Let visitors change and delete studies.")
    ] = False,
    token: Annotated[
        bool,
        typer.Option(
            "--token",
            help="Answer only visitors who know a token: a random one, or $BLOODSEARCH_DASHBOARD_TOKEN.",
        ),
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
    from ..dashboard.hosts import WILDCARDS, is_loopback, url
    from ..dashboard.server import serve
    from ..database.storage import open_storage

    opened = open_storage(storage_url(storage), create=False)
    secret = env.dashboard_token() or (secrets.token_urlsafe(24) if token else None)
    mode = "writable" if writable else "read-only"
    query = f"?token={secret}" if secret else ""

    def ready() -> None:
        output.message(f"{url(host, port)}{query} shows {opened.shown} ({mode}); Ctrl-C ends it")
        if host in WILDCARDS:
            output.message(f"from other machines: {url(socket.gethostname(), port)}{query}")
        if secret is None and not is_loopback(host):
            may = "change and delete" if writable else "read"
            output.message(
                f"anyone who reaches {host}:{port} can {may} the studies; --token prevents it"
            )

    serve(
        opened,
        host=host,
        port=port,
        writable=writable,
        ready=ready,
        allow_hosts=allow_host or (),
        token=secret,
    )
