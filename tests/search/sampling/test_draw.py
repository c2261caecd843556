"""Drawing points: no repeats while a finite space has untried points, and none between two workers."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Mapping

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.sampling.draw import suggest_at_once
from bloodsearch.search.sampling.grid import MAX_POINTS, finite_points, grid
from bloodsearch.search.sampling.sampler import trial_sampler
from bloodsearch.search.sampling.space import Params, suggest
from bloodsearch.search.study import create_or_resume
from bloodsearch.studies import StudyFile, load_study_file

FIXED = {"arch": "mlp", "optimizer": "adam"}
# 3 x 3 x 3 x 2 = 54 points
SMALL = FIXED | {
    "lr": [1e-4, 1e-3, 1e-2],
    "mlp_width": [8, 16, 32],
    "mlp_depth": {"low": 1, "high": 3},
    "loss": ["cross_entropy", "nll"],
}
Begin = Callable[[], contextlib.AbstractContextManager[sa.Connection]]


def study_file(space: Mapping[str, object], startup_trials: int = 4) -> StudyFile:
    return tiny_study(space=space, search={"startup_trials": startup_trials})


def search(
    storage: Storage,
    file: StudyFile,
    n_trials: int,
    accept: Callable[[Params], bool] = lambda params: True,
) -> list[Params]:
    """Draw trials one after another. A point's value is the index of its learning rate."""
    study = create_or_resume(storage, "tiny", file, FINGERPRINT)
    points = []
    for _ in range(n_trials):
        trial = study.ask()
        points.append(draw(storage, study, file, trial, accept=accept))
        study.tell(trial, float(str(points[-1]["lr"])))
    return points


def draw(
    storage: Storage,
    study: optuna.Study,
    file: StudyFile,
    trial: optuna.Trial,
    *,
    begin: Begin | None = None,
    accept: Callable[[Params], bool] = lambda params: True,
    seed_of: int | None = None,
) -> Params:
    """Draw a claimed trial as a worker does, with the sampler of trial `seed_of`."""
    begin = begin or functools.partial(storage.exclusive, study._study_id)

    def view(draw: int) -> optuna.Trial:
        sampler = trial_sampler(file, trial.number if seed_of is None else seed_of, draw)
        seen = optuna.load_study(
            study_name=study.study_name, storage=storage.optuna, sampler=sampler
        )
        return optuna.Trial(seen, trial._trial_id)

    return suggest_at_once(begin, view(0), file, redraw=view, accept=accept)


def n_distinct(points: list[Params]) -> int:
    return len({repr(sorted(point.items())) for point in points})


def test_tpe_tries_every_point_of_a_small_space_once(sqlite_storage: Storage) -> None:
    points = search(sqlite_storage, study_file(SMALL), 54)
    assert n_distinct(points) == 54
    # and all trials are stored as they were drawn
    study = optuna.load_study(study_name="tiny", storage=sqlite_storage.optuna)
    for trial, point in zip(study.trials, points, strict=True):
        assert trial.params == {name: point[name] for name in trial.params}
        assert set(trial.params) == {"lr", "mlp_width", "mlp_depth", "loss"}
        assert trial.user_attrs["family"] == "mlp"


def test_floats_with_a_step_are_discrete(sqlite_storage: Storage) -> None:
    space = FIXED | {"lr": {"low": 0.1, "high": 0.9, "step": 0.1}}
    points = search(sqlite_storage, study_file(space), 9)
    assert sorted(round(float(point["lr"]), 6) for point in points) == [
        round(0.1 * i, 6) for i in range(1, 10)
    ]


def test_an_exhausted_space_says_so_once_and_repeats(
    sqlite_storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    space = FIXED | {"lr": [1e-3, 1e-2], "mlp_width": [8, 16]}
    with caplog.at_level(logging.WARNING):
        points = search(sqlite_storage, study_file(space), 4)
        assert "exhausted" not in caplog.text
        points += search(sqlite_storage, study_file(space), 3)
    assert n_distinct(points) == 4
    assert caplog.text.count("the search space is exhausted: its 4 points") == 1


def test_a_limit_on_models_leaves_points_untried(sqlite_storage: Storage) -> None:
    space = FIXED | {"lr": [1e-3, 1e-2], "mlp_width": [8, 16, 32, 64]}
    small = search(
        sqlite_storage, study_file(space), 6, accept=lambda params: int(params["mlp_width"]) < 64
    )
    assert n_distinct(small) == 6
    assert {point["mlp_width"] for point in small} == {8, 16, 32}


def test_a_finite_part_of_a_continuous_space_is_left_again(sqlite_storage: Storage) -> None:
    """One MLP, and CNNs of any learning rate: TPE likes the MLP and cannot have it twice."""
    space = {
        "arch": ["mlp", "cnn"],
        "optimizer": "adam",
        "lr": 1e-3,
        "mlp_width": [8, 16],
        "cnn_dropout": {"low": 0.0, "high": 0.5},
    }
    points = search(sqlite_storage, study_file(space), 12)
    assert n_distinct(points) == 12
    assert sum(point["arch"] == "mlp" for point in points) <= 2


def test_two_workers_do_not_store_one_point(storage: Storage) -> None:
    """The second worker draws before the first one stores, from the same seed."""
    file = study_file(SMALL)
    study = create_or_resume(storage, "tiny", file, FINGERPRINT)
    first, second = study.ask(), study.ask()
    points: list[Params] = []

    @contextlib.contextmanager
    def begin() -> Iterator[sa.Connection]:
        if not points:
            points.append(draw(storage, study, file, first, seed_of=0))
        with storage.exclusive(study._study_id) as db:
            yield db

    points.append(draw(storage, study, file, second, seed_of=0, begin=begin))
    assert n_distinct(points) == 2
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING] * 2


def test_points_of_finite_spaces() -> None:
    points = finite_points(study_file(SMALL))
    assert points is not None
    assert (len(points), n_distinct(points)) == (54, 54)
    stepped = study_file(FIXED | {"lr": {"low": 0.1, "high": 0.9, "step": 0.4}, "shift": [0, 2]})
    rates = [point["lr"] for point in finite_points(stepped) or []]
    assert rates == pytest.approx([0.1, 0.1, 0.5, 0.5, 0.9, 0.9])
    assert finite_points(load_study_file("demo")) is None
    wide = FIXED | {"lr": 1e-3, "mlp_width": {"low": 1, "high": MAX_POINTS // 2}, "shift": [0, 2]}
    assert len(finite_points(study_file(wide)) or []) <= MAX_POINTS
    assert finite_points(study_file(wide | {"loss": ["nll", "focal"]})) is None


def test_a_grid_lists_its_points_in_the_order_of_its_lists() -> None:
    """The order decides the numbers of the trials, in databases of before too."""
    points = grid(load_study_file("report_a"))
    assert [p["lr"] for p in points[:2]] == [1e-3, 1e-3]
    names = ("arch", "optimizer", "batch_size", "loss")
    assert [tuple(p[name] for name in names) for p in points[:3]] == [
        ("mlp", "adam", 64, "cross_entropy"),
        ("mlp", "adam", 64, "cross_entropy"),
        ("mlp", "adam", 64, "weighted_cross_entropy"),
    ]
    assert points[-1]["arch"] == "cnn"
    assert points[-1]["optimizer"] == "sgd"


def test_a_listed_point_is_one_that_optuna_can_draw() -> None:
    file = study_file(FIXED | {"lr": {"low": 0.1, "high": 0.9, "step": 0.1}, "shift": [0, 2]})
    for point in finite_points(file) or []:
        assert suggest(optuna.trial.FixedTrial(dict(point)), file) == point
