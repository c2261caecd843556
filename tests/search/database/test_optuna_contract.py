"""Optuna's own public test suite for storages, run on ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase

from bloodsearch.search.database.storage import Storage, open_storage


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Storage]:
    """One database of each kind for all tests: making a new one takes longer than most of them."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('contract') / 'x.db'}"
    else:
        server = sa.make_url(request.getfixturevalue("_postgres_server"))
        url = server.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    storage = open_storage(url, create=True)
    yield storage
    storage.close()


class TestStorage(StorageTestCase):
    @pytest.fixture
    def storage(self, opened: Storage) -> BaseStorage:
        """An empty storage."""
        for study in opened.optuna.get_all_studies():
            opened.optuna.delete_study(study._study_id)
        return opened.optuna
