"""What a search is asked for, and the study file and name that follow from it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from ...studies import (
    DEFAULT_STUDY,
    GENERIC_STUDY,
    Overrides,
    StudyFile,
    StudyFileError,
    epochs_overrides,
    generic_study,
    only_arch,
    read_as_before,
)
from ..data import registry
from ..data.info import DatasetInfo
from ..data.load import dataset_info
from ..data.places import Named, given_as, name_of
from ..database.storage import open_storage
from ..env import storage_url
from ..errors import StorageError
from ..study import StudyInfo, default_name, load
from ..study import info as study_info
from ..study_names import dataset_slug
from .parts import Part
from .placement import AUTO, Placement
from .study import StudySource, study_file

FEW_TO_VALIDATE = 500
MOST_TO_FOLD = 5_000
N_FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """A search, as `optimize` is asked for it."""

    study: StudySource | None = None
    """None: the stored study of `name` if there is one, else the default study file."""
    trials: int | None = None
    minutes: float | None = None
    """Fit the study to so much time on this machine, and train its ladder too."""
    storage: str | None = None
    name: str | None = None
    dataset: Named | None = None
    """A data set's name, an npz file, or the data of a stored study."""
    data_root: Path | None = None
    overrides: Overrides | None = None
    epochs: int | None = None
    seed: int | None = None
    arch: str | None = None
    max_params: int | None = None
    max_latency_ms: float | None = None
    baselines: bool = True
    from_study: str | None = None
    only: Part | None = None
    replicates: int | None = None
    placement: Placement = AUTO
    timeout_s: float | None = None
    create_only: bool = False
    owns_process: bool = False
    """True in a command: a signal may end the process when the storage hangs."""
    snapshots: bool = False
    """Whether a Snapshot is an event, too, about once a second."""

    def changes_study(self) -> bool:
        """Return whether the request changes the study file's settings."""
        given = (self.overrides, self.epochs, self.arch, self.max_params, self.max_latency_ms)
        return any(given) or self.seed is not None or not self.baselines


def resolve(request: SearchRequest) -> tuple[StudyFile, SearchRequest]:
    """Return the study file that is searched, and the request with its data set settled."""
    if request.study is None and request.name is not None and not request.changes_study():
        with contextlib.suppress(StorageError):  # it may not exist yet
            stored = _stored(request, request.name)
            dataset = request.dataset or stored.fingerprint
            # the stored budget is that of the search, not of its baselines or grid
            trials = request.trials or (stored.n_trials if request.only is None else None)
            return stored.study_file, replace(request, dataset=dataset, trials=trials)
    file, resolved = _asked(request)
    begun = _as_begun(resolved, file)
    return (file if begun is None else begun), resolved


def _as_begun(request: SearchRequest, file: StudyFile) -> StudyFile | None:
    """Return the settings of a search that this request began under version 0.1.0, None for any other.

    There `--set training.epochs=6` left the epochs of MLPs as they were, and the same command resumes it.
    """
    overrides = read_as_before(request.overrides)
    if overrides is None:
        return None
    stored = stored_study(request, study_name(request, file))
    if stored is None or stored.study_file.space_hash() == file.space_hash():
        return None
    with contextlib.suppress(StudyFileError):  # one number for all families, not a table
        before, _ = _asked(replace(request, overrides=overrides))
        if before.space_hash() == stored.study_file.space_hash():
            return before
    return None


def _asked(request: SearchRequest) -> tuple[StudyFile, SearchRequest]:
    file, info = _file_and_data(request)
    extra: list[str] = []
    for key, value in (
        ("search.seed", request.seed),
        ("search.max_params", request.max_params),
        ("search.max_latency_ms", request.max_latency_ms),
    ):
        extra += [] if value is None else [f"{key}={value}"]
    if request.epochs is not None:
        extra += epochs_overrides(file, request.epochs)
    file = study_file(file, extra) if extra else file
    if request.arch is not None:
        file = only_arch(file, request.arch)
    if not request.baselines:
        without: dict[str, list[object]] = {"baselines": []}
        without |= {} if file.minutes is None else {"minutes.baselines": []}
        file = study_file(file, without)
    file = _with_folds(file, info, is_fitted=request.minutes is not None)
    return file, replace(request, dataset=_dataset(request, file))


def _dataset(request: SearchRequest, file: StudyFile) -> Named:
    return request.dataset or file.dataset or registry.DEFAULT


def _file_and_data(request: SearchRequest) -> tuple[StudyFile, DatasetInfo]:
    """Return the study file before most options change it, and the description of its data.

    Without a STUDY, data other than the default ones get the generic study, fitted to their images.
    """
    if request.study not in (None, GENERIC_STUDY):
        assert request.study is not None
        file = study_file(request.study, request.overrides)
        return file, dataset_info(_dataset(request, file), request.data_root)
    info = dataset_info(request.dataset or registry.DEFAULT, request.data_root)
    if request.study is None and info.name in (registry.DEFAULT, registry.SYNTHETIC):
        return study_file(DEFAULT_STUDY, request.overrides), info
    slug = dataset_slug(info.name)
    name = slug if request.study is None else f"{slug}-{GENERIC_STUDY}"
    fitted = generic_study(
        name,
        info.title,
        n_train=info.n_images["train"],
        size=info.size,
        folded=_needs_folds(info),
    )
    # a study of the data set's own name needs no other data set in its name
    own = fitted.model_copy(update={"dataset": given_as(request.dataset or registry.DEFAULT)})
    return study_file(own, request.overrides), info


def _needs_folds(info: DatasetInfo) -> bool:
    n_val = info.n_images["val"]
    return n_val < FEW_TO_VALIDATE and n_val + info.n_images["train"] <= MOST_TO_FOLD


def _with_folds(file: StudyFile, info: DatasetInfo, *, is_fitted: bool) -> StudyFile:
    """Judge trials on few validation images by folds of both splits, unless the file says otherwise.

    Folds of a large training split would take too long. Such a search is told how little its scores mean.
    With folds there is no ladder. A search that `--minutes` fits (`is_fitted`) keeps the file's own here,
    because its stored hash has it, and the fit leaves it out.
    """
    if file.search.folds is None and _needs_folds(info):
        file = study_file(file, {"search.folds": N_FOLDS})
    elif not file.search.folds or is_fitted:
        return file
    # a ladder's last rung chooses on the validation split alone
    return file.model_copy(update={"ladder": None})


def _stored(request: SearchRequest, name: str) -> StudyInfo:
    """Return what the study `name` stores. Raises StorageError if it does not exist."""
    opened = open_storage(storage_url(request.storage), create=False)
    try:
        return study_info(load(opened, name))
    finally:
        opened.close()


def stored_study(request: SearchRequest, name: str) -> StudyInfo | None:
    """Return what the study `name` stores; None if the storage or the study does not exist."""
    try:
        return _stored(request, name)
    except StorageError:
        return None


def is_stored(request: SearchRequest, name: str) -> bool:
    """Return whether the storage exists and holds the study `name`."""
    return stored_study(request, name) is not None


def study_name(request: SearchRequest, file: StudyFile) -> str:
    """Return the study's name in the storage."""
    if request.name is not None:
        return request.name
    return default_name(file, name_of(_dataset(request, file)))
