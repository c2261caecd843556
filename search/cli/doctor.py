"""`bloodsearch doctor`: check this installation, its data and its storage."""

from __future__ import annotations

import typer

from ..env import storage_url
from . import output
from .options import DataRootOption, JsonOption, StorageOption


def doctor(
    storage: StorageOption = None,
    data_root: DataRootOption = None,
    json: JsonOption = False,
) -> None:
    """Check packages, devices, data and storage; exit code 1 if something is wrong."""
    from ..doctor import run_checks

    checks = run_checks(storage_url(storage), data_root)
    if json:
        output.as_json(
            {
                "checks": [
                    {"name": c.name, "ok": c.ok, "found": c.finding, "fix": c.fix} for c in checks
                ]
            }
        )
    else:
        for check in checks:
            mark = {True: "ok     ", False: "WRONG  ", None: "note   "}[check.ok]
            output.line(f"{mark}{check.name}: {check.finding}")
            if check.fix:
                output.line(f"       {check.fix}")
    if any(check.ok is False for check in checks):
        raise typer.Exit(1)
