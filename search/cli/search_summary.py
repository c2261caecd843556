"""Show the result of a search, and the commands that come next."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .. import study_names
from . import output
from .suggest import command, data_option, next_line, where

if TYPE_CHECKING:
    from ..api.results import SearchResult


@dataclass(slots=True)
class Summaries:
    """Collects the results of a search's parts, and shows each as text unless JSON was asked for."""

    as_json: bool
    study: str | None
    """The study as the user named it."""
    storage: str | None
    data_root: Path | None = None
    shows_next: bool = True
    """Whether to name the next commands."""
    results: list[SearchResult] = field(default_factory=list)

    def add(self, result: SearchResult) -> None:
        """Show one result, or keep it for the JSON object."""
        self.results.append(result)
        if not self.as_json:
            show(result, self._arguments(result), data_option(self.data_root), self.shows_next)

    def finish(self) -> None:
        """Print the JSON object, if it was asked for and there is a result."""
        if not self.as_json or not self.results:
            return
        last = self.results[-1].as_dict()
        if self.results[-1].part is not None:
            last["parts"] = [result.as_dict() for result in self.results]
        output.as_json(last)

    def _arguments(self, result: SearchResult) -> list[str]:
        if result.part is not None:
            return [result.study, *where(None, self.storage)]
        return where(self.study, self.storage, result.study)


def show(
    result: SearchResult, arguments: list[str], data: list[str], shows_next: bool = True
) -> None:
    """Show a search's result; `arguments` name its study in the next command, `data` the data's folder."""
    if result.created_only:
        n_done = result.complete + result.pruned
        output.line(
            f"study {result.study} in {result.storage} is ready: "
            f"{n_done} of {result.n_trials} trials finished"
        )
        next_line(command("worker", *arguments, *data), command("status", *arguments))
        return
    output.line(
        f"{result.complete} complete, {result.pruned} pruned, {result.failed} failed "
        f"in {output.duration(result.elapsed_seconds)}"
    )
    n_done = result.complete + result.pruned
    if not result.in_time and result.n_trials and n_done < result.n_trials:
        output.line(
            f"{n_done} of {result.n_trials} trials are finished, {result.waiting} wait; "
            "one that was running resumes from its last epoch"
        )
    if result.best_value is not None:
        output.line(f"best validation macro-F1 {result.best_value:.4f} (trial {result.best_trial})")
    if result.in_time and shows_next:
        final = arguments
        if result.part == "baselines":  # the final evaluation tests all baselines at once
            final = [study_names.without_part(result.study), *arguments[1:], "--baselines"]
        shown = (
            [] if result.best_trial is None else [command("show", result.best_trial, *arguments)]
        )
        commands = [command("leaderboard", *arguments), *shown]
        next_line(*commands, command("final-eval", *final, *data))
