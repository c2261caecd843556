"""What is known of a course report's configurations: replicates, test scores, grid, what was published."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from ..data.bloodmnist import Dataset, Fingerprint
from ..database.storage import Storage
from ..errors import StorageError
from ..evaluation.baselines import by_baseline, latest_result
from ..evaluation.ledger import Opening, openings
from ..report.gather import Gathered, TrialRecord, gather, record
from ..study import load
from ..study_names import baselines_name, grid_name


@dataclass(frozen=True, slots=True)
class Configuration:
    """One named configuration. Scores map a replicate's seed to its value, on `Course.split`."""

    name: str
    published: dict[str, float]
    params: dict[str, Any]
    trials: list[TrialRecord]
    macro_f1: dict[int, float]
    weighted_f1: dict[int, float]
    weighted_precision: dict[int, float]
    counts: NDArray[np.int64] | None
    """Confusion matrix (8, 8), summed over replicates."""

    @property
    def family(self) -> str:
        return str(self.params.get("arch", ""))

    @property
    def validation(self) -> list[float]:
        """The replicates' macro-F1 on validation, whatever the page's split."""
        return [t.value or 0.0 for t in self.trials]


@dataclass(frozen=True, slots=True)
class Course:
    """A course report's studies, as far as they were run."""

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

    @property
    def metric(self) -> str:
        return "macro_f1" if self.report == "report_a" else "weighted_f1"

    def scores(self, name: str, metric: str = "") -> dict[int, float]:
        found: dict[int, float] = getattr(self.configurations[name], metric or self.metric)
        return found

    def misprints(self, section: str) -> list[str]:
        """What is wrong in the report and matters in this section of the page."""
        return [f"Misprint: {text}" for text in self.published["misprints"].get(section, ())]

    @property
    def metric_name(self) -> str:
        return "macro-F1" if self.metric == "macro_f1" else "weighted F1"

    def printed(self, name: str) -> float | None:
        """The published figure. One serves the three learning rates of SGD: it is the best one's."""
        if "-sgd-" in name and name not in self.best_sgd().values():
            return None
        return self.configurations[name].published.get(self.metric)

    def best_sgd(self) -> dict[str, str]:
        """By family, report A's SGD configuration with the best mean on validation."""
        best = {}
        for family in ("mlp", "cnn"):
            known = {
                name: float(np.mean(c.validation))
                for name, c in self.configurations.items()
                if name.startswith(f"A-{family}-sgd") and c.trials
            }
            if known:
                best[family] = max(known, key=lambda name: known[name])
        return best


def published(report: str) -> dict[str, Any] | None:
    """What `report` prints, or None for a study that is no course report's."""
    file = resources.files("bloodsearch.search.course").joinpath("published.toml")
    text = file.read_text(encoding="utf-8")
    found: dict[str, Any] | None = tomllib.loads(text).get(report)
    return found


def gather_course(storage: Storage, report: str, base: str, data_root: Path | None) -> Course:
    """Read the parts `BASE-baselines` and `BASE-grid`.

    Raises StorageError when there are no baselines, with the command that trains them.
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
    known = gather(storage, study, data_root)
    result = latest_result(storage, study.study_name)
    tested = {c["name"]: c for c in result["configurations"]} if result else {}
    names = {b.name: b for b in known.info.study_file.baselines}
    trials = {name: [record(t) for t in found] for name, found in by_baseline(study).items()}
    # one split for the whole page: a configuration that was not tested would not be comparable
    whole = bool(result) and all(name in tested for name, mine in trials.items() if mine)
    configurations = {
        name: _tested(b.published, tested[name], trials[name])
        if whole
        else _validated(name, b.published, dict(b.params), trials[name])
        for name, b in names.items()
        if trials[name]
    }
    return Course(
        report,
        facts,
        configurations,
        "test" if whole else "validation",
        grid,
        openings(storage, study.study_name),
        known.dataset,
        known.no_data,
        known.info.fingerprint,
        [study.study_name] + ([grid.info.name] if grid else []),
    )


def _tested(
    published: dict[str, float], found: dict[str, Any], trials: list[TrialRecord]
) -> Configuration:
    def by_seed(key: str) -> dict[int, float]:
        return dict(zip(found["seeds"], found[key]["values"], strict=True))

    return Configuration(
        found["name"],
        published,
        found["params"],
        trials,
        by_seed("test_macro_f1"),
        by_seed("test_weighted_f1"),
        by_seed("test_weighted_precision"),
        np.asarray(found["confusion_matrix"]),
    )


def _validated(
    name: str, published: dict[str, float], params: dict[str, Any], trials: list[TrialRecord]
) -> Configuration:
    from ..training.metrics import scores

    matrices = {t.seed or 0: t.confusion for t in trials if t.confusion is not None}
    found = {seed: scores(matrix) for seed, matrix in matrices.items()}
    return Configuration(
        name,
        published,
        params,
        trials,
        {seed: s.macro_f1 for seed, s in found.items()},
        {seed: s.weighted_f1 for seed, s in found.items()},
        {
            seed: float((s.precision * matrices[seed].sum(axis=1)).sum() / matrices[seed].sum())
            for seed, s in found.items()
        },
        np.sum(list(matrices.values()), axis=0) if matrices else None,
    )
