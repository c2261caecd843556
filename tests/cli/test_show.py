"""`show` of trials that another program has made or changed."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.trial import TrialState, create_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.cli import main
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.study import create_or_resume


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize(
    "attrs",
    [
        {},
        {"params": "lr=0.1"},
        {"params": None, "per_class_f1": None, "versions": None},
        {"per_class_f1": [0.5]},
        {"per_class_f1": "good"},
        {"versions": ["2.0"]},
    ],
    ids=str,
)
def test_attributes_of_another_program_under_our_names(
    attrs: dict[str, Any], form: list[str], sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = open_storage(sqlite_url, create=True)
    study = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=0.5, user_attrs=attrs))
    storage.close()
    with pytest.raises(SystemExit) as ended:
        main(["show", "0", "--name", "tiny", "--storage", sqlite_url, *form])
    assert ended.value.code == 0
    assert "0.5" in capsys.readouterr().out
