"""The parts of a study: its baselines, queued with common seeds, and its grid."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState
from tests_support import FINGERPRINT, tiny_study
from weights_support import trained

from bloodsearch.search.data.load import load_dataset
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.errors import RefusedError, UsageError
from bloodsearch.search.evaluation import ledger
from bloodsearch.search.evaluation.baselines import (
    baselines_again,
    baselines_part,
    by_baseline,
    evaluate_baselines,
    queue_baselines,
)
from bloodsearch.search.sampling.grid import grid, grid_part
from bloodsearch.search.workers.leases import Claim, Leases
from bloodsearch.search.workers.liveness import own_identity
from bloodsearch.studies import StudyFile, load_study_file

MLP = {"arch": "mlp", "optimizer": "adam", "lr": 1e-3}


def with_baselines(*params: dict[str, object]) -> StudyFile:
    return tiny_study(
        baselines=[{"name": f"b{i}", "params": MLP | own} for i, own in enumerate(params)]
    )


def test_report_a_in_two_parts() -> None:
    file = load_study_file("report_a", ["training.epochs=7"])
    part = baselines_part(file)
    assert (part.training.final_epochs, part.training.final_patience) == (7, 5)
    assert part.baselines == file.baselines
    # the grid's least number of epochs is not that of early stopping
    assert (file.training.min_epochs, part.training.min_epochs) == (15, 0)
    assert grid_part(file).training.min_epochs == 15
    points = grid(grid_part(file))
    assert points == grid(file)
    assert grid_part(file).baselines == ()


def test_baselines_keep_their_own_epochs() -> None:
    part = baselines_part(load_study_file("bloodmnist"))
    assert (part.training.final_epochs_of("cnn"), part.training.final_patience) == (40, 5)
    assert part.training.final_epochs_of("mlp") == 40
    with pytest.raises(UsageError, match="differ in epochs"):
        baselines_part(with_baselines({"epochs": 4}, {}))
    with pytest.raises(UsageError, match="has no"):
        baselines_part(tiny_study())
    familyless = {"name": "b", "params": {"optimizer": "adam", "lr": 1e-3}}
    with pytest.raises(UsageError, match=r"the baseline b of tiny has no params\.arch"):
        baselines_part(tiny_study(baselines=[familyless]))
    with pytest.raises(UsageError, match='needs sampler = "grid"'):
        grid_part(tiny_study())


def test_baselines_of_two_families_may_differ_in_epochs() -> None:
    training = {"epochs": 3, "final_epochs": 8, "mlp_epochs": 6, "mlp_final_epochs": 9}
    mlp, cnn = MLP, MLP | {"arch": "cnn"}
    file = tiny_study(
        training=training,
        baselines=[{"name": "a", "params": mlp}, {"name": "b", "params": cnn}],
    )
    found = baselines_part(file).training
    assert [found.final_epochs_of(arch) for arch in ("cnn", "mlp")] == [3, 6]
    alone = tiny_study(training=training, baselines=[{"name": "a", "params": mlp}])
    assert baselines_part(alone).training.final_epochs_of("mlp") == 6


def test_all_baselines_get_the_same_seeds(storage: Storage) -> None:
    part = baselines_part(with_baselines({"mlp_width": 8}, {"mlp_width": 16}))
    study, n = queue_baselines(storage, "tiny-baselines", part, FINGERPRINT, 2)
    assert n == 4
    again, n = queue_baselines(storage, "tiny-baselines", part, FINGERPRINT, 3)
    assert n == 6  # the first two are kept
    trials = again.get_trials(deepcopy=False)
    seeds = {
        name: [t.user_attrs["seed"] for t in trials if t.user_attrs["baseline"] == name]
        for name in ("b0", "b1")
    }
    assert seeds["b0"] == seeds["b1"]
    assert len(set(seeds["b0"])) == 3
    # one replicate of each before the second of any: an early look finds all configurations
    assert [t.user_attrs["replicate"] for t in trials] == [0, 0, 1, 1, 2, 2]
    assert by_baseline(study) == {"b0": [], "b1": []}


def test_nothing_is_opened_before_all_are_trained(storage: Storage) -> None:
    part = baselines_part(with_baselines({}))
    study, _ = queue_baselines(storage, "tiny-baselines", part, FINGERPRINT, 1)
    with pytest.raises(
        RefusedError,
        match=r"not all replicates .* \(b0 has 0\).*STUDY --only baselines --replicates N --name",
    ):
        evaluate_baselines(storage, study, data_root=None, out=Path("out"), force=False)
    assert not Path("out").exists()


def test_nothing_is_opened_for_a_part_of_the_replicates(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """b0 has both, one of b1 is still waiting, and later diverges: that is no reason to wait for ever."""
    part = baselines_part(with_baselines({"mlp_width": 8}, {"mlp_width": 16}))
    study, n = queue_baselines(storage, "tiny-baselines", part, FINGERPRINT, 2)
    leases, me = Leases(storage, study), own_identity("cpu")
    weights = tmp_path / "weights.pt"
    weights.touch()

    def end(state: TrialState) -> None:
        claim = leases.claim(me, n, may_create=False)
        assert isinstance(claim, Claim)
        study._storage.set_trial_user_attr(claim.trial_id, "weights", str(weights))
        leases.finish(me, claim.trial_id, state, 0.9 if state is TrialState.COMPLETE else None)

    def evaluate() -> None:
        evaluate_baselines(storage, study, data_root=None, out=tmp_path / "out", force=False)

    for _ in range(3):
        end(TrialState.COMPLETE)
    with pytest.raises(RefusedError, match=r"\(b1 has 1\)"):
        evaluate()
    end(TrialState.PRUNED)
    monkeypatch.setattr("bloodsearch.search.evaluation.baselines.predictor", lambda trial: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # past the refusals
        evaluate()
    assert ledger.openings(storage) == []


def test_a_baseline_that_always_diverges_does_not_block_the_others(
    sqlite_storage: Storage, tmp_path: Path
) -> None:
    fingerprint = load_dataset("synthetic").fingerprint
    part = baselines_part(with_baselines({"mlp_width": 8}, {"mlp_width": 16}))
    study, n = queue_baselines(sqlite_storage, "tiny-baselines", part, fingerprint, 2)
    leases, me = Leases(sqlite_storage, study), own_identity("cpu")
    seeds = {}
    for _ in range(n):
        claim = leases.claim(me, n, may_create=False)
        assert isinstance(claim, Claim)
        attrs = study.get_trials()[claim.number].user_attrs
        seeds[attrs["baseline"], attrs["replicate"]] = attrs["seed"]
        good = attrs["baseline"] == "b0" and attrs["replicate"] == 0
        if good:
            for key, value in trained(
                tmp_path, {"arch": "mlp", "widths": [8]}, 1
            ).user_attrs.items():
                if key != "seed":
                    study._storage.set_trial_user_attr(claim.trial_id, key, value)
        state = TrialState.COMPLETE if good else TrialState.PRUNED
        leases.finish(me, claim.trial_id, state, 0.5 if good else None)
    out = tmp_path / "out"
    result = evaluate_baselines(sqlite_storage, study, data_root=None, out=out, force=False)
    assert [c["name"] for c in result["configurations"]] == ["b0"]
    assert result["configurations"][0]["diverged_seeds"] == [seeds["b0", 1]]
    assert result["all_diverged"] == ["b1"]
    # a stored result is written again, unless it is there, or more was trained since
    assert baselines_again(sqlite_storage, study, out) is None
    again = baselines_again(sqlite_storage, study, tmp_path / "again")
    assert again is not None
    assert again["configurations"] == result["configurations"]
    newer = study.get_trials()[0]
    newer.user_attrs["seed"] = 12345
    study.add_trial(newer)
    assert baselines_again(sqlite_storage, study, tmp_path / "more") is None
    assert not (tmp_path / "more").exists()
