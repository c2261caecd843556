"""`bloodsearch leaderboard`: list finished trials, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...studies import DEFAULT_STUDY
from . import output
from .options import JsonOption, NameOption, StorageOption, StudyArgument, find_study
from .suggest import command, where
from .view import NARROW

if TYPE_CHECKING:
    from ..evaluation.leaderboard import Standing


def leaderboard(
    study: StudyArgument = DEFAULT_STUDY,
    top: Annotated[int, typer.Option("--top", min=1, help="The number of trials to list.")] = 10,
    csv_: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    storage: StorageOption = None,
    name: NameOption = None,
    json: JsonOption = False,
) -> None:
    """List finished trials, best first, with the settings that were searched."""
    from ..evaluation.leaderboard import leaderboard as standings

    _, stored = find_study(study, storage, name)
    rows = standings(stored, top)
    if json:
        output.as_json({"study": stored.study_name, "trials": [asdict(row) for row in rows]})
    elif csv_:
        _write_csv([asdict(row) for row in rows])
    elif rows:
        arguments = where(study, storage, stored.study_name)
        _show(rows)
        output.line(f"all settings of one trial: {command('show', rows[0].number, *arguments)}")
    else:
        resume = ["--name", stored.study_name, *where(None, storage), "--trials", "N"]
        output.line(
            f"{stored.study_name} has no finished trial yet; {command('optimize', *resume)} trains some"
        )


def _show(rows: Sequence[Standing]) -> None:
    """Print one line a trial. Settings that all trials of the table share are left out."""
    columns = ["trial#", "macro-F1#", "family", "epochs#"]
    cells: list[tuple[object, ...]] = [
        (row.number, row.value, row.family, row.epochs) for row in rows
    ]
    if output.width() >= NARROW:
        columns += ["time#", "weights#", "settings"]
        common = _common([row.params for row in rows if not row.baseline])
        cells = [
            (*start, f"{row.seconds:.0f} s", _weights(row.n_parameters), _settings(row, common))
            for start, row in zip(cells, rows, strict=True)
        ]
    output.cut_table(columns, cells)


def _common(params: Sequence[dict[str, Any]]) -> set[str]:
    """Return the names of settings whose value is the same wherever they occur."""
    values: dict[str, set[str]] = {}
    for row in params:
        for name, value in row.items():
            values.setdefault(name, set()).add(repr(value))
    return {name for name, seen in values.items() if len(seen) == 1} if len(params) > 1 else set()


def _settings(row: Standing, common: set[str]) -> str:
    start = "" if row.state == "complete" else f"{row.state}: "
    if row.baseline:
        return f"{start}baseline {row.baseline}"
    family = row.params.get("arch")
    shown = {
        # a parameter of one family needs no prefix in that family's row
        name.removeprefix(f"{family}_"): value
        for name, value in row.params.items()
        if name != "arch" and name not in common
    }
    return start + output.short_params(shown)


def _weights(n: int | None) -> str:
    """Return a number of weights in three digits: "54k", "2.4M"."""
    if n is None:
        return "-"
    for size, unit in ((10**6, "M"), (10**3, "k")):
        if n >= size:
            return f"{n / size:.3g}{unit}" if n < 100 * size else f"{n / size:.0f}{unit}"
    return str(n)


def _write_csv(rows: list[dict[str, Any]]) -> None:
    names = sorted({name for row in rows for name in row["params"]})
    plain = ["number", "value", "state", "family", "baseline", "epochs", "seconds", "n_parameters"]
    output.as_csv(
        # a parameter may be called as a column is: a baseline's own epochs
        [*plain, *(f"param_{name}" if name in plain else name for name in names)],
        [[*(row[key] for key in plain), *(row["params"].get(n) for n in names)] for row in rows],
    )
