"""A replay compares the epochs that a trial was trained for, and no other report of it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from optuna.trial import FrozenTrial, TrialState, create_trial
from tests_support import tiny_study

from bloodsearch.search.data import load
from bloodsearch.search.data.load import Dataset, load_dataset
from bloodsearch.search.errors import RefusedError
from bloodsearch.search.sampling.space import Params, to_config
from bloodsearch.search.study import StudyInfo, versions
from bloodsearch.search.trial.replay import replay_trial

POINT: Params = {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, "mlp_width": 4, "batch_size": 512}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_dataset("synthetic")


def pruned(data: Dataset, values: dict[int, float], **attrs: object) -> FrozenTrial:
    stored = {
        "config": to_config(POINT, epochs=3, patience=0).model_dump(mode="json"),
        "data_hash": data.fingerprint.content_hash,
        "threads": torch.get_num_threads(),
        "seed": 1,
        "precision": "float32",
        "versions": versions(),
        "device": "cpu",
    }
    return create_trial(
        state=TrialState.PRUNED, value=0.0, intermediate_values=values, user_attrs=stored | attrs
    )


@pytest.fixture
def study_info(data: Dataset) -> StudyInfo:
    return StudyInfo("tiny", "search", tiny_study(), data.fingerprint, None)


def replay(trial: FrozenTrial, study_info: StudyInfo) -> tuple[list[float], list[float]]:
    result = replay_trial(
        trial, study_info, data_root=None, device="cpu", on_epoch=lambda *epoch: None
    )
    return result.stored, result.again


def test_the_report_that_ranks_a_diverged_trial_last_is_no_epoch(
    data: Dataset, study_info: StudyInfo
) -> None:
    trial = pruned(data, {1: 0.5, 2: 0.0}, epochs=1, stop_reason="diverged: loss nan")
    stored, again = replay(trial, study_info)
    assert stored == [0.5]
    assert len(again) == 1


def test_a_trial_that_was_never_trained_is_refused(data: Dataset, study_info: StudyInfo) -> None:
    trial = pruned(data, {1: 0.0}, epochs=0, stop_reason="too costly: 9 parameters, at most 5")
    with pytest.raises(RefusedError, match="no epoch to compare with: too costly"):
        replay(trial, study_info)


def test_a_refit_is_replayed_on_both_splits(
    data: Dataset, study_info: StudyInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    original = load.joined

    def joined(data: Dataset) -> Dataset:
        both = original(data)
        sizes.append(len(both.train_labels))
        return both

    monkeypatch.setattr("bloodsearch.search.trial.data.joined", joined)
    trial = pruned(data, {1: 0.5}, epochs=1, stop_reason="all epochs trained")
    replay(trial, study_info)
    assert sizes == []
    replay(trial, dataclasses.replace(study_info, kind="refits"))
    assert sizes == [len(data.train_labels) + len(data.val_labels)]
