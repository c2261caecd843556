"""Reports of studies whose trials another program has made, or that hold hardly any trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from report_support import MakeStudy, client_trial, fake_trial

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.report.build import build
from bloodsearch.search.report.gather import gather
from bloodsearch.search.report.page import write
from bloodsearch.search.report.parts import Report

LOW = [0.5 + i / 1000 for i in range(20)]


def client_is_best(study: optuna.Study) -> None:
    client_trial(study, 0.99)
    client_trial(study, 0.98, arch="cnn", lr=1e-3, cnn_width=4)


def client_beats_a_baseline(study: optuna.Study) -> None:
    client_trial(study, 0.99, arch="cnn", lr=1e-3, cnn_width=4)
    fake_trial(study, 1, 0.6, baseline="A-cnn")


def client_pruned(study: optuna.Study) -> None:
    client_trial(study, None)
    client_trial(study, None, arch="mlp", lr=1e-3, mlp_width=8)


def point_outside(study: optuna.Study) -> None:
    client_trial(study, 0.97, arch="cnn", lr=5.0, cnn_width=4)
    client_trial(study, 0.96, arch="cnn", lr=1e-9)


def another_range(study: optuna.Study) -> None:
    wide = optuna.distributions.FloatDistribution(1e-6, 10, log=True)
    study.add_trial(create_trial(value=0.9, params={"lr": 1e-6}, distributions={"lr": wide}))


def unknown_parameter(study: optuna.Study) -> None:
    study.add_trial(
        create_trial(
            value=0.9,
            params={"temperature": 3.0},
            distributions={"temperature": optuna.distributions.FloatDistribution(0, 5)},
        )
    )


def not_finite(study: optuna.Study) -> None:
    study.add_trial(create_trial(value=float("inf"), intermediate_values={1: float("nan")}))
    study.add_trial(create_trial(value=0.9, intermediate_values={1: float("inf"), 2: 0.9}))


def other_types(study: optuna.Study) -> None:
    study.add_trial(
        create_trial(
            value=0.9,
            user_attrs={"params": "mine", "config": 3, "n_parameters": "many", "confusion": [[1]]}
            | {"best_epoch": "last", "train_seconds": 0, "family": 7, "val_losses": "low"},
        )
    )


def no_time(study: optuna.Study) -> None:
    for number in range(4):
        fake_trial(study, number, 0.9, train_seconds=0.0)


def diverged(study: optuna.Study) -> None:
    for number in range(4):
        fake_trial(study, number, None, stop_reason="diverged: loss nan", curve=[0.99, 0.0])


def failed(study: optuna.Study) -> None:
    study.add_trial(create_trial(state=TrialState.FAIL))


def unfinished(study: optuna.Study) -> None:
    study.enqueue_trial({"arch": "cnn"})
    study.ask()
    study.enqueue_trial({"lr": 99.0})


CASES: dict[str, Callable[[optuna.Study], None]] = {
    case.__name__: case
    for case in (
        client_is_best, client_pruned, point_outside, another_range, unknown_parameter, not_finite,
        other_types, no_time, diverged, failed, unfinished, client_beats_a_baseline,
    )
}  # fmt: skip


def written(storage: Storage, study: optuna.Study, folder: Path) -> tuple[Report, str]:
    """Write a report with every picture and table; return it and its Markdown."""
    report = build(storage, study, None)
    for file in write(report, folder, light=True):
        assert file.stat().st_size
    return report, (folder / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("others", [[], [0.9], LOW], ids=["alone", "one", "many"])
@pytest.mark.parametrize("case", CASES)
def test_every_picture_and_table_is_there(
    storage: Storage, make_study: MakeStudy, tmp_path: Path, case: str, others: list[float | None]
) -> None:
    study = make_study(others)
    CASES[case](study)
    written(storage, study, tmp_path)


@pytest.mark.parametrize("values", [[0.9] * 24, [None] * 24, [0.9]], ids=str)
def test_studies_without_variance(
    storage: Storage, make_study: MakeStudy, tmp_path: Path, values: list[float | None]
) -> None:
    written(storage, make_study(values), tmp_path)


def test_all_of_them_at_once(storage: Storage, make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study(LOW)
    for case in CASES.values():
        case(study)
    report, text = written(storage, study, tmp_path)
    assert "Trials 20, 21, 22" in text  # finished by another program
    assert "Trial 24 is outside the study's space (lr = 5)" in text
    assert "temperature = 3" in text
    # the best that can be trained again, not the client's
    assert dict(report.facts)["leading so far"].startswith("trial ")


def test_a_clients_trial_is_used_where_it_can_be(
    storage: Storage, make_study: MakeStudy, tmp_path: Path
) -> None:
    study = make_study([0.5, 0.6, 0.7, 0.8])
    client_is_best(study)
    gathered = gather(storage, study, None)
    assert gathered.complete[0].number == 4
    assert gathered.winner is not None
    assert gathered.winner.number == 3
    assert [t.number for t in gathered.searched] == [0, 1, 2, 3, 5]
    _, text = written(storage, study, tmp_path)
    assert "Best validation macro-F1 0.9900: trial 4 of 6" in text
    assert "Trials 4, 5 ended in another program" in text
    assert "leading so far: trial 3, cnn" in text


def test_a_diverged_trial_is_counted_and_has_no_score(
    storage: Storage, make_study: MakeStudy, tmp_path: Path
) -> None:
    study = make_study([0.5, 0.6])
    diverged(study)
    assert [t.best for t in gather(storage, study, None).trials] == [0.5, 0.6] + [None] * 4
    _, text = written(storage, study, tmp_path)
    assert "Trials without a score are not shown: 4 diverged" in text


def test_failed_trials_name_the_command_that_explains_them(
    storage: Storage, make_study: MakeStudy, tmp_path: Path
) -> None:
    study = make_study([0.5])
    failed(study)
    _, text = written(storage, study, tmp_path)
    assert "Trial 1 failed. `bloodsearch show 1 --name tiny` prints the traceback." in text
