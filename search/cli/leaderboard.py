"""`bloodsearch leaderboard`: list finished trials, best first."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from ...studies import DEFAULT_STUDY
from . import output
from .options import JsonOption, NameOption, StorageOption, StudyArgument, find_study


def leaderboard(
    study: StudyArgument = DEFAULT_STUDY,
    top: Annotated[int, typer.Option("--top", min=1, help="The number of trials to list.")] = 10,
    csv_: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    storage: StorageOption = None,
    name: NameOption = None,
    json: JsonOption = False,
) -> None:
    """List finished trials, best first."""
    from ..evaluation.leaderboard import leaderboard as standings

    _, stored = find_study(study, storage, name)
    rows = standings(stored, top)
    if json:
        output.as_json({"study": stored.study_name, "trials": [asdict(row) for row in rows]})
    elif csv_:
        _write_csv([asdict(row) for row in rows])
    else:
        output.table(
            [
                "trial#",
                "val macro-F1#",
                "state",
                "family",
                "epochs#",
                "seconds#",
                "weights#",
                "parameters",
            ],
            [
                (
                    row.number,
                    row.value,
                    row.state,
                    row.family,
                    row.epochs,
                    f"{row.seconds:.1f}",
                    row.n_parameters,
                    f"{row.baseline}: " * bool(row.baseline) + output.short_params(row.params),
                )
                for row in rows
            ],
        )


def _write_csv(rows: list[dict[str, Any]]) -> None:
    names = sorted({name for row in rows for name in row["params"]})
    plain = ["number", "value", "state", "family", "baseline", "epochs", "seconds", "n_parameters"]
    output.as_csv(
        # a parameter may be called as a column is: a baseline's own epochs
        [*plain, *(f"param_{name}" if name in plain else name for name in names)],
        [[*(row[key] for key in plain), *(row["params"].get(n) for n in names)] for row in rows],
    )
