"""Fitting a study to a machine: what is chosen at which speed, and what cannot be fitted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from optuna.trial import create_trial
from tests_support import FINGERPRINT

from bloodsearch.models.config import FIRST_SHAPE, CNNConfig, Shape
from bloodsearch.search.api import search, winner
from bloodsearch.search.api.chosen import keep_chosen
from bloodsearch.search.api.fitted_models import timed_models
from bloodsearch.search.api.minutes import fit
from bloodsearch.search.api.minutes_plan import (
    MIN_TRIALS,
    Plan,
    Seconds,
    n_trials_in,
    search_s,
)
from bloodsearch.search.api.one_search import Run
from bloodsearch.search.api.placement import Placement
from bloodsearch.search.api.request import SearchRequest, resolve
from bloodsearch.search.api.results import SearchResult
from bloodsearch.search.api.search import optimize
from bloodsearch.search.api.study import StoredStudy, load_study, study_file
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.errors import DataError, RefusedError, UsageError
from bloodsearch.search.study import create_or_resume, info
from bloodsearch.search.training import cost
from bloodsearch.search.training.config import TrialConfig
from bloodsearch.studies import Range, StudyFile, generic_study, load_study_file, only_arch

DEFAULT = load_study_file("bloodmnist")
STUDY = keep_chosen(DEFAULT, ['space.arch=["cnn", "mlp"]'])
GRAY = Shape(size=28, channels=1, classes=2)
FOLDED = study_file(generic_study("x", "x", n_train=546, size=28, folded=True), {"search.folds": 5})
RANDOM = {"search.sampler": "random"}
ONE = Placement(devices="cpu", workers=1)
SEARCHED = SearchResult(
    study="x", storage="x", dataset="x", n_trials=1, complete=1, pruned=0, failed=0, running=0, waiting=0,
    best_value=0.5, best_trial=0, best_params={}, seconds=1.0, elapsed_seconds=1.0, in_time=True, summary={},
)  # fmt: skip


def machine(factor: float) -> Seconds:
    """A machine on which an epoch takes `factor` times the square of the width, and an MLP's a tenth."""

    def seconds(configs: Sequence[TrialConfig]) -> list[float]:
        return [
            factor * (c.model.widths[0] / 16) ** 2 if c.model.arch == "cnn" else factor / 10
            for c in configs
        ]

    return seconds


def kept(file: StudyFile) -> tuple[str, ...]:
    assert file.ladder is not None
    return file.ladder.keep


def del_attr(stored: StoredStudy, key: str) -> None:
    with stored.storage.engine.begin() as connection:
        connection.execute(
            sa.text("DELETE FROM study_user_attributes WHERE key = :key"), {"key": key}
        )


def minutes_of(plan: Plan) -> float:
    return sum(minutes for _, _, _, minutes in plan.rungs)


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("n_workers", [1, 2, 8])
@pytest.mark.parametrize("minutes", [10, 60])
def test_a_plan_fits_into_its_time(factor: float, n_workers: int, minutes: int) -> None:
    plan = fit(STUDY, minutes, n_workers, machine(factor))
    assert minutes_of(plan) <= minutes
    assert len(plan.lines()) == 1 + len(plan.rungs)
    assert plan.file.minutes is None  # plain numbers
    assert [rung.trials for rung in plan.file.rungs()] == [n for _, n, *_ in plan.rungs[1:-1]]
    assert plan.file.ladder is not None
    n_finalists = plan.file.ladder.finalists
    assert all(rung.trials >= 2 * n_finalists for rung in plan.file.rungs())


@pytest.mark.parametrize("n_workers", [1, 2, 8])
@pytest.mark.parametrize(("study", "whole"), [(STUDY, 1.0), (FOLDED, 0.2)])
def test_the_search_has_time_for_its_longest_trial_at_its_end(
    study: StudyFile, whole: float, n_workers: int
) -> None:
    """The last one begins when all the others have ended, at the same time."""
    study = study_file(study, {"pruner.name": "none", "space.arch": "cnn"})
    plan = fit(study, 60, n_workers, lambda configs: [0.6 for _ in configs], GRAY, whole)
    _, n_trials, epochs, minutes = plan.rungs[0]
    trial_s = 0.6 * epochs["cnn"]
    assert 60 * minutes == pytest.approx((n_trials - 1) * trial_s / n_workers + trial_s)
    assert minutes_of(plan) <= 0.95 * 60


def test_finalists_are_more_where_they_cost_no_time_or_time_is_left() -> None:
    """Of two workers, five trainings of one winner keep one idle; with two finalists none is."""
    short, long = (fit(STUDY, minutes, 2, machine(1.0)).file for minutes in (20, 600))
    assert short.ladder is not None
    assert long.ladder is not None
    assert short.ladder.finalists == 2
    assert short.training.final_epochs_of("cnn") == 26  # 12 minutes of 3 trainings, 9 s an epoch
    assert long.ladder.finalists == 3
    assert long.training.final_epochs_of("cnn") == 100
    (many,) = fit(STUDY, 20, 16, machine(1.0)).file.rungs()
    assert many.trials == 16


@pytest.mark.parametrize(("cost_of_16", "searched"), [(12.0, (8, 16)), (4.0, (16, 32))])
def test_networks_that_leave_no_time_for_trials_give_way_to_narrower_ones(
    cost_of_16: float, searched: tuple[int, ...]
) -> None:
    """Final trainings of 32 filters fit, but half of the trials have 16 filters and take nearly as long."""
    changes = {"minutes.cnn_widths": [16, 32], "space.arch": "cnn"}
    costs = {16: cost_of_16, 32: 13.0}
    plan = fit(
        study_file(STUDY, changes),
        20,
        2,
        lambda configs: [costs[c.model.widths[0]] for c in configs],
    )
    assert plan.file.space["cnn_width"] == searched
    assert plan.rungs[0][1] >= 16
    assert minutes_of(plan) <= 20


def test_recipes_are_tried_first_at_the_width_that_is_chosen() -> None:
    file = fit(STUDY, 60, 2, machine(1.0)).file
    recipe, by_hand, mlp = file.baselines
    assert (recipe.name, by_hand.name) == ("earlier-search", "by-hand")
    assert recipe.params["cnn_width"] == 64
    assert recipe.params["cnn_convs"] == 2  # what the space fixes
    assert {"epochs", "patience"}.isdisjoint(recipe.params)
    assert kept(file) == ("earlier-search",)  # and one place is for what the search finds
    assert {*mlp.params} <= {*file.space} | {"mlp_norm"}
    assert {*recipe.params} <= {*file.space} | {"cnn_stem"}
    alone = fit(only_arch(STUDY, "mlp"), 20, 2, machine(1.0)).file
    assert (alone.baselines, kept(alone)) == ((mlp,), ("by-hand-mlp",))
    one = study_file(STUDY, {"ladder.finalists": 1})
    assert kept(fit(one, 60, 2, machine(1.0)).file) == ()  # the search has the only place


def test_the_default_study_has_no_mlps_unless_they_are_asked_for() -> None:
    file = fit(DEFAULT, 20, 2, machine(1.0)).file
    assert file.space["arch"] == "cnn"
    assert [b.name for b in file.baselines] == ["earlier-search", "by-hand"]
    assert fit(STUDY, 20, 2, machine(1.0)).file.space["arch"] == ("cnn", "mlp")
    alone = fit(only_arch(DEFAULT, "mlp"), 20, 2, machine(1.0)).file
    assert (alone.space["arch"], kept(alone)) == ("mlp", ("by-hand-mlp",))


def test_a_third_place_is_for_the_search() -> None:
    file = fit(STUDY, 60, 8, machine(1.0)).file
    assert file.ladder is not None
    assert file.ladder.finalists == 3
    assert [b.name for b in file.baselines] == ["earlier-search", "by-hand", "by-hand-mlp"]
    assert kept(file) == ("earlier-search",)


def test_a_recipe_has_the_most_orientations_unless_it_names_them() -> None:
    study = generic_study("x", "x", n_train=10_000, size=28)
    assert study.space["augment"] == ("none", "flips", "dihedral")

    def augments(**changes: object) -> list[object]:
        given = {key.replace("__", "."): value for key, value in changes.items()}
        fitted = fit(study_file(study, given), 60, 2, machine(1.0)).file
        return [b.params["augment"] for b in fitted.baselines]

    assert augments() == ["dihedral", "dihedral"]
    assert augments(space__augment=["flips", "none"]) == ["flips", "flips"]
    assert augments(space__augment="none") == ["none", "none"]
    assert study.minutes is not None
    named = [b.model_dump() for b in study.minutes.baselines]
    named[0]["params"]["augment"] = "none"
    assert augments(minutes__baselines=named) == ["none", "dihedral"]


def test_a_fast_machine_searches_wider_networks() -> None:
    slow, fast = (fit(STUDY, 60, 2, machine(factor)) for factor in (8.0, 0.5))
    assert (slow.file.space["cnn_width"], fast.file.space["cnn_width"]) == ((16, 32), (32, 64))
    for plan in (slow, fast):
        assert plan.file.training.final_epochs_of("cnn") >= 18


@pytest.mark.parametrize(
    ("width", "searched", "share"),
    [(4, (4,), 1.0), (8, (8,), 1.0), (12, (8, 12), (1 + 8 / 12) / 2), (32, (16, 32), 0.75)],
)
def test_no_network_is_searched_that_is_wider_than_the_one_chosen(
    width: int, searched: tuple[int, ...], share: float
) -> None:
    """The price of a trial is the mean over the widths that are searched."""

    changes = {"minutes.cnn_widths": [width], "space.arch": "cnn", "pruner.name": "none"}
    changes |= {"search.sampler": "random"}  # TPE would ask for the wider one
    plan = fit(study_file(STUDY, changes), 60, 1, lambda configs: [1.0 for _ in configs])
    assert plan.file.space["cnn_width"] == searched
    _, n_trials, _, minutes = plan.rungs[0]
    assert 60 * minutes / n_trials == pytest.approx(5 * share)


@pytest.mark.parametrize(
    ("n_train", "size"), [(1_000, 8), (10_000, 28), (90_000, 28), (5_000, 224)]
)
def test_the_generic_study_is_fitted_to_any_data(n_train: int, size: int) -> None:
    file = generic_study("x", "x", n_train=n_train, size=size)
    plan = fit(file, 60, 2, machine(n_train / 5_000), Shape(size=size, channels=1, classes=2))
    assert minutes_of(plan) <= 60
    own, fitted = (f.training.final_epochs_of("cnn") for f in (file, plan.file))
    assert 0.3 * own <= fitted <= 5 / 3 * own
    assert {"cnn_stem", "cnn_blocks", "shift"} <= set(plan.file.space)


@pytest.mark.parametrize("minutes", [10, 60])
def test_trials_judged_by_folds_leave_time_for_the_second_stage(minutes: int) -> None:
    plan = fit(FOLDED, minutes, 2, machine(0.5), GRAY, whole=0.2)
    search, second, final = (stage for _, *stage in plan.rungs)
    assert minutes_of(plan) <= minutes
    assert search[0] == plan.file.search.trials
    assert (second[0], final[0]) == (40, 5)
    assert plan.file.space == FOLDED.space
    assert plan.file.training == FOLDED.training
    longer = study_file(FOLDED, {"training.final_epochs": 77})
    assert fit(longer, 60, 2, machine(0.5), GRAY, whole=0.2).rungs[-1][2]["cnn"] == 77
    with pytest.raises(UsageError, match=r"too short for 16 trials .* give \d+ minutes"):
        fit(FOLDED, 1, 2, machine(0.5), GRAY, whole=0.2)


@pytest.fixture
def fit_here(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Callable[..., list[str]]:
    """`optimize` on synthetic data with made-up times: it makes a study, trains nothing, returns messages."""
    monkeypatch.setattr(search, "epoch_seconds", lambda configs, *_, **__: machine(1.0)(configs))

    def run(**more: Any) -> list[str]:
        told: list[str] = []
        given: dict[str, Any] = {"dataset": "synthetic", "storage": sqlite_url, "placement": ONE}
        optimize(
            create_only=True, on_progress=lambda event: told.append(str(event)), **(given | more)
        )
        return told

    return run


def test_a_fitted_study_is_resumed_by_the_command_that_made_it(
    fit_here: Callable[..., list[str]], sqlite_url: str
) -> None:
    fit_here(minutes=20, seed=3)
    name = "bloodmnist-synthetic"
    stored = load_study(name=name, storage=sqlite_url)
    n_trials = stored.study.user_attrs["n_trials"]
    for same in ({"seed": 3}, {"seed": 3, "minutes": 60}, {"name": name, "dataset": None}):
        told = fit_here(**{"minutes": 20, **same})
        assert told[0] == (
            f"study {name} keeps the numbers that it was made with, {n_trials} trials among them; "
            "another --name is fitted anew"
        )
    for other in (
        {"seed": 1},
        {},
        {"seed": 3, "baselines": False},
        {"seed": 3, "overrides": {"minutes.cnn_widths": [8]}},
    ):
        with pytest.raises(RefusedError, match=r"fitted from other settings .* another --name"):
            fit_here(minutes=20, **other)
    # one that does not say what it was fitted from is resumed
    del_attr(stored, "fitted_from")
    assert "keeps the numbers" in fit_here(minutes=20)[0]


@pytest.mark.parametrize(
    ("study", "name"),
    [
        (None, "bloodmnist"),
        ("demo", "demo"),  # without [minutes], and with search.trials
        (study_file(STUDY, {"name": "x", "minutes": None, "search.trials": None}), "x"),
    ],
)
def test_a_study_that_was_made_with_trials_is_not_fitted(
    fit_here: Callable[..., list[str]], study: StudyFile | str | None, name: str
) -> None:
    fit_here(study=study, trials=7)
    for again in ({"study": study}, {"name": f"{name}-synthetic"}):
        with pytest.raises(RefusedError, match=r"made with --trials.* another --name.* --trials 7"):
            fit_here(minutes=20, **again)


def test_the_timeout_is_for_the_final_trainings_too(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str
) -> None:
    """The search takes 4 of 5 seconds; the clock and all trainings are made up."""
    clock, lefts, told = [100.0], list[float | None](), list[str]()

    def run(request: SearchRequest, *_: Any, **__: Any) -> Any:
        lefts.append(request.timeout_s)
        clock[0] += 4.0
        return SimpleNamespace(run=lambda: SEARCHED)

    def train_queued(*_: Any, timeout_s: float | None, snapshots: bool, **__: Any) -> bool:
        assert snapshots
        lefts.append(timeout_s)
        return False

    def choose(stored: Any, request: Any, on_progress: Any) -> Any:
        assert (request.max_params, request.max_latency_ms) == (1_000_000, 9.0)
        winner.train_part(SimpleNamespace(storage=None), Any, request, on_progress)  # type: ignore[arg-type]

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(search, "epoch_seconds", lambda configs, *_, **__: machine(1.0)(configs))
    monkeypatch.setattr(search, "Run", run)
    monkeypatch.setattr(search, "load_study", lambda **_: None)
    monkeypatch.setattr(winner, "choose", choose)
    monkeypatch.setattr(winner, "train_queued", train_queued)
    found = optimize(
        minutes=20,
        dataset="synthetic",
        overrides={"search.max_params": 1_000_000, "search.max_latency_ms": 9.0},
        storage=sqlite_url,
        placement=ONE,
        timeout_s=5,
        snapshots=True,
        on_progress=lambda event: told.append(str(event)),
    )
    assert lefts == [5.0, 1.0]
    assert not found.in_time
    assert "the time was up before the last final training" in told[-1]


def test_the_winner_of_a_small_set_is_trained_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`optimize --dataset cells.npz --minutes M`, with made-up times and without workers."""
    arrays: dict[str, Any] = {}
    for split, n in (("train", 60), ("val", 20), ("test", 20)):
        arrays[f"{split}_images"] = np.zeros((n, 8, 8), np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % 2).astype(np.uint8)
    np.savez(tmp_path / "cells.npz", **arrays)
    asked: list[object] = []
    runs: list[tuple[Any, ...]] = []

    def seconds(configs: Sequence[TrialConfig], *_: object, **options: object) -> list[float]:
        asked.append(options["n_folds"])
        return [1 / c.epochs for c in configs]  # a second for a trial

    def run(*args: Any, **_: Any) -> Any:
        runs.append(args)
        return SimpleNamespace(run=lambda: SimpleNamespace(in_time=True))

    monkeypatch.setattr(search, "epoch_seconds", seconds)
    monkeypatch.setattr(search, "Run", run)
    monkeypatch.setattr(search, "load_study", lambda **_: "the study")
    winners: list[object] = []
    monkeypatch.setattr(search, "train_winner", lambda study, *_: winners.append(study))
    url = f"sqlite:///{tmp_path}/new.db"
    told: list[str] = []
    optimize(
        minutes=1.5,
        dataset=str(tmp_path / "cells.npz"),
        storage=url,
        placement=ONE,
        on_progress=lambda event: told.append(str(event)),
    )
    assert told[0].startswith("1.5 minutes on 1 worker; an epoch takes ")
    assert told[1].startswith("  search: ")
    assert all(text.isprintable() for text in told)  # a message is one line
    assert asked == [5]
    ((_, file, name, n_trials, _),) = runs
    assert name == "cells"
    assert n_trials == file.search.trials >= MIN_TRIALS
    assert (file.search.folds, file.ladder) == (5, None)
    assert winners == ["the study"]


def test_the_same_speed_makes_the_same_study() -> None:
    first, again = (fit(STUDY, 20, 2, machine(1.0)).file for _ in range(2))
    assert first == again
    assert first.space_hash() != STUDY.space_hash()  # other widths are another search


def test_one_family_alone_can_be_fitted() -> None:
    plan = fit(only_arch(STUDY, "mlp"), 20, 2, machine(10.0))
    assert plan.file.training.final_epochs == {"mlp": 240}
    assert "CNN" not in " ".join(plan.lines())


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


@pytest.mark.parametrize(
    ("epochs", "refusal"),
    [
        ({"cnn": 100, "mlp": 10}, r"100 epochs \(cnn\) .* of 100; lower --epochs or"),
        ({"cnn": 5, "mlp": 300}, r"300 epochs \(mlp\) .* of 300; lower --epochs or"),
        ({"cnn": 99, "mlp": 299}, None),
    ],
)
def test_trials_as_long_as_final_trainings_are_refused_before_any_timing(
    epochs: dict[str, int], refusal: str | None
) -> None:
    study = study_file(STUDY, {"training.epochs": epochs})
    if refusal is None:
        assert fit(study, 6000, 2, machine(0.1)).file.training.final_epochs_of("cnn") == 100
        return
    with pytest.raises(UsageError, match=refusal):
        fit(study, 6000, 2, lambda _: pytest.fail("timed"))


def test_the_models_that_are_timed_take_the_images_of_the_data() -> None:
    timed = list[TrialConfig]()

    def seconds(configs: Sequence[TrialConfig]) -> list[float]:
        timed.extend(configs)
        return machine(1.0)(configs)

    fit(STUDY, 60, 2, seconds, GRAY)
    assert {config.model.shape for config in timed} == {GRAY}


def test_the_networks_of_the_default_study_that_are_timed() -> None:
    timed = timed_models(STUDY, FIRST_SHAPE)
    assert [*timed] == [16, 32, 48, 64, None]
    cnn, mlp = timed[16], timed[None]
    assert isinstance(cnn.model, CNNConfig)
    assert (cnn.model.widths, cnn.model.kernel, cnn.model.convs) == ((16, 32, 64), 3, 2)
    assert (cnn.model.residual, cnn.model.norm, cnn.model.head) == (True, True, "max")
    assert mlp.model.widths == (1024, 1024)
    for config in timed.values():
        assert (config.augment, config.shift, config.rotate) == ("dihedral", 2, 180.0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"space.cnn_kernel": 5}, {"kernel": 5}),
        ({"space.cnn_kernel": [3, 7]}, {"kernel": 7}),
        ({"space.cnn_growth": 1.5}, {"widths": (16, 24, 36)}),
        ({"minutes.space.cnn_convs": 1}, {"convs": 1, "residual": False}),
        ({"space.cnn_hidden": ["none", "256", "128"]}, {"hidden": (256,)}),
        ({"space.cnn_pool": "avg"}, {"pool": "avg"}),
        ({"minutes.space.cnn_norm": False}, {"norm": False}),
    ],
)
def test_cnns_are_timed_with_what_the_space_has(
    changes: dict[str, object], expected: dict[str, object]
) -> None:
    model = timed_models(study_file(STUDY, changes), FIRST_SHAPE)[16].model
    assert model.model_dump(include=set(expected)) == expected


@pytest.mark.parametrize(
    ("changes", "widths"),
    [
        ({"space.mlp_depth": 4}, (1024,) * 4),
        ({"space.mlp_width.high": 2048}, (2048,) * 2),
        ({"space.mlp_width": 256}, (1024,) * 2),  # of the recipe
        ({"space.mlp_width": 256, "space.mlp_depth": 0, "minutes.baselines": []}, ()),
    ],
)
def test_mlps_are_timed_with_what_the_space_and_the_recipes_have(
    changes: dict[str, object], widths: tuple[int, ...]
) -> None:
    assert timed_models(study_file(STUDY, changes), FIRST_SHAPE)[None].model.widths == widths


def test_trials_are_not_priced_with_what_only_longer_trainings_have() -> None:
    """An epoch takes a second, and one whose images are turned half a second more."""

    def seconds(configs: Sequence[TrialConfig]) -> list[float]:
        return [1.5 if config.rotate else 1.0 for config in configs]

    changes = {"pruner.name": "none", "space.arch": "cnn"}
    for more, epoch_s in (({}, 1.0), ({"space.rotate": 180.0}, 1.5), ({"ladder.params": {}}, 1.0)):
        plan = fit(study_file(STUDY, changes | more), 60, 1, seconds)
        (_, n_trials, epochs, minutes), *_, (_, _, final, final_minutes) = plan.rungs
        assert 60 * minutes / n_trials == pytest.approx(epochs["cnn"] * epoch_s)
        long_s = 1.0 if "ladder.params" in more else 1.5
        n_in_a_row = 60 * final_minutes / (final["cnn"] * long_s)
        assert n_in_a_row == pytest.approx(round(n_in_a_row))


def test_augmentation_is_timed_as_the_space_or_the_ladder_has_it() -> None:
    def of(**changes: object) -> TrialConfig:
        given = {key.replace("__", "."): value for key, value in changes.items()}
        return timed_models(study_file(STUDY, given), FIRST_SHAPE)[None]

    assert of(space__rotate=[0.0, 30.0]).rotate == 30.0
    assert of(space__rotate=0.0).rotate == 0.0
    assert of(ladder__params={}).rotate == 0.0
    assert of(space__augment=["flips", "none"], space__shift=0).augment == "flips"


def test_the_families_are_those_of_the_space_and_not_of_baselines_that_are_replaced() -> None:
    mlp, cnn = (study_file(STUDY, {"space.arch": arch}) for arch in ("mlp", "cnn"))
    alone = fit(mlp, 20, 2, machine(1.0))
    assert alone.file.training.final_epochs == {"mlp": 300}
    assert [b.name for b in alone.file.baselines] == ["by-hand-mlp"]
    assert "CNN" not in " ".join(alone.lines())
    alone = fit(cnn, 20, 2, machine(1.0))
    assert {*alone.seconds} == {"CNN of 48 filters"}
    assert kept(alone.file) == ("earlier-search",)


def test_a_search_without_baselines_has_no_recipes_either() -> None:
    file, _ = resolve(SearchRequest(baselines=False, dataset="synthetic"))
    fitted = fit(file, 20, 2, machine(1.0)).file
    assert (fitted.baselines, kept(fitted)) == ((), ())


def test_recipes_are_not_announced_with_a_length_of_their_own(sqlite_storage: Storage) -> None:
    told: list[str] = []
    fitted = fit(STUDY, 20, 2, machine(1.0)).file
    for file, name, minutes in ((STUDY, "own", None), (fitted, "fitted", 20)):
        study = create_or_resume(sqlite_storage, name, file, FINGERPRINT)
        run = Run(SearchRequest(minutes=minutes), file, name, 30, lambda e: told.append(str(e)))
        run._announce(sqlite_storage, study, FINGERPRINT, ONE.slots(1))
    own, recipes = (text for text in told if "baselines" in text)
    assert "(A-cnn, A-mlp), trained for their own number of epochs" in own
    assert (
        "(earlier-search, by-hand, by-hand-mlp); they count towards the trials of the search"
        in recipes
    )


@pytest.mark.parametrize(
    ("minutes", "told"),
    [
        (20.0, "2 trials are finished already"),
        (None, "2 trials are finished already; a larger --trials adds more"),
    ],
)
def test_a_finished_search_names_only_options_that_its_command_takes(
    sqlite_storage: Storage, minutes: float | None, told: str
) -> None:
    notices: list[str] = []
    study = create_or_resume(
        sqlite_storage, "fitted", study_file(STUDY, {"baselines": []}), FINGERPRINT
    )
    for value in (0.5, 0.6):
        study.add_trial(create_trial(value=value))
    request = SearchRequest(minutes=minutes)
    run = Run(request, STUDY, "fitted", 2, lambda event: notices.append(str(event)))
    assert run._train(sqlite_storage, study, None)
    assert notices == [told]


@pytest.mark.parametrize("n_workers", [1, 2, 8])
def test_a_plan_is_never_longer_than_its_time(n_workers: int) -> None:
    refused = list[str]()
    for factor in range(2, 60, 2):
        try:
            plan = fit(STUDY, 10, n_workers, machine(factor))
        except UsageError as error:
            refused.append(str(error))
        else:
            assert not refused  # a slower machine does not fit again
            assert minutes_of(plan) <= 10
    assert "--minutes 10 is too short for" in refused[0]
    if n_workers == 1:
        assert "for 16 trials and a ladder here, where a trial takes" in refused[0]


@pytest.mark.parametrize(("study", "whole"), [(STUDY, 1.0), (FOLDED, 0.2)])
def test_a_search_without_pruning_has_fewer_trials(study: StudyFile, whole: float) -> None:
    pruned, unpruned, few = (
        fit(
            study_file(study, changes | RANDOM), 60, 2, machine(0.5), GRAY, whole
        ).file.search.trials
        for changes in (
            {"pruner.name": "family"},
            {"pruner.name": "none"},
            {"pruner.name": "family", "search.startup_trials": 9_000},
        )
    )
    assert unpruned == few == pytest.approx(0.8 * (pruned or 0), abs=1)


@pytest.mark.parametrize(
    ("n", "seconds"), [(10, 100.0), (20, 160.0 + 4 * 20), (38, 0.8 * 160.0 + 22 * 20)]
)
def test_trials_that_the_sampler_has_learnt_to_ask_for_take_longer(n: int, seconds: float) -> None:
    assert search_s(DEFAULT, n, 10.0, 20.0) == pytest.approx(seconds)
    assert n_trials_in(DEFAULT, seconds + 1e-6, 10.0, 20.0) == n
    assert n_trials_in(DEFAULT, seconds - 1e-6, 10.0, 20.0) == n - 1
    assert search_s(study_file(DEFAULT, RANDOM), 38, 10.0, 20.0) == pytest.approx(0.8 * 380)


def test_numbers_keep_to_what_a_study_file_takes() -> None:
    long = study_file(STUDY, {"training.final_epochs": 10_000})
    assert fit(long, 1e6, 2, machine(1e-3)).file.training.final_epochs_of("cnn") == 10_000
    for study, whole in ((STUDY, 1.0), (FOLDED, 0.2)):
        assert fit(study, 1e6, 8, machine(0.1), GRAY, whole).file.search.trials == 1_000_000
    with pytest.raises(UsageError, match="give a number above 0, at most 1000000"):
        optimize(minutes=1e308)
    with pytest.raises(UsageError, match=r"minutes\.cnn_widths is empty"):
        fit(study_file(STUDY, {"minutes.cnn_widths": []}), 5, 2, machine(1.0))


def test_data_are_looked_at_before_the_speed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    with pytest.raises(DataError, match=r"bloodmnist\.npz"):
        optimize(minutes=5, data_root=tmp_path, storage=url, placement=ONE)


def test_limits_of_size_choose_widths_families_and_recipes() -> None:
    def limited(n: int, **more: object) -> StudyFile:
        return fit(study_file(STUDY, {"search.max_params": n, **more}), 60, 2, machine(0.5)).file

    free = fit(STUDY, 60, 2, machine(0.5)).file
    assert free.space["cnn_width"] == (32, 64)
    small = limited(1_000_000)
    assert small.space["cnn_width"] == (24, 48)
    assert small.space["arch"] == ("cnn", "mlp")  # MLPs of 256 units have 600,000 weights
    assert [b.name for b in small.baselines] == [
        "earlier-search",
        "by-hand",
    ]  # the MLP of 1,024 has millions
    tiny = limited(100_000, **{"minutes.cnn_widths": [4, 8]})
    assert tiny.space["cnn_width"] == (8,)
    assert tiny.space["arch"] == ("cnn",)
    assert tiny.training.final_epochs == {"cnn": 100}
    with pytest.raises(UsageError, match="no model of study bloodmnist is within --max-params"):
        limited(10_000)
    with pytest.raises(UsageError, match="no model of study x is within --max-params"):
        fit(study_file(FOLDED, {"search.max_params": 10}), 60, 2, machine(0.5), GRAY)


def test_limits_of_latency_choose_widths(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine where an image takes a millisecond for each filter of the first block."""

    def latency(model: Any) -> float:
        return float(model.widths[0]) if model.arch == "cnn" else 0.1

    monkeypatch.setattr(cost, "latency_ms", latency)
    fitted = fit(study_file(STUDY, {"search.max_latency_ms": 40.0}), 60, 2, machine(0.5)).file
    assert fitted.space["cnn_width"] == (16, 32)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_model_that_is_too_slow_is_not_timed_where_trials_are_judged_by_folds(
    monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    """For each filter of the first block an image takes a millisecond, and an epoch a tenth of a second."""

    def latency(model: Any) -> float:
        return float(model.widths[0])

    def seconds(configs: Sequence[TrialConfig]) -> list[float]:
        timed.extend(configs)
        return [latency(config.model) / 10 for config in configs]

    timed = list[TrialConfig]()
    monkeypatch.setattr(cost, "latency_ms", latency)
    changes = {"search.sampler": sampler, "space.arch": "cnn", "search.max_latency_ms": 16.0}
    study = study_file(FOLDED, changes)
    plan = fit(study, 600, 1, seconds, GRAY, whole=0.2)
    assert {c.model.widths[0] for c in timed if isinstance(c.model, CNNConfig)} == {16}
    _, n_trials, epochs, minutes = plan.rungs[0]
    price = 60 * minutes / n_trials / (epochs["cnn"] * 1.6 * 0.8)
    # half of the space has 24 filters; a random search goes on to draw them
    assert price == pytest.approx(1.0) if sampler == "tpe" else 0.3 < price < 0.7
    none = study_file(study, {"search.max_latency_ms": 1.0})
    with pytest.raises(UsageError, match=r"no model of study x is within .* --max-latency"):
        fit(none, 600, 1, seconds, GRAY, whole=0.2)


def test_what_a_person_chooses_is_searched() -> None:
    def space(*overrides: str) -> dict[str, Any]:
        file = keep_chosen(study_file(STUDY, overrides), overrides)
        return fit(file, 20, 2, machine(1.0)).file.space

    assert space()["optimizer"] == ("muon", "adamw")
    chosen = space('space.optimizer="adamw"', "space.cnn_blocks=2", "space.weight_decay.high=0.2")
    assert (chosen["optimizer"], chosen["cnn_blocks"]) == ("adamw", 2)
    assert chosen["weight_decay"] == Range(low=1e-5, high=0.2, log=True)
    assert chosen["cnn_convs"] == 2  # as in [minutes]
    both = space('space.optimizer="adamw"', 'minutes.space.optimizer="muon"')
    assert both["optimizer"] == "muon"


@pytest.mark.parametrize(
    ("study", "override", "advice"),
    [
        (STUDY, "space.cnn_width=[8, 16]", r"set minutes\.cnn_widths"),
        (STUDY, "training.final_patience=3", "use --trials N"),
        (STUDY, "ladder.rungs=[]", "use --trials N"),
        (STUDY, "search.trials=30", "use --trials N"),
        (STUDY, "baselines=[]", r"set minutes\.baselines"),
        (FOLDED, "search.trials=30", "use --trials N"),
        (FOLDED, "minutes.cnn_widths=[8]", r"judged by folds"),
    ],
)
def test_what_has_no_effect_is_refused(study: StudyFile, override: str, advice: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(UsageError, match=f"--set {key} .*{advice}"):
        keep_chosen(study_file(study, [override]), [override])


def test_minutes_go_without_replicates() -> None:
    with pytest.raises(UsageError, match=r"--minutes goes without .* --replicates"):
        optimize(minutes=5, replicates=3)


def test_a_choice_reaches_the_stored_study(
    fit_here: Callable[..., list[str]], sqlite_url: str
) -> None:
    fit_here(minutes=20, overrides=['space.optimizer="adamw"'])
    stored = info(load_study(name="bloodmnist-synthetic", storage=sqlite_url).study)
    assert stored.study_file.space["optimizer"] == "adamw"
