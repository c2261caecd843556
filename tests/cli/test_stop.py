"""`bloodsearch stop`: which workers it asks."""

from __future__ import annotations

from tests_support import FINGERPRINT, tiny_study
from typer.testing import CliRunner

from bloodsearch.search.cli import app
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.records import Kind
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.liveness import own_identity


def test_the_workers_of_a_study_s_longer_trainings_are_asked_too(sqlite_storage: Storage) -> None:
    """A command that had reached the ladder went on, and `stop` said that it asked no worker."""
    kinds: dict[str, Kind] = {"tiny": "search", "tiny-finals": "replicates", "other": "search"}
    registries = {}
    for name, kind in kinds.items():
        study = create_or_resume(sqlite_storage, name, tiny_study(), FINGERPRINT, kind=kind)
        registries[name] = Leases(sqlite_storage, study).registry
    registries["tiny-finals"].register(own_identity("cpu"))
    registries["other"].register(own_identity("cpu"))
    options = ["tiny", "--storage", sqlite_storage.full_url]
    said = CliRunner().invoke(app, ["stop", *options]).stdout
    assert "asked 1 worker of tiny to stop" in said
    # a supervisor whose workers are still starting sees it by this
    assert [registry.n_stops() for registry in registries.values()] == [1, 1, 0]
