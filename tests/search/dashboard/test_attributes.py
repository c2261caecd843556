"""What bloodsearch writes for optuna-dashboard, read back by optuna-dashboard and Optuna."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta, upload_artifact
from optuna_dashboard import get_note, save_note
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects
from optuna_dashboard.artifact._backend import list_study_artifacts, list_trial_artifacts

from bloodsearch.search.dashboard import attributes
from bloodsearch.search.dashboard.attributes import KEPT


class Client:
    """A study in memory, whose attributes are set as `Publisher` sets them."""

    def __init__(self) -> None:
        self.study = optuna.create_study()
        self.study.add_trial(optuna.trial.create_trial(value=0.5))
        self.trial = self.study.trials[0]
        self.storage = self.study._storage

    @property
    def attrs(self) -> dict[str, Any]:
        return self.storage.get_study_system_attrs(self.study._study_id)

    def set(self, new: dict[str, Any]) -> int:
        for key, value in new.items():
            self.storage.set_study_system_attr(self.study._study_id, key, value)
        return len(new)


@pytest.mark.parametrize("length", [0, 1, 2044, 2045, 2046, 9000])
def test_note_is_read_by_optuna_dashboard(length: int) -> None:
    client = Client()
    for text in ("x" * 5000, "ü" * length):  # what a longer note has left is gone
        assert client.set(attributes.note(client.attrs, None, text))
        assert get_note(client.study) == f"{text}\n\n---\n{KEPT}"
    assert client.set(attributes.note(client.attrs, None, "ü" * length)) == 0
    trial_id = client.trial._trial_id
    client.set(attributes.note(client.attrs, trial_id, "of the trial"))
    assert attributes.noted_trials(client.attrs) == {trial_id}
    assert len(attributes.note_keys(client.attrs, trial_id)) == 2


def test_what_a_reader_wrote_is_kept() -> None:
    client = Client()
    save_note(client.study, "my own")
    client.set(attributes.note(client.attrs, None, "first"))
    assert get_note(client.study) == f"first\n\n---\n{KEPT}\n\nmy own"
    save_note(client.study, get_note(client.study) + " and more")
    client.set(attributes.note(client.attrs, None, "second"))
    assert get_note(client.study) == f"second\n\n---\n{KEPT}\n\nmy own and more"
    # the page of a trial that is no longer among the best: only untouched notes go
    client.set(attributes.note(client.attrs, 0, "of a trial"))
    touched = {"dashboard:0:note_str:0": client.attrs["dashboard:0:note_str:0"] + " mine"}
    assert attributes.note_keys(client.attrs | touched, 0) == []


def test_figure_is_read_by_optuna_dashboard() -> None:
    client = Client()
    for text in (json.dumps(["x" * 5000]), '{"data":[]}'):
        assert client.set(attributes.figure(client.attrs, "confusion", text))
        assert get_plotly_graph_objects(client.attrs) == {"confusion": text}
    assert not attributes.figure(client.attrs, "confusion", text)


def test_artifacts_are_read_by_optuna_and_its_dashboard(tmp_path: Any) -> None:
    client = Client()
    for trial_id in (None, client.trial._trial_id):
        made, value = attributes.artifact("study", trial_id, "curve.png", b"1")
        again, _ = attributes.artifact("study", trial_id, "curve.png", b"1")
        other, _ = attributes.artifact("study", trial_id, "curve.png", b"2")
        assert made == again
        assert made.id != other.id
        client.set({made.key: value})
        assert attributes.artifacts(client.attrs, trial_id) == [made]
    (meta,) = get_all_artifact_meta(client.study)
    assert (meta.filename, meta.mimetype) == ("curve.png", "image/png")
    assert [a["mimetype"] for a in list_study_artifacts(client.attrs)] == ["image/png"]
    shown = list_trial_artifacts(client.attrs, {}, client.trial)
    assert [a["filename"] for a in shown] == ["curve.png"]
    assert attributes.pictured_trials(client.attrs) == {client.trial._trial_id}
    # a person's upload is not bloodsearch's to replace
    (tmp_path / "mine.txt").write_text("x")
    store = optuna.artifacts.FileSystemArtifactStore(tmp_path)
    upload_artifact(
        artifact_store=store, file_path=str(tmp_path / "mine.txt"), study_or_trial=client.study
    )
    assert [a.filename for a in attributes.artifacts(client.attrs)] == ["curve.png"]


@pytest.mark.parametrize(
    "planted",
    [
        {"artifacts:x": "{"},
        {"artifacts:x": 3},
        {"artifacts:x": '{"artifact_id": "../../etc/passwd", "filename": "x"}'},
        {"dashboard:artifacts:0:x": "null"},
        {"dashboard:x:note_ver": "y", "dashboard::note_ver": 1},
    ],
)
def test_planted_attributes_name_no_file(planted: dict[str, Any]) -> None:
    assert attributes.artifacts(planted) == attributes.artifacts(planted, 0) == []
    assert attributes.pictured_trials(planted) == attributes.noted_trials(planted) == set()
