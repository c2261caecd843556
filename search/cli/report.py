"""`bloodsearch report`: figures, tables and a Markdown and HTML page about a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.cli import output
from search.cli.options import (
    DataRootOption,
    DebugOption,
    JsonOption,
    NameOption,
    StorageOption,
    StudyArgument,
    find_study,
)
from search.errors import UsageError
from studies import DEFAULT_STUDY


def report(
    study: StudyArgument = DEFAULT_STUDY,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Default: report/STUDY here.")
    ] = None,
    storage: StorageOption = None,
    name: NameOption = None,
    data_root: DataRootOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a study's report: one HTML file, Markdown, figures, tables, a model card.

    Reads the study and the ledger, never the test split. Example: bloodsearch report --out report
    """
    from search.evaluation.final import check_writable

    opened, found = find_study(study, storage, name)
    folder = out or Path("report") / found.study_name
    check_writable(folder)
    from search.report.build import write_report

    try:
        files = write_report(opened, found, data_root, folder)
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder} ({error.strerror}); name another --out"
        ) from None
    if json:
        output.as_json(
            {"study": found.study_name, "out": str(folder), "files": [str(f) for f in files]}
        )
        return
    output.line(f"the report of {found.study_name}: {files[0]}")
    output.line(f"{len(files)} files in {folder}: report.md, figures/ and tables/ hold the same")
