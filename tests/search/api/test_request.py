"""From what `optimize` is asked for to the study file that is searched."""

from __future__ import annotations

from typing import Any

import pytest
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.api.request import SearchRequest, resolve
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.study import create_or_resume
from bloodsearch.studies import StudyFile

FILE = tiny_study(training={"epochs": {"cnn": 3, "mlp": 7}, "final_epochs": {"cnn": 9, "mlp": 20}})


def resolved(url: str, **asked: Any) -> StudyFile:
    file, _ = resolve(SearchRequest(study=FILE, storage=url, dataset="synthetic", **asked))
    return file


def test_one_number_is_for_all_families(sqlite_url: str) -> None:
    training = resolved(sqlite_url, overrides=["training.final_epochs=2"]).training
    assert training.final_epochs == {"cnn": 2, "mlp": 2}
    assert training.epochs == {"cnn": 3, "mlp": 7}


@pytest.mark.parametrize("overrides", [["training.epochs=6"], {"training.final_epochs": 6}])
def test_a_search_begun_when_one_number_left_out_mlps_is_resumed(
    sqlite_url: str, overrides: Any
) -> None:
    ((key, _),) = overrides.items() if isinstance(overrides, dict) else [overrides[0].split("=")]
    begun = tiny_study(training=FILE.training.model_dump() | _cnn_only(key.split(".")[1]))
    storage = open_storage(sqlite_url, create=True)
    create_or_resume(storage, "tiny-synthetic", begun, FINGERPRINT)
    storage.close()
    assert resolved(sqlite_url, overrides=overrides).space_hash() == begun.space_hash()
    # another number is another search, and is read as today
    other = resolved(sqlite_url, overrides={key: 5}).training.model_dump()
    assert other[key.split(".")[1]] == {"cnn": 5, "mlp": 5}


def test_a_study_judged_by_folds_has_no_ladder(sqlite_url: str) -> None:
    """Folds that were asked for left the ladder, whose last rung chooses on the few validation images."""
    data = FILE.model_dump(mode="json") | {"ladder": {"finalists": 2}}
    for folds, has_ladder in ((3, False), (0, True)):
        request = SearchRequest(
            study=data, storage=sqlite_url, dataset="synthetic", overrides={"search.folds": folds}
        )
        file, _ = resolve(request)
        assert (file.search.folds, file.ladder is not None) == (folds, has_ladder)


def _cnn_only(name: str) -> dict[str, dict[str, int]]:
    return {name: {"cnn": 6, "mlp": FILE.training.model_dump()[name]["mlp"]}}
