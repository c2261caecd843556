"""Inputs that nobody should give to `bloodsearch`, each with the exit code and the words it must get."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import sqlalchemy as sa
from numpy.lib import format as npy_format
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.sampling.space import Params
from bloodsearch.search.study import create_or_resume, enqueue

CANARY = "s3cr3t-canary"
FILE_NAME = "bloodmnist.npz"
SIZES = {"train": 24, "val": 16, "test": 8}
"""The splits' sizes while the official ones are replaced, so that a hostile file has kilobytes."""
GOOD = "good.db"
"""A database with the study `tiny` (trial 0 complete, trial 1 waiting) and the empty study `fresh`."""

Prepare = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """A command line, run in a folder of its own in which `prepare` has put what it needs."""

    name: str
    command: str | list[str]
    code: int
    says: tuple[str, ...]
    """What the one line on standard error must hold: what is wrong, what to do."""
    prepare: Prepare = lambda folder: None
    env: dict[str, str] = field(default_factory=dict)
    postgres: Callable[[str], str] | None = None
    """From the URL of an empty PostgreSQL database to that of the command's --storage."""
    process: bool = False
    """Whether it needs a process of its own."""
    good: bool = False
    """Whether the folder holds GOOD."""
    may_change: tuple[str, ...] = ()

    @property
    def args(self) -> list[str]:
        return self.command.split() if isinstance(self.command, str) else self.command


def make_good(path: Path) -> None:
    storage = open_storage(f"sqlite:///{path}", create=True)
    create_or_resume(storage, "fresh", tiny_study(), FINGERPRINT)
    study = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    point: Params = {"arch": "mlp", "optimizer": "adam", "lr": 1e-2, "mlp_width": 8}
    enqueue(study, tiny_study(), point)
    trial = study.ask()
    trial.set_user_attr("params", point)
    study.tell(trial, 0.5)
    enqueue(study, tiny_study(), point)
    storage.close()


# --- study files ---

MINIMAL = """
name = "minimal"
[training]
epochs = 1
final_epochs = 1
[space]
arch = "mlp"
optimizer = "adam"
lr = 1e-3
"""
_MAKE = "--trials 1 --create-only --workers 1 --dataset synthetic"


def _text(content: str | bytes, name: str = "x.toml") -> Prepare:
    raw = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(raw)


def _toml(name: str, content: str | bytes, *says: str) -> Case:
    return Case(name, f"optimize x.toml {_MAKE}", 2, ("x.toml", *says), _text(content))


STUDY_FILES = [
    _toml("not UTF-8", b"name = '\xff\xfe'", "not UTF-8"),
    _toml("two megabytes", MINIMAL + "#" * 2_000_000, "bytes", "under 1 MiB"),
    _toml("10,000 brackets", "x = " + "[" * 10_000, "not valid TOML"),
    _toml("a million zero bytes", b"\0" * 1_000_000, "not UTF-8"),
    _toml("a number of 5,000 digits", "x = " + "9" * 5_000, "not valid TOML"),
    _toml("unknown key", MINIMAL + "[trainig]\nepochs = 1\n", "trainig", "known here: name"),
    _toml("unknown parameter", MINIMAL + "dropout = 0.1\n", "space.dropout", "mlp_dropout"),
    _toml(
        "empty range",
        MINIMAL.replace("1e-3", "{ low = 0.1, high = 0.1 }"),
        "space.lr",
        "must be below",
    ),
    _toml("empty list", MINIMAL.replace("1e-3", "[]"), "space.lr", "at least one value"),
    _toml("NaN in the space", MINIMAL.replace("1e-3", "nan"), "space.lr", "1e-07 .. 10"),
    _toml("a way out of the folder as name", MINIMAL.replace("minimal", "../../x"), "name"),
    _toml("a newline in a key", MINIMAL.replace("lr", '"l\\nr"'), r"l\nr", "known"),
    Case("a folder", f"optimize x.toml {_MAKE}", 2, ("x.toml",), lambda f: (f / "x.toml").mkdir()),
    Case("a fifo", f"optimize x.toml {_MAKE}", 2, ("x.toml",), lambda f: os.mkfifo(f / "x.toml")),
    Case(
        "a link to an endless device",
        f"optimize x.toml {_MAKE}",
        2,
        ("x.toml",),
        lambda f: (f / "x.toml").symlink_to("/dev/zero"),
    ),
    Case("an endless device", f"optimize /dev/zero {_MAKE}", 2, ("/dev/zero",)),
    Case("an empty device", f"optimize /dev/null {_MAKE}", 2, ("/dev/null",)),
    Case("a missing file", f"optimize x.toml {_MAKE}", 2, ("x.toml", "studies new")),
    Case("no such study", f"optimize nothing {_MAKE}", 2, ("nothing", "bloodmnist", "path")),
    Case("a path that is no text", ["optimize", "\udcff.toml", *_MAKE.split()], 2, (r"\udcff",)),
    Case("show another file", "studies show /etc/passwd", 2, ("not valid TOML",)),
    Case("new over an old file", "studies new x.toml", 2, ("exists", "another name"), _text("")),
    Case("new without ending", "studies new x.txt", 2, ("x.txt", "ends in .toml")),
    Case("new in no folder", "studies new no/x.toml", 2, ("no/x.toml", "No such file")),
    Case("new from nothing", "studies new x.toml --from no", 2, ("'no'", "shipped")),
]


def _set(name: str, override: str, *says: str) -> Case:
    return Case(name, ["optimize", *_MAKE.split(), "--set", override], 2, says)


OVERRIDES = [
    _set("--set without a value", "training.epochs", "KEY=VALUE"),
    _set("--set without a key", "=5", "KEY=VALUE"),
    _set("--set of nothing", "", "KEY=VALUE"),
    _set("--set of an unknown key", "training.epoch=5", "training.epoch", "final_epochs"),
    _set("--set of a wrong type", "training.epochs=many", "training.epochs", "integer"),
    _set("--set past the limit", "training.epochs=1000000000", "training.epochs", "10000"),
    _set("--set that is no text", "description=\udcff", "not UTF-8"),
    _set("--set with brackets", "space.lr=" + "[" * 10_000, "space.lr"),
    _set("--set of a path as name", "name=../x", "name"),
]


# --- options and names ---


def _name(name: str, given: str, *says: str) -> Case:
    return Case(name, ["optimize", *_MAKE.split(), "--name", given], 2, says)


OPTIONS = [
    Case("no such command", "optimise", 2, ("optimise", "--help")),
    Case("no such option", "status --storag x", 2, ("--storag", "--help")),
    Case("a name of finalists", f"optimize {_MAKE} --name x-finalists", 2, ("reserved", "'x'")),
    Case("a name of replicates", f"optimize {_MAKE} --name x-final-2", 2, ("reserved", "'x'")),
    Case("a name of refits", f"optimize {_MAKE} --name x-final-2-train-val", 2, ("reserved",)),
    Case("a name of baselines", f"optimize {_MAKE} --name x-baselines", 2, ("reserved", "'x'")),
    Case("only nothing", f"optimize {_MAKE} --only nothing", 2, ("--only", "baselines")),
    Case("replicates of a search", f"optimize {_MAKE} --replicates 2", 2, ("--only baselines",)),
    Case("points for a grid", "optimize report_a --only grid --from-study x", 2, ("--from-study",)),
    Case("latency of nothing", f"optimize {_MAKE} --max-latency -1", 2, ("--max-latency",)),
    Case("time of nothing", f"optimize {_MAKE} --timeout x", 2, ("--timeout",)),
    Case("no such study to show", "studies show nothing", 2, ("'nothing'", "shipped")),
    Case("no such file to show", "studies show nothing.toml", 2, ("no such file",)),
    Case("workers none", f"optimize {_MAKE} --workers 0", 2, ("--workers 0", "1 to 512")),
    Case("workers negative", f"optimize {_MAKE} --workers -3", 2, ("--workers -3", "1 to 512")),
    Case("workers too many", f"optimize {_MAKE} --workers 100000", 2, ("--workers", "1 to 512")),
    Case("workers two lines", ["optimize", "--trials", "1", "--workers", "1\n2"], 2, (r"1\n2",)),
    Case("per device none", f"optimize {_MAKE} --workers-per-device 0", 2, ("per-device", "1")),
    Case("per device many", f"optimize {_MAKE} --workers-per-device 99999999999", 2, ("512",)),
    Case("no such device", f"optimize {_MAKE} --devices tpu", 2, ("--devices tpu", "cuda:N")),
    Case("no such GPU", f"optimize {_MAKE} --devices cuda:99", 2, ("cuda:99", "this machine has")),
    Case(
        "no Apple GPU", f"optimize {_MAKE} --devices mps", 2, ("mps", "this machine has no Apple")
    ),
    Case("no device", ["optimize", "--trials", "1", "--devices", ""], 2, ("--devices", "auto")),
    Case("no such cluster", f"optimize {_MAKE} --cluster head:6379", 2, ("ray://HOST:10001",)),
    Case("a share without a cluster", f"optimize {_MAKE} --gpus-per-worker 0.5", 2, ("--cluster",)),
    Case("minutes on a cluster", "optimize --minutes 1 --cluster local", 2, ("this machine",)),
    Case("trials negative", "optimize --trials -1", 2, ("--trials", "1")),
    Case("trials no number", "optimize --trials many", 2, ("--trials", "integer")),
    Case("trials far too many", f"optimize --trials {'9' * 30}", 2, ("--trials", "1000000")),
    Case("timeout NaN", f"optimize {_MAKE} --timeout nan", 2, ("--timeout", "0")),
    Case("timeout negative", f"optimize {_MAKE} --timeout -1", 2, ("--timeout", "0")),
    Case("seed negative", f"optimize {_MAKE} --seed -1", 2, ("--seed", "0")),
    Case(
        "seed too large", f"optimize {_MAKE} --seed 99999999999", 2, ("search.seed", "2147483647")
    ),
    Case("epochs none", f"optimize {_MAKE} --epochs 0", 2, ("--epochs", "1")),
    Case("no such data set", "optimize --trials 1 --dataset mnist", 2, ("mnist", "synthetic")),
    Case("port out of range", "dashboard --port 99999", 2, ("--port", "65535")),
    _name("name leads out", "../x", "'../x'", "letters, digits"),
    _name("name is a path", "a/b", "'a/b'", "letters, digits"),
    _name("name is absolute", "/tmp/x", "'/tmp/x'", "letters, digits"),
    _name("name is long", "x" * 200, "at most 100"),
    _name("name is empty", "", "''", "letters, digits"),
    _name("name is hidden", ".git", "starting with a letter"),
    _name("name with a newline", "a\nb", r"'a\nb'"),
]

# --- studies and trials ---


def _good(name: str, command: str, code: int, *says: str, **more: Any) -> Case:
    return Case(name, f"{command} --storage sqlite:///{GOOD}", code, says, good=True, **more)


TRIALS = [
    _good(
        "host of another machine",
        "dashboard --host 192.0.2.1",
        2,
        "cannot listen on 192.0.2.1:8080",
        "--port",
        process=True,
    ),
    _good("no such trial", "show 999 tiny", 2, "no trial 999", "numbered 0 to 1"),
    _good("trial -1", "show -1 tiny", 2, "-1", "--help"),
    _good("trial is a word", "show best tiny", 2, "trial", "number"),
    _good(
        "leaderboard of nothing", "leaderboard nothing", 4, "'nothing'", "available: fresh, tiny"
    ),
    _good("top none", "leaderboard tiny --top 0", 2, "--top"),
    _good("status of a path", "status ../tiny", 4, "'../tiny'", "available: fresh, tiny"),
    _good("stop nothing", "stop nothing", 4, "'nothing'", "available: fresh, tiny"),
    _good(
        "worker without budget", "worker fresh --workers 1", 2, "no budget", "optimize --name fresh"
    ),
    _good("replay of a waiting trial", "replay 1 tiny", 5, "waiting", "only finished"),
    _good("replay of nothing", "replay 999 tiny", 2, "no trial 999", "numbered 0 to 1"),
    _good(
        "final-eval without trials", "final-eval fresh --workers 1", 5, "no complete trial", "run"
    ),
    _good(
        "final-eval of nothing",
        "final-eval tiny --workers 1 --trial 9",
        2,
        "has no trial 9",
        "numbered 0 to 1",
    ),
    _good("final-eval of a waiting trial", "final-eval tiny --trial 1", 2, "1", "leaderboard"),
    _good("no replicates", "final-eval tiny --replicates 0", 2, "--replicates"),
    _good(
        "final-eval into a file",
        "final-eval tiny --workers 1 --out out",
        2,
        "cannot write to out",
        "--out",
        prepare=_text("mine", "out"),
        may_change=(GOOD,),
    ),
    _good(
        "final-eval into a device",
        "final-eval tiny --workers 1 --out /dev/null/x",
        2,
        "cannot write to /dev/null/x",
        "--out",
        may_change=(GOOD,),
    ),
    _good("watch and json", "status tiny --watch --json", 2, "--watch", "repeat the command"),
    _good("show nothing of a grid", "show 0 fresh", 2, "no trial 0", "no trials yet"),
    _good("no such part", "final-eval tiny --baselines", 4, "tiny-baselines", "--only baselines"),
    _good("format of nothing", "export tiny --format pickle", 2, "pickle", "onnx"),
    _good("final-eval of many finalists", "final-eval tiny --finalists 101", 2, "--finalists"),
    _good(
        "another space, from itself",
        f"optimize --name tiny --from-study tiny {_MAKE} --set training.epochs=3",
        5,
        "created with other settings",
        may_change=(f"{GOOD}.lock",),
    ),
    _good(
        "a search named as a grid",
        f"optimize {_MAKE} --name tiny-grid",
        2,
        "reserved for a part of the study 'tiny'",
    ),
    _good(
        "another space under the same name",
        f"optimize bloodmnist --name tiny {_MAKE}",
        5,
        "created with other settings",
        "optimize --name tiny",
        may_change=(f"{GOOD}.lock",),
    ),
]

# --- data ---

Arrays = dict[str, np.ndarray]


def arrays() -> Arrays:
    """The six arrays of a tiny bloodmnist.npz."""
    rng = np.random.default_rng(0)
    made: Arrays = {}
    for split, n in SIZES.items():
        made[f"{split}_images"] = rng.integers(0, 256, (n, 28, 28, 3), dtype=np.uint8)
        made[f"{split}_labels"] = (np.arange(n, dtype=np.uint8) % 8).reshape(n, 1)
    return made


def _npz(change: Callable[[Arrays], object]) -> Prepare:
    def prepare(folder: Path) -> None:
        made = arrays()
        change(made)
        np.savez_compressed(folder / FILE_NAME, **cast(Any, made))

    return prepare


def _members(change: Callable[[dict[str, bytes]], object]) -> Prepare:
    def prepare(folder: Path) -> None:
        members = {}
        for name, array in arrays().items():
            file = io.BytesIO()
            npy_format.write_array(file, array)
            members[f"{name}.npy"] = file.getvalue()
        change(members)
        with zipfile.ZipFile(folder / FILE_NAME, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return prepare


def _bytes(change: Callable[[bytes], bytes]) -> Prepare:
    def prepare(folder: Path) -> None:
        _npz(lambda made: None)(folder)
        path = folder / FILE_NAME
        path.write_bytes(change(path.read_bytes()))

    return prepare


class Bomb:
    """Unpickling it makes the file `executed`."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, ("executed", "w"))


def _put(name: str, array: np.ndarray) -> Prepare:
    return _npz(lambda made: made.update({name: array}))


def _swap(made: Arrays, a: str, b: str) -> None:
    made[a], made[b] = made[b], made[a]


def _lying_directory(content: bytes) -> bytes:
    """The archive's directory claims four gigabytes for one member."""
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"train_images.npy"))
    return content[: at + 24] + (2**32 - 2).to_bytes(4, "little") + content[at + 28 :]


def _endless_header(members: dict[str, bytes]) -> None:
    header = io.BytesIO()
    shape = (1 << 40, 28, 28, 3)
    npy_format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    members["train_images.npy"] = header.getvalue()


def _data(name: str, prepare: Prepare, *says: str) -> Case:
    return Case(f"data: {name}", "data describe --data-root .", 3, (FILE_NAME, *says), prepare)


_FETCH = "data fetch"
DATA = [
    _data("missing", lambda f: None, _FETCH, "--dataset synthetic"),
    _data("a folder", lambda f: (f / FILE_NAME).mkdir(), "not a regular file"),
    _data("a fifo", lambda f: os.mkfifo(f / FILE_NAME), "not a regular file"),
    _data("an endless device", lambda f: (f / FILE_NAME).symlink_to("/dev/zero"), "regular"),
    _data("a link to itself", lambda f: (f / FILE_NAME).symlink_to(FILE_NAME), "bloodmnist"),
    _data("empty", _text(b"", FILE_NAME), "not a complete npz", _FETCH),
    _data("text", _text("<html>503</html>" * 99, FILE_NAME), "not a complete npz", _FETCH),
    _data("cut in half", _bytes(lambda b: b[: len(b) // 2]), "not a complete npz", _FETCH),
    _data("a flipped byte", _bytes(lambda b: b[:5000] + b"\0\0" + b[5002:]), "damaged", _FETCH),
    _data(
        "images and labels swapped",
        _npz(lambda made: _swap(made, "train_images", "train_labels")),
        "train_images.npy has shape (24, 1)",
    ),
    _data(
        "splits swapped",
        _npz(lambda made: _swap(made, "train_images", "val_images")),
        "has shape (16, 28, 28, 3)",
    ),
    _data("pickled", _put("val_labels", np.array([Bomb()] * 16)), "object, not uint8", _FETCH),
    _data("float pixels", _put("val_images", np.zeros((16, 28, 28, 3))), "float64, not uint8"),
    _data(
        "NaN pixels",
        _put("val_images", np.full((16, 28, 28, 3), np.nan, np.float32)),
        "float32, not uint8",
    ),
    _data("gray images", _put("val_images", np.zeros((16, 28, 28), np.uint8)), "(16, 28, 28)"),
    _data("a scalar", _put("val_images", np.zeros((), np.uint8)), "has shape ()"),
    _data("label 9", _put("val_labels", np.full((16, 1), 9, np.uint8)), "holds 9", "0..7"),
    _data("an array missing", _npz(lambda made: made.pop("test_labels")), "test_labels", _FETCH),
    _data(
        "members outside",
        _members(lambda m: m.update({"../../train_images.npy": m.pop("train_images.npy")})),
        "train_images is missing",
    ),
    _data(
        "zip bomb",
        _members(lambda m: m.update({"train_images.npy": bytes(80_000_000)})),
        "not a numpy array",
    ),
    _data("lying directory", _bytes(_lying_directory), "claims 4294967294 bytes"),
    _data("endless header", _members(_endless_header), "(1099511627776, 28, 28, 3)"),
    Case("search on bad data", f"optimize {_MAKE[:-20]} --data-root .", 3, ("not a complete",),
         _text("x", FILE_NAME)),
    Case("data root is a file", "data describe --data-root x", 3, (_FETCH,), _text("", "x")),
    Case("data root is long", ["data", "describe", "--data-root", "x" * 300], 3, ("too long",)),
    Case("data root has two lines", ["data", "describe", "--data-root", "a\nb"], 3, (r"a\nb",)),
    Case("variable: a file", "data describe", 3, (_FETCH,), _text("", "x"), {"BLOODSEARCH_DATA": "x"}),
    Case("variable: nothing", "data describe", 3, (_FETCH,), env={"BLOODSEARCH_DATA": "no/where"}),
    Case("fetch over a bad file", "data fetch --data-root .", 3, ("move it away",), _text("", FILE_NAME)),
    Case("fetch into a file", "data fetch --data-root x", 3, ("cannot write to x",), _text("", "x")),
    Case("fetch into a device", "data fetch --data-root /dev/null/x", 3, ("/dev/null/x", "--data-root")),
]  # fmt: skip

# --- storage ---


def _sqlite(name: str, url: str, *says: str, prepare: Prepare = lambda f: None) -> list[Case]:
    """The same bad database for a look and for a search, in an option and in the variable."""
    title = f"storage: {name}"
    look = Case(f"{title}, status", ["status", "--storage", url], 4, says, prepare)
    make = Case(
        f"{title}, optimize",
        f"optimize demo {_MAKE}",
        4,
        says,
        prepare,
        {"BLOODSEARCH_STORAGE": url},
    )
    return [look, make]


def _sql(name: str, *statements: str) -> Prepare:
    def prepare(folder: Path) -> None:
        with contextlib.closing(sqlite3.connect(folder / name)) as db, db:
            for statement in statements:
                db.execute(statement)

    return prepare


def _newer(folder: Path) -> None:
    make_good(folder / "x.db")
    _sql(
        "x.db",
        "UPDATE version_info SET schema_version = 999",
        "UPDATE alembic_version SET version_num = 'v999.0.0'",
    )(folder)


def _half(folder: Path) -> None:
    make_good(folder / "x.db")
    content = (folder / "x.db").read_bytes()
    (folder / "x.db").write_bytes(content[: len(content) // 2])


_SONGS = _sql("x.db", "CREATE TABLE songs (title TEXT)", "INSERT INTO songs VALUES ('a')")
_ADDRESS = "sqlite:///FILE.db"
_SECRET = f"someone:{CANARY}"
STORAGE = [
    *_sqlite("no URL", "nonsense", _ADDRESS),
    *_sqlite("MySQL", f"mysql://{_SECRET}@localhost/d", "mysql", _ADDRESS),
    *_sqlite("typo in the driver", f"postgresq://{_SECRET}@h/d", "postgresq", _ADDRESS),
    *_sqlite("port is no number", f"postgresql://{_SECRET}@h:x/d", _ADDRESS),
    *_sqlite("bare @ in the password", f"postgresql://u:p@{CANARY}@127.0.0.1:1/d", "%40"),
    *_sqlite("one slash", f"postgresql:/{_SECRET}@h/d", _ADDRESS),
    *_sqlite("a server's SQLite", f"sqlite://{_SECRET}@h/x.db", "no host", _ADDRESS),
    *_sqlite("in memory", "sqlite://", "in-memory", _ADDRESS),
    *_sqlite("closed port", f"postgresql://{_SECRET}@127.0.0.1:1/d", "refused", "--storage"),
    *_sqlite(
        "password as an option",
        f"postgresql://127.0.0.1:1/d?user=u&password={CANARY}",
        "refused",
        "user=u",
    ),
    *_sqlite("no such host", f"postgresql://{_SECRET}@h.invalid/d", "h.invalid", "--storage"),
    *_sqlite("a folder", "sqlite:///x", "is a folder", "x/blood", prepare=lambda f: (f / "x").mkdir()),
    *_sqlite("a fifo", "sqlite:///x", "not a regular file", prepare=lambda f: os.mkfifo(f / "x")),
    *_sqlite("a device", "sqlite:////dev/null", "not a regular file", "--storage"),
    *_sqlite("a long name", f"sqlite:///{'x' * 300}", "too long", "--storage"),
    *_sqlite("no database", "sqlite:///x", "not a database", prepare=_text("hello" * 999, "x")),
    *_sqlite("cut in half", "sqlite:///x.db", "malformed", "--storage", prepare=_half),
    *_sqlite("newer schema", "sqlite:///x.db", "no longer compatible", prepare=_newer),
    Case("storage: other program, status", "status --storage sqlite:///x.db", 4, ("no studies",), _SONGS),
    Case("storage: other program, optimize", f"optimize demo {_MAKE} --storage sqlite:///x.db", 4,
         ("belongs to another program", "songs", "--storage"), _SONGS),
    Case("storage: missing", "status --storage sqlite:///x.db", 4, ("create this one with",)),
    Case("storage: no folder", f"optimize demo {_MAKE} --storage sqlite:///no/x.db", 4, ("create it",)),
    Case("storage: given empty", ["status", "--storage", ""], 4, (_ADDRESS,)),
    # an address with its password where something else belongs
    Case("address as a command", f"postgresql://{_SECRET}@h/d", 2, ("No such command", "--help")),
    Case("address as a study", f"optimize postgresql://{_SECRET}@h/d --trials 1", 2, ("no such file",)),
    _good("address as a stored study", f"status postgresql://{_SECRET}@h/d", 4, "available: fresh, tiny"),
    _name("address as a name", f"postgresql://someone-with-a-very-long-name-:{CANARY}@h/d", "letters"),
    _set("address as --set", f"postgresql://{_SECRET}@h/d", "KEY=VALUE"),
]  # fmt: skip


def _url(change: Callable[[sa.URL], sa.URL]) -> Callable[[str], str]:
    return lambda url: change(sa.make_url(url)).render_as_string(hide_password=False)


def _executed(*statements: str, make: bool = False) -> Callable[[str], str]:
    def prepare(url: str) -> str:
        if make:
            open_storage(url, create=True).close()
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as db:
            for statement in statements:
                db.execute(sa.text(statement))
        return url

    return prepare


_READ_ONLY = {"options": "-c default_transaction_read_only=on"}
_NEWER = (
    "UPDATE version_info SET schema_version = 999",
    "UPDATE alembic_version SET version_num = 'v9'",
)
_POSTGRES: list[tuple[str, str, Callable[[str], str], tuple[str, ...]]] = [
    ("no such database", "status", _url(lambda u: u.set(database="nowhere")), ("nowhere", "exist")),
    ("no such role", "status", _url(lambda u: u.set(username="eve", password=CANARY)), ("eve", "exist")),
    ("no tables yet", "status", lambda url: url, ("no studies", "optimize")),
    ("of another program", f"optimize demo {_MAKE}", _executed("CREATE TABLE songs (i int)"), ("songs",)),
    ("newer schema", f"optimize demo {_MAKE}", _executed(*_NEWER, make=True), ("no longer compatible",)),
    ("read-only", f"optimize demo {_MAKE}", _url(lambda u: u.update_query_dict(_READ_ONLY)), ("read-only",)),
    ("no such option", "status", _url(lambda u: u.update_query_dict({"colour": "red"})), ("colour",)),
]  # fmt: skip
POSTGRES = [
    Case(f"PostgreSQL: {name}", command, 4, says, postgres=change)
    for name, command, change, says in _POSTGRES
]

CASES = [*STUDY_FILES, *OVERRIDES, *OPTIONS, *TRIALS, *DATA, *STORAGE, *POSTGRES]

# --- no permission: run by a process without root's privileges ---


def _closed(name: str, mode: int, make: Prepare) -> Prepare:
    def prepare(folder: Path) -> None:
        make(folder)
        (folder / name).chmod(mode)

    return prepare


def _closed_database(folder: Path) -> None:
    shutil.copy(folder / GOOD, folder / "x.db")
    (folder / "x.db").chmod(0o444)


_FOLDER: Prepare = lambda folder: (folder / "closed").mkdir()  # noqa: E731
FORBIDDEN = [
    Case("study file", f"optimize x.toml {_MAKE}", 2, ("x.toml", "Permission denied"),
         _closed("x.toml", 0, _text(MINIMAL))),
    Case("folder of a new study file", "studies new closed/x.toml", 2, ("Permission denied",),
         _closed("closed", 0o555, _FOLDER)),
    Case("data", "data describe --data-root .", 3, (f"no permission to read {FILE_NAME}",),
         _closed(FILE_NAME, 0, _npz(lambda made: None))),
    Case("folder of the data", "data describe --data-root closed", 3, ("Permission denied", "--data-root"),
         _closed("closed", 0, _FOLDER)),
    Case("fetch", "data fetch --data-root closed", 3, ("cannot write to closed",),
         _closed("closed", 0o555, _FOLDER)),
    Case("database", "status --storage sqlite:///x.db", 4, ("no permission", "--storage"),
         _closed_database, good=True),
    Case("folder of the database", f"optimize demo {_MAKE} --storage sqlite:///closed/x.db", 4,
         ("no permission", "--storage"), _closed("closed", 0o555, _FOLDER)),
    Case("way to the database", "status --storage sqlite:///closed/x.db", 4,
         ("Permission denied", "--storage"), _closed("closed", 0, _FOLDER)),
]  # fmt: skip
