"""Which trials a name means, and when a difference can be told."""

from __future__ import annotations

import dataclasses
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.cli.compare import _show
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.evaluation.compare import as_dict, compare, find_side
from bloodsearch.search.records import Kind
from bloodsearch.search.study import create_or_resume

POINT = {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, "mlp_width": 8}


@pytest.fixture
def storage_url(sqlite_url: str) -> str:
    return sqlite_url


def add(
    storage: Storage, name: str, kind: Kind, baseline: str, values: list[float | None]
) -> optuna.Study:
    """A study with trainings of one baseline with seeds 0, 1, ...; None is one that diverged."""
    study = create_or_resume(storage, name, tiny_study(), FINGERPRINT, kind=kind)
    for seed, value in enumerate(values):
        attrs: dict[str, Any] = {"baseline": baseline, "seed": seed, "params": POINT}
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
        study.add_trial(create_trial(state=state, value=value, user_attrs=attrs))
    return study


def test_a_baseline_is_the_named_studys_and_the_one_with_replicates(storage: Storage) -> None:
    add(storage, "tiny-synthetic", "replicates", "a", [0.1, 0.1])
    add(storage, "tiny", "search", "a", [0.5])
    found = find_side(storage, "a", "tiny", "val")
    assert (found.study.study_name, found.values) == ("tiny", {})
    add(storage, "tiny-baselines", "replicates", "a", [0.6, 0.7])
    found = find_side(storage, "a", "tiny", "val")
    assert (found.label, found.values) == ("a", {0: 0.6, 1: 0.7})


def test_a_baseline_of_another_study_says_whose_it_is(storage: Storage) -> None:
    add(storage, "other", "replicates", "b", [0.1, 0.1])
    assert find_side(storage, "b", "tiny", "val").label == "other:b"
    assert find_side(storage, "other:b", "tiny", "val").label == "other:b"


def test_the_better_one_with_diverged_replicates_is_not_called_better(storage: Storage) -> None:
    """The mean of those that were lucky is no reason to choose it."""
    add(storage, "a-study", "replicates", "a", [0.98, None, 0.981, 0.979, None])
    add(storage, "b-study", "replicates", "b", [0.96, 0.95, 0.961, 0.959, 0.96])
    a, b = (find_side(storage, f"{x}-study:{x}", "tiny", "val") for x in "ab")
    found = compare(a, b)
    assert found.difference.low > 0
    assert found.verdict == "cannot be told: 2 replicates of a-study:a diverged"
    same = dataclasses.replace(found, a=dataclasses.replace(a, n_diverged=0))
    assert same.verdict == "a-study:a is better"


def test_sides_of_different_lengths_say_so(
    storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, epochs in (("a", 40), ("b", 5), ("c", 5)):
        study = create_or_resume(
            storage, f"{name}-study", tiny_study(), FINGERPRINT, kind="replicates"
        )
        for seed, value in enumerate((0.9, 0.91)):
            attrs = {"baseline": name, "seed": seed, "params": POINT, "config": {"epochs": epochs}}
            state = TrialState.COMPLETE
            study.add_trial(create_trial(state=state, value=value, user_attrs=attrs))
    a, b, c = (find_side(storage, f"{x}-study:{x}", "tiny", "val") for x in "abc")
    found = compare(a, b)
    assert found.lengths == (40, 5)
    _show(found, as_dict(found, "val"), "validation")
    assert "a-study:a trains 40 epochs and b-study:b 5" in capsys.readouterr().out
    assert compare(b, c).lengths is None
    assert as_dict(found, "val")["a"]["epochs"] == 40


def test_a_study_is_compared_by_the_winner_that_its_ladder_chose(storage: Storage) -> None:
    """It was compared by the best trial of the search, which a ladder often leaves behind."""
    study = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    for value in (0.95, 0.90):
        attrs = {"params": POINT, "seed": 0}
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=value, user_attrs=attrs))
    finals = create_or_resume(storage, "tiny-finals", tiny_study(), FINGERPRINT, kind="replicates")
    for of, seed, value in ((0, 5, 0.96), (1, 5, 0.98), (1, 6, 0.97)):
        attrs = {"params": POINT, "seed": seed, "replicate_of": of}
        finals.add_trial(create_trial(state=TrialState.COMPLETE, value=value, user_attrs=attrs))
    study.set_user_attr("selection", {"winner": 1})
    found = find_side(storage, "tiny", "tiny", "val")
    assert (found.label, found.values) == ("tiny (trial 1)", {5: 0.98, 6: 0.97})
