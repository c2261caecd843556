"""Read a course report's configurations: replicates, test scores, the grid, and the published figures."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from ..data.info import Fingerprint
from ..data.load import Dataset
from ..database.storage import Storage
from ..errors import StorageError
from ..evaluation.baselines import by_baseline
from ..evaluation.ledger import Opening, openings
from ..records import Ending, trial_record
from ..report.gather import Gathered, ReportTrial, gather, report_trial
from ..results import BaselineScore, Spread, baselines_result
from ..study import load
from ..study_names import baselines_name, grid_name


@dataclass(frozen=True, slots=True)
class Configuration:
    """One named configuration. Scores map a replicate's seed to its value, on `Course.split`."""

    name: str
    published: dict[str, float]
    params: dict[str, Any]
    trials: list[ReportTrial]
    macro_f1: dict[int, float]
    weighted_f1: dict[int, float]
    weighted_precision: dict[int, float]
    counts: NDArray[np.int64] | None
    """Confusion matrix, summed over replicates."""

    @property
    def family(self) -> str:
        return str(self.params.get("arch", ""))

    @property
    def validation(self) -> list[float]:
        """Return the replicates' macro-F1 on validation, whatever the page's split."""
        return [t.value or 0.0 for t in self.trials]


@dataclass(frozen=True, slots=True)
class Course:
    """A course report's studies, as far as they were trained."""

    report: str
    published: dict[str, Any]
    configurations: dict[str, Configuration]
    split: str
    """"test" after `final-eval --baselines`, else "validation"."""
    grid: Gathered | None
    openings: list[Opening]
    dataset: Dataset | None
    no_data: str
    fingerprint: Fingerprint
    names: list[str]
    """The stored studies that this was read from."""
    diverged: dict[str, int]
    """By configuration, the number of replicates that diverged and so have no score."""

    @property
    def metric(self) -> str:
        return "macro_f1" if self.report == "report_a" else "weighted_f1"

    def scores(self, name: str, metric: str = "") -> dict[int, float]:
        """Return a configuration's score by seed, on `split`."""
        by_seed: dict[int, float] = getattr(self.configurations[name], metric or self.metric)
        return by_seed

    def misprints(self, section: str) -> list[str]:
        """Return the report's misprints that matter in this section of the page."""
        return [f"Misprint: {text}" for text in self.published["misprints"].get(section, ())]

    @property
    def metric_name(self) -> str:
        return "macro-F1" if self.metric == "macro_f1" else "weighted F1"

    def printed(self, name: str) -> float | None:
        """Return the published figure. SGD has one for three learning rates: that of the best."""
        if "-sgd-" in name and name not in self.best_sgd().values():
            return None
        return self.configurations[name].published.get(self.metric)

    def best_sgd(self) -> dict[str, str]:
        """Return by family report A's SGD configuration with the best mean on validation."""
        best = {}
        for family in ("mlp", "cnn"):
            means = {
                name: float(np.mean(c.validation))
                for name, c in self.configurations.items()
                if name.startswith(f"A-{family}-sgd") and c.trials
            }
            if means:
                best[family] = max(means, key=lambda name: means[name])
        return best


def published(report: str) -> dict[str, Any] | None:
    """Return the figures that `report` prints, or None for a study that is not a course report's."""
    file = resources.files("bloodsearch.search.course").joinpath("published.toml")
    reports: dict[str, dict[str, Any]] = tomllib.loads(file.read_text(encoding="utf-8"))
    return reports.get(report)


def gather_course(storage: Storage, report: str, base: str, data_root: Path | None) -> Course:
    """Read the parts `BASE-baselines` and `BASE-grid`.

    Raises StorageError if there are no baselines; it names the command that trains them.
    """
    facts = published(report)
    assert facts is not None
    try:
        study = load(storage, baselines_name(base))
    except StorageError:
        raise StorageError(
            f"no study {baselines_name(base)} in {storage.shown}; "
            f"`bloodsearch optimize {report} --only baselines --replicates 3` trains it"
        ) from None
    grid = None
    if grid_name(base) in optuna.get_all_study_names(storage.optuna):
        grid = gather(storage, load(storage, grid_name(base)), data_root)
    replicates = gather(storage, study, data_root)
    opened = openings(storage, study.study_name)
    results = [result for o in opened if (result := baselines_result(o.result)) is not None]
    tested = {c.name: c for c in results[-1].configurations} if results else {}
    baselines = {b.name: b for b in replicates.info.study_file.baselines}
    trials = {
        name: [report_trial(t, {}) for t in complete]
        for name, complete in by_baseline(study).items()
    }
    # one split for the whole page: a configuration that was not tested would not be comparable
    whole = bool(tested) and all(name in tested for name, complete in trials.items() if complete)
    configurations = {
        name: _tested(b.published, tested[name], trials[name])
        if whole
        else _validated(name, b.published, dict(b.params), trials[name])
        for name, b in baselines.items()
        if trials[name]
    }
    return Course(
        report,
        facts,
        configurations,
        "test" if whole else "validation",
        grid,
        opened,
        replicates.dataset,
        replicates.no_data,
        replicates.info.fingerprint,
        [study.study_name] + ([grid.info.name] if grid else []),
        _diverged(study, trials),
    )


def _diverged(study: optuna.Study, complete: Mapping[str, list[ReportTrial]]) -> dict[str, int]:
    """Count the seeds of each configuration that diverged and never completed."""
    seeds: dict[str, set[int | None]] = {}
    for trial in map(trial_record, study.get_trials(deepcopy=False)):
        if trial.baseline is not None and trial.ending is Ending.DIVERGED:
            seeds.setdefault(trial.baseline, set()).add(trial.seed)
    scored = {name: {t.record.seed for t in trials} for name, trials in complete.items()}
    lost = {name: len(of - scored.get(name, set())) for name, of in seeds.items()}
    return {name: n for name, n in lost.items() if n}


def _tested(
    published: dict[str, float], score: BaselineScore, trials: list[ReportTrial]
) -> Configuration:
    def by_seed(spread: Spread | None) -> dict[int, float]:
        if spread is None:
            return {}
        pairs = zip(score.seeds, spread.values, strict=True)
        return {seed: value for seed, value in pairs if value is not None}

    return Configuration(
        score.name,
        published,
        score.params or {},
        trials,
        by_seed(score.test_macro_f1),
        by_seed(score.test_weighted_f1),
        by_seed(score.test_weighted_precision),
        np.asarray(score.confusion_matrix),
    )


def _validated(
    name: str, published: dict[str, float], params: dict[str, Any], trials: list[ReportTrial]
) -> Configuration:
    from ..training.metrics import scores

    matrices = {t.record.seed or 0: t.confusion for t in trials if t.confusion is not None}
    by_seed = {seed: scores(matrix) for seed, matrix in matrices.items()}
    return Configuration(
        name,
        published,
        params,
        trials,
        {seed: s.macro_f1 for seed, s in by_seed.items()},
        {seed: s.weighted_f1 for seed, s in by_seed.items()},
        {
            seed: float((s.precision * matrices[seed].sum(axis=1)).sum() / matrices[seed].sum())
            for seed, s in by_seed.items()
        },
        np.sum(list(matrices.values()), axis=0) if matrices else None,
    )
