"""Rules about who may import what, read from the source: the layers, the sealed test split, the start-up."""

from __future__ import annotations

import ast
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests_support import shrink

from bloodsearch.search.data import load as data
from bloodsearch.search.data.archive import Archive

ROOT = Path(data.__file__).parents[2]
PACKAGES = ("search", "models", "studies")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {
    module_name(path): ast.parse(path.read_text(encoding="utf-8"))
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def type_checking_only(tree: ast.Module) -> set[ast.AST]:
    """Nodes under `if TYPE_CHECKING:`: they do not run."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }


@functools.cache
def imports(module: str) -> tuple[str, ...]:
    """Return the full names that `module` imports, within functions too: "search.study.load", "torch"."""
    return tuple(_imports(module))


def _imports(module: str) -> Iterator[str]:
    tree = TREES[module]
    skipped = type_checking_only(tree)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = ".".join(filter(None, (_package(module, node.level), node.module)))
            yield from (".".join(filter(None, (source, alias.name))) for alias in node.names)


def _package(module: str, level: int) -> str:
    """Return the package that a relative import of `module` starts from, "" for an absolute import."""
    if level == 0:
        return ""
    parts = module.split(".")
    if not (ROOT / Path(*parts)).is_dir():
        level += 1  # a module's own package is its parent
    return ".".join(parts[: len(parts) - level + 1])


def below(name: str, *prefixes: str) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def own(name: str) -> bool:
    return below(name, *PACKAGES)


def third_party(module: str) -> set[str]:
    roots = {name.split(".")[0] for name in imports(module) if not own(name)}
    return roots - set(sys.stdlib_module_names)


def test_all_three_packages_were_found() -> None:
    assert {"search.cli", "search.training.fit", "models.cnn", "studies.schema"} <= set(TREES)
    assert "search.data.load.load_dataset" in set(imports("search.trial.replay"))
    assert {"torch", "numpy"} <= third_party("search.training.loop")


# The ten layers, from the bottom; a module belongs to the longest prefix that fits, and imports its own
# layer and those below.
LAYERS: list[tuple[str, ...]] = [
    (
        "models",
        "studies",
        "search.cores",
        "search.errors",
        "search.env",
        "search.files",
        "search.records",
        "search.results",
        "search.study_names",
        "search.suggest",
        "search.text",
        "search.__version__",
    ),
    ("search.seeds", "search.data", "search.database", "search.images"),
    ("search.training", "search.pruning", "search.importing"),
    ("search.sampling", "search.limits"),
    ("search.study",),
    ("search.trial", "search.warm_start"),
    ("search.workers", "search.cluster", "search.evaluation"),
    ("search.model_file", "search.report", "search.submit", "search.summary", "search.watch"),
    ("search.course", "search.doctor", "search.dashboard", "search.api"),
    ("search.cli",),
]


def layer(name: str) -> int:
    fitting = [
        (len(prefix), number)
        for number, prefixes in enumerate(LAYERS)
        for prefix in prefixes
        if below(name, prefix)
    ]
    return max(fitting)[1]


@pytest.mark.parametrize("module", TREES)
def test_imports_point_down(module: str) -> None:
    upwards = [name for name in imports(module) if own(name) and layer(name) > layer(module)]
    assert not upwards


def room(name: str) -> str:
    """Return the folder or single file directly below `search/` that a name belongs to."""
    parts = name.split(".")
    return ".".join(parts[: 2 if parts[0] == "search" else 1])


def test_every_module_has_a_layer() -> None:
    prefixes = {prefix for layer in LAYERS for prefix in layer}
    assert {room(module) for module in TREES} - {"search"} <= prefixes
    assert len(LAYERS) == 10


def test_no_circle_of_rooms() -> None:
    below_of = {
        room(module): {room(name) for other in TREES if room(other) == room(module)
                       for name in imports(other) if own(name)} - {room(module)}
        for module in TREES
    }  # fmt: skip
    while below_of:
        free = [name for name, others in below_of.items() if not others & set(below_of)]
        assert free, f"a circle among {below_of}"
        for name in free:
            del below_of[name]


def test_only_the_api_imports_the_course_reports() -> None:
    users = {m for m in TREES for name in imports(m) if below(name, "search.course")}
    assert all(below(module, "search.course", "search.api") for module in users), users


@pytest.mark.parametrize(
    ("package", "allowed_own", "allowed_other"),
    [
        ("models", ("models",), {"torch", "pydantic"}),
        ("studies", ("studies", "models.fields"), {"pydantic", "pydantic_core"}),
        (
            "search.training",
            (
                "search.training",
                "search.data",
                "search.cores",
                "search.errors",
                "search.env",
                "search.files",
                "models",
            ),
            {"torch", "numpy", "pydantic", "filelock"},
        ),
    ],
)
def test_what_the_lower_packages_know(
    package: str, allowed_own: tuple[str, ...], allowed_other: set[str]
) -> None:
    for module in TREES:
        if below(module, package):
            for name in imports(module):
                assert not own(name) or below(name, *allowed_own), f"{module} imports {name}"
            assert third_party(module) <= allowed_other, module


@pytest.mark.parametrize(
    ("library", "users"),
    [
        ("typer", ("search.cli",)),
        ("rich", ("search.cli",)),
        ("sklearn", ("search.evaluation",)),
        ("optuna_dashboard", ("search.dashboard", "search.doctor")),
        ("waitress", ("search.dashboard",)),
        ("matplotlib", ("search.report", "search.course")),
        ("jinja2", ("search.report", "search.submit")),
        ("onnx", ("search.model_file.export",)),
        ("onnxruntime", ("search.model_file.predict",)),
        ("PIL", ("search.images",)),
        ("ray", ("search.cluster",)),
    ],
)
def test_libraries_with_one_place(library: str, users: tuple[str, ...]) -> None:
    for module in TREES:
        if library in third_party(module):
            assert below(module, *users), f"{module} imports {library}"
    assert any(library in third_party(module) for module in TREES)


def test_predicting_knows_nothing_of_the_program_that_trained() -> None:
    """An exported file, onnxruntime and Pillow: no torch, no database, no training code."""
    reading = ("search.model_file.predict", "search.model_file.sources", "search.images")
    users = ("search.cli.predict", "search.api.predict")
    for module in (m for m in TREES if below(m, *reading, *users)):
        allowed = ("search.errors", "search.cli", "search.api.predict", *reading)
        names = {name for name in imports(module) if own(name)}
        assert all(below(name, *allowed) for name in names), names
    used = set().union(*(third_party(m) for m in TREES if below(m, *reading)))
    assert used == {"numpy", "onnxruntime", "PIL"}


def test_studies_and_configurations_can_be_read_without_torch() -> None:
    for module in ("models.config", "search.training.config", "search.errors"):
        assert "torch" not in third_party(module)


# --- the test split is sealed ---

DATA = "search.data.load"
ARCHIVE = "search.data.archive"
FINAL = "search.evaluation.opening"


def mentions(module: str, name: str) -> bool:
    """Whether a name, an attribute, an import or a string of `module` is `name`; docstrings are none."""
    for node in ast.walk(TREES[module]):
        found = {
            ast.Name: lambda n: n.id,
            ast.Attribute: lambda n: n.attr,
            ast.alias: lambda n: n.name,
            ast.FunctionDef: lambda n: n.name,
            ast.Constant: lambda n: n.value,
        }.get(type(node))
        if found is not None and found(node) == name:
            return True
    return False


def strings(module: str) -> Iterator[str]:
    docstrings = {
        node.body[0].value
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(TREES[module]):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node not in docstrings
        ):
            yield node.value


def test_only_the_final_evaluation_opens_the_test_split() -> None:
    users = {module for module in TREES if mentions(module, "open_test_split")}
    assert users == {DATA, FINAL}
    calls = [
        node
        for node in ast.walk(TREES[FINAL])
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "open_test_split"
    ]
    assert len(calls) == 1


def test_whoever_wants_the_test_split_goes_through_the_ledger() -> None:
    users = {module for module in TREES if mentions(module, "open_on_the_record")}
    evaluation = {"search.evaluation.final", "search.evaluation.baselines"}
    assert users == {FINAL, "search.model_file.export"} | evaluation
    opener = next(
        node
        for node in ast.walk(TREES[FINAL])
        if isinstance(node, ast.FunctionDef) and node.name == "open_on_the_record"
    )
    calls = {ast.unparse(n.func): n for n in ast.walk(opener) if isinstance(n, ast.Call)}
    (record,) = [n for n in ast.walk(opener) if isinstance(n, ast.FunctionDef) and n is not opener]
    assert any(node is calls["ledger.record_opening"] for node in ast.walk(record))
    given = {k.arg: ast.unparse(k.value) for k in calls["open_test_split"].keywords}
    assert given["record"] == record.name
    # ... which the data module calls when the data are checked, and before it reads an image
    opener = next(
        node
        for node in ast.walk(TREES[DATA])
        if isinstance(node, ast.FunctionDef) and node.name == "open_test_split"
    )
    lines: dict[str, list[int]] = {}
    for node in ast.walk(opener):
        if isinstance(node, ast.Call):
            lines.setdefault(ast.unparse(node.func), []).append(node.lineno)
    assert max(lines["check_same"]) < min(lines["record"])
    assert min(lines["record"]) < min(lines["make_split"])
    assert max(lines["record"]) < min(lines["_read_split"])


def test_benchmarks_go_through_the_ledger() -> None:
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            ast.unparse(n).split(".")[-1]
            for n in ast.walk(tree)
            if isinstance(n, ast.Name | ast.Attribute)
        }
        names |= {
            alias.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for alias in n.names
        }
        texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
        forbidden = {"open_test_split", "_read_split", "_read_array", "_open_archive"}
        assert not forbidden & (names | texts), path.name
        assert not any(
            "test_images" in t or "test_labels" in t for t in texts if isinstance(t, str)
        )


def test_the_test_arrays_are_named_in_one_module() -> None:
    for module in TREES:
        for text in strings(module):
            if "test_images" in text or "test_labels" in text:
                assert module == DATA, text
    # ... and built from the split's name there: nobody else reads the archive
    assert {module for module in TREES if mentions(module, "_read_split")} == {DATA}
    for function in ("read_images", "read_labels", "open_archive"):
        assert {module for module in TREES if mentions(module, function)} == {DATA, ARCHIVE}


def test_the_synthetic_test_split_is_drawn_in_one_place() -> None:
    users = {module for module in TREES if mentions(module, "make_split")}
    assert users == {DATA, "search.data.synthetic"}
    opener = next(
        node
        for node in ast.walk(TREES[DATA])
        if isinstance(node, ast.FunctionDef) and node.name == "open_test_split"
    )
    in_opener = set(ast.walk(opener))
    for node in ast.walk(TREES[DATA]):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("make_split", "_read_split"):
            assert isinstance(split := node.args[-1], ast.Constant), "a split by its literal name"
            assert (split.value == "test") == (node in in_opener)


def test_nobody_reads_npz_files_past_the_data_module() -> None:
    for module in TREES:
        # predict reads arrays that users bring, and refuses those named test; the import only writes
        if module not in (ARCHIVE, "search.model_file.predict", "search.importing.archive"):
            assert not any(below(name, "zipfile", "numpy.lib") for name in imports(module)), module
            for node in ast.walk(TREES[module]):
                if isinstance(node, ast.Call):
                    assert ast.unparse(node.func) not in ("np.load", "numpy.load"), module


def test_loading_a_file_reads_no_test_array(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sizes = {"train": 12, "val": 9, "test": 8}
    arrays = {f"{split}_labels": np.zeros((n, 1), np.uint8) for split, n in sizes.items()}
    arrays |= {f"{s}_images": np.ones((n, 28, 28, 3), np.uint8) for s, n in sizes.items()}
    np.savez(tmp_path / "bloodmnist.npz", **arrays)  # type: ignore[arg-type]
    shrink(monkeypatch, sizes)
    read: list[str] = []
    original = Archive.read

    def record(archive: Archive, name: str) -> NDArray[Any]:
        read.append(name)
        return original(archive, name)

    monkeypatch.setattr(Archive, "read", record)
    data.load_dataset("bloodmnist", tmp_path)
    assert len(read) == 4
    assert not [member for member in read if member.startswith("test")]


# --- the command answers at once ---

HEAVY = (
    "torch",
    "medmnist",
    "sklearn",
    "scipy",
    "optuna",
    "sqlalchemy",
    "numpy",
    "matplotlib",
    "onnxruntime",
    "PIL",
)


def loaded(code: str) -> set[str]:
    """Which of HEAVY a fresh interpreter has loaded after running `code`."""
    report = f"import json, sys; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    found = subprocess.run(
        [sys.executable, "-P", "-c", f"{code}\n{report}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(found.stdout.splitlines()[-1]))


def run_command(*args: str) -> str:
    return f"""
from bloodsearch.search.cli import main
try:
    main({list(args)!r})
except SystemExit as exit:
    assert not exit.code, exit.code
"""


@pytest.mark.parametrize(
    "code",
    [
        "import bloodsearch; bloodsearch.Placement(); bloodsearch.UsageError",
        "import bloodsearch.search.cli",
        run_command("--help"),
        run_command("--version"),
        run_command("optimize", "--help"),
        run_command("report", "--help"),
        run_command("export", "--help"),
        run_command("predict", "--help"),
        run_command("studies"),
        run_command("studies", "show", "bloodmnist"),
        "import bloodsearch.studies, bloodsearch.models, bloodsearch.search.training.config",
    ],
    ids=[
        "bloodsearch",
        "import",
        "help",
        "version",
        "optimize-help",
        "report-help",
        "export-help",
        "predict-help",
        "studies",
        "studies-show",
        "configs",
    ],
)
def test_nothing_heavy_is_loaded_by(code: str) -> None:
    assert loaded(code) == set()


def test_a_heavy_import_would_be_seen() -> None:
    assert loaded("import numpy") == {"numpy"}


def test_reading_a_database_needs_no_torch() -> None:
    # what `status` and `leaderboard` load
    names = ("database.storage", "study", "summary", "evaluation.selection")
    code = "import " + ", ".join(f"bloodsearch.search.{name}" for name in names)
    assert not {"torch", "sklearn", "medmnist", "scipy"} & loaded(code)


def test_supervising_workers_needs_no_torch() -> None:
    assert not {"torch", "sklearn", "medmnist"} & loaded(
        "import bloodsearch.search.workers.supervisor, bloodsearch.search.workers.worker"
    )
