"""The host names and ports that a dashboard answers for, and those that a request names."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterable

from ..errors import UsageError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
WILDCARDS = ("0.0.0.0", "::", "")
"""Addresses to listen on that stand for all of this machine's."""


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def url(host: str, port: int) -> str:
    """Return the address under which this machine reaches a server that listens on `host`."""
    name = "127.0.0.1" if host in WILDCARDS else _bracketed(host) or host
    return f"http://{name}:{port}/"


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
        authorities.add(with_port(entry, port))
    return authorities


def _names_of(host: str) -> set[str]:
    """Return the names and addresses under which clients reach a server that listens on `host`."""
    if host in WILDCARDS:
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


def with_port(authority: str, default: int) -> str:
    host, port = _split(authority.lower())
    return f"{host}:{port or default}"


def _split(authority: str) -> tuple[str, str]:
    """Split HOST, HOST:PORT, [V6] or [V6]:PORT into its host and its port, "" without one."""
    host, colon, port = authority.rpartition(":")
    return (host, port) if colon and not port.endswith("]") else (authority, "")


def authority_of_origin(origin: str) -> str:
    scheme, separator, authority = origin.partition("://")
    default = {"http": 80, "https": 443}.get(scheme)
    return with_port(authority, default) if separator and default else ""
