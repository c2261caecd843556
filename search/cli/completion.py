"""What the shell offers when Tab is pressed: names of studies, and numbers of trials.

Typer completes commands, options and choices by itself (`bloodsearch --install-completion`). The functions
here read the storage with plain queries, because importing Optuna would take most of a second. A storage that
does not answer offers nothing.
"""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from ...studies import DEFAULT_STUDY, shipped_names
from .. import env

if TYPE_CHECKING:
    import sqlalchemy as sa

MAX_TRIALS = 200
TIMEOUT_S = 2


def studies(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of shipped and stored studies that begin with `incomplete`."""
    names = [*shipped_names(), *_stored(ctx)]
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def stored_studies(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of stored studies that begin with `incomplete`."""
    return [name for name in _stored(ctx) if name.startswith(incomplete)]


def datasets(incomplete: str) -> list[str]:
    """Return the data sets that begin with `incomplete`: names, and .npz files on that path."""
    from ..data import registry

    names = [name for name in (*registry.names(), "synthetic") if name.startswith(incomplete)]
    return names + sorted(glob.glob(f"{glob.escape(incomplete)}*.npz"))


def trials(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the numbers of finished trials that begin with `incomplete`, the best ones first."""
    found: list[tuple[str, str]] = []
    with contextlib.suppress(Exception), _connected(ctx) as db:
        import sqlalchemy as sa

        names = [ctx.params.get("name"), ctx.params.get("study"), DEFAULT_STUDY]
        name = next(str(name) for name in names if name)
        query = sa.text(
            "SELECT t.number, v.value, t.state FROM trials t "
            "JOIN studies s ON s.study_id = t.study_id "
            "LEFT JOIN trial_values v ON v.trial_id = t.trial_id "
            "WHERE s.study_name IN (:name, :twin) AND t.state IN ('COMPLETE', 'PRUNED', 'FAIL') "
            "ORDER BY t.state, v.value DESC, t.number LIMIT :most"
        )
        rows = db.execute(query, {"name": name, "twin": f"{name}-synthetic", "most": MAX_TRIALS})
        for number, value, state in rows:
            text = state.lower() if value is None else f"{state.lower()} {value:.4f}"
            found.append((str(number), text))
    return [(number, text) for number, text in found if number.startswith(incomplete)]


def _stored(ctx: typer.Context) -> list[str]:
    with contextlib.suppress(Exception), _connected(ctx) as db:
        import sqlalchemy as sa

        names = db.execute(sa.text("SELECT study_name FROM studies ORDER BY study_id DESC"))
        return [str(name) for name in names.scalars()]
    return []


@contextlib.contextmanager
def _connected(ctx: typer.Context) -> Iterator[sa.Connection]:
    """Open the storage of the command line, which must exist."""
    import sqlalchemy as sa

    url = sa.make_url(env.storage_url(ctx.params.get("storage")))
    if url.get_backend_name() == "sqlite":
        # read-only: a misspelt name must not create a file
        url = sa.make_url(f"sqlite:///file:{url.database}?mode=ro&uri=true")
        arguments = {"timeout": TIMEOUT_S}
    else:
        url = url.set(drivername="postgresql+psycopg")
        arguments = {"connect_timeout": TIMEOUT_S}
    engine = sa.create_engine(url, connect_args=arguments, poolclass=sa.NullPool)
    try:
        with engine.connect() as db:
            yield db
    finally:
        engine.dispose()
