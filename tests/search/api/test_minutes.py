"""Fitting a study to a machine: what is chosen at which speed, and what cannot be fitted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bloodsearch.models.config import Shape
from bloodsearch.search.api.minutes import MIN_FINAL_EPOCHS, Plan, Seconds, fit
from bloodsearch.search.api.search import optimize
from bloodsearch.search.errors import UsageError
from bloodsearch.search.training.config import TrialConfig
from bloodsearch.studies import load_study_file, only_arch

STUDY = load_study_file("bloodmnist")


def machine(factor: float) -> Seconds:
    """A machine on which an epoch takes `factor` times the square of the width, and an MLP's a tenth."""

    def seconds(configs: Sequence[TrialConfig]) -> list[float]:
        return [
            factor * (c.model.widths[0] / 16) ** 2 if c.model.arch == "cnn" else factor / 10
            for c in configs
        ]

    return seconds


def minutes_of(plan: Plan) -> float:
    return sum(minutes for _, _, _, minutes in plan.rungs)


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("n_workers", [1, 2, 8])
@pytest.mark.parametrize("minutes", [10, 60])
def test_a_plan_fits_into_its_time(factor: float, n_workers: int, minutes: int) -> None:
    plan = fit(STUDY, minutes, n_workers, machine(factor))
    assert minutes_of(plan) <= minutes
    assert len(str(plan).splitlines()) == 4
    assert plan.file.minutes is None  # plain numbers
    assert [rung.trials for rung in plan.file.rungs()] == [plan.rungs[1][1]]


def test_a_fast_machine_searches_wider_networks() -> None:
    slow, fast = (fit(STUDY, 60, 2, machine(factor)) for factor in (4.0, 0.5))
    assert (slow.file.space["cnn_width"], fast.file.space["cnn_width"]) == ((12, 24), (32, 64))
    for plan in (slow, fast):
        assert plan.file.training.final_epochs_of("cnn") >= MIN_FINAL_EPOCHS


def test_the_same_speed_makes_the_same_study() -> None:
    first, again = (fit(STUDY, 20, 2, machine(1.0)).file for _ in range(2))
    assert first == again
    assert first.space_hash() != STUDY.space_hash()  # other widths are another search


def test_one_family_alone_can_be_fitted() -> None:
    plan = fit(only_arch(STUDY, "mlp"), 20, 2, machine(10.0))
    assert plan.file.training.final_epochs == {"mlp": 135}
    assert "CNN" not in str(plan)


def test_what_cannot_be_fitted_is_one_line() -> None:
    with pytest.raises(
        UsageError, match=r"too short for a ladder .* 500\.0 s \(CNN of 16 filters\)"
    ):
        fit(STUDY, 5, 2, machine(500.0))
    with pytest.raises(UsageError, match="needs a study with a table"):
        fit(load_study_file("demo"), 5, 2, machine(1.0))
    with pytest.raises(UsageError, match="give a number above 0"):
        optimize(minutes=float("nan"))
    with pytest.raises(UsageError, match="without --trials"):
        optimize(minutes=5, trials=3)


def test_the_models_that_are_timed_take_the_images_of_the_data() -> None:
    gray, timed = Shape(size=28, channels=1, classes=2), list[TrialConfig]()

    def seconds(configs: Sequence[TrialConfig]) -> list[float]:
        timed.extend(configs)
        return machine(1.0)(configs)

    fit(STUDY, 60, 2, seconds, gray)
    assert {config.model.shape for config in timed} == {gray}
