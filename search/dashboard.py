"""optuna-dashboard behind a small filter.

optuna-dashboard 0.21 has no login: anyone who reaches it may delete a study. So it listens on
loopback and answers reads only, unless its owner says otherwise. It is given the cached storage: with an
URL it reads all trials again at every refresh (2.7 s at 3,000 trials).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .database.storage import Storage
from .errors import UsageError

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

READ_METHODS = ("GET", "HEAD", "OPTIONS")


def read_only(app: App) -> App:
    """`app` without everything that changes something: 405 for all methods but reads."""

    def filtered(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in READ_METHODS:
            return app(environ, start_response)
        body = b'{"reason": "this dashboard is read-only; start it with --writable"}'
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Allow", ", ".join(READ_METHODS)),
        ]
        start_response("405 Method Not Allowed", headers)
        return [body]

    return filtered


def make_app(storage: Storage, *, writable: bool) -> App:
    """The WSGI application for `storage`."""
    from optuna_dashboard import wsgi

    app: App = wsgi(storage.optuna)
    return app if writable else read_only(app)


def serve(
    storage: Storage, *, host: str, port: int, writable: bool, ready: Callable[[], None]
) -> None:
    """Serve until interrupted; calls `ready` once it listens.

    Raises UsageError when the address cannot be used.
    """
    import waitress

    app = make_app(storage, writable=writable)
    try:
        server = waitress.create_server(app, host=host, port=port, threads=8)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"cannot listen on {host}:{port} ({reason}); choose another --port"
        ) from None
    ready()
    try:
        server.run()
    finally:
        server.close()
