"""What a search leaves on the screen: its study's summary, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...studies import DEFAULT_STUDY
from .. import study_names
from . import output
from .options import DatasetChoice, study_file

if TYPE_CHECKING:
    import optuna

    from ..database.storage import Storage

Sink = Callable[[dict[str, Any]], None] | None
"""Where a summary goes as JSON; None: it is shown as text."""


def _summary(
    storage: Storage, study: optuna.Study, seconds: float, sink: Sink
) -> dict[str, Any] | None:
    """The study's summary to be shown as text, or None after it went to `sink`."""
    from ..summary import summarize

    summary = summarize(storage, study)
    if sink is None:
        return summary
    sink({**summary, "elapsed_seconds": round(seconds, 2)})
    return None


def show_created(
    storage: Storage, study: optuna.Study, seconds: float, sink: Sink, command: str
) -> None:
    summary = _summary(storage, study, seconds, sink)
    if summary is None:
        return
    output.line(
        f"study {study.study_name} in {storage.shown} is ready: "
        f"{summary['complete'] + summary['pruned']} of {summary['n_trials']} trials finished"
    )
    output.line(f"next: bloodsearch worker{command}   bloodsearch status{command}")


def show(
    storage: Storage,
    study: optuna.Study,
    seconds: float,
    sink: Sink,
    command: str,
    *,
    done: bool,
) -> None:
    summary = _summary(storage, study, seconds, sink)
    if summary is None:
        return
    output.line(
        f"{summary['complete']} complete, {summary['pruned']} pruned, {summary['failed']} failed "
        f"in {output.duration(seconds)}"
    )
    if summary["best_value"] is not None:
        output.line(
            f"best validation macro-F1 {summary['best_value']:.4f} (trial {summary['best_trial']}): "
            f"{output.short_params(summary['best_params'])}"
        )
    if done:
        final, name = command, study.study_name
        part = study_names.take_apart(name)
        if part is not None and part.kind == "baselines":  # the final evaluation takes all at once
            final = command.replace(name, part.base, 1) + " --baselines"
        output.line(f"next: bloodsearch leaderboard{command}   bloodsearch final-eval{final}")


def show_unfinished(
    storage: Storage, study: optuna.Study, seconds: float, sink: Sink, command: str
) -> None:
    """The summary of a search that was interrupted or gave up, if its storage still answers."""
    from ..database.outage import is_outage

    try:
        show(storage, study, seconds, sink, command, done=False)
    except Exception as error:
        if not is_outage(error):
            raise


def next_arguments(
    study: str, storage: str | None, name: str | None, dataset: DatasetChoice
) -> str:
    """The arguments that name this study in the next command."""
    parts: list[Any] = [] if study == DEFAULT_STUDY else [study]
    parts += [] if storage is None else ["--storage", shown_url(storage)]
    if name is not None:
        parts += ["--name", name]
    elif dataset is DatasetChoice.synthetic:
        parts += ["--name", study_names.default_name(study_file(study).name, dataset.value)]
    return "".join(f" {shlex.quote(str(part))}" for part in parts)


def shown_url(storage: str) -> str:
    """A storage's address as it may be printed."""
    from ..database.passwords import shown
    from ..database.storage import parse_url

    url = parse_url(storage)
    return storage if url.get_backend_name() == "sqlite" else shown(url)
