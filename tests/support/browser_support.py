"""A dashboard for a real browser, and texts that must not become markup in it. All of it is on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import optuna
import waitress
from optuna.trial import create_trial
from optuna_dashboard import save_note
from optuna_dashboard._note import save_note_with_version
from playwright.sync_api import Page

from bloodsearch.search.dashboard.hosts import allowed_authorities
from bloodsearch.search.dashboard.server import make_app
from bloodsearch.search.database.storage import open_storage

PAYLOADS = [
    "<img src=x onerror=window.pwned=1>",
    "<script>window.pwned=1</script>",
    "<svg onload=window.pwned=1>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "[x](javascript:window.pwned=1)",
    "\"><a href='javascript:window.pwned=1' id=planted>x</a>",
    "{{constructor.constructor('window.pwned=1')()}}",
    "![x](http://evil.example/beacon.png)",
]


@dataclass
class Seen:
    """What happened on a page that should not."""

    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


@dataclass
class Tab:
    """A page with a record of errors and of requests to anywhere else."""

    page: Page
    seen: Seen


@dataclass(frozen=True)
class Served:
    """A dashboard that is being served."""

    url: str
    port: int
    database: str


def plant(storage: optuna.storages.BaseStorage) -> None:
    """Store studies as another program could: with markup and scripts wherever Optuna takes text."""
    study = optuna.create_study(study_name="".join(PAYLOADS), storage=storage)
    choices = optuna.distributions.CategoricalDistribution([*PAYLOADS, "y"])
    for number, payload in enumerate(PAYLOADS):
        study.add_trial(
            create_trial(
                value=number / 10,
                params=dict.fromkeys(PAYLOADS, payload),
                distributions=dict.fromkeys(PAYLOADS, choices),
                user_attrs={payload: payload, "list": [payload]},
                intermediate_values={1: 0.1, 2: 0.2},
            )
        )
        study.set_user_attr(payload, payload)
        trial_id = study.trials[number]._trial_id
        save_note_with_version(storage, study._study_id, trial_id, 1, payload)
        optuna.create_study(study_name=payload, storage=storage)
    rows = "\n".join(f"| {payload} | `{payload}` |" for payload in PAYLOADS)
    save_note(study, "\n\n".join(PAYLOADS) + f"\n\n| a | b |\n| --- | --- |\n{rows}")


@contextlib.contextmanager
def served(url: str) -> Iterator[Served]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    storage = open_storage(url, create=False)
    app = make_app(storage, writable=False, authorities=allowed_authorities("127.0.0.1", port))
    server = waitress.create_server(app, host="127.0.0.1", port=port, threads=4)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield Served(f"http://127.0.0.1:{port}", port, url)
    server.close()
    thread.join(5)
    storage.close()
