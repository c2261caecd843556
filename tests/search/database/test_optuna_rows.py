"""Rows we write for Optuna are the rows Optuna writes: the same trial told both ways reads the same."""

from __future__ import annotations

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState

from bloodsearch.search.database.optuna_rows import trials_table, values_table
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.pruning.peers import StudyPeers
from bloodsearch.search.records import split_attributes
from bloodsearch.search.sampling.draw import suggest_at_once
from bloodsearch.search.sampling.sampler import trial_sampler
from bloodsearch.search.sampling.space import suggest
from bloodsearch.search.study import info
from bloodsearch.search.workers.leases import Claim, Leases
from bloodsearch.search.workers.liveness import own_identity

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
ATTRS = {"seed": 7, "params": {"lr": 0.25}, "stop_reason": "ü", "per_class_f1": [0.1, None]}


def our_trial(
    leases: Leases, state: TrialState, value: float | None, reports: dict[int, float]
) -> int:
    """A trial from claim to end, the way a worker does it; always the same parameters."""
    me = own_identity("cpu")
    claim = leases.claim(me, 10**6, may_create=True)
    assert isinstance(claim, Claim)
    study_file = info(leases.study).study_file
    leases.study.sampler = trial_sampler(study_file, 0)
    suggest_at_once(
        leases.storage.engine.begin, optuna.Trial(leases.study, claim.trial_id), study_file
    )
    for step, reported in reports.items():
        assert leases.report(me, claim.trial_id, step, reported)
    assert leases.finish(me, claim.trial_id, state, value, ATTRS)
    return claim.trial_id


def optunas_trial(
    leases: Leases, state: TrialState, value: float | None, reports: dict[int, float]
) -> int:
    """The same trial through Optuna's interface alone."""
    study, study_file = leases.study, info(leases.study).study_file
    study.sampler = trial_sampler(study_file, 0)
    trial = study.ask()
    params = suggest(trial, study_file)
    trial.set_user_attr("family", params["arch"])
    for step, reported in reports.items():
        trial.report(reported, step)
    columns, hidden = split_attributes(ATTRS)
    for key, attr in columns.items():
        trial.set_user_attr(key, attr)
    for key, attr in hidden.items():
        trial.storage.set_trial_system_attr(trial._trial_id, key, attr)
    study.tell(trial, value, state=state)
    return trial._trial_id


def row(leases: Leases, table: sa.Table, trial_id: int) -> dict[str, object]:
    with leases.storage.engine.connect() as db:
        row = db.execute(sa.select(table).where(table.c.trial_id == trial_id)).mappings().first()
    return dict(row or {})


def content(trial: FrozenTrial) -> dict[str, object]:
    return {
        "state": trial.state,
        "values": trial.values,
        "reports": trial.intermediate_values,
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
        "params": list(trial.params.items()),
        "distributions": trial.distributions,
        "timed": (trial.datetime_start is not None, trial.datetime_complete is not None),
    }


@pytest.mark.parametrize(
    ("state", "value", "reports"),
    [
        (COMPLETE, 0.75, {1: 0.5, 2: 0.75, 3: 0.25}),
        (PRUNED, None, {2: 0.5, 1: 0.75}),
        (PRUNED, None, {}),
        (FAIL, None, {1: 0.5}),
    ],
)
def test_trial_reads_as_if_optuna_had_written_it(
    leases: Leases, state: TrialState, value: float | None, reports: dict[int, float]
) -> None:
    ours = our_trial(leases, state, value, reports)
    theirs = optunas_trial(leases, state, value, reports)
    # read with a storage of its own: nothing comes out of our process's cache
    fresh = open_storage(leases.storage.full_url, create=False)
    first, second = optuna.load_study(study_name="tiny", storage=fresh.optuna).trials
    fresh.close()
    assert (first._trial_id, second._trial_id) == (ours, theirs)
    assert (first.number, second.number) == (0, 1)
    assert content(first) == content(second)
    assert first.user_attrs["family"] == first.params["arch"]
    for table in (trials_table, values_table):
        a, b = row(leases, table, ours), row(leases, table, theirs)
        varying = {"trial_id", "number", "trial_value_id", "datetime_start", "datetime_complete"}
        assert {k: v for k, v in a.items() if k not in varying} == {
            k: v for k, v in b.items() if k not in varying
        }
        assert {k: type(v) for k, v in a.items()} == {k: type(v) for k, v in b.items()}


def test_optuna_goes_on_where_we_stopped(leases: Leases) -> None:
    """Numbers have no gap and no double when Optuna and we create trials in turn."""
    for turn in range(6):
        (our_trial if turn % 2 else optunas_trial)(leases, COMPLETE, 0.5, {1: 0.5})
    assert [trial.number for trial in leases.study.trials] == list(range(6))


def test_a_pruner_is_given_each_finished_trial_once(leases: Leases) -> None:
    """In whatever order trials end."""
    source = StudyPeers()

    def new() -> list[tuple[object, ...]]:
        return sorted(
            (p.family, p.complete, tuple(sorted(p.values.items())), p.losses_at(1))
            for p in source.new(leases.study)
        )

    assert new() == []
    our_trial(leases, COMPLETE, 0.5, {1: 0.5, 2: 0.25})
    slow = leases.study.ask()  # an early trial that ends late
    slow.set_user_attr("family", "a family that sorts first")
    leases.study.enqueue_trial({})
    our_trial(leases, FAIL, None, {1: 0.5})
    our_trial(leases, PRUNED, None, {1: 0.125})
    assert len(new()) == 2
    assert new() == []
    slow.report(0.375, 1)
    slow.set_user_attr("train_losses", [1.5])
    slow.set_user_attr("val_losses", [0.5])
    leases.study.tell(slow, 0.375)
    our_trial(leases, COMPLETE, 0.625, {1: 0.625})
    assert [row[2:] for row in new()] == [
        (((1, 0.375),), (1.5, 0.5)),
        (((1, 0.625),), None),
    ]
    assert new() == []


@pytest.mark.parametrize(
    "attrs",
    [
        {"ending": "too_costly"},
        {"ending": "diverged"},
        {"ending": "out_of_memory"},
        {"stop_reason": "too costly: 9 parameters, at most 5"},
    ],
)
def test_models_that_could_not_be_trained_are_no_peers(
    leases: Leases, attrs: dict[str, str]
) -> None:
    """Ten refused models once lowered the pruner's bar by half, and two more switched it off."""
    source = StudyPeers()
    ended = leases.study.ask()
    ended.report(0.0, 1)
    for key, value in attrs.items():
        ended.set_user_attr(key, value)
    leases.study.tell(ended, state=PRUNED)
    assert source.new(leases.study) == []
    our_trial(leases, PRUNED, None, {1: 0.125})
    assert len(source.new(leases.study)) == 1
    assert source.new(leases.study) == []
