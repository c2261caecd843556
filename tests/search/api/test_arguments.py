"""Arguments out of range are refused before anything is created, trained or opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch import UsageError, export, final_eval, load_study, optimize
from bloodsearch.search.api.arguments import whole
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.study import create_or_resume

PARAMS = {"arch": "mlp", "optimizer": "adam", "lr": 0.01, "mlp_width": 8}


@pytest.mark.parametrize(
    "wrong",
    [
        {"trials": 0},
        {"trials": -1},
        {"trials": 1.5},
        {"trials": "3"},
        {"trials": True},
        {"trials": 1, "timeout_s": -1},
        {"trials": 1, "timeout_s": float("nan")},
        {"trials": 1, "dataset": "cifar"},
        {"only": "everything"},
        {"only": "baselines", "replicates": 0},
    ],
    ids=str,
)
def test_optimize_creates_nothing(wrong: dict[str, Any], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    with pytest.raises(UsageError):
        optimize("report_b", storage=url, create_only=True, **{"dataset": "synthetic", **wrong})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def searched(sqlite_url: str) -> str:
    """A finished search of one trial."""
    storage = open_storage(sqlite_url, create=True)
    study = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    study.add_trial(
        create_trial(state=TrialState.COMPLETE, value=0.5, user_attrs={"params": PARAMS})
    )
    storage.close()
    return sqlite_url


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicates": 0},
        {"replicates": None},
        {"finalists": 0},
        {"rounds": 0},
        {"prefer": "fattest"},
        {"trial": -1},
    ],
    ids=str,
)
def test_final_eval_trains_nothing(wrong: dict[str, Any], searched: str) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        final_eval(name="tiny", storage=searched, **wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda url: export(name="tiny", storage=url, replicate=-1),
        lambda url: load_study(name="tiny", storage=url).leaderboard(-1),
        lambda url: load_study(name="tiny", storage=url, dataset="cifar"),
    ],
)
def test_other_calls(call: Callable[[str], object], searched: str) -> None:
    with pytest.raises(UsageError):
        call(searched)


def test_numbers_of_numpy_are_whole_numbers() -> None:
    assert type(whole("trials", np.int64(3))) is int  # type: ignore[arg-type]
