"""The checks of `bloodsearch doctor`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import BloodsearchError


@dataclass(frozen=True, slots=True)
class Check:
    """`ok` is None where the finding is worth knowing but nothing is wrong."""

    name: str
    ok: bool | None
    found: str
    fix: str = ""


def run_checks(storage: str, data_root: Path | None) -> list[Check]:
    """All checks in order; none raises."""
    steps: list[tuple[str, Callable[[], Check]]] = [
        ("versions", _check_versions),
        ("devices", _check_devices),
        ("data", lambda: _check_data(data_root)),
        ("storage", lambda: _check_storage(storage)),
    ]
    found = []
    for name, step in steps:
        try:
            found.append(step())
        except Exception as error:
            found.append(Check(name, False, f"{type(error).__name__}: {error}"))
    return found


def _check_versions() -> Check:
    from .study import versions

    return Check("versions", True, ", ".join(f"{k} {v}" for k, v in versions().items()))


def _check_devices() -> Check:
    import torch

    from .training.device import choose_precision
    from .workers.slots import plan_slots

    slots = plan_slots("auto", "auto", 1, threads=1)
    device = torch.device(slots[0].device)
    places = ", ".join(
        f"{slot.label} ({slot.threads} thread{'s' * (slot.threads > 1)})" for slot in slots
    )
    return Check("devices", True, f"{places}; training in {choose_precision(device)}")


def _check_data(root: Path | None) -> Check:
    from .data.bloodmnist import load_dataset

    try:
        found = load_dataset("bloodmnist", root).fingerprint
    except BloodsearchError as error:
        return Check("data", None, str(error))
    return Check("data", True, f"{found.describe()}, content hash {found.content_hash}")


def _check_storage(url: str) -> Check:
    import optuna

    from .database.storage import open_storage, parse_url

    path = Path(parse_url(url).database or "")
    if url.startswith("sqlite") and not path.exists():
        folder = path.parent
        if os.access(folder, os.W_OK):
            return Check("storage", True, f"{path} does not exist yet; optimize will create it")
        return Check("storage", False, f"no permission to write {folder}", "use another --storage")
    try:
        opened = open_storage(url, create=False)
    except BloodsearchError as error:
        return Check("storage", False, str(error))
    names = optuna.get_all_study_names(opened.optuna)
    opened.close()
    return Check("storage", True, f"{opened.shown} holds {len(names)} studies")
