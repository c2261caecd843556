"""Bad input costs one line and the promised exit code, leaves nothing behind and tells no secret."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hostile
import pytest
import sqlalchemy as sa
from hostile import CANARY, CASES, FORBIDDEN, GOOD, Case
from hostile_files import IMAGES, MODEL, SOURCES, BadImage, make_model
from hostile_pictures import PICTURES
from PIL import Image
from postgres_roles import role_with_password
from tests_support import shrink, supervisor

from bloodsearch.search.cli import main
from bloodsearch.search.data import synthetic
from bloodsearch.search.database.passwords import hide_passwords
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.study import load


@pytest.fixture(scope="session")
def good_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / GOOD
    hostile.make_good(path)
    return path


@pytest.fixture
def small_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets of kilobytes, and none in the user's home."""
    make = synthetic.make_split
    monkeypatch.setattr(synthetic, "make_split", lambda split: make(split, 16))
    shrink(monkeypatch, hostile.SIZES)
    monkeypatch.setenv("BLOODSEARCH_DATA", "nowhere")


def run(args: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(args)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def run_process(args: list[str], *before: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [*before, sys.executable, "-P", "-m", "bloodsearch", *args],
        env={**os.environ, "BLOODSEARCH_DATA": "nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def listing(folder: Path) -> dict[str, str]:
    """Every name below `folder`, with a hash of what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        regular = path.is_file() and not path.is_symlink()
        try:
            content = path.read_bytes() if regular else b""
        except PermissionError:
            content = b""
        found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return found


def check(case: Case, code: int, out: str, err: str) -> None:
    assert code == case.code, err
    assert err.startswith("bloodsearch: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert err.strip().isprintable()
    assert len(err) < 2100
    assert "unexpected error" not in err
    for words in case.says:
        assert words in err
    assert out == ""
    for text in (out, err):
        assert "Traceback" not in text
        assert CANARY not in text


def check_left(case: Case, before: dict[str, str], folder: Path) -> None:
    after = listing(folder)
    # the lock beside a database, and its journal while this process has it open
    spared = {name for name in after if name.endswith((".lock", ".db-wal", ".db-shm"))}
    spared |= set(case.may_change)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed <= spared


@pytest.mark.timeout(30)
@pytest.mark.usefixtures("small_data")
@pytest.mark.parametrize("case", [*CASES, *SOURCES, *PICTURES], ids=lambda case: case.name)
def test_hostile_input(
    case: Case,
    tmp_path: Path,
    good_database: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if case.good:
        shutil.copy(good_database, tmp_path)
    case.prepare(tmp_path)
    for name, value in case.env.items():
        monkeypatch.setenv(name, value)
    args = case.args
    if case.postgres is not None:
        args = [*args, "--storage", case.postgres(request.getfixturevalue("postgres_url"))]
    before = listing(tmp_path)
    check(case, *(run_process(args) if case.process else run(args, capsys)))
    check_left(case, before, tmp_path)


def test_there_are_many() -> None:
    names = [case.name for case in [*CASES, *SOURCES, *PICTURES]] + [case.name for case in IMAGES]
    assert len(set(names)) == len(names) >= 250


@pytest.mark.timeout(30)
@pytest.mark.parametrize("case", IMAGES, ids=lambda case: case.name)
def test_a_hostile_image_is_skipped(
    case: BadImage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_model(tmp_path / MODEL)
    folder = tmp_path / "cells"
    folder.mkdir()
    case.make(folder / case.file)
    Image.new("RGB", (28, 28)).save(folder / "zz.png")
    code, out, err = run(["predict", "cells", "--model", MODEL, "--csv"], capsys)
    assert code == 1
    first, last = err.splitlines()
    assert first.startswith("bloodsearch: skipped cells/")
    assert case.says in first
    assert last == "bloodsearch: 1 images predicted, 1 skipped"
    assert len(out.splitlines()) == 2
    for line in (first, *out.splitlines()):
        assert line.isprintable()


@pytest.mark.parametrize("case", FORBIDDEN, ids=lambda case: case.name)
def test_no_permission(case: Case, tmp_path: Path, good_database: Path) -> None:
    """In a process of its own, because root, as which tests may run, is refused nothing."""
    privileges: tuple[str, ...] = ()
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may do everything, and there is no setpriv to take that from it")
        privileges = (setpriv, "--bounding-set", "-dac_override,-dac_read_search")
    if case.good:
        shutil.copy(good_database, tmp_path)
    case.prepare(tmp_path)
    before = listing(tmp_path)
    check(case, *run_process(case.args, *privileges))
    for path in tmp_path.iterdir():
        path.chmod(0o700)
    assert listing(tmp_path).keys() == before.keys()


# --- secrets ---


@pytest.fixture
def guarded_url(postgres_url: str) -> Iterator[str]:
    """A PostgreSQL database that asks for CANARY."""
    with role_with_password(postgres_url, CANARY) as url:
        yield url.set(password=CANARY).render_as_string(hide_password=False)


@pytest.mark.usefixtures("small_data")
def test_a_wrong_password(guarded_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = sa.make_url(guarded_url).set(password="wrong-" + CANARY)
    url = wrong.render_as_string(hide_password=False)
    case = Case("", "", 4, ("password authentication failed", "--storage"))
    check(case, *run(["status", "--storage", url], capsys))


@pytest.mark.usefixtures("small_data")
def test_the_password_is_shown_and_stored_nowhere(
    guarded_url: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    here = ["demo", "--storage", guarded_url]
    create = ["optimize", *here, "--trials", "2", "--dataset", "synthetic", "--create-only"]
    said = ""

    def say(*args: str, code: int = 0) -> str:
        nonlocal said
        found, out, err = run(list(args), capfd)
        assert found == code, err
        said += out + err
        return out

    assert "***" in say(*create)
    assert "***" in json.loads(say(*create, "--json"))["storage"]

    # a real worker process, which gets the address from the supervisor
    opened = open_storage(guarded_url, create=False)
    monkeypatch.setenv("SIM_BUG", "0")  # its message and its traceback quote the address
    supervisor(opened, load(opened, "demo-synthetic"), 2, 1).run()
    opened.close()
    out, err = capfd.readouterr()
    said += out + err

    monkeypatch.setenv("BLOODSEARCH_STORAGE", guarded_url)
    for command in ("status", "leaderboard", "show 0", "stop", "doctor"):
        for more in ([], ["--json"]):
            if command == "stop" and more:
                continue
            where = [] if command == "doctor" else ["demo", "--name", "demo-synthetic"]
            say(*command.split(), *where, *more)
    say("status", "nothing", "--json", code=4)
    say(*create, "--epochs", "3", code=5)
    say("replay", "1", "demo", code=5)
    assert "2 of 2 trials finished" in said
    assert CANARY not in said

    stored = everything_stored(guarded_url)
    assert "demo-synthetic" in stored
    assert "a bug with postgresql" in stored
    assert CANARY not in stored
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes()


def everything_stored(url: str) -> str:
    """Every value of every table, as text."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as db:
        tables = sa.inspect(db).get_table_names()
        assert {"trials", "study_user_attributes", "bloodsearch_workers"} <= set(tables)
        rows = [db.execute(sa.text(f'SELECT * FROM "{name}"')).all() for name in tables]
    return repr(rows)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"at postgresql://u:{CANARY}@h/d now", "at postgresql://u:***@h/d now"),
        (f"postgresql:/u:{CANARY}@h/d", "postgresql:/u:***@h/d"),
        (f"postgresql://u:p@{CANARY}@h/d", "postgresql://u:***@h/d"),
        (f"'postgresql://u:{CANARY[:5]}'", "'postgresql://u:***'"),
        (f"host=h password={CANARY} x", "host=h password=*** x"),
        (f"//h/d?sslpassword={CANARY}&x=1", "//h/d?sslpassword=***&x=1"),
    ],
)
def test_addresses_in_messages_lose_their_password(text: str, shown: str) -> None:
    assert hide_passwords(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8080/ shows sqlite:////tmp/a:b@c.db",
        "sqlite:///C:/x.db",
        "postgresql+psycopg://u:***@h:5432/d",
        "postgresql://h:5432/d",
        "password authentication failed for user",
    ],
)
def test_other_addresses_stay(text: str) -> None:
    assert hide_passwords(text) == text
