"""optuna-dashboard, served behind filters.

optuna-dashboard 0.21 has no login: anyone who reaches it may delete a study. So it listens on loopback,
accepts reads only, and answers only for host names it was started for. Without the last rule a web page
could make its own name point to this machine and read the studies (DNS rebinding). A read-only dashboard's
connections to the database cannot write either. optuna-dashboard is given the cached storage: with a URL
it reads all trials again at every refresh (seconds at 3,000 trials).
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Collection, Iterable
from typing import BinaryIO

from optuna.artifacts import FileSystemArtifactStore

from ..database.connections import refuse_writes
from ..database.storage import Storage
from ..errors import RefusedError, UsageError
from .artifacts import artifact_folder
from .filters import (
    NO_BUTTONS,
    NOTES,
    App,
    hardened,
    known_hosts_only,
    read_only,
    with_style,
    with_token,
)
from .hosts import allowed_authorities

READ_S = 5.0
"""Seconds for which the server reads trials before it says that it is ready."""


class _ReadOnlyStore(FileSystemArtifactStore):
    """A folder of artifacts that only serves them."""

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        raise RefusedError("this dashboard is read-only")

    def remove(self, artifact_id: str) -> None:
        raise RefusedError("this dashboard is read-only")


def make_app(
    storage: Storage, *, writable: bool, authorities: Collection[str], token: str | None = None
) -> App:
    """Return the WSGI application for `storage`, whose connections cannot write unless it is `writable`."""
    from optuna_dashboard import wsgi

    store = FileSystemArtifactStore if writable else _ReadOnlyStore
    app: App = hardened(wsgi(storage.optuna, artifact_store=store(artifact_folder(storage))))
    app = with_style(app, NOTES if writable else NOTES + NO_BUTTONS)
    if not writable:
        refuse_writes(storage.engine)
        app = read_only(app)
    if token is not None:
        app = with_token(app, token)
    return known_hosts_only(app, authorities)


def serve(
    storage: Storage,
    *,
    host: str,
    port: int,
    writable: bool,
    ready: Callable[[], None],
    allow_hosts: Iterable[str] = (),
    token: str | None = None,
) -> None:
    """Serve the dashboard until interrupted.

    Raises UsageError when the address or an entry of `allow_hosts` cannot be used.

    Args:
        storage: The database to show.
        host: The address to listen on.
        port: The port to listen on.
        writable: Whether visitors may change and delete studies.
        ready: Called once the server listens.
        allow_hosts: HOST or HOST:PORT of further names to answer for, as of a reverse proxy.
        token: What visitors must know; None for nothing.
    """
    import waitress

    authorities = allowed_authorities(host, port, allow_hosts)
    app = make_app(storage, writable=writable, authorities=authorities, token=token)
    try:
        server = waitress.create_server(app, host=host, port=port, threads=8)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"cannot listen on {host}:{port} ({reason}); choose another --port"
        ) from None
    reading = threading.Thread(target=_read_all, args=(storage,), daemon=True)
    reading.start()
    reading.join(READ_S)
    ready()
    try:
        server.run()
    finally:
        server.close()


def _read_all(storage: Storage) -> None:
    """Read all trials, so that the first page finds them in memory."""
    try:
        for study in storage.optuna.get_all_studies():
            storage.optuna.get_all_trials(study._study_id, deepcopy=False)
    except Exception:  # the page that needs them says what is wrong
        return
    gc.freeze()  # garbage is not looked for among them at each page
