"""The ladder, with trainings that are looked up in a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.errors import RefusedError
from bloodsearch.search.evaluation.final import prepare
from bloodsearch.search.evaluation.finalists import Prefer, Raced, best_with_kept, candidates
from bloodsearch.search.evaluation.ladder import climb, n_trainings, rung_rows
from bloodsearch.search.evaluation.race_text import race_text
from bloodsearch.search.evaluation.selection import replicates, replicates_home
from bloodsearch.search.results import Race
from bloodsearch.search.seeds import replicate_seeds
from bloodsearch.search.study import create_or_resume, info, load
from bloodsearch.search.trial.resolve import resolve
from bloodsearch.search.workers.leases import Claim, Leases
from bloodsearch.search.workers.liveness import own_identity

LADDER = {"rungs": [{"epochs": 6, "trials": 5}], "finalists": 4}
FILE = tiny_study(training={"epochs": 3, "final_epochs": 12}, ladder=LADDER)
SHORT = (0.95, 0.97, 0.90, 0.969, 0.96, 0.80)
"""The search's values, which rank the trials wrongly."""
MIDDLE = {0: 0.975, 1: 0.971, 2: 0.974, 3: 0.90, 4: 0.972}
LONG = {0: 0.980, 1: 0.985, 2: 0.981, 4: 0.970}
SHIFT = (0.0, 0.002, -0.001, 0.001)
"""What the final seeds 1, 2, ... add to a configuration's value."""


@pytest.fixture
def study(storage: Storage) -> optuna.Study:
    made = create_or_resume(storage, "tiny", FILE, FINGERPRINT)
    for i, value in enumerate(SHORT):
        params = {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, "mlp_width": 8 + i, "epochs": 40}
        attrs = {"params": params, "n_parameters": 1000 - i, "latency_ms": 1.0}
        made.add_trial(create_trial(state=TrialState.COMPLETE, value=value, user_attrs=attrs))
    return made


class Table:
    """Trains by looking up values, and remembers what was trained where. It can be cut off."""

    def __init__(self, storage: Storage, weights: Path, cut_after: int = 10**6) -> None:
        self.storage, self.weights, self.left = storage, weights, cut_after
        self.trained: list[tuple[str, int]] = []
        self.bad: dict[tuple[str, int], TrialState] = {}
        self.long = LONG

    def __call__(self, arena: optuna.Study, noun: str) -> None:
        leases, me = Leases(self.storage, arena), own_identity("cpu")
        seeds = replicate_seeds(FILE, 10)
        while isinstance(claim := leases.claim(me, 10**6, may_create=False), Claim):
            if not self.left:
                leases.release(me, claim.trial_id)
                raise KeyboardInterrupt
            self.left -= 1
            attrs = arena.trials[claim.number].user_attrs
            of = attrs["replicate_of"]
            self.trained.append((arena.study_name, of))
            bad = self.bad.get((arena.study_name, of))
            value = MIDDLE.get(of, 0.0)
            if arena.study_name == "tiny-finals":
                value = self.long[of] + SHIFT[seeds.index(attrs["seed"])]
                path = self.weights / f"{claim.number}.pt"
                path.touch()
                self.storage.optuna.set_trial_user_attr(claim.trial_id, "weights", str(path))
            state = bad or TrialState.COMPLETE
            leases.finish(me, claim.trial_id, state, None if bad else value)


def climbed(
    storage: Storage, study: optuna.Study, table: Table, prefer: Prefer = "best", n: int = 4
) -> Raced:
    entrants = candidates(study, 5, max_params=None, max_latency_ms=None)
    return climb(storage, study, entrants, n_replicates=n, prefer=prefer, train=table)


def test_each_rung_trains_the_best_of_the_rung_below(
    storage: Storage, study: optuna.Study, tmp_path: Path
) -> None:
    table = Table(storage, tmp_path)
    raced = climbed(storage, study, table)
    rung, finals = (
        [of for name, of in table.trained if name == f"tiny-{part}"]
        for part in ("rung-2", "finals")
    )
    assert rung == [1, 3, 4, 0, 2]  # the best five of the search, best first
    assert (finals[:4], sorted(finals[4:])) == (
        [0, 2, 4, 1],
        [1, 2],
    )  # the best four of rung 2; the better half twice
    assert raced.winner == 1
    assert raced.finalists[0].values == [LONG[1] + SHIFT[0], LONG[1] + SHIFT[1]]
    assert raced.optimism is None  # values of other lengths have no optimism
    stored = Race.read(study.user_attrs["selection"])
    assert [value.trial for value in stored.rungs[0].values] == [0, 2, 4, 1, 3]
    assert "The search values were too" not in race_text(stored)


def test_one_that_left_with_the_worse_half_may_leave_the_choice_undecided(
    storage: Storage, study: optuna.Study, tmp_path: Path
) -> None:
    """It left by its place after one seed, and not because it was clearly worse."""
    table = Table(storage, tmp_path)
    table.long = {1: 0.985, 0: 0.984, 2: 0.9835, 4: 0.90}
    raced = climbed(storage, study, table)
    assert {f.trial: f.n for f in raced.finalists} == {1: 2, 0: 2, 2: 1, 4: 1}
    assert (raced.winner, raced.undecided) == (1, [0, 2])


def test_a_kept_baseline_reaches_the_last_rung_in_place_of_the_worst(
    storage: Storage, tmp_path: Path
) -> None:
    file = tiny_study(
        training={"epochs": 3, "final_epochs": 12}, ladder=LADDER | {"finalists": 2, "keep": ["b"]}
    )
    made = create_or_resume(storage, "tiny", file, FINGERPRINT)
    for i, value in enumerate((*SHORT, 0.5)):
        attrs = {"params": {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, "mlp_width": 8 + i}}
        named = attrs | ({"baseline": "b"} if value == 0.5 else {})
        made.add_trial(create_trial(state=TrialState.COMPLETE, value=value, user_attrs=named))
    entrants = candidates(made, 5, max_params=None, max_latency_ms=None, keep=("b",))
    assert [trial.number for trial in entrants] == [1, 3, 4, 0, 6]
    assert [t.number for t in best_with_kept(entrants, 5, ())] == [1, 3, 4, 0, 6]
    table = Table(storage, tmp_path)
    table.long = LONG | {6: 0.99}
    raced = climb(storage, made, entrants, n_replicates=2, prefer="best", train=table)
    assert [of for name, of in table.trained if name == "tiny-finals"] == [0, 6]
    assert raced.winner == 6


def test_a_study_of_baselines_without_a_space_has_rungs_too(
    storage: Storage, tmp_path: Path
) -> None:
    points: list[dict[str, Any]] = [
        {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, "mlp_width": 8 + i}
        for i in range(len(SHORT))
    ]
    file = tiny_study(
        training={"epochs": 3, "final_epochs": 12},
        ladder=LADDER,
        search={"sampler": "baselines"},
        baselines=[{"name": f"b{i}", "params": point} for i, point in enumerate(points)],
        space={},
    )
    made = create_or_resume(storage, "tiny", file, FINGERPRINT)
    for trial, point, value in zip(made.trials, points, SHORT, strict=True):
        storage.optuna.set_trial_user_attr(trial._trial_id, "params", point)
        storage.optuna.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        made.tell(trial.number, value)
    raced = climbed(storage, made, Table(storage, tmp_path))
    rung = info(load(storage, "tiny-rung-2")).study_file
    assert (rung.training.epochs, rung.ladder) == (6, None)
    assert raced.winner == 1


def test_the_last_rung_holds_the_replicates_of_the_winner(
    storage: Storage, study: optuna.Study, tmp_path: Path
) -> None:
    table = Table(storage, tmp_path)
    raced = climbed(storage, study, table)
    n_before = len(table.trained)
    prepared = prepare(storage, study, trial=raced.winner, n_replicates=4)
    assert prepared.study.study_name == "tiny-finals"
    table(prepared.study, "replicate")
    assert table.trained[n_before:] == [("tiny-finals", 1)] * 2  # two of the four were there
    trained = replicates(prepared.study, raced.winner, prepared.seeds)
    assert [trial.value for trial in trained] == [LONG[1] + shift for shift in SHIFT]
    assert len([of for name, of in table.trained if name == "tiny-finals"]) == n_trainings(4, 4)
    # a trial that reached no last rung has a study of its own
    assert prepare(storage, study, trial=5, n_replicates=1).study.study_name == "tiny-final-5"


def test_replicates_from_before_the_ladder_keep_their_home(
    storage: Storage, study: optuna.Study, tmp_path: Path
) -> None:
    """Trial 0 was evaluated by hand. As a finalist it got one more, and the others were not found."""
    table = Table(storage, tmp_path)
    table(prepare(storage, study, trial=0, n_replicates=4).study, "replicate")
    climbed(storage, study, table)
    homes = [replicates_home(storage, "tiny", trial) for trial in (0, 1, 2, 5)]
    assert homes == ["tiny-final-0", "tiny-finals", "tiny-finals", "tiny-final-5"]


def test_an_interrupted_climb_decides_as_if_it_had_not_been(
    storage: Storage, study: optuna.Study, tmp_path: Path
) -> None:
    for cut in (3, 2, 4):
        with pytest.raises(KeyboardInterrupt):
            climbed(storage, study, Table(storage, tmp_path, cut_after=cut))
    raced = climbed(storage, study, last := Table(storage, tmp_path))
    assert len(last.trained) == 5 + 6 - (3 + 2 + 4)
    assert raced == climbed(storage, study, again := Table(storage, tmp_path))
    assert (raced.winner, again.trained) == (1, [])


def test_finalists_whose_weights_are_elsewhere_are_not_trained_again_to_choose(
    storage: Storage, study: optuna.Study, tmp_path: Path
) -> None:
    """A copied database alone trained the losers again, and chose by values of two processors."""
    first = climbed(storage, study, Table(storage, tmp_path))
    for path in tmp_path.glob("*.pt"):
        path.unlink()
    again = Table(storage, tmp_path)
    assert (climbed(storage, study, again), again.trained) == (first, [])
    # the replicates that are tested need theirs
    prepared = prepare(storage, study, trial=first.winner, n_replicates=4)
    again.long = LONG | {first.winner: 0.5}
    again(prepared.study, "replicate")
    assert again.trained == [("tiny-finals", first.winner)] * 4
    assert climbed(storage, study, again) == first


def test_a_training_that_diverges_does_not_go_on(
    storage: Storage, study: optuna.Study, tmp_path: Path
) -> None:
    table = Table(storage, tmp_path)
    table.bad = {("tiny-rung-2", 3): TrialState.PRUNED, ("tiny-finals", 1): TrialState.PRUNED}
    assert climbed(storage, study, table).winner == 2
    assert ("tiny-finals", 3) not in table.trained
    assert table.trained.count(("tiny-finals", 1)) == 1  # it would diverge again


def test_a_rung_without_a_value_is_refused_with_its_reason(
    storage: Storage, study: optuna.Study, tmp_path: Path
) -> None:
    table = Table(storage, tmp_path)
    table.bad = {("tiny-rung-2", of): TrialState.PRUNED for of in range(5)}
    with pytest.raises(RefusedError, match="no training of tiny-rung-2 came to its end"):
        climbed(storage, study, table)


def test_a_rung_trains_for_its_own_epochs_whatever_a_baseline_had(
    storage: Storage, study: optuna.Study, tmp_path: Path
) -> None:
    climbed(storage, study, Table(storage, tmp_path))
    point: dict[str, Any] = study.trials[0].user_attrs["params"]
    epochs = {
        name: resolve(point, info(load(storage, name)), final=name == "tiny-finals").epochs
        for name in ("tiny", "tiny-rung-2", "tiny-finals")
    }
    assert epochs == {"tiny": 40, "tiny-rung-2": 6, "tiny-finals": 12}


def test_rungs_are_rows_of_data_before_and_after(
    storage: Storage, study: optuna.Study, tmp_path: Path
) -> None:
    before = rung_rows(storage, study)
    assert [(row["study"], row["epochs"], row["trials"]) for row in before] == [
        ("tiny", 3, None), ("tiny-rung-2", 6, 5), ("tiny-finals", 12, 4),
    ]  # fmt: skip
    assert [row["complete"] for row in before] == [6, None, None]
    climbed(storage, study, Table(storage, tmp_path))
    after = rung_rows(storage, study)
    assert [row["complete"] for row in after] == [6, 5, 6]
    assert [row["best_trial"] for row in after] == [1, 0, 1]
    assert rung_rows(storage, load(storage, "tiny-rung-2")) == []


@pytest.mark.parametrize(
    ("finalists", "n", "expected"), [(4, 5, 9), (3, 5, 7), (1, 5, 5), (8, 3, 14), (4, 1, 4)]
)
def test_the_number_of_final_trainings(finalists: int, n: int, expected: int) -> None:
    assert n_trainings(finalists, n) == expected
