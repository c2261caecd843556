"""The second stage, with trainings that are looked up in a table."""

from __future__ import annotations

import dataclasses
import itertools
import re
import statistics

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.errors import RefusedError, UsageError
from bloodsearch.search.evaluation.finalists import (
    Finalist,
    Prefer,
    Raced,
    candidates,
    pooled_sd,
    race,
)
from bloodsearch.search.evaluation.race_text import finalist_rows, race_text
from bloodsearch.search.evaluation.selection import choose_winner
from bloodsearch.search.results import Race
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.suggest import command
from bloodsearch.search.workers.leases import Claim, Leases
from bloodsearch.search.workers.liveness import own_identity

NOISE = (0.002, -0.002, 0.001, -0.001, 0.0)
"""What the fresh seeds of rounds 1, 2, ... add to a configuration's true value."""


@pytest.fixture
def study(storage: Storage) -> optuna.Study:
    """Five complete trials; the larger the network the slower, and each searched value is lucky."""
    made = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    for i, value in enumerate((0.95, 0.97, 0.90, 0.969, 0.96)):
        made.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                value=value,
                user_attrs={
                    "params": {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, "mlp_width": 8 + i},
                    "n_parameters": 100 * (i + 1),
                    "latency_ms": 5.0 - i,
                },
            )
        )
    return made


class Table:
    """Trains by looking up `true` values, and remembers who was trained in which round."""

    def __init__(self, storage: Storage, true: dict[int, float]) -> None:
        self.storage, self.true = storage, true
        self.rounds: list[list[int]] = []

    def __call__(self, arena: optuna.Study) -> None:
        leases, me = Leases(self.storage, arena), own_identity("cpu")
        trained = []
        seeds: list[int] = []
        while isinstance(claim := leases.claim(me, 10**6, may_create=False), Claim):
            trial = arena.trials[claim.number]
            trained.append(trial.user_attrs["replicate_of"])
            seeds.append(trial.user_attrs["seed"])
            value = self.true[trained[-1]] + NOISE[len(self.rounds)]
            leases.finish(me, claim.trial_id, TrialState.COMPLETE, value)
        assert len(set(seeds)) <= 1  # the same seed for all: their differences are paired
        self.rounds.append(sorted(trained))


def raced(
    storage: Storage, study: optuna.Study, table: Table, prefer: Prefer = "best", rounds: int = 5
) -> Raced:
    found = candidates(study, 4, max_params=None, max_latency_ms=None)
    return race(storage, study, found, rounds=rounds, prefer=prefer, train=table)


def test_clear_losers_leave_and_the_best_mean_wins(storage: Storage, study: optuna.Study) -> None:
    table = Table(storage, {0: 0.940, 1: 0.955, 3: 0.960, 4: 0.959})
    result = raced(storage, study, table)
    assert table.rounds[0] == [0, 1, 3, 4]  # trial 2 was not among the best four
    assert table.rounds[1] == [0, 1, 3, 4]  # one seed each shows no spread: all remain
    assert table.rounds[2] == [1, 3, 4]  # 0.02 is clear with two seeds, 0.005 is not
    assert table.rounds[-1] == [3, 4]
    assert result.winner == 3
    assert result.optimism == pytest.approx(0.0086, abs=0.002)  # (.010 + .015 + .009 + .001) / 4
    assert study.user_attrs["selection"]["winner"] == 3


def test_small_or_fast_wins_within_one_standard_error(
    storage: Storage, study: optuna.Study
) -> None:
    true = {0: 0.9595, 1: 0.9600, 3: 0.9590, 4: 0.9500}
    expected: dict[Prefer, int] = {"best": 1, "small": 0, "fast": 3}
    table = Table(storage, true)
    assert {p: raced(storage, study, table, p, rounds=2).winner for p in expected} == expected


def test_interrupted_race_trains_only_what_is_missing(
    storage: Storage, study: optuna.Study
) -> None:
    table = Table(storage, dict.fromkeys(range(5), 0.95))
    first = raced(storage, study, table, rounds=2)
    again = Table(storage, {})
    assert raced(storage, study, again, rounds=2) == first
    assert list(itertools.chain(*again.rounds)) == []


Ends = dict[int, list[float | TrialState]]
"""How the trainings of each finalist end, one after the other: with a value, or in a state without one."""


class Cut(Exception):
    pass


def run_race(
    storage: Storage, study: optuna.Study, ends: Ends, rounds: int, cut_after: int | None = None
) -> Raced:
    """A race of the trials in `ends`; Cut is raised within it after so many trainings."""
    n_trained = 0

    def train(arena: optuna.Study) -> None:
        nonlocal n_trained
        leases, me = Leases(storage, arena), own_identity("cpu")
        while isinstance(claim := leases.claim(me, 10**6, may_create=False), Claim):
            trials = arena.trials
            of = trials[claim.number].user_attrs["replicate_of"]
            n = sum(t.state.is_finished() for t in trials if t.user_attrs["replicate_of"] == of)
            end = ends[of][n]
            if isinstance(end, TrialState):
                leases.finish(me, claim.trial_id, end, None)
            else:
                leases.finish(me, claim.trial_id, TrialState.COMPLETE, end)
            n_trained += 1
            if n_trained == cut_after:
                raise Cut

    found = candidates(study, 8, max_params=None, max_latency_ms=None)
    found = [trial for trial in found if trial.number in ends]
    return race(storage, study, found, rounds=rounds, prefer="best", train=train)


def test_a_race_that_was_cut_within_a_round_goes_on_where_it_was(
    storage: Storage, study: optuna.Study
) -> None:
    ends: Ends = {1: [0.970, 0.968], 3: [0.968, 0.940], 4: [0.967, 0.9669]}
    with pytest.raises(Cut):
        run_race(storage, study, ends, rounds=2, cut_after=4)
    resumed = run_race(storage, study, ends, rounds=2)
    arena = optuna.load_study(study_name="tiny-finalists", storage=study._storage)
    keys = [(t.user_attrs["replicate_of"], t.user_attrs["seed"]) for t in arena.trials]
    assert len(keys) == len(set(keys)) == 6
    assert {f.trial: f.values for f in resumed.finalists} == ends
    assert resumed.winner == 1


def test_a_seed_with_which_a_finalist_diverged_counts_as_nothing(
    storage: Storage, study: optuna.Study
) -> None:
    """The mean of the others alone would make it the winner, and its replicates would diverge, too."""
    values: Ends = {1: [0.970, TrialState.PRUNED], 3: [0.965, 0.965, 0.965]}
    result = run_race(storage, study, values, rounds=3)
    assert result.winner == 3
    (loser,) = [f for f in result.finalists if f.trial == 1]
    assert (loser.n_diverged, loser.n, loser.mean) == (1, 2, 0.485)
    assert result.sd == 0.003  # of the trainings that ended
    rows = {row[0]: row for row in finalist_rows(result.as_dict())}
    assert (rows[1][3], rows[1][-1], rows[3][-1]) == (2, "1 diverged", "winner")


def test_a_training_that_failed_is_tried_once_more(storage: Storage, study: optuna.Study) -> None:
    values: Ends = {
        1: [TrialState.FAIL, 0.970],
        3: [0.960],
        4: [TrialState.FAIL, TrialState.FAIL, 0.99],
    }
    result = run_race(storage, study, values, rounds=1)
    assert result.winner == 1
    assert {f.trial: f.values for f in result.finalists} == {1: [0.970], 3: [0.960]}


def test_one_that_left_cannot_win_by_the_others_bad_luck_later(
    storage: Storage, study: optuna.Study
) -> None:
    values: Ends = {1: [0.970, 0.970, 0.935], 4: [0.960, 0.961], 3: [0.969, 0.969, 0.938]}
    result = run_race(storage, study, values, rounds=3)
    assert result.finalists[0].trial == 4
    assert {f.trial: len(f.values) for f in result.finalists} == {1: 3, 3: 3, 4: 2}
    assert result.winner == 3


def test_candidates_keep_to_the_limits(study: optuna.Study) -> None:
    def numbers(**limits: float | None) -> list[int]:
        given = {"max_params": None, "max_latency_ms": None} | limits
        return [t.number for t in candidates(study, 8, **given)]  # type: ignore[arg-type]

    assert numbers() == [1, 3, 4, 0, 2]
    assert numbers(max_params=300) == [1, 0, 2]
    assert numbers(max_latency_ms=2.0) == [3, 4]
    with pytest.raises(RefusedError, match="none of the 5 complete trials"):
        numbers(max_params=50)


def test_study_without_complete_trials_is_refused(storage: Storage) -> None:
    empty = create_or_resume(storage, "empty", tiny_study(), FINGERPRINT)
    suggested = re.escape(command("optimize", "--name", "empty", "--storage", storage.shown))
    with pytest.raises(RefusedError, match=f"no complete trial yet; run {suggested}"):
        candidates(empty, 8, max_params=None, max_latency_ms=None)


def test_spread_is_pooled_and_never_believed_to_be_zero() -> None:
    base = Finalist(0, 0.9, [0.95, 0.95], 1, None)
    assert pooled_sd([base]) == 0.003
    other = dataclasses.replace(base, values=[0.90, 0.96])
    # two values each: (0 + 2 * 0.03 ** 2) / 2
    assert pooled_sd([base, other]) == pytest.approx(0.03)


def test_finalist_that_never_ended_is_left_out(storage: Storage, study: optuna.Study) -> None:
    ends: Ends = {0: [0.9], 1: [TrialState.FAIL] * 2, 3: [0.9], 4: [0.9]}
    result = run_race(storage, study, ends, rounds=1)
    assert {f.trial for f in result.finalists} == {0, 3, 4}


def test_a_diverged_seed_is_no_part_of_the_optimism(storage: Storage, study: optuna.Study) -> None:
    """Counted as a value of 0, one such seed printed +0.06 where the others said +0.003."""
    values: Ends = {1: [0.967, TrialState.PRUNED], 3: [0.966, 0.966]}
    assert run_race(storage, study, values, rounds=2).optimism == pytest.approx(0.003)


def test_duplicates_take_no_finalists_places(study: optuna.Study) -> None:
    """Several trainings of one configuration are one candidate, with its best value."""
    twice = study.trials[1]
    for value in (0.968, 0.9705):
        study.add_trial(
            create_trial(state=TrialState.COMPLETE, value=value, user_attrs=twice.user_attrs)
        )
    found = candidates(study, 3, max_params=None, max_latency_ms=None)
    assert [trial.number for trial in found] == [6, 3, 4]


def test_a_trial_of_another_program_is_no_candidate(study: optuna.Study) -> None:
    """It holds no configuration that could be trained again."""
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=0.999))
    found = candidates(study, 2, max_params=None, max_latency_ms=None)
    assert [trial.number for trial in found] == [1, 3]
    assert choose_winner(study, None).number == 1
    with pytest.raises(UsageError, match="trial 5 of 'tiny' was made by another program"):
        choose_winner(study, 5)
    with pytest.raises(UsageError, match="has no trial 6; trials are numbered 0 to 5"):
        choose_winner(study, 6)


def test_a_study_with_trials_of_another_program_alone_is_refused(storage: Storage) -> None:
    made = create_or_resume(storage, "empty", tiny_study(), FINGERPRINT)
    made.add_trial(create_trial(state=TrialState.COMPLETE, value=0.999))
    with pytest.raises(RefusedError, match="were made by another program"):
        candidates(made, 2, max_params=None, max_latency_ms=None)


def test_one_seed_each_measures_no_spread_and_decides_little(
    storage: Storage, study: optuna.Study
) -> None:
    result = Race.read(run_race(storage, study, {1: [0.9390], 3: [0.9376]}, rounds=1).as_dict())
    text = race_text(result)
    assert "0.0030" not in text
    assert "not measured" in text
    assert "undecided" in text
    assert "trial 3" in text
    assert "too high by 0.0312" in text


def test_a_measured_spread_is_printed_as_measured(storage: Storage, study: optuna.Study) -> None:
    """The floor is what decisions assume at least, and no measurement."""
    ends: Ends = {1: [0.9901, 0.9899], 3: [0.9832, 0.9828]}
    text = race_text(Race.read(run_race(storage, study, ends, rounds=2).as_dict()))
    assert "over seeds 0.0002" in text
    assert "undecided" not in text
    assert "too low by 0.0170" in text  # (-0.020 - 0.014) / 2


def test_a_race_of_an_earlier_version_is_read_as_what_it_was() -> None:
    """It stored the floor as if it had been measured."""
    finalists = [
        {"trial": 0, "search_value": 0.9, "mean": 0.9027, "values": [0.9027]},
        {"trial": 2, "search_value": 0.8, "mean": 0.8027, "values": [0.8027]},
    ]
    old = {"winner": 0, "prefer": "best", "sd_over_seeds": 0.003, "optimism": -0.0027}
    text = race_text(Race.read({**old, "finalists": finalists}))
    assert "0.0030" not in text
    assert "too low by 0.0027" in text


def test_nobody_leaves_before_the_spread_over_seeds_is_measured(
    storage: Storage, study: optuna.Study
) -> None:
    """The best of eight left after one seed in a quarter of cases where seeds spread by 0.0075."""
    values: Ends = {1: [0.940, 0.965], 3: [0.960, 0.945], 4: [0.950, 0.950]}
    result = run_race(storage, study, values, rounds=2)
    assert {f.trial: f.n for f in result.finalists} == {1: 2, 3: 2, 4: 2}
    assert result.winner == 1


def test_the_winners_optimism_is_what_shrinking_takes_off() -> None:
    def race_of(*values: list[float]) -> Race:
        rows = [
            {"trial": i, "search_value": 0.9, "mean": statistics.fmean(v), "values": v}
            for i, v in enumerate(values)
        ]
        return Race.read({"winner": 0, "finalists": rows})

    # equal configurations: the lead of 0.02 is all luck
    luck = race_of([0.97, 0.97], [0.92, 0.98], [0.90, 0.98])
    assert luck.winner_optimism == pytest.approx(0.97 - (0.97 + 0.95 + 0.94) / 3)
    # seeds agree to 0.001: hardly any of it is
    clear = race_of([0.970, 0.971], [0.950, 0.951], [0.930, 0.931])
    assert clear.winner_optimism == pytest.approx(0.0, abs=1e-4)
    assert race_of([0.97, 0.98], [0.96, 0.97]).winner_optimism is None  # two show no spread
    assert race_of([0.97], [0.96], [0.95]).winner_optimism is None
    assert "comes on top" in race_text(luck)
    assert "because it was picked is not known" in race_text(race_of([0.97, 0.98], [0.96, 0.97]))
    assert "picked" not in race_text(race_of([0.97, 0.98]))


def test_a_diverged_seed_of_a_loser_hides_no_optimism_of_the_winner() -> None:
    """Its zero made the finalists seem far apart, so that nothing of the winner's lead was luck."""
    values = ([0.97, 0.97], [0.92, 0.98], [0.90, 0.98])
    rows: list[dict[str, object]] = [
        {"trial": i, "search_value": 0.9, "mean": statistics.fmean(v), "values": v}
        for i, v in enumerate(values)
    ]
    expected = Race.read({"winner": 0, "finalists": rows}).winner_optimism
    rows[2] |= {"mean": sum(values[2]) / 3, "n_diverged": 1}
    diverged = Race.read({"winner": 0, "finalists": rows})
    assert diverged.winner_optimism == pytest.approx(expected)
