"""The checks of `bloodsearch doctor`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BloodsearchError

if TYPE_CHECKING:
    from .database.storage import Storage


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. `ok` is None for a note: worth reading, but nothing is wrong."""

    name: str
    ok: bool | None
    finding: str
    fix: str = ""


def run_checks(storage: str, data_root: Path | None) -> list[Check]:
    """Run all checks in order. A check that fails unexpectedly becomes a result, never an exception."""
    steps: list[tuple[str, Callable[[], list[Check]]]] = [
        ("versions", _check_versions),
        ("devices", _check_devices),
        ("processor", _check_processor),
        ("data", lambda: _check_data(data_root)),
        ("storage", lambda: _check_storage(storage)),
    ]
    results = []
    for name, step in steps:
        try:
            results += step()
        except BloodsearchError as error:
            results.append(Check(name, False, str(error)))
        except Exception as error:
            results.append(Check(name, False, f"{type(error).__name__}: {error}"))
    return results


def _check_versions() -> list[Check]:
    from .study import versions

    return [Check("versions", True, ", ".join(f"{k} {v}" for k, v in versions().items()))]


def _check_devices() -> list[Check]:
    import torch

    from .training.device import choose_precision
    from .workers.slots import plan_slots

    slots = plan_slots("auto", "auto", 1, threads=1)
    device = torch.device(slots[0].device)
    places = ", ".join(
        f"{slot.label} ({slot.threads} thread{'s' * (slot.threads > 1)})" for slot in slots
    )
    return [Check("devices", True, f"{places}; training in {choose_precision(device)}")]


def _check_processor() -> list[Check]:
    """Describe what the processor trains best in, and measure it if no training has done so."""
    from ..models import kernels
    from .training import processor

    answer, file = processor.answer(), processor.path()
    text = f"{processor.name()} ({processor.features()}): {answer.precision}"
    if "bfloat16" in answer.step_ms:
        ratio = answer.step_ms["float32"] / answer.step_ms["bfloat16"]
        text += f", bfloat16 {ratio:.1f} times as fast as float32"
    if answer.two_threads is not None:
        text += f", two threads {answer.two_threads:.1f} times as fast as one"
    if build := kernels.build_name():
        text += f", kernels compiled for {build}"
    else:
        text += f", no compiled kernels ({_why_no_kernels()})"
    where = f"; kept in {file}" if file and file.exists() else "; measured by each process"
    return [Check("processor", True, text + where)]


def _why_no_kernels() -> str:
    from ..models import kernels

    if os.environ.get(kernels.VARIABLE):
        return f"{kernels.VARIABLE} is set"
    if kernels.is_old("generic"):
        return "they are older than their sources; install bloodsearch again"
    return "there was no C compiler when bloodsearch was installed"


def _check_data(root: Path | None) -> list[Check]:
    from .data import registry
    from .data.load import load_dataset

    try:
        fingerprint = load_dataset(registry.DEFAULT, root).fingerprint
    except BloodsearchError as error:
        return [Check("data", None, str(error))]
    return [
        Check("data", True, f"{fingerprint.describe()}, content hash {fingerprint.content_hash}")
    ]


def _check_storage(url: str) -> list[Check]:
    import optuna

    from .database.storage import open_storage, parse_url

    path = Path(parse_url(url).database or "")
    if url.startswith("sqlite") and not path.exists():
        folder = path.parent
        if os.access(folder, os.W_OK):
            return [Check("storage", True, f"{path} does not exist yet; optimize will create it")]
        return [
            Check("storage", False, f"no permission to write {folder}", "use another --storage")
        ]
    # give_up: report an outage or a full server at once instead of waiting for its end
    storage = open_storage(url, create=False, give_up=lambda: True)
    try:
        n_studies = len(optuna.get_all_study_names(storage.optuna))
        checks = [Check("storage", True, f"{storage.shown} holds {n_studies} studies")]
        if storage.sqlite_path is None:
            checks.append(_check_connections(storage))
        return checks
    finally:
        storage.close()


def _check_connections(storage: Storage) -> Check:
    from .database.budget import connection_budget

    budget = connection_budget(storage)
    if not budget.tight:
        return Check("connections", True, budget.describe())
    fix = "use fewer workers, raise the server's max_connections, or put PgBouncer before it"
    return Check("connections", None, budget.describe(), fix)
