"""Studies are made whole and resumed only as what they were."""

from __future__ import annotations

import dataclasses

import optuna
import pytest
from optuna.trial import TrialState
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.data.info import Fingerprint
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.errors import RefusedError, StorageError, UsageError
from bloodsearch.search.records import Kind
from bloodsearch.search.sampling.sampler import trial_sampler
from bloodsearch.search.seeds import derive_seed
from bloodsearch.search.study import create_or_resume, default_name, info, load


def test_resumed_study_is_the_same(storage: Storage) -> None:
    first = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    again = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    assert first._study_id == again._study_id
    stored = info(again)
    assert stored.study_file == tiny_study()
    assert stored.fingerprint == FINGERPRINT
    assert again.metric_names == ["val_macro_f1"]


def test_other_space_is_refused_with_the_difference(storage: Storage) -> None:
    create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    other = tiny_study(training={"epochs": 4, "final_epochs": 3})
    with pytest.raises(RefusedError, match=r"training\.epochs is 3 in the study, 4 in"):
        create_or_resume(storage, "tiny", other, FINGERPRINT)


def test_budget_and_description_do_not_make_another_study(storage: Storage) -> None:
    create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    again = tiny_study(description="words", search={"trials": 7})
    create_or_resume(storage, "tiny", again, FINGERPRINT)


def test_other_data_are_refused(storage: Storage) -> None:
    create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    other = dataclasses.replace(FINGERPRINT, content_hash="1" * 32)
    with pytest.raises(RefusedError, match="content hash"):
        create_or_resume(storage, "tiny", tiny_study(), other)


def test_same_data_from_another_file_go_on(storage: Storage) -> None:
    """The official file and a rebuilt one with equal pixels are the same data."""
    official = Fingerprint("bloodmnist", "official", "2" * 32)
    create_or_resume(storage, "tiny", tiny_study(), official)
    unofficial = dataclasses.replace(official, provenance="unofficial")
    create_or_resume(storage, "tiny", tiny_study(), unofficial)


def test_half_made_study_is_made_again(storage: Storage) -> None:
    """Its creator was killed between two writes."""
    study = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    study.enqueue_trial({})
    storage.optuna.set_study_user_attr(study._study_id, "ready", False)
    again = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    assert again.trials == []
    assert again.user_attrs["ready"] is True


def test_study_without_a_single_attribute_is_made_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its creator was killed after the first write, and the name was refused for ever."""

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(optuna.Study, "set_user_attr", killed)
        with pytest.raises(KeyboardInterrupt):
            create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    study = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    assert study.user_attrs["ready"] is True


@pytest.mark.parametrize("mark", ["attribute", "metric", "trial", "direction"])
def test_study_that_bears_another_programs_mark_is_left_alone(storage: Storage, mark: str) -> None:
    directions = optuna.study.StudyDirection
    direction = directions.MINIMIZE if mark == "direction" else directions.MAXIMIZE
    study = optuna.create_study(study_name="theirs", storage=storage.optuna, direction=direction)
    if mark == "attribute":
        study.set_user_attr("by", "me")
    elif mark == "metric":
        study.set_metric_names(["loss"])
    elif mark == "trial":
        study.ask()
    with pytest.raises(StorageError, match="not made by bloodsearch"):
        create_or_resume(storage, "theirs", tiny_study(), FINGERPRINT)
    stored = optuna.load_study(study_name="theirs", storage=storage.optuna)
    assert stored._study_id == study._study_id


def test_foreign_study_is_left_alone(storage: Storage) -> None:
    study = optuna.create_study(study_name="theirs", storage=storage.optuna)
    study.enqueue_trial({"x": 1})
    with pytest.raises(StorageError, match="not made by bloodsearch"):
        create_or_resume(storage, "theirs", tiny_study(), FINGERPRINT)
    with pytest.raises(StorageError, match="not made by bloodsearch"):
        load(storage, "theirs")
    assert len(study.trials) == 1


def test_missing_study_names_those_there_are(storage: Storage) -> None:
    create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    with pytest.raises(StorageError, match=r"no study 'big' in .*; available: tiny"):
        load(storage, "big")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 101, "a b", "é", "a\n"])
def test_names_that_are_no_folder_names(storage: Storage, name: str) -> None:
    with pytest.raises(UsageError, match="study name"):
        create_or_resume(storage, name, tiny_study(), FINGERPRINT)


def test_baselines_are_queued_once_between_sampled_trials(storage: Storage) -> None:
    params = {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, "mlp_width": 8}
    file = tiny_study(baselines=[{"name": "known", "params": params}])
    for _ in range(2):
        study = create_or_resume(storage, "tiny", file, FINGERPRINT)
    sampled, trial = study.trials
    assert sampled.state is trial.state is TrialState.WAITING
    assert sampled.user_attrs == sampled.system_attrs == {}
    assert trial.user_attrs == {"point": params, "baseline": "known"}
    # inside the space: the sampler will learn from it
    assert trial.system_attrs["fixed_params"] == {"arch": "mlp", "lr": 1e-3, "mlp_width": 8}


def test_baseline_that_makes_no_configuration_is_named(storage: Storage) -> None:
    file = tiny_study(baselines=[{"name": "bad", "params": {"arch": "mlp"}}])
    with pytest.raises(UsageError, match="baseline bad: the parameter optimizer is missing"):
        create_or_resume(storage, "tiny", file, FINGERPRINT)


def test_the_largest_stem_must_leave_pixels_for_the_deepest_network(storage: Storage) -> None:
    """Or a worker that draws both stops in the middle of the search, and all others with it."""
    space = {"arch": "cnn", "optimizer": "adam", "lr": 1e-3, "cnn_stem": [1, 2], "cnn_blocks": 4}
    with pytest.raises(UsageError, match=r"lower it, as in --set space\.cnn_blocks=3"):
        create_or_resume(storage, "deep", tiny_study(space=space), FINGERPRINT)
    create_or_resume(storage, "deep", tiny_study(space=space | {"cnn_blocks": 3}), FINGERPRINT)


def test_grid_is_queued_whole(storage: Storage) -> None:
    space = {"arch": ["mlp", "cnn"], "optimizer": "adam", "lr": [1e-3, 1e-2], "mlp_width": [8, 16]}
    file = tiny_study(search={"sampler": "grid"}, space=space)
    study = create_or_resume(storage, "tiny", file, FINGERPRINT)
    points = [tuple(sorted(t.user_attrs["point"].items())) for t in study.trials]
    assert len(points) == len(set(points)) == 2 * 2 + 2  # mlp_width belongs to MLPs alone


def test_each_trial_samples_from_its_own_stream() -> None:
    file = tiny_study(search={"sampler": "random"})
    study = optuna.create_study()

    def first_value(number: int) -> float:
        study.sampler = trial_sampler(file, number)
        return study.ask().suggest_float("lr", 0, 1)

    values = [first_value(number) for number in range(20)]
    assert len(set(values)) == 20
    assert first_value(3) == values[3]  # and can be repeated


def test_seeds_depend_on_every_part() -> None:
    assert derive_seed(0, "train", 1) == derive_seed(0, "train", 1)
    assert len({derive_seed(s, k, n) for s in (0, 1) for k in "ab" for n in (0, 1)}) == 8
    assert all(0 <= derive_seed(i) < 2**31 for i in range(1000))


def test_synthetic_studies_carry_another_name() -> None:
    assert default_name(tiny_study(), "bloodmnist") == "tiny"
    assert default_name(tiny_study(), "synthetic") == "tiny-synthetic"


@pytest.mark.parametrize("kind", ["finalists", "replicates", "refits"])
def test_a_study_of_another_kind_is_refused(storage: Storage, kind: Kind) -> None:
    create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT, kind=kind)
    with pytest.raises(RefusedError, match="not a search; choose another --name"):
        create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    create_or_resume(storage, "other", tiny_study(), FINGERPRINT)
    with pytest.raises(RefusedError, match="holds a search, not"):
        create_or_resume(storage, "other", tiny_study(), FINGERPRINT, kind=kind)


def test_trainings_of_a_deleted_study_are_not_taken_for_those_of_a_new_one(
    storage: Storage,
) -> None:
    """They name its trials by numbers, which the new study gives to other configurations."""
    create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    for name in ("tiny-finals", "tiny-baselines", "tiny-other-final-3"):
        create_or_resume(storage, name, tiny_study(), FINGERPRINT, kind="replicates")
    optuna.delete_study(study_name="tiny", storage=storage.optuna)
    with pytest.raises(RefusedError, match=r"deleted study 'tiny'.*: tiny-finals; delete"):
        create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    optuna.delete_study(study_name="tiny-finals", storage=storage.optuna)
    create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
