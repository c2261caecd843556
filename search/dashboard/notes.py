"""The Markdown notes of studies and trials.

Names, reasons and parameters come from files and databases that others write, so all of them pass
`text.markdown` or stand between backticks without one inside.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from .. import text
from ..data.info import DatasetInfo
from ..records import Kind, TrialRecord
from ..results import FinalResult, spread_text
from ..suggest import command
from ..text import markdown, one_line

SYNTHETIC = "> **SYNTHETIC DATA**: drawings of cells. The scores say nothing about blood."
_KINDS: dict[Kind, str] = {
    "search": "",
    "finalists": "The second stage of {base}: its best trials, trained again with fresh seeds to choose the "
    "winner.",
    "rung": "A rung of the ladder of {base}: its best trials, trained for more epochs to see which go on.",
    "replicates": "Replicates of {base}'s winner: one configuration, trained with several seeds. None of "
    "them is better than another. Their mean counts.",
    "refits": "The winner of {base}, trained on the training and validation split together. The validation "
    "scores of these trainings mean nothing.",
}


@dataclass(frozen=True, slots=True)
class Link:
    """Another study on the same dashboard."""

    name: str
    study_id: int


@dataclass(slots=True)
class StudyPage:
    """What the note of a study says."""

    study_id: int
    name: str
    kind: Kind
    data: DatasetInfo
    dataset: str
    """The data set described for people."""
    synthetic: bool
    storage: str
    written_at: str
    n_trials: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    """Trials by state: complete, pruned, fail, running, waiting."""
    top: Sequence[TrialRecord] = ()
    """The best complete trials, best first; of a study that is no search, all of them by number."""
    interval: tuple[float, float] | None = None
    best_so_far: Sequence[float] = ()
    openings: int = 0
    """Openings of the test split for the search."""
    final: FinalResult | None = None
    base: Link | None = None
    """The search that this study is a part of."""
    parts: Sequence[Link] = ()
    curve: str | None = None
    """The path of the picture of the best trial's curve."""


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Return the values as a row of bars from the lowest to the highest, at most `width` of them."""
    if len(values) > width:
        values = [values[i * len(values) // width] for i in range(width - 1)] + [values[-1]]
    return text.sparkline(values, min(values, default=0.0), max(values, default=0.0))


def study_note(page: StudyPage) -> str:
    """Return the note of a study."""
    blocks = [f"# {markdown(page.name)}", _progress(page)]
    if page.synthetic:
        blocks.append(SYNTHETIC)
    if about := _KINDS[page.kind]:
        blocks.append(about.format(base=_study_link(page.base) if page.base else "a search"))
    if page.top:
        blocks += _best(page) if page.kind == "search" else _mean(page)
    blocks.append(_openings(page))
    if page.kind == "search":
        blocks.append(_next(page))
    if page.parts:
        blocks.append("Parts: " + ", ".join(_study_link(part) for part in page.parts))
    return "\n\n".join(blocks)


def trial_note(page: StudyPage, trial: TrialRecord, rank: int | None = None) -> str:
    """Return the note of a finished trial: how it ended, why, and with which parameters."""
    state = "failed" if trial.state == "fail" else trial.state
    value = f", validation macro-F1 **{trial.value:.4f}**" if _has_value(trial) else ""
    place = f", rank {rank}" if rank is not None else ""
    reason = trial.stop_reason.removeprefix(f"{state}: ")
    why = f": {markdown(reason)}" if reason else ""
    blocks = [f"**{state}**{value}{place}{why}", _facts(trial)]
    if trial.curve:
        blocks.append(_curve(trial.curve))
    blocks += [text for text in (_classes(trial, page.data), _parameters(trial)) if text]
    where = ["--name", page.name, "--storage", page.storage]
    words = ["show"] if not trial.trained else ["show", "replay"]
    blocks.append("  \n".join(_code(command(word, trial.number, *where)) for word in words))
    return "\n\n".join(blocks)


def _progress(page: StudyPage) -> str:
    n = page.counts
    done, running = n.get("complete", 0) + n.get("pruned", 0), n.get("running", 0)
    of = f" of {page.n_trials} trials" if page.n_trials else " trials finished"
    spent = page.n_trials is not None and done >= page.n_trials
    state = "Finished" if spent else "Running" if running else "Stopped"
    counts = (
        f"{n.get('complete', 0)} complete, {n.get('pruned', 0)} pruned, {n.get('fail', 0)} failed"
    )
    live = "" if spent else f", {running} running, {n.get('waiting', 0)} waiting"
    data = markdown(page.dataset)
    return f"**{state}: {done}{of}** ({counts}{live}), on {data}. {page.written_at}"


def _best(page: StudyPage) -> list[str]:
    best = page.top[0]
    sure = ""
    if page.interval is not None:
        low, high = page.interval
        sure = f", 95 % interval {low:.4f} .. {high:.4f} over other images"
        if page.counts.get("complete", 0) > 1:
            sure += f" (the best of {page.counts['complete']} is higher than it would be again)"
    blocks = [
        f"**Best: {_trial_link(page, best)}, validation macro-F1 {best.value or 0:.4f}**{sure}",
    ]
    if best.curve:
        blocks.append(f"Its epochs: {_curve(best.curve)}")
    if len(page.best_so_far) > 1:
        blocks.append(f"Best so far, trial by trial: {_curve(page.best_so_far)}")
    if page.curve is not None:
        blocks.append(f"![Curve of the best trial]({page.curve})")
    return [*blocks, _top(page)]


def _top(page: StudyPage) -> str:
    rows = [
        [
            _trial_link(page, trial),
            f"{trial.value or 0:.4f}",
            _cell(trial.family),
            "" if trial.n_parameters is None else f"{trial.n_parameters:,}",
            str(trial.epochs or len(trial.reports)),
            f"{trial.seconds:.0f} s",
            _worst(trial),
        ]
        for trial in page.top
    ]
    heads = ["trial", "macro-F1", "family", "weights", "epochs", "time", "worst class"]
    return _table(heads, rows)


def _mean(page: StudyPage) -> list[str]:
    groups: dict[str, list[float]] = {}
    for trial in page.top:
        of = trial.baseline or (None if trial.replicate_of is None else str(trial.replicate_of))
        groups.setdefault(of or "all", []).append(trial.value or 0.0)
    rows = [
        [
            _cell(name),
            f"{statistics.mean(values):.4f}",
            f"{statistics.stdev(values):.4f}" if len(values) > 1 else "-",
            str(len(values)),
        ]
        for name, values in sorted(groups.items(), key=lambda item: -statistics.mean(item[1]))
    ]
    return [_table(["trial of the search", "mean validation macro-F1", "sd over seeds", "n"], rows)]


def _openings(page: StudyPage) -> str:
    times = (
        "never" if not page.openings else "once" if page.openings == 1 else f"{page.openings} times"
    )
    text = f"Test split opened for this search: **{times}**."
    if page.final is None or page.final.test_macro_f1.mean is None:
        return text
    score = page.final.test_macro_f1
    return f"{text} Trial {page.final.trial}: test macro-F1 **{score.mean:.4f}**, {spread_text(score)}."


def _next(page: StudyPage) -> str:
    where = ["--name", page.name, "--storage", page.storage]
    n_done = page.counts.get("complete", 0) + page.counts.get("pruned", 0)
    wanted = page.n_trials or n_done
    more = wanted if n_done < wanted else 2 * wanted
    label = "Resume" if n_done < wanted else "Search on"
    lines = [f"{label}: {_code(command('optimize', '--trials', more, *where))}"]
    if page.final is None:
        lines.append(f"Evaluate: {_code(command('final-eval', *where))}")
    lines.append(f"Report: {_code(command('report', *where))}")
    return "  \n".join(lines)


def _facts(trial: TrialRecord) -> str:
    epochs = trial.epochs if trial.epochs is not None else len(trial.reports)
    facts = [
        f"baseline {markdown(trial.baseline)}" if trial.baseline else "",
        f"repeats trial {trial.replicate_of} of the search"
        if trial.replicate_of is not None
        else "",
        markdown(trial.family or ""),
        f"{trial.n_parameters:,} weights" if trial.n_parameters is not None else "",
        f"{epochs} epoch{'s' * (epochs != 1)}" if epochs else "",
        f"best epoch {trial.best_epoch}" if trial.best_epoch is not None else "",
        f"{trial.seconds:.0f} s" if trial.seconds else "",
        markdown(trial.device or ""),
    ]
    return ", ".join(fact for fact in facts if fact) or "nothing was trained"


def _classes(trial: TrialRecord, data: DatasetInfo) -> str:
    scores = trial.per_class_f1 or []
    if len(scores) != len(data.classes):
        return ""
    worst_first = sorted(
        zip(scores, map(markdown, data.classes), strict=True), key=lambda row: row[0] or 0.0
    )
    shown = [f"{name} {'-' if f1 is None else f'{f1:.4f}'}" for f1, name in worst_first]
    return f"F1 by class, worst first: {', '.join(shown)}."


def _parameters(trial: TrialRecord) -> str:
    """Name the parameters that the page does not list, because they were not searched."""
    fixed = {k: v for k, v in trial.shown_params.items() if k not in trial.sampled}
    shown = [
        f"{markdown(name)} {_code(f'{value:.6g}' if isinstance(value, float) else str(value))}"
        for name, value in fixed.items()
    ]
    return f"Parameters that were not searched: {', '.join(shown)}." if shown else ""


def _worst(trial: TrialRecord) -> str:
    if trial.worst_class is None or trial.worst_f1 is None:
        return ""
    return f"{_cell(trial.worst_class)} {trial.worst_f1:.4f}"


def _curve(values: Sequence[float]) -> str:
    return f"`{sparkline(values)}` {values[0]:.4f} to {max(values):.4f}"


def _has_value(trial: TrialRecord) -> bool:
    return trial.state == "complete" and trial.value is not None


def _trial_link(page: StudyPage, trial: TrialRecord) -> str:
    baseline = f" ({markdown(trial.baseline)})" if trial.baseline else ""
    path = f"/dashboard/studies/{page.study_id}/trials?numbers={trial.number}"
    return f"[trial {trial.number}]({path}){baseline}"


def _study_link(link: Link) -> str:
    name = markdown(link.name).replace("[", "").replace("]", "")
    return f"[{name}](/dashboard/studies/{link.study_id})"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    # aligned left: optuna-dashboard leaves no room between the columns, so numbers would touch the next one
    lines = [heads, [":---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str | None) -> str:
    return markdown(text or "").replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{one_line(text).replace('`', '')}`"
