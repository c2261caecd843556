"""Filters around optuna-dashboard's WSGI application, which has no login and no limits of its own.

None of them looks at a path to decide what is allowed, so no spelling of a path gets around them.
"""

from __future__ import annotations

import hmac
import urllib.parse
from collections.abc import Callable, Collection, Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any

from .hosts import authority_of_origin, with_port

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Headers = list[tuple[str, str]]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

READ_METHODS = ("GET", "HEAD", "OPTIONS")
NOTES = b"""
a:not([class]) { color: #2b7de1 }
td:not([class]), th:not([class]) { padding: 0.15em 1em 0.15em 0 }
"""
"""Links that can be read in the dark theme too, and room between the columns of a table."""
NO_BUTTONS = b"""
button:has([data-testid=AddBoxIcon], [data-testid=DriveFileRenameOutlineIcon], [data-testid=DeleteIcon],
[data-testid=EditIcon], [data-testid=UploadFileIcon]) { display: none !important }
"""
"""Hides the buttons that create, rename, delete, edit and upload, by the names of their icons."""
TEXT = ("Content-Type", "text/plain; charset=utf-8")
HARDENED: Headers = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("Referrer-Policy", "same-origin"),
]
# An artifact may be any file, also HTML with scripts. In a sandbox it has no origin and reads no study.
ARTIFACT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; img-src data: blob:; font-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'none'"
)


def read_only(app: App) -> App:
    """Return `app` restricted to reads: every other method gets status 405."""

    def filtered(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in READ_METHODS:
            return app(environ, start_response)
        body = b'{"reason": "this dashboard is read-only; start it with --writable"}'
        headers = [("Content-Type", "application/json"), ("Allow", ", ".join(READ_METHODS))]
        return _refuse(start_response, "405 Method Not Allowed", headers, body)

    return filtered


def with_style(app: App, style: bytes) -> App:
    """Return `app` with `style` at the end of its pages' heads."""
    element = b"<style>" + style + b"</style></head>"

    def filtered(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        started: list[tuple[str, Headers]] = []

        def start(status: str, headers: Headers, *rest: Any) -> Any:
            started.append((status, headers))

        body = app(environ, start)
        status, headers = started[0]
        if dict(headers).get("Content-Type", "").startswith("text/html"):
            page = b"".join(body).replace(b"</head>", element, 1)
            if close := getattr(body, "close", None):  # WSGI: or each visit keeps a file open
                close()
            changed = ("content-length", "last-modified", "etag")  # a browser keeps no other page
            headers = [h for h in headers if h[0].lower() not in changed]
            body = [page]
            if environ["REQUEST_METHOD"] != "HEAD":
                headers.append(("Content-Length", str(len(page))))
        start_response(status, headers)
        return body

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
        hosts = {with_port(environ.get("HTTP_HOST", ""), port) for port in (80, 443)}
        if not hosts.isdisjoint(authorities) and (
            origin is None or authority_of_origin(origin) in authorities
        ):
            return app(environ, start_response)
        return _refuse(start_response, "403 Forbidden", [TEXT], body)

    return filtered


def with_token(app: App, token: str) -> App:
    """Return `app` restricted to requests that know `token`; every other request gets status 401.

    A browser opens the address with `?token=TOKEN` once and then sends a cookie. A script sends
    `Authorization: Bearer TOKEN`.
    """
    body = b"bloodsearch dashboard: open it with the address that it printed, which holds a token\n"

    def filtered(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        # a cookie belongs to all ports of a host
        cookie = f"bloodsearch-{environ.get('SERVER_PORT', '')}"
        bearer = environ.get("HTTP_AUTHORIZATION", "").partition("Bearer ")[2]
        if _same(bearer, token) or _same(_cookie(environ, cookie), token):
            return app(environ, start_response)
        query = urllib.parse.parse_qs(environ.get("QUERY_STRING", ""))
        if _same(query.get("token", [""])[0], token):
            # one slash: with two a browser would take the next word for a host
            path = "/" + urllib.parse.quote(environ.get("PATH_INFO", "").strip("/"))
            kept = f"{cookie}={urllib.parse.quote(token)}; Path=/; HttpOnly; SameSite=Lax"
            return _refuse(
                start_response,
                "303 See Other",
                [TEXT, ("Location", path), ("Set-Cookie", kept)],
                b"",
            )
        return _refuse(start_response, "401 Unauthorized", [TEXT], body)

    return filtered


def hardened(app: App) -> App:
    """Return `app` with headers that keep a planted file from acting as one of the dashboard's pages."""

    def filtered(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: Headers, *rest: Any) -> Any:
            policy = any(name.lower() == "content-security-policy" for name, _ in headers)
            kept = [h for h in headers if h[0].lower() != "access-control-allow-origin"]
            if not policy:
                kept.append(("Content-Security-Policy", ARTIFACT_POLICY))
            return start_response(status, kept + HARDENED, *rest)

        return app(environ, start)

    return filtered


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _cookie(environ: Environ, name: str) -> str:
    try:
        morsel = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(name)
    except CookieError:
        return ""
    return "" if morsel is None else urllib.parse.unquote(morsel.value)


def _refuse(
    start_response: StartResponse, status: str, headers: Headers, body: bytes
) -> Iterable[bytes]:
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [body]
