"""One output layer: nothing that others wrote reaches the terminal raw, and readers may leave."""

from __future__ import annotations

import ast
import csv
import io
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from report_support import fake_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.cli import main, output
from bloodsearch.search.data import load as data
from bloodsearch.search.data import synthetic
from bloodsearch.search.database.passwords import RedactingFilter
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.evaluation import ledger
from bloodsearch.search.study import create_or_resume

ROOT = Path(data.__file__).parents[2]
PLANTED = "\x1b]0;owned\x07\x1b[2J\u202e<script>x</script>\n=1+1"


def printed(capsys: pytest.CaptureFixture[str], args: list[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(args)
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    return out + err


def assert_neutral(text: str) -> None:
    unprintable = {c for c in text if not c.isprintable()} - {"\n"}
    assert not unprintable


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, planted_file: Path) -> str:
    """A copy of the database in which a stranger wrote PLANTED."""
    make = synthetic.make_split
    monkeypatch.setattr(synthetic, "make_split", lambda split: make(split, 16))
    return f"sqlite:///{shutil.copy(planted_file, tmp_path)}"


@pytest.fixture(scope="module")
def planted_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which a stranger wrote PLANTED wherever text fits."""
    path = tmp_path_factory.mktemp("planted") / "x.db"
    url = f"sqlite:///{path}"
    storage = open_storage(url, create=True)
    study = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    params = {"arch": "mlp", "optimizer": PLANTED, PLANTED: PLANTED, "lr": float("nan")}
    hostile = {"device": PLANTED, "versions": {PLANTED: PLANTED}, "precision": PLANTED}
    for number in range(4):
        fake_trial(study, number, 0.5 + number / 100, **hostile)
    fake_trial(study, 4, 0.9, params=params, baseline=PLANTED, **hostile)
    fake_trial(study, 5, None, stop_reason=PLANTED, traceback=f"{PLANTED}\n{PLANTED}", **hostile)
    study.set_user_attr("n_trials", 9)
    study.set_user_attr(PLANTED, PLANTED)
    storage.close()
    engine = sa.create_engine(url)
    with engine.begin() as db:
        columns = [c["name"] for c in sa.inspect(db).get_columns("bloodsearch_workers")]
        assert {"host", "device"} <= set(columns)
    engine.dispose()
    return path


@pytest.mark.parametrize("command", ["status", "leaderboard", "show 4", "show 5"])
@pytest.mark.parametrize("form", ["", "--csv", "--json"])
def test_planted_escape_sequences_are_shown_not_obeyed(
    planted: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    form: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # a narrow leaderboard cuts the planted text
    if form == "--csv" and command != "leaderboard":
        pytest.skip("only the leaderboard has CSV")
    name, *rest = command.split()
    args = [name, *rest, "tiny", "--storage", planted, *form.split()]
    shown = printed(capsys, args)
    assert_neutral(shown)
    if form == "--json":
        assert "NaN" not in shown
        found = json.loads(shown)
        if command == "leaderboard":  # exact
            assert found["trials"][0]["params"][PLANTED] == PLANTED
            assert found["trials"][0]["params"]["lr"] is None
    elif command != "status":
        assert r"\x1b[2J" in shown
    if form == "--csv":
        for row in csv.reader(io.StringIO(shown)):
            assert not [c for c in row if c.startswith(("=", "+", "@", "\t"))]


def test_a_report_of_planted_text(
    planted: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    storage = open_storage(planted, create=False)
    opening = ledger.record_opening(
        storage, "tiny", trial=4, n_replicates=1, data_hash="x", forced=False
    )
    ledger.record_result(storage, opening, {"check": PLANTED, "identical": True})
    storage.close()
    assert_neutral(
        printed(capsys, ["report", "tiny", "--storage", planted, "--out", "out", "--debug"])
    )
    pages = [*Path("out").rglob("*.md"), *Path("out").rglob("*.html"), *Path("out").rglob("*.csv")]
    assert len(pages) > 3
    for page in pages:
        text = page.read_bytes().decode()
        assert_neutral(text)
        if page.suffix != ".csv":
            assert "<script>x" not in text, page
    for table in Path("out").rglob("*.csv"):
        for row in csv.reader(io.StringIO(table.read_bytes().decode(), newline="")):
            assert not [c for c in row if c.startswith(("=", "@", "\t", "\r"))]


def test_a_side_of_a_comparison_that_is_no_name(
    planted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", PLANTED, "A", "--storage", planted])
    assert ended.value.code == 2
    assert_neutral(capsys.readouterr().err)


def test_commands_print_through_the_output_layer() -> None:
    """A print past it would reach the terminal raw."""
    for path in (ROOT / "search" / "cli").glob("*.py"):
        if path.name == "output.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "typer.echo", "csv.writer"), path
                assert not called.endswith((".print", "sys.stdout.write", "sys.stderr.write")), path


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [{"a": (float("-inf"), 1.0)}]])
def test_json_has_null_where_there_is_no_number(
    capsys: pytest.CaptureFixture[str], value: object
) -> None:
    output.as_json({"value": value})
    text = capsys.readouterr().out
    assert "null" in text
    json.loads(text, parse_constant=lambda name: pytest.fail(name))


def test_a_table_shows_markup_and_emoji_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["name"], [("[red]x[/]",), (":smile:",), ("[/]",)])
    shown = capsys.readouterr().out
    for text in ("[red]x[/]", ":smile:", "[/]"):
        assert text in shown


def start(*args: str, **more: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "bloodsearch", *args],
        stderr=subprocess.PIPE, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    "command",
    ["--help", "--version", "studies", "studies show bloodmnist", "STATUS", "STATUS --json",
     "LEADERBOARD --csv", "LEADERBOARD", "WATCH"],
)  # fmt: skip
def test_a_reader_that_leaves_is_no_error(planted: str, command: str) -> None:
    for short, full in (
        ("STATUS", "status tiny --storage URL"),
        ("LEADERBOARD", "leaderboard tiny --storage URL"),
        ("WATCH", "status tiny --watch --storage URL"),
    ):
        command = command.replace(short, full)
    read, write = os.pipe()
    os.close(read)  # nobody reads
    process = start(*command.replace("URL", planted).split(), stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err == b""


def test_a_full_disk_is_said(planted: str) -> None:
    with open("/dev/full", "wb") as full:
        process = start("leaderboard", "tiny", "--json", "--storage", planted, stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.count(b"\n") == 1
    assert b"No space left" in err


def test_a_terminal_without_the_letters(planted: str) -> None:
    process = start(
        "show", "4", "tiny", "--storage", planted, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert rb"\u202e" in out


def test_without_standard_output(planted: str) -> None:
    done = subprocess.run(
        f"{sys.executable} -P -m bloodsearch status tiny --json --storage {planted} >&-",
        shell=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_log_records_are_one_printable_line() -> None:
    """Errors of a database or a trial are logged by workers; others can write them."""
    record = logging.LogRecord(
        "x",
        logging.WARNING,
        "",
        0,
        "trial %d failed: %s",
        (1, "\x1b[2J\x1b]0;x\x07\nbest 1.0"),
        None,
    )
    assert RedactingFilter(sa.make_url("sqlite:///x.db")).filter(record)
    assert record.getMessage() == r"trial 1 failed: \x1b[2J\x1b]0;x\x07\nbest 1.0"


def test_warnings_without_a_handler_are_neutral(capsys: pytest.CaptureFixture[str]) -> None:
    output.MessageHandler().handle(
        logging.LogRecord("x", logging.WARNING, "", 0, "\x1b[2J\nx", None, None)
    )
    assert capsys.readouterr().err == "bloodsearch: \\x1b[2J\\nx\n"
