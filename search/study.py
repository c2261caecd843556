"""Studies in a storage: created whole, resumed only as what they were.

A study remembers, as user attributes, its resolved study file (with a hash), its data set (with a
content hash), its kind and the versions it was made with. Asking for the same name with another
space or other data is refused.
"""

from __future__ import annotations

import platform
import warnings
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ..studies import StudyFile, parse_study
from . import __version__, study_names
from .data.bloodmnist import Fingerprint
from .database.storage import Storage
from .database.tables import create_tables
from .errors import RefusedError, StorageError, UsageError
from .records import Kind, study_record
from .sampling.grid import grid
from .sampling.space import Params, baseline_params, searched, to_config

METRIC = "val_macro_f1"


@dataclass(frozen=True, slots=True)
class StudyInfo:
    """What a study remembers about itself."""

    name: str
    kind: Kind
    study_file: StudyFile
    fingerprint: Fingerprint
    n_trials: int | None
    """The budget that the last `optimize` asked for; workers that join later work towards it."""


def default_name(study_file: StudyFile, dataset: str) -> str:
    """The study's name in the storage unless --name says otherwise."""
    return study_names.default_name(study_file.name, dataset)


def create_or_resume(
    storage: Storage,
    name: str,
    study_file: StudyFile,
    fingerprint: Fingerprint,
    *,
    kind: Kind = "search",
) -> optuna.Study:
    """The study `name`, made now or found as it was made.

    Raises RefusedError when it exists with another space or other data.
    """
    if kind == "search":  # the replicates' name is made of a search's
        check_name(name)
    check_points(study_file)
    with storage.lock():
        create_tables(storage.engine)
        if name in optuna.get_all_study_names(storage.optuna):
            study = optuna.load_study(study_name=name, storage=storage.optuna)
            record = study_record(study)
            if record.ready:
                _check_same(storage, study, study_file, fingerprint)
                return study
            if record.space_hash is None:
                raise StorageError(
                    f"the study {name!r} in {storage.shown} was not made by bloodsearch; "
                    "choose another --name"
                )
            # its creator died half-way, before any trial could be claimed
            optuna.delete_study(study_name=name, storage=storage.optuna)
        return _create(storage, name, study_file, fingerprint, kind)


def load(storage: Storage, name: str) -> optuna.Study:
    """The study `name`. Raises StorageError, naming those that exist, when there is none."""
    names = optuna.get_all_study_names(storage.optuna)
    if name not in names:
        known = ", ".join(sorted(names)) or "none"
        raise StorageError(f"no study {name!r} in {storage.shown}; there: {known}")
    study = optuna.load_study(study_name=name, storage=storage.optuna)
    if not study_record(study).ready:
        raise StorageError(
            f"the study {name!r} in {storage.shown} was not made by bloodsearch or not finished; "
            "`bloodsearch optimize` makes one"
        )
    return study


def info(study: optuna.Study) -> StudyInfo:
    """What `study` remembers. Raises StudyFileError when a newer program's file cannot be read."""
    record = study_record(study)
    return StudyInfo(
        name=study.study_name,
        kind=record.kind,
        study_file=parse_study(record.study_file, f"study {study.study_name} in the database"),
        fingerprint=Fingerprint(**record.data),
        n_trials=record.n_trials,
    )


def versions() -> dict[str, str]:
    """Versions that decide results, by package."""
    packages = ("torch", "optuna", "numpy", "sqlalchemy")
    return {
        "bloodsearch": __version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
    }


def check_name(name: str) -> None:
    """Raises UsageError unless `name` can be a study's and a folder's."""
    if not study_names.is_valid(name):
        raise UsageError(
            f"the study name {name[:60]!r} will not do: it takes letters, digits, '.', '_' and '-', "
            "at most 100, the first a letter or digit"
        )


def last_ended(study: optuna.Study, states: tuple[TrialState, ...]) -> FrozenTrial | None:
    """The trial that was the last to end in one of these finished states."""
    trials = study.get_trials(deepcopy=False, states=states)
    return max(trials, key=lambda trial: (trial.datetime_complete, trial.number), default=None)


def check_points(study_file: StudyFile) -> None:
    """Resolve every baseline once. Raises UsageError for one that makes no configuration."""
    training = study_file.training
    for baseline in study_file.baselines:
        try:
            params = baseline_params(baseline)
            epochs = training.epochs_of(params.get("arch", ""))
            to_config(params, epochs=epochs, patience=training.patience)
        except UsageError as error:
            raise UsageError(f"baseline {baseline.name}: {error}") from None


def _create(
    storage: Storage, name: str, study_file: StudyFile, fingerprint: Fingerprint, kind: Kind
) -> optuna.Study:
    study = optuna.create_study(
        study_name=name, storage=storage.optuna, direction="maximize", sampler=_no_sampler()
    )
    attrs: dict[str, Any] = {
        "space_hash": study_file.space_hash(),
        "study_file": study_file.model_dump(mode="json"),
        "kind": kind,
        "data": asdict(fingerprint),
        "dataset": fingerprint.describe(),
        "versions": versions(),
    }
    for key, value in attrs.items():
        study.set_user_attr(key, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([METRIC])  # what the dashboard calls the objective
    if kind == "search":
        for baseline in study_file.baselines:
            enqueue(study, study_file, baseline_params(baseline), baseline=baseline.name)
        if study_file.search.sampler == "grid":
            for point in grid(study_file):
                enqueue(study, study_file, point)
    study.set_user_attr("ready", True)
    return study


def enqueue(
    study: optuna.Study, study_file: StudyFile, point: Params, **user_attrs: object
) -> None:
    """Queue one point. Its full parameters travel as the user attribute `point`."""
    study.enqueue_trial(searched(point, study_file), user_attrs={"point": point, **user_attrs})


def _no_sampler() -> optuna.samplers.BaseSampler:
    # creating a study with the default sampler costs an import of TPE's machinery
    return optuna.samplers.RandomSampler()


def _check_same(
    storage: Storage, study: optuna.Study, study_file: StudyFile, fingerprint: Fingerprint
) -> None:
    where = f"the study {study.study_name!r} in {storage.shown}"
    stored = info(study)
    if stored.study_file.space_hash() != study_file.space_hash():
        changes = "; ".join(_differences(stored.study_file.settings(), study_file.settings()))
        raise RefusedError(
            f"{where} has another search space ({changes[:600]}); "
            "choose another --name, or ask for what it was made with"
        )
    if stored.fingerprint.content_hash != fingerprint.content_hash:
        raise RefusedError(
            f"{where} was searched on {stored.fingerprint.describe()} with content hash "
            f"{stored.fingerprint.content_hash}, this is {fingerprint.describe()} with "
            f"{fingerprint.content_hash}; choose another --name"
        )


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Dotted keys with both values, for those that differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{path}.{key}" if path else str(key)
            found += _differences(old.get(key), new.get(key), inner)
        return found
    return [] if old == new else [f"{path}: {_short(old)} there, {_short(new)} here"]


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
