"""Keep passwords out of everything that is shown, logged or stored."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from ..text import one_line

if TYPE_CHECKING:  # every command loads this file, few need a database
    import sqlalchemy as sa

_PASSWORDS = (
    # user:password@host, also as a path (one slash) and with an @ in the password
    re.compile(r"(:/{1,2}[^\s:/@]*:)[^\s@]*@(?:[^\s/@]*@)*"),
    # cut off before the host; what looks like a port stays
    re.compile(
        r"(\b(?!sqlite)[a-z][\w+.-]*://[^\s:/@]*:)(?!\d{1,5}(?:\W|$)|\*\*\*)[^\s@'\"]+", re.I
    ),
    re.compile(r"(password=)[^\s&'\"]+", re.I),
)


def shown(url: sa.URL) -> str:
    """Return `url` without its passwords, for messages and records."""
    hidden = dict.fromkeys(_secret_options(url), "HIDDEN")
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def without_passwords(url: sa.URL) -> sa.URL:
    """Return `url` without its passwords, as a file that others read may hold it."""
    # `url.set(password=None)` would keep the password
    return url._replace(password=None).difference_update_query(_secret_options(url))


def _secret_options(url: sa.URL) -> list[str]:
    """Return the options that hold a password in libpq, such as ?password= and ?sslpassword=."""
    return [key for key in url.query if "password" in key.lower()]


def redact(text: str, url: sa.URL) -> str:
    """Return `text` without the passwords of `url`, both plain and as a URL spells them."""
    given = (url.query[key] for key in _secret_options(url))
    values = [v for value in given for v in ((value,) if isinstance(value, str) else value)]
    for secret in filter(None, [url.password, *values]):
        for spelling in (secret, quote(secret), quote_plus(secret)):
            text = text.replace(spelling, "***")
    return text


def hide_passwords(text: str) -> str:
    """Return `text` without anything that looks like a password in a storage address."""
    text = _PASSWORDS[0].sub(r"\1***@", text)
    for pattern in _PASSWORDS[1:]:
        text = pattern.sub(r"\1***", text)
    return text


class RedactingFilter(logging.Filter):
    """Remove the passwords of one storage address from log records, and make each record one line."""

    def __init__(self, url: sa.URL) -> None:
        super().__init__()
        self._url = url

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; let every record pass."""
        text = hide_passwords(redact(record.getMessage(), self._url))
        record.msg, record.args = one_line(text), None
        return True
