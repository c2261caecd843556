"""optuna-dashboard behind two small filters.

optuna-dashboard 0.21 has no login: anyone who reaches it may delete a study. So it listens on loopback,
accepts reads only, and answers only for host names it was started for. Without the last rule a web page
could make its own name point to this machine and read the studies (DNS rebinding). optuna-dashboard is
given the cached storage: with a URL it reads all trials again at every refresh (2.7 s at 3,000 trials).
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Collection, Iterable
from typing import Any

from .database.storage import Storage
from .errors import UsageError

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

READ_METHODS = ("GET", "HEAD", "OPTIONS")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def read_only(app: App) -> App:
    """Return `app` restricted to reads: every other method gets status 405."""

    def filtered(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in READ_METHODS:
            return app(environ, start_response)
        body = b'{"reason": "this dashboard is read-only; start it with --writable"}'
        headers = [("Content-Type", "application/json"), ("Allow", ", ".join(READ_METHODS))]
        return _refuse(start_response, "405 Method Not Allowed", headers, body)

    return filtered


def known_hosts_only(app: App, authorities: Collection[str]) -> App:
    """Return `app` restricted to requests whose Host, and Origin if sent, is in `authorities`.

    Every other request gets status 403. `authorities` are HOST:PORT in lower case.
    """
    body = (
        b"bloodsearch dashboard: refused, because it was not started for this host name and port; "
        b"restart it with --allow-host HOST:PORT to allow them\n"
    )

    def filtered(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN")
        # a browser leaves out the port of http and of https, and a proxy hides which one it was
        hosts = {_with_port(environ.get("HTTP_HOST", ""), port) for port in (80, 443)}
        if not hosts.isdisjoint(authorities) and (
            origin is None or _authority_of_origin(origin) in authorities
        ):
            return app(environ, start_response)
        headers = [("Content-Type", "text/plain; charset=utf-8")]
        return _refuse(start_response, "403 Forbidden", headers, body)

    return filtered


def _refuse(
    start_response: StartResponse, status: str, headers: list[tuple[str, str]], body: bytes
) -> Iterable[bytes]:
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [body]


def allowed_authorities(host: str, port: int, extra: Iterable[str] = ()) -> set[str]:
    """Return the HOST:PORT that a dashboard listening on `host` and `port` answers for.

    These are the loopback names, `host` with its addresses, this machine's names and addresses if `host` is a
    wildcard address, and `extra`, whose entries may lack the port. Raises UsageError for an entry of `extra`
    that is not HOST or HOST:PORT.
    """
    names = {*LOOPBACK, *_names_of(host)}
    authorities = {f"{name.lower()}:{port}" for name in names}
    for entry in extra:
        if not _is_authority(entry):
            raise UsageError(f"--allow-host {entry!r} is not HOST or HOST:PORT")
        authorities.add(_with_port(entry, port))
    return authorities


def _names_of(host: str) -> set[str]:
    """Return the names and addresses under which clients reach a server that listens on `host`."""
    if host in ("0.0.0.0", "::", ""):
        import psutil

        own = {socket.gethostname(), socket.getfqdn()}
        addresses = [a.address for each in psutil.net_if_addrs().values() for a in each]
        return own | {text for address in addresses if (text := _bracketed(address))}
    names = {_bracketed(host) or host}
    with contextlib.suppress(OSError):  # the server that tries to listen on it says what is wrong
        names |= {_bracketed(str(info[4][0])) for info in socket.getaddrinfo(host, None)}
    return {name for name in names if name}


def _bracketed(address: str) -> str:
    """Return an IP address as a URL spells it, and "" for anything else."""
    try:
        ip = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return ""
    return f"[{ip}]" if ip.version == 6 else str(ip)


def _is_authority(text: str) -> bool:
    host, port = _split(text)
    return bool(host) and not set(host) & set("/@ ,\t") and (not port or port.isdecimal())


def _with_port(authority: str, default: int) -> str:
    host, port = _split(authority.lower())
    return f"{host}:{port or default}"


def _split(authority: str) -> tuple[str, str]:
    """Split HOST, HOST:PORT, [V6] or [V6]:PORT into its host and its port, "" without one."""
    host, colon, port = authority.rpartition(":")
    return (host, port) if colon and not port.endswith("]") else (authority, "")


def _authority_of_origin(origin: str) -> str:
    scheme, separator, authority = origin.partition("://")
    default = {"http": 80, "https": 443}.get(scheme)
    return _with_port(authority, default) if separator and default else ""


def make_app(storage: Storage, *, writable: bool, authorities: Collection[str]) -> App:
    """Return the WSGI application for `storage`."""
    from optuna_dashboard import wsgi

    app: App = wsgi(storage.optuna)
    return known_hosts_only(app if writable else read_only(app), authorities)


def serve(
    storage: Storage,
    *,
    host: str,
    port: int,
    writable: bool,
    ready: Callable[[], None],
    allow_hosts: Iterable[str] = (),
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
    """
    import waitress

    app = make_app(
        storage, writable=writable, authorities=allowed_authorities(host, port, allow_hosts)
    )
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
