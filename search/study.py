"""Studies in a storage: created as a whole, and resumed only with the settings they were created with.

A study stores, as user attributes, its resolved study file (with a hash), its data set (with a content
hash), its kind and the versions it was created with.
"""

from __future__ import annotations

import platform
import warnings
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..studies import StudyFile, parse_study
from ..studies.spelling import did_you_mean
from . import __version__, study_names
from .data import registry
from .data.info import DatasetInfo, Fingerprint
from .database.storage import Storage
from .database.tables import create_tables
from .errors import RefusedError, StorageError, UsageError
from .records import Kind, study_record
from .sampling.grid import grid
from .sampling.space import Params, baseline_params, searched, to_config
from .suggest import command

METRIC = "val_macro_f1"
N_SHOWN = 4
"""Differing settings that a refusal names."""


@dataclass(frozen=True, slots=True)
class StudyInfo:
    """What a study stores about itself."""

    name: str
    kind: Kind
    study_file: StudyFile
    fingerprint: Fingerprint
    n_trials: int | None
    """The budget that the last `optimize` asked for. Workers that join later use it, too."""
    fitted_from: str | None = None
    """The hash of the settings that `optimize --minutes` fitted; None for any other study."""

    @property
    def dataset(self) -> DatasetInfo:
        """Return the description of the data set."""
        return self.fingerprint.info

    @property
    def n_folds(self) -> int:
        """Return the folds that a trial is judged on; 0: it is judged on the validation split.

        The trainings whose weights are kept use the official splits.
        """
        folded = self.kind in ("search", "finalists", "rung")
        return (self.study_file.search.folds or 0) if folded else 0

    @property
    def n_judged(self) -> int:
        """Return the images that a trial's macro-F1 is read on."""
        n_images = self.dataset.n_images
        return n_images["val"] + (n_images["train"] if self.n_folds else 0)


def default_name(study_file: StudyFile, dataset: str) -> str:
    """Return the study's name in the storage without --name."""
    is_its_own = dataset == (study_file.dataset or registry.DEFAULT)
    return study_names.default_name(study_file.name, None if is_its_own else dataset)


def create_or_resume(
    storage: Storage,
    name: str,
    study_file: StudyFile,
    fingerprint: Fingerprint,
    *,
    kind: Kind = "search",
) -> optuna.Study:
    """Create the study `name`, or load it if it exists.

    Args:
        storage: The open storage.
        name: The study's name in the storage.
        study_file: The settings to create it with.
        fingerprint: The data set that its trials train on.
        kind: What its trials are.

    Raises RefusedError if the study exists with another kind, other settings or other data, or if trainings
    of a deleted study of that name are stored.
    """
    if kind == "search":  # the other kinds' names are derived from a search's name
        study_names.check_name(name)
    check_points(study_file, fingerprint.info)
    with storage.lock():
        create_tables(storage.engine)
        names = optuna.get_all_study_names(storage.optuna)
        if name in names:
            study = optuna.load_study(study_name=name, storage=storage.optuna)
            record = study_record(study)
            if record.ready:
                _check_same(storage, study, study_file, fingerprint, kind)
                return study
            if record.space_hash is None and not _is_blank(study):
                raise StorageError(
                    f"the study {name!r} in {storage.shown} was not made by bloodsearch; "
                    "choose another --name"
                )
            # its creator died half-way, before any trial could be claimed
            optuna.delete_study(study_name=name, storage=storage.optuna)
        if kind == "search":
            _check_no_trainings(storage, name, names)
        return _create(storage, name, study_file, fingerprint, kind)


def load(storage: Storage, name: str) -> optuna.Study:
    """Load the study `name`. Raises StorageError, which lists the stored studies, if it is missing."""
    names = optuna.get_all_study_names(storage.optuna)
    if name not in names:
        hint = did_you_mean(name, names)
        stored = ", ".join(sorted(names)) or "none; `bloodsearch optimize` creates one"
        raise StorageError(f"no study {name!r}{hint} in {storage.shown}; available: {stored}")
    study = optuna.load_study(study_name=name, storage=storage.optuna)
    if not study_record(study).ready:
        raise StorageError(
            f"the study {name!r} in {storage.shown} was not made by bloodsearch or not finished; "
            "`bloodsearch optimize` creates one"
        )
    return study


def info(study: optuna.Study) -> StudyInfo:
    """Return what `study` stores. Raises StudyFileError if a newer version has written its settings."""
    record = study_record(study)
    return StudyInfo(
        name=study.study_name,
        kind=record.kind,
        study_file=parse_study(record.study_file, f"study {study.study_name} in the database"),
        fingerprint=Fingerprint.read(record.data),
        n_trials=record.n_trials,
        fitted_from=record.fitted_from,
    )


def data_of(study: optuna.Study) -> DatasetInfo:
    """Return the description of the data set that `study` was made with."""
    return Fingerprint.read(study_record(study).data).info


def versions() -> dict[str, str]:
    """Return the versions of packages that influence results."""
    packages = ("torch", "optuna", "numpy", "sqlalchemy")
    return {
        "bloodsearch": __version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
    }


def last_ended(study: optuna.Study, states: tuple[TrialState, ...]) -> FrozenTrial | None:
    """Return the trial that ended last in one of these finished states, None if there is none."""
    trials = study.get_trials(deepcopy=False, states=states)
    return max(trials, key=lambda trial: (trial.datetime_complete, trial.number), default=None)


def check_points(study_file: StudyFile, data: DatasetInfo) -> None:
    """Raise UsageError for a baseline, or the deepest CNN, that makes no configuration for the data."""
    training = study_file.training
    for baseline in study_file.baselines:
        try:
            params = baseline_params(baseline)
            epochs = training.epochs_of(params.get("arch", ""))
            to_config(params, epochs=epochs, patience=training.patience, shape=data.shape)
        except UsageError as error:
            raise UsageError(f"baseline {baseline.name}: {error}") from None
    stem, blocks = study_file.largest("cnn_stem"), study_file.largest("cnn_blocks")
    side = -(-data.size // int(stem)) >> int(blocks)
    if "cnn" in study_file.families() and study_file.space and not side:
        raise UsageError(
            f"space.cnn_blocks: {blocks:g} blocks halve the {data.size} pixels of {data.title} to nothing; "
            f"lower it, as in --set space.cnn_blocks={_most_blocks(data.size, int(stem))}"
        )


def _most_blocks(size: int, stem: int) -> int:
    return max(1, (-(-size // stem)).bit_length() - 1)


def _is_blank(study: optuna.Study) -> bool:
    """Return whether `study` is as `_create` leaves it when it dies after its first write."""
    storage, study_id = study._storage, study._study_id
    attrs = storage.get_study_user_attrs(study_id) | storage.get_study_system_attrs(study_id)
    return (
        study.directions == [StudyDirection.MAXIMIZE]
        and not attrs
        and not storage.get_n_trials(study_id)
    )


def _check_no_trainings(storage: Storage, name: str, names: list[str]) -> None:
    """Raise RefusedError if trainings of an earlier study `name` are stored.

    They name its trials by their numbers, and would be taken for those of the new study's trials.
    """
    left = []
    for other in names:
        part = study_names.take_apart(other)
        if part is None or part.base != name or part.kind in ("baselines", "grid"):
            continue
        study = optuna.load_study(study_name=other, storage=storage.optuna)
        if study_record(study).kind != "search":  # version 0.1.0 reserved fewer names
            left.append(other)
    if left:
        raise RefusedError(
            f"{storage.shown} has trainings of a deleted study {name!r}: {', '.join(sorted(left))}; delete "
            "these, too, or choose another --name"
        )


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
        "data": fingerprint.as_dict(),
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
            if study_file.search.sampler in ("tpe", "random"):
                # a sampled trial before each baseline: the first minutes show the search
                study.add_trial(optuna.trial.create_trial(state=TrialState.WAITING))
            enqueue(study, study_file, baseline_params(baseline), baseline=baseline.name)
        if study_file.search.sampler == "grid":
            for point in grid(study_file):
                enqueue(study, study_file, point)
    study.set_user_attr("ready", True)
    return study


def enqueue(
    study: optuna.Study, study_file: StudyFile, point: Params, **user_attrs: object
) -> None:
    """Queue one point. The user attribute `point` holds all of its parameters."""
    study.enqueue_trial(searched(point, study_file), user_attrs={"point": point, **user_attrs})


def _no_sampler() -> optuna.samplers.BaseSampler:
    # creating a study with the default sampler costs an import of TPE's machinery
    return optuna.samplers.RandomSampler()


_KIND_WORDS: dict[Kind, str] = {
    "search": "a search",
    "finalists": "the finalists of a search",
    "rung": "a rung of a search's ladder",
    "replicates": "replicates with several seeds",
    "refits": "trainings on train and validation together",
}


def _check_same(
    storage: Storage,
    study: optuna.Study,
    study_file: StudyFile,
    fingerprint: Fingerprint,
    kind: Kind,
) -> None:
    where = f"the study {study.study_name!r} in {storage.shown}"
    stored = info(study)
    if stored.kind != kind:
        raise RefusedError(
            f"{where} holds {_KIND_WORDS[stored.kind]}, not {_KIND_WORDS[kind]}; "
            "choose another --name for the search"
        )
    if stored.study_file.space_hash() != study_file.space_hash():
        changes = _differences(stored.study_file.settings(), study_file.settings())
        shown = "; ".join(changes[:N_SHOWN])
        more = f"; and {len(changes) - N_SHOWN} more" if len(changes) > N_SHOWN else ""
        resume = ["optimize", "--name", study.study_name, "--storage", storage.shown]
        raise RefusedError(
            f"{where} was created with other settings: {shown}{more}. Choose another --name, or "
            f"resume it as it is: {command(*resume, '--trials', stored.n_trials or 'N')}"
        )
    if stored.fingerprint.content_hash != fingerprint.content_hash:
        raise RefusedError(
            f"{where} was searched on {stored.fingerprint.describe()} with content hash "
            f"{stored.fingerprint.content_hash}, this is {fingerprint.describe()} with "
            f"{fingerprint.content_hash}; choose another --name"
        )


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return the dotted keys whose values differ, each with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        changes = []
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{path}.{key}" if path else str(key)
            changes += _differences(old.get(key), new.get(key), inner)
        return changes
    if old == new:
        return []
    return [f"{path} is {_short(old)} in the study, {_short(new)} in this command"]


def _short(value: object) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
